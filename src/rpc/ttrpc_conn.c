/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream socket on a loop: reads into the input, sends from the output as the socket takes it. One read an event
 * keeps connections fair to each other. Errors while sending never free anything, because the sender may be anywhere
 * in its owner's code: the socket is shut down, and the loop's next event finds its end.
 */
#include <errno.h>
#include <sys/socket.h>

#include "rpc/ttrpc_impl.h"

#define KEEP_MAX (16u << 10)

int ttrpc_conn_init(struct ttrpc_conn *c, struct loop *loop, int sock, void (*fn)(struct loop_fd *src, uint32_t events),
	struct err *err)
{
	int r;

	*c = (struct ttrpc_conn){
		.sock = sock, .events = EPOLLIN, .in = TTRPC_INPUT_INIT, .out = BUF_INIT(TTRPC_OUT_MAX)};
	r = loop_add_fd(loop, &c->src, sock, c->events, fn, err);
	if (r < 0)
		close_fd(&c->sock);
	return r;
}

void ttrpc_conn_fini(struct ttrpc_conn *c)
{
	loop_remove_fd(&c->src);
	close_fd(&c->sock);
	ttrpc_input_fini(&c->in);
	buf_fini(&c->out);
}

int ttrpc_conn_read(struct ttrpc_conn *c)
{
	size_t room;
	void *p = ttrpc_input_room(&c->in, false, &room);
	ssize_t n;

	if (!p)
		return -ENOMEM;
	n = recv(c->sock, p, room, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	ttrpc_input_added(&c->in, (size_t)n);
	return 1;
}

void ttrpc_conn_break(struct ttrpc_conn *c)
{
	c->broken = true;
	buf_fini(&c->out);
	(void)shutdown(c->sock, SHUT_RDWR);
}

void ttrpc_conn_flush(struct ttrpc_conn *c)
{
	while (c->out.len && !c->broken) {
		ssize_t n = send(c->sock, buf_data(&c->out), c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			ttrpc_conn_break(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	if (c->out.cap > KEEP_MAX)
		buf_trim(&c->out);
}

void ttrpc_conn_watch(struct ttrpc_conn *c, bool reading)
{
	/* A broken connection waits for input in any case: that is how its end is seen. */
	uint32_t events = (reading || c->broken ? EPOLLIN : 0u) | (c->out.len ? EPOLLOUT : 0u);

	if (events == c->events)
		return;
	c->events = events;
	loop_mod_fd(&c->src, events);
}
