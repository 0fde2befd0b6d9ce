/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documentation says what the tables say, and the examples run.
 *
 *   test_kube_docs docs/pod-yaml.md examples/x.yaml ...    checks
 *   test_kube_docs --write docs/pod-yaml.md                puts the tables into the page
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/fd.h"
#include "kube/schema.h"
#include "kube/test_kube.h"

#define BEGIN "<!-- fields: written by test_kube_docs --write -->\n"
#define END "<!-- end of fields -->\n"

static const char *page_path;
static char **examples;
static int n_examples;

/* The page with its tables made new. 0 or -1. */
static int render(struct buf *out, const char *page)
{
	const char *begin = strstr(page, BEGIN), *end = begin ? strstr(begin, END) : NULL;

	if (!end)
		return -1;
	if (buf_append(out, page, (size_t)(begin - page)) < 0 || buf_append_str(out, BEGIN "\n") < 0)
		return -1;
	if (schema_markdown(out) < 0)
		return -1;
	return buf_append_str(out, end) < 0 ? -1 : 0;
}

static char *read_page(const char *path)
{
	struct err err = {0};
	char *text = NULL;

	if (file_read(AT_FDCWD, path, 1u << 20, &text, NULL, &err) < 0)
		(void)fprintf(stderr, "%s\n", err.msg);
	return text;
}

static int write_page(const char *path)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	auto_free char *page = read_page(path);
	struct err err = {0};

	if (!page || render(&out, page) < 0)
		return 1;
	return file_write_atomic(AT_FDCWD, path, buf_data(&out), out.len, 0644, &err) < 0;
}

static void test_page_is_current(void **state)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	auto_free char *page = read_page(page_path);

	assert_non_null(page);
	assert_int_equal(render(&out, page), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	if (!str_eq((const char *)buf_data(&out), page))
		fail_msg("%s is not what the tables say: run test_kube_docs --write on it", page_path);
	assert_non_null(strstr(page, "| `spec.containers[].image` | string | supported | required |"));
	assert_non_null(strstr(page, "| `spec.hostNetwork` | bool | **error** |"));
}

static void test_examples_load(void **state)
{
	for (int i = 0; i < n_examples; i++) {
		auto_free char *text = read_page(examples[i]);
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;

		assert_non_null(text);
		print_message("%s\n", examples[i]);
		pod = test_load(text);
		/* An example shows what works: it has no field that does nothing. What is for a cluster may. */
		if (pod->notes.n && !strstr(examples[i], "deploy/"))
			fail_msg("%s", pod->notes.v[0]);
	}
}

/* What the demo and the README lean on. */
static void test_hello(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
	auto_free char *text = NULL;

	for (int i = 0; i < n_examples; i++)
		if (str_has_suffix(examples[i], "/hello.yaml"))
			text = read_page(examples[i]);
	assert_non_null(text);
	pod = test_load(text);
	assert_int_equal(pod->n_init, 1);
	assert_int_equal(pod->n_containers, 3);
	assert_string_equal(pod->containers[1].name, "web");
	assert_int_equal(pod->containers[1].ports[0].container_port, 8080);
	assert_non_null(strstr(pod->containers[1].args.v[0], "httpd -f -p 8080 "));
	assert_string_equal(pod->containers[2].name, "logger");
	assert_string_equal(test_env(&pod->containers[0], "GREETING"), "Hello");
	for (size_t i = 0; i < pod->n_containers; i++)
		assert_string_equal(pod->containers[i].image, "localhost/podvm-demo:latest");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_is_current),
		cmocka_unit_test(test_examples_load),
		cmocka_unit_test(test_hello),
	};

	if (argc == 3 && str_eq(argv[1], "--write"))
		return write_page(argv[2]);
	if (argc < 3)
		return 2;
	page_path = argv[1];
	examples = argv + 2;
	n_examples = argc - 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
