/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vhost_user_msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void headers(void **state)
{
	static const struct {
		uint32_t request, flags, size;
		int want;
		bool need_reply;
	} cases[] = {
		{1, 1, 0, 0, false},
		{5, 1 | 8, 264, 0, true},
		{24, 1, VHOST_USER_PAYLOAD_MAX, 0, false},
		{9999, 1, 0, 0, false}, /* judged with the payload */
		{1, 1 | 16 | 1u << 31, 0, 0, false},
		{1, 0, 0, -EPROTO, false}, /* version 0 */
		{1, 2, 0, -EPROTO, false},
		{1, 3, 0, -EPROTO, false},
		{1, 1 | 4, 0, -EPROTO, false}, /* a reply */
		{1, 1, VHOST_USER_PAYLOAD_MAX + 1, -EPROTO, false},
		{1, 1, UINT32_MAX, -EPROTO, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint32_t words[3] = {cases[i].request, cases[i].flags, cases[i].size};
		struct vhost_user_hdr hdr = {0};
		uint8_t bytes[VHOST_USER_HDR_BYTES];
		struct err err = {0};

		memcpy(bytes, words, sizeof(bytes));
		if (vhost_user_msg_header(&hdr, bytes, &err) != cases[i].want)
			fail_msg("case %zu: %s", i, err.msg);
		assert_int_equal(err.code, -cases[i].want);
		if (cases[i].want < 0)
			continue;
		assert_int_equal(hdr.request, cases[i].request);
		assert_int_equal(hdr.size, cases[i].size);
		assert_int_equal(hdr.need_reply, cases[i].need_reply);
	}
}

/* Every request with every size: exactly one fits those that have a fixed one. */
static void sizes(void **state)
{
	static const struct {
		uint32_t request, size;
		unsigned n_fds;
	} fixed[] = {
		{VHOST_USER_GET_FEATURES, 0, 0},
		{VHOST_USER_SET_FEATURES, 8, 0},
		{VHOST_USER_SET_OWNER, 0, 0},
		{VHOST_USER_RESET_OWNER, 0, 0},
		{VHOST_USER_SET_VRING_NUM, 8, 0},
		{VHOST_USER_SET_VRING_ADDR, 40, 0},
		{VHOST_USER_SET_VRING_BASE, 8, 0},
		{VHOST_USER_GET_VRING_BASE, 8, 0},
		{VHOST_USER_SET_VRING_KICK, 8, 1},
		{VHOST_USER_SET_VRING_CALL, 8, 1},
		{VHOST_USER_SET_VRING_ERR, 8, 1},
		{VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0},
		{VHOST_USER_SET_PROTOCOL_FEATURES, 8, 0},
		{VHOST_USER_GET_QUEUE_NUM, 0, 0},
		{VHOST_USER_SET_VRING_ENABLE, 8, 0},
		{VHOST_USER_RESET_DEVICE, 0, 0},
	};
	uint8_t payload[VHOST_USER_PAYLOAD_MAX] = {0};
	struct vhost_user_msg m;
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		for (uint32_t size = 0; size <= VHOST_USER_PAYLOAD_MAX; size++) {
			const struct vhost_user_hdr hdr = {.request = fixed[i].request, .size = size};
			int want = size == fixed[i].size ? 0 : -EINVAL;

			if (vhost_user_msg_parse(&m, &hdr, payload, 1, &err) != want)
				fail_msg("%s with %u bytes: want %d", vhost_user_msg_name(hdr.request), size, want);
			if (want == 0)
				assert_int_equal(m.n_fds, fixed[i].n_fds);
		}
	}
}

static void unknown_requests(void **state)
{
	/* not offered, or not there: logging, endianness, postcopy, in-flight buffers, memory slots, status, ... */
	static const uint32_t requests[] = {0, 6, 7, 19, 20, 21, 22, 23, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 37, 38,
		39, 40, 41, 42, 43, 44, 0x7fffffff, UINT32_MAX};
	const uint8_t payload[VHOST_USER_PAYLOAD_MAX] = {0};
	struct vhost_user_msg m;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		for (uint32_t size = 0; size <= 40; size += 8) {
			const struct vhost_user_hdr hdr = {.request = requests[i], .size = size};

			assert_int_equal(vhost_user_msg_parse(&m, &hdr, payload, 8, NULL), -EINVAL);
			assert_string_equal(vhost_user_msg_name(requests[i]), "request");
		}
	}
}

static void memory_tables(void **state)
{
	static const struct {
		uint32_t n, size;
		unsigned fds;
		int want;
	} cases[] = {
		{1, 40, 1, 0},
		{2, 72, 2, 0},
		{8, 264, 8, 0},
		{1, 40, 8, 0}, /* descriptors too many are no harm */
		{0, 8, 0, -EINVAL},
		{1, 0, 1, -EINVAL},
		{1, 7, 1, -EINVAL},
		{1, 8, 1, -EINVAL},
		{1, 39, 1, -EINVAL},
		{1, 41, 1, -EINVAL},
		{1, 72, 1, -EINVAL},
		{2, 72, 1, -EINVAL},
		{2, 72, 0, -EINVAL},
		{9, 264, 9, -EINVAL},
		{0x08000001, 40, 1, -EINVAL}, /* n * 32 wraps */
		{UINT32_MAX, 264, 8, -EINVAL},
	};
	uint64_t words[VHOST_USER_PAYLOAD_MAX / 8 + 1];
	struct vhost_user_msg m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vhost_user_hdr hdr = {.request = VHOST_USER_SET_MEM_TABLE, .size = cases[i].size};

		for (uint64_t w = 0; w < ARRAY_SIZE(words); w++)
			words[w] = w;
		memcpy(words, &cases[i].n, 4);
		if (vhost_user_msg_parse(&m, &hdr, (uint8_t *)words, cases[i].fds, NULL) != cases[i].want)
			fail_msg("case %zu: want %d", i, cases[i].want);
		if (cases[i].want < 0)
			continue;
		assert_int_equal(m.n_fds, cases[i].n);
		assert_int_equal(m.mem.regions[cases[i].n - 1].gpa, cases[i].n * 4 - 3);
		assert_int_equal(m.mem.regions[cases[i].n - 1].size, cases[i].n * 4 - 2);
		assert_int_equal(m.mem.regions[cases[i].n - 1].uva, cases[i].n * 4 - 1);
		assert_int_equal(m.mem.regions[cases[i].n - 1].offset, cases[i].n * 4);
	}
}

static void ring_descriptors(void **state)
{
	static const struct {
		uint64_t v;
		unsigned fds;
		int want;
		unsigned takes;
	} cases[] = {
		{0, 1, 0, 1},
		{255, 1, 0, 1},
		{3 | 256, 0, 0, 0},
		{3 | 256, 1, 0, 0},
		{3, 2, 0, 1},
		{3, 0, -EINVAL, 0},
		{512, 1, -EINVAL, 0},
		{UINT64_MAX, 1, -EINVAL, 0},
		{UINT64_C(1) << 32, 1, -EINVAL, 0},
	};
	struct vhost_user_msg m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vhost_user_hdr hdr = {.request = VHOST_USER_SET_VRING_CALL, .size = 8};

		if (vhost_user_msg_parse(&m, &hdr, (const uint8_t *)&cases[i].v, cases[i].fds, NULL) != cases[i].want)
			fail_msg("case %zu: want %d", i, cases[i].want);
		if (cases[i].want < 0)
			continue;
		assert_int_equal(m.n_fds, cases[i].takes);
		assert_int_equal(m.vring_fd.index, cases[i].v & 255);
		assert_int_equal(m.vring_fd.no_fd, cases[i].v >> 8);
	}
}

static void config_accesses(void **state)
{
	static const struct {
		uint32_t config_size, size;
		int want;
	} cases[] = {
		{8, 20, 0},
		{0, 12, 0},
		{256, 268, 0},
		{8, 12, -EINVAL},
		{8, 19, -EINVAL},
		{8, 21, -EINVAL},
		{0, 11, -EINVAL},
		{0, 0, -EINVAL},
		{UINT32_MAX, 11, -EINVAL}, /* 12 + size wraps */
		{UINT32_MAX, 268, -EINVAL},
	};
	uint8_t payload[VHOST_USER_PAYLOAD_MAX], reply[VHOST_USER_MSG_MAX], *region = NULL;
	struct vhost_user_msg m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vhost_user_hdr hdr = {.request = VHOST_USER_GET_CONFIG, .size = cases[i].size};
		const uint32_t words[3] = {4, cases[i].config_size, 1};

		memset(payload, 0, sizeof(payload));
		memcpy(payload, words, sizeof(words));
		if (vhost_user_msg_parse(&m, &hdr, payload, 0, NULL) != cases[i].want)
			fail_msg("case %zu: want %d", i, cases[i].want);
		if (cases[i].want < 0)
			continue;
		assert_int_equal(m.config.offset, 4);
		assert_int_equal(m.config.flags, 1);
		assert_int_equal(vhost_user_msg_reply_config(reply, &m, &region), 24 + cases[i].config_size);
		assert_ptr_equal(region, reply + 24);
	}
	assert_int_equal(vhost_user_msg_reply_config(reply, NULL, NULL), 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(unknown_requests),
		cmocka_unit_test(memory_tables),
		cmocka_unit_test(ring_descriptors),
		cmocka_unit_test(config_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
