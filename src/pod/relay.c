/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "pod/hvsock.h"

#define PIPE_SIZE 16384
#define DIAL_TIMEOUT_MS 60000
#define SHORTAGE_NS (100 * NS_PER_MS)

struct side {
	struct relay_conn *conn;
	struct loop_fd src;
	int fd;
	uint8_t *bytes; /* read from this side, to be written to the other; made with the first byte */
	size_t from, to;
	bool eof, eof_passed;
};

struct relay_conn {
	struct relay *relay;
	struct relay_conn *next, **prev;
	struct hvsock_dial dial;
	struct side a, b; /* the host's client, the guest */
};

static void accepting(struct relay *relay, bool on)
{
	for (struct relay_listener *l = relay->listeners; l; l = l->next)
		loop_mod_fd(&l->src, on ? EPOLLIN : 0);
}

static void conn_free(struct relay_conn *c)
{
	struct relay *relay = c->relay;

	hvsock_dial_cancel(&c->dial);
	loop_remove_fd(&c->a.src);
	loop_remove_fd(&c->b.src);
	close_fd(&c->a.fd);
	close_fd(&c->b.fd);
	free(c->a.bytes);
	free(c->b.bytes);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	if (relay->n_conns-- == RELAY_CONNS_MAX)
		accepting(relay, true);
}

/* The client sees a reset, not an orderly end. */
static void conn_abort(struct relay_conn *c)
{
	struct linger at_once = {.l_onoff = 1};

	(void)setsockopt(c->a.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	conn_free(c);
}

static void on_side(struct loop_fd *src, uint32_t events);

/* A side with nothing to wait for leaves the loop: its EPOLLHUP would be reported over and over. */
static bool side_watch(struct side *s, const struct side *other)
{
	uint32_t events = 0;

	if (!s->eof && s->from == s->to)
		events |= EPOLLIN;
	if (other->from < other->to)
		events |= EPOLLOUT;
	if (!events)
		loop_remove_fd(&s->src);
	else if (s->src.loop)
		loop_mod_fd(&s->src, events);
	else
		return loop_add_fd(s->conn->relay->loop, &s->src, s->fd, events, on_side, NULL) == 0;
	return true;
}

/* Reads from `s` when its buffer is empty and writes to `d` what there is. false: the connection is broken. */
static bool pump(struct side *s, struct side *d)
{
	if (!s->eof && s->from == s->to) {
		ssize_t n;

		if (!s->bytes && !(s->bytes = malloc(PIPE_SIZE)))
			return false;
		n = recv(s->fd, s->bytes, PIPE_SIZE, 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		s->eof = n == 0;
		s->from = 0;
		s->to = n > 0 ? (size_t)n : 0;
	}
	while (s->from < s->to) {
		ssize_t n = send(d->fd, s->bytes + s->from, s->to - s->from, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		s->from += (size_t)n;
	}
	if (s->eof && !s->eof_passed) {
		(void)shutdown(d->fd, SHUT_WR);
		s->eof_passed = true;
	}
	return true;
}

static void on_side(struct loop_fd *src, uint32_t events)
{
	struct relay_conn *c = container_of(src, struct side, src)->conn;

	if (!pump(&c->a, &c->b) || !pump(&c->b, &c->a))
		conn_abort(c);
	else if (c->a.eof_passed && c->b.eof_passed)
		conn_free(c);
	else if ((events & EPOLLERR) || !side_watch(&c->a, &c->b) || !side_watch(&c->b, &c->a))
		conn_abort(c);
}

static void on_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct relay_conn *c = container_of(d, struct relay_conn, dial);
	struct loop *loop = c->relay->loop;

	c->b.fd = fd;
	if (err || loop_add_fd(loop, &c->b.src, fd, EPOLLIN, on_side, NULL) < 0 ||
		loop_add_fd(loop, &c->a.src, c->a.fd, EPOLLIN, on_side, NULL) < 0)
		conn_abort(c);
}

static uint16_t dialled_port(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return 0;
	if (sa.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&sa)->sin_port);
	return sa.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&sa)->sin6_port) : 0;
}

static void conn_start(struct relay_listener *l, int fd)
{
	struct stream_header h = {.kind = STREAM_DIAL, .port = l->guest_port ? l->guest_port : dialled_port(fd)};
	struct relay *relay = l->relay;
	struct relay_conn *c = h.port ? calloc(1, sizeof(*c)) : NULL;
	int one = 1;

	if (!c) {
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->relay = relay;
	c->a = (struct side){.conn = c, .fd = fd};
	c->b = (struct side){.conn = c, .fd = -1};
	c->dial.done = on_dialled;
	c->next = relay->conns;
	c->prev = &relay->conns;
	if (c->next)
		c->next->prev = &c->next;
	relay->conns = c;
	if (++relay->n_conns == RELAY_CONNS_MAX)
		accepting(relay, false);
	if (hvsock_dial_start(&c->dial, relay->loop, relay->vsock_path, STREAM_PORT, &h, NULL) < 0)
		conn_abort(c);
	else
		hvsock_dial_timeout(&c->dial, relay->loop, DIAL_TIMEOUT_MS);
}

static void on_shortage_over(struct loop_timer *t)
{
	struct relay *relay = container_of(t, struct relay, timer);

	if (relay->n_conns < RELAY_CONNS_MAX)
		accepting(relay, true);
}

static void on_accept(struct loop_fd *src, uint32_t events)
{
	struct relay_listener *l = container_of(src, struct relay_listener, src);
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		conn_start(l, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		accepting(l->relay, false);
		loop_timer_set(l->relay->loop, &l->relay->timer, SHORTAGE_NS, on_shortage_over);
	}
}

void relay_init(struct relay *relay, struct loop *loop, const char *vsock_path)
{
	*relay = (struct relay){.loop = loop, .vsock_path = vsock_path};
}

int relay_listen(struct relay *relay, struct relay_listener *l, int fd, uint16_t guest_port, struct err *err)
{
	auto_close int sock = fd;
	int r;

	*l = (struct relay_listener){.relay = relay, .fd = -1, .guest_port = guest_port};
	r = loop_add_fd(relay->loop, &l->src, sock, EPOLLIN, on_accept, err);
	if (r < 0)
		return r;
	l->fd = take_fd(&sock);
	l->next = relay->listeners;
	relay->listeners = l;
	return 0;
}

void relay_fini(struct relay *relay)
{
	loop_timer_cancel(&relay->timer);
	for (struct relay_listener *l = relay->listeners; l; l = l->next) {
		loop_remove_fd(&l->src);
		close_fd(&l->fd);
	}
	relay->listeners = NULL;
	while (relay->conns)
		conn_free(relay->conns);
}
