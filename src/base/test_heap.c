/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LARGE (4u << 20)

/* What glibc holds of the kernel's memory (0 under a sanitizer, which has an allocator of its own). */
static size_t held(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.arena + m.hblkhd;
}

static void large_blocks_are_given_back(void **state)
{
	size_t before;

	heap_tight();
	before = held();
	for (int i = 0; i < 3; i++) {
		char *volatile p = malloc(LARGE);

		assert_non_null(p);
		memset(p, 1, LARGE);
		free(p);
	}
	assert_true(held() < before + LARGE / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(large_blocks_are_given_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
