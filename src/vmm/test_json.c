/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* In a block of exactly that size, so that a sanitizer sees a byte too far. */
static int parse(const char *text, size_t len, struct json_object *obj, char **ret)
{
	struct err err = {0};
	int r;

	*ret = malloc(len ? len : 1);
	assert_non_null(*ret);
	memcpy(*ret, text, len);
	r = json_parse(*ret, len, obj, &err);
	assert_int_equal(r < 0, err.code != 0);
	return r;
}

static void reads_what_it_speaks(void **state)
{
	static const char text[] = " {\"id\" : 18446744073709551615,\"op\":\"a\\\"\\\\\\/\\n\\u0041\\u007e\","
				   "\"t\":true,\"f\":false,\"n\":null,\"\":0,\"utf\":\"\xc3\xa9\"}\r ";
	const struct json_member *m;
	struct json_object obj;
	char *mem;

	assert_int_equal(parse(text, strlen(text), &obj, &mem), 0);
	assert_int_equal(obj.n, 7);
	m = json_find(&obj, "id");
	assert_int_equal(m->type, JSON_NUMBER);
	assert_int_equal(m->number, UINT64_MAX);
	m = json_find(&obj, "op");
	assert_int_equal(m->type, JSON_STRING);
	assert_string_equal(m->string, "a\"\\/\nA~");
	assert_int_equal(json_find(&obj, "t")->number, 1);
	assert_int_equal(json_find(&obj, "f")->number, 0);
	assert_int_equal(json_find(&obj, "f")->type, JSON_BOOL);
	assert_int_equal(json_find(&obj, "n")->type, JSON_NULL);
	assert_int_equal(json_find(&obj, "")->number, 0);
	assert_string_equal(json_find(&obj, "utf")->string, "\xc3\xa9");
	assert_null(json_find(&obj, "no"));
	free(mem);
	assert_int_equal(parse("{}", 2, &obj, &mem), 0);
	assert_int_equal(obj.n, 0);
	free(mem);
}

static void refuses_all_else(void **state)
{
	/* One member too many. */
	static const char many[] = "{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,\"9\":1,\"10\":1,"
				   "\"11\":1,\"12\":1,\"13\":1,\"14\":1,\"15\":1,\"16\":1,\"17\":1}";
	const char *const bad[] = {"", " ", "{", "}", "[]", "null", "1", "\"a\"", "{\"a\"", "{\"a\":", "{\"a\":}",
		"{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\":1}}", "{\"a\":1} x", "{a:1}", "{\"a\" 1}",
		"{\"a\":-1}", "{\"a\":1.5}", "{\"a\":1e3}", "{\"a\":01}", "{\"a\":18446744073709551616}", "{\"a\":+1}",
		"{\"a\":[1]}", "{\"a\":{}}", "{\"a\":tru}", "{\"a\":nul", "{\"a\":\"b}", "{\"a\":\"\\",
		"{\"a\":\"\\x\"}", "{\"a\":\"\\u00\"}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\u00e9\"}",
		"{\"a\":\"\\u00g1\"}", "{\"a\":\"\t\"}", "{\"a\":1,\"a\":2}", "{\"a\":1 \"b\":2}", many};
	struct json_object obj;
	char *mem;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse(bad[i], strlen(bad[i]), &obj, &mem) != -22)
			fail_msg("'%s' was taken", bad[i]);
		free(mem);
	}
	/* A NUL is a control character like any other. */
	assert_int_equal(parse("{\"a\0\":1}", 8, &obj, &mem), -22);
	free(mem);
}

static void escapes(void **state)
{
	char dst[16];

	assert_string_equal(json_escape(dst, sizeof(dst), "a\"b\\c\nd"), "a\\\"b\\\\c?d");
	assert_string_equal(json_escape(dst, 4, "\"\"\"\""), "\\\"");
	assert_string_equal(json_escape(dst, 1, "abc"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_it_speaks),
		cmocka_unit_test(refuses_all_else),
		cmocka_unit_test(escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
