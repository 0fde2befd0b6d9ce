/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answering side. A request lives from its dispatch until the handler answers it, whatever happens to its caller:
 *
 *   live      -> answered: the answer goes out, the request is freed
 *   live      -> gone: the connection ended, or the deadline of the call passed (then the caller has been told); the
 *                handler's on_gone runs once; its answer will be dropped
 *   gone      -> answered: freed
 *
 * What peers can make us hold: max_conns connections, each with one input frame, one output buffer (TTRPC_OUT_MAX) and
 * max_calls requests; and never more than max_conns * max_calls requests in all, those of ended connections included.
 * While more than TTRPC_OUT_MARK bytes of output wait, no request of that connection is read.
 *
 * As containerd's server does, wrong ids, wrong messages and frames that are too long are answered on their stream and
 * the connection goes on; a broken frame ends it.
 *
 * Handlers and on_gone may free the server: whoever runs one leaves a flag on its stack that ttrpc_server_free sets.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/ttrpc_impl.h"

#define ACCEPTS_PER_TURN 16
/* After the process ran out of descriptors; a listening socket stays readable and would spin. */
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)

struct server_conn {
	struct server_conn *next;
	struct ttrpc_server *server;
	struct ttrpc_conn conn;
	uint32_t last_id;
	unsigned n_calls;
	bool busy; /* taking input: output is sent when that is done */
};

struct ttrpc_request {
	struct ttrpc_request *next;
	struct ttrpc_server *server; /* NULL: freed */
	struct server_conn *conn;    /* NULL: ended */
	uint32_t id;
	bool gone;
	struct loop_timer deadline;
	void (*gone_fn)(void *ctx);
	void *gone_ctx;
};

struct ttrpc_server {
	struct loop *loop;
	const struct ttrpc_service *services;
	unsigned n_services, max_conns, max_calls;
	unsigned n_conns;
	size_t n_requests;
	struct server_conn *conns;
	struct ttrpc_request *requests;
	struct loop_fd listener;
	struct loop_timer accept_again;
	bool *freed; /* of the callback under way, or NULL */
};

/* ---- requests ---- */

static void request_free(struct ttrpc_request *rq)
{
	struct ttrpc_server *s = rq->server;

	loop_timer_cancel(&rq->deadline);
	if (rq->conn)
		rq->conn->n_calls--;
	for (struct ttrpc_request **p = s ? &s->requests : NULL; p && *p; p = &(*p)->next)
		if (*p == rq) {
			*p = rq->next;
			s->n_requests--;
			break;
		}
	free(rq);
}

/* Runs on_gone. False: it freed the server. The request may be freed by it in any case. */
static bool request_gone(struct ttrpc_request *rq)
{
	struct ttrpc_server *s = rq->server;
	void (*fn)(void *ctx) = rq->gone_fn;
	bool freed = false;
	bool *outer = s->freed;

	loop_timer_cancel(&rq->deadline);
	rq->gone = true;
	rq->gone_fn = NULL;
	if (!fn)
		return true;
	s->freed = &freed;
	fn(rq->gone_ctx);
	if (freed) {
		if (outer)
			*outer = true;
		return false;
	}
	s->freed = outer;
	return true;
}

/* ---- output ---- */

static void sent(struct server_conn *sc)
{
	if (sc->busy)
		return;
	ttrpc_conn_flush(&sc->conn);
	ttrpc_conn_watch(&sc->conn, sc->conn.out.len <= TTRPC_OUT_MARK);
}

static void send_error(struct server_conn *sc, uint32_t id, enum ttrpc_code code, const char *message)
{
	/* Not even room for a refusal: the peer does not read what it asked for. */
	if (ttrpc_error_append(&sc->conn.out, id, code, message) < 0)
		ttrpc_conn_break(&sc->conn);
	sent(sc);
}

static void refuse(struct server_conn *sc, uint32_t id, enum ttrpc_code code, const char *fmt, ...) printf_like(4, 5);

static void refuse(struct server_conn *sc, uint32_t id, enum ttrpc_code code, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	send_error(sc, id, code, text);
}

static void send_reply(struct server_conn *sc, uint32_t id, const ProtobufCMessage *reply)
{
	struct buf *out = &sc->conn.out;
	int r = -ENOBUFS;

	for (int tries = 0; tries < 2 && r == -ENOBUFS; tries++) {
		if (tries)
			ttrpc_conn_flush(&sc->conn);
		r = ttrpc_reply_append(out, id, reply, TTRPC_OUT_KEEP);
	}
	if (r == 0)
		sent(sc);
	else if (r == -EMSGSIZE)
		refuse(sc, id, TTRPC_RESOURCE_EXHAUSTED, "the answer is larger than %u bytes", TTRPC_DATA_MAX);
	else if (r == -ENOBUFS)
		refuse(sc, id, TTRPC_RESOURCE_EXHAUSTED, "too many answers wait to be read");
	else
		refuse(sc, id, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
}

void ttrpc_reply(struct ttrpc_request *rq, const ProtobufCMessage *reply)
{
	struct server_conn *sc = rq->gone ? NULL : rq->conn;
	uint32_t id = rq->id;

	request_free(rq);
	if (sc)
		send_reply(sc, id, reply);
}

void ttrpc_fail(struct ttrpc_request *rq, const struct err *err)
{
	struct server_conn *sc = rq->gone ? NULL : rq->conn;
	uint32_t id = rq->id;

	request_free(rq);
	if (sc)
		send_error(sc, id, ttrpc_code_from_errno(err->code), err->msg);
}

void ttrpc_on_gone(struct ttrpc_request *rq, void (*fn)(void *ctx), void *ctx)
{
	rq->gone_fn = fn;
	rq->gone_ctx = ctx;
	if (rq->gone && fn && rq->server)
		(void)request_gone(rq);
}

static void on_deadline(struct loop_timer *t)
{
	struct ttrpc_request *rq = container_of(t, struct ttrpc_request, deadline);

	send_error(rq->conn, rq->id, TTRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
	(void)request_gone(rq);
}

/* ---- dispatch ---- */

static bool slice_is(const struct ttrpc_slice *s, const char *text)
{
	return s->n == strlen(text) && memcmp(s->p, text, s->n) == 0;
}

static const struct ttrpc_method *find_method(
	const struct ttrpc_server *s, const struct ttrpc_request_head *head, const struct ttrpc_service **ret_service)
{
	*ret_service = NULL;
	for (unsigned i = 0; i < s->n_services && head->service.n; i++) {
		const struct ttrpc_service *sv = &s->services[i];

		if (!slice_is(&head->service, sv->name))
			continue;
		*ret_service = sv;
		for (unsigned k = 0; k < sv->n_methods && head->method.n; k++)
			if (slice_is(&head->method, sv->methods[k].name))
				return &sv->methods[k];
	}
	return NULL;
}

static struct ttrpc_request *request_new(struct server_conn *sc, uint32_t id, int64_t timeout_ns)
{
	struct ttrpc_server *s = sc->server;
	struct ttrpc_request *rq = NULL;

	if (sc->n_calls < s->max_calls && s->n_requests < (size_t)s->max_conns * s->max_calls)
		rq = calloc(1, sizeof(*rq));
	if (!rq)
		return NULL;
	rq->server = s;
	rq->conn = sc;
	rq->id = id;
	rq->next = s->requests;
	s->requests = rq;
	s->n_requests++;
	sc->n_calls++;
	if (timeout_ns > 0)
		loop_timer_set(s->loop, &rq->deadline, (uint64_t)timeout_ns, on_deadline);
	return rq;
}

/* False: the handler freed the server. */
static bool dispatch(struct server_conn *sc, uint32_t id, const struct ttrpc_request_head *head)
{
	struct ttrpc_server *s = sc->server;
	const struct ttrpc_service *sv;
	const struct ttrpc_method *m = find_method(s, head, &sv);
	enum ttrpc_code code = TTRPC_OK;
	struct ttrpc_request *rq;
	ProtobufCMessage *req;
	bool freed = false;
	bool *outer = s->freed;

	if (!m) {
		const struct ttrpc_slice *what = sv ? &head->method : &head->service;

		refuse(sc, id, TTRPC_UNIMPLEMENTED, "%s %.*s", sv ? "method" : "service",
			(int)MIN_OF(what->n, (size_t)128), what->n ? (const char *)what->p : "");
		return true;
	}
	req = ttrpc_unpack(m->request, head->payload.p, head->payload.n, &code);
	if (!req) {
		refuse(sc, id, code, "%s: the request is malformed or needs too much memory", m->name);
		return true;
	}
	rq = request_new(sc, id, head->timeout_ns);
	if (!rq) {
		refuse(sc, id, TTRPC_RESOURCE_EXHAUSTED, "%s: too many calls in progress", m->name);
	} else {
		s->freed = &freed;
		m->fn(sv->ctx, rq, req);
		if (!freed)
			s->freed = outer;
		else if (outer)
			*outer = true;
	}
	protobuf_c_message_free_unpacked(req, NULL);
	return !freed;
}

/* False: the server is gone. */
static bool take_request(struct server_conn *sc, const struct ttrpc_frame *f, const uint8_t *data)
{
	struct ttrpc_request_head head;

	if (f->stream % 2 == 0) {
		refuse(sc, f->stream, TTRPC_INVALID_ARGUMENT, "a client's stream id must be odd");
	} else if (f->type == TTRPC_DATA) {
		refuse(sc, f->stream, TTRPC_INVALID_ARGUMENT, "no stream has this id");
	} else if (f->stream <= sc->last_id) {
		refuse(sc, f->stream, TTRPC_INVALID_ARGUMENT, "stream ids must grow");
	} else {
		sc->last_id = f->stream;
		if (ttrpc_request_parse(&head, data, f->len) < 0)
			refuse(sc, f->stream, TTRPC_INVALID_ARGUMENT, "the request is malformed");
		else if (head.timeout_ns < 0)
			refuse(sc, f->stream, TTRPC_DEADLINE_EXCEEDED, "the deadline of the call has passed");
		else
			return dispatch(sc, f->stream, &head);
	}
	return true;
}

/* ---- connections ---- */

/* False: the server is gone. */
static bool conn_end(struct server_conn *sc)
{
	struct ttrpc_server *s = sc->server;
	struct server_conn **p = &s->conns;

	while (*p != sc)
		p = &(*p)->next;
	*p = sc->next;
	s->n_conns--;
	ttrpc_conn_fini(&sc->conn);
	for (struct ttrpc_request *rq = s->requests; rq;) {
		if (rq->conn != sc) {
			rq = rq->next;
			continue;
		}
		rq->conn = NULL;
		if (!rq->gone && !request_gone(rq)) {
			free(sc);
			return false;
		}
		/* The callback may have answered any request. */
		rq = s->requests;
	}
	free(sc);
	return true;
}

static void take_input(struct server_conn *sc)
{
	const uint8_t *data = NULL;
	struct ttrpc_frame f;
	int step = 0;

	sc->busy = true;
	while (sc->conn.out.len <= TTRPC_OUT_MARK && !sc->conn.broken) {
		step = ttrpc_input_next(&sc->conn.in, &f, &data);
		if (step <= 0)
			break;
		if (step == TTRPC_INPUT_TOO_LONG)
			refuse(sc, f.stream, TTRPC_RESOURCE_EXHAUSTED, "a message of %u bytes is larger than %u", f.len,
				TTRPC_DATA_MAX);
		else if ((f.type == TTRPC_REQUEST || f.type == TTRPC_DATA) && !take_request(sc, &f, data))
			return;
		/* Other types are for versions of the protocol that we do not speak. */
		if (sc->conn.out.len > TTRPC_OUT_MARK)
			ttrpc_conn_flush(&sc->conn);
	}
	sc->busy = false;
	if (step < 0)
		(void)conn_end(sc);
	else
		sent(sc);
}

static void on_event(struct loop_fd *src, uint32_t events)
{
	struct server_conn *sc = container_of(src, struct server_conn, conn.src);
	int r = 0;

	if (events & EPOLLOUT)
		ttrpc_conn_flush(&sc->conn);
	if (events & EPOLLIN)
		r = ttrpc_conn_read(&sc->conn);
	else if (events & (EPOLLHUP | EPOLLERR))
		r = -ECONNRESET;
	if (r < 0)
		(void)conn_end(sc);
	else
		take_input(sc);
}

int ttrpc_server_add(struct ttrpc_server *s, int sock, struct err *err)
{
	struct server_conn *sc;
	int r;

	if (s->n_conns >= s->max_conns) {
		close_fd(&sock);
		return err_set(err, EMFILE, "%u connections are open", s->n_conns);
	}
	sc = calloc(1, sizeof(*sc));
	if (!sc) {
		close_fd(&sock);
		return err_set(err, ENOMEM, "ttrpc server: out of memory");
	}
	sc->server = s;
	r = ttrpc_conn_init(&sc->conn, s->loop, sock, on_event, err);
	if (r < 0) {
		free(sc);
		return r;
	}
	sc->next = s->conns;
	s->conns = sc;
	s->n_conns++;
	return 0;
}

static void on_accept_again(struct loop_timer *t)
{
	struct ttrpc_server *s = container_of(t, struct ttrpc_server, accept_again);

	loop_mod_fd(&s->listener, EPOLLIN);
}

static void on_accept(struct loop_fd *src, uint32_t events)
{
	struct ttrpc_server *s = container_of(src, struct ttrpc_server, listener);

	(void)events;
	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		int sock = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (sock >= 0) {
			/* One connection too many is closed at once, so that its peer sees a refusal, not silence. */
			(void)!ttrpc_server_add(s, sock, NULL);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) {
			loop_mod_fd(src, 0);
			loop_timer_set(s->loop, &s->accept_again, ACCEPT_PAUSE_NS, on_accept_again);
		}
		return;
	}
}

int ttrpc_server_listen(struct ttrpc_server *s, int fd, struct err *err)
{
	int r = fd_set_nonblock(fd, true, err);

	if (r < 0)
		return r;
	if (s->listener.loop)
		return err_set(err, EALREADY, "the server listens already");
	return loop_add_fd(s->loop, &s->listener, fd, EPOLLIN, on_accept, err);
}

int ttrpc_server_new(struct ttrpc_server **ret, struct loop *loop, const struct ttrpc_service *services,
	unsigned n_services, unsigned max_conns, unsigned max_calls, struct err *err)
{
	struct ttrpc_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, ENOMEM, "ttrpc server: out of memory");
	s->loop = loop;
	s->services = services;
	s->n_services = n_services;
	s->max_conns = max_conns;
	s->max_calls = max_calls;
	*ret = s;
	return 0;
}

void ttrpc_server_free(struct ttrpc_server *s)
{
	if (!s)
		return;
	if (s->freed)
		*s->freed = true;
	loop_remove_fd(&s->listener);
	loop_timer_cancel(&s->accept_again);
	for (struct ttrpc_request *rq = s->requests; rq; rq = rq->next) {
		loop_timer_cancel(&rq->deadline);
		rq->server = NULL;
		rq->conn = NULL;
		rq->gone = true;
	}
	while (s->conns) {
		struct server_conn *sc = s->conns;

		s->conns = sc->next;
		ttrpc_conn_fini(&sc->conn);
		free(sc);
	}
	free(s);
}
