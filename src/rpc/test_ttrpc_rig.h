/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the tests of ttrpc share: a loop with a server and a client on it, and raw peers that send what they like. The
 * service has the agent's messages but its own behaviour: GetInfo answers with a string of info_size bytes,
 * CreateContainer with the length of the spec (an empty id is EEXIST), WaitProcess keeps the request in `held`,
 * Shutdown answers and frees the server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/ttrpc_impl.h"

#define SERVICE "podvm.agent.v1.Agent"
#define MAX_CONNS 3
#define MAX_CALLS 40
#define DEADLINE_NS (20 * NS_PER_S)

extern const ProtobufCMessageDescriptor *const rig_empty_type, *const rig_info_type, *const rig_created_type;

struct rig_held { /* a request that its handler keeps */
	struct ttrpc_request *rq;
	int gone;
};

struct rig_answer {
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
	struct rig_held held[256];
	unsigned n_held;
	size_t info_size;	    /* bytes of the string in the answer of GetInfo */
	bool free_client;	    /* when it is closed */
	struct rig_answer *waiting; /* freed with the client */
};

#define turn_until(rig, cond)                                                                                          \
	do {                                                                                                           \
		uint64_t end_ = time_mono_ns() + DEADLINE_NS;                                                          \
		while (!(cond) && time_mono_ns() < end_)                                                               \
			assert_int_equal(loop_turn((rig)->loop, 100), 0);                                              \
		if (!(cond))                                                                                           \
			fail_msg("%s never became true", #cond);                                                       \
	} while (0)

struct rig_reply {
	struct ttrpc_frame f;
	struct ttrpc_response_head head;
	char message[200];
};

void rig_settle(struct rig *rig);
void rig_on_gone(void *ctx);
void rig_answer_held(struct rig_held *h, uint32_t n);
void rig_start(struct rig *rig);
int rig_connect(struct rig *rig);
void rig_connect_client(struct rig *rig);
int rig_raw_server(struct rig *rig);
void rig_stop(struct rig *rig);
void rig_note(struct rig_answer *a, uint32_t n, const struct err *err);
void rig_on_created(void *ctx, const ProtobufCMessage *reply, const struct err *err);
void rig_on_info(void *ctx, const ProtobufCMessage *reply, const struct err *err);
int rig_call_info(struct rig *rig, struct rig_answer *a);
int rig_call_create(struct rig *rig, const char *id, size_t spec, struct rig_answer *a);
int rig_call_wait(struct rig *rig, unsigned timeout_ms, struct rig_answer *a, uint32_t *id);
void rig_put(struct buf *b, const void *bytes, size_t n);
void rig_put_request(struct buf *b, uint32_t id, const char *method, int64_t timeout_ns);
void rig_put_frame(struct buf *b, uint32_t id, uint8_t type, const void *data, size_t n);
void rig_send(struct rig *rig, int fd, struct buf *b);
int rig_read(struct rig *rig, int fd, struct ttrpc_input *in, struct rig_reply *ret);
void rig_expect_code(struct rig *rig, int fd, struct ttrpc_input *in, uint32_t id, enum ttrpc_code code);
