/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling side. A call is in the list from ttrpc_call until its answer, its deadline, ttrpc_cancel or the end of
 * the connection, whichever is first; an answer to an id that is not in the list is dropped, so late answers do no
 * harm. The server is not trusted: an answer is bounded by its frame and by ttrpc_unpack, a malformed one fails its
 * own call, and only a broken frame ends the connection.
 *
 * Every callback may free the client. Whoever runs one leaves a flag on its stack that ttrpc_client_free sets.
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/ttrpc_impl.h"

struct call {
	struct call *next;
	struct ttrpc_client *client;
	uint32_t id;
	unsigned timeout_ms;
	bool probes;
	char method[32];
	const ProtobufCMessageDescriptor *reply_type;
	ttrpc_done *done;
	void *ctx;
	struct loop_timer timer;
};

struct ttrpc_client {
	struct ttrpc_conn conn;
	struct loop *loop;
	struct call *calls; /* newest first */
	uint32_t last_id;
	const char *unknown_means;
	bool ended, keeps_calls;
	uint64_t missed_ns; /* of the last call that probes: 0, or when it went unanswered */
	void (*closed)(void *ctx, const struct err *why);
	void *ctx;
	bool *freed; /* of the callback under way, or NULL */
};

/* Takes the call out of the list; the caller frees it. */
static struct call *take_call(struct ttrpc_client *c, uint32_t id)
{
	for (struct call **p = &c->calls; *p; p = &(*p)->next) {
		struct call *call = *p;

		if (call->id != id)
			continue;
		*p = call->next;
		loop_timer_cancel(&call->timer);
		return call;
	}
	return NULL;
}

/* Ends a call that was taken. False: its callback freed the client. */
static bool finish(struct ttrpc_client *c, struct call *call, const ProtobufCMessage *reply, const struct err *err)
{
	bool freed = false;
	bool *outer = c->freed;

	/* It is taken back below, unless the client is gone. */
	/* cppcheck-suppress autoVariables */
	c->freed = &freed;
	call->done(call->ctx, reply, err);
	free(call);
	if (freed) {
		if (outer)
			*outer = true;
		return false;
	}
	c->freed = outer;
	return true;
}

/* False: the client is gone. */
static bool fail_calls(struct ttrpc_client *c, const struct err *why)
{
	while (c->calls) {
		struct call *call = take_call(c, c->calls->id);
		struct err err;

		(void)err_set(&err, ECONNRESET, "%s: %s", call->method, why->msg);
		if (!finish(c, call, NULL, &err))
			return false;
	}
	return true;
}

/* The connection has ended by itself. */
static void end(struct ttrpc_client *c, const struct err *why)
{
	if (c->ended)
		return;
	c->ended = true;
	ttrpc_conn_fini(&c->conn);
	if ((c->keeps_calls || fail_calls(c, why)) && c->closed)
		c->closed(c->ctx, why);
}

void ttrpc_client_unknown(struct ttrpc_client *c, const char *means)
{
	c->unknown_means = means;
}

/* False: the client is gone. */
static bool take_response(struct ttrpc_client *c, struct call *call, const struct ttrpc_slice *data)
{
	ProtobufCMessage *reply = NULL;
	struct err err;
	bool alive;
	int r = ttrpc_response_read(&reply, call->method, call->reply_type, data, &err);

	if (r == -EOPNOTSUPP && c->unknown_means)
		(void)err_set(&err, EOPNOTSUPP, "%s: %s", call->method, c->unknown_means);
	alive = finish(c, call, reply, r < 0 ? &err : NULL);
	if (reply)
		protobuf_c_message_free_unpacked(reply, NULL);
	return alive;
}

static bool take_frame(struct ttrpc_client *c, int step, const struct ttrpc_frame *f, const uint8_t *bytes)
{
	const struct ttrpc_slice data = {bytes, f->len};
	struct call *call;
	struct err err;

	/* Types that we do not know are for versions of the protocol that we do not speak. */
	if (f->type != TTRPC_RESPONSE && f->type != TTRPC_DATA)
		return true;
	call = take_call(c, f->stream);
	if (!call)
		return true;
	if (call->probes)
		c->missed_ns = 0;
	if (step == TTRPC_INPUT_FRAME && f->type == TTRPC_RESPONSE)
		return take_response(c, call, &data);
	if (step == TTRPC_INPUT_TOO_LONG)
		(void)err_set(&err, ENOBUFS, "%s: the answer of %u bytes is larger than %u", call->method, f->len,
			TTRPC_DATA_MAX);
	else
		(void)err_set(&err, EPROTO, "%s: the answer is a stream", call->method);
	return finish(c, call, NULL, &err);
}

/* False: the client is gone. */
static bool take_input(struct ttrpc_client *c)
{
	const uint8_t *data = NULL;
	struct ttrpc_frame f;
	struct err err;
	int step;

	while ((step = ttrpc_input_next(&c->conn.in, &f, &data)) > 0)
		if (!take_frame(c, step, &f, data))
			return false;
	if (step < 0) {
		(void)err_set(&err, -step, "the peer does not speak ttrpc");
		end(c, &err);
		return false;
	}
	return true;
}

static void on_event(struct loop_fd *src, uint32_t events)
{
	struct ttrpc_client *c = container_of(src, struct ttrpc_client, conn.src);
	struct err err;
	int r = 0;

	if (events & EPOLLOUT)
		ttrpc_conn_flush(&c->conn);
	if (events & EPOLLIN)
		r = ttrpc_conn_read(&c->conn);
	else if (events & (EPOLLHUP | EPOLLERR))
		r = -ECONNRESET;
	if (r < 0) {
		if (r == -ECONNRESET)
			(void)err_set(&err, ECONNRESET, "the connection was closed");
		else
			(void)err_set(&err, -r, "receive: %s", strerrordesc_np(-r));
		end(c, &err);
		return;
	}
	if (take_input(c))
		ttrpc_conn_watch(&c->conn, true);
}

static void on_deadline(struct loop_timer *t)
{
	struct call *call = container_of(t, struct call, timer);
	struct ttrpc_client *c = call->client;
	struct err err;

	(void)take_call(c, call->id);
	if (call->probes)
		c->missed_ns = time_mono_ns();
	(void)err_set(&err, ETIMEDOUT, "%s: no answer within %u ms", call->method, call->timeout_ms);
	(void)finish(c, call, NULL, &err);
}

void ttrpc_client_probes(struct ttrpc_client *c, uint32_t id)
{
	for (struct call *call = c->calls; call; call = call->next)
		if (call->id == id)
			call->probes = true;
}

uint64_t ttrpc_client_missed_ns(const struct ttrpc_client *c)
{
	return c->missed_ns;
}

void ttrpc_client_end(struct ttrpc_client *c, const struct err *why)
{
	c->closed = NULL;
	if (!c->ended)
		ttrpc_conn_fini(&c->conn);
	c->ended = true;
	(void)fail_calls(c, why);
}

void ttrpc_client_keep_calls(struct ttrpc_client *c)
{
	c->keeps_calls = true;
}

int ttrpc_client_new(struct ttrpc_client **ret, struct loop *loop, int sock,
	void (*closed)(void *ctx, const struct err *why), void *ctx, struct err *err)
{
	struct ttrpc_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close_fd(&sock);
		return err_set(err, ENOMEM, "ttrpc client: out of memory");
	}
	c->loop = loop;
	c->closed = closed;
	c->ctx = ctx;
	r = ttrpc_conn_init(&c->conn, loop, sock, on_event, err);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void ttrpc_client_free(struct ttrpc_client *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	while (c->calls)
		free(take_call(c, c->calls->id));
	ttrpc_conn_fini(&c->conn);
	free(c);
}

static int append_error(int r, const char *method, struct err *err)
{
	if (r == -EMSGSIZE)
		return err_set(err, EMSGSIZE, "%s: the request is larger than %u bytes", method, TTRPC_DATA_MAX);
	if (r == -ENOBUFS)
		return err_set(err, ENOBUFS, "%s: the peer takes no more requests", method);
	return err_set(err, -r, "%s: %s", method, strerrordesc_np(-r));
}

int ttrpc_call(struct ttrpc_client *c, const char *service, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ttrpc_done *done, void *ctx,
	uint32_t *ret_id, struct err *err)
{
	struct ttrpc_request_head head = {.service = {(const uint8_t *)service, strlen(service)},
		.method = {(const uint8_t *)method, strlen(method)},
		.timeout_ns = (int64_t)(timeout_ms * NS_PER_MS)};
	uint32_t id = c->last_id ? c->last_id + 2 : 1;
	struct call *call;
	int r;

	if (c->ended)
		return err_set(err, ECONNRESET, "%s: the connection was closed", method);
	if (id < c->last_id)
		return err_set(err, EOVERFLOW, "%s: the connection has used all its ids", method);
	call = calloc(1, sizeof(*call));
	if (!call)
		return err_set(err, ENOMEM, "%s: out of memory", method);
	r = ttrpc_request_append(&c->conn.out, id, &head, req);
	if (r < 0) {
		free(call);
		return append_error(r, method, err);
	}
	c->last_id = call->id = id;
	call->client = c;
	call->timeout_ms = timeout_ms;
	(void)str_copy(call->method, sizeof(call->method), method);
	call->reply_type = reply_type;
	call->done = done;
	call->ctx = ctx;
	if (timeout_ms)
		loop_timer_set(c->loop, &call->timer, timeout_ms * NS_PER_MS, on_deadline);
	call->next = c->calls;
	c->calls = call;
	if (ret_id)
		*ret_id = id;
	ttrpc_conn_flush(&c->conn);
	ttrpc_conn_watch(&c->conn, true);
	return 0;
}

void ttrpc_cancel(struct ttrpc_client *c, uint32_t id)
{
	free(take_call(c, id));
}
