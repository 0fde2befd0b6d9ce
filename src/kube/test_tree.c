/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "kube/tree.h"

/* The tree of `yaml`, or a failed test. */
static void parse(struct tree *t, const char *yaml)
{
	struct err err = {0};

	if (tree_parse(t, "t.yaml", yaml, strlen(yaml), &err) < 0)
		fail_msg("%s\n--- for ---\n%s", err.msg, yaml);
}

/* The scalar types of sigs.k8s.io/yaml. */
static const struct {
	const char *text;
	enum tree_kind kind;
	double value;
} scalars[] = {
	{"", TREE_NULL, 0},
	{"~", TREE_NULL, 0},
	{"null", TREE_NULL, 0},
	{"Null", TREE_NULL, 0},
	{"nULL", TREE_STRING, 0},
	{"\"\"", TREE_STRING, 0},
	{"'null'", TREE_STRING, 0},
	{"yes", TREE_BOOL, 1},
	{"YES", TREE_BOOL, 1},
	{"y", TREE_BOOL, 1},
	{"on", TREE_BOOL, 1},
	{"true", TREE_BOOL, 1},
	{"True", TREE_BOOL, 1},
	{"tRue", TREE_STRING, 0},
	{"\"yes\"", TREE_STRING, 0},
	{"no", TREE_BOOL, 0},
	{"n", TREE_BOOL, 0},
	{"off", TREE_BOOL, 0},
	{"FALSE", TREE_BOOL, 0},
	{"0", TREE_INT, 0},
	{"1", TREE_INT, 1},
	{"-1", TREE_INT, -1},
	{"+7", TREE_INT, 7},
	{"0644", TREE_INT, 420},
	{"0o644", TREE_INT, 420},
	{"0x1F", TREE_INT, 31},
	{"0b101", TREE_INT, 5},
	{"-0b101", TREE_INT, -5},
	{"1_000", TREE_INT, 1000},
	{"\"0644\"", TREE_STRING, 0},
	{"18446744073709551615", TREE_INT, 18446744073709551615.0},
	{"18446744073709551616", TREE_FLOAT, 18446744073709551616.0},
	{"-9223372036854775808", TREE_INT, -9223372036854775808.0},
	{"-9223372036854775809", TREE_FLOAT, -9223372036854775809.0},
	{"089", TREE_FLOAT, 89},
	{"1.5", TREE_FLOAT, 1.5},
	{".5", TREE_FLOAT, 0.5},
	{"5.", TREE_FLOAT, 5},
	{"-1e3", TREE_FLOAT, -1000},
	{"1e999", TREE_STRING, 0},
	{".inf", TREE_FLOAT, (double)INFINITY},
	{"-.inf", TREE_FLOAT, -(double)INFINITY},
	{"0x", TREE_STRING, 0},
	{"0b2", TREE_STRING, 0},
	{"1.2.3", TREE_STRING, 0},
	{"1e", TREE_STRING, 0},
	{".", TREE_STRING, 0},
	{"+", TREE_STRING, 0},
	{"64Mi", TREE_STRING, 0},
	{"2024-01-02", TREE_STRING, 0},
	{"10:20", TREE_STRING, 0},
	{"!!str 5", TREE_STRING, 0},
	{"! 5", TREE_STRING, 0},
	{"!!int \"5\"", TREE_INT, 5},
	{"!!float 5", TREE_FLOAT, 5},
	{"!!bool yes", TREE_BOOL, 1},
	{"|\n  yes", TREE_STRING, 0},
	{">\n  5", TREE_STRING, 0},
};

static void test_scalars(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
		auto_tree struct tree t = {0};
		const struct tree_node *n;
		char yaml[128];
		double v = 0;

		(void)snprintf(yaml, sizeof(yaml), "a: %s\n", scalars[i].text);
		parse(&t, yaml);
		assert_int_equal(t.n, 1);
		n = tree_find(t.documents[0], "a");
		if (n->kind == TREE_BOOL)
			v = n->yes;
		else if (n->kind == TREE_INT)
			v = n->negative ? -(double)n->magnitude : (double)n->magnitude;
		else if (n->kind == TREE_FLOAT)
			v = n->number;
		if (n->kind != scalars[i].kind || v != scalars[i].value)
			fail_msg("'%s': kind %d value %g", scalars[i].text, n->kind, v);
	}
}

static void test_nan(void **state)
{
	auto_tree struct tree t = {0};
	const struct tree_node *n;

	parse(&t, ".nan");
	n = t.documents[0];
	assert_int_equal(n->kind, TREE_FLOAT);
	assert_true(isnan(n->number));
}

static void test_lines_and_paths(void **state)
{
	static const char yaml[] = "# comment\n"
				   "spec:\n"
				   "  list:\n"
				   "  - a: 1\n"
				   "    b.c/d: 2\n"
				   "  - [x,\n"
				   "     y]\n"
				   "---\n"
				   "---\n"
				   "second: |\n"
				   "  text\n";
	auto_tree struct tree t = {0};
	const struct tree_node *list, *n;

	parse(&t, yaml);
	assert_int_equal(t.n, 2);
	list = tree_find(tree_find(t.documents[0], "spec"), "list");
	n = tree_find(list->items[0], "b.c/d");
	assert_int_equal(n->line, 5);
	assert_string_equal(tree_path(n).s, "spec.list[0][b.c/d]");
	n = list->items[1]->items[1];
	assert_int_equal(n->line, 7);
	assert_string_equal(tree_path(n).s, "spec.list[1][1]");
	assert_string_equal(tree_path_of(n, "z").s, "spec.list[1][1].z");
	n = tree_find(t.documents[1], "second");
	assert_int_equal(n->key_line, 10);
	assert_string_equal(n->text, "text\n");
	assert_string_equal(tree_path(t.documents[1]).s, "document");
	assert_null(tree_find(t.documents[1], "third"));
	assert_null(tree_find(n, "third"));
	assert_null(tree_find(NULL, "third"));
}

static void test_long_path_is_cut_on_the_left(void **state)
{
	auto_tree struct tree t = {0};
	const struct tree_node *n;

	parse(&t,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: {bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: "
		"{cccccccccccccccccccccccccccccccccccccccccccccccc: {dddddddddddddddddddddddddddddddddddddddddddddddd: "
		"1}}}");
	for (n = t.documents[0]; n->kind == TREE_MAP;)
		n = n->items[0];
	assert_string_equal(tree_path(n).s,
		"...bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccccccccccccccccccccccccccccccccc."
		"dddddddddddddddddddddddddddddddddddddddddddddddd");
}

static void test_quote(void **state)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[59] = '\xc3';
	longer[60] = '\xa9';
	assert_string_equal(tree_quote("a\nb\x7f", 4).s, "\"a?b?\"");
	assert_string_equal(tree_quote(longer, sizeof(longer)).s,
		"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"");
	assert_string_equal(tree_quote("", 0).s, "\"\"");
}

static void test_aliases_are_copies(void **state)
{
	static const char yaml[] = "base: &b {x: 1, list: [1, 2]}\n"
				   "copy: *b\n"
				   "again: &b 5\n"
				   "five: *b\n";
	auto_tree struct tree t = {0};
	struct tree_node *base, *copy;

	parse(&t, yaml);
	base = tree_find(t.documents[0], "base");
	copy = tree_find(t.documents[0], "copy");
	assert_ptr_not_equal(base, copy);
	assert_string_equal(tree_path(tree_find(copy, "list")->items[1]).s, "copy.list[1]");
	assert_int_equal(tree_find(copy, "list")->items[1]->line, 1);
	assert_int_equal(tree_find(t.documents[0], "five")->magnitude, 5);
	tree_find(base, "x")->used = true;
	assert_false(tree_find(copy, "x")->used);
}

static void test_merge(void **state)
{
	static const char yaml[] = "a: &a {u: 1, v: 2}\n"
				   "b: &b {v: 3, w: 4}\n"
				   "one: {<<: *a, v: 9}\n"
				   "two: {v: 9, <<: [*a, *b]}\n"
				   "three: {<<: [*a, *b]}\n"
				   "quoted: {\"<<\": 1}\n";
	static const struct {
		const char *map, *key;
		uint64_t value;
	} table[] = {{"one", "u", 1}, {"one", "v", 9}, {"two", "u", 1}, {"two", "v", 9}, {"two", "w", 4},
		{"three", "v", 2}, {"three", "w", 4}, {"quoted", "<<", 1}};
	auto_tree struct tree t = {0};

	parse(&t, yaml);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct tree_node *map = tree_find(t.documents[0], table[i].map),
				       *n = tree_find(map, table[i].key);

		assert_non_null(n);
		if (n->magnitude != table[i].value)
			fail_msg("%s: %llu", tree_path(n).s, (unsigned long long)n->magnitude);
		assert_ptr_equal(n->parent, map);
		assert_ptr_equal(map->items[n->index], n);
	}
	assert_int_equal(tree_find(t.documents[0], "two")->n, 3);
}

/* ---- limits ---- */

static void refuse(const struct buf *yaml, const char *wanted)
{
	auto_tree struct tree t = {0};
	struct err err = {0};

	assert_int_equal(tree_parse(&t, "t.yaml", (const char *)buf_data(yaml), yaml->len, &err), -EINVAL);
	if (!strstr(err.msg, wanted))
		fail_msg("message is: %s", err.msg);
}

static void repeat(struct buf *b, const char *text, size_t n)
{
	while (n--)
		assert_int_equal(buf_append_str(b, text), 0);
}

static void test_depth(void **state)
{
	auto_buf struct buf deep = BUF_INIT(16u << 20), aliases = BUF_INIT(1u << 20), ok = BUF_INIT(1u << 20);
	auto_tree struct tree t = {0};
	struct err err = {0};

	repeat(&deep, "[", 3u << 20);
	refuse(&deep, "nested more than 48 deep");
	/* Each line nests the one before it once more. */
	assert_int_equal(buf_append_str(&aliases, "a0: &a0 [x]\n"), 0);
	for (int i = 1; i < 60; i++)
		assert_int_equal(buf_printf(&aliases, "a%d: &a%d [*a%d]\n", i, i, i - 1), 0);
	refuse(&aliases, "nested more than 48 deep");
	repeat(&ok, "[", 47);
	repeat(&ok, "]", 47);
	assert_int_equal(tree_parse(&t, "t.yaml", (const char *)buf_data(&ok), ok.len, &err), 0);
}

static void test_laughs(void **state)
{
	auto_buf struct buf b = BUF_INIT(1u << 20);

	assert_int_equal(buf_append_str(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"), 0);
	for (int i = 1; i < 10; i++) {
		assert_int_equal(buf_printf(&b, "a%d: &a%d [", i, i), 0);
		for (int k = 0; k < 10; k++)
			assert_int_equal(buf_printf(&b, "*a%d,", i - 1), 0);
		repeat(&b, "]\n", 1);
	}
	refuse(&b, "more than 65536 values");
}

static void test_counts(void **state)
{
	auto_buf struct buf values = BUF_INIT(4u << 20), anchors = BUF_INIT(1u << 20), documents = BUF_INIT(1u << 20);
	auto_buf struct buf text = BUF_INIT(4u << 20);
	auto_tree struct tree t = {0};
	struct err err = {0};

	repeat(&values, "- a\n", 70000);
	refuse(&values, "t.yaml:65536: more than 65536 values");
	repeat(&anchors, "- &a a\n", 1025);
	refuse(&anchors, "t.yaml:1025: more than 1024 anchors");
	repeat(&documents, "---\na\n", 257);
	refuse(&documents, "t.yaml:513: more than 256 documents");
	/* Many aliases to one long text share it: this needs megabytes, not gigabytes. */
	repeat(&text, "- &a \"", 1);
	repeat(&text, "xxxxxxxxxxxxxxxx", 65536);
	repeat(&text, "\"\n", 1);
	repeat(&text, "- *a\n", 60000);
	assert_int_equal(tree_parse(&t, "t.yaml", (const char *)buf_data(&text), text.len, &err), 0);
	assert_int_equal(t.documents[0]->n, 60001);
	assert_true(t.mem.used < (32u << 20));
}

static void test_utf8_error_has_its_line(void **state)
{
	auto_tree struct tree t = {0};
	struct err err = {0};
	static const char yaml[] = "a: 1\nb: 2\nc: \xff\n";

	assert_int_equal(tree_parse(&t, "t.yaml", yaml, strlen(yaml), &err), -EINVAL);
	assert_string_equal(err.msg, "t.yaml:3: not valid YAML: invalid leading UTF-8 octet");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_nan),
		cmocka_unit_test(test_lines_and_paths),
		cmocka_unit_test(test_long_path_is_cut_on_the_left),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_aliases_are_copies),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_laughs),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_utf8_error_has_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
