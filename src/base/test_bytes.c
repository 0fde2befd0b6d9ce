/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max, want;
		int r;
	} table[] = {
		{"0", 10, 0, 0},
		{"10", 10, 10, 0},
		{"11", 10, 0, -ERANGE},
		{"18446744073709551615", UINT64_MAX, UINT64_MAX, 0},
		{"18446744073709551616", UINT64_MAX, 0, -ERANGE},
		{"99999999999999999999999999", UINT64_MAX, 0, -ERANGE},
		{"", 10, 0, -EINVAL},
		{"-1", 10, 0, -EINVAL},
		{"+1", 10, 0, -EINVAL},
		{" 1", 10, 0, -EINVAL},
		{"1 ", 10, 0, -EINVAL},
		{"0x10", 100, 0, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t v = 77;

		assert_int_equal(str_to_u64(table[i].text, table[i].max, &v, NULL), table[i].r);
		assert_int_equal(v, table[i].r ? 77 : table[i].want);
	}
}

static void texts(void **state)
{
	char dst[5];
	struct err err = {0};

	assert_true(str_copy(dst, sizeof(dst), "1234"));
	assert_false(str_copy(dst, sizeof(dst), "12345"));
	assert_string_equal(dst, "1234");
	assert_int_equal(str_format(dst, sizeof(dst), &err, "%d", 99999), -ENAMETOOLONG);
	assert_string_equal(dst, "");
	assert_int_equal(err.code, ENAMETOOLONG);
	assert_true(str_has_prefix("oci:x", "oci:"));
	assert_false(str_has_prefix("oc", "oci:"));
	assert_true(str_has_suffix("a.yaml", ".yaml"));
	assert_false(str_has_suffix("l", ".yaml"));
}

static void errors_carry_context(void **state)
{
	struct err err = {0};
	char longer[600];

	errno = ENOENT;
	assert_int_equal(err_errno(&err, "open '%s'", "/x"), -ENOENT);
	assert_string_equal(err.msg, "open '/x': No such file or directory");
	assert_int_equal(err_wrap(&err, "pod %s", "web"), -ENOENT);
	assert_string_equal(err.msg, "pod web: open '/x': No such file or directory");
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(err_set(&err, EIO, "%s", longer), -EIO);
	assert_int_equal(err_wrap(&err, "context"), -EIO);
	assert_true(str_has_prefix(err.msg, "context: aaa"));
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_int_equal(err_set(NULL, EIO, "nobody listens"), -EIO);
}

static void little_endian_at_any_alignment(void **state)
{
	uint8_t mem[9] = {0};

	put_le64(mem + 1, UINT64_C(0x1122334455667788));
	assert_int_equal(mem[1], 0x88);
	assert_int_equal(get_le32(mem + 1), 0x55667788);
	assert_int_equal(get_le16(mem + 3), 0x5566);
	put_be32(mem + 1, 1);
	assert_int_equal(mem[4], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(texts),
		cmocka_unit_test(errors_carry_context),
		cmocka_unit_test(little_endian_at_any_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
