/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client and server over real sockets: against each other, and each against a raw peer that sends what it likes. The
 * service under test has the agent's messages but its own behaviour.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/ttrpc_impl.h"

#define SERVICE "podvm.agent.v1.Agent"
#define MAX_CONNS 3
#define MAX_CALLS 40
#define DEADLINE_NS (20 * NS_PER_S)

static const ProtobufCMessageDescriptor *const empty_type = &podvm__agent__v1__empty__descriptor;
static const ProtobufCMessageDescriptor *const info_type = &podvm__agent__v1__get_info_response__descriptor;
static const ProtobufCMessageDescriptor *const created_type = &podvm__agent__v1__create_container_response__descriptor;

struct held { /* a request that its handler keeps */
	struct ttrpc_request *rq;
	int gone;
};

struct answer {
	int done;   /* how often the callback ran */
	int err;    /* errno, 0 for success */
	uint32_t n; /* the number in the reply */
	char text[128];
};

struct rig {
	struct loop *loop;
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	int closed, closed_err;
	struct held held[256];
	unsigned n_held;
	size_t info_size; /* bytes of the string in the answer of GetInfo */
	bool free_client, free_server;
	struct answer *waiting; /* freed with the client */
};

#define turn_until(rig, cond)                                                                                          \
	do {                                                                                                           \
		uint64_t end_ = time_mono_ns() + DEADLINE_NS;                                                          \
		while (!(cond) && time_mono_ns() < end_)                                                               \
			assert_int_equal(loop_turn((rig)->loop, 100), 0);                                              \
		if (!(cond))                                                                                           \
			fail_msg("%s never became true", #cond);                                                       \
	} while (0)

/* Lets everything happen that can happen now. */
static void settle(struct rig *rig)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_turn(rig->loop, 0), 0);
}

/* ---- the service ---- */

static void do_get_info(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct rig *rig = ctx;
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	auto_free char *version = malloc(rig->info_size + 1);

	memset(version, 'v', rig->info_size);
	version[rig->info_size] = '\0';
	info.agent_version = version;
	info.cpus = (uint32_t)rig->info_size;
	ttrpc_reply(rq, &info.base);
}

/* Answers with the length of the spec; an empty id is an error. */
static void do_create(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	const Podvm__Agent__V1__CreateContainerRequest *m = (const void *)req;
	Podvm__Agent__V1__CreateContainerResponse resp = PODVM__AGENT__V1__CREATE_CONTAINER_RESPONSE__INIT;
	struct err err;

	if (!m->container_id[0]) {
		(void)err_set(&err, EEXIST, "container '%s' exists", m->container_id);
		ttrpc_fail(rq, &err);
		return;
	}
	resp.pid = (uint32_t)m->oci_spec.len;
	ttrpc_reply(rq, &resp.base);
}

static void on_gone(void *ctx)
{
	struct held *h = ctx;

	h->gone++;
}

/* Keeps the request. */
static void do_wait(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct rig *rig = ctx;
	struct held *h = &rig->held[rig->n_held++];

	*h = (struct held){.rq = rq};
	ttrpc_on_gone(rq, on_gone, h);
}

static void do_shutdown(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct rig *rig = ctx;
	Podvm__Agent__V1__Empty resp = PODVM__AGENT__V1__EMPTY__INIT;

	ttrpc_reply(rq, &resp.base);
	ttrpc_server_free(rig->server);
	rig->server = NULL;
}

static const struct ttrpc_method methods[] = {
	{"GetInfo", &podvm__agent__v1__empty__descriptor, do_get_info},
	{"CreateContainer", &podvm__agent__v1__create_container_request__descriptor, do_create},
	{"WaitProcess", &podvm__agent__v1__process_request__descriptor, do_wait},
	{"Shutdown", &podvm__agent__v1__empty__descriptor, do_shutdown},
};

static struct ttrpc_service service = {SERVICE, methods, ARRAY_SIZE(methods), NULL};

static void answer_held(struct held *h, uint32_t n)
{
	Podvm__Agent__V1__CreateContainerResponse resp = PODVM__AGENT__V1__CREATE_CONTAINER_RESPONSE__INIT;

	resp.pid = n;
	ttrpc_reply(take_ptr(h->rq), &resp.base);
}

/* ---- the rig ---- */

static void on_closed(void *ctx, const struct err *why)
{
	struct rig *rig = ctx;

	rig->closed++;
	rig->closed_err = why->code;
	if (rig->free_client) {
		ttrpc_client_free(rig->client);
		rig->client = NULL;
	}
}

static void rig_start(struct rig *rig)
{
	*rig = (struct rig){.info_size = 3};
	service.ctx = rig;
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(&rig->server, rig->loop, &service, 1, MAX_CONNS, MAX_CALLS, NULL), 0);
}

/* A connection to the server; the raw end is returned. */
static int rig_connect(struct rig *rig)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(ttrpc_server_add(rig->server, sv[0], NULL), 0);
	return sv[1];
}

static void rig_connect_client(struct rig *rig)
{
	assert_int_equal(ttrpc_client_new(&rig->client, rig->loop, rig_connect(rig), on_closed, rig, NULL), 0);
}

/* A client whose server is a raw socket, which is returned. */
static int rig_raw_server(struct rig *rig)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(ttrpc_client_new(&rig->client, rig->loop, sv[0], on_closed, rig, NULL), 0);
	return sv[1];
}

static void rig_stop(struct rig *rig)
{
	ttrpc_client_free(rig->client);
	ttrpc_server_free(rig->server);
	for (unsigned i = 0; i < rig->n_held; i++)
		if (rig->held[i].rq)
			answer_held(&rig->held[i], 0);
	loop_free(rig->loop);
}

static void note(struct answer *a, uint32_t n, const struct err *err)
{
	a->done++;
	a->err = err ? err->code : 0;
	a->n = n;
	(void)str_copy(a->text, sizeof(a->text), err ? err->msg : "");
}

static void on_created(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	note(ctx, reply ? ((const Podvm__Agent__V1__CreateContainerResponse *)(const void *)reply)->pid : 0, err);
}

static void on_info(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__GetInfoResponse *info = (const void *)reply;

	note(ctx, reply ? info->cpus : 0, err);
	if (reply)
		assert_int_equal(strlen(info->agent_version), info->cpus);
}

static int call_info(struct rig *rig, struct answer *a)
{
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;

	return ttrpc_call(rig->client, SERVICE, "GetInfo", &req.base, info_type, 0, on_info, a, NULL, NULL);
}

static int call_create(struct rig *rig, const char *id, size_t spec, struct answer *a)
{
	Podvm__Agent__V1__CreateContainerRequest req = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	auto_free uint8_t *bytes = calloc(1, spec + 1);

	req.container_id = (char *)(uintptr_t)id;
	req.oci_spec.data = bytes;
	req.oci_spec.len = spec;
	return ttrpc_call(
		rig->client, SERVICE, "CreateContainer", &req.base, created_type, 0, on_created, a, NULL, NULL);
}

static int call_wait(struct rig *rig, unsigned timeout_ms, struct answer *a, uint32_t *id)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	return ttrpc_call(
		rig->client, SERVICE, "WaitProcess", &req.base, created_type, timeout_ms, on_created, a, id, NULL);
}

/* ---- raw peers ---- */

static void put(struct buf *b, const void *bytes, size_t n)
{
	assert_int_equal(buf_append(b, bytes, n), 0);
}

static void put_request(struct buf *b, uint32_t id, const char *method, int64_t timeout_ns)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct ttrpc_request_head head = {.service = {(const uint8_t *)SERVICE, strlen(SERVICE)},
		.method = {(const uint8_t *)method, strlen(method)},
		.timeout_ns = timeout_ns};

	assert_int_equal(ttrpc_request_append(b, id, &head, &req.base), 0);
}

static void put_frame(struct buf *b, uint32_t id, uint8_t type, const void *data, size_t n)
{
	struct ttrpc_frame f = {.len = (uint32_t)n, .stream = id, .type = type};
	uint8_t head[TTRPC_HEADER_LEN];

	ttrpc_frame_encode(head, &f);
	put(b, head, sizeof(head));
	put(b, data, n);
}

static void raw_send(struct rig *rig, int fd, struct buf *b)
{
	while (b->len) {
		ssize_t n = send(fd, buf_data(b), b->len, MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(b, (size_t)n);
		else
			assert_int_equal(errno, EAGAIN);
		assert_int_equal(loop_turn(rig->loop, 0), 0);
	}
}

struct reply {
	struct ttrpc_frame f;
	struct ttrpc_response_head head;
	char message[200];
};

/* Waits for one response at the raw end; returns 0 at the end of the connection. */
static int raw_read(struct rig *rig, int fd, struct ttrpc_input *in, struct reply *ret)
{
	uint64_t end = time_mono_ns() + DEADLINE_NS;
	const uint8_t *data = NULL;

	while (time_mono_ns() < end) {
		size_t room;
		void *p;
		ssize_t n;

		if (ttrpc_input_next(in, &ret->f, &data) == TTRPC_INPUT_FRAME) {
			assert_int_equal(ttrpc_response_parse(&ret->head, data, ret->f.len), 0);
			ttrpc_text(ret->message, sizeof(ret->message), ret->head.message.p, ret->head.message.n);
			return 1;
		}
		p = ttrpc_input_room(in, false, &room);
		n = recv(fd, p, room, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n > 0)
			ttrpc_input_added(in, (size_t)n);
		else
			assert_int_equal(loop_turn(rig->loop, 10), 0);
	}
	fail_msg("no response");
	return 0;
}

static void expect_code(struct rig *rig, int fd, struct ttrpc_input *in, uint32_t id, enum ttrpc_code code)
{
	struct reply r;

	assert_int_equal(raw_read(rig, fd, in, &r), 1);
	assert_int_equal(r.f.type, TTRPC_RESPONSE);
	assert_int_equal(r.f.stream, id);
	if (r.head.code != (int)code)
		fail_msg("stream %u: code %d '%s', not %d", id, r.head.code, r.message, (int)code);
}

/* ---- client and server ---- */

static void calls_are_answered(void **state)
{
	struct rig rig;
	struct answer a = {0}, b = {0}, c = {0}, d = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(call_info(&rig, &a), 0);
	assert_int_equal(call_create(&rig, "", 10, &b), 0);
	assert_int_equal(
		ttrpc_call(rig.client, SERVICE, "Nothing", &req.base, empty_type, 0, on_created, &c, NULL, NULL), 0);
	assert_int_equal(
		ttrpc_call(rig.client, "other", "GetInfo", &req.base, empty_type, 0, on_created, &d, NULL, NULL), 0);
	assert_int_equal(a.done, 0);
	turn_until(&rig, a.done && b.done && c.done && d.done);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.n, 3);
	assert_int_equal(b.err, EEXIST);
	assert_string_equal(b.text, "container '' exists");
	assert_int_equal(c.err, EOPNOTSUPP);
	assert_string_equal(c.text, "method Nothing");
	assert_int_equal(d.err, EOPNOTSUPP);
	assert_string_equal(d.text, "service other");
	assert_int_equal(a.done + b.done + c.done + d.done, 4);
	rig_stop(&rig);
}

static void answers_find_their_calls_in_any_order(void **state)
{
	struct rig rig;
	struct answer a[MAX_CALLS] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		assert_int_equal(call_wait(&rig, 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == MAX_CALLS);
	for (unsigned i = MAX_CALLS; i > 0; i--)
		answer_held(&rig.held[(i * 7) % MAX_CALLS], 1000 + (i * 7) % MAX_CALLS);
	turn_until(&rig, a[0].done && a[MAX_CALLS - 1].done);
	settle(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		assert_int_equal(a[i].done, 1);
		assert_int_equal(a[i].n, 1000 + i);
	}
	rig_stop(&rig);
}

static void messages_up_to_the_limit_pass(void **state)
{
	static const size_t sizes[] = {0, 1, 4096, 65536, 1000000, TTRPC_DATA_MAX - 100};
	struct rig rig;

	rig_start(&rig);
	rig_connect_client(&rig);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct answer a = {0}, b = {0};

		rig.info_size = sizes[i];
		assert_int_equal(call_create(&rig, "c", sizes[i], &a), 0);
		assert_int_equal(call_info(&rig, &b), 0);
		turn_until(&rig, a.done && b.done);
		assert_int_equal(a.err, 0);
		assert_int_equal(a.n, sizes[i]);
		assert_int_equal(b.err, 0);
		assert_int_equal(b.n, sizes[i]);
	}
	rig_stop(&rig);
}

static void too_large_messages_fail_alone(void **state)
{
	struct rig rig;
	struct answer a = {0}, b = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(call_create(&rig, "c", TTRPC_DATA_MAX, &a), -EMSGSIZE);
	rig.info_size = TTRPC_DATA_MAX;
	assert_int_equal(call_info(&rig, &a), 0);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ENOBUFS);
	assert_string_equal(a.text, "the answer is larger than 4194304 bytes");
	rig.info_size = 9;
	assert_int_equal(call_info(&rig, &b), 0);
	turn_until(&rig, b.done);
	assert_int_equal(b.n, 9);
	rig_stop(&rig);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
	struct rig rig;
	struct answer a = {0}, b = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(call_wait(&rig, 30, &a, NULL), 0);
	turn_until(&rig, a.done && rig.n_held && rig.held[0].gone);
	assert_int_equal(a.err, ETIMEDOUT);
	assert_int_equal(rig.held[0].gone, 1);
	/* The late answer goes nowhere, and the connection goes on. */
	answer_held(&rig.held[0], 1);
	assert_int_equal(call_info(&rig, &b), 0);
	turn_until(&rig, b.done);
	assert_int_equal(a.done, 1);
	assert_int_equal(b.err, 0);
	rig_stop(&rig);
}

static void a_cancelled_call_is_silent(void **state)
{
	struct rig rig;
	struct answer a = {0}, b = {0};
	uint32_t id = 0;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(call_wait(&rig, 50, &a, &id), 0);
	assert_int_equal(id, 1);
	turn_until(&rig, rig.n_held == 1);
	ttrpc_cancel(rig.client, id);
	ttrpc_cancel(rig.client, id);
	ttrpc_cancel(rig.client, 12345);
	answer_held(&rig.held[0], 1);
	assert_int_equal(call_wait(&rig, 60, &b, NULL), 0);
	turn_until(&rig, b.done);
	assert_int_equal(a.done, 0);
	rig_stop(&rig);
}

static void a_closed_connection_fails_what_is_pending(void **state)
{
	struct rig rig;
	struct answer a[3] = {0}, late = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(call_wait(&rig, 1000, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 3);
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, rig.closed);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a[i].done, 1);
		assert_int_equal(a[i].err, ECONNRESET);
	}
	assert_int_equal(rig.closed, 1);
	assert_int_equal(call_info(&rig, &late), -ECONNRESET);
	settle(&rig);
	assert_int_equal(rig.closed, 1);
	/* The handlers still hold their requests; on_gone is not for the end of the server. */
	assert_int_equal(rig.held[0].gone, 0);
	rig_stop(&rig);
}

static void a_gone_caller_is_reported_once(void **state)
{
	struct rig rig;
	struct answer a[3] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(call_wait(&rig, 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 3);
	answer_held(&rig.held[1], 5);
	ttrpc_client_free(rig.client);
	rig.client = NULL;
	turn_until(&rig, rig.held[0].gone && rig.held[2].gone);
	settle(&rig);
	assert_int_equal(rig.held[0].gone, 1);
	assert_int_equal(rig.held[1].gone, 0);
	assert_int_equal(rig.held[2].gone, 1);
	/* Asked too late, it is told at once. */
	ttrpc_on_gone(rig.held[2].rq, on_gone, &rig.held[2]);
	assert_int_equal(rig.held[2].gone, 2);
	answer_held(&rig.held[0], 1);
	assert_int_equal(a[0].done + a[1].done + a[2].done, 0);
	rig_stop(&rig);
}

static void answer_when_gone(void *ctx)
{
	struct held *h = ctx;

	h->gone++;
	answer_held(h, 0);
}

static void on_gone_may_answer(void **state)
{
	struct rig rig;
	struct answer a[4] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 4; i++)
		assert_int_equal(call_wait(&rig, i < 2 ? 20 : 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 4);
	for (int i = 0; i < 4; i++)
		ttrpc_on_gone(rig.held[i].rq, answer_when_gone, &rig.held[i]);
	turn_until(&rig, rig.held[0].gone && rig.held[1].gone);
	ttrpc_client_free(rig.client);
	rig.client = NULL;
	turn_until(&rig, rig.held[2].gone && rig.held[3].gone);
	rig_stop(&rig);
}

static void free_client_when_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct rig *rig = ctx;

	note(rig->waiting, 0, err);
	ttrpc_client_free(rig->client);
	rig->client = NULL;
}

static void callbacks_may_free_the_client(void **state)
{
	struct answer a = {0}, b = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	struct rig rig;

	/* In done, with other calls pending and more answers in the buffer. */
	rig_start(&rig);
	rig.waiting = &a;
	rig_connect_client(&rig);
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "GetInfo", &req.base, info_type, 500, free_client_when_done,
				 &rig, NULL, NULL),
		0);
	assert_int_equal(call_info(&rig, &b), 0);
	turn_until(&rig, a.done);
	settle(&rig);
	assert_int_equal(b.done, 0);
	/* In done, because of the deadline. */
	rig_connect_client(&rig);
	a.done = 0;
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "WaitProcess", &req.base, empty_type, 10,
				 free_client_when_done, &rig, NULL, NULL),
		0);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ETIMEDOUT);
	/* In done, because of the end of the connection: closed does not run. */
	rig_connect_client(&rig);
	a.done = rig.closed = 0;
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "WaitProcess", &req.base, empty_type, 0, free_client_when_done,
				 &rig, NULL, NULL),
		0);
	assert_int_equal(call_wait(&rig, 0, &b, NULL), 0);
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, a.done);
	settle(&rig);
	assert_int_equal(rig.closed, 0);
	rig_stop(&rig);
	/* In closed. */
	rig_start(&rig);
	rig_connect_client(&rig);
	rig.free_client = true;
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, rig.closed);
	settle(&rig);
	rig_stop(&rig);
}

static void a_handler_may_free_the_server(void **state)
{
	struct answer a = {0}, b = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	struct rig rig;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(call_wait(&rig, 0, &b, NULL), 0);
	assert_int_equal(
		ttrpc_call(rig.client, SERVICE, "Shutdown", &req.base, empty_type, 0, on_created, &a, NULL, NULL), 0);
	assert_int_equal(call_info(&rig, &b), 0);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.done, 1);
	assert_null(rig.server);
	rig_stop(&rig);
}

static void a_client_that_is_not_read_is_bounded(void **state)
{
	struct answer a = {0};
	struct rig rig;
	int raw, r = 0;
	int n;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	for (n = 0; n < 100000 && r == 0; n++)
		r = call_create(&rig, "c", 100000, &a);
	assert_int_equal(r, -ENOBUFS);
	assert_true(n < 60);
	close(raw);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.done, n - 1);
	rig_stop(&rig);
}

/* ---- the server against a raw peer ---- */

static void wrong_frames_are_answered_and_the_connection_goes_on(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	put_request(&b, 2, "GetInfo", 0); /* even */
	put_request(&b, 0, "GetInfo", 0);
	put_request(&b, 5, "GetInfo", 0);
	put_request(&b, 5, "GetInfo", 0); /* again */
	put_request(&b, 3, "GetInfo", 0); /* smaller */
	put_frame(&b, 5, TTRPC_DATA, "x", 1);
	put_frame(&b, 7, TTRPC_DATA, "x", 1);
	put_frame(&b, 7, TTRPC_RESPONSE, "x", 1); /* not for a server: ignored */
	put_frame(&b, 7, 0x77, "x", 1);		  /* unknown type: ignored */
	put_frame(&b, 7, TTRPC_REQUEST, "\xff", 1);
	put_frame(&b, 9, TTRPC_REQUEST, "", 0);
	put_request(&b, 11, "", 0);
	put_request(&b, 13, "GetInfo\n", 0);
	put_request(&b, 15, "GetInfo", -1);
	put_request(&b, 0xffffffff, "GetInfo", 0);
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 2, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 0, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 5, TTRPC_OK);
	expect_code(&rig, fd, &in, 5, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 3, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 5, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 7, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 7, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 9, TTRPC_UNIMPLEMENTED);
	expect_code(&rig, fd, &in, 11, TTRPC_UNIMPLEMENTED);
	expect_code(&rig, fd, &in, 13, TTRPC_UNIMPLEMENTED);
	expect_code(&rig, fd, &in, 15, TTRPC_DEADLINE_EXCEEDED);
	expect_code(&rig, fd, &in, 0xffffffff, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_broken_payload_fails_its_call(void **state)
{
	/* service, method "CreateContainer", payload with a length beyond its end */
	static const uint8_t wire[] = "\x0a\x14" SERVICE "\x12\x0f"
				      "CreateContainer"
				      "\x1a\x03\x0a\x7f\x61";
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	put_frame(&b, 1, TTRPC_REQUEST, wire, sizeof(wire) - 1);
	put_request(&b, 3, "GetInfo", 0);
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 1, TTRPC_INVALID_ARGUMENT);
	expect_code(&rig, fd, &in, 3, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_long_message_is_refused_and_the_connection_goes_on(void **state)
{
	static uint8_t chunk[65536];
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_frame f = {.len = TTRPC_DATA_MAX + 65536, .stream = 1, .type = TTRPC_REQUEST};
	uint8_t head[TTRPC_HEADER_LEN];
	size_t left = f.len;
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	ttrpc_frame_encode(head, &f);
	put(&b, head, sizeof(head));
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 1, TTRPC_RESOURCE_EXHAUSTED);
	while (left) {
		ssize_t n = send(fd, chunk, MIN_OF(left, sizeof(chunk)), MSG_NOSIGNAL);

		if (n > 0)
			left -= (size_t)n;
		else
			assert_int_equal(errno, EAGAIN);
		assert_int_equal(loop_turn(rig.loop, 0), 0);
	}
	put_request(&b, 3, "GetInfo", 0);
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 3, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_stranger_is_hung_up_on(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct reply r;
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
	assert_int_equal(raw_read(&rig, fd, &in, &r), 0);
	ttrpc_input_fini(&in);
	close(fd);
	rig_stop(&rig);
}

static void a_peer_may_end_at_any_byte(void **state)
{
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	unsigned held = 0;
	size_t n;

	rig_start(&rig);
	put_request(&b, 1, "WaitProcess", 0);
	put_request(&b, 3, "GetInfo", 0);
	n = b.len;
	for (size_t len = 0; len <= n; len++) {
		int fd = rig_connect(&rig);

		assert_int_equal(send(fd, buf_data(&b), len, 0), (ssize_t)len);
		if (len % 2)
			settle(&rig);
		close(fd);
		settle(&rig);
		for (; held < rig.n_held; held++) {
			assert_int_equal(rig.held[held].gone, 1);
			answer_held(&rig.held[held], 0);
		}
		rig.n_held = held = 0;
	}
	buf_fini(&b);
	rig_stop(&rig);
}

static void calls_beyond_the_limit_are_refused(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	for (unsigned i = 0; i < MAX_CALLS + 2; i++)
		put_request(&b, 1 + 2 * i, "WaitProcess", i == 0 ? 1 : 0);
	raw_send(&rig, fd, &b);
	/* The first is past its deadline, but its handler still holds it: it counts. */
	expect_code(&rig, fd, &in, 1 + 2 * MAX_CALLS, TTRPC_RESOURCE_EXHAUSTED);
	expect_code(&rig, fd, &in, 3 + 2 * MAX_CALLS, TTRPC_RESOURCE_EXHAUSTED);
	expect_code(&rig, fd, &in, 1, TTRPC_DEADLINE_EXCEEDED);
	assert_int_equal(rig.n_held, MAX_CALLS);
	put_request(&b, 1001, "WaitProcess", 0);
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 1001, TTRPC_RESOURCE_EXHAUSTED);
	answer_held(&rig.held[0], 0);
	put_request(&b, 1003, "GetInfo", 0);
	raw_send(&rig, fd, &b);
	expect_code(&rig, fd, &in, 1003, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void callers_that_hang_up_do_not_pile_up_calls(void **state)
{
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	int fd = -1;

	rig_start(&rig);
	for (unsigned round = 0; round < MAX_CONNS + 2; round++) {
		close_fd(&fd);
		settle(&rig);
		fd = rig_connect(&rig);
		for (unsigned i = 0; i < MAX_CALLS; i++)
			put_request(&b, 1 + 2 * i, "WaitProcess", 0);
		raw_send(&rig, fd, &b);
		settle(&rig);
	}
	assert_int_equal(rig.n_held, MAX_CONNS * MAX_CALLS);
	expect_code(&rig, fd, &in, 1, TTRPC_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i < rig.n_held; i++)
		answer_held(&rig.held[i], 0);
	put_request(&b, 1001, "GetInfo", 0);
	raw_send(&rig, fd, &b);
	for (unsigned i = 1; i < MAX_CALLS; i++)
		expect_code(&rig, fd, &in, 1 + 2 * i, TTRPC_RESOURCE_EXHAUSTED);
	expect_code(&rig, fd, &in, 1001, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_peer_that_does_not_read_is_not_read(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	uint32_t id = 1, answers = 0;
	bool full = false;
	int fd;

	rig_start(&rig);
	rig.info_size = 1000;
	fd = rig_connect(&rig);
	/* Until the server has stopped reading and the socket is full. */
	while (!full) {
		put_request(&b, id, "GetInfo", 0);
		while (b.len && !full) {
			ssize_t n = send(fd, buf_data(&b), b.len, MSG_NOSIGNAL);

			if (n > 0) {
				buf_consume(&b, (size_t)n);
				continue;
			}
			assert_int_equal(errno, EAGAIN);
			settle(&rig);
			full = send(fd, buf_data(&b), 1, MSG_NOSIGNAL) < 0;
			if (!full)
				buf_consume(&b, 1);
		}
		id += full ? 0 : 2;
		assert_true(id < 1000000);
	}
	/* Now it reads: every whole request is answered, in order. */
	while (answers < id / 2) {
		struct reply r;

		assert_int_equal(raw_read(&rig, fd, &in, &r), 1);
		assert_int_equal(r.f.stream, 1 + 2 * answers);
		assert_int_equal(r.head.code, 0);
		answers++;
	}
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void answers_that_nobody_reads_are_bounded(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	int fd, ok = 0, refused = 0;

	rig_start(&rig);
	fd = rig_connect(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		put_request(&b, 1 + 2 * i, "WaitProcess", 0);
	raw_send(&rig, fd, &b);
	turn_until(&rig, rig.n_held == MAX_CALLS);
	info.agent_version = calloc(1, 1000001);
	memset(info.agent_version, 'x', 1000000);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		ttrpc_reply(take_ptr(rig.held[i].rq), &info.base);
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		struct reply r;

		assert_int_equal(raw_read(&rig, fd, &in, &r), 1);
		assert_true(r.head.code == TTRPC_OK || r.head.code == TTRPC_RESOURCE_EXHAUSTED);
		if (r.head.code == TTRPC_OK)
			ok++;
		else
			refused++;
	}
	assert_int_equal(ok, 4);
	assert_int_equal(refused, MAX_CALLS - 4);
	free(info.agent_version);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void connections_beyond_the_limit_are_closed(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa.sun_family);
	struct rig rig;
	struct reply r;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[MAX_CONNS + 1], sv[2];
	struct err err;

	/* An abstract address of the kernel's choice. */
	assert_int_equal(bind(lfd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(lfd, 16), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(lfd, (struct sockaddr *)&sa, &len), 0);
	rig_start(&rig);
	assert_int_equal(ttrpc_server_listen(rig.server, lfd, NULL), 0);
	assert_int_equal(ttrpc_server_listen(rig.server, lfd, &err), -EALREADY);
	for (int i = 0; i < MAX_CONNS + 1; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, len), 0);
		settle(&rig);
	}
	assert_int_equal(raw_read(&rig, fds[MAX_CONNS], &in, &r), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(ttrpc_server_add(rig.server, sv[0], &err), -EMFILE);
	assert_int_equal(read(sv[1], &r, 1), 0);
	close(sv[1]);
	for (int i = 0; i < MAX_CONNS; i++) {
		put_request(&b, 1, "GetInfo", 0);
		raw_send(&rig, fds[i], &b);
		expect_code(&rig, fds[i], &in, 1, TTRPC_OK);
	}
	/* A place that is given up is free again. */
	close(fds[0]);
	settle(&rig);
	fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&sa, len), 0);
	put_request(&b, 1, "GetInfo", 0);
	raw_send(&rig, fds[0], &b);
	expect_code(&rig, fds[0], &in, 1, TTRPC_OK);
	for (int i = 0; i < MAX_CONNS + 1; i++)
		close(fds[i]);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	rig_stop(&rig);
	close(lfd);
}

/* ---- the client against a raw peer ---- */

static void hostile_answers_fail_their_call_only(void **state)
{
	static const struct {
		uint8_t type;
		const char *bytes;
		size_t n;
		int want; /* errno of the call; -1: no answer yet */
	} cases[] = {
		{TTRPC_RESPONSE, "", 0, 0},
		{TTRPC_RESPONSE, "\x12\x02\x08\x07", 4, 0},
		{TTRPC_RESPONSE, "\xff", 1, EPROTO},
		{TTRPC_RESPONSE, "\x12\x7f", 2, EPROTO},
		{TTRPC_RESPONSE, "\x12\x02\x08\x80", 4, EPROTO},
		{TTRPC_RESPONSE, "\x0a\x02\x08\x05", 4, ENOENT},
		{TTRPC_RESPONSE, "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, EIO},
		{TTRPC_DATA, "", 0, EPROTO},
		{TTRPC_REQUEST, "", 0, -1},
		{0x55, "", 0, -1},
	};
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	uint32_t id;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer a = {0};

		assert_int_equal(call_wait(&rig, 0, &a, &id), 0);
		put_frame(&b, id + 2, TTRPC_RESPONSE, "", 0);
		put_frame(&b, id + 1, TTRPC_RESPONSE, "\xff", 1);
		put_frame(&b, 0, TTRPC_RESPONSE, "", 0);
		put_frame(&b, id, cases[i].type, cases[i].bytes, cases[i].n);
		put_frame(&b, id, cases[i].want < 0 ? 0x44 : TTRPC_RESPONSE, "", 0); /* a second answer */
		raw_send(&rig, raw, &b);
		settle(&rig);
		if (a.done != (cases[i].want >= 0) || (a.done && a.err != cases[i].want))
			fail_msg("case %zu: done %d, error %d '%s'", i, a.done, a.err, a.text);
		ttrpc_cancel(rig.client, id);
	}
	assert_int_equal(rig.closed, 0);
	buf_fini(&b);
	close(raw);
	rig_stop(&rig);
}

static void a_long_answer_fails_its_call_only(void **state)
{
	static uint8_t chunk[65536];
	struct ttrpc_frame f = {.len = 0x00ffffff, .stream = 1, .type = TTRPC_RESPONSE};
	struct answer a = {0}, c = {0};
	struct buf b = BUF_INIT(1u << 20);
	uint8_t head[TTRPC_HEADER_LEN];
	size_t left = f.len;
	struct rig rig;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	assert_int_equal(call_info(&rig, &a), 0);
	assert_int_equal(call_info(&rig, &c), 0);
	ttrpc_frame_encode(head, &f);
	put(&b, head, sizeof(head));
	raw_send(&rig, raw, &b);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ENOBUFS);
	while (left) {
		ssize_t n = send(raw, chunk, MIN_OF(left, sizeof(chunk)), MSG_NOSIGNAL);

		if (n > 0)
			left -= (size_t)n;
		assert_int_equal(loop_turn(rig.loop, 0), 0);
	}
	put_frame(&b, 3, TTRPC_RESPONSE, "", 0);
	raw_send(&rig, raw, &b);
	turn_until(&rig, c.done);
	assert_int_equal(c.err, 0);
	buf_fini(&b);
	close(raw);
	rig_stop(&rig);
}

static void a_server_that_is_no_server_ends_the_connection(void **state)
{
	struct answer a = {0};
	struct rig rig;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	assert_int_equal(call_info(&rig, &a), 0);
	assert_int_equal(send(raw, "220 mail ESMTP\r\n", 16, 0), 16);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.err, ECONNRESET);
	assert_int_equal(rig.closed_err, EPROTO);
	close(raw);
	rig_stop(&rig);
}

static void a_server_may_end_at_any_byte(void **state)
{
	struct buf b = BUF_INIT(1u << 20);
	struct rig rig;

	put_frame(&b, 1, TTRPC_RESPONSE, "\x12\x02\x08\x07", 4);
	for (size_t len = 0; len <= b.len; len++) {
		struct answer a = {0};
		int raw;

		rig_start(&rig);
		raw = rig_raw_server(&rig);
		assert_int_equal(call_wait(&rig, 0, &a, NULL), 0);
		assert_int_equal(send(raw, buf_data(&b), len, 0), (ssize_t)len);
		close(raw);
		turn_until(&rig, rig.closed);
		assert_int_equal(a.done, 1);
		assert_int_equal(a.err, len == b.len ? 0 : ECONNRESET);
		rig_stop(&rig);
	}
	buf_fini(&b);
}

/* ---- blocking calls ---- */

struct server_thread {
	struct rig rig;
	pthread_t thread;
	bool stop;
};

static void *serve(void *ctx)
{
	struct server_thread *t = ctx;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE))
		(void)loop_turn(t->rig.loop, 10);
	return NULL;
}

static int sync_info(int sock, unsigned timeout_ms, uint32_t *cpus, struct err *err)
{
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	ProtobufCMessage *m = NULL;
	int r = ttrpc_call_sync(sock, SERVICE, "GetInfo", &req.base, info_type, timeout_ms, &m, err);

	if (r == 0) {
		*cpus = ((Podvm__Agent__V1__GetInfoResponse *)m)->cpus;
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return r;
}

static void blocking_calls_are_answered(void **state)
{
	struct server_thread t = {0};
	Podvm__Agent__V1__ProcessRequest wait = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	Podvm__Agent__V1__CreateContainerRequest create = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	uint32_t cpus = 0;
	struct err err;
	uint64_t before;
	int fd;

	rig_start(&t.rig);
	t.rig.info_size = 3000000;
	fd = rig_connect(&t.rig);
	assert_int_equal(pthread_create(&t.thread, NULL, serve, &t), 0);
	for (int i = 0; i < 3; i++) {
		/* Works on a socket of either kind. */
		assert_int_equal(fd_set_nonblock(fd, i == 1, NULL), 0);
		assert_int_equal(sync_info(fd, i == 2 ? 0 : 20000, &cpus, &err), 0);
		assert_int_equal(cpus, 3000000);
	}
	create.oci_spec.len = 3000000;
	create.oci_spec.data = calloc(1, 3000000);
	assert_int_equal(
		ttrpc_call_sync(fd, SERVICE, "CreateContainer", &create.base, created_type, 20000, &m, &err), -EEXIST);
	assert_string_equal(err.msg, "container '' exists");
	create.oci_spec.len = TTRPC_DATA_MAX;
	assert_int_equal(
		ttrpc_call_sync(fd, SERVICE, "CreateContainer", &create.base, created_type, 0, &m, &err), -EMSGSIZE);
	free(create.oci_spec.data);
	before = time_mono_ns();
	assert_int_equal(
		ttrpc_call_sync(fd, SERVICE, "WaitProcess", &wait.base, created_type, 50, &m, &err), -ETIMEDOUT);
	assert_true(time_mono_ns() - before >= 45 * NS_PER_MS);
	assert_true(time_mono_ns() - before < DEADLINE_NS);
	assert_null(m);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(t.thread, NULL), 0);
	close(fd);
	rig_stop(&t.rig);
}

static void blocking_calls_survive_hostile_answers(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int want;
	} cases[] = {
		{"", 0, -ECONNRESET},
		{"\0\0\0", 3, -ECONNRESET},
		{"\0\0\0\4\0\0\0\1\2\0xx", 12, -ECONNRESET},
		{"\xff\0\0\0\0\0\0\0\0\0", 10, -EPROTO},
		/* Answers to other streams, then nothing. */
		{"\0\0\0\1\0\0\0\2\2\0x\0\0\0\1\0\0\0\4\2\0x", 22, -ECONNRESET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t cpus;
		struct err err;
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		assert_int_equal(send(sv[1], cases[i].bytes, cases[i].n, 0), (ssize_t)cases[i].n);
		assert_int_equal(shutdown(sv[1], SHUT_WR), 0);
		if (sync_info(sv[0], 5000, &cpus, &err) != cases[i].want)
			fail_msg("case %zu: %s", i, err.msg);
		close(sv[0]);
		close(sv[1]);
	}
}

static void a_blocking_call_to_nobody_ends(void **state)
{
	uint32_t cpus;
	struct err err;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sync_info(sv[0], 20, &cpus, &err), -ETIMEDOUT);
	close(sv[1]);
	assert_int_equal(sync_info(sv[0], 20, &cpus, &err), -EPIPE);
	close(sv[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_answered),
		cmocka_unit_test(answers_find_their_calls_in_any_order),
		cmocka_unit_test(messages_up_to_the_limit_pass),
		cmocka_unit_test(too_large_messages_fail_alone),
		cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
		cmocka_unit_test(a_cancelled_call_is_silent),
		cmocka_unit_test(a_closed_connection_fails_what_is_pending),
		cmocka_unit_test(a_gone_caller_is_reported_once),
		cmocka_unit_test(on_gone_may_answer),
		cmocka_unit_test(callbacks_may_free_the_client),
		cmocka_unit_test(a_handler_may_free_the_server),
		cmocka_unit_test(a_client_that_is_not_read_is_bounded),
		cmocka_unit_test(wrong_frames_are_answered_and_the_connection_goes_on),
		cmocka_unit_test(a_broken_payload_fails_its_call),
		cmocka_unit_test(a_long_message_is_refused_and_the_connection_goes_on),
		cmocka_unit_test(a_stranger_is_hung_up_on),
		cmocka_unit_test(a_peer_may_end_at_any_byte),
		cmocka_unit_test(calls_beyond_the_limit_are_refused),
		cmocka_unit_test(callers_that_hang_up_do_not_pile_up_calls),
		cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
		cmocka_unit_test(answers_that_nobody_reads_are_bounded),
		cmocka_unit_test(connections_beyond_the_limit_are_closed),
		cmocka_unit_test(hostile_answers_fail_their_call_only),
		cmocka_unit_test(a_long_answer_fails_its_call_only),
		cmocka_unit_test(a_server_that_is_no_server_ends_the_connection),
		cmocka_unit_test(a_server_may_end_at_any_byte),
		cmocka_unit_test(blocking_calls_are_answered),
		cmocka_unit_test(blocking_calls_survive_hostile_answers),
		cmocka_unit_test(a_blocking_call_to_nobody_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
