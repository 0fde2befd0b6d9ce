/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/bytes.h"
#include "kube/value.h"

/* Values beside what k8s.io/apimachinery's resource.ParseQuantity makes of them. */
static const struct {
	const char *text;
	int result;
	uint64_t units, milli; /* rounded up */
} quantities[] = {
	{"0", 0, 0, 0},
	{"1", 0, 1, 1000},
	{"+1", 0, 1, 1000},
	{"007", 0, 7, 7000},
	{"1.5", 0, 2, 1500},
	{".5", 0, 1, 500},
	{"5.", 0, 5, 5000},
	{"100m", 0, 1, 100},
	{"1m", 0, 1, 1},
	{"1u", 0, 1, 1},
	{"1n", 0, 1, 1},
	{"0.1n", 0, 1, 1},
	{"0.0n", 0, 0, 0},
	{"1001m", 0, 2, 1001},
	{"1k", 0, 1000, 1000000},
	{"1Ki", 0, 1024, 1024000},
	{"0.5Ki", 0, 512, 512000},
	{"1.1Gi", 0, 1181116007, 1181116006400},
	{"64Mi", 0, 64u << 20, 67108864000},
	{"1M", 0, 1000000, 1000000000},
	{"1e3", 0, 1000, 1000000},
	{"1E3", 0, 1000, 1000000},
	{"1E", 0, 1000000000000000000u, UINT64_MAX},
	{"12e-1", 0, 2, 1200},
	{"1e-9", 0, 1, 1},
	{"1e-99999", 0, 1, 1},
	{"0e99999", 0, 0, 0},
	{"7Ei", 0, 8070450532247928832u, UINT64_MAX},
	{"9223372036854775807", 0, INT64_MAX, UINT64_MAX},
	{"9223372036854775808", -ERANGE, 0, 0},
	{"8Ei", -ERANGE, 0, 0},
	{"1e19", -ERANGE, 0, 0},
	{"1e999999999999", -ERANGE, 0, 0},
	{"9999999999999999999999999999999999999999999", -ERANGE, 0, 0},
	{"0.33333333333333333333333333333333333333333333", 0, 1, 334},
	{"0.00000000000000000000000000000000000000000000001Gi", 0, 1, 1},
	{"", -EINVAL, 0, 0},
	{"-", -EINVAL, 0, 0},
	{".", -EINVAL, 0, 0},
	{"m", -EINVAL, 0, 0},
	{"1mm", -EINVAL, 0, 0},
	{"1 Mi", -EINVAL, 0, 0},
	{"1MiB", -EINVAL, 0, 0},
	{"1K", -EINVAL, 0, 0},
	{"1g", -EINVAL, 0, 0},
	{"1e", -EINVAL, 0, 0},
	{"1e+", -EINVAL, 0, 0},
	{"1e3Mi", -EINVAL, 0, 0},
	{"1.2.3", -EINVAL, 0, 0},
	{"0x10", -EINVAL, 0, 0},
	{"nan", -EINVAL, 0, 0},
};

static void test_quantity(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(quantities); i++) {
		struct value_quantity q;
		int r = value_quantity_parse(quantities[i].text, &q);

		if (r != quantities[i].result)
			fail_msg("'%s': result %d instead of %d", quantities[i].text, r, quantities[i].result);
		if (r < 0)
			continue;
		if (value_quantity_ceil(&q, VALUE_UNIT) != quantities[i].units ||
			value_quantity_ceil(&q, VALUE_MILLI) != quantities[i].milli)
			fail_msg("'%s': %llu units, %llu milli", quantities[i].text,
				(unsigned long long)value_quantity_ceil(&q, VALUE_UNIT),
				(unsigned long long)value_quantity_ceil(&q, VALUE_MILLI));
		assert_false(q.negative);
	}
}

static void test_negative_quantity(void **state)
{
	struct value_quantity q;

	assert_int_equal(value_quantity_parse("-2Ki", &q), 0);
	assert_true(q.negative);
	assert_int_equal(value_quantity_ceil(&q, VALUE_UNIT), 2048);
}

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A253 A63 "." A63 "." A63 "." A63 "."

static void test_names(void **state)
{
	static const struct {
		const char *(*check)(const char *text);
		const char *good[10], *bad[14];
	} table[] = {
		{value_check_dns_label, {"a", "0", "a-b", A63},
			{"", "-a", "a-", "A", "a.b", "a_b", A63 "a", "a b", "\xc3\xa9"}},
		{value_check_dns_subdomain, {"a", "a.b", "a-b.c", A63 "a"},
			{"", ".", "a.", ".a", "a..b", "A", "a_b", A253}},
		{value_check_dns_search, {"a", "a.b.", "_tcp.a", "."}, {"", "..", "a b", "A.b", "a..b"}},
		{value_check_port_name, {"http", "a1", "80a", "a-b"},
			{"", "80", "a--b", "-a", "a-", "HTTP", "a.b", "abcdefghijklmnop"}},
		{value_check_qualified_name, {"app", "A.b_c-d", "example.com/app", "a/" A63},
			{"", "/", "a/", "/a", "a/b/c", "A/b", "a b", "-a", "a-", "a/" A63 "a"}},
		{value_check_label_value, {"", "a", "A.b_c-d"}, {" ", "-a", "a-", "a b", "a/b", A63 "a"}},
		{value_check_config_key, {"a", ".a", "A_b-c.d", "a..b", "-"}, {"", ".", "..", "..a", "a/b", "a b"}},
		{value_check_env_name, {"A", "a.b-c", "1a", " ", "a b", "$(A)"},
			{"", "a=b", "a\n", "\xc3\xa9", "\x7f"}},
		{value_check_ip, {"1.2.3.4", "::1", "fe80::1"},
			{"", "1.2.3", "1.2.3.256", "01.2.3.4x", "::g", "fe80::1%eth0"}},
		{value_check_sysctl, {"a", "kernel.shm_rmid_forced", "net/ipv4/ip_forward", "net.ipv4.conf.eth0-1.x"},
			{"", ".", "a.", ".a", "a..b", "A.b", "a b", "-a", "a.b-"}},
		{value_check_inner_path, {"a", "a/b", "..a", "a..", "./a", "a//b"},
			{"", "/a", "..", "../a", "a/..", "a/../b", A253 A63}},
		{value_check_absolute_path, {"/", "/a/b", "/..a"}, {"", "a", "/..", "/a/../b"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(table[i].good) && table[i].good[k]; k++)
			if (table[i].check(table[i].good[k]))
				fail_msg("row %zu: '%s' is good", i, table[i].good[k]);
		for (size_t k = 0; k < ARRAY_SIZE(table[i].bad) && table[i].bad[k]; k++)
			if (!table[i].check(table[i].bad[k]))
				fail_msg("row %zu: '%s' is bad", i, table[i].bad[k]);
	}
}

static void test_base64(void **state)
{
	static const struct {
		const char *text, *bytes; /* NULL: refused */
	} table[] = {
		{"", ""},
		{"YQ==", "a"},
		{"YWI=", "ab"},
		{"YWJj", "abc"},
		{"YW\nJj\r\n", "abc"},
		{"YWJjZA==", "abcd"},
		{"/+8=", "\xff\xef"},
		{"YQ=", NULL},
		{"YQ", NULL},
		{"YQ===", NULL},
		{"Y===", NULL},
		{"=", NULL},
		{"====", NULL},
		{"YQ==YQ==", NULL},
		{"YQ=x", NULL},
		{"Y Q==", NULL},
		{"YQ-_", NULL},
		{"YWI=\n=", NULL},
	};
	uint8_t out[64];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t n = 99, len = strlen(table[i].text);
		int r = value_base64_decode(table[i].text, len, out, &n);

		if ((r == 0) != (table[i].bytes != NULL))
			fail_msg("'%s': result %d", table[i].text, r);
		if (r == 0 && (n != strlen(table[i].bytes) || memcmp(out, table[i].bytes, n) != 0))
			fail_msg("'%s': %zu other bytes", table[i].text, n);
		assert_true(n == 99 || n <= 3 * (len / 4) + 3);
	}
}

static void test_text(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool text;
	} table[] = {
		{"", 0, true},
		{"abc", 3, true},
		{"\xc3\xa9", 2, true},
		{"\xe2\x82\xac", 3, true},
		{"\xf0\x9f\x98\x80", 4, true},
		{"a\0b", 3, false},
		{"\xc3", 1, false},
		{"\xc0\x80", 2, false},
		{"\xe0\x80\x80", 3, false},
		{"\xed\xa0\x80", 3, false},
		{"\xf4\x90\x80\x80", 4, false},
		{"\xff", 1, false},
		{"\x80", 1, false},
		{"\xf0\x9f\x98", 3, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (value_is_text((const uint8_t *)table[i].bytes, table[i].len) != table[i].text)
			fail_msg("row %zu", i);
}

static void test_distance(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} table[] = {
		{"", "", 0},
		{"image", "image", 0},
		{"Image", "image", 0},
		{"imagee", "image", 1},
		{"imge", "image", 1},
		{"iamge", "image", 1},
		{"comand", "command", 1},
		{"", "abc", 3},
		{"kitten", "sitting", 3},
		{A63 "a", "a", 64},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(value_distance(table[i].a, table[i].b), table[i].distance);
		assert_int_equal(value_distance(table[i].b, table[i].a), table[i].distance);
	}
}

static void test_capabilities(void **state)
{
	assert_int_equal(value_capability("CHOWN"), 0);
	assert_int_equal(value_capability("SYS_ADMIN"), 21);
	assert_int_equal(value_capability("CHECKPOINT_RESTORE"), 40);
	assert_int_equal(value_capability("CAP_CHOWN"), -1);
	assert_int_equal(value_capability(""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantity),
		cmocka_unit_test(test_negative_quantity),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
