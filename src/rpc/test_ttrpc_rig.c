/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/test_ttrpc_rig.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

const ProtobufCMessageDescriptor *const rig_empty_type = &podvm__agent__v1__empty__descriptor;
const ProtobufCMessageDescriptor *const rig_info_type = &podvm__agent__v1__get_info_response__descriptor;
const ProtobufCMessageDescriptor *const rig_created_type = &podvm__agent__v1__create_container_response__descriptor;

/* Lets everything happen that can happen now. */
void rig_settle(struct rig *rig)
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

void rig_on_gone(void *ctx)
{
	struct rig_held *h = ctx;

	h->gone++;
}

/* Keeps the request. */
static void do_wait(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct rig *rig = ctx;
	struct rig_held *h = &rig->held[rig->n_held++];

	*h = (struct rig_held){.rq = rq};
	ttrpc_on_gone(rq, rig_on_gone, h);
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

void rig_answer_held(struct rig_held *h, uint32_t n)
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

void rig_start(struct rig *rig)
{
	*rig = (struct rig){.info_size = 3};
	service.ctx = rig;
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(&rig->server, rig->loop, &service, 1, MAX_CONNS, MAX_CALLS, NULL), 0);
}

/* A connection to the server; the raw end is returned. */
int rig_connect(struct rig *rig)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(ttrpc_server_add(rig->server, sv[0], NULL), 0);
	return sv[1];
}

void rig_connect_client(struct rig *rig)
{
	assert_int_equal(ttrpc_client_new(&rig->client, rig->loop, rig_connect(rig), on_closed, rig, NULL), 0);
}

/* A client whose server is a raw socket, which is returned. */
int rig_raw_server(struct rig *rig)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	assert_int_equal(ttrpc_client_new(&rig->client, rig->loop, sv[0], on_closed, rig, NULL), 0);
	return sv[1];
}

void rig_stop(struct rig *rig)
{
	ttrpc_client_free(rig->client);
	ttrpc_server_free(rig->server);
	for (unsigned i = 0; i < rig->n_held; i++)
		if (rig->held[i].rq)
			rig_answer_held(&rig->held[i], 0);
	loop_free(rig->loop);
}

void rig_note(struct rig_answer *a, uint32_t n, const struct err *err)
{
	a->done++;
	a->err = err ? err->code : 0;
	a->n = n;
	(void)str_copy(a->text, sizeof(a->text), err ? err->msg : "");
}

void rig_on_created(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	rig_note(ctx, reply ? ((const Podvm__Agent__V1__CreateContainerResponse *)(const void *)reply)->pid : 0, err);
}

void rig_on_info(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__GetInfoResponse *info = (const void *)reply;

	rig_note(ctx, reply ? info->cpus : 0, err);
	if (reply)
		assert_int_equal(strlen(info->agent_version), info->cpus);
}

int rig_call_info(struct rig *rig, struct rig_answer *a)
{
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;

	return ttrpc_call(rig->client, SERVICE, "GetInfo", &req.base, rig_info_type, 0, rig_on_info, a, NULL, NULL);
}

int rig_call_create(struct rig *rig, const char *id, size_t spec, struct rig_answer *a)
{
	Podvm__Agent__V1__CreateContainerRequest req = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	auto_free uint8_t *bytes = calloc(1, spec + 1);

	req.container_id = (char *)(uintptr_t)id;
	req.oci_spec.data = bytes;
	req.oci_spec.len = spec;
	return ttrpc_call(
		rig->client, SERVICE, "CreateContainer", &req.base, rig_created_type, 0, rig_on_created, a, NULL, NULL);
}

int rig_call_wait(struct rig *rig, unsigned timeout_ms, struct rig_answer *a, uint32_t *id)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	return ttrpc_call(rig->client, SERVICE, "WaitProcess", &req.base, rig_created_type, timeout_ms, rig_on_created,
		a, id, NULL);
}

/* ---- raw peers ---- */

void rig_put(struct buf *b, const void *bytes, size_t n)
{
	assert_int_equal(buf_append(b, bytes, n), 0);
}

void rig_put_request(struct buf *b, uint32_t id, const char *method, int64_t timeout_ns)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct ttrpc_request_head head = {.service = {(const uint8_t *)SERVICE, strlen(SERVICE)},
		.method = {(const uint8_t *)method, strlen(method)},
		.timeout_ns = timeout_ns};

	assert_int_equal(ttrpc_request_append(b, id, &head, &req.base), 0);
}

void rig_put_frame(struct buf *b, uint32_t id, uint8_t type, const void *data, size_t n)
{
	struct ttrpc_frame f = {.len = (uint32_t)n, .stream = id, .type = type};
	uint8_t head[TTRPC_HEADER_LEN];

	ttrpc_frame_encode(head, &f);
	rig_put(b, head, sizeof(head));
	rig_put(b, data, n);
}

void rig_send(struct rig *rig, int fd, struct buf *b)
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

/* Waits for one response at the raw end; returns 0 at the end of the connection. */
int rig_read(struct rig *rig, int fd, struct ttrpc_input *in, struct rig_reply *ret)
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

void rig_expect_code(struct rig *rig, int fd, struct ttrpc_input *in, uint32_t id, enum ttrpc_code code)
{
	struct rig_reply r;

	assert_int_equal(rig_read(rig, fd, in, &r), 1);
	assert_int_equal(r.f.type, TTRPC_RESPONSE);
	assert_int_equal(r.f.stream, id);
	if (r.head.code != (int)code)
		fail_msg("stream %u: code %d '%s', not %d", id, r.head.code, r.message, (int)code);
}
