/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static void headers_survive_the_wire(void **state)
{
	static const struct {
		struct stream_header h;
		int len;
	} cases[] = {
		{{STREAM_STDIO, 0, 0, "c", ""}, 11},
		{{STREAM_STDIO, 1, 0, "web-1.a_B", "exec7"}, 24},
		{{STREAM_STDIO, 2, 0, "0123456789012345678901234567890123456789012345678901234567890123",
			 "0123456789012345678901234567890123456789012345678901234567890123"},
			138},
		{{STREAM_DIAL, 0, 1, "", ""}, 10},
		{{STREAM_DIAL, 0, 65535, "", ""}, 10},
		{{STREAM_DIAL_UDP, 0, 53, "", ""}, 10},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t wire[STREAM_HEADER_MAX];
		struct stream_header got;

		assert_int_equal(stream_header_encode(wire, &cases[i].h), cases[i].len);
		/* Whatever has arrived so far is never an error. */
		for (int n = 0; n < cases[i].len; n++)
			assert_int_equal(stream_header_decode(&got, wire, (size_t)n), 0);
		assert_int_equal(stream_header_decode(&got, wire, (size_t)cases[i].len), cases[i].len);
		assert_int_equal(got.kind, cases[i].h.kind);
		assert_int_equal(got.fd, cases[i].h.fd);
		assert_int_equal(got.port, cases[i].h.port);
		assert_string_equal(got.container, cases[i].h.container);
		assert_string_equal(got.exec, cases[i].h.exec);
	}
	assert_int_equal(STREAM_HEADER_MAX, 138);
}

static void the_layout_is_the_documented_one(void **state)
{
	static const uint8_t stdio[] = {'P', 'V', 'S', '1', 1, 2, 0, 0, 2, 1, 'a', 'b', 'x'};
	static const uint8_t dial[] = {'P', 'V', 'S', '1', 2, 0, 0x90, 0x1f, 0, 0};
	struct stream_header h = {STREAM_STDIO, 2, 0, "ab", "x"};
	uint8_t wire[STREAM_HEADER_MAX];

	assert_int_equal(stream_header_encode(wire, &h), sizeof(stdio));
	assert_memory_equal(wire, stdio, sizeof(stdio));
	h = (struct stream_header){STREAM_DIAL, 0, 8080, "", ""};
	assert_int_equal(stream_header_encode(wire, &h), sizeof(dial));
	assert_memory_equal(wire, dial, sizeof(dial));
}

static void bad_fields_are_not_encoded(void **state)
{
	static const struct stream_header cases[] = {
		{(enum stream_kind)0, 0, 0, "c", ""},
		{(enum stream_kind)4, 0, 0, "c", ""},
		{STREAM_DIAL_UDP, 0, 0, "", ""},
		{STREAM_DIAL_UDP, 0, 53, "c", ""},
		{STREAM_STDIO, 3, 0, "c", ""},
		{STREAM_STDIO, 0, 1, "c", ""},
		{STREAM_STDIO, 0, 0, "", ""},
		{STREAM_STDIO, 0, 0, "", "e"},
		{STREAM_STDIO, 0, 0, ".hidden", ""},
		{STREAM_STDIO, 0, 0, "a/b", ""},
		{STREAM_STDIO, 0, 0, "a", "../x"},
		{STREAM_DIAL, 0, 0, "", ""},
		{STREAM_DIAL, 1, 80, "", ""},
		{STREAM_DIAL, 0, 80, "c", ""},
		{STREAM_DIAL, 0, 80, "", "e"},
	};
	struct stream_header endless = {.kind = STREAM_STDIO};
	uint8_t wire[STREAM_HEADER_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(stream_header_encode(wire, &cases[i]), -EINVAL);
	memset(endless.container, 'a', sizeof(endless.container));
	assert_int_equal(stream_header_encode(wire, &endless), -EINVAL);
}

static void hostile_bytes_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int want;
	} cases[] = {
		{"", 0, 0},
		{"P", 1, 0},
		{"X", 1, -EPROTO},
		{"PVS2", 4, -EPROTO},
		{"GET / HTTP/1.1", 14, -EPROTO},
		{"PVS1\1\0\0\0\1", 9, 0},
		{"PVS1\0\0\0\0\1\0a", 11, -EPROTO},
		{"PVS1\4\0\0\0\1\0a", 11, -EPROTO},
		{"PVS1\3\0\0\0\0\0", 10, -EPROTO},
		{"PVS1\3\0\x35\0\0\0", 10, 10},
		{"PVS1\1\3\0\0\1\0a", 11, -EPROTO},
		{"PVS1\1\0\1\0\1\0a", 11, -EPROTO},
		{"PVS1\1\0\0\0\0\0", 10, -EPROTO},
		{"PVS1\1\0\0\0\x41\0", 10, -EPROTO},
		{"PVS1\1\0\0\0\1\x41", 10, -EPROTO},
		{"PVS1\1\0\0\0\xff\xff", 10, -EPROTO},
		{"PVS1\1\0\0\0\1\0", 10, 0},
		{"PVS1\1\0\0\0\1\0.", 11, -EPROTO},
		{"PVS1\1\0\0\0\1\0/", 11, -EPROTO},
		{"PVS1\1\0\0\0\1\0\0", 11, -EPROTO},
		{"PVS1\1\0\0\0\2\1a\0b", 13, -EPROTO},
		{"PVS1\1\0\0\0\1\1a\xc3", 12, -EPROTO},
		{"PVS1\1\0\0\0\1\1a.", 12, -EPROTO},
		{"PVS1\2\0\0\0\0\0", 10, -EPROTO},
		{"PVS1\2\1\1\0\0\0", 10, -EPROTO},
		{"PVS1\2\0\1\0\1\0a", 11, -EPROTO},
		{"PVS1\2\0\1\0\0\0trailing", 18, 10},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* Exactly as long as it says, for the sanitizer. */
		auto_free uint8_t *exact = malloc(cases[i].n + 1);
		struct stream_header h;

		memcpy(exact, cases[i].bytes, cases[i].n);
		if (stream_header_decode(&h, exact, cases[i].n) != cases[i].want)
			fail_msg("case %zu: want %d", i, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_survive_the_wire),
		cmocka_unit_test(the_layout_is_the_documented_one),
		cmocka_unit_test(bad_fields_are_not_encoded),
		cmocka_unit_test(hostile_bytes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
