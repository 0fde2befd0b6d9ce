/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files made to cost: each must end with its error (or load) in bounded time and memory. And a property: whatever a good file
 * is turned into by random edits, the loader answers with a pod or with one readable line. argv[1..] are good files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/fd.h"
#include "kube/pool.h"
#include "kube/test_kube.h"

static char **seed_paths;
static int n_seeds;

#define HEAD "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"

static void refuse(const struct buf *b, int code, const char *wanted)
{
	struct kube_pod *pod = NULL;
	struct err err = {0};
	uint64_t start = time_mono_ns();
	int r = kube_load(&pod, "t.yaml", (const char *)buf_data(b), b->len, &test_context, &err);

	if (r != -code || pod)
		fail_msg("result %d: %s", r, err.msg);
	if (!strstr(err.msg, wanted))
		fail_msg("message is: %s", err.msg);
	/* Generous, for sanitizers on a loaded machine: what these catch would take minutes. */
	assert_true(time_mono_ns() - start < 20000000000u);
}

static void add(struct buf *b, const char *text, size_t times)
{
	while (times--)
		assert_int_equal(buf_append_str(b, text), 0);
}

static void test_size_of_file(void **state)
{
	auto_buf struct buf b = BUF_INIT(8u << 20);

	add(&b, "# 16 characters\n", (KUBE_YAML_MAX >> 4) + 1);
	refuse(&b, E2BIG, "t.yaml: larger than 3 MiB; is this the right file?");
}

static void test_counts(void **state)
{
	static const struct {
		const char *head, *each, *tail, *wanted;
		size_t times;
	} table[] = {
		{HEAD "  containers:\n", "  - {name: a%zu, image: i}\n", "",
			"t.yaml:6: spec.containers: 65 containers in all", 65},
		{HEAD "  containers: [{name: a, image: i}]\n  volumes:\n", "  - {name: v%zu, emptyDir: {}}\n", "",
			"t.yaml:7: spec.volumes: 65 volumes", 65},
		{HEAD "  containers:\n  - name: a\n    image: i\n    env:\n", "    - {name: v%zu, value: x}\n", "",
			"spec.containers[0].env[1024]: more than 1024 variables", 1025},
		{HEAD "  containers:\n  - name: a\n    image: i\n    ports:\n", "    - {containerPort: %zu}\n", "",
			"257 ports", 257},
		{HEAD "  containers:\n  - name: a\n    image: i\n    volumeMounts:\n",
			"    - {name: v, mountPath: /%zu}\n", "  volumes: [{name: v, emptyDir: {}}]\n", "257 mounts",
			257},
		{HEAD "  containers: [{name: a, image: i}]\n  hostAliases:\n", "  - {ip: 1.2.3.4, hostnames: [a%zu]}\n",
			"", "1025 entries; at most 1024", 1025},
		{HEAD "  containers: [{name: a, image: i}]\n  securityContext:\n    sysctls:\n",
			"    - {name: a.b%zu, value: \"\"}\n", "", "65 sysctls", 65},
		{HEAD "  containers: [{name: a, image: i}]\n  securityContext:\n    supplementalGroups:\n",
			"    - %zu\n", "", "65 groups", 65},
		{HEAD "  containers: [{name: a, image: i}]\n  volumes:\n  - name: v\n    configMap:\n      name: c\n   "
		      "   items:\n",
			"      - {key: k, path: p%zu}\n", CONFIG_MAP "data: {k: v}\n", "more than 4096 files", 4097},
		{HEAD "  containers: [{name: a, image: i}]\n---\n",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%zu}\n---\n", "", "more than 256 documents",
			256},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_buf struct buf b = BUF_INIT(1u << 20);

		add(&b, table[i].head, 1);
		for (size_t k = 0; k < table[i].times; k++) {
			char line[256];
			const char *mark = strstr(table[i].each, "%zu");

			(void)snprintf(line, sizeof(line), "%.*s%zu%s", (int)(mark - table[i].each), table[i].each,
				k + (strstr(table[i].each, "Port") != NULL), mark + 3);
			add(&b, line, 1);
		}
		add(&b, table[i].tail, 1);
		refuse(&b, EINVAL, table[i].wanted);
	}
}

/* $(A)$(A)...: each variable ten times the one before it. */
static void test_variables_that_multiply(void **state)
{
	auto_buf struct buf b = BUF_INIT(1u << 20);

	add(&b, HEAD "  containers:\n  - name: a\n    image: i\n    env:\n    - {name: V0, value: xxxxxxxxxx}\n", 1);
	for (int i = 1; i < 30; i++) {
		assert_int_equal(buf_printf(&b, "    - {name: V%d, value: ", i), 0);
		for (int k = 0; k < 10; k++)
			assert_int_equal(buf_printf(&b, "$(V%d)", i - 1), 0);
		add(&b, "}\n", 1);
	}
	refuse(&b, EINVAL, "spec.containers[0].env[5].value: is longer than 128 KiB with its variables");
}

static void test_arguments_that_multiply(void **state)
{
	auto_buf struct buf b = BUF_INIT(1u << 20);

	add(&b, HEAD "  containers:\n  - name: a\n    image: i\n    env:\n    - name: V\n      value: ", 1);
	add(&b, "xxxxxxxxxx", 10000);
	add(&b, "\n    args:\n", 1);
	add(&b, "    - $(V)\n", 11);
	refuse(&b, EINVAL, "spec.containers[0].args: command, args and env are larger than 1 MiB together");
}

/* A search for ')' behind every "$(" would take the square of its length. */
static void test_unclosed_references_are_linear(void **state)
{
	auto_buf struct buf b = BUF_INIT(4u << 20);

	add(&b, HEAD "  containers:\n  - name: a\n    image: i\n    args:\n", 1);
	add(&b, "    - \"", 1);
	add(&b, "$($($($($($($($(", 150000);
	add(&b, "\"\n", 1);
	refuse(&b, EINVAL, "spec.containers[0].args[0]: is longer than 128 KiB");
}

static void test_size_of_config(void **state)
{
	auto_buf struct buf b = BUF_INIT(4u << 20);

	add(&b, POD CONFIG_MAP "data:\n  a: \"", 1);
	add(&b, "xxxxxxxxxxxxxxxx", 40000);
	add(&b, "\"\n  b: \"", 1);
	add(&b, "xxxxxxxxxxxxxxxx", 40000);
	add(&b, "\"\n", 1);
	refuse(&b, EINVAL, "t.yaml:14: data.b: the ConfigMap is larger than 1 MiB here; split it");
}

static void test_annotations(void **state)
{
	auto_buf struct buf b = BUF_INIT(4u << 20);

	add(&b, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    a: \"", 1);
	add(&b, "xxxxxxxxxxxxxxxx", 16384);
	add(&b, "\"\nspec: {containers: [{name: a, image: i}]}\n", 1);
	refuse(&b, EINVAL, "t.yaml:6: metadata.annotations.a: the annotations are larger than 256 KiB here");
}

/* A large key, written to many places. */
static void test_files_that_multiply(void **state)
{
	auto_buf struct buf b = BUF_INIT(4u << 20);

	add(&b,
		HEAD "  containers: [{name: a, image: i}]\n  volumes:\n  - name: v\n    configMap:\n      name: c\n    "
		     "  items:\n",
		1);
	for (int i = 0; i < 70; i++)
		assert_int_equal(buf_printf(&b, "      - {key: k, path: p%d}\n", i), 0);
	add(&b, CONFIG_MAP "data:\n  k: \"", 1);
	add(&b, "xxxxxxxxxxxxxxxx", 65536);
	add(&b, "\"\n", 1);
	refuse(&b, EINVAL, "spec.volumes[0].configMap.items[64].path: more than 4096 files or 64 MiB in all volumes");
}

/* A variable of 128 KiB in each of many containers is a pod that no machine wants. */
static void test_memory_of_pod(void **state)
{
	auto_buf struct buf b = BUF_INIT(4u << 20);

	add(&b, HEAD "  containers:\n", 1);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(buf_printf(&b, "  - name: a%d\n    image: i\n    env:\n", i), 0);
		for (int k = 0; k < 15; k++)
			assert_int_equal(
				buf_printf(
					&b, "    - {name: V%d, valueFrom: {configMapKeyRef: {name: c, key: k}}}\n", k),
				0);
		/* The same again, which replaces the first: the sum stays below its limit. */
		for (int k = 0; k < 15; k++)
			assert_int_equal(
				buf_printf(
					&b, "    - {name: V%d, valueFrom: {configMapKeyRef: {name: c, key: k}}}\n", k),
				0);
	}
	add(&b, CONFIG_MAP "data:\n  k: \"", 1);
	add(&b, "xxxxxxxxxxxxxxxx", 4096);
	add(&b, "\"\n", 1);
	refuse(&b, E2BIG, "t.yaml: the pod is larger than 96 MiB with all references followed");
}

/* ---- random edits ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* One edit: a byte changed, a line doubled, removed or moved, a word put in. */
static size_t edit(char *text, size_t len, size_t size)
{
	static const char *const words[] = {"null", "[]", "{}", "&a ", "*a ", "- ", ": ", "\"", "''", "yes",
		"0x7fffffff", "-1", "1e99", "$(", ")", "|", "\n", "  ", "\t", "..", "/", "99999999999999999999",
		"<<: *a\n", "\\0", "~", "!!int ", "{", "]", "#", "---\n"};
	const char *word = words[next_random(ARRAY_SIZE(words))];
	size_t at = next_random(len ? len : 1), n = strlen(word), end;

	switch (next_random(5)) {
	case 0:
		if (len)
			text[at] = (char)(next_random(8) ? 0x20 + next_random(0x5f) : next_random(256));
		return len;
	case 1:
		if (len + n >= size)
			return len;
		memmove(text + at + n, text + at, len - at);
		memcpy(text + at, word, n);
		return len + n;
	case 2: /* a line away */
		for (end = at; end < len && text[end] != '\n'; end++)
			;
		memmove(text + at, text + end, len - end);
		return len - (end - at);
	case 3: /* a part twice */
		n = next_random(200);
		n = MIN_OF(n, len - at);
		if (len + n >= size)
			return len;
		memmove(text + at + n, text + at, len - at);
		return len + n;
	default: /* a part away */
		n = next_random(20);
		n = MIN_OF(n, len - at);
		memmove(text + at, text + at + n, len - at - n);
		return len - n;
	}
}

static void check_answer(const char *text, size_t len)
{
	struct kube_pod *pod = NULL;
	struct err err = {0};
	int r = kube_load(&pod, "t.yaml", text, len, &test_context, &err);

	if (r == 0 ? (!pod || err.code) : (pod || err.code != -r || (r != -EINVAL && r != -E2BIG)))
		fail_msg("result %d: %s\n--- for ---\n%.*s", r, err.msg, (int)len, text);
	if (r < 0 && (!str_has_prefix(err.msg, "t.yaml:") || strlen(err.msg) < 10))
		fail_msg("message is: %s", err.msg);
	for (const char *p = err.msg; *p; p++)
		if ((unsigned char)*p < 0x20)
			fail_msg("message has a control character: %s", err.msg);
	kube_pod_free(pod);
}

static void test_random_edits(void **state)
{
	static char text[1u << 16];

	for (int s = 0; s < n_seeds; s++) {
		auto_free char *seed = NULL;
		size_t seed_len;
		struct err err = {0};

		if (file_read(AT_FDCWD, seed_paths[s], sizeof(text) / 2, &seed, &seed_len, &err) < 0)
			fail_msg("%s", err.msg);
		check_answer(seed, seed_len);
		for (int i = 0; i < 3000; i++) {
			size_t len = seed_len;

			memcpy(text, seed, seed_len);
			for (uint64_t n = 1 + next_random(6); n > 0; n--)
				len = edit(text, len, sizeof(text));
			check_answer(text, len);
		}
	}
}

static void test_pool(void **state)
{
	struct pool p = {.limit = 100};

	assert_non_null(pool_alloc(&p, 60));
	assert_false(p.full);
	assert_null(pool_alloc(&p, 41));
	assert_true(p.full);
	assert_null(pool_alloc(&p, SIZE_MAX));
	assert_null(pool_array(&p, SIZE_MAX / 2, 4));
	assert_string_equal(pool_printf(&p, "%s-%d", "a", 7), "a-7");
	assert_string_equal(pool_copy(&p, "abc", 2), "ab");
	pool_fini(&p);
	assert_int_equal(p.used, 0);
	assert_non_null(pool_alloc(&p, 100));
	pool_fini(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_of_file),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_variables_that_multiply),
		cmocka_unit_test(test_arguments_that_multiply),
		cmocka_unit_test(test_unclosed_references_are_linear),
		cmocka_unit_test(test_size_of_config),
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_files_that_multiply),
		cmocka_unit_test(test_memory_of_pod),
		cmocka_unit_test(test_random_edits),
		cmocka_unit_test(test_pool),
	};

	if (argc < 2)
		return 2;
	seed_paths = argv + 1;
	n_seeds = argc - 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
