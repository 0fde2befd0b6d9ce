/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a network namespace. What the guest's kernel will find out by itself is left out: the local table, routes and
 * addresses that came by router advertisement, temporary addresses, cached neighbours. Everything else is taken over as it is,
 * also the routes that this kernel made when an address was added (the agent adds addresses without them), because a
 * CNI may have removed them: ptp does.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <string.h>

#include "base/bytes.h"
#include "pod/net_impl.h"

#define READ_TRIES 10

static int malformed(const struct nlmsghdr *h, struct err *err)
{
	return err_set(err, EPROTO, "netlink: a message of type %u with %u bytes", h->nlmsg_type, h->nlmsg_len);
}

static bool take_address(struct inet_addr *ret, const struct nl_attr *a, uint8_t family, uint8_t prefix)
{
	if ((family != AF_INET && family != AF_INET6) || a->n != inet_bytes(family) || prefix > inet_bytes(family) * 8)
		return false;
	*ret = (struct inet_addr){.family = family, .prefix = prefix};
	memcpy(ret->bytes, a->value, a->n);
	return true;
}

static bool host_prefix(struct inet_addr *ret, const struct nl_attr *a, uint8_t family)
{
	return take_address(ret, a, family, (uint8_t)(inet_bytes(family) * 8));
}

/* ---- interfaces ---- */

static void read_ipv6_conf(struct net_link *link, const struct nl_attr *conf)
{
	int32_t v;

	if (conf->n >= (DEVCONF_DISABLE_IPV6 + 1) * sizeof(v)) {
		memcpy(&v, conf->value + DEVCONF_DISABLE_IPV6 * sizeof(v), sizeof(v));
		link->no_ipv6 = v != 0;
	}
	if (conf->n >= (DEVCONF_ACCEPT_RA + 1) * sizeof(v)) {
		memcpy(&v, conf->value + DEVCONF_ACCEPT_RA * sizeof(v), sizeof(v));
		link->accept_ra = v >= 0 && v <= 2 ? (uint8_t)(v + 1) : 0;
	}
}

static void read_families(struct net_link *link, struct nl_attrs families)
{
	struct nl_attr family, a;

	while (nl_next(&families, &family)) {
		struct nl_attrs inside = nl_inside(&family);

		while (family.type == AF_INET6 && nl_next(&inside, &a))
			if (a.type == IFLA_INET6_CONF)
				read_ipv6_conf(link, &a);
	}
}

static void read_kind(struct net_link *link, struct nl_attrs info)
{
	struct nl_attr a;

	while (nl_next(&info, &a))
		if (a.type == IFLA_INFO_KIND && !nl_text(&a, link->kind, sizeof(link->kind)))
			link->kind[0] = '\0';
}

static bool read_link_attr(struct net_link *link, const struct nl_attr *a, bool *lower_is_outside)
{
	switch (a->type) {
	case IFLA_IFNAME:
		return nl_text(a, link->name, sizeof(link->name));
	case IFLA_MTU:
		return nl_u32(a, &link->mtu);
	case IFLA_MASTER:
		return nl_u32(a, &link->master);
	case IFLA_LINK:
		return nl_u32(a, &link->lower);
	case IFLA_LINK_NETNSID:
		*lower_is_outside = true;
		return true;
	case IFLA_ADDRESS:
		link->has_mac = a->n == sizeof(link->mac);
		if (link->has_mac)
			memcpy(link->mac, a->value, sizeof(link->mac));
		return true;
	case IFLA_LINKINFO:
		read_kind(link, nl_inside(a));
		return true;
	case IFLA_AF_SPEC:
		read_families(link, nl_inside(a));
		return true;
	default:
		return true;
	}
}

int net_link_read(struct net_link *ret, const struct nlmsghdr *h, struct err *err)
{
	struct net_link link = {0};
	bool lower_is_outside = false;
	struct ifinfomsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (!nl_payload(h, &fixed, sizeof(info), &list))
		return malformed(h, err);
	memcpy(&info, fixed, sizeof(info));
	if (info.ifi_family != AF_UNSPEC || (info.ifi_flags & IFF_LOOPBACK) || !(info.ifi_flags & IFF_UP))
		return 1;
	link.arp_type = info.ifi_type;
	link.flags = info.ifi_flags;
	while (nl_next(&list, &a))
		if (!read_link_attr(&link, &a, &lower_is_outside))
			return malformed(h, err);
	if (info.ifi_index <= 0 || !*link.name)
		return malformed(h, err);
	link.index = (uint32_t)info.ifi_index;
	/* A veth's other end stands beside it, not below. */
	if (lower_is_outside || link.lower == link.index || str_eq(link.kind, "veth"))
		link.lower = 0;
	if (str_eq(link.kind, "tun") && str_has_prefix(link.name, NET_TAP_PREFIX))
		return 1;
	*ret = link;
	return 0;
}

/* ---- addresses ---- */

int net_address_read(struct net_address *ret, const struct nlmsghdr *h, struct err *err)
{
	struct net_address addr = {0};
	struct inet_addr first = {0}, local = {0};
	struct ifaddrmsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;
	uint32_t flags;

	if (!nl_payload(h, &fixed, sizeof(info), &list))
		return malformed(h, err);
	memcpy(&info, fixed, sizeof(info));
	if (info.ifa_family != AF_INET && info.ifa_family != AF_INET6)
		return 1;
	flags = info.ifa_flags;
	while (nl_next(&list, &a)) {
		bool good = true;

		if (a.type == IFA_ADDRESS)
			good = take_address(&first, &a, info.ifa_family, info.ifa_prefixlen);
		else if (a.type == IFA_LOCAL)
			good = take_address(&local, &a, info.ifa_family, info.ifa_prefixlen);
		else if (a.type == IFA_BROADCAST)
			good = host_prefix(&addr.broadcast, &a, info.ifa_family);
		else if (a.type == IFA_FLAGS)
			good = nl_u32(&a, &flags);
		if (!good)
			return malformed(h, err);
	}
	if (!first.family && !local.family)
		return malformed(h, err);
	if (info.ifa_family == AF_INET6 &&
		(!(flags & IFA_F_PERMANENT) || (flags & (IFA_F_TEMPORARY | IFA_F_DADFAILED))))
		return 1;
	addr.link = info.ifa_index;
	addr.local = local.family ? local : first;
	if (local.family && first.family && memcmp(local.bytes, first.bytes, sizeof(local.bytes)) != 0)
		addr.peer = first;
	*ret = addr;
	return 0;
}

/* ---- routes ---- */

static void read_metrics(struct net_route *route, struct nl_attrs metrics)
{
	struct nl_attr a;

	while (nl_next(&metrics, &a))
		if (a.type == RTAX_MTU && !nl_u32(&a, &route->mtu))
			route->mtu = 0;
}

/* RTA_VIA: the family in two bytes, then the address. */
static bool read_via(struct net_route *route, const struct nl_attr *a)
{
	uint16_t family;
	struct nl_attr address = {.value = a->value + sizeof(family), .n = a->n - sizeof(family)};

	if (a->n < sizeof(family))
		return false;
	memcpy(&family, a->value, sizeof(family));
	return family <= UINT8_MAX && host_prefix(&route->gateway, &address, (uint8_t)family);
}

struct route_extra {
	uint32_t table;
	bool expires, multipath, encap;
};

static bool read_route_attr(
	struct net_route *route, const struct nl_attr *a, const struct rtmsg *info, struct route_extra *x)
{
	switch (a->type) {
	case RTA_TABLE:
		return nl_u32(a, &x->table);
	case RTA_DST:
		return take_address(&route->dst, a, info->rtm_family, info->rtm_dst_len);
	case RTA_GATEWAY:
		return host_prefix(&route->gateway, a, info->rtm_family);
	case RTA_VIA:
		return read_via(route, a);
	case RTA_PREFSRC:
		return host_prefix(&route->source, a, info->rtm_family);
	case RTA_OIF:
		return nl_u32(a, &route->link);
	case RTA_PRIORITY:
		return nl_u32(a, &route->metric);
	case RTA_METRICS:
		read_metrics(route, nl_inside(a));
		return true;
	case RTA_CACHEINFO: {
		struct rta_cacheinfo ci;

		if (a->n < sizeof(ci))
			return false;
		memcpy(&ci, a->value, sizeof(ci));
		x->expires = info->rtm_family == AF_INET6 && ci.rta_expires != 0;
		return true;
	}
	case RTA_MULTIPATH:
		x->multipath = true;
		return true;
	case RTA_ENCAP:
		x->encap = true;
		return true;
	default:
		return true;
	}
}

static bool type_counts(uint8_t type)
{
	return type == RTN_UNICAST || type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
	       type == RTN_THROW;
}

static int refuse_route(const struct net_route *route, const char *why, struct err *err)
{
	char text[INET_TEXT_MAX];

	inet_text(text, &route->dst, true);
	return err_set(err, ENOTSUP, "the route to %s %s, which a pod's VM cannot have", text, why);
}

int net_route_read(struct net_route *ret, const struct nlmsghdr *h, struct err *err)
{
	struct net_route route = {0};
	struct route_extra x = {0};
	struct rtmsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (!nl_payload(h, &fixed, sizeof(info), &list))
		return malformed(h, err);
	memcpy(&info, fixed, sizeof(info));
	if ((info.rtm_family != AF_INET && info.rtm_family != AF_INET6) || (info.rtm_flags & RTM_F_CLONED) ||
		!type_counts(info.rtm_type) || info.rtm_protocol == RTPROT_RA || info.rtm_protocol == RTPROT_REDIRECT)
		return 1;
	x.table = info.rtm_table;
	route.dst.family = info.rtm_family; /* the default route has no RTA_DST */
	while (nl_next(&list, &a))
		if (!read_route_attr(&route, &a, &info, &x))
			return malformed(h, err);
	if (x.table == RT_TABLE_LOCAL || x.expires)
		return 1;
	if (route.dst.prefix != info.rtm_dst_len)
		return malformed(h, err);
	if (x.multipath)
		return refuse_route(&route, "has several next hops", err);
	if (x.encap)
		return refuse_route(&route, "encapsulates", err);
	if (info.rtm_src_len)
		return refuse_route(&route, "depends on the source address", err);
	route.table = x.table;
	route.scope = info.rtm_scope;
	route.type = info.rtm_type;
	route.protocol = info.rtm_protocol;
	route.onlink = (info.rtm_flags & RTNH_F_ONLINK) != 0;
	*ret = route;
	return 0;
}

/* ---- neighbours ---- */

int net_neighbour_read(struct net_neighbour *ret, const struct nlmsghdr *h, struct err *err)
{
	struct net_neighbour n = {0};
	bool has_mac = false;
	struct ndmsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (!nl_payload(h, &fixed, sizeof(info), &list))
		return malformed(h, err);
	memcpy(&info, fixed, sizeof(info));
	if ((info.ndm_family != AF_INET && info.ndm_family != AF_INET6) || !(info.ndm_state & NUD_PERMANENT) ||
		(info.ndm_flags & NTF_PROXY) || info.ndm_ifindex <= 0)
		return 1;
	n.link = (uint32_t)info.ndm_ifindex;
	while (nl_next(&list, &a)) {
		if (a.type == NDA_DST && !host_prefix(&n.address, &a, info.ndm_family))
			return malformed(h, err);
		if (a.type == NDA_LLADDR && a.n == sizeof(n.mac)) {
			memcpy(n.mac, a.value, sizeof(n.mac));
			has_mac = true;
		}
	}
	if (!n.address.family || !has_mac)
		return 1;
	*ret = n;
	return 0;
}

/* ---- rules ---- */

static bool read_rule_attr(struct net_rule *rule, const struct nl_attr *a, const struct fib_rule_hdr *info, bool *other)
{
	uint32_t v = 0;

	switch (a->type) {
	case FRA_DST:
		return take_address(&rule->dst, a, info->family, info->dst_len);
	case FRA_SRC:
		return take_address(&rule->src, a, info->family, info->src_len);
	case FRA_TABLE:
		return nl_u32(a, &rule->table);
	case FRA_PRIORITY:
		return nl_u32(a, &rule->priority);
	case FRA_FWMARK:
		return nl_u32(a, &rule->mark);
	case FRA_FWMASK:
		return nl_u32(a, &rule->mask);
	case FRA_IIFNAME:
		return nl_text(a, rule->input, sizeof(rule->input));
	case FRA_OIFNAME:
		return nl_text(a, rule->output, sizeof(rule->output));
	case FRA_SUPPRESS_PREFIXLEN:
	case FRA_SUPPRESS_IFGROUP:
		*other |= !nl_u32(a, &v) || v != UINT32_MAX;
		return true;
	case FRA_PROTOCOL:
	case FRA_UNSPEC:
	case FRA_PAD:
		return true;
	default:
		*other = true;
		return true;
	}
}

/* local, main and default, as the guest's kernel has them too */
static bool is_default_rule(const struct net_rule *rule)
{
	return !rule->src.family && !rule->dst.family && !rule->mask && !*rule->input && !*rule->output &&
	       !rule->invert &&
	       ((rule->priority == 0 && rule->table == RT_TABLE_LOCAL) ||
		       (rule->priority == 32766 && rule->table == RT_TABLE_MAIN) ||
		       (rule->priority == 32767 && rule->table == RT_TABLE_DEFAULT));
}

int net_rule_read(struct net_rule *ret, const struct nlmsghdr *h, struct err *err)
{
	struct net_rule rule = {0};
	bool other = false;
	struct fib_rule_hdr info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (!nl_payload(h, &fixed, sizeof(info), &list))
		return malformed(h, err);
	memcpy(&info, fixed, sizeof(info));
	if (info.family != AF_INET && info.family != AF_INET6)
		return 1;
	rule.family = info.family;
	rule.table = info.table;
	rule.invert = (info.flags & FIB_RULE_INVERT) != 0;
	while (nl_next(&list, &a))
		if (!read_rule_attr(&rule, &a, &info, &other))
			return malformed(h, err);
	if (is_default_rule(&rule) && !other && info.action == FR_ACT_TO_TBL)
		return 1;
	if (other || info.action != FR_ACT_TO_TBL || info.tos)
		return err_set(err, ENOTSUP, "policy rule %u does more than choose a table: a pod's VM cannot have it",
			rule.priority);
	*ret = rule;
	return 0;
}

/* ---- all of it ---- */

static int too_many(const char *what, unsigned max, struct err *err)
{
	return err_set(err, E2BIG, "more than %u %s in the pod's network namespace", max, what);
}

#define ADD(list, count, read, what)                                                                                   \
	do {                                                                                                           \
		if ((count) == ARRAY_SIZE(list))                                                                       \
			return too_many(what, ARRAY_SIZE(list), err);                                                  \
		r = read(&(list)[count], h, err);                                                                      \
		(count) += r == 0;                                                                                     \
	} while (0)

int net_conf_add(struct net_conf *conf, const struct nlmsghdr *h, struct err *err)
{
	int r = 0;

	if (h->nlmsg_type == RTM_NEWLINK)
		ADD(conf->links, conf->n_links, net_link_read, "interfaces");
	else if (h->nlmsg_type == RTM_NEWADDR)
		ADD(conf->addresses, conf->n_addresses, net_address_read, "addresses");
	else if (h->nlmsg_type == RTM_NEWROUTE)
		ADD(conf->routes, conf->n_routes, net_route_read, "routes");
	else if (h->nlmsg_type == RTM_NEWNEIGH)
		ADD(conf->neighbours, conf->n_neighbours, net_neighbour_read, "static neighbours");
	else if (h->nlmsg_type == RTM_NEWRULE)
		ADD(conf->rules, conf->n_rules, net_rule_read, "policy rules");
	return r < 0 ? r : 0;
}

static int on_message(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	return net_conf_add(ctx, h, err);
}

static int read_once(struct net_conf *conf, struct nl *nl, struct err *err)
{
	static const struct {
		uint16_t type;
		size_t fixed;
	} lists[] = {{RTM_GETLINK, sizeof(struct ifinfomsg)}, {RTM_GETADDR, sizeof(struct ifaddrmsg)},
		{RTM_GETROUTE, sizeof(struct rtmsg)}, {RTM_GETNEIGH, sizeof(struct ndmsg)},
		{RTM_GETRULE, sizeof(struct fib_rule_hdr)}};
	static const uint8_t any[32];
	struct nl_request rq;
	int r = 0;

	memset(conf, 0, sizeof(*conf));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++) {
		nl_start(&rq, lists[i].type, 0, any, lists[i].fixed);
		r = nl_dump(nl, &rq, on_message, conf, err);
	}
	return r;
}

int net_conf_read(struct net_conf *conf, struct nl *nl, struct err *err)
{
	int r = -EINTR;

	for (int i = 0; r == -EINTR && i < READ_TRIES; i++)
		r = read_once(conf, nl, err);
	return r < 0 ? err_wrap(err, "read the pod's network") : 0;
}
