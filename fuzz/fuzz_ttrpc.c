/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile bytes for both sides of ttrpc. The first byte says where they go: to the frame parser, in chunks of a size it
 * also gives, which must find the same frames as in one piece; to a server whose handlers answer, keep and fail; or to
 * a client with calls pending. Client and server are on a socketpair, because what they do with it is half of them.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "rpc/ttrpc_impl.h"

#define SEND_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- parser ---- */

/* A number that depends on every frame found. */
static uint64_t parse(const uint8_t *data, size_t size, size_t chunk)
{
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	const uint8_t *bytes = NULL;
	struct ttrpc_frame f;
	uint64_t sum = 0;
	int step = 0;

	while (size && step >= 0) {
		size_t n, room;
		uint8_t *p = ttrpc_input_room(&in, chunk & 1, &room);

		n = MIN_OF(MIN_OF(size, chunk), room);
		memcpy(p, data, n);
		ttrpc_input_added(&in, n);
		data += n;
		size -= n;
		while ((step = ttrpc_input_next(&in, &f, &bytes)) > 0) {
			sum = sum * 31 + (uint64_t)step * 7 + f.len + f.stream + f.type + f.flags;
			for (uint32_t i = 0; step == TTRPC_INPUT_FRAME && i < f.len; i++)
				sum = sum * 31 + bytes[i];
		}
	}
	ttrpc_input_fini(&in);
	return step < 0 ? sum * 31 + 1 : sum;
}

/* ---- server ---- */

static struct ttrpc_request *kept[64];
static unsigned n_kept;

static void on_gone(void *ctx)
{
	*(int *)ctx += 1;
}

static int gone;

static void keep(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	kept[n_kept++] = rq;
	ttrpc_on_gone(rq, on_gone, &gone);
}

static void reply(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	Podvm__Agent__V1__CreateContainerResponse resp = PODVM__AGENT__V1__CREATE_CONTAINER_RESPONSE__INIT;

	resp.pid = 1;
	ttrpc_reply(rq, &resp.base);
}

static void fail(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	const Podvm__Agent__V1__ContainerRequest *m = (const void *)req;
	struct err err;

	(void)err_set(&err, 2, "container '%s'", m->container_id);
	ttrpc_fail(rq, &err);
}

static const struct ttrpc_method methods[] = {
	{"W", &podvm__agent__v1__process_request__descriptor, keep},
	{"C", &podvm__agent__v1__configure_request__descriptor, reply},
	{"F", &podvm__agent__v1__container_request__descriptor, fail},
};
static const struct ttrpc_service service = {"S", methods, ARRAY_SIZE(methods), NULL};

/* Sends the bytes to `fd` in pieces while the loop turns, and reads what comes back into nowhere. */
static void converse(struct loop *loop, int fd, const uint8_t *data, size_t size)
{
	char sink[4096];

	for (size_t at = 0; at < size;) {
		ssize_t n = send(fd, data + at, MIN_OF(size - at, (size_t)SEND_MAX), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			at += (size_t)n;
		for (int i = 0; i < 4; i++)
			(void)loop_turn(loop, 0);
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
		if (n < 0 && recv(fd, sink, 1, MSG_DONTWAIT) == 0)
			break;
	}
	(void)shutdown(fd, SHUT_WR);
	for (int i = 0; i < 64; i++)
		(void)loop_turn(loop, 0);
}

static void serve(const uint8_t *data, size_t size)
{
	struct ttrpc_server *s = NULL;
	struct loop *loop = NULL;
	struct err err;
	int sv[2];

	if (loop_new(&loop, &err) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	if (ttrpc_server_new(&s, loop, &service, 1, 1, 16, &err) < 0 || ttrpc_server_add(s, sv[0], &err) < 0)
		abort();
	gone = 0;
	converse(loop, sv[1], data, size);
	for (unsigned i = 0; i < n_kept; i++)
		reply(NULL, kept[i], NULL);
	/* Each kept request lost its caller, once. */
	if (gone != (int)n_kept)
		abort();
	n_kept = 0;
	ttrpc_server_free(s);
	loop_free(loop);
	close(sv[1]);
}

/* ---- client ---- */

static void on_done(void *ctx, const ProtobufCMessage *m, const struct err *err)
{
	if ((m != NULL) == (err != NULL) || (err && !err->code))
		abort();
	*(int *)ctx += 1;
}

static void on_closed(void *ctx, const struct err *why)
{
	*(int *)ctx += 100;
}

static void call(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {&podvm__agent__v1__get_stats_response__descriptor,
		&podvm__agent__v1__next_events_response__descriptor,
		&podvm__agent__v1__list_processes_response__descriptor, &podvm__agent__v1__empty__descriptor};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	struct ttrpc_client *c = NULL;
	struct loop *loop = NULL;
	struct err err;
	int sv[2], n = 0;

	if (loop_new(&loop, &err) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	if (ttrpc_client_new(&c, loop, sv[0], on_closed, &n, &err) < 0)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (ttrpc_call(c, "S", "M", &req.base, types[i], 0, on_done, &n, NULL, &err) < 0)
			abort();
	converse(loop, sv[1], data, size);
	/* Every call ended once, and so did the connection. */
	if (n != 100 + (int)ARRAY_SIZE(types))
		abort();
	ttrpc_client_free(c);
	loop_free(loop);
	close(sv[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] % 3 == 0 && parse(data + 2, size - 2, data[1] + 1u) != parse(data + 2, size - 2, SIZE_MAX))
		abort();
	if (data[0] % 3 == 1)
		serve(data + 1, size - 1);
	if (data[0] % 3 == 2)
		call(data + 1, size - 1);
	return 0;
}
