/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the pod's network share: net.c (open, close), net_link.c (reading), net_tc.c (filters), net_fill.c. */
#include "net/inet.h"
#include "net/netlink.h"
#include "pod/net.h"

#define NET_LINKS_MAX 64 /* in the namespace, whatever their state */
#define NET_TAP_PREFIX "podvm"

struct net_link {
	char name[16];
	char kind[16]; /* "veth", "tun", ...; "" for hardware */
	uint32_t index, mtu;
	uint32_t lower;	 /* index of the interface below in the same namespace; 0: none */
	uint32_t master; /* index of its bridge or bond; 0: none */
	uint16_t arp_type;
	uint32_t flags; /* IFF_* */
	uint8_t mac[6];
	bool has_mac;
	bool no_ipv6;
	uint8_t accept_ra; /* plus 1; 0: unknown */
};

struct net_address {
	uint32_t link;
	struct inet_addr local, peer, broadcast; /* family 0: none */
};

struct net_route {
	uint32_t link; /* 0: none */
	struct inet_addr dst, gateway, source;
	uint8_t scope, type, protocol;
	bool onlink;
	uint32_t metric, mtu, table;
};

struct net_rule {
	uint8_t family;
	bool invert;
	struct inet_addr src, dst; /* family 0: any */
	uint32_t table, priority, mark, mask;
	char input[16], output[16]; /* "" */
};

struct net_neighbour {
	uint32_t link;
	struct inet_addr address;
	uint8_t mac[6];
};

/* What was read. The counts are bounded by the arrays. */
struct net_conf {
	struct net_link links[NET_LINKS_MAX];
	struct net_address addresses[VM_NICS_MAX * NET_ADDRESSES_MAX];
	struct net_route routes[NET_ROUTES_MAX];
	struct net_neighbour neighbours[NET_NEIGHBOURS_MAX];
	struct net_rule rules[NET_RULES_MAX];
	unsigned n_links, n_addresses, n_routes, n_neighbours, n_rules;
};

/* ---- net_link.c: each fills *ret from one message ---- */

/* 0; 1: of no interest (loopback, down, temporary, another table ...); -ENOTSUP or -EPROTO with err. */
int net_link_read(struct net_link *ret, const struct nlmsghdr *h, struct err *err) must_check;
int net_address_read(struct net_address *ret, const struct nlmsghdr *h, struct err *err) must_check;
int net_route_read(struct net_route *ret, const struct nlmsghdr *h, struct err *err) must_check;
int net_neighbour_read(struct net_neighbour *ret, const struct nlmsghdr *h, struct err *err) must_check;
int net_rule_read(struct net_rule *ret, const struct nlmsghdr *h, struct err *err) must_check;
/* Adds what the message tells to `conf`, whatever its type. 0 or -errno. */
int net_conf_add(struct net_conf *conf, const struct nlmsghdr *h, struct err *err) must_check;
/* Reads the namespace of `nl`. Tries again when it changes meanwhile. */
int net_conf_read(struct net_conf *conf, struct nl *nl, struct err *err) must_check;

/* ---- net_tc.c ---- */

/* Everything that arrives at `from` leaves by `to`. -EBUSY: it goes to another device that lives. */
int net_redirect(struct nl *nl, uint32_t from, uint32_t to, struct err *err) must_check;
/* Removes our filter, and the queueing discipline when no other filter is there. only_dead: unless its target lives. */
int net_redirect_remove(struct nl *nl, uint32_t from, bool only_dead, struct err *err);

/* ---- net_fill.c ---- */

struct net_message; /* what pod_net_fill made */
void net_message_free(struct net_message *m);

struct pod_net {
	struct nl nl; /* in the namespace */
	struct vm_nic nics[VM_NICS_MAX];
	uint32_t index[VM_NICS_MAX]; /* of the interface in the namespace */
	uint32_t tap[VM_NICS_MAX];   /* of its tap */
	bool tied[VM_NICS_MAX];
	unsigned n;
	struct net_conf *conf; /* NULL once it was sent */
	struct net_message *message;
	char ip[INET_TEXT_MAX];
};
