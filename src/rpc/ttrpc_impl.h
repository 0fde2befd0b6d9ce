/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of ttrpc share, bottom up: input (bytes to frames), envelope (frames to calls), conn (a socket with
 * both directions on a loop). Client and server stand on these; nobody outside this folder and its tests includes this
 * header.
 */
#include "base/buf.h"
#include "rpc/ttrpc.h"

struct ttrpc_slice { /* borrowed bytes */
	const uint8_t *p;
	size_t n;
};

/* ---- input: bytes to frames, no I/O ---- */

#define TTRPC_READ_MIN 4096u
#define TTRPC_INPUT_MAX (TTRPC_HEADER_LEN + TTRPC_DATA_MAX + TTRPC_READ_MIN)

struct ttrpc_input {
	struct buf buf;
	size_t taken;  /* bytes at the front that the last frame handed out occupies */
	uint32_t skip; /* bytes still to come of a frame that was refused */
};

#define TTRPC_INPUT_INIT                                                                                               \
	{                                                                                                              \
		.buf = BUF_INIT(TTRPC_INPUT_MAX)                                                                       \
	}

enum ttrpc_input_step { TTRPC_INPUT_MORE = 0, TTRPC_INPUT_FRAME = 1, TTRPC_INPUT_TOO_LONG = 2 };

void ttrpc_input_fini(struct ttrpc_input *in);
/*
 * Room for the next bytes of the stream, *ret_n of them at the most; NULL: no memory. With `exact` not beyond the end
 * of the frame under way. The frame's length was checked before memory for it is asked for, and only bytes that arrive
 * use it.
 */
void *ttrpc_input_room(struct ttrpc_input *in, bool exact, size_t *ret_n);
void ttrpc_input_added(struct ttrpc_input *in, size_t n);
/*
 * TTRPC_INPUT_FRAME: *ret and its data, good until the next call on `in`. TTRPC_INPUT_TOO_LONG: the frame *ret is
 * refused, its data is skipped. TTRPC_INPUT_MORE: more bytes are needed. -EPROTO: not ttrpc (the reserved first byte
 * is set).
 */
int ttrpc_input_next(struct ttrpc_input *in, struct ttrpc_frame *ret, const uint8_t **ret_data) must_check;

/* ---- envelope: proto/ttrpc.proto, no I/O, no allocation ---- */

struct ttrpc_request_head {
	struct ttrpc_slice service, method, payload;
	int64_t timeout_ns;
};

struct ttrpc_response_head {
	int32_t code;
	struct ttrpc_slice message, payload;
};

/* 0 or -EPROTO. Slices point into `data`. */
int ttrpc_request_parse(struct ttrpc_request_head *ret, const uint8_t *data, size_t n) must_check;
int ttrpc_response_parse(struct ttrpc_response_head *ret, const uint8_t *data, size_t n) must_check;

/*
 * Appends a whole frame. -EMSGSIZE: the message is larger than a frame; -ENOBUFS, -ENOMEM. `out` is unchanged on
 * failure.
 */
int ttrpc_request_append(struct buf *out, uint32_t stream, const struct ttrpc_request_head *head,
	const ProtobufCMessage *req) must_check;
/* `keep` bytes of the buffer's limit stay free. */
int ttrpc_reply_append(struct buf *out, uint32_t stream, const ProtobufCMessage *reply, size_t keep) must_check;
int ttrpc_error_append(struct buf *out, uint32_t stream, enum ttrpc_code code, const char *message) must_check;

/*
 * Unpacks a message of a peer with at most 2n + TTRPC_UNPACK_SLACK bytes of memory, so that a few bytes of input
 * cannot become a mass of small objects. NULL: malformed or over that budget (-> *ret_code). Release with
 * protobuf_c_message_free_unpacked(m, NULL).
 */
#define TTRPC_UNPACK_SLACK (256u << 10)
ProtobufCMessage *ttrpc_unpack(
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n, enum ttrpc_code *ret_code);

/*
 * Text of a peer, safe for a terminal and always valid UTF-8: control characters and broken bytes become '?'. Cut to
 * fit.
 */
void ttrpc_text(char *dst, size_t size, const void *src, size_t n);

/* What a response means: 0 and *ret, or a negative errno with err. */
int ttrpc_response_read(ProtobufCMessage **ret, const char *method, const ProtobufCMessageDescriptor *reply_type,
	const struct ttrpc_slice *data, struct err *err) must_check;

/* ---- conn: a stream socket on a loop ---- */

/* Above this much unsent output a server stops taking requests. */
#define TTRPC_OUT_MARK (256u << 10)
/* Room that answers leave for refusals. */
#define TTRPC_OUT_KEEP (64u << 10)
#define TTRPC_OUT_MAX (TTRPC_HEADER_LEN + TTRPC_DATA_MAX + TTRPC_OUT_MARK + TTRPC_OUT_KEEP)

struct ttrpc_conn {
	struct loop_fd src;
	uint32_t events; /* what src waits for */
	int sock;	 /* owned */
	bool broken;	 /* shut down by us; the loop will report it */
	struct ttrpc_input in;
	struct buf out;
};

/* Consumes `sock`, also on failure. */
int ttrpc_conn_init(struct ttrpc_conn *c, struct loop *loop, int sock, void (*fn)(struct loop_fd *src, uint32_t events),
	struct err *err) must_check;
void ttrpc_conn_fini(struct ttrpc_conn *c);
/* One read. 1: bytes came; 0: nothing there; -ECONNRESET: the peer closed; another -errno. */
int ttrpc_conn_read(struct ttrpc_conn *c) must_check;
/* Sends what the socket takes. A failure shuts the socket down, which the loop then reports; nothing is freed here. */
void ttrpc_conn_flush(struct ttrpc_conn *c);
/* Gives the connection up in the same way. */
void ttrpc_conn_break(struct ttrpc_conn *c);
/* Waits for input if `reading`, and for room when output is left. */
void ttrpc_conn_watch(struct ttrpc_conn *c, bool reading);
