/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/podlog.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"

static char dir[] = "/tmp/podvm-test-podlog.XXXXXX";

static int setup(void **state)
{
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	return chdir("/") == 0 ? dir_remove_all(AT_FDCWD, dir, NULL) : -1;
}

static void what_is_written_is_read_back(void **state)
{
	static const struct {
		const char *source, *text;
	} lines[] = {{"container/web", "hello  world "}, {"console", ""}, {"podvm", "F P - stdout"},
		{"agent", "\x01\x1b[31m\xff"}};
	struct podlog *log = NULL;
	char *text = NULL, *at, *end;
	size_t len;

	assert_int_equal(podlog_open(&log, dir, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		podlog_write(log, lines[i].source, i ? "-" : "stdout", lines[i].text, strlen(lines[i].text));
	podlog_close(log);
	assert_int_equal(file_read(AT_FDCWD, "log", 100000, &text, &len, NULL), 0);
	at = text;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++, at = end + 1) {
		struct podlog_record r;

		end = strchr(at, '\n');
		assert_non_null(end);
		*end = '\0';
		assert_int_equal(podlog_parse(&r, at, (size_t)(end - at)), 0);
		assert_string_equal(r.source, lines[i].source);
		assert_string_equal(r.stream, i ? "-" : "stdout");
		assert_int_equal(r.text_len, strlen(lines[i].text));
		assert_memory_equal(r.text, lines[i].text, r.text_len);
		assert_true(r.time_ns > UINT64_C(1700000000000000000));
		assert_int_equal(r.partial, 0);
	}
	assert_ptr_equal(at, text + len);
	free(text);
}

static void long_lines_become_parts(void **state)
{
	size_t size = PODLOG_TEXT_MAX * 2 + 5, len, n = 0;
	auto_free char *line = malloc(size), *text = NULL;
	struct podlog *log = NULL;

	memset(line, 'x', size);
	assert_int_equal(unlink("log"), 0);
	assert_int_equal(podlog_open(&log, dir, NULL), 0);
	podlog_write(log, "console", "-", line, size);
	podlog_close(log);
	assert_int_equal(file_read(AT_FDCWD, "log", 100000, &text, &len, NULL), 0);
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, n++) {
		struct podlog_record r;

		*end = '\0';
		assert_int_equal(podlog_parse(&r, at, (size_t)(end - at)), 0);
		assert_int_equal(r.partial, n < 2);
		assert_int_equal(r.text_len, n < 2 ? PODLOG_TEXT_MAX : 5);
	}
	assert_int_equal(n, 3);
}

static void the_file_is_rotated_and_bounded(void **state)
{
	static char line[PODLOG_TEXT_MAX];
	struct podlog *log = NULL;
	struct stat now, old;

	memset(line, 'y', sizeof(line));
	assert_int_equal(unlink("log"), 0);
	assert_int_equal(podlog_open(&log, dir, NULL), 0);
	for (size_t i = 0; i < 3u * PODLOG_FILE_MAX / sizeof(line); i++)
		podlog_write(log, "console", "-", line, sizeof(line));
	podlog_close(log);
	assert_int_equal(stat("log", &now), 0);
	assert_int_equal(stat("log.1", &old), 0);
	assert_true(now.st_size <= PODLOG_FILE_MAX + 2 * PODLOG_TEXT_MAX);
	assert_true(old.st_size <= PODLOG_FILE_MAX + 2 * PODLOG_TEXT_MAX);
}

static void other_lines_are_refused(void **state)
{
	static const char *const bad[] = {"", " ", "x", "2026-11-23T08:30:00.123456789Z",
		"2026-11-23T08:30:00.123456789Z a b F", "2026-11-23T08:30:00.123456789Z a b X text",
		"2026-11-23T08:30:00Z a b F text", "2026-11-23T08:30:00.12345678xZ a b F text", "9999 a b F text",
		"2026-11-23T08:30:00.123456789Z  b F text"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct podlog_record r;
		char line[100];

		(void)snprintf(line, sizeof(line), "%s", bad[i]);
		assert_int_equal(podlog_parse(&r, line, strlen(line)), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(long_lines_become_parts),
		cmocka_unit_test(the_file_is_rotated_and_bounded),
		cmocka_unit_test(other_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
