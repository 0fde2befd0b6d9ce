/* SPDX-License-Identifier: Apache-2.0 */
/* What a Configure may ask of the network: everything that is wrong is refused before anything is changed. */
#include "agent/net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef Podvm__Agent__V1__ConfigureRequest request;

struct net {
	request req;
	Podvm__Agent__V1__Interface itf[NET_INTERFACES_MAX + 1], *itf_ptrs[NET_INTERFACES_MAX + 1];
	Podvm__Agent__V1__Route route, *route_ptrs[NET_ROUTES_MAX + 1];
	Podvm__Agent__V1__Neighbour neighbour, *neighbour_ptrs[1];
	char *addresses[NET_ADDRESSES_MAX + 1];
};

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* A request that is right in all its parts. */
static void fill(struct net *n)
{
	podvm__agent__v1__configure_request__init(&n->req);
	for (int i = 0; i <= NET_INTERFACES_MAX; i++) {
		podvm__agent__v1__interface__init(&n->itf[i]);
		n->itf[i].name = text(i ? "net1" : "eth0");
		n->itf[i].mac = text("02:00:00:00:00:01");
		n->itf_ptrs[i] = &n->itf[i];
	}
	for (int i = 0; i <= NET_ADDRESSES_MAX; i++)
		n->addresses[i] = text("10.1.0.2/24 brd 10.1.0.255");
	n->itf[0].addresses = n->addresses;
	n->itf[0].n_addresses = 1;
	n->itf[0].mtu = 1400;
	podvm__agent__v1__route__init(&n->route);
	n->route.destination = text("0.0.0.0/0");
	n->route.gateway = text("10.1.0.1");
	n->route.interface = text("eth0");
	for (int i = 0; i <= NET_ROUTES_MAX; i++)
		n->route_ptrs[i] = &n->route;
	podvm__agent__v1__neighbour__init(&n->neighbour);
	n->neighbour.address = text("10.1.0.9");
	n->neighbour.mac = text("02:00:00:00:00:09");
	n->neighbour.interface = text("eth0");
	n->neighbour_ptrs[0] = &n->neighbour;
	n->req.interfaces = n->itf_ptrs;
	n->req.n_interfaces = 2;
	n->req.routes = n->route_ptrs;
	n->req.n_routes = 1;
	n->req.neighbours = n->neighbour_ptrs;
	n->req.n_neighbours = 1;
}

static void good(void **state)
{
	static const char *const addresses[] = {"10.1.0.2/32", "fd00::2/64", "10.1.0.2 peer 10.1.0.3/32",
		"10.1.0.2 peer 10.1.0.3/24 brd 10.1.0.255", "fe80::1/64"};
	struct net n;
	struct err err = {0};

	fill(&n);
	assert_int_equal(net_check(&n.req, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		n.addresses[0] = text(addresses[i]);
		assert_int_equal(net_check(&n.req, &err), 0);
	}
	n.route.gateway = text("fe80::1"); /* IPv4 by way of IPv6 */
	assert_int_equal(net_check(&n.req, &err), 0);
	n.route = (Podvm__Agent__V1__Route)PODVM__AGENT__V1__ROUTE__INIT;
	n.route.destination = text("fd00::/8");
	n.route.type = 7;
	assert_int_equal(net_check(&n.req, &err), 0);
}

static void refused(const struct net *n, const char *want)
{
	struct err err = {0};

	assert_int_equal(net_check(&n->req, &err), -EINVAL);
	if (!strstr(err.msg, want))
		fail_msg("'%s' is not in '%s'", want, err.msg);
}

static void bad_interfaces(void **state)
{
	static const char *const names[] = {"", "lo", "all", "default", "a/b", "..", "sixteen-letters-", "a b"};
	static const char *const addresses[] = {"", "10.1.0.2", "10.1.0.2/33", "10.1.0.2/24 brd",
		"10.1.0.2/24 x 10.1.0.3", "10.1.0.2 peer 10.1.0.3", "10.1.0.2/24 peer 10.1.0.3/24",
		"10.1.0.2 peer fd00::1/64", "fd00::2/64 brd 10.1.0.255", "10.1.0.2/24 brd fd00::1",
		"10.1.0.2/24 brd 10.1.0.255 more", "10.1.0.2 peer 10.1.0.3/24 brd 10.1.0.255 and more words"};
	struct net n;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fill(&n);
		n.itf[0].name = text(names[i]);
		refused(&n, "not a name");
	}
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		fill(&n);
		n.addresses[0] = text(addresses[i]);
		refused(&n, "interface eth0: '");
	}
	fill(&n);
	n.itf[1].name = text("eth0");
	refused(&n, "two interfaces are called eth0");
	fill(&n);
	n.itf[1].mac = text("02:00:00:00:00");
	refused(&n, "interface net1: '02:00:00:00:00' is no MAC address");
	fill(&n);
	n.itf[0].mtu = 67;
	refused(&n, "mtu 67");
	fill(&n);
	n.itf[0].accept_ra = 4;
	refused(&n, "accept_ra");
	fill(&n);
	n.itf[0].n_addresses = NET_ADDRESSES_MAX + 1;
	refused(&n, "more than 32 addresses");
	fill(&n);
	n.req.n_interfaces = NET_INTERFACES_MAX + 1;
	refused(&n, "more than 16 interfaces");
}

static void bad_routes(void **state)
{
	struct net n;

	fill(&n);
	n.route.destination = text("default");
	refused(&n, "route: 'default'");
	fill(&n);
	n.route.interface = text("eth7");
	refused(&n, "no interface 'eth7'");
	fill(&n);
	n.route.interface = text("");
	refused(&n, "no interface ''");
	fill(&n);
	n.route.type = 5; /* multicast */
	refused(&n, "type 5");
	fill(&n);
	n.route.scope = 256;
	refused(&n, "scope 256");
	fill(&n);
	n.route.source = text("fd00::1");
	refused(&n, "different families");
	fill(&n);
	n.route.destination = text("fd00::/8");
	refused(&n, "different families");
	fill(&n);
	n.req.n_routes = NET_ROUTES_MAX + 1;
	refused(&n, "256 routes");
}

static void bad_neighbours(void **state)
{
	struct net n;

	fill(&n);
	n.neighbour.address = text("10.1.0.9/32");
	refused(&n, "neighbour: '10.1.0.9/32'");
	fill(&n);
	n.neighbour.mac = text("x");
	refused(&n, "neighbour: 'x'");
	fill(&n);
	n.neighbour.interface = text("eth7");
	refused(&n, "no interface 'eth7'");
}

static void bad_rules(void **state)
{
	Podvm__Agent__V1__Rule rule = PODVM__AGENT__V1__RULE__INIT, *ptr = &rule;
	struct net n;
	struct err err = {0};

	fill(&n);
	n.req.rules = &ptr;
	n.req.n_rules = 1;
	rule.table = 100;
	rule.source = text("10.1.0.2/32");
	assert_int_equal(net_check(&n.req, &err), 0);
	rule.ipv6 = true;
	refused(&n, "policy rule 0: addresses of different families");
	rule.source = text("10.1.0.2");
	refused(&n, "policy rule 0: '10.1.0.2'");
	rule.source = text("");
	assert_int_equal(net_check(&n.req, &err), 0);
	rule.input = text("a/b");
	refused(&n, "not the name of an interface");
	rule.input = text("");
	rule.table = 0;
	refused(&n, "no table");
	n.req.n_rules = NET_RULES_MAX + 1;
	refused(&n, "64 rules");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(bad_interfaces),
		cmocka_unit_test(bad_routes),
		cmocka_unit_test(bad_neighbours),
		cmocka_unit_test(bad_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
