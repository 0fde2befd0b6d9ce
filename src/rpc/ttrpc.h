/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ttrpc (containerd/ttrpc PROTOCOL.md): unary calls over a stream socket. Frame codec, client and server.
 *
 * Frame: u32 big-endian data length, u32 big-endian stream id (odd, from the client, growing), u8 type, u8 flags, data.
 * Data longer than TTRPC_DATA_MAX is refused with RESOURCE_EXHAUSTED and the connection goes on (the rest of the frame
 * is skipped). A frame whose first byte is not zero (reserved by the protocol; in practice: a peer that speaks
 * something else) ends the connection.
 */
#include <protobuf-c/protobuf-c.h>

#include "base/loop.h"

#define TTRPC_HEADER_LEN 10
#define TTRPC_DATA_MAX (4u << 20)

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

struct ttrpc_frame {
	uint32_t len;
	uint32_t stream;
	uint8_t type, flags;
};

void ttrpc_frame_encode(uint8_t dst[TTRPC_HEADER_LEN], const struct ttrpc_frame *f);
void ttrpc_frame_decode(struct ttrpc_frame *ret, const uint8_t src[TTRPC_HEADER_LEN]);

/* gRPC status codes (google.rpc.Code) that we use; see ttrpc_status_from_errno. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELLED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

/*
 * One table for both directions; unknown values become TTRPC_UNKNOWN / EIO. FAILED_PRECONDITION is EBUSY,
 * RESOURCE_EXHAUSTED ENOBUFS, UNIMPLEMENTED EOPNOTSUPP, INTERNAL EIO, UNAVAILABLE ECONNREFUSED; the others have the
 * errno of their name.
 */
enum ttrpc_code ttrpc_code_from_errno(int code);
int ttrpc_errno_from_code(enum ttrpc_code code);

/* ---- client ---- */

struct ttrpc_client;

/*
 * `sock` (consumed, also on failure) is a connected stream socket. `closed` runs once when the connection ended; calls
 * pending then have failed with ECONNRESET before. The replies are hostile input: malformed ones fail their call.
 */
int ttrpc_client_new(struct ttrpc_client **ret, struct loop *loop, int sock,
	void (*closed)(void *ctx, const struct err *why), void *ctx, struct err *err) must_check;
/* Pending calls are dropped without their callback. NULL is fine. May be called inside a callback. */
void ttrpc_client_free(struct ttrpc_client *c);
DEFINE_FREEP(ttrpc_client);
/* Ends the connection: pending calls fail with ECONNRESET and `why`; `closed` does not run. The client is still to be freed. */
void ttrpc_client_end(struct ttrpc_client *c, const struct err *why);
/*
 * From now on, when the connection ends by itself, calls under way are kept (their deadlines too) until ttrpc_client_end: `closed` may know only
 * later why it ended.
 */
void ttrpc_client_keep_calls(struct ttrpc_client *c);

/* What a call means that the other side does not know (EOPNOTSUPP), for its message. Static text; NULL: nothing is known of it. */
void ttrpc_client_unknown(struct ttrpc_client *c, const char *means);

/*
 * The end of a call: `reply` (borrowed, unpacked with the descriptor given) on success, else NULL and err.
 */
typedef void ttrpc_done(void *ctx, const ProtobufCMessage *reply, const struct err *err);

/*
 * Starts a call. `req` is packed before this returns. timeout_ms 0: no deadline; past it done runs with ETIMEDOUT. The
 * id of the call, for ttrpc_cancel, goes to *ret_id (may be NULL). On a negative return `done` will not run.
 */
int ttrpc_call(struct ttrpc_client *c, const char *service, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ttrpc_done *done, void *ctx,
	uint32_t *ret_id, struct err *err) must_check;
/*
 * Marks a call under way as a probe: whether the other side still answers. When (CLOCK_MONOTONIC) a probe last passed its deadline, if none
 * was answered since; else 0. Whatever else the other side sends says nothing: it may be hostile.
 */
void ttrpc_client_probes(struct ttrpc_client *c, uint32_t id);
uint64_t ttrpc_client_missed_ns(const struct ttrpc_client *c);
/* Forgets the call: done will not run (ttrpc has no message that tells the server). Unknown ids are fine. */
void ttrpc_cancel(struct ttrpc_client *c, uint32_t id);

/*
 * The same, blocking, on a socket used by nobody else (for one-shot commands). *ret:
 * protobuf_c_message_free_unpacked(m, NULL). After a failure that the peer did not answer the socket is out of step:
 * close it.
 */
int ttrpc_call_sync(int sock, const char *service, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ProtobufCMessage **ret,
	struct err *err) must_check;

/* ---- server ---- */

struct ttrpc_server;
struct ttrpc_request; /* one call in progress; answered exactly once, now or later */

struct ttrpc_method {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	/* `req` is borrowed for the duration of the call. Answer with ttrpc_reply or ttrpc_fail. */
	void (*fn)(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req);
};

struct ttrpc_service {
	const char *name; /* "podvm.agent.v1.Agent" */
	const struct ttrpc_method *methods;
	unsigned n_methods;
	void *ctx;
};

/* `services` is borrowed. max_conns and max_calls (in progress per connection) bound what peers can make us hold. */
int ttrpc_server_new(struct ttrpc_server **ret, struct loop *loop, const struct ttrpc_service *services,
	unsigned n_services, unsigned max_conns, unsigned max_calls, struct err *err) must_check;
/*
 * Ends the connections. Requests in progress stay valid until they are answered, into the void; on_gone does not run.
 * NULL is fine. May be called by a handler.
 */
void ttrpc_server_free(struct ttrpc_server *s);
DEFINE_FREEP(ttrpc_server);
/* Serves a connected socket (consumed, also on failure). -EMFILE when max_conns are open. */
int ttrpc_server_add(struct ttrpc_server *s, int sock, struct err *err) must_check;
/* Accepts from `fd`, which listens (borrowed; becomes non-blocking). Once per server. */
int ttrpc_server_listen(struct ttrpc_server *s, int fd, struct err *err) must_check;

/* Each consumes rq; when the caller has gone in between, the answer is dropped silently. */
void ttrpc_reply(struct ttrpc_request *rq, const ProtobufCMessage *reply);
void ttrpc_fail(struct ttrpc_request *rq, const struct err *err);
/*
 * Lets a long call learn that its caller is gone (connection ended, or deadline passed and answered): fn runs once,
 * inside this call if that has happened already; the answer, which is still due, will be dropped. fn may answer.
 */
void ttrpc_on_gone(struct ttrpc_request *rq, void (*fn)(void *ctx), void *ctx);
