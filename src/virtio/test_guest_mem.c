/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/guest_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TOP UINT64_MAX

static uint8_t low[4096], high[8192];

static void two_regions(struct guest_mem *mem)
{
	*mem = (struct guest_mem){0};
	assert_int_equal(guest_mem_add(mem, 0x1000, sizeof(low), low, NULL), 0);
	assert_int_equal(guest_mem_add(mem, UINT64_C(1) << 32, sizeof(high), high, NULL), 0);
}

static void test_at(void **state)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
		uint8_t *want;
	} cases[] = {
		{0x1000, 1, low},
		{0x1000, 4096, low},
		{0x1fff, 1, low + 4095},
		{0x1800, 0x800, low + 0x800},
		{UINT64_C(1) << 32, 8192, high},
		{(UINT64_C(1) << 32) + 8191, 1, high + 8191},
		/* hostile */
		{0x1000, 0, NULL},
		{0x0fff, 1, NULL},
		{0x0fff, 2, NULL},
		{0x1000, 4097, NULL},
		{0x1fff, 2, NULL},
		{0x2000, 1, NULL},
		{0x2000, 0, NULL},
		{0, 1, NULL},
		{0, TOP, NULL},
		{0x1001, TOP, NULL},
		{TOP, 1, NULL},
		{TOP, TOP, NULL},
		{TOP - 0xfff, 0x2000, NULL},
		{(UINT64_C(1) << 32) - 1, 2, NULL},
	};
	struct guest_mem mem;

	two_regions(&mem);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_region hot = {0};
		void *got = guest_mem_at(&mem, cases[i].gpa, cases[i].len);

		if (got != cases[i].want)
			fail_msg("case %zu: got %p, want %p", i, got, (void *)cases[i].want);
		/* The cached door gives the same answer cold, warm, and warmed by the other region. */
		assert_ptr_equal(guest_mem_at_hot(&mem, &hot, cases[i].gpa, cases[i].len), cases[i].want);
		assert_ptr_equal(guest_mem_at_hot(&mem, &hot, cases[i].gpa, cases[i].len), cases[i].want);
		for (unsigned r = 0; r < mem.n; r++) {
			hot = mem.regions[r];
			assert_ptr_equal(guest_mem_at_hot(&mem, &hot, cases[i].gpa, cases[i].len), cases[i].want);
		}
	}
}

static void test_top_of_address_space(void **state)
{
	struct guest_mem mem = {0};

	/* The last byte of the space is never inside: its end would be 2^64. */
	assert_int_equal(guest_mem_add(&mem, TOP - 4095, 4096, low, NULL), -EINVAL);
	assert_int_equal(guest_mem_add(&mem, TOP - 4096, 4096, low, NULL), 0);
	assert_ptr_equal(guest_mem_at(&mem, TOP - 1, 1), low + 4095);
	assert_null(guest_mem_at(&mem, TOP, 1));
	assert_null(guest_mem_at(&mem, TOP - 1, 2));
	assert_null(guest_mem_at(&mem, TOP - 1, TOP));
}

static void test_add_refuses(void **state)
{
	static const struct {
		gpa_t gpa;
		uint64_t size;
		int want;
	} cases[] = {
		{0, 0, -EINVAL},
		{0x3000, 0, -EINVAL},
		{0x1000, 4096, -EINVAL},  /* the same again */
		{0x0800, 0x801, -EINVAL}, /* one byte over the start */
		{0x1fff, 1, -EINVAL},	  /* the last byte */
		{0x1800, 16, -EINVAL},	  /* within */
		{0, TOP, -EINVAL},	  /* around everything */
		{1, TOP, -EINVAL},	  /* wraps to 0 */
		{TOP, 2, -EINVAL},
		{0x0800, 0x800, 0}, /* touches, does not overlap */
		{0x2000, 0x1000, 0},
	};
	struct guest_mem mem;
	struct err err;

	two_regions(&mem);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned before = mem.n;
		int r;

		err = (struct err){0};
		r = guest_mem_add(&mem, cases[i].gpa, cases[i].size, low, &err);
		if (r != cases[i].want || err.code != -cases[i].want)
			fail_msg("case %zu: got %d (%s), want %d", i, r, err.msg, cases[i].want);
		assert_int_equal(mem.n, before + (r == 0));
	}
	assert_int_equal(guest_mem_add(&mem, 0x100000, 1, NULL, NULL), -EINVAL);
	assert_int_equal(guest_mem_add(&mem, 0x100000, TOP - 0x100000, low, NULL), -EINVAL);
}

static void test_table_full(void **state)
{
	struct guest_mem mem = {0};
	struct err err = {0};

	for (unsigned i = 0; i < GUEST_MEM_REGIONS_MAX; i++)
		assert_int_equal(guest_mem_add(&mem, i * 0x1000, 0x1000, low, NULL), 0);
	assert_int_equal(guest_mem_add(&mem, 0x100000, 0x1000, low, &err), -ENOSPC);
	assert_int_equal(err.code, ENOSPC);
	assert_int_equal(mem.n, GUEST_MEM_REGIONS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at),
		cmocka_unit_test(test_top_of_address_space),
		cmocka_unit_test(test_add_refuses),
		cmocka_unit_test(test_table_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
