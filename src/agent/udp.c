/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over loopback the kernel handles a datagram, and the ICMP error that comes back from a port without a listener, within
 * send(2): the socket's error is there when send returns, and the datagram still at hand.
 */
#include "agent/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"

#define BATCH 16 /* datagrams a turn */

static void on_socket(struct loop_fd *src, uint32_t events)
{
	static uint8_t bytes[DGRAM_MAX];
	struct udp *u = container_of(src, struct udp, src);

	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(u->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		/* A pending refusal reads as an error; it is over with that. */
		if (n < 0)
			return;
		if (u->pipe.out.limit - u->pipe.out.len < (size_t)n + 2)
			continue; /* the stream is slow: lost */
		(void)dgram_send(&u->pipe, bytes, (size_t)n);
		if (u->fd < 0)
			return; /* ended meanwhile */
	}
}

/* Connects a new socket in place of the one there. */
static int open_socket(struct udp *u, struct err *err)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons(u->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(u->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *sa = u->v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	auto_close int fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return err_errno(err, "UDP socket");
	if (connect(fd, sa, u->v6 ? sizeof(v6) : sizeof(v4)) < 0)
		return err_errno(err, "UDP to localhost:%u", u->port);
	loop_remove_fd(&u->src);
	close_fd(&u->fd);
	r = loop_add_fd(u->pipe.loop, &u->src, fd, EPOLLIN, on_socket, err);
	if (r == 0)
		u->fd = take_fd(&fd);
	return r;
}

/* False: the port refused it. */
static bool put(const struct udp *u, const uint8_t *bytes, size_t n)
{
	int code = 0;
	socklen_t len = sizeof(code);

	/* Anything else that goes wrong (no memory, too large for the path) loses the datagram. */
	if (send(u->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return errno != ECONNREFUSED;
	return getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 || code != ECONNREFUSED;
}

static void on_datagram(struct dgram *d, const uint8_t *bytes, size_t n)
{
	struct udp *u = container_of(d, struct udp, pipe);

	if (u->fd >= 0 && put(u, bytes, n))
		return;
	u->v6 = !u->v6;
	if (open_socket(u, NULL) == 0)
		(void)put(u, bytes, n);
	else
		u->v6 = !u->v6; /* a kernel without IPv6 */
}

static void on_stream_ended(struct dgram *d)
{
	struct udp *u = container_of(d, struct udp, pipe);

	u->ended(u);
}

int udp_start(struct udp *u, struct loop *loop, uint16_t port, void (*ended)(struct udp *u), struct err *err)
{
	int r;

	*u = (struct udp){.fd = -1, .port = port, .ended = ended};
	dgram_init(&u->pipe, loop, on_datagram, on_stream_ended);
	r = open_socket(u, err);
	if (r < 0)
		udp_stop(u);
	return r;
}

int udp_attach(struct udp *u, int stream, struct err *err)
{
	return dgram_open(&u->pipe, stream, err);
}

void udp_stop(struct udp *u)
{
	loop_remove_fd(&u->src);
	close_fd(&u->fd);
	dgram_close(&u->pipe);
}
