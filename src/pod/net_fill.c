/* SPDX-License-Identifier: Apache-2.0 */
/* What was read, as the agent wants it: texts in one block that is as large as the counts say. */
#include <errno.h>
#include <linux/if.h>
#include <string.h>

#include "base/bytes.h"
#include "pod/net_impl.h"

#define ADDRESS_TEXT_MAX (3 * INET_TEXT_MAX + 16)

struct address_text {
	char text[ADDRESS_TEXT_MAX];
};

struct interface {
	Podvm__Agent__V1__Interface m;
	char mac[MAC_TEXT_MAX];
	char *addresses[NET_ADDRESSES_MAX];
};

struct route {
	Podvm__Agent__V1__Route m;
	char dst[INET_TEXT_MAX], gateway[INET_TEXT_MAX], source[INET_TEXT_MAX];
};

struct neighbour {
	Podvm__Agent__V1__Neighbour m;
	char address[INET_TEXT_MAX], mac[MAC_TEXT_MAX];
};

struct rule {
	Podvm__Agent__V1__Rule m;
	char source[INET_TEXT_MAX], destination[INET_TEXT_MAX];
};

struct net_message {
	struct interface *interfaces;
	struct address_text *addresses;
	struct route *routes;
	struct neighbour *neighbours;
	struct rule *rules;
	Podvm__Agent__V1__Interface *interface_ptrs[VM_NICS_MAX];
	Podvm__Agent__V1__Route *route_ptrs[NET_ROUTES_MAX];
	Podvm__Agent__V1__Neighbour *neighbour_ptrs[NET_NEIGHBOURS_MAX];
	Podvm__Agent__V1__Rule *rule_ptrs[NET_RULES_MAX];
	size_t n_interfaces, n_addresses, n_routes, n_neighbours, n_rules;
};

void net_message_free(struct net_message *m)
{
	if (!m)
		return;
	free(m->interfaces);
	free(m->addresses);
	free(m->routes);
	free(m->neighbours);
	free(m->rules);
	free(m);
}

static struct net_link *find_link(struct net_conf *conf, uint32_t index)
{
	for (unsigned i = 0; i < conf->n_links; i++)
		if (conf->links[i].index == index)
			return &conf->links[i];
	return NULL;
}

static int add_addresses(struct net_message *m, struct interface *to, const struct net_conf *conf,
	const struct net_link *link, struct err *err)
{
	for (unsigned i = 0; i < conf->n_addresses; i++) {
		const struct net_address *a = &conf->addresses[i];
		char local[INET_TEXT_MAX], peer[INET_TEXT_MAX], broadcast[INET_TEXT_MAX];
		char *text = m->addresses[m->n_addresses].text;

		if (a->link != link->index)
			continue;
		if (to->m.n_addresses == NET_ADDRESSES_MAX)
			return err_set(
				err, E2BIG, "interface %s has more than %d addresses", link->name, NET_ADDRESSES_MAX);
		inet_text(local, &a->local, !a->peer.family);
		inet_text(peer, &a->peer, true);
		inet_text(broadcast, &a->broadcast, false);
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s%s%s%s%s", local, *peer ? " peer " : "", peer,
			*broadcast ? " brd " : "", broadcast);
		to->addresses[to->m.n_addresses++] = text;
		m->n_addresses++;
	}
	return 0;
}

static int add_interface(struct net_message *m, const struct net_conf *conf, struct net_link *link, struct err *err)
{
	struct interface *to = &m->interfaces[m->n_interfaces];

	podvm__agent__v1__interface__init(&to->m);
	mac_text(to->mac, link->mac);
	to->m.name = link->name;
	to->m.mac = to->mac;
	to->m.mtu = link->mtu;
	to->m.addresses = to->addresses;
	to->m.no_arp = (link->flags & IFF_NOARP) != 0;
	to->m.no_ipv6 = link->no_ipv6;
	to->m.accept_ra = link->accept_ra;
	m->interface_ptrs[m->n_interfaces++] = &to->m;
	return add_addresses(m, to, conf, link, err);
}

/* A route by way of lo, or of an interface that is down, means nothing in the guest. */
static void add_route(struct net_message *m, struct net_conf *conf, const struct net_route *r)
{
	struct route *to = &m->routes[m->n_routes];
	struct net_link *link = find_link(conf, r->link);

	if (!link && r->type == RTN_UNICAST)
		return;
	podvm__agent__v1__route__init(&to->m);
	inet_text(to->dst, &r->dst, true);
	inet_text(to->gateway, &r->gateway, false);
	inet_text(to->source, &r->source, false);
	to->m.destination = to->dst;
	to->m.gateway = to->gateway;
	to->m.source = to->source;
	if (link && r->type == RTN_UNICAST)
		to->m.interface = link->name;
	to->m.scope = r->scope;
	to->m.metric = r->metric;
	to->m.onlink = r->onlink;
	to->m.type = r->type;
	to->m.mtu = r->mtu;
	to->m.protocol = r->protocol;
	to->m.table = r->table;
	m->route_ptrs[m->n_routes++] = &to->m;
}

static void add_neighbour(struct net_message *m, struct net_conf *conf, const struct net_neighbour *n)
{
	struct neighbour *to = &m->neighbours[m->n_neighbours];
	struct net_link *link = find_link(conf, n->link);

	if (!link)
		return;
	podvm__agent__v1__neighbour__init(&to->m);
	inet_text(to->address, &n->address, false);
	mac_text(to->mac, n->mac);
	to->m.address = to->address;
	to->m.mac = to->mac;
	to->m.interface = link->name;
	m->neighbour_ptrs[m->n_neighbours++] = &to->m;
}

static void add_rule(struct net_message *m, struct net_rule *r)
{
	struct rule *to = &m->rules[m->n_rules];

	podvm__agent__v1__rule__init(&to->m);
	inet_text(to->source, &r->src, true);
	inet_text(to->destination, &r->dst, true);
	to->m.ipv6 = r->family == AF_INET6;
	to->m.priority = r->priority;
	to->m.table = r->table;
	to->m.source = to->source;
	to->m.destination = to->destination;
	to->m.input = r->input;
	to->m.output = r->output;
	to->m.mark = r->mark;
	to->m.mask = r->mask;
	to->m.invert = r->invert;
	m->rule_ptrs[m->n_rules++] = &to->m;
}

static int build(struct net_message *m, struct net_conf *conf, struct err *err)
{
	int r = 0;

	m->interfaces = calloc(conf->n_links + 1, sizeof(*m->interfaces));
	m->addresses = calloc(conf->n_addresses + 1, sizeof(*m->addresses));
	m->routes = calloc(conf->n_routes + 1, sizeof(*m->routes));
	m->neighbours = calloc(conf->n_neighbours + 1, sizeof(*m->neighbours));
	m->rules = calloc(conf->n_rules + 1, sizeof(*m->rules));
	if (!m->interfaces || !m->addresses || !m->routes || !m->neighbours || !m->rules)
		return err_set(err, ENOMEM, "the pod's network: out of memory");
	for (unsigned i = 0; r == 0 && i < conf->n_links; i++)
		r = add_interface(m, conf, &conf->links[i], err);
	for (unsigned i = 0; i < conf->n_routes; i++)
		add_route(m, conf, &conf->routes[i]);
	for (unsigned i = 0; i < conf->n_neighbours; i++)
		add_neighbour(m, conf, &conf->neighbours[i]);
	for (unsigned i = 0; i < conf->n_rules; i++)
		add_rule(m, &conf->rules[i]);
	return r;
}

int pod_net_fill(struct pod_net *net, Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	struct net_message *m;
	int r;

	if (!net->conf)
		return err_set(err, EALREADY, "the pod's network was handed over already");
	net_message_free(take_ptr(net->message));
	m = net->message = calloc(1, sizeof(*m));
	r = m ? build(m, net->conf, err) : err_set(err, ENOMEM, "the pod's network: out of memory");
	if (r < 0)
		return r;
	req->interfaces = m->interface_ptrs;
	req->n_interfaces = m->n_interfaces;
	req->routes = m->route_ptrs;
	req->n_routes = m->n_routes;
	req->neighbours = m->neighbour_ptrs;
	req->n_neighbours = m->n_neighbours;
	req->rules = m->rule_ptrs;
	req->n_rules = m->n_rules;
	return 0;
}

void pod_net_filled(struct pod_net *net)
{
	net_message_free(take_ptr(net->message));
	free(take_ptr(net->conf));
}
