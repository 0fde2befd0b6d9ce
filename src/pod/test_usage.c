/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/usage.h"

static char top[] = "/tmp/podvm-usage.XXXXXX";

static int make_folder(void **state)
{
	(void)strcpy(top + sizeof(top) - 7, "XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return dir_remove_all(AT_FDCWD, top, NULL);
}

static int open_top(void)
{
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put(int dir, const char *name, size_t bytes)
{
	auto_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	auto_free char *text = malloc(bytes + 1);

	memset(text, 'x', bytes);
	assert_int_equal(fd_write_all(fd, text, bytes), 0);
	assert_int_equal(fsync(fd), 0); /* blocks are counted when they are given out */
}

static unsigned count(struct usage *u, unsigned n)
{
	unsigned steps = 1;

	usage_begin(u, open_top());
	while (!usage_step(u, n))
		steps++;
	return steps;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void counts_in_steps(void **state)
{
	auto_close int dir = open_top();
	struct usage u = {0};
	uint64_t empty, once;

	assert_true(count(&u, 1000) == 1);
	empty = u.bytes;
	put(dir, "a", 100000);
	assert_int_equal(mkdirat(dir, "d", 0700), 0);
	put(dir, "d/b", 300000);
	assert_int_equal(symlinkat("/", dir, "link"), 0);
	assert_true(count(&u, 1000) == 1);
	once = u.bytes;
	assert_in_range(once - empty, 400000, 500000);
	/* The same by single entries: each folder has ".", ".." and its end besides. */
	assert_int_equal(count(&u, 1), 10);
	assert_int_equal(u.bytes, once);
}

static void a_tree_without_end_is_over_any_limit(void **state)
{
	unsigned before = open_fds();
	struct usage u = {0};
	int dir = open_top();

	for (unsigned i = 0; i < USAGE_DEPTH_MAX + 5; i++) {
		int below;

		assert_int_equal(mkdirat(dir, "d", 0700), 0);
		below = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		(void)close(dir);
		dir = below;
	}
	(void)close(dir);
	(void)count(&u, 10);
	assert_true(u.bytes == UINT64_MAX);
	assert_int_equal(open_fds(), before);
}

static void stops_in_the_middle(void **state)
{
	unsigned before = open_fds();
	struct usage u = {0};
	int dir = open_top();

	assert_int_equal(mkdirat(dir, "d", 0700), 0);
	put(dir, "d/f", 1);
	(void)close(dir);
	usage_begin(&u, open_top());
	(void)usage_step(&u, 3);
	usage_end(&u);
	usage_end(&u);
	assert_int_equal(open_fds(), before);
	usage_begin(&u, -1);
	assert_true(usage_step(&u, 1));
	assert_int_equal(u.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts_in_steps, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_tree_without_end_is_over_any_limit, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(stops_in_the_middle, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
