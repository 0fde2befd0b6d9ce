/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as the kernel sends them, and as it does not; what is kept of them, and what the agent is told. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "pod/net_impl.h"
#include "pod/netns.h"

static const uint8_t MAC[6] = {2, 0, 0, 0, 0, 1};

static struct inet_addr ip(const char *text)
{
	struct inet_addr a = {0};

	assert_int_equal(inet_parse(&a, text, strchr(text, '/') != NULL, NULL), 0);
	return a;
}

static void put_ip(struct nl_request *rq, uint16_t type, const char *text)
{
	struct inet_addr a = ip(text);

	nl_put(rq, type, a.bytes, inet_bytes(a.family));
}

static void link_message(struct nl_request *rq, const char *name, int index, unsigned flags)
{
	struct ifinfomsg m = {.ifi_index = index, .ifi_type = ARPHRD_ETHER, .ifi_flags = flags};

	nl_start(rq, RTM_NEWLINK, 0, &m, sizeof(m));
	nl_put_str(rq, IFLA_IFNAME, name);
	nl_put_u32(rq, IFLA_MTU, 1400);
	nl_put(rq, IFLA_ADDRESS, MAC, sizeof(MAC));
}

static void put_kind(struct nl_request *rq, const char *kind)
{
	size_t nest = nl_nest(rq, IFLA_LINKINFO);

	nl_put_str(rq, IFLA_INFO_KIND, kind);
	nl_nest_end(rq, nest);
}

static void interfaces(void **state)
{
	struct net_link link = {0};
	struct nl_request rq;
	int32_t conf[MAX_OF((int)DEVCONF_ACCEPT_RA, (int)DEVCONF_DISABLE_IPV6) + 1] = {0};
	size_t families, inet6;

	link_message(&rq, "eth0", 3, IFF_UP | IFF_NOARP);
	put_kind(&rq, "veth");
	nl_put_u32(&rq, IFLA_LINK, 9);
	families = nl_nest(&rq, IFLA_AF_SPEC);
	inet6 = nl_nest(&rq, AF_INET6);
	conf[DEVCONF_ACCEPT_RA] = 2;
	conf[DEVCONF_DISABLE_IPV6] = 1;
	nl_put(&rq, IFLA_INET6_CONF, conf, sizeof(conf));
	nl_nest_end(&rq, inet6);
	nl_nest_end(&rq, families);
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 0);
	assert_string_equal(link.name, "eth0");
	assert_int_equal(link.index, 3);
	assert_int_equal(link.mtu, 1400);
	assert_memory_equal(link.mac, MAC, 6);
	assert_int_equal(link.lower, 0); /* a veth's peer */
	assert_true(link.has_mac && link.no_ipv6 && link.flags & IFF_NOARP);
	assert_int_equal(link.accept_ra, 3);

	link_message(&rq, "v5", 4, IFF_UP);
	put_kind(&rq, "vlan");
	nl_put_u32(&rq, IFLA_LINK, 3);
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 0);
	assert_int_equal(link.lower, 3);
	nl_put_u32(&rq, IFLA_LINK_NETNSID, 0);
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 0);
	assert_int_equal(link.lower, 0);
}

static void interfaces_of_no_interest(void **state)
{
	struct net_link link;
	struct nl_request rq;

	link_message(&rq, "lo", 1, IFF_UP | IFF_LOOPBACK);
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 1);
	link_message(&rq, "eth0", 2, 0);
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 1);
	link_message(&rq, "podvm0", 2, IFF_UP);
	put_kind(&rq, "tun");
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 1);
	link_message(&rq, "podvm0", 2, IFF_UP); /* only called so */
	put_kind(&rq, "veth");
	assert_int_equal(net_link_read(&link, &rq.h, NULL), 0);
}

static void malformed_interfaces(void **state)
{
	struct net_link link;
	struct nl_request rq;
	struct err err = {0};

	link_message(&rq, "eth0", 2, IFF_UP);
	rq.h.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)) - 1;
	assert_int_equal(net_link_read(&link, &rq.h, &err), -EPROTO);
	link_message(&rq, "eth0", 0, IFF_UP);
	assert_int_equal(net_link_read(&link, &rq.h, &err), -EPROTO);
	link_message(&rq, "", 2, IFF_UP);
	assert_int_equal(net_link_read(&link, &rq.h, &err), -EPROTO);
	link_message(&rq, "a-name-of-sixteen", 2, IFF_UP);
	assert_int_equal(net_link_read(&link, &rq.h, &err), -EPROTO);
	link_message(&rq, "eth0", 2, IFF_UP);
	nl_put(&rq, IFLA_MTU, "x", 1);
	assert_int_equal(net_link_read(&link, &rq.h, &err), -EPROTO);
}

static void address_message(struct nl_request *rq, uint8_t family, uint8_t prefix, uint8_t flags)
{
	struct ifaddrmsg m = {.ifa_family = family, .ifa_prefixlen = prefix, .ifa_flags = flags, .ifa_index = 3};

	nl_start(rq, RTM_NEWADDR, 0, &m, sizeof(m));
}

static void addresses(void **state)
{
	struct net_address a;
	struct nl_request rq;

	address_message(&rq, AF_INET, 24, IFA_F_PERMANENT);
	put_ip(&rq, IFA_ADDRESS, "10.1.0.2");
	put_ip(&rq, IFA_LOCAL, "10.1.0.2");
	put_ip(&rq, IFA_BROADCAST, "10.1.0.255");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 0);
	assert_int_equal(a.link, 3);
	assert_int_equal(a.local.prefix, 24);
	assert_int_equal(a.peer.family, 0);
	assert_int_equal(a.broadcast.bytes[3], 255);

	address_message(&rq, AF_INET, 32, IFA_F_PERMANENT);
	put_ip(&rq, IFA_ADDRESS, "10.1.0.9");
	put_ip(&rq, IFA_LOCAL, "10.1.0.2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 0);
	assert_int_equal(a.local.bytes[3], 2);
	assert_int_equal(a.peer.bytes[3], 9);

	address_message(&rq, AF_INET6, 64, IFA_F_PERMANENT | IFA_F_TENTATIVE);
	put_ip(&rq, IFA_ADDRESS, "fd00::2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 0);
	assert_int_equal(a.local.family, AF_INET6);
	/* Wide flags win: this one came by router advertisement. */
	nl_put_u32(&rq, IFA_FLAGS, IFA_F_MANAGETEMPADDR);
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 1);
	address_message(&rq, AF_INET6, 64, IFA_F_PERMANENT | IFA_F_DADFAILED);
	put_ip(&rq, IFA_ADDRESS, "fd00::2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 1);
	address_message(&rq, AF_PACKET, 0, 0);
	assert_int_equal(net_address_read(&a, &rq.h, NULL), 1);
}

static void malformed_addresses(void **state)
{
	struct net_address a;
	struct nl_request rq;

	address_message(&rq, AF_INET, 24, 0);
	assert_int_equal(net_address_read(&a, &rq.h, NULL), -EPROTO); /* none in it */
	address_message(&rq, AF_INET, 33, 0);
	put_ip(&rq, IFA_LOCAL, "10.1.0.2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), -EPROTO);
	address_message(&rq, AF_INET, 24, 0);
	put_ip(&rq, IFA_LOCAL, "fd00::2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), -EPROTO);
	address_message(&rq, AF_INET6, 129, 0);
	put_ip(&rq, IFA_ADDRESS, "fd00::2");
	assert_int_equal(net_address_read(&a, &rq.h, NULL), -EPROTO);
	rq.h.nlmsg_len = NLMSG_HDRLEN;
	assert_int_equal(net_address_read(&a, &rq.h, NULL), -EPROTO);
}

static struct rtmsg route_fixed(uint8_t family, uint8_t dst_len)
{
	return (struct rtmsg){.rtm_family = family,
		.rtm_dst_len = dst_len,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_type = RTN_UNICAST,
		.rtm_protocol = RTPROT_BOOT};
}

static void routes(void **state)
{
	struct rtmsg m = route_fixed(AF_INET, 0);
	struct net_route r;
	struct nl_request rq;
	struct {
		uint16_t family;
		uint8_t bytes[16];
	} via = {.family = AF_INET6};
	size_t nest;

	m.rtm_flags = RTNH_F_ONLINK;
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	put_ip(&rq, RTA_GATEWAY, "10.1.0.1");
	put_ip(&rq, RTA_PREFSRC, "10.1.0.2");
	nl_put_u32(&rq, RTA_OIF, 3);
	nl_put_u32(&rq, RTA_PRIORITY, 100);
	nest = nl_nest(&rq, RTA_METRICS);
	nl_put_u32(&rq, RTAX_MTU, 1300);
	nl_nest_end(&rq, nest);
	assert_int_equal(net_route_read(&r, &rq.h, NULL), 0);
	assert_int_equal(r.dst.family, AF_INET);
	assert_int_equal(r.dst.prefix, 0);
	assert_int_equal(r.gateway.bytes[3], 1);
	assert_int_equal(r.source.bytes[3], 2);
	assert_true(r.onlink);
	assert_int_equal(r.link, 3);
	assert_int_equal(r.metric, 100);
	assert_int_equal(r.mtu, 1300);

	m = route_fixed(AF_INET, 8);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	put_ip(&rq, RTA_DST, "10.0.0.0");
	via.bytes[15] = 7;
	nl_put(&rq, RTA_VIA, &via, sizeof(via));
	assert_int_equal(net_route_read(&r, &rq.h, NULL), 0);
	assert_int_equal(r.gateway.family, AF_INET6);
	assert_int_equal(r.gateway.bytes[15], 7);
	assert_int_equal(r.dst.prefix, 8);
}

static void routes_of_no_interest_or_refused(void **state)
{
	struct rta_cacheinfo ci = {.rta_expires = 1};
	struct rtmsg m;
	struct net_route r;
	struct nl_request rq;
	struct err err = {0};

	m = route_fixed(AF_INET, 0);
	m.rtm_table = RT_TABLE_LOCAL;
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	assert_int_equal(net_route_read(&r, &rq.h, &err), 1);
	nl_put_u32(&rq, RTA_TABLE, 1000); /* the wide table wins */
	assert_int_equal(net_route_read(&r, &rq.h, &err), 0);
	assert_int_equal(r.table, 1000);
	m = route_fixed(AF_INET6, 0);
	m.rtm_protocol = RTPROT_RA;
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	assert_int_equal(net_route_read(&r, &rq.h, &err), 1);
	m = route_fixed(AF_INET6, 0);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	nl_put(&rq, RTA_CACHEINFO, &ci, sizeof(ci));
	assert_int_equal(net_route_read(&r, &rq.h, &err), 1);
	m = route_fixed(AF_INET, 0);
	m.rtm_type = RTN_MULTICAST;
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	assert_int_equal(net_route_read(&r, &rq.h, &err), 1);
	m = route_fixed(AF_INET, 8);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	put_ip(&rq, RTA_DST, "10.0.0.0");
	nl_put(&rq, RTA_MULTIPATH, "12345678", 8);
	assert_int_equal(net_route_read(&r, &rq.h, &err), -ENOTSUP);
	assert_string_equal(err.msg, "the route to 10.0.0.0/8 has several next hops, which a pod's VM cannot have");
}

static void malformed_routes(void **state)
{
	struct rtmsg m = route_fixed(AF_INET, 8);
	struct net_route r;
	struct nl_request rq;

	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m)); /* a prefix without a destination */
	assert_int_equal(net_route_read(&r, &rq.h, NULL), -EPROTO);
	m.rtm_dst_len = 200;
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	put_ip(&rq, RTA_DST, "10.0.0.0");
	assert_int_equal(net_route_read(&r, &rq.h, NULL), -EPROTO);
	m = route_fixed(AF_INET, 0);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	nl_put(&rq, RTA_VIA, "x", 1);
	assert_int_equal(net_route_read(&r, &rq.h, NULL), -EPROTO);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	nl_put(&rq, RTA_GATEWAY, "12345", 5);
	assert_int_equal(net_route_read(&r, &rq.h, NULL), -EPROTO);
}

static void neighbours(void **state)
{
	struct ndmsg m = {.ndm_family = AF_INET, .ndm_state = NUD_PERMANENT, .ndm_ifindex = 3};
	struct net_neighbour n;
	struct nl_request rq;

	nl_start(&rq, RTM_NEWNEIGH, 0, &m, sizeof(m));
	put_ip(&rq, NDA_DST, "10.1.0.9");
	assert_int_equal(net_neighbour_read(&n, &rq.h, NULL), 1); /* no MAC */
	nl_put(&rq, NDA_LLADDR, MAC, 6);
	assert_int_equal(net_neighbour_read(&n, &rq.h, NULL), 0);
	assert_memory_equal(n.mac, MAC, 6);
	m.ndm_state = NUD_REACHABLE;
	nl_start(&rq, RTM_NEWNEIGH, 0, &m, sizeof(m));
	put_ip(&rq, NDA_DST, "10.1.0.9");
	nl_put(&rq, NDA_LLADDR, MAC, 6);
	assert_int_equal(net_neighbour_read(&n, &rq.h, NULL), 1);
	m.ndm_state = NUD_PERMANENT;
	nl_start(&rq, RTM_NEWNEIGH, 0, &m, sizeof(m));
	put_ip(&rq, NDA_DST, "fd00::1");
	assert_int_equal(net_neighbour_read(&n, &rq.h, NULL), -EPROTO);
}

static void rules(void **state)
{
	static const struct {
		uint32_t priority, table;
	} defaults[] = {{0, RT_TABLE_LOCAL}, {32766, RT_TABLE_MAIN}, {32767, RT_TABLE_DEFAULT}};
	struct fib_rule_hdr m = {.family = AF_INET, .action = FR_ACT_TO_TBL};
	struct net_rule r;
	struct nl_request rq;
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		m.table = (uint8_t)defaults[i].table;
		nl_start(&rq, RTM_NEWRULE, 0, &m, sizeof(m));
		nl_put_u32(&rq, FRA_PRIORITY, defaults[i].priority);
		nl_put_u32(&rq, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
		assert_int_equal(net_rule_read(&r, &rq.h, &err), 1);
		nl_put_str(&rq, FRA_IIFNAME, "eth0");
		assert_int_equal(net_rule_read(&r, &rq.h, &err), 0);
	}
	m.src_len = 32;
	nl_start(&rq, RTM_NEWRULE, 0, &m, sizeof(m));
	put_ip(&rq, FRA_SRC, "10.1.0.2");
	nl_put_u32(&rq, FRA_PRIORITY, 5000);
	nl_put_u32(&rq, FRA_TABLE, 100);
	assert_int_equal(net_rule_read(&r, &rq.h, &err), 0);
	assert_int_equal(r.src.prefix, 32);
	assert_int_equal(r.table, 100);
	assert_int_equal(r.dst.family, 0);
	nl_put_u32(&rq, FRA_SUPPRESS_PREFIXLEN, 0);
	assert_int_equal(net_rule_read(&r, &rq.h, &err), -ENOTSUP);
	assert_string_equal(err.msg, "policy rule 5000 does more than choose a table: a pod's VM cannot have it");
	m.action = FR_ACT_BLACKHOLE;
	m.src_len = 0;
	nl_start(&rq, RTM_NEWRULE, 0, &m, sizeof(m));
	assert_int_equal(net_rule_read(&r, &rq.h, &err), -ENOTSUP);
	m.src_len = 33;
	nl_start(&rq, RTM_NEWRULE, 0, &m, sizeof(m));
	put_ip(&rq, FRA_SRC, "10.1.0.2");
	assert_int_equal(net_rule_read(&r, &rq.h, &err), -EPROTO);
	rq.h.nlmsg_len = NLMSG_HDRLEN + 11;
	assert_int_equal(net_rule_read(&r, &rq.h, &err), -EPROTO);
}

static void too_much_is_refused(void **state)
{
	struct net_conf *conf = calloc(1, sizeof(*conf));
	struct rtmsg m = route_fixed(AF_INET, 0);
	struct nl_request rq;
	struct err err = {0};
	int r = 0;

	assert_non_null(conf);
	nl_start(&rq, RTM_NEWROUTE, 0, &m, sizeof(m));
	for (unsigned i = 0; i < NET_ROUTES_MAX; i++)
		assert_int_equal(net_conf_add(conf, &rq.h, &err), 0);
	r = net_conf_add(conf, &rq.h, &err);
	assert_int_equal(r, -E2BIG);
	assert_string_equal(err.msg, "more than 256 routes in the pod's network namespace");
	free(conf);
}

static void what_the_agent_is_told(void **state)
{
	Podvm__Agent__V1__ConfigureRequest req = PODVM__AGENT__V1__CONFIGURE_REQUEST__INIT;
	struct pod_net net = {.nl = NL_CLOSED};
	struct net_conf *c = net.conf = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->links[c->n_links++] = (struct net_link){
		.name = "eth0", .index = 3, .mtu = 1400, .mac = {2, 0, 0, 0, 0, 1}, .has_mac = true, .accept_ra = 2};
	c->addresses[c->n_addresses++] = (struct net_address){
		.link = 3, .local = ip("10.1.0.2/24"), .broadcast = ip("10.1.0.255")};
	c->addresses[c->n_addresses++] = (struct net_address){
		.link = 3, .local = ip("10.1.0.3/32"), .peer = ip("10.1.0.4/32")};
	c->addresses[c->n_addresses++] = (struct net_address){.link = 1, .local = ip("127.0.0.1/8")};
	c->routes[c->n_routes++] = (struct net_route){
		.link = 3, .dst = ip("0.0.0.0/0"), .gateway = ip("10.1.0.1"), .type = RTN_UNICAST, .onlink = true};
	c->routes[c->n_routes++] = (struct net_route){.link = 1, .dst = ip("10.2.0.0/16"), .type = RTN_UNICAST};
	c->routes[c->n_routes++] = (struct net_route){.link = 1, .dst = ip("fd09::/64"), .type = RTN_BLACKHOLE};
	c->neighbours[c->n_neighbours++] = (struct net_neighbour){.link = 3, .address = ip("10.1.0.9"), .mac = {2}};
	assert_int_equal(pod_net_fill(&net, &req, NULL), 0);
	assert_int_equal(req.n_interfaces, 1);
	assert_string_equal(req.interfaces[0]->name, "eth0");
	assert_string_equal(req.interfaces[0]->mac, "02:00:00:00:00:01");
	assert_int_equal(req.interfaces[0]->accept_ra, 2);
	assert_int_equal(req.interfaces[0]->n_addresses, 2);
	assert_string_equal(req.interfaces[0]->addresses[0], "10.1.0.2/24 brd 10.1.0.255");
	assert_string_equal(req.interfaces[0]->addresses[1], "10.1.0.3 peer 10.1.0.4/32");
	assert_int_equal(req.n_routes, 2);
	assert_string_equal(req.routes[0]->gateway, "10.1.0.1");
	assert_string_equal(req.routes[0]->interface, "eth0");
	assert_true(req.routes[0]->onlink);
	assert_string_equal(req.routes[1]->destination, "fd09::/64");
	assert_string_equal(req.routes[1]->interface, "");
	assert_int_equal(req.n_neighbours, 1);
	assert_string_equal(req.neighbours[0]->mac, "02:00:00:00:00:00");
	pod_net_filled(&net);
	assert_int_equal(pod_net_fill(&net, &req, NULL), -EALREADY);
}

static void the_nodes_own_namespace_is_refused(void **state)
{
	struct err err = {0};
	int fd = -1;

	assert_int_equal(netns_open(&fd, "/proc/self/ns/net", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "own network namespace"));
	assert_int_equal(netns_open(&fd, "/proc/self/ns/mnt", &err), -EINVAL);
	assert_int_equal(fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nodes_own_namespace_is_refused),
		cmocka_unit_test(interfaces),
		cmocka_unit_test(interfaces_of_no_interest),
		cmocka_unit_test(malformed_interfaces),
		cmocka_unit_test(addresses),
		cmocka_unit_test(malformed_addresses),
		cmocka_unit_test(routes),
		cmocka_unit_test(routes_of_no_interest_or_refused),
		cmocka_unit_test(malformed_routes),
		cmocka_unit_test(neighbours),
		cmocka_unit_test(rules),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(what_the_agent_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
