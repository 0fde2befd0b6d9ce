/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "image/tool.h"

static void the_message_is_found(void **state)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{"", ""},
		{"\n\n", ""},
		{"plain\n", "plain"},
		{"first\nlast", "last"},
		{"time=\"x\" level=warning msg=\"no\"\ntime=\"x\" level=fatal msg=\"Get \\\"https://a\\\": "
		 "no\\nhost\"\n",
			"Get \"https://a\": no host"},
		{"   \xe2\xa8\xaf create rootfs: unpack\n", "create rootfs: unpack"},
		{"msg=\"cut off", "cut off"},
		{"msg=\"ends in \\", "ends in \\"},
		{"escape \x1b[2J\x7f", "escape ?[2J?"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		char got[64];

		tool_message(got, sizeof(got), t[i].text);
		assert_string_equal(got, t[i].want);
	}
}

static void long_messages_are_cut(void **state)
{
	char text[1000], got[16];

	memset(text, 'x', sizeof(text));
	text[999] = '\0';
	tool_message(got, sizeof(got), text);
	assert_int_equal(strlen(got), 15);
}

static int run_sh(
	const char *script, char **ret_out, size_t max, void (*line)(void *, const char *), void *ctx, struct err *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct tool t = {.argv = argv, .lock_fd = null, .max_out = max, .ret_out = ret_out, .line = line, .ctx = ctx};
	int r = tool_run(&t, err);

	(void)close(null);
	return r;
}

static void output_is_collected_up_to_its_limit(void **state)
{
	struct err err = {0};
	char *out = NULL;

	assert_int_equal(run_sh("echo hello; echo noise >&2", &out, 100, NULL, NULL, &err), 0);
	assert_string_equal(out, "hello\n");
	free(out);
	assert_int_equal(run_sh("yes | head -c 100000", &out, 100, NULL, NULL, &err), -EFBIG);
}

static void failures_say_what_the_tool_said(void **state)
{
	struct err err = {0};

	assert_int_equal(run_sh("echo first >&2; echo 'it broke' >&2; exit 3", NULL, 0, NULL, NULL, &err), -EIO);
	assert_string_equal(err.msg, "sh: it broke");
	assert_int_equal(run_sh("exit 3", NULL, 0, NULL, NULL, &err), -EIO);
	assert_string_equal(err.msg, "sh: failed without a message");
	assert_int_equal(
		run_sh("echo 'write x: no space left on device' >&2; exit 1", NULL, 0, NULL, NULL, &err), -ENOSPC);
	assert_int_equal(run_sh("kill -9 $$", NULL, 0, NULL, NULL, &err), -EINTR);
	/* More than the tail that is kept. */
	assert_int_equal(run_sh("yes | head -c 100000 >&2; echo end >&2; exit 1", NULL, 0, NULL, NULL, &err), -EIO);
	assert_string_equal(err.msg, "sh: end");
}

static void a_missing_tool_is_named(void **state)
{
	static const char *const argv[] = {"podvm-no-such-tool", NULL};
	struct tool t = {.argv = argv, .lock_fd = STDIN_FILENO};
	struct err err = {0};

	assert_int_equal(tool_run(&t, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "podvm-no-such-tool is not installed"));
}

static void add_line(void *ctx, const char *text)
{
	char *all = ctx;

	strcat(all, "[");
	strcat(all, text);
	strcat(all, "]");
}

static void lines_arrive_one_by_one(void **state)
{
	char all[256] = "";
	struct err err = {0};

	assert_int_equal(run_sh("printf 'a\\n\\nb\\033c\\nunfinished'", NULL, 0, add_line, all, &err), 0);
	assert_string_equal(all, "[a][b?c]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_message_is_found),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(output_is_collected_up_to_its_limit),
		cmocka_unit_test(failures_say_what_the_tool_said),
		cmocka_unit_test(a_missing_tool_is_named),
		cmocka_unit_test(lines_arrive_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
