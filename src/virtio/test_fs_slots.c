/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/fs_slots.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/* after those that it needs */
#include <cmocka.h>

static void gives_numbers_once(void **state)
{
	struct fs_slots s;
	uint64_t a, b, c;
	int x, y;

	(void)state;
	fs_slots_init(&s, 2);
	assert_null(fs_slots_get(&s, 0));
	assert_int_equal(fs_slots_add(&s, &x, &a), 0);
	assert_int_equal(fs_slots_add(&s, &y, &b), 0);
	assert_int_equal(fs_slots_add(&s, &y, &c), -ENFILE);
	assert_true(a >= FS_SLOTS_MAX && b >= FS_SLOTS_MAX && a != b);
	assert_ptr_equal(fs_slots_get(&s, a), &x);
	assert_ptr_equal(fs_slots_get(&s, b), &y);
	fs_slots_remove(&s, a);
	assert_null(fs_slots_get(&s, a));
	assert_int_equal(fs_slots_add(&s, &y, &c), 0);
	assert_true(c != a);
	assert_null(fs_slots_get(&s, a));
	assert_int_equal(s.n, 2);
	fs_slots_fini(&s);
}

static void knows_no_other_numbers(void **state)
{
	struct fs_slots s;
	uint64_t id = 0, hits = 0;
	int x;

	(void)state;
	fs_slots_init(&s, FS_SLOTS_MAX);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(fs_slots_add(&s, &x, &id), 0);
	for (uint64_t i = 0; i < 4000; i += 2)
		if (i < 1000)
			fs_slots_remove(&s, (i + 1) * FS_SLOTS_MAX + i);
	for (uint64_t i = 0; i < 2 * (uint64_t)FS_SLOTS_MAX; i++)
		hits += fs_slots_get(&s, i) != NULL;
	assert_int_equal(hits, 0);
	for (uint64_t bit = 0; bit < 64; bit++)
		assert_true(fs_slots_get(&s, id ^ UINT64_C(1) << bit) == NULL);
	assert_null(fs_slots_get(&s, UINT64_MAX));
	assert_non_null(fs_slots_get(&s, id));
	assert_int_equal(s.n, 500);
	fs_slots_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_numbers_once),
		cmocka_unit_test(knows_no_other_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
