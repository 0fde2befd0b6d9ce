/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/paths.h"

static void defaults_without_variables(void **state)
{
	struct err err = {0};

	unsetenv("PODVM_RUN");
	unsetenv("PODVM_STATE");
	unsetenv("PODVM_LIBEXEC");
	assert_string_equal(path_run(), "/run/podvm");
	assert_string_equal(path_state(), "/var/lib/podvm");
	assert_int_equal(paths_check(&err), 0);
}

static void variables_move_folders(void **state)
{
	struct err err = {0};

	setenv("PODVM_RUN", "/a/run", 1);
	setenv("PODVM_STATE", "/a/state", 1);
	assert_string_equal(path_run(), "/a/run");
	assert_string_equal(path_state(), "/a/state");
	assert_int_equal(paths_check(&err), 0);
}

static void bad_variables_are_named(void **state)
{
	static const struct {
		const char *variable, *value;
	} bad[] = {
		{"PODVM_RUN", "relative"},
		{"PODVM_STATE", ""},
		{"PODVM_LIBEXEC", "."},
		{"PODVM_RUN", "/0123456789012345678901234567890123456789012345678901234567890123456789"
			      "0123456789012345678901234567890123456789012345678901234567890123456789"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		unsetenv("PODVM_RUN");
		unsetenv("PODVM_STATE");
		unsetenv("PODVM_LIBEXEC");
		setenv(bad[i].variable, bad[i].value, 1);
		assert_int_equal(paths_check(&err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i].variable));
		assert_string_equal(path_run(), "/run/podvm");
		assert_string_equal(path_state(), "/var/lib/podvm");
	}
}

static void helper_is_found_in_a_list(void **state)
{
	char dir[] = "/tmp/podvm-test-XXXXXX", list[128], want[PATH_LEN], got[PATH_LEN];
	struct err err = {0};
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(want, sizeof(want), "%s/tool", dir);
	snprintf(list, sizeof(list), "/nonexistent:%s", dir);
	setenv("PODVM_LIBEXEC", list, 1);
	assert_int_equal(path_helper(got, "tool", &err), -ENOENT);
	assert_non_null(strstr(err.msg, dir));

	f = fopen(want, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(chmod(want, 0644), 0);
	assert_int_equal(path_helper(got, "tool", &err), -ENOENT); /* not executable */
	assert_int_equal(chmod(want, 0755), 0);
	assert_int_equal(path_helper(got, "tool", &err), 0);
	assert_string_equal(got, want);

	/* Without the variable the folder of this test program is the first choice. */
	unsetenv("PODVM_LIBEXEC");
	assert_int_equal(path_helper(got, "test_base_paths", &err), 0);
	assert_int_equal(path_helper(got, "no such tool", &err), -ENOENT);
	unlink(want);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_without_variables),
		cmocka_unit_test(variables_move_folders),
		cmocka_unit_test(bad_variables_are_named),
		cmocka_unit_test(helper_is_found_in_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
