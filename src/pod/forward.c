/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners have ports that the kernel chose; sk_lookup.h sends every other port of localhost to them. Without IPv6 in the
 * namespace there is one listener.
 */
#include "pod/forward.h"

#include <errno.h>
#include <linux/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "pod/netns.h"
#include "pod/relay.h"
#include "pod/sk_lookup.h"

struct forward {
	struct relay relay;
	struct relay_listener listeners[2];
	int link; /* the redirection */
};

static int lo_up(int netns, struct err *err)
{
	struct ifinfomsg m = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nl nl = NL_CLOSED;
	struct nl_request rq;
	int r = netns_nl_open(&nl, netns, err);

	if (r < 0)
		return r;
	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	r = nl_ask(&nl, &rq, err);
	nl_close(&nl);
	return r < 0 ? err_wrap(err, "bring lo up") : 0;
}

/* *ret stays -1 where the family does not exist. */
static int listen_in(int *ret, int netns, int family, struct err *err)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	auto_close int fd = -1;
	int r = netns_socket(&fd, netns, family, SOCK_STREAM | SOCK_NONBLOCK, err);

	if (r == -EAFNOSUPPORT && family == AF_INET6)
		return 0;
	if (r < 0)
		return r;
	if (bind(fd, sa, family == AF_INET ? sizeof(v4) : sizeof(v6)) < 0) {
		if (family == AF_INET6 && errno == EADDRNOTAVAIL)
			return 0; /* disable_ipv6 */
		return err_errno(err, "bind to localhost");
	}
	if (listen(fd, RELAY_BACKLOG) < 0)
		return err_errno(err, "listen on localhost");
	*ret = take_fd(&fd);
	return 0;
}

static int open_in(struct forward *fw, int netns, struct err *err)
{
	auto_close int v4 = -1, v6 = -1;
	int r = lo_up(netns, err);

	if (r == 0)
		r = listen_in(&v4, netns, AF_INET, err);
	if (r == 0)
		r = listen_in(&v6, netns, AF_INET6, err);
	if (r == 0)
		r = sk_lookup_attach(&fw->link, netns, v4, v6, err);
	if (r == 0)
		r = relay_listen(&fw->relay, &fw->listeners[0], take_fd(&v4), 0, err);
	if (r == 0 && v6 >= 0)
		r = relay_listen(&fw->relay, &fw->listeners[1], take_fd(&v6), 0, err);
	return r;
}

int forward_open(struct forward **ret, struct loop *loop, const char *netns, const char *vsock_path, struct err *err)
{
	struct forward *fw = calloc(1, sizeof(*fw));
	auto_close int fd = -1;
	int r;

	if (!fw)
		return err_set(err, ENOMEM, "port forwarding: out of memory");
	fw->link = -1;
	relay_init(&fw->relay, loop, vsock_path);
	r = netns_open(&fd, netns, err);
	if (r == 0)
		r = open_in(fw, fd, err);
	if (r < 0) {
		forward_close(fw);
		return err_wrap(err, "port forwarding");
	}
	*ret = fw;
	return 0;
}

void forward_close(struct forward *fw)
{
	if (!fw)
		return;
	close_fd(&fw->link);
	relay_fini(&fw->relay);
	free(fw);
}
