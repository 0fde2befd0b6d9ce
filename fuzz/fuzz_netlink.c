/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Route netlink messages, as if a kernel had sent them: whatever they are, what is kept of them fits its tables, is well-formed and can be
 * told to the agent.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pod/net_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int on_message(const struct nlmsghdr *h, void *ctx)
{
	struct err err = {0};
	int r = net_conf_add(ctx, h, &err);

	must(r == 0 || (r < 0 && err.code == -r && err.msg[0]));
	return 0;
}

static void check_text(const char *text, bool with_prefix)
{
	struct inet_addr a;

	must(inet_parse(&a, text, with_prefix, NULL) == 0);
}

static void check_message(const Podvm__Agent__V1__ConfigureRequest *req)
{
	uint8_t mac[6];

	for (size_t i = 0; i < req->n_interfaces; i++) {
		must(mac_parse(mac, req->interfaces[i]->mac, NULL) == 0);
		must(strlen(req->interfaces[i]->name) < 16 && req->interfaces[i]->accept_ra <= 3);
	}
	for (size_t i = 0; i < req->n_routes; i++) {
		check_text(req->routes[i]->destination, true);
		if (*req->routes[i]->gateway)
			check_text(req->routes[i]->gateway, false);
		must(req->routes[i]->scope <= UINT8_MAX && req->routes[i]->type <= UINT8_MAX);
	}
	for (size_t i = 0; i < req->n_rules; i++) {
		if (*req->rules[i]->source)
			check_text(req->rules[i]->source, true);
		if (*req->rules[i]->destination)
			check_text(req->rules[i]->destination, true);
	}
	for (size_t i = 0; i < req->n_neighbours; i++) {
		check_text(req->neighbours[i]->address, false);
		must(mac_parse(mac, req->neighbours[i]->mac, NULL) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Podvm__Agent__V1__ConfigureRequest req = PODVM__AGENT__V1__CONFIGURE_REQUEST__INIT;
	struct pod_net net = {.nl = NL_CLOSED};
	auto_free uint8_t *aligned = malloc(size + 1);

	net.conf = calloc(1, sizeof(*net.conf));
	if (!net.conf || !aligned)
		abort();
	memcpy(aligned, data, size);
	(void)nl_walk(aligned, size, on_message, net.conf);
	if (pod_net_fill(&net, &req, NULL) == 0)
		check_message(&req);
	pod_net_filled(&net);
	return 0;
}
