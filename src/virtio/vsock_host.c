/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of vsock: the listening socket, its clients' CONNECT lines, and the stream socket of every connection.
 *
 * A client is read with MSG_PEEK so that bytes behind its line stay in the socket, where they wait for the guest. It has
 * hello_ms to finish the line. What it asks for waits (HELD) while the guest has no driver, or no program that uses vsock: booting
 * takes its time, and a client that gives up just hangs up. At VSOCK_CONNS_MAX connections a new client is hung up on.
 *
 * Sockets are watched level-triggered, so whatever cannot be acted on must not be watched: input is switched off while
 * the guest has no buffer or no credit left for it (vsock_watch), and a socket that hung up leaves the loop for good,
 * because EPOLLHUP cannot be switched off.
 *
 * Ends of directions map one to one: a client's shutdown(SHUT_WR) is SHUTDOWN(no send), its close SHUTDOWN(both); the guest's
 * SHUTDOWN flags become shutdown(2) on the socket, behind all bytes that came before.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/vsock_int.h"

#define CONNECT_NS                                                                                                     \
	(30 * NS_PER_S) /* for the guest's answer; an emulated guest may be slow, a paused one does not answer */
#define CLOSING_NS (10 * NS_PER_S) /* for the guest's RST after SHUTDOWN; Linux itself waits 8 s */
#define SWEEP_MIN_NS (100 * NS_PER_MS)
#define ACCEPT_BATCH 32
#define SEND_IOV 64

static void on_host(struct loop_fd *src, uint32_t events);
static void on_sweep(struct loop_timer *t);

static void hang_up(struct vsock_conn *c)
{
	loop_remove_fd(&c->src);
	close_fd(&c->fd);
	c->readable = false;
	buf_consume(&c->out, c->out.len);
	buf_trim(&c->out);
}

static void drop(struct vsock *vs, struct vsock_conn *c)
{
	hang_up(c);
	vsock_table_free(&vs->table, c);
}

void vsock_deadline(struct vsock *vs, struct vsock_conn *c, uint64_t delay_ns)
{
	c->deadline_ns = time_mono_ns() + delay_ns;
	if (!vs->sweep.loop || vs->sweep.deadline_ns > c->deadline_ns)
		loop_timer_set(vs->dev.loop, &vs->sweep, delay_ns, on_sweep);
}

static uint32_t wanted(const struct vsock_conn *c)
{
	switch (c->state) {
	case VSOCK_HELLO:
		return EPOLLIN;
	case VSOCK_OPEN:
		return (vsock_conn_h2g(c) && !c->readable ? EPOLLIN : 0) | (c->out.len ? EPOLLOUT : 0);
	case VSOCK_DEAD:
	case VSOCK_LINGER:
		return c->out.len ? EPOLLOUT : 0;
	default:
		return 0;
	}
}

static void watch(struct vsock_conn *c, uint32_t events)
{
	if (!c->src.loop || c->watched == events)
		return;
	loop_mod_fd(&c->src, events);
	c->watched = events;
}

void vsock_watch(struct vsock_conn *c)
{
	watch(c, wanted(c));
}

/* Starts watching a socket. A socket that cannot be watched counts as hung up. */
static int adopt(struct vsock *vs, struct vsock_conn *c, int fd)
{
	c->fd = fd;
	c->watched = wanted(c);
	return loop_add_fd(vs->dev.loop, &c->src, fd, c->watched, on_host, NULL);
}

void vsock_kill(struct vsock *vs, struct vsock_conn *c)
{
	hang_up(c);
	c->state = VSOCK_DEAD;
	c->due = VSOCK_DUE_RST;
	c->deadline_ns = 0;
	vsock_run_add(&vs->table, c);
	vsock_work(vs);
}

void vsock_forget(struct vsock *vs, struct vsock_conn *c)
{
	bool unheard = c->state == VSOCK_CONNECTING && (c->due & VSOCK_DUE_REQUEST || !vs->heard);

	if (c->fd < 0 || (!c->out.len && !unheard)) {
		drop(vs, c);
		return;
	}
	vsock_table_unhash(&vs->table, c);
	c->state = unheard ? VSOCK_HELD : VSOCK_LINGER;
	c->due = 0;
	c->deadline_ns = 0;
	vsock_watch(c);
}

static void pass_on_shutdown(struct vsock_conn *c)
{
	unsigned now = c->peers & ~c->passed_on;

	if (c->out.len)
		now &= ~VSOCK_NO_SEND;
	/* shutdown(2) fails when the client is gone, which on_host learns anyway. */
	if (now & VSOCK_NO_RCV)
		(void)shutdown(c->fd, SHUT_RD);
	if (now & VSOCK_NO_SEND)
		(void)shutdown(c->fd, SHUT_WR);
	c->passed_on |= now;
}

void vsock_settle(struct vsock *vs, struct vsock_conn *c)
{
	bool flushed = !c->out.len;

	if (c->state == VSOCK_LINGER && flushed) {
		drop(vs, c);
		return;
	}
	if (c->state == VSOCK_OPEN) {
		pass_on_shutdown(c);
		if (c->peers == VSOCK_NO_BOTH) {
			/* The guest is through and waits for RST; what it sent before still goes to the host. */
			c->state = VSOCK_DEAD;
			c->due = VSOCK_DUE_RST;
		} else if (!vsock_conn_h2g(c) && !vsock_conn_g2h(c) && flushed) {
			vsock_conn_shut(c, VSOCK_NO_BOTH);
			c->state = VSOCK_CLOSING;
			vsock_deadline(vs, c, CLOSING_NS);
		}
	}
	if (c->fd >= 0 && flushed && (c->state == VSOCK_DEAD || c->state == VSOCK_CLOSING))
		hang_up(c);
	if (c->due || (c->readable && vsock_conn_h2g(c) && vsock_conn_credit(c))) {
		vsock_run_add(&vs->table, c);
		vsock_work(vs);
	}
	/* Input that is about to be read stays watched: usually it is read whole, and two system calls are saved. */
	watch(c, wanted(c) | (c->readable && c->on_run ? c->watched & EPOLLIN : 0));
}

/* The client takes nothing any more. */
static void host_rcv_gone(struct vsock_conn *c)
{
	buf_consume(&c->out, c->out.len);
	buf_trim(&c->out);
	if (c->state == VSOCK_OPEN)
		vsock_conn_shut(c, VSOCK_NO_RCV);
}

static bool send_gone(int code)
{
	return code == EPIPE || code == ECONNRESET || code == ENOTCONN;
}

int vsock_host_send(struct vsock_conn *c, const struct iovec *iov, unsigned n_iov, uint32_t len)
{
	struct iovec part[SEND_IOV];
	size_t off = VSOCK_HDR_LEN, left = len;
	void *p;

	while (left && !c->out.len) {
		struct msghdr msg = {.msg_iov = part};
		size_t n = 0;
		ssize_t w;

		msg.msg_iovlen = iov_slice(part, SEND_IOV, iov, n_iov, off, left);
		for (unsigned i = 0; i < msg.msg_iovlen; i++)
			n += part[i].iov_len;
		w = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (w < 0 && send_gone(errno)) {
			host_rcv_gone(c);
			return 0;
		}
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno != EAGAIN && errno != ENOBUFS)
			return -errno;
		if (w < 0)
			break;
		vsock_conn_forward(c, (uint32_t)w);
		off += (size_t)w;
		left -= (size_t)w;
		if ((size_t)w < n)
			break;
	}
	if (!left)
		return 0;
	p = buf_reserve(&c->out, left);
	if (!p)
		return -ENOMEM;
	buf_added(&c->out, iov_read(iov, n_iov, off, p, left));
	return 0;
}

static void flush(struct vsock_conn *c)
{
	while (c->out.len) {
		ssize_t w = send(c->fd, buf_data(&c->out), c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno != EAGAIN && errno != ENOBUFS)
			host_rcv_gone(c);
		if (w <= 0)
			return;
		buf_consume(&c->out, (size_t)w);
		vsock_conn_forward(c, (uint32_t)w);
	}
	buf_trim(&c->out);
}

/* ---- clients of the listening socket ---- */

static void start_request(struct vsock *vs, struct vsock_conn *c)
{
	uint32_t guest_port = c->guest_port;

	c->state = VSOCK_CONNECTING;
	c->due = VSOCK_DUE_REQUEST;
	vsock_table_hash(&vs->table, c, vsock_table_port(&vs->table, guest_port), guest_port);
	vsock_deadline(vs, c, CONNECT_NS);
	vsock_settle(vs, c);
}

void vsock_host_release(struct vsock *vs)
{
	for (struct vsock_conn *c = vs->table.all; c; c = c->all_next)
		if (c->state == VSOCK_HELD)
			start_request(vs, c);
}

/* Takes what there is of the line, and not a byte behind it. 1: the line is whole. 0: more has to come. -errno: hang up. */
static int read_line(struct vsock_conn *c)
{
	char *at = c->line + c->line_len;
	size_t room = sizeof(c->line) - c->line_len, take;
	ssize_t n = recv(c->fd, at, room, MSG_PEEK | MSG_DONTWAIT);
	const char *end;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	end = memchr(at, '\n', (size_t)n);
	take = end ? (size_t)(end - at) + 1 : (size_t)n;
	if (recv(c->fd, at, take, MSG_DONTWAIT) != (ssize_t)take)
		return -EIO;
	c->line_len += (uint8_t)take;
	if (!end)
		return c->line_len == sizeof(c->line) ? -EPROTO : 0;
	return 1;
}

static void on_hello(struct vsock *vs, struct vsock_conn *c)
{
	int r = read_line(c);

	if (r == 0)
		return;
	if (r < 0 || vsock_line_parse(c->line, c->line_len, &c->guest_port) < 0) {
		drop(vs, c);
		return;
	}
	c->deadline_ns = 0;
	c->state = VSOCK_HELD;
	if (vs->dev.active)
		start_request(vs, c);
	else
		vsock_watch(c);
}

void vsock_host_opened(struct vsock *vs, struct vsock_conn *c)
{
	char line[VSOCK_LINE_MAX];
	size_t n = vsock_line_ok(line, c->host_port);

	c->state = VSOCK_OPEN;
	c->deadline_ns = 0;
	/* The socket is fresh, so a line that does not fit whole means that something is very wrong. */
	if (send(c->fd, line, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
		vsock_kill(vs, c);
	else
		vsock_settle(vs, c);
}

static void on_accept(struct loop_fd *src, uint32_t events unused_arg)
{
	struct vsock *vs = container_of(src, struct vsock, listen_src);

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(vs->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct vsock_conn *c;

		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0 && errno != EAGAIN) {
			/* Out of descriptors or memory: without this pause the loop would spin. */
			loop_mod_fd(&vs->listen_src, 0);
			vs->listen_off = true;
			loop_timer_set(vs->dev.loop, &vs->sweep, SWEEP_MIN_NS, on_sweep);
		}
		if (fd < 0)
			return;
		c = vsock_table_add(&vs->table, vs, VSOCK_HELLO);
		if (!c) {
			close_fd(&fd);
		} else if (adopt(vs, c, fd) < 0) {
			drop(vs, c);
		} else {
			vsock_deadline(vs, c, vs->opts.hello_ms * NS_PER_MS);
		}
	}
}

int vsock_host_listen(struct vsock *vs, struct err *err)
{
	int r = fd_set_nonblock(vs->listen_fd, true, err);

	if (r < 0)
		return r;
	return loop_add_fd(vs->dev.loop, &vs->listen_src, vs->listen_fd, EPOLLIN, on_accept, err);
}

/* ---- dials ---- */

void vsock_dialed(struct vsock *vs, uint64_t token, int fd)
{
	struct vsock_conn *c = vsock_table_find_token(&vs->table, token);

	if (!c) {
		close_fd(&fd);
		return;
	}
	if (fd < 0) {
		vsock_kill(vs, c);
		return;
	}
	c->state = VSOCK_OPEN;
	c->due |= VSOCK_DUE_RESPONSE;
	c->deadline_ns = 0;
	if (adopt(vs, c, fd) < 0)
		vsock_kill(vs, c);
	else
		vsock_settle(vs, c);
}

/* ---- events ---- */

static void on_host(struct loop_fd *src, uint32_t events)
{
	struct vsock_conn *c = container_of(src, struct vsock_conn, src);
	struct vsock *vs = c->vs;

	if (c->state == VSOCK_HELLO) {
		/* Also after a hang-up: the end of file tells, behind what the client wrote before. */
		on_hello(vs, c);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR)) {
		loop_remove_fd(src);
		c->hung_up = true;
		if (c->state == VSOCK_HELD || (c->state == VSOCK_CONNECTING && c->due & VSOCK_DUE_REQUEST)) {
			drop(vs, c);
			return;
		}
		if (c->state == VSOCK_CONNECTING) {
			vsock_kill(vs, c);
			return;
		}
		if (!vsock_conn_h2g(c))
			host_rcv_gone(c);
	}
	if (c->out.len)
		flush(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && vsock_conn_h2g(c))
		c->readable = true;
	vsock_settle(vs, c);
}

static void expire(struct vsock *vs, struct vsock_conn *c)
{
	c->deadline_ns = 0;
	if (c->state == VSOCK_HELLO || (c->state == VSOCK_CONNECTING && c->due & VSOCK_DUE_REQUEST))
		drop(vs, c);
	else
		vsock_kill(vs, c);
}

static void on_sweep(struct loop_timer *t)
{
	struct vsock *vs = container_of(t, struct vsock, sweep);
	uint64_t now = time_mono_ns(), first = UINT64_MAX;
	struct vsock_conn *next;

	if (vs->listen_off) {
		vs->listen_off = false;
		loop_mod_fd(&vs->listen_src, EPOLLIN);
	}
	for (struct vsock_conn *c = vs->table.all; c; c = next) {
		next = c->all_next;
		if (!c->deadline_ns)
			continue;
		if (c->deadline_ns <= now)
			expire(vs, c);
		else if (c->deadline_ns < first)
			first = c->deadline_ns;
	}
	if (first != UINT64_MAX)
		loop_timer_set(vs->dev.loop, t, MAX_OF(first - now, SWEEP_MIN_NS), on_sweep);
}

void vsock_host_stop(struct vsock *vs)
{
	while (vs->table.all)
		drop(vs, vs->table.all);
	loop_timer_cancel(&vs->sweep);
	loop_remove_fd(&vs->listen_src);
	close_fd(&vs->listen_fd);
}
