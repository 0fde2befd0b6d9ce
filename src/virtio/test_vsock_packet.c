/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vsock_packet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void header_has_the_layout_of_the_spec(void **state)
{
	const struct vsock_hdr h = {
		.src_cid = 0x0102030405060708,
		.dst_cid = 2,
		.src_port = 0x11121314,
		.dst_port = 0x21222324,
		.len = 0x31323334,
		.type = 1,
		.op = 5,
		.flags = 3,
		.buf_alloc = 0x41424344,
		.fwd_cnt = 0x51525354,
	};
	const uint8_t want[VSOCK_HDR_LEN] = {8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0x14, 0x13, 0x12, 0x11,
		0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31, 1, 0, 5, 0, 3, 0, 0, 0, 0x44, 0x43, 0x42, 0x41, 0x54,
		0x53, 0x52, 0x51};
	uint8_t bytes[VSOCK_HDR_LEN], again[VSOCK_HDR_LEN];
	struct vsock_hdr back;

	vsock_hdr_encode(bytes, &h);
	assert_memory_equal(bytes, want, sizeof(want));
	vsock_hdr_decode(&back, bytes);
	vsock_hdr_encode(again, &back);
	assert_memory_equal(again, want, sizeof(want));
}

static void judges_headers(void **state)
{
	static const struct {
		const char *what;
		struct vsock_hdr h;
		uint64_t chain_len;
		enum vsock_verdict want;
	} table[] = {
		{"data that fits", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = 10}, 54, VSOCK_PASS},
		{"chain longer than the packet", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = 10}, 4096,
			VSOCK_PASS},
		{"one byte beyond the chain", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = 11}, 54,
			VSOCK_REFUSE},
		{"huge length", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = UINT32_MAX}, 54, VSOCK_REFUSE},
		{"another guest's CID", {.src_cid = 4, .dst_cid = 2, .type = 1, .op = 5}, 44, VSOCK_IGNORE},
		{"the host's own CID", {.src_cid = 2, .dst_cid = 2, .type = 1, .op = 1}, 44, VSOCK_IGNORE},
		{"to another CID", {.src_cid = 3, .dst_cid = 5, .type = 1, .op = 1}, 44, VSOCK_IGNORE},
		{"to its own CID", {.src_cid = 3, .dst_cid = 3, .type = 1, .op = 1}, 44, VSOCK_IGNORE},
		{"to the hypervisor's CID", {.src_cid = 3, .dst_cid = 0, .type = 1, .op = 1}, 44, VSOCK_IGNORE},
		{"to a CID of 64 bits", {.src_cid = 3, .dst_cid = 0x100000002, .type = 1, .op = 1}, 44, VSOCK_IGNORE},
		{"RST to another CID", {.src_cid = 3, .dst_cid = 5, .type = 1, .op = 3}, 44, VSOCK_IGNORE},
		{"SEQPACKET", {.src_cid = 3, .dst_cid = 2, .type = 2, .op = 1}, 44, VSOCK_REFUSE},
		{"type 0", {.src_cid = 3, .dst_cid = 2, .type = 0, .op = 1}, 44, VSOCK_REFUSE},
		{"RST of unknown type", {.src_cid = 3, .dst_cid = 2, .type = 9, .op = 3}, 44, VSOCK_IGNORE},
		{"operation 0", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 0}, 44, VSOCK_REFUSE},
		{"operation 8", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 8}, 44, VSOCK_REFUSE},
		{"every operation up to", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 7}, 44, VSOCK_PASS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum vsock_verdict got = vsock_hdr_check(&table[i].h, 3, table[i].chain_len);

		if (got != table[i].want)
			fail_msg("%s: verdict %d, not %d", table[i].what, got, table[i].want);
	}
}

static void parses_lines(void **state)
{
	static const struct {
		const char *line;
		int64_t want; /* port, or -EPROTO */
	} table[] = {
		{"CONNECT 0\n", 0},
		{"CONNECT 1024\n", 1024},
		{"CONNECT 4294967294\n", 4294967294},
		{"CONNECT 0000000001\n", 1},
		{"CONNECT 4294967295\n", -EPROTO},
		{"CONNECT 4294967296\n", -EPROTO},
		{"CONNECT 9999999999\n", -EPROTO},
		{"CONNECT 00000000001\n", -EPROTO},
		{"CONNECT \n", -EPROTO},
		{"CONNECT\n", -EPROTO},
		{"CONNECT 1\r\n", -EPROTO},
		{"CONNECT  1\n", -EPROTO},
		{"CONNECT -1\n", -EPROTO},
		{"CONNECT +1\n", -EPROTO},
		{"CONNECT 0x1\n", -EPROTO},
		{"CONNECT 1 \n", -EPROTO},
		{"connect 1\n", -EPROTO},
		{"CONNECT 1", -EPROTO},
		{"GET / HTTP/1.1\n", -EPROTO},
		{"\n", -EPROTO},
		{"", -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint32_t port = 77;
		int r = vsock_line_parse(table[i].line, strlen(table[i].line), &port);
		int64_t got = r < 0 ? r : (int64_t)port;

		if (got != table[i].want)
			fail_msg("'%s': %lld, not %lld", table[i].line, (long long)got, (long long)table[i].want);
		if (r < 0)
			assert_int_equal(port, 77);
	}
	assert_int_equal(vsock_line_parse("CONNECT 1\0\n", 11, &(uint32_t){0}), -EPROTO);
}

static void writes_the_answer(void **state)
{
	char line[VSOCK_LINE_MAX];

	assert_int_equal(vsock_line_ok(line, 4294967294), 14);
	assert_memory_equal(line, "OK 4294967294\n", 14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_has_the_layout_of_the_spec),
		cmocka_unit_test(judges_headers),
		cmocka_unit_test(parses_lines),
		cmocka_unit_test(writes_the_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
