/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void grows_and_refuses_past_its_limit(void **state)
{
	auto_buf struct buf b = BUF_INIT(1000);
	char chunk[500];

	memset(chunk, 'x', sizeof(chunk));
	assert_int_equal(buf_append(&b, chunk, 400), 0);
	assert_int_equal(buf_append(&b, chunk, 400), 0);
	assert_int_equal(buf_append(&b, chunk, 400), -ENOBUFS);
	assert_int_equal(b.len, 800);
	buf_consume(&b, 700);
	assert_int_equal(buf_append(&b, chunk, 400), 0);
	assert_int_equal(b.len, 500);
	assert_int_equal(buf_append(&b, chunk, 500), 0);
	assert_int_equal(buf_append(&b, chunk, 1), -ENOBUFS);
}

static void keeps_order_over_many_small_steps(void **state)
{
	auto_buf struct buf b = BUF_INIT(64);
	unsigned char in = 0, out = 0;

	for (int turn = 0; turn < 1000; turn++) {
		for (int i = 0; i < 7; i++, in++)
			assert_int_equal(buf_append(&b, &in, 1), 0);
		for (int i = 0; i < 7; i++, out++) {
			assert_int_equal(buf_data(&b)[0], out);
			buf_consume(&b, 1);
		}
	}
	buf_trim(&b);
	assert_null(b.mem);
}

static void prints(void **state)
{
	auto_buf struct buf b = BUF_INIT(16);

	assert_int_equal(buf_printf(&b, "%s-%d", "ab", 12), 0);
	assert_memory_equal(buf_data(&b), "ab-12", 5);
	assert_int_equal(buf_printf(&b, "%s", "12345678901"), -ENOBUFS);
	assert_int_equal(b.len, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_refuses_past_its_limit),
		cmocka_unit_test(keeps_order_over_many_small_steps),
		cmocka_unit_test(prints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
