/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header is read to its exact length, so no byte of what follows it is taken. A refusal is one byte with an errno
 * value and the end of the connection.
 */
#include "agent/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "agent/udp.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define ACCEPTS_MAX 16

struct stream {
	struct streams *all;
	bool used;
	struct pump_end conn;
	struct loop_timer deadline;
	uint8_t head[STREAM_HEADER_MAX];
	size_t head_len;
	/* STREAM_DIAL */
	struct pump_end target;
	struct pump there, back;
	bool dial, dial_v6;
	uint16_t port;
	/* STREAM_DIAL_UDP */
	struct udp udp;
	bool is_udp;
};

struct streams {
	struct agent *agent;
	struct loop_fd listener;
	bool from_host_only;
	struct stream table[STREAMS_MAX];
};

static void release(struct stream *s)
{
	loop_timer_cancel(&s->deadline);
	if (s->dial) {
		pump_fini(&s->there);
		pump_fini(&s->back);
		pump_end_close(&s->target);
	}
	if (s->is_udp)
		udp_stop(&s->udp);
	pump_end_close(&s->conn);
	s->used = s->dial = s->is_udp = false;
}

void stream_finish(struct stream *s)
{
	(void)shutdown(s->conn.fd, SHUT_RDWR);
	release(s);
}

static bool answer(struct stream *s, int code)
{
	uint8_t byte = (uint8_t)(code > 255 ? EIO : code);

	return send(s->conn.fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 && code == 0;
}

static void refuse(struct stream *s, int code)
{
	(void)answer(s, code);
	stream_finish(s);
}

/* ---- dial ---- */

static void on_dial_pump(struct pump *pump, enum pump_why why)
{
	struct stream *s = pump->ctx;
	struct pump_end *sink = pump == &s->there ? &s->target : &s->conn;

	if (why == PUMP_GONE) {
		stream_finish(s);
		return;
	}
	(void)shutdown(sink->fd, SHUT_WR);
	if (!s->there.from && !s->back.from)
		release(s);
}

static void dial_try(struct stream *s);

static void on_dialled(struct loop_fd *src, uint32_t events)
{
	struct stream *s = container_of(src, struct stream, target.src);
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(s->target.fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	loop_remove_fd(src);
	if (code != 0 && !s->dial_v6) {
		pump_end_close(&s->target);
		s->dial_v6 = true;
		dial_try(s);
		return;
	}
	loop_timer_cancel(&s->deadline);
	if (code != 0 || !answer(s, 0)) {
		refuse(s, code ? code : EIO);
		return;
	}
	pump_start(&s->there, &s->conn, &s->target);
	pump_start(&s->back, &s->target, &s->conn);
}

/* IPv4 first, then IPv6: where "localhost" may listen. */
static void dial_try(struct stream *s)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(s->port)};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(s->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *sa = s->dial_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	socklen_t len = s->dial_v6 ? sizeof(v6) : sizeof(v4);
	struct loop *loop = s->all->agent->loop;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct err err = {0};

	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0) {
		refuse(s, errno);
		return;
	}
	pump_end_open(&s->target, loop, fd, true);
	/* A refusal shows up as EPOLLERR like any other outcome. */
	if (connect(fd, sa, len) < 0 && errno != EINPROGRESS && errno != ECONNREFUSED) {
		refuse(s, errno);
		return;
	}
	if (loop_add_fd(loop, &s->target.src, fd, EPOLLOUT, on_dialled, &err) < 0)
		refuse(s, err.code);
}

static void on_dial_timeout(struct loop_timer *t)
{
	refuse(container_of(t, struct stream, deadline), ETIMEDOUT);
}

static void dial_start(struct stream *s, const struct stream_header *h)
{
	s->dial = true;
	s->dial_v6 = false;
	s->port = h->port;
	s->target.fd = -1;
	pump_init(&s->there, on_dial_pump, s);
	pump_init(&s->back, on_dial_pump, s);
	loop_timer_set(s->all->agent->loop, &s->deadline, STREAM_DIAL_NS, on_dial_timeout);
	dial_try(s);
}

/* ---- UDP ---- */

static void on_udp_ended(struct udp *u)
{
	stream_finish(container_of(u, struct stream, udp));
}

static void udp_dial(struct stream *s, const struct stream_header *h)
{
	struct err err = {0};

	if (udp_start(&s->udp, s->all->agent->loop, h->port, on_udp_ended, &err) < 0) {
		refuse(s, err.code);
		return;
	}
	s->is_udp = true;
	if (!answer(s, 0) || udp_attach(&s->udp, s->conn.fd, &err) < 0)
		stream_finish(s);
}

/* ---- header ---- */

static void attach(struct stream *s, const struct stream_header *h)
{
	struct process *p = process_find(s->all->agent, h->container, h->exec);
	struct err err = {0};
	int r;

	if (!p) {
		refuse(s, ENOENT);
		return;
	}
	/* The answer comes before any byte of the stream: nothing is pumped before the loop turns again. */
	r = process_attach(p, h->fd, s, &s->conn, &err);
	if (r < 0) {
		log_debug("stream %u of %s %s refused: %s", h->fd, h->container, h->exec, err.msg);
		refuse(s, -r);
		return;
	}
	(void)answer(s, 0);
}

/* Reads what is missing of the header and no more. 1: it is complete, 0: not yet, -EPROTO. */
static int read_header(struct stream *s, struct stream_header *h)
{
	for (;;) {
		size_t want = STREAM_HEADER_MIN;
		ssize_t n;
		int r = stream_header_decode(h, s->head, s->head_len);

		if (r != 0)
			return r > 0 ? 1 : -EPROTO;
		if (s->head_len >= STREAM_HEADER_MIN)
			want += (size_t)s->head[8] + s->head[9];
		if (want <= s->head_len || want > sizeof(s->head))
			return -EPROTO;
		n = recv(s->conn.fd, s->head + s->head_len, want - s->head_len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -EPROTO;
		s->head_len += (size_t)n;
	}
}

static void on_header(struct loop_fd *src, uint32_t events)
{
	struct stream *s = container_of(src, struct stream, conn.src);
	struct stream_header h;
	int r = read_header(s, &h);

	if (r == 0)
		return;
	loop_remove_fd(src);
	loop_timer_cancel(&s->deadline);
	if (r < 0)
		refuse(s, EPROTO);
	else if (h.kind == STREAM_DIAL)
		dial_start(s, &h);
	else if (h.kind == STREAM_DIAL_UDP)
		udp_dial(s, &h);
	else
		attach(s, &h);
}

static void on_header_timeout(struct loop_timer *t)
{
	release(container_of(t, struct stream, deadline));
}

int streams_add(struct streams *ss, int fd, struct err *err)
{
	auto_close int sock = fd;
	struct stream *s = NULL;
	int r;

	for (unsigned i = 0; i < STREAMS_MAX && !s; i++)
		if (!ss->table[i].used)
			s = &ss->table[i];
	if (!s)
		return err_set(err, ENOBUFS, "%d streams are open already", STREAMS_MAX);
	*s = (struct stream){.all = ss};
	pump_end_open(&s->conn, ss->agent->loop, sock, true);
	r = loop_add_fd(ss->agent->loop, &s->conn.src, sock, EPOLLIN | EPOLLRDHUP, on_header, err);
	if (r < 0)
		return r;
	(void)take_fd(&sock);
	s->used = true;
	loop_timer_set(ss->agent->loop, &s->deadline, STREAM_HEADER_NS, on_header_timeout);
	return 0;
}

static void on_accept(struct loop_fd *src, uint32_t events)
{
	struct streams *ss = container_of(src, struct streams, listener);
	struct err err = {0};

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_vm peer = {0};
		socklen_t len = sizeof(peer);
		auto_close int fd = accept4(src->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		/* A process in the guest can dial the guest's own ports where a loopback transport is loaded. */
		if (ss->from_host_only && (peer.svm_family != AF_VSOCK || peer.svm_cid != VMADDR_CID_HOST))
			continue;
		if (streams_add(ss, take_fd(&fd), &err) < 0)
			log_warn("stream refused: %s", err.msg);
	}
}

int streams_new(struct streams **ret, struct agent *a, struct err *err)
{
	struct streams *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return err_set(err, ENOMEM, "streams: out of memory");
	ss->agent = a;
	*ret = ss;
	return 0;
}

int streams_listen(struct streams *ss, int fd, bool from_host_only, struct err *err)
{
	ss->from_host_only = from_host_only;
	return loop_add_fd(ss->agent->loop, &ss->listener, fd, EPOLLIN, on_accept, err);
}

void streams_free(struct streams *ss)
{
	if (!ss)
		return;
	loop_remove_fd(&ss->listener);
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (ss->table[i].used)
			release(&ss->table[i]);
	free(ss);
}
