/* SPDX-License-Identifier: Apache-2.0 */
#include "net/inet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void addresses(void **state)
{
	static const struct {
		const char *text;
		bool with_prefix;
		int r;
		uint8_t family, prefix;
		const char *again; /* NULL: the text */
	} table[] = {
		{"10.1.2.3/24", true, 0, AF_INET, 24, NULL},
		{"0.0.0.0/0", true, 0, AF_INET, 0, NULL},
		{"::/0", true, 0, AF_INET6, 0, NULL},
		{"fd00::2/64", true, 0, AF_INET6, 64, NULL},
		{"FD00:0::2/128", true, 0, AF_INET6, 128, "fd00::2/128"},
		{"10.1.2.3", false, 0, AF_INET, 32, NULL},
		{"fe80::1", false, 0, AF_INET6, 128, NULL},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", true, 0, AF_INET6, 128, NULL},
		{"10.1.2.3/33", true, -EINVAL, 0, 0, NULL},
		{"fd00::2/129", true, -EINVAL, 0, 0, NULL},
		{"10.1.2.3", true, -EINVAL, 0, 0, NULL},
		{"10.1.2.3/24", false, -EINVAL, 0, 0, NULL},
		{"10.1.2.3/", true, -EINVAL, 0, 0, NULL},
		{"10.1.2.3/-1", true, -EINVAL, 0, 0, NULL},
		{"10.1.2.3/24/3", true, -EINVAL, 0, 0, NULL},
		{"10.1.2/24", true, -EINVAL, 0, 0, NULL},
		{"fe80::1%eth0", false, -EINVAL, 0, 0, NULL},
		{"", false, -EINVAL, 0, 0, NULL},
		{"/", true, -EINVAL, 0, 0, NULL},
		{":", false, -EINVAL, 0, 0, NULL},
		{"1111111111111111111111111111111111111111111111111111111111", false, -EINVAL, 0, 0, NULL},
	};
	char text[INET_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct inet_addr a = {0};

		assert_int_equal(inet_parse(&a, table[i].text, table[i].with_prefix, NULL), table[i].r);
		assert_int_equal(a.family, table[i].family);
		assert_int_equal(a.prefix, table[i].prefix);
		if (table[i].r)
			continue;
		inet_text(text, &a, table[i].with_prefix);
		assert_string_equal(text, table[i].again ? table[i].again : table[i].text);
	}
}

static void link_local(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} table[] = {
		{"fe80::1", true}, {"febf::1", true}, {"fec0::1", false}, {"fd80::1", false}, {"254.128.0.1", false}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct inet_addr a;

		assert_int_equal(inet_parse(&a, table[i].text, false, NULL), 0);
		assert_int_equal(inet_is_link_local6(&a), table[i].want);
	}
}

static void macs(void **state)
{
	static const char *const bad[] = {"", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02",
		"02-00-00-00-00-01", "2:0:0:0:0:1", "02:00:00:00:00:1:"};
	static const uint8_t want[6] = {0xAB, 0, 0x1f, 0xff, 0x7e, 1};
	uint8_t mac[6];
	char text[MAC_TEXT_MAX];

	assert_int_equal(mac_parse(mac, "aB:00:1f:FF:7e:01", NULL), 0);
	assert_memory_equal(mac, want, 6);
	mac_text(text, mac);
	assert_string_equal(text, "ab:00:1f:ff:7e:01");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(mac_parse(mac, bad[i], NULL), -EINVAL);
	assert_memory_equal(mac, want, 6);
}

static void names(void **state)
{
	static const char *const good[] = {"eth0", "a", "net1.5", "fifteen-letters"};
	static const char *const bad[] = {
		"", ".", "..", "a/b", "a b", "a:b", "sixteen-letters-", "a\n", "\x7f", "\xc3\xa4"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(link_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(link_name_valid(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(link_local),
		cmocka_unit_test(macs),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
