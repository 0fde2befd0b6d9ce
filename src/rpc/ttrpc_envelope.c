/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two messages around a call (proto/ttrpc.proto), in protobuf's wire format, by hand: reading borrows from the
 * frame and allocates nothing, writing packs the payload straight into the output buffer. As protobuf wants it,
 * unknown fields are skipped, a known field with another wire type counts as unknown, and of a field given twice the
 * last one holds. Groups (wire types 3 and 4) are refused.
 */
#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "rpc/ttrpc_impl.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { REQUEST_SERVICE = 1, REQUEST_METHOD = 2, REQUEST_PAYLOAD = 3, REQUEST_TIMEOUT = 4 };
enum { RESPONSE_STATUS = 1, RESPONSE_PAYLOAD = 2 };
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2 };

struct reader {
	const uint8_t *p, *end;
};

struct field {
	uint32_t id; /* number << 3 | wire type */
	uint64_t number;
	struct ttrpc_slice bytes;
};

#define FIELD(number, wire) ((uint32_t)(number) << 3 | (wire))

static bool read_varint(struct reader *r, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b;

		if (r->p == r->end)
			return false;
		b = *r->p++;
		if (shift == 63 && b > 1)
			return false;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool read_bytes(struct reader *r, uint64_t n, struct ttrpc_slice *ret)
{
	if (n > (uint64_t)(r->end - r->p))
		return false;
	ret->p = r->p;
	ret->n = (size_t)n;
	r->p += n;
	return true;
}

/* 1: a field, 0: the end, -EPROTO. */
static int read_field(struct reader *r, struct field *ret)
{
	uint64_t id, n;
	bool ok;

	if (r->p == r->end)
		return 0;
	if (!read_varint(r, &id) || id > UINT32_MAX || id < 8)
		return -EPROTO;
	ret->id = (uint32_t)id;
	switch (id & 7) {
	case WIRE_VARINT:
		ok = read_varint(r, &ret->number);
		break;
	case WIRE_64:
		ok = read_bytes(r, 8, &ret->bytes);
		break;
	case WIRE_BYTES:
		ok = read_varint(r, &n) && read_bytes(r, n, &ret->bytes);
		break;
	case WIRE_32:
		ok = read_bytes(r, 4, &ret->bytes);
		break;
	default:
		ok = false;
	}
	return ok ? 1 : -EPROTO;
}

int ttrpc_request_parse(struct ttrpc_request_head *ret, const uint8_t *data, size_t n)
{
	struct reader rd = {data, data + n};
	struct ttrpc_request_head head = {0};
	struct field f = {0};
	int r;

	while ((r = read_field(&rd, &f)) > 0) {
		switch (f.id) {
		case FIELD(REQUEST_SERVICE, WIRE_BYTES):
			head.service = f.bytes;
			break;
		case FIELD(REQUEST_METHOD, WIRE_BYTES):
			head.method = f.bytes;
			break;
		case FIELD(REQUEST_PAYLOAD, WIRE_BYTES):
			head.payload = f.bytes;
			break;
		case FIELD(REQUEST_TIMEOUT, WIRE_VARINT):
			head.timeout_ns = (int64_t)f.number;
			break;
		}
	}
	if (r < 0)
		return r;
	*ret = head;
	return 0;
}

static int parse_status(struct ttrpc_response_head *head, const struct ttrpc_slice *data)
{
	struct reader rd = {data->p, data->p + data->n};
	struct field f = {0};
	int r;

	while ((r = read_field(&rd, &f)) > 0) {
		switch (f.id) {
		case FIELD(STATUS_CODE, WIRE_VARINT):
			head->code = (int32_t)(uint32_t)f.number;
			break;
		case FIELD(STATUS_MESSAGE, WIRE_BYTES):
			head->message = f.bytes;
			break;
		}
	}
	return r;
}

int ttrpc_response_parse(struct ttrpc_response_head *ret, const uint8_t *data, size_t n)
{
	struct reader rd = {data, data + n};
	struct ttrpc_response_head head = {0};
	struct field f = {0};
	int r;

	while ((r = read_field(&rd, &f)) > 0) {
		switch (f.id) {
		case FIELD(RESPONSE_STATUS, WIRE_BYTES):
			r = parse_status(&head, &f.bytes);
			if (r < 0)
				return r;
			break;
		case FIELD(RESPONSE_PAYLOAD, WIRE_BYTES):
			head.payload = f.bytes;
			break;
		}
	}
	if (r < 0)
		return r;
	*ret = head;
	return 0;
}

static size_t varint_len(uint64_t v)
{
	size_t n = 1;

	while (v >>= 7)
		n++;
	return n;
}

/* Every field number here is below 16: one byte of tag. */
static size_t bytes_len(size_t n)
{
	return n ? 1 + varint_len(n) + n : 0;
}

static size_t number_len(uint64_t v)
{
	return v ? 1 + varint_len(v) : 0;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* Tag and length; the bytes follow. */
static uint8_t *put_bytes_head(uint8_t *p, unsigned number, size_t n)
{
	if (!n)
		return p;
	*p++ = (uint8_t)FIELD(number, WIRE_BYTES);
	return put_varint(p, n);
}

static uint8_t *put_bytes(uint8_t *p, unsigned number, const struct ttrpc_slice *s)
{
	if (!s->n)
		return p;
	p = put_bytes_head(p, number, s->n);
	memcpy(p, s->p, s->n);
	return p + s->n;
}

static uint8_t *put_number(uint8_t *p, unsigned number, uint64_t v)
{
	if (!v)
		return p;
	*p++ = (uint8_t)FIELD(number, WIRE_VARINT);
	return put_varint(p, v);
}

/* Room for a frame with `n` bytes of data, whose header is written; returns where the data goes. */
static int begin_frame(struct buf *out, uint32_t stream, enum ttrpc_type type, size_t n, uint8_t **ret)
{
	struct ttrpc_frame f = {.len = (uint32_t)n, .stream = stream, .type = (uint8_t)type};
	uint8_t *p;

	if (n > TTRPC_DATA_MAX)
		return -EMSGSIZE;
	p = buf_reserve(out, TTRPC_HEADER_LEN + n);
	if (!p)
		return -errno;
	ttrpc_frame_encode(p, &f);
	*ret = p + TTRPC_HEADER_LEN;
	return 0;
}

static void end_frame(struct buf *out, size_t n, const uint8_t *data, const uint8_t *end)
{
	/*
	 * The lengths were computed before the bytes were written: a message that changed in between is our own
	 * mistake.
	 */
	assert((size_t)(end - data) == n);
	buf_added(out, TTRPC_HEADER_LEN + n);
}

int ttrpc_request_append(
	struct buf *out, uint32_t stream, const struct ttrpc_request_head *head, const ProtobufCMessage *req)
{
	size_t payload = protobuf_c_message_get_packed_size(req);
	size_t n = bytes_len(head->service.n) + bytes_len(head->method.n) + number_len((uint64_t)head->timeout_ns) +
		   bytes_len(payload);
	uint8_t *data, *p;
	int r = begin_frame(out, stream, TTRPC_REQUEST, n, &data);

	if (r < 0)
		return r;
	p = put_bytes(data, REQUEST_SERVICE, &head->service);
	p = put_bytes(p, REQUEST_METHOD, &head->method);
	p = put_number(p, REQUEST_TIMEOUT, (uint64_t)head->timeout_ns);
	p = put_bytes_head(p, REQUEST_PAYLOAD, payload);
	p += protobuf_c_message_pack(req, p);
	end_frame(out, n, data, p);
	return 0;
}

int ttrpc_reply_append(struct buf *out, uint32_t stream, const ProtobufCMessage *reply, size_t keep)
{
	size_t payload = protobuf_c_message_get_packed_size(reply);
	size_t n = bytes_len(payload);
	uint8_t *data, *p;
	int r;

	if (n <= TTRPC_DATA_MAX && TTRPC_HEADER_LEN + n + keep > out->limit - out->len)
		return -ENOBUFS;
	r = begin_frame(out, stream, TTRPC_RESPONSE, n, &data);
	if (r < 0)
		return r;
	p = put_bytes_head(data, RESPONSE_PAYLOAD, payload);
	p += protobuf_c_message_pack(reply, p);
	end_frame(out, n, data, p);
	return 0;
}

int ttrpc_error_append(struct buf *out, uint32_t stream, enum ttrpc_code code, const char *message)
{
	char text[sizeof(((struct err *)0)->msg)];
	struct ttrpc_slice msg = {.p = (const uint8_t *)text};
	size_t status, n;
	uint8_t *data, *p;
	int r;

	/* Peers refuse strings that are not UTF-8, and would lose the code with the text. */
	ttrpc_text(text, sizeof(text), message, strlen(message));
	msg.n = strlen(text);
	status = number_len(code) + bytes_len(msg.n);
	n = bytes_len(status);
	r = begin_frame(out, stream, TTRPC_RESPONSE, n, &data);
	if (r < 0)
		return r;
	p = put_bytes_head(data, RESPONSE_STATUS, status);
	p = put_number(p, STATUS_CODE, code);
	p = put_bytes(p, STATUS_MESSAGE, &msg);
	end_frame(out, n, data, p);
	return 0;
}
