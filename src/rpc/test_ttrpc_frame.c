/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of ttrpc that does no I/O: frames, envelope, status, text, the budget for messages. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "rpc/ttrpc_impl.h"
#include "ttrpc.pb-c.h"

static void a_header_has_the_documented_layout(void **state)
{
	static const uint8_t want[TTRPC_HEADER_LEN] = {0, 1, 2, 3, 0xa0, 0, 0, 5, 2, 0x81};
	struct ttrpc_frame f = {.len = 0x010203, .stream = 0xa0000005, .type = 2, .flags = 0x81};
	struct ttrpc_frame got;
	uint8_t wire[TTRPC_HEADER_LEN];

	ttrpc_frame_encode(wire, &f);
	assert_memory_equal(wire, want, sizeof(want));
	ttrpc_frame_decode(&got, wire);
	assert_int_equal(got.len, f.len);
	assert_int_equal(got.stream, f.stream);
	assert_int_equal(got.type, f.type);
	assert_int_equal(got.flags, f.flags);
}

/* Gives `in` at most `chunk` bytes of src; returns how many it took. */
static size_t feed(struct ttrpc_input *in, const uint8_t *src, size_t n, size_t chunk, bool exact)
{
	size_t room;
	void *p = ttrpc_input_room(in, exact, &room);

	assert_non_null(p);
	n = MIN_OF(MIN_OF(n, chunk), room);
	memcpy(p, src, n);
	ttrpc_input_added(in, n);
	return n;
}

static size_t put_frame(uint8_t *dst, uint32_t len, uint32_t stream, uint8_t type, uint8_t fill)
{
	struct ttrpc_frame f = {.len = len, .stream = stream, .type = type};

	ttrpc_frame_encode(dst, &f);
	memset(dst + TTRPC_HEADER_LEN, fill, len);
	return TTRPC_HEADER_LEN + len;
}

static void frames_come_out_however_the_bytes_arrive(void **state)
{
	static uint8_t wire[100000];
	size_t chunks[] = {1, 3, 9, 10, 11, 4096, 5000, sizeof(wire)};
	size_t n = 0;

	n += put_frame(wire + n, 0, 1, TTRPC_REQUEST, 0);
	n += put_frame(wire + n, 5, 3, TTRPC_REQUEST, 'a');
	n += put_frame(wire + n, 70000, 5, TTRPC_DATA, 'b');
	n += put_frame(wire + n, 1, 7, TTRPC_RESPONSE, 'c');
	for (size_t i = 0; i < ARRAY_SIZE(chunks) * 2; i++) {
		struct ttrpc_input in = TTRPC_INPUT_INIT;
		const uint8_t *data;
		struct ttrpc_frame f;
		size_t at = 0, frames = 0;
		uint64_t sum = 0;

		while (at < n) {
			at += feed(&in, wire + at, n - at, chunks[i / 2], i % 2);
			while (ttrpc_input_next(&in, &f, &data) == TTRPC_INPUT_FRAME) {
				assert_int_equal(f.stream, 1 + 2 * frames);
				for (size_t k = 0; k < f.len; k++)
					sum += data[k];
				frames++;
			}
		}
		assert_int_equal(frames, 4);
		assert_int_equal(sum, 5 * 'a' + 70000 * 'b' + 'c');
		assert_int_equal(in.buf.len - in.taken, 0);
		ttrpc_input_fini(&in);
	}
}

static void a_long_frame_is_refused_and_skipped_unstored(void **state)
{
	static uint8_t chunk[65536];
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	uint8_t head[2 * TTRPC_HEADER_LEN];
	struct ttrpc_frame f = {.len = 0x00ffffff, .stream = 9, .type = TTRPC_REQUEST};
	struct ttrpc_frame got;
	const uint8_t *data;
	size_t left = f.len;

	ttrpc_frame_encode(head, &f);
	assert_int_equal(feed(&in, head, TTRPC_HEADER_LEN, TTRPC_HEADER_LEN, false), TTRPC_HEADER_LEN);
	assert_int_equal(ttrpc_input_next(&in, &got, &data), TTRPC_INPUT_TOO_LONG);
	assert_int_equal(got.len, f.len);
	assert_int_equal(got.stream, 9);
	while (left) {
		assert_int_equal(ttrpc_input_next(&in, &got, &data), TTRPC_INPUT_MORE);
		left -= feed(&in, chunk, left, sizeof(chunk), false);
		assert_true(in.buf.cap <= 65536);
	}
	(void)put_frame(head, 0, 11, TTRPC_REQUEST, 0);
	assert_int_equal(feed(&in, head, TTRPC_HEADER_LEN, 64, false), TTRPC_HEADER_LEN);
	assert_int_equal(ttrpc_input_next(&in, &got, &data), TTRPC_INPUT_FRAME);
	assert_int_equal(got.stream, 11);
	ttrpc_input_fini(&in);
}

static void limits_of_length(void **state)
{
	static const struct {
		uint32_t len;
		int want;
	} cases[] = {
		{TTRPC_DATA_MAX, TTRPC_INPUT_MORE},
		{TTRPC_DATA_MAX + 1, TTRPC_INPUT_TOO_LONG},
		{0x00ffffff, TTRPC_INPUT_TOO_LONG},
		{0x01000000, -EPROTO},
		{0x47455420, -EPROTO}, /* "GET " */
		{0xffffffff, -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ttrpc_input in = TTRPC_INPUT_INIT;
		struct ttrpc_frame f = {.len = cases[i].len, .stream = 1, .type = TTRPC_REQUEST};
		uint8_t head[TTRPC_HEADER_LEN];
		const uint8_t *data;

		ttrpc_frame_encode(head, &f);
		(void)feed(&in, head, sizeof(head), sizeof(head), false);
		assert_int_equal(ttrpc_input_next(&in, &f, &data), cases[i].want);
		ttrpc_input_fini(&in);
	}
}

static void an_idle_input_holds_little(void **state)
{
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	uint8_t *wire = malloc(TTRPC_HEADER_LEN + TTRPC_DATA_MAX);
	size_t n = put_frame(wire, TTRPC_DATA_MAX, 1, TTRPC_REQUEST, 'x');
	struct ttrpc_frame f;
	const uint8_t *data;

	for (size_t at = 0; at < n;)
		at += feed(&in, wire + at, n - at, 1000000, false);
	assert_int_equal(ttrpc_input_next(&in, &f, &data), TTRPC_INPUT_FRAME);
	assert_int_equal(data[TTRPC_DATA_MAX - 1], 'x');
	assert_int_equal(ttrpc_input_next(&in, &f, &data), TTRPC_INPUT_MORE);
	assert_true(in.buf.cap <= 16384);
	ttrpc_input_fini(&in);
	free(wire);
}

/* ---- envelope ---- */

static struct ttrpc_slice slice(const char *text)
{
	return (struct ttrpc_slice){(const uint8_t *)text, strlen(text)};
}

static void assert_slice(struct ttrpc_slice got, const char *want)
{
	assert_int_equal(got.n, strlen(want));
	assert_memory_equal(got.p, want, got.n);
}

static void requests_are_what_protobuf_c_makes(void **state)
{
	static const struct {
		const char *service, *method, *container;
		int64_t timeout_ns;
	} cases[] = {
		{"podvm.agent.v1.Agent", "GetInfo", "", 0},
		{"s", "m", "c", 1},
		{"s", "m", "container-with-a-name", 1000000000},
		{"s", "", "c", INT64_MAX},
		{"", "", "", -1},
		{"a-service-name-longer-than-127-bytes-a-service-name-longer-than-127-bytes-a-service-name-longer-than-"
		 "127-"
		 "bytes-a-service-name-longer",
			"m", "c", 128},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Podvm__Agent__V1__ContainerRequest inner = PODVM__AGENT__V1__CONTAINER_REQUEST__INIT;
		struct ttrpc_request_head head = {
			slice(cases[i].service), slice(cases[i].method), {0}, cases[i].timeout_ns};
		struct ttrpc_request_head back;
		struct buf out = BUF_INIT(65536);
		struct ttrpc_frame f;
		Ttrpc__Request *want;

		inner.container_id = (char *)(uintptr_t)cases[i].container;
		assert_int_equal(ttrpc_request_append(&out, 77, &head, &inner.base), 0);
		ttrpc_frame_decode(&f, buf_data(&out));
		assert_int_equal(f.type, TTRPC_REQUEST);
		assert_int_equal(f.flags, 0);
		assert_int_equal(f.stream, 77);
		assert_int_equal(f.len, out.len - TTRPC_HEADER_LEN);
		want = ttrpc__request__unpack(NULL, f.len, buf_data(&out) + TTRPC_HEADER_LEN);
		assert_non_null(want);
		assert_string_equal(want->service, cases[i].service);
		assert_string_equal(want->method, cases[i].method);
		assert_int_equal(want->timeout_nano, cases[i].timeout_ns);
		assert_int_equal(want->payload.len, podvm__agent__v1__container_request__get_packed_size(&inner));
		assert_int_equal(ttrpc_request_parse(&back, buf_data(&out) + TTRPC_HEADER_LEN, f.len), 0);
		assert_slice(back.service, cases[i].service);
		assert_slice(back.method, cases[i].method);
		assert_int_equal(back.timeout_ns, cases[i].timeout_ns);
		assert_int_equal(back.payload.n, want->payload.len);
		if (back.payload.n)
			assert_memory_equal(back.payload.p, want->payload.data, back.payload.n);
		ttrpc__request__free_unpacked(want, NULL);
		buf_fini(&out);
	}
}

static void metadata_and_unknown_fields_are_passed_over(void **state)
{
	/* service, metadata {key: "k", value: "v"}, unknown 100 as varint, 64 bit, bytes and 32 bit, then method. */
	static const uint8_t wire[] = {0x0a, 1, 's', 0x2a, 6, 0x0a, 1, 'k', 0x12, 1, 'v', 0xa0, 6, 0xff, 1, 0xa1, 6, 1,
		2, 3, 4, 5, 6, 7, 8, 0xa2, 6, 2, 'x', 'y', 0xa5, 6, 1, 2, 3, 4, 0x12, 1, 'm', 0x08, 5};
	struct ttrpc_request_head head;
	Ttrpc__Request *pb = ttrpc__request__unpack(NULL, sizeof(wire) - 2, wire);

	assert_non_null(pb);
	assert_int_equal(pb->n_metadata, 1);
	ttrpc__request__free_unpacked(pb, NULL);
	/* The last two bytes are field 1 with the wire type of a number: not our field. */
	assert_int_equal(ttrpc_request_parse(&head, wire, sizeof(wire)), 0);
	assert_slice(head.service, "s");
	assert_slice(head.method, "m");
	assert_int_equal(head.payload.n, 0);
}

static void of_a_field_given_twice_the_last_holds(void **state)
{
	static const uint8_t wire[] = {0x0a, 1, 'a', 0x0a, 1, 'b', 0x20, 1, 0x20, 2};
	static const uint8_t status[] = {0x0a, 2, 0x08, 5, 0x0a, 3, 0x12, 1, 'm'};
	struct ttrpc_request_head head;
	struct ttrpc_response_head resp;

	assert_int_equal(ttrpc_request_parse(&head, wire, sizeof(wire)), 0);
	assert_slice(head.service, "b");
	assert_int_equal(head.timeout_ns, 2);
	/* A message given twice is merged. */
	assert_int_equal(ttrpc_response_parse(&resp, status, sizeof(status)), 0);
	assert_int_equal(resp.code, 5);
	assert_slice(resp.message, "m");
}

static void hostile_envelopes_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{"\x0a", 1}, /* a tag and nothing */
		{"\x0a\x05"
		 "abc",
			5},						  /* longer than the message */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},	  /* length 2^64-1 */
		{"\x0a\x80\x80\x80\x80\x10", 6},			  /* length 2^32 */
		{"\x20\x80", 2},					  /* a number that does not end */
		{"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* a number of 11 bytes */
		{"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},	  /* more than 64 bits */
		{"\x00", 1},						  /* field 0 */
		{"\x02\x00", 2},					  /* field 0, bytes */
		{"\x0b\x0c", 2},					  /* a group */
		{"\x0e", 1},						  /* wire type 6 */
		{"\x0f", 1},						  /* wire type 7 */
		{"\x0d\x01\x02\x03", 4},				  /* 32 bits cut */
		{"\x09\x01\x02\x03\x04\x05\x06\x07", 8},		  /* 64 bits cut */
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},	  /* a tag beyond 32 bits */
	};
	static const uint8_t bad_status[] = {0x0a, 2, 0x08, 0x80};
	struct ttrpc_response_head resp;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free uint8_t *exact = malloc(cases[i].n);
		struct ttrpc_request_head head;

		memcpy(exact, cases[i].bytes, cases[i].n);
		if (ttrpc_request_parse(&head, exact, cases[i].n) != -EPROTO ||
			ttrpc_response_parse(&resp, exact, cases[i].n) != -EPROTO)
			fail_msg("case %zu was taken", i);
	}
	assert_int_equal(ttrpc_response_parse(&resp, bad_status, sizeof(bad_status)), -EPROTO);
	assert_int_equal(ttrpc_response_parse(&resp, bad_status, 0), 0);
}

static void replies_are_what_protobuf_c_makes(void **state)
{
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	struct buf out = BUF_INIT(65536);
	struct ttrpc_slice data;
	ProtobufCMessage *m = NULL;
	Ttrpc__Response *pb;
	struct err err;

	info.agent_version = (char[]){"1.2"};
	info.cpus = 4;
	info.memory_total = UINT64_MAX;
	assert_int_equal(ttrpc_reply_append(&out, 3, &info.base, 0), 0);
	data = (struct ttrpc_slice){buf_data(&out) + TTRPC_HEADER_LEN, out.len - TTRPC_HEADER_LEN};
	pb = ttrpc__response__unpack(NULL, data.n, data.p);
	assert_non_null(pb);
	assert_null(pb->status);
	ttrpc__response__free_unpacked(pb, NULL);
	assert_int_equal(
		ttrpc_response_read(&m, "GetInfo", &podvm__agent__v1__get_info_response__descriptor, &data, &err), 0);
	assert_int_equal(((Podvm__Agent__V1__GetInfoResponse *)m)->memory_total, UINT64_MAX);
	protobuf_c_message_free_unpacked(m, NULL);
	buf_fini(&out);
}

static void errors_arrive_with_code_and_text(void **state)
{
	static const struct {
		enum ttrpc_code code;
		const char *text, *want;
		int want_errno;
	} cases[] = {
		{TTRPC_NOT_FOUND, "container 'x': no such thing", "container 'x': no such thing", ENOENT},
		{TTRPC_UNAVAILABLE, "", "M: failed with code 14 and no message", ECONNREFUSED},
		{(enum ttrpc_code)10, "aborted", "aborted", EIO},
		{(enum ttrpc_code) - 1, "?", "?", EIO},
		{TTRPC_INTERNAL, "clear\033[2J\nnext\x7f caf\xc3\xa9 \xff\xc0\x80 \xc2\x9b",
			"clear?[2J next? caf\xc3\xa9 ??? ??", EIO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out = BUF_INIT(65536);
		ProtobufCMessage *m = NULL;
		struct ttrpc_slice data;
		Ttrpc__Response *pb;
		struct err err;

		assert_int_equal(ttrpc_error_append(&out, 3, cases[i].code, cases[i].text), 0);
		data = (struct ttrpc_slice){buf_data(&out) + TTRPC_HEADER_LEN, out.len - TTRPC_HEADER_LEN};
		pb = ttrpc__response__unpack(NULL, data.n, data.p);
		assert_non_null(pb);
		assert_int_equal((int)pb->status->code, (int)cases[i].code);
		ttrpc__response__free_unpacked(pb, NULL);
		assert_int_equal(ttrpc_response_read(&m, "M", &podvm__agent__v1__empty__descriptor, &data, &err),
			-cases[i].want_errno);
		assert_string_equal(err.msg, cases[i].want);
		buf_fini(&out);
	}
}

static void a_remote_message_of_any_length_fits(void **state)
{
	/* Response{status{code 2, message of 100000 'a'}} */
	size_t n = 100000;
	uint8_t *wire = malloc(n + 16);
	static const uint8_t head[] = {0x0a, 0xa6, 0x8d, 6, 0x08, 2, 0x12, 0xa0, 0x8d, 6};
	struct ttrpc_slice data = {wire, sizeof(head) + n};
	ProtobufCMessage *m;
	struct err err;

	memcpy(wire, head, sizeof(head));
	memset(wire + sizeof(head), 'a', n);
	assert_int_equal(ttrpc_response_read(&m, "M", &podvm__agent__v1__empty__descriptor, &data, &err), -EIO);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	free(wire);
}

static void too_large_messages_are_not_appended(void **state)
{
	Podvm__Agent__V1__CreateContainerRequest req = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	struct ttrpc_request_head head = {.service = slice("s"), .method = slice("m")};
	struct buf out = BUF_INIT(TTRPC_OUT_MAX);
	struct buf small = BUF_INIT(1000);

	req.oci_spec.len = TTRPC_DATA_MAX;
	req.oci_spec.data = calloc(1, TTRPC_DATA_MAX);
	assert_int_equal(ttrpc_request_append(&out, 1, &head, &req.base), -EMSGSIZE);
	assert_int_equal(ttrpc_reply_append(&out, 1, &req.base, 0), -EMSGSIZE);
	assert_int_equal(out.len, 0);
	assert_null(out.mem);
	/* 6 bytes of service and method, 4 + 1 for the payload, 4 + 1 for the spec: the most that fits. */
	req.oci_spec.len = TTRPC_DATA_MAX - 16;
	assert_int_equal(ttrpc_request_append(&out, 1, &head, &req.base), 0);
	assert_int_equal(out.len, TTRPC_HEADER_LEN + TTRPC_DATA_MAX);
	req.oci_spec.len = 900;
	assert_int_equal(ttrpc_reply_append(&small, 1, &req.base, 100), -ENOBUFS);
	assert_int_equal(ttrpc_reply_append(&small, 1, &req.base, 0), 0);
	assert_int_equal(ttrpc_request_append(&small, 1, &head, &req.base), -ENOBUFS);
	free(req.oci_spec.data);
	buf_fini(&out);
	buf_fini(&small);
}

/* ---- status, text, budget ---- */

static void codes_and_errnos_agree(void **state)
{
	static const struct {
		int err;
		enum ttrpc_code code;
		int back;
	} cases[] = {
		{0, TTRPC_OK, 0},
		{EINVAL, TTRPC_INVALID_ARGUMENT, EINVAL},
		{ERANGE, TTRPC_INVALID_ARGUMENT, EINVAL},
		{ENOENT, TTRPC_NOT_FOUND, ENOENT},
		{ESRCH, TTRPC_NOT_FOUND, ENOENT},
		{EEXIST, TTRPC_ALREADY_EXISTS, EEXIST},
		{EPERM, TTRPC_PERMISSION_DENIED, EPERM},
		{EACCES, TTRPC_PERMISSION_DENIED, EPERM},
		{ENOMEM, TTRPC_RESOURCE_EXHAUSTED, ENOBUFS},
		{EBUSY, TTRPC_FAILED_PRECONDITION, EBUSY},
		{ENOSYS, TTRPC_UNIMPLEMENTED, EOPNOTSUPP},
		{ETIMEDOUT, TTRPC_DEADLINE_EXCEEDED, ETIMEDOUT},
		{ECANCELED, TTRPC_CANCELLED, ECANCELED},
		{EIO, TTRPC_INTERNAL, EIO},
		{ECONNRESET, TTRPC_UNAVAILABLE, ECONNREFUSED},
		{EXDEV, TTRPC_UNKNOWN, EIO},
		{-5, TTRPC_UNKNOWN, EIO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ttrpc_code_from_errno(cases[i].err), cases[i].code);
		assert_int_equal(ttrpc_errno_from_code(cases[i].code), cases[i].back);
	}
	/* No failure may look like success. */
	for (int code = 1; code < 200; code++)
		assert_int_not_equal(ttrpc_errno_from_code((enum ttrpc_code)code), 0);
}

static void text_is_cut_at_a_character(void **state)
{
	char dst[6];

	ttrpc_text(dst, sizeof(dst), "abcdefgh", 8);
	assert_string_equal(dst, "abcde");
	ttrpc_text(dst, sizeof(dst), "abcd\xc3\xa9", 6);
	assert_string_equal(dst, "abcd");
	ttrpc_text(dst, sizeof(dst), "abc\xc3\xa9", 5);
	assert_string_equal(dst, "abc\xc3\xa9");
	ttrpc_text(dst, sizeof(dst), "ab\xc3", 3);
	assert_string_equal(dst, "ab?");
	ttrpc_text(dst, sizeof(dst), "\xf0\x9f\x98\x80", 4);
	assert_string_equal(dst, "\xf0\x9f\x98\x80");
	ttrpc_text(dst, sizeof(dst), "\xed\xa0\x80", 3);
	assert_string_equal(dst, "???");
	ttrpc_text(dst, sizeof(dst), "a\0b", 3);
	assert_string_equal(dst, "a?b");
	ttrpc_text(dst, 1, "abc", 3);
	assert_string_equal(dst, "");
	ttrpc_text(dst, sizeof(dst), NULL, 0);
	assert_string_equal(dst, "");
}

static void a_message_has_a_budget(void **state)
{
	/* NextEventsResponse with as many empty events as fit in 4 MiB: two bytes each, some 100 in memory. */
	size_t n = TTRPC_DATA_MAX;
	uint8_t *wire = malloc(n);
	enum ttrpc_code code = TTRPC_OK;
	ProtobufCMessage *m;

	for (size_t i = 0; i < n; i += 2) {
		wire[i] = 0x0a;
		wire[i + 1] = 0;
	}
	m = ttrpc_unpack(&podvm__agent__v1__next_events_response__descriptor, wire, n, &code);
	assert_null(m);
	assert_int_equal(code, TTRPC_RESOURCE_EXHAUSTED);
	/* As many as the agent really keeps. */
	m = ttrpc_unpack(&podvm__agent__v1__next_events_response__descriptor, wire, 2 * 256, &code);
	assert_non_null(m);
	assert_int_equal(((Podvm__Agent__V1__NextEventsResponse *)m)->n_events, 256);
	protobuf_c_message_free_unpacked(m, NULL);
	/* Unknown fields are kept by protobuf-c, at a price. */
	memset(wire, 0xff, n);
	for (size_t i = 0; i + 2 < n; i += 3)
		memcpy(wire + i, "\xf8\x01\x00", 3);
	assert_null(ttrpc_unpack(&podvm__agent__v1__empty__descriptor, wire, n / 3 * 3, &code));
	assert_int_equal(code, TTRPC_RESOURCE_EXHAUSTED);
	assert_null(ttrpc_unpack(&podvm__agent__v1__empty__descriptor, (const uint8_t *)"\x0a", 1, &code));
	assert_int_equal(code, TTRPC_INVALID_ARGUMENT);
	free(wire);
}

static void the_largest_honest_messages_fit_the_budget(void **state)
{
	Podvm__Agent__V1__ListProcessesResponse list = PODVM__AGENT__V1__LIST_PROCESSES_RESPONSE__INIT;
	enum ttrpc_code code = TTRPC_OK;
	ProtobufCMessage *m;
	uint8_t *wire;
	size_t n;

	list.n_pids = 65536;
	list.pids = calloc(list.n_pids, sizeof(*list.pids));
	for (size_t i = 0; i < list.n_pids; i++)
		list.pids[i] = (uint32_t)i + 1;
	n = podvm__agent__v1__list_processes_response__get_packed_size(&list);
	wire = malloc(n);
	assert_int_equal(podvm__agent__v1__list_processes_response__pack(&list, wire), n);
	m = ttrpc_unpack(&podvm__agent__v1__list_processes_response__descriptor, wire, n, &code);
	assert_non_null(m);
	assert_int_equal(((Podvm__Agent__V1__ListProcessesResponse *)m)->n_pids, 65536);
	protobuf_c_message_free_unpacked(m, NULL);
	free(wire);
	free(list.pids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_has_the_documented_layout),
		cmocka_unit_test(frames_come_out_however_the_bytes_arrive),
		cmocka_unit_test(a_long_frame_is_refused_and_skipped_unstored),
		cmocka_unit_test(limits_of_length),
		cmocka_unit_test(an_idle_input_holds_little),
		cmocka_unit_test(requests_are_what_protobuf_c_makes),
		cmocka_unit_test(metadata_and_unknown_fields_are_passed_over),
		cmocka_unit_test(of_a_field_given_twice_the_last_holds),
		cmocka_unit_test(hostile_envelopes_are_refused),
		cmocka_unit_test(replies_are_what_protobuf_c_makes),
		cmocka_unit_test(errors_arrive_with_code_and_text),
		cmocka_unit_test(a_remote_message_of_any_length_fits),
		cmocka_unit_test(too_large_messages_are_not_appended),
		cmocka_unit_test(codes_and_errnos_agree),
		cmocka_unit_test(text_is_cut_at_a_character),
		cmocka_unit_test(a_message_has_a_budget),
		cmocka_unit_test(the_largest_honest_messages_fit_the_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
