/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#define MAX 4096
#define DEPTH 8

static void documents_survive(void **state)
{
	static const char *const cases[] = {
		"{}",
		"{\"a\":[],\"b\":{\"c\":null},\"d\":true,\"e\":-1,\"f\":\"\"}",
		"{\"s\":\"caf\xc3\xa9 \xf0\x9f\x98\x80 \\u0001 \\\"q\\\" \\\\\"}",
		"{\"i\":9223372036854775807,\"j\":-9223372036854775808,\"k\":0.5,\"l\":1e300}",
		"{\"hard\":18446744073709551615,\"soft\":9223372036854775808,\"l\":[18446744073709551614]}",
		"{\"quoted\":\"18446744073709551615\",\"n\":18446744073709551615}",
		"{\"esc\":\"\\\\\",\"n\":18446744073709551615,\"q\":\"\\\"18446744073709551615\\\"\"}",
		"{\"[[[[[[[[[[\":\",,,,{{{{\"}",
		"{\"a\":\"\\\"\\u0001u64:1\",\"n\":18446744073709551615}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *root = NULL;
		struct err err = {0};
		char *text;
		size_t len;

		if (json_text_parse(&root, cases[i], strlen(cases[i]), MAX, DEPTH, &err) < 0)
			fail_msg("%s: %s", cases[i], err.msg);
		assert_int_equal(json_text_write(root, &text, &len, &err), 0);
		assert_int_equal(len, strlen(text));
		if (strstr(cases[i], "1e300"))
			assert_non_null(strstr(text, "e300"));
		else
			assert_string_equal(text, cases[i]);
		free(text);
		json_decref(root);
	}
}

static void reals_of_any_size_are_reals(void **state)
{
	static const char *const cases[] = {"{\"a\":9223372036854775808.5}", "{\"a\":18446744073709551615e0}",
		"{\"a\":18446744073709551615E-3}", "{\"a\":0.18446744073709551615}", "{\"a\":-9223372036854775808.0}"};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *root = NULL;

		assert_int_equal(json_text_parse(&root, cases[i], strlen(cases[i]), MAX, DEPTH, NULL), 0);
		assert_true(json_is_real(json_object_get(root, "a")));
		json_decref(root);
	}
}

static const struct {
	const char *text;
	size_t len;	  /* 0: strlen */
	const char *want; /* a part of the message */
} hostile[] = {
	{"", 0, "line 1"},
	{" ", 0, "line 1"},
	{"[]", 0, "not an object"},
	{"1", 0, "line 1"},
	{"null", 0, "line 1"},
	{"{", 0, "line 1"},
	{"{\"a\":1", 0, "line 1"},
	{"{\"a\":1}x", 0, "end of file"},
	{"{\"a\":1}{\"a\":1}", 0, "end of file"},
	{"{\"a\":1,}", 0, "line 1"},
	{"{'a':1}", 0, "line 1"},
	{"{a:1}", 0, "line 1"},
	{"{\"a\":01}", 0, "line 1"},
	{"{\"a\":1,\"a\":2}", 0, "duplicate"},
	{"{\"o\":{\"a\":1,\"b\":0,\"a\":2}}", 0, "duplicate"},
	{"{\"a\":1,\"\\u0061\":2}", 0, "duplicate"},
	{"{\"a\":\"x\0y\"}", 11, "line 1"},
	{"{\"a\":\"x\\u0000y\"}", 0, "\\u0000"},
	{"{\"a\\u0000b\":1}", 0, "NUL"},
	{"{\"a\":1}\0", 8, "line 1"},
	{"{\"a\":\"\xff\"}", 0, "decode"},
	{"{\"a\":\"\xc0\x80\"}", 0, "decode"},
	{"{\"a\":\"\xed\xa0\x80\"}", 0, "decode"},
	{"{\"a\":\"\xc3", 0, "decode"},
	{"{\"a\":\"\\ud800\"}", 0, "line 1"},
	{"{\"a\":\"\n\"}", 0, "line 1"},
	{"{\"a\":\"\033[2J\"}", 0, "line 1"},
	{"{\"a\":18446744073709551616}", 0, "too big"},
	{"{\"a\":-9223372036854775809}", 0, "too"},
	{"{\"a\":99999999999999999999999999999999999999}", 0, "too big"},
	{"{\"a\":1e999}", 0, "line 1"},
	{"{\"a\":-18446744073709551615}", 0, "too"},
	{"{\"a\":NaN}", 0, "line 1"},
	{"{\"a\":0x10}", 0, "line 1"},
	{"{\"a\":\"\\u0001u64:5\"}", 0, "U+0001"},
	{"{\"\\u0001u64:5\":1}", 0, "U+0001"},
	{"{\"a\":\"\\u0001u64:5\",\"b\":18446744073709551615}", 0, "U+0001"},
	{"{\"a\":{\"b\":[[{\"c\":[[[[0]]]]}]]}}", 0, "a.b[0][0].c[0][0][0] is nested deeper than 8 levels"},
	{"{\"a\":1 /* comment */}", 0, "line 1"},
	{"\xef\xbb\xbf{}", 0, "line 1"},
};

static void hostile_documents_are_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		size_t len = hostile[i].len ? hostile[i].len : strlen(hostile[i].text);
		/* Exactly as long as it says, for the sanitizer. */
		auto_free char *exact = malloc(len ? len : 1);
		json_t *root = NULL;
		struct err err = {0};
		int r;

		memcpy(exact, hostile[i].text, len);
		r = json_text_parse(&root, exact, len, MAX, DEPTH, &err);
		if (r != -EINVAL || !strstr(err.msg, hostile[i].want))
			fail_msg("case %zu, %s: %d '%s', want '%s'", i, hostile[i].text, r, err.msg, hostile[i].want);
		for (const char *p = err.msg; *p; p++)
			assert_true(*p >= 0x20 && *p < 0x7f);
		assert_null(root);
	}
}

static void size_values_and_depth_are_bounded(void **state)
{
	struct buf b = BUF_INIT(1u << 20);
	struct err err;
	json_t *root = NULL;

	/* 8 levels are fine, see above for 9; a thousand do not overflow the stack. */
	assert_int_equal(json_text_parse(&root, "{\"a\":[[[[[[[0]]]]]]]}", 21, MAX, DEPTH, &err), 0);
	json_decref(root);
	assert_int_equal(buf_append_str(&b, "{\"a\":"), 0);
	for (int i = 0; i < 500000; i++)
		assert_int_equal(buf_append_str(&b, "["), 0);
	assert_int_equal(json_text_parse(&root, (char *)buf_data(&b), 60000, 1u << 20, DEPTH, &err), -EINVAL);
	assert_int_equal(json_text_parse(&root, (char *)buf_data(&b), b.len, 1u << 20, DEPTH, &err), -EINVAL);
	assert_string_equal(err.msg, "JSON: more than 65536 values");
	assert_int_equal(json_text_parse(&root, (char *)buf_data(&b), b.len, b.len - 1, DEPTH, &err), -EFBIG);
	buf_consume(&b, b.len);
	assert_int_equal(buf_append_str(&b, "{\"a\":[0"), 0);
	for (int i = 0; i < 65533; i++)
		assert_int_equal(buf_append_str(&b, ",0"), 0);
	assert_int_equal(buf_append_str(&b, "]}"), 0);
	assert_int_equal(json_text_parse(&root, (char *)buf_data(&b), b.len, 1u << 20, DEPTH, &err), 0);
	assert_int_equal(json_array_size(json_object_get(root, "a")), 65534);
	json_decref(root);
	/* A run of digits costs one pass. */
	buf_consume(&b, b.len);
	assert_int_equal(buf_append_str(&b, "{\"a\":1"), 0);
	for (int i = 0; i < 900000; i++)
		assert_int_equal(buf_append(&b, "0", 1), 0);
	assert_int_equal(buf_append_str(&b, ".5}"), 0);
	assert_int_equal(json_text_parse(&root, (char *)buf_data(&b), b.len, 1u << 20, DEPTH, &err), -EINVAL);
	buf_fini(&b);
}

static const struct json_rule rules[] = {
	{"s", JSON_KIND_STRING},
	{"o", JSON_KIND_OBJECT},
	{"o.b", JSON_KIND_BOOL},
	{"o.n", JSON_KIND_U32},
	{"l", JSON_KIND_ARRAY},
	{"l[]", JSON_KIND_OBJECT},
	{"l[].t", JSON_KIND_ARRAY},
	{"l[].t[]", JSON_KIND_STRING},
	{"m", JSON_KIND_OBJECT},
	{"m{}", JSON_KIND_STRING},
	{"c", JSON_KIND_OBJECT},
	{"c{}", JSON_KIND_ARRAY},
	{"c{}[]", JSON_KIND_STRING},
};

static void shapes_are_checked(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: fine */
	} cases[] = {
		{"{}", NULL},
		{"{\"other\":[1,{\"s\":1}]}", NULL},
		{"{\"s\":\"\",\"o\":{\"b\":false,\"n\":4294967295},\"l\":[{\"t\":[\"a\"]},{}],\"m\":{\"k\":\"v\"}}",
			NULL},
		{"{\"s\":null,\"o\":null,\"l\":null,\"m\":{\"k\":null}}", NULL},
		{"{\"o\":{\"n\":null},\"c\":{\"a\":null}}", NULL},
		{"{\"s\":1}", "s is not a string"},
		{"{\"s\":[\"a\"]}", "s is not a string"},
		{"{\"s\":18446744073709551615}", "s is not a string"},
		{"{\"o\":[]}", "o is not an object"},
		{"{\"o\":\"\"}", "o is not an object"},
		{"{\"o\":{\"b\":0}}", "o.b is not true or false"},
		{"{\"o\":{\"b\":\"true\"}}", "o.b is not true or false"},
		{"{\"o\":{\"n\":-1}}", "o.n is not an integer from 0 to 4294967295"},
		{"{\"o\":{\"n\":4294967296}}", "o.n is not an integer from 0 to 4294967295"},
		{"{\"o\":{\"n\":18446744073709551615}}", "o.n is not an integer from 0 to 4294967295"},
		{"{\"o\":{\"n\":1.0}}", "o.n is not an integer from 0 to 4294967295"},
		{"{\"l\":{}}", "l is not an array"},
		{"{\"l\":[{},1]}", "l[1] is not an object"},
		{"{\"l\":[null]}", "l[0] is not an object"},
		{"{\"l\":[{},{\"t\":{}}]}", "l[1].t is not an array"},
		{"{\"l\":[{\"t\":[\"a\",2]}]}", "l[0].t[1] is not a string"},
		{"{\"m\":{\"a\":\"\",\"k\":{}}}", "m.k is not a string"},
		{"{\"m\":{\"\\u001b\\u00e9\":{}}}", "m.??? is not a string"},
		{"{\"c\":{\"a\":[\"x\"],\"b\":[1]}}", "c.b[0] is not a string"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *root = NULL;
		struct err err = {0};
		int r;

		assert_int_equal(json_text_parse(&root, cases[i].text, strlen(cases[i].text), MAX, DEPTH, &err), 0);
		r = json_check(root, rules, ARRAY_SIZE(rules), &err);
		if (r != (cases[i].want ? -EINVAL : 0) || (cases[i].want && strcmp(err.msg, cases[i].want) != 0))
			fail_msg("%s: %d '%s', want '%s'", cases[i].text, r, err.msg,
				cases[i].want ? cases[i].want : "");
		if (r == 0) {
			/* null is gone. */
			assert_true(!json_object_get(root, "s") || json_is_string(json_object_get(root, "s")));
			assert_null(json_object_get(json_object_get(root, "m"), "k") &&
						    json_is_null(json_object_get(json_object_get(root, "m"), "k"))
					    ? root
					    : NULL);
		}
		json_decref(root);
	}
}

static void strings_must_be_utf8(void **state)
{
	json_t *o = json_object();

	assert_int_equal(json_set_string(o, "k", "caf\xc3\xa9"), 0);
	assert_int_equal(json_set_string(o, "k", "\xff"), -EILSEQ);
	assert_string_equal(json_string_value(json_object_get(o, "k")), "caf\xc3\xa9");
	/* Else it would be written without its quotes. */
	assert_int_equal(json_set_string(o, "k", "\001u64:1,\"x\":2"), -EILSEQ);
	assert_int_equal(json_append_string(json_member_array(o, "l"), "\001u64:1"), -EILSEQ);
	assert_int_equal(json_set_string(o, "\001u64:1", "k"), -EILSEQ);
	assert_int_equal(json_set_string(o, "\xff", "k"), -EILSEQ);
	assert_int_equal(json_append_string(json_member_array(o, "l"), "\xc3"), -EILSEQ);
	assert_int_equal(json_append_string(json_member_array(o, "l"), "x"), 0);
	assert_int_equal(json_array_size(json_member_array(o, "l")), 1);
	assert_ptr_equal(json_member_object(o, "m"), json_member_object(o, "m"));
	json_decref(o);
}

static void texts_for_people(void **state)
{
	static const char *const rows[][2] = {
		{"", ""}, {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"}, {"cut \xe2\x82", "cut ??"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *v = json_lossy(rows[i][0]);

		assert_string_equal(json_string_value(v), rows[i][1]);
		json_decref(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_for_people),
		cmocka_unit_test(documents_survive),
		cmocka_unit_test(reals_of_any_size_are_reals),
		cmocka_unit_test(hostile_documents_are_refused),
		cmocka_unit_test(size_values_and_depth_are_bounded),
		cmocka_unit_test(shapes_are_checked),
		cmocka_unit_test(strings_must_be_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
