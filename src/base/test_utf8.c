/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static void characters(void **state)
{
	static const struct {
		const char *bytes;
		size_t n, len;
		uint32_t code;
	} rows[] = {
		{"a", 1, 1, 'a'},
		{"", 1, 1, 0},
		{"\x7f", 1, 1, 0x7f},
		{"\xc2\x80", 2, 2, 0x80},
		{"\xdf\xbf", 2, 2, 0x7ff},
		{"\xe0\xa0\x80", 3, 3, 0x800},
		{"\xed\x9f\xbf", 3, 3, 0xd7ff},
		{"\xee\x80\x80", 3, 3, 0xe000},
		{"\xf0\x90\x80\x80", 4, 4, 0x10000},
		{"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
		{"\x80", 1, 0, 0},	       /* goes on, but nothing has started */
		{"\xc3", 1, 0, 0},	       /* cut off */
		{"\xe2\x82", 2, 0, 0},	       /* cut off */
		{"\xc3(", 2, 0, 0},	       /* does not go on */
		{"\xc0\x80", 2, 0, 0},	       /* overlong */
		{"\xc1\xbf", 2, 0, 0},	       /* overlong */
		{"\xe0\x9f\xbf", 3, 0, 0},     /* overlong */
		{"\xf0\x8f\xbf\xbf", 4, 0, 0}, /* overlong */
		{"\xed\xa0\x80", 3, 0, 0},     /* a surrogate */
		{"\xf4\x90\x80\x80", 4, 0, 0}, /* beyond the last */
		{"\xf8\x88\x80\x80\x80", 5, 0, 0},
		{"\xff", 1, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t code = 0;

		if (utf8_next(rows[i].bytes, rows[i].n, &code) != rows[i].len || code != rows[i].code)
			fail_msg("row %zu", i);
	}
}

static void repairs(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"gr\xc3", "gr?"},
		{"\xe2\x82", "??"},
		{"a\xff\xc3\xbc\x80z", "a?\xc3\xbc?z"},
		{"\xed\xa0\x80", "???"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[16];

		strcpy(text, rows[i].text);
		assert_int_equal(utf8_valid(text, strlen(text)), strcmp(rows[i].text, rows[i].want) == 0);
		utf8_repair(text);
		assert_string_equal(text, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters),
		cmocka_unit_test(repairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
