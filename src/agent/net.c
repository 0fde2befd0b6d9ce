/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order matters. Names first, all at once, because eth0 of the pod may be what the kernel called eth1 here: every device gets a
 * name that nobody wants, then its own. Then what must be set while it is down (IPv6 address generation, router
 * advertisements), then up, then addresses, then routes: a route is accepted when its gateway can be reached, so those
 * that are refused are tried again as long as others succeed.
 */
#include "agent/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <string.h>

#include "agent/modules.h"
#include "base/bytes.h"
#include "base/log.h"
#include "net/inet.h"
#include "net/netlink.h"

#define DEVICES_MAX 64
#define ADDRESS_TEXT_MAX (3 * INET_TEXT_MAX + 16)
#define MTU_MIN 68
#define MTU_MAX 65535

typedef Podvm__Agent__V1__ConfigureRequest request;
typedef Podvm__Agent__V1__Interface interface;

struct address {
	struct inet_addr local, peer, broadcast; /* family 0: none */
};

struct device {
	uint32_t index;
	uint8_t mac[6];
	bool taken;
};

struct net_setup {
	struct nl nl;
	const request *req;
	struct device devices[DEVICES_MAX];
	unsigned n_devices;
	uint32_t index[NET_INTERFACES_MAX]; /* of req->interfaces[i] */
};

/* ---- checks ---- */

/* LOCAL/PREFIX or LOCAL peer PEER/PREFIX, then perhaps brd BROADCAST: words as ip(8) has them. */
static int parse_address(struct address *ret, const char *text, struct err *err)
{
	char copy[ADDRESS_TEXT_MAX], *save = NULL, *word[6];
	struct address a = {0};
	unsigned n = 0, at = 1;
	bool peer;
	int r = str_format(copy, sizeof(copy), err, "%s", text);

	if (r < 0)
		return r;
	for (char *w = strtok_r(copy, " ", &save); w && n < ARRAY_SIZE(word); w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	peer = n >= 3 && str_eq(word[1], "peer");
	r = inet_parse(&a.local, n ? word[0] : "", !peer, err);
	if (r == 0 && peer) {
		r = inet_parse(&a.peer, word[2], true, err);
		at = 3;
	}
	if (r == 0 && n == at + 2 && str_eq(word[at], "brd"))
		r = inet_parse(&a.broadcast, word[at + 1], false, err);
	else if (r == 0 && n != at)
		r = err_set(err, EINVAL, "'%.80s' is no address", text);
	if (r == 0 && ((a.peer.family && a.peer.family != a.local.family) ||
			      (a.broadcast.family && (a.broadcast.family != AF_INET || a.local.family != AF_INET))))
		r = err_set(err, EINVAL, "'%.80s' mixes IPv4 and IPv6", text);
	*ret = a;
	return r;
}

static int check_interface(const request *req, size_t i, struct err *err)
{
	const interface *itf = req->interfaces[i];
	struct address a;
	uint8_t mac[6];
	int r = 0;

	if (!link_name_valid(itf->name) || str_eq(itf->name, "lo") || str_eq(itf->name, "all") ||
		str_eq(itf->name, "default"))
		return err_set(err, EINVAL, "interface '%.40s': not a name", itf->name);
	for (size_t k = 0; k < i; k++)
		if (str_eq(itf->name, req->interfaces[k]->name))
			return err_set(err, EINVAL, "two interfaces are called %s", itf->name);
	if (itf->mtu && (itf->mtu < MTU_MIN || itf->mtu > MTU_MAX))
		r = err_set(err, EINVAL, "mtu %u", itf->mtu);
	if (r == 0 && (itf->n_addresses > NET_ADDRESSES_MAX || itf->accept_ra > 3))
		r = err_set(err, EINVAL, "more than %d addresses, or accept_ra above 3", NET_ADDRESSES_MAX);
	if (r == 0)
		r = mac_parse(mac, itf->mac, err);
	for (size_t k = 0; r == 0 && k < itf->n_addresses; k++)
		r = parse_address(&a, itf->addresses[k], err);
	return r < 0 ? err_wrap(err, "interface %s", itf->name) : 0;
}

static bool interface_known(const request *req, const char *name)
{
	for (size_t i = 0; i < req->n_interfaces; i++)
		if (str_eq(req->interfaces[i]->name, name))
			return true;
	return str_eq(name, "lo");
}

static int parse_optional(struct inet_addr *ret, const char *text, struct err *err)
{
	*ret = (struct inet_addr){0};
	return *text ? inet_parse(ret, text, false, err) : 0;
}

static int check_route(const request *req, const Podvm__Agent__V1__Route *route, struct err *err)
{
	struct inet_addr dst, gateway, source;
	bool unicast = route->type <= RTN_UNICAST;
	int r = inet_parse(&dst, route->destination, true, err);

	if (r == 0)
		r = parse_optional(&gateway, route->gateway, err);
	if (r == 0)
		r = parse_optional(&source, route->source, err);
	if (r < 0)
		return err_wrap(err, "route");
	if ((!unicast && (route->type < RTN_BLACKHOLE || route->type > RTN_THROW)) || route->scope > UINT8_MAX ||
		route->protocol > UINT8_MAX)
		return err_set(err, EINVAL, "route to %s: type %u, scope %u, protocol %u", route->destination,
			route->type, route->scope, route->protocol);
	if ((unicast || *route->interface) && !interface_known(req, route->interface))
		return err_set(err, EINVAL, "route to %s: no interface '%.40s'", route->destination, route->interface);
	if ((source.family && source.family != dst.family) || (dst.family == AF_INET6 && gateway.family == AF_INET))
		return err_set(err, EINVAL, "route to %s: addresses of different families", route->destination);
	return 0;
}

static int check_neighbour(const request *req, const Podvm__Agent__V1__Neighbour *n, struct err *err)
{
	struct inet_addr a;
	uint8_t mac[6];
	int r = inet_parse(&a, n->address, false, err);

	if (r == 0)
		r = mac_parse(mac, n->mac, err);
	if (r == 0 && !interface_known(req, n->interface))
		r = err_set(err, EINVAL, "no interface '%.40s'", n->interface);
	return r < 0 ? err_wrap(err, "neighbour") : 0;
}

static int check_rule(const Podvm__Agent__V1__Rule *rule, struct err *err)
{
	struct inet_addr a = {0}, b = {0};
	uint8_t family = rule->ipv6 ? AF_INET6 : AF_INET;
	int r = *rule->source ? inet_parse(&a, rule->source, true, err) : 0;

	if (r == 0 && *rule->destination)
		r = inet_parse(&b, rule->destination, true, err);
	if (r == 0 && ((a.family && a.family != family) || (b.family && b.family != family)))
		r = err_set(err, EINVAL, "addresses of different families");
	if (r == 0 && ((*rule->input && !link_name_valid(rule->input)) ||
			      (*rule->output && !link_name_valid(rule->output)) || !rule->table))
		r = err_set(err, EINVAL, "no table, or not the name of an interface");
	return r < 0 ? err_wrap(err, "policy rule %u", rule->priority) : 0;
}

int net_check(const request *req, struct err *err)
{
	int r = 0;

	if (req->n_interfaces > NET_INTERFACES_MAX || req->n_routes > NET_ROUTES_MAX ||
		req->n_neighbours > NET_NEIGHBOURS_MAX || req->n_rules > NET_RULES_MAX)
		return err_set(err, EINVAL, "more than %d interfaces, %d routes, %d neighbours or %d rules",
			NET_INTERFACES_MAX, NET_ROUTES_MAX, NET_NEIGHBOURS_MAX, NET_RULES_MAX);
	for (size_t i = 0; r == 0 && i < req->n_interfaces; i++)
		r = check_interface(req, i, err);
	for (size_t i = 0; r == 0 && i < req->n_routes; i++)
		r = check_route(req, req->routes[i], err);
	for (size_t i = 0; r == 0 && i < req->n_neighbours; i++)
		r = check_neighbour(req, req->neighbours[i], err);
	for (size_t i = 0; r == 0 && i < req->n_rules; i++)
		r = check_rule(req->rules[i], err);
	return r;
}

/* ---- devices ---- */

static int on_link(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	struct net_setup *s = ctx;
	struct device *d = &s->devices[s->n_devices];
	struct ifinfomsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (h->nlmsg_type != RTM_NEWLINK || !nl_payload(h, &fixed, sizeof(info), &list))
		return 0;
	memcpy(&info, fixed, sizeof(info));
	if ((info.ifi_flags & IFF_LOOPBACK) || s->n_devices == DEVICES_MAX)
		return 0;
	while (nl_next(&list, &a))
		if (a.type == IFLA_ADDRESS && a.n == sizeof(d->mac)) {
			*d = (struct device){.index = (uint32_t)info.ifi_index};
			memcpy(d->mac, a.value, sizeof(d->mac));
			s->n_devices++;
			break;
		}
	return 0;
}

static int find_devices(struct net_setup *s, struct err *err)
{
	struct ifinfomsg any = {0};
	struct nl_request rq;
	int r = -EINTR;

	for (int i = 0; r == -EINTR && i < 10; i++) {
		s->n_devices = 0;
		nl_start(&rq, RTM_GETLINK, 0, &any, sizeof(any));
		r = nl_dump(&s->nl, &rq, on_link, s, err);
	}
	for (size_t i = 0; r == 0 && i < s->req->n_interfaces; i++) {
		const interface *itf = s->req->interfaces[i];
		uint8_t mac[6];

		r = mac_parse(mac, itf->mac, err);
		for (unsigned k = 0; r == 0 && !s->index[i] && k < s->n_devices; k++)
			if (!s->devices[k].taken && memcmp(s->devices[k].mac, mac, sizeof(mac)) == 0) {
				s->devices[k].taken = true;
				s->index[i] = s->devices[k].index;
			}
		if (r == 0 && !s->index[i])
			r = err_set(err, ENOENT, "interface %s: no device has the MAC address %s", itf->name, itf->mac);
	}
	return r;
}

static int rename_link(struct net_setup *s, uint32_t index, const char *name, struct err *err)
{
	struct ifinfomsg m = {.ifi_index = (int)index};
	struct nl_request rq;

	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	nl_put_str(&rq, IFLA_IFNAME, name);
	return nl_ask(&s->nl, &rq, err) < 0 ? err_wrap(err, "call an interface %s", name) : 0;
}

static int rename_links(struct net_setup *s, struct err *err)
{
	char name[IFNAMSIZ];
	int r = 0;

	for (unsigned i = 0; r == 0 && i < s->n_devices; i++) {
		(void)snprintf(name, sizeof(name), "podvm-%u", s->devices[i].index);
		r = rename_link(s, s->devices[i].index, name, err);
	}
	for (size_t i = 0; r == 0 && i < s->req->n_interfaces; i++)
		r = rename_link(s, s->index[i], s->req->interfaces[i]->name, err);
	return r;
}

static int set_ipv6(const interface *itf, const char *name, unsigned value, struct err *err)
{
	char path[96], text[12];
	auto_close int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", itf->name, name);
	(void)snprintf(text, sizeof(text), "%u", value);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0; /* a kernel without IPv6; an address of it would fail by itself */
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(err, "%s", path);
	return 0;
}

static bool has_link_local6(const interface *itf)
{
	struct address a;

	for (size_t i = 0; i < itf->n_addresses; i++)
		if (parse_address(&a, itf->addresses[i], NULL) == 0 && inet_is_link_local6(&a.local))
			return true;
	return false;
}

static int set_up_link(struct net_setup *s, const interface *itf, uint32_t index, struct err *err)
{
	struct ifinfomsg m = {.ifi_index = (int)index, .ifi_change = IFF_UP | IFF_NOARP};
	struct nl_request rq;
	int r = 0;

	if (itf->no_ipv6)
		r = set_ipv6(itf, "disable_ipv6", 1, err);
	if (r == 0 && itf->accept_ra)
		r = set_ipv6(itf, "accept_ra", itf->accept_ra - 1, err);
	if (r == 0 && has_link_local6(itf))
		r = set_ipv6(itf, "addr_gen_mode", IN6_ADDR_GEN_MODE_NONE, err);
	if (r < 0)
		return r;
	m.ifi_flags = IFF_UP | (itf->no_arp ? IFF_NOARP : 0);
	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	if (itf->mtu)
		nl_put_u32(&rq, IFLA_MTU, itf->mtu);
	r = nl_ask(&s->nl, &rq, err);
	return r < 0 ? err_wrap(err, "bring it up with mtu %u", itf->mtu) : 0;
}

/* ---- addresses, routes, neighbours ---- */

static int add_address(struct net_setup *s, uint32_t index, const char *text, struct err *err)
{
	struct ifaddrmsg m = {.ifa_index = index};
	struct nl_request rq;
	struct address a;
	unsigned n;
	int r = parse_address(&a, text, err);

	if (r < 0)
		return r;
	n = inet_bytes(a.local.family);
	m.ifa_family = a.local.family;
	m.ifa_prefixlen = a.peer.family ? a.peer.prefix : a.local.prefix;
	m.ifa_scope = inet_is_link_local6(&a.local) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	nl_start(&rq, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	nl_put(&rq, IFA_LOCAL, a.local.bytes, n);
	nl_put(&rq, IFA_ADDRESS, a.peer.family ? a.peer.bytes : a.local.bytes, n);
	if (a.broadcast.family)
		nl_put(&rq, IFA_BROADCAST, a.broadcast.bytes, n);
	nl_put_u32(&rq, IFA_FLAGS, IFA_F_PERMANENT | IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	return nl_ask(&s->nl, &rq, err) < 0 ? err_wrap(err, "address %s", text) : 0;
}

static uint32_t index_of(const struct net_setup *s, const char *name)
{
	for (size_t i = 0; i < s->req->n_interfaces; i++)
		if (str_eq(s->req->interfaces[i]->name, name))
			return s->index[i];
	return str_eq(name, "lo") ? 1 : 0;
}

static void put_gateway(struct nl_request *rq, const struct inet_addr *gateway, uint8_t family)
{
	struct {
		uint16_t family;
		uint8_t bytes[16];
	} via = {.family = gateway->family};

	if (!gateway->family)
		return;
	if (gateway->family == family) {
		nl_put(rq, RTA_GATEWAY, gateway->bytes, inet_bytes(family));
		return;
	}
	memcpy(via.bytes, gateway->bytes, sizeof(via.bytes));
	nl_put(rq, RTA_VIA, &via, sizeof(via));
}

static int add_route(struct net_setup *s, const Podvm__Agent__V1__Route *route, struct err *err)
{
	struct inet_addr dst, gateway, source;
	struct rtmsg m = {.rtm_table = RT_TABLE_MAIN,
		.rtm_type = (uint8_t)(route->type ? route->type : RTN_UNICAST),
		.rtm_protocol = (uint8_t)(route->protocol ? route->protocol : RTPROT_BOOT),
		.rtm_scope = (uint8_t)route->scope,
		.rtm_flags = route->onlink ? RTNH_F_ONLINK : 0};
	struct nl_request rq;
	size_t metrics;
	int r = inet_parse(&dst, route->destination, true, err);

	if (r == 0)
		r = parse_optional(&gateway, route->gateway, err);
	if (r == 0)
		r = parse_optional(&source, route->source, err);
	if (r < 0)
		return r;
	m.rtm_family = dst.family;
	m.rtm_dst_len = dst.prefix;
	/* IPv4 keeps the order of equal routes; IPv6 would make one multipath route of them. */
	nl_start(&rq, RTM_NEWROUTE, NLM_F_CREATE | (dst.family == AF_INET ? NLM_F_APPEND : 0), &m, sizeof(m));
	if (dst.prefix)
		nl_put(&rq, RTA_DST, dst.bytes, inet_bytes(dst.family));
	put_gateway(&rq, &gateway, dst.family);
	if (source.family)
		nl_put(&rq, RTA_PREFSRC, source.bytes, inet_bytes(source.family));
	if (route->table)
		nl_put_u32(&rq, RTA_TABLE, route->table); /* more than what fits into rtm_table */
	if (*route->interface)
		nl_put_u32(&rq, RTA_OIF, index_of(s, route->interface));
	if (route->metric)
		nl_put_u32(&rq, RTA_PRIORITY, route->metric);
	if (route->mtu) {
		metrics = nl_nest(&rq, RTA_METRICS);
		nl_put_u32(&rq, RTAX_MTU, route->mtu);
		nl_nest_end(&rq, metrics);
	}
	r = nl_ask(&s->nl, &rq, err);
	return r == -EEXIST ? 0 : r;
}

static int add_routes(struct net_setup *s, struct err *err)
{
	bool done[NET_ROUTES_MAX] = {false};
	size_t left = s->req->n_routes, before;
	int r = 0;

	do {
		before = left;
		for (size_t i = 0; i < s->req->n_routes; i++) {
			const Podvm__Agent__V1__Route *route = s->req->routes[i];

			if (done[i])
				continue;
			r = add_route(s, route, err);
			if (r < 0) {
				(void)err_wrap(err, "route to %s%s%s by %s", route->destination,
					*route->gateway ? " via " : "", route->gateway, route->interface);
				continue;
			}
			done[i] = true;
			left--;
		}
	} while (left && left < before);
	return left ? -err->code : 0;
}

static int add_neighbour(struct net_setup *s, const Podvm__Agent__V1__Neighbour *n, struct err *err)
{
	struct ndmsg m = {.ndm_ifindex = (int)index_of(s, n->interface), .ndm_state = NUD_PERMANENT};
	struct nl_request rq;
	struct inet_addr a;
	uint8_t mac[6];
	int r = inet_parse(&a, n->address, false, err);

	if (r == 0)
		r = mac_parse(mac, n->mac, err);
	if (r < 0)
		return r;
	m.ndm_family = a.family;
	nl_start(&rq, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	nl_put(&rq, NDA_DST, a.bytes, inet_bytes(a.family));
	nl_put(&rq, NDA_LLADDR, mac, sizeof(mac));
	return nl_ask(&s->nl, &rq, err) < 0 ? err_wrap(err, "neighbour %s on %s", n->address, n->interface) : 0;
}

static int add_rule(struct net_setup *s, const Podvm__Agent__V1__Rule *rule, struct err *err)
{
	struct fib_rule_hdr m = {.family = rule->ipv6 ? AF_INET6 : AF_INET, .action = FR_ACT_TO_TBL};
	struct inet_addr src = {0}, dst = {0};
	struct nl_request rq;
	int r = *rule->source ? inet_parse(&src, rule->source, true, err) : 0;

	if (r == 0 && *rule->destination)
		r = inet_parse(&dst, rule->destination, true, err);
	if (r < 0)
		return r;
	m.src_len = src.prefix;
	m.dst_len = dst.prefix;
	m.flags = rule->invert ? FIB_RULE_INVERT : 0;
	nl_start(&rq, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	if (src.family)
		nl_put(&rq, FRA_SRC, src.bytes, inet_bytes(src.family));
	if (dst.family)
		nl_put(&rq, FRA_DST, dst.bytes, inet_bytes(dst.family));
	nl_put_u32(&rq, FRA_PRIORITY, rule->priority);
	nl_put_u32(&rq, FRA_TABLE, rule->table);
	if (*rule->input)
		nl_put_str(&rq, FRA_IIFNAME, rule->input);
	if (*rule->output)
		nl_put_str(&rq, FRA_OIFNAME, rule->output);
	if (rule->mask) {
		nl_put_u32(&rq, FRA_FWMARK, rule->mark);
		nl_put_u32(&rq, FRA_FWMASK, rule->mask);
	}
	return nl_ask(&s->nl, &rq, err) < 0 ? err_wrap(err, "policy rule %u", rule->priority) : 0;
}

/* ---- all of it ---- */

static int set_up(struct net_setup *s, struct err *err)
{
	const request *req = s->req;
	int r = find_devices(s, err);

	if (r == 0)
		r = rename_links(s, err);
	for (size_t i = 0; r == 0 && i < req->n_interfaces; i++) {
		const interface *itf = req->interfaces[i];

		r = set_up_link(s, itf, s->index[i], err);
		for (size_t k = 0; r == 0 && k < itf->n_addresses; k++)
			r = add_address(s, s->index[i], itf->addresses[k], err);
		if (r < 0)
			return err_wrap(err, "interface %s", itf->name);
	}
	if (r == 0)
		r = add_routes(s, err);
	for (size_t i = 0; r == 0 && i < req->n_neighbours; i++)
		r = add_neighbour(s, req->neighbours[i], err);
	for (size_t i = 0; r == 0 && i < req->n_rules; i++)
		r = add_rule(s, req->rules[i], err);
	return r;
}

static int load_driver(struct err *err)
{
	struct modules m = {0};
	int r = modules_open(&m, MODULES_DIR, err);

	if (r < 0)
		return r;
	modules_skip(&m, MODULES_NETWORK_STAGE);
	(void)modules_load_stage(&m, MODULES_DIR);
	modules_close(&m);
	return 0;
}

int net_configure(const request *req, struct err *err)
{
	auto_free struct net_setup *s = NULL;
	int r = net_check(req, err);

	if (r < 0 || (!req->n_interfaces && !req->n_routes && !req->n_neighbours && !req->n_rules))
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(err, ENOMEM, "network: out of memory");
	s->req = req;
	r = load_driver(err);
	if (r == 0)
		r = nl_open(&s->nl, err);
	if (r < 0)
		return r;
	r = set_up(s, err);
	nl_close(&s->nl);
	return r;
}

int net_loopback(struct err *err)
{
	struct ifinfomsg m = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nl nl = NL_CLOSED;
	struct nl_request rq;
	int r = nl_open(&nl, err);

	if (r < 0)
		return r;
	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	r = nl_ask(&nl, &rq, err);
	nl_close(&nl);
	return r < 0 ? err_wrap(err, "loopback") : 0;
}
