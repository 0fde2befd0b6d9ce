/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/text.h"

static char *printed;
static size_t printed_len;

static FILE *start(void)
{
	free(printed);
	printed = NULL;
	return open_memstream(&printed, &printed_len);
}

static void safe(const char *bytes, size_t n, const char *want)
{
	FILE *f = start();

	text_put_safe(f, bytes, n);
	(void)fclose(f);
	assert_string_equal(printed, want);
}

static void ordinary_text_goes_as_it_is(void **state)
{
	static const char *const texts[] = {
		"", "plain", "a\tb", "gr\xc3\xbc\xc3\x9f", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x8e\x89"};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		safe(texts[i], strlen(texts[i]), texts[i]);
}

static void what_terminals_obey_does_not(void **state)
{
	static const struct {
		const char *bytes, *want;
		size_t n;
	} t[] = {
		{"\x1b[2J", "\\x1b[2J", 4},
		{"a\rb\n", "a\\x0db\\x0a", 4},
		{"\0", "\\x00", 1},
		{"\x7f", "\\x7f", 1},
		{"\xc2\x9b"
		 "31m",
			"\\xc2\\x9b31m", 5},		/* CSI as one C1 character */
		{"\x9b", "\\x9b", 1},			/* and as one byte */
		{"\xe2\x80\xae", "\\xe2\\x80\\xae", 3}, /* right-to-left override */
		{"\xe2\x81\xa6", "\\xe2\\x81\\xa6", 3},
		{"\xc3", "\\xc3", 1},	       /* cut off */
		{"\xc0\x9b", "\\xc0\\x9b", 2}, /* overlong */
		{"\xe0\x80\x9b", "\\xe0\\x80\\x9b", 3},
		{"\xed\xa0\x80", "\\xed\\xa0\\x80", 3},		 /* surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 4}, /* beyond Unicode */
		{"\xff\xfe", "\\xff\\xfe", 2},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		safe(t[i].bytes, t[i].n, t[i].want);
}

/* No input makes the output obey, for every byte pair. */
static void no_bytes_are_dangerous(void **state)
{
	for (unsigned i = 0; i < 65536; i++) {
		char pair[2] = {(char)(i >> 8), (char)i};
		FILE *f = start();

		text_put_safe(f, pair, 2);
		(void)fclose(f);
		for (size_t k = 0; k < printed_len; k++) {
			uint8_t c = (uint8_t)printed[k];

			assert_true(c == '\t' || (c >= 0x20 && c != 0x7f));
			assert_true(c != 0xc2 || (uint8_t)printed[k + 1] >= 0xa0);
		}
	}
}

static void near_words_are_found(void **state)
{
	static const char *const words[] = {"run", "ps", "logs", "exec", "inspect", "image", NULL};
	static const struct {
		const char *word, *want;
	} t[] = {
		{"rnu", "run"},
		{"lgos", "logs"},
		{"log", "logs"},
		{"insepct", "inspect"},
		{"ins", "inspect"},
		{"exce", "exec"},
		{"zzz", NULL},
		{"", NULL},
		{"a word that is much longer than any of them could be", NULL},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		const char *got = text_nearest(t[i].word, words);

		if (!t[i].want)
			assert_null(got);
		else
			assert_string_equal(got, t[i].want);
	}
}

static void sizes_and_ages(void **state)
{
	static const struct {
		uint64_t v;
		const char *want;
	} sizes[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {10240, "10 KiB"},
		{(UINT64_C(1) << 20) - 1, "1023 KiB"}, {UINT64_C(5) << 30, "5.0 GiB"}, {UINT64_MAX, "15 EiB"}};
	static const struct {
		uint64_t seconds;
		const char *want;
	} ages[] = {{0, "0s"}, {59, "59s"}, {61, "1m1s"}, {600, "10m"}, {3599, "59m"}, {3600, "1h0m"}, {36000, "10h"},
		{86400 * 2, "2d"}, {UINT64_C(18446744073), "213503d"}};
	char got[16];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		text_size(got, sizes[i].v);
		assert_string_equal(got, sizes[i].want);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ages); i++) {
		text_age(got, ages[i].seconds * UINT64_C(1000000000));
		assert_string_equal(got, ages[i].want);
	}
}

static void paragraphs_are_wrapped(void **state)
{
	FILE *f = start();

	text_wrap(f, "one two three four\n\nfive", 2, 10);
	(void)fclose(f);
	assert_string_equal(printed, "  one two\n  three\n  four\n\n  five\n");
	f = start();
	text_wrap(f, "averyveryverylongword x", 0, 10);
	(void)fclose(f);
	assert_string_equal(printed, "averyveryverylongword\nx\n");
}

static void columns_are_aligned(void **state)
{
	struct text_table t = {.columns = 2};
	FILE *f = start();

	assert_int_equal(text_table_add(&t, "A"), 0);
	assert_int_equal(text_table_add(&t, "B"), 0);
	assert_int_equal(text_table_add(&t, "long"), 0);
	assert_int_equal(text_table_add(&t, "x"), 0);
	text_table_print(&t, f);
	text_table_fini(&t);
	(void)fclose(f);
	assert_string_equal(printed, "A      B\nlong   x\n");
}

static int teardown(void **state)
{
	free(printed);
	printed = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_text_goes_as_it_is),
		cmocka_unit_test(what_terminals_obey_does_not),
		cmocka_unit_test(no_bytes_are_dangerous),
		cmocka_unit_test(near_words_are_found),
		cmocka_unit_test(sizes_and_ages),
		cmocka_unit_test(paragraphs_are_wrapped),
		cmocka_unit_test(columns_are_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
