/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/containerd_config.h"

static const struct containerd_handler podvm = {.name = "podvm", .sandboxer = "shim"};

static void what_is_certain_is_read(void **state)
{
	static const struct {
		const char *text, *dir;
		unsigned version;
	} t[] = {
		{"version = 2\n", "", 2},
		{"# version = 3\n  version=2 # two\n", "", 2},
		{"version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "/etc/containerd/conf.d", 3},
		{"imports = ['/a/one.toml', '/b/*.toml', \"/c/*.toml\"]\nversion = 3", "/b", 3},
		{"version = 3\nimports = [\"relative/*.toml\"]\n", "", 3},
		{"version = 3\n[plugins]\nversion = 7\nimports = [\"/x/*.toml\"]\n", "", 3},
		{"version = 3\nimports = [\"/unclosed/*.toml\n", "", 3},
		{"version = 2\n# podvm\n[x.podvm2]\ny = \"my-podvm\" # podvm\n", "", 2},
		{"version = 2\ndisabled_plugins = [\"aufs\"]\n", "", 2},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct containerd_config c = {0};
		struct err err = {0};

		assert_int_equal(containerd_config_read(t[i].text, "podvm", &c, &err), 0);
		assert_int_equal(c.version, t[i].version);
		assert_string_equal(c.import_dir, t[i].dir);
		assert_false(c.installed);
	}
}

static void what_is_not_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{"", "version 1"},
		{"disabled_plugins = [\"cri\"]\n", "turns Kubernetes' interface (CRI) off"},
		{"version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n", "(CRI) off"},
		{"version = 1\n", "version 1"},
		{"version = 4\n", "version 4"},
		{"version = two\n", "no number"},
		{"version = 99999999999999999999\n", "no number"},
		{"[plugins]\nversion = 2\n", "version 1"},
		{"{{ template \"base\" . }}\n", "template"},
		{"version = 2\n[plugins.x.containerd.runtimes.podvm]\n", "names 'podvm' already"},
		{"version = 2\n[plugins.x.containerd.runtimes]\npodvm = {}\n", "names 'podvm' already"},
		{"version = 2\n[a.\"podvm\"]\n", "names 'podvm' already"},
		{"version = 2\n# BEGIN podvm: made by 'podvm install', taken out by 'podvm uninstall'\n[x]\n",
			"by hand"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct containerd_config c = {0};
		struct err err = {0};

		assert_int_equal(containerd_config_read(t[i].text, "podvm", &c, &err), -EINVAL);
		assert_non_null(strstr(err.msg, t[i].want));
	}
}

static void what_was_added_is_taken_out_byte_for_byte(void **state)
{
	static const char *const texts[] = {
		"", "version = 2\n", "version = 3", "version = 3\n\n\n", "\n", "version = 2\n[a]\nb = 1"};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_buf struct buf with = BUF_INIT(4096);
		auto_buf struct buf without = BUF_INIT(4096);
		struct containerd_config c = {0};
		struct err err = {0};

		assert_int_equal(containerd_config_add(texts[i], &(struct containerd_config){.version = 3}, &podvm,
					 NULL, &with, &err),
			0);
		assert_int_equal(buf_append(&with, "", 1), 0);
		assert_non_null(strstr((char *)buf_data(&with), ".containerd.runtimes.podvm]\n"));
		if (i == 1 || i == 2) {
			assert_int_equal(containerd_config_read((char *)buf_data(&with), "podvm", &c, &err), 0);
			assert_true(c.installed);
		}
		assert_int_equal(containerd_config_remove((char *)buf_data(&with), &without, &err), 0);
		assert_int_equal(without.len, strlen(texts[i]));
		assert_memory_equal(buf_data(&without) ? (char *)buf_data(&without) : "", texts[i], without.len);
	}
}

static void a_text_without_the_section_stays(void **state)
{
	auto_buf struct buf out = BUF_INIT(4096);
	struct err err = {0};

	assert_int_equal(containerd_config_remove("version = 2\n", &out, &err), 1);
	assert_int_equal(out.len, strlen("version = 2\n"));
}

static void version_2_knows_no_sandboxer(void **state)
{
	for (unsigned v = 2; v <= 3; v++) {
		auto_buf struct buf out = BUF_INIT(4096);
		struct err err = {0};

		assert_int_equal(containerd_config_section(v, &podvm, NULL, &out, &err), 0);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_int_equal(strstr((char *)buf_data(&out), "sandboxer = \"shim\"") != NULL, v == 3);
		assert_int_equal(strstr((char *)buf_data(&out), "grpc.v1.cri") != NULL, v == 2);
	}
}

static void handlers_that_containerd_would_forget_are_repeated(void **state)
{
	static const char dump[] = "[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]\n\n"
				   "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n      a = 1\n"
				   "  [plugins.\"other\"]\n  b = 2\n";
	static const struct {
		struct containerd_config c;
		bool want;
	} t[] = {{{.version = 2}, true}, {{.version = 2, .has_runtimes = true}, false}, {{.version = 3}, false}};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		auto_buf struct buf out = BUF_INIT(4096);
		struct err err = {0};

		assert_int_equal(containerd_config_add("", &t[i].c, &podvm, dump, &out, &err), 0);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_int_equal(strstr((char *)buf_data(&out), ".runtimes.runc]\n  a = 1\n[") != NULL, t[i].want);
		assert_null(strstr((char *)buf_data(&out), "b = 2"));
	}
}

static void a_limit_is_an_error(void **state)
{
	auto_buf struct buf out = BUF_INIT(64);
	struct err err = {0};

	assert_true(containerd_config_add(
			    "version = 3\n", &(struct containerd_config){.version = 3}, &podvm, NULL, &out, &err) < 0);
	assert_non_null(strstr(err.msg, "too large"));
}

static void a_lost_line_is_found(void **state)
{
	static const char before[] = "imports = [\"a\"]\n[x]\n  a = 1\n";
	struct err err = {0};

	assert_int_equal(containerd_config_compare(before,
				 "imports = [\"b\"]\n[x]\n    a = 1\n[p.containerd.runtimes.podvm]\n", "podvm", &err),
		0);
	assert_int_equal(containerd_config_compare(before, "[x]\n  a = 1\n", "podvm", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "would not see"));
	assert_int_equal(
		containerd_config_compare(before, "[x]\n[p.containerd.runtimes.podvm]\n", "podvm", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "lose the line 'a = 1'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_certain_is_read),
		cmocka_unit_test(what_is_not_is_refused_with_the_reason),
		cmocka_unit_test(what_was_added_is_taken_out_byte_for_byte),
		cmocka_unit_test(a_text_without_the_section_stays),
		cmocka_unit_test(version_2_knows_no_sandboxer),
		cmocka_unit_test(handlers_that_containerd_would_forget_are_repeated),
		cmocka_unit_test(a_limit_is_an_error),
		cmocka_unit_test(a_lost_line_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
