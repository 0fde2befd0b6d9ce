/* SPDX-License-Identifier: Apache-2.0 */
/* Which volumes are taken for ones that the kubelet's atomic writer keeps. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "shim/live.h"

static char top[] = "/tmp/podvm-live.XXXXXX";
static int dir = -1;

static int make_folder(void **state)
{
	(void)strcpy(top + sizeof(top) - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return mkdirat(dir, "..v1", 0755) < 0 || symlinkat("..v1", dir, "..data") < 0 ||
			       mkdirat(dir, "..v1/sub", 0755) < 0 || mknodat(dir, "..v1/key", S_IFREG | 0644, 0) < 0 ||
			       symlinkat("..data/key", dir, "key") < 0 || symlinkat("..data/sub", dir, "sub") < 0
		       ? -1
		       : 0;
}

static int remove_folder(void **state)
{
	close_fd(&dir);
	return dir_remove_all(AT_FDCWD, top, NULL);
}

/* As live_recognise. */
static int recognise(void)
{
	char data[300];
	uint64_t bytes = 0;
	int r = live_recognise(dir, data, sizeof(data), &bytes);

	if (r > 0)
		assert_string_equal(data, "..v1");
	assert_true(bytes <= LIVE_BYTES_MAX);
	return r;
}

static void the_kubelets(void **state)
{
	assert_int_equal(recognise(), 1);
	assert_int_equal(mkdirat(dir, "..v0", 0755), 0); /* the former one, not yet removed */
	assert_int_equal(recognise(), 1);
}

static void other_folders(void **state)
{
	static const char *const bad_data[] = {"v1", "..", "../x", "..v1/sub", "/etc"};

	for (size_t i = 0; i < ARRAY_SIZE(bad_data); i++) {
		assert_int_equal(unlinkat(dir, "..data", 0), 0);
		assert_int_equal(symlinkat(bad_data[i], dir, "..data"), 0);
		assert_int_equal(recognise(), 0);
	}
	assert_int_equal(unlinkat(dir, "..data", 0), 0);
	assert_int_equal(recognise(), 0);
	assert_int_equal(symlinkat("..v1", dir, "..data"), 0);
	assert_int_equal(symlinkat("..data/key", dir, "other"), 0); /* of another name */
	assert_int_equal(recognise(), 0);
	assert_int_equal(unlinkat(dir, "other", 0), 0);
	assert_int_equal(mknodat(dir, "own", S_IFREG | 0644, 0), 0); /* something of the user's */
	assert_int_equal(recognise(), 0);
}

static void a_link_as_the_data_folder_is_not_followed(void **state)
{
	assert_int_equal(renameat(dir, "..v1", dir, "..v2"), 0);
	assert_int_equal(symlinkat("..v2", dir, "..v1"), 0);
	assert_true(recognise() <= 0);
}

static void large_ones(void **state)
{
	int fd = openat(dir, "..v1/sub/large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char name[32];

	assert_int_equal(ftruncate(fd, LIVE_BYTES_MAX), 0);
	assert_int_equal(recognise(), 1);
	assert_int_equal(ftruncate(fd, LIVE_BYTES_MAX + 1), 0);
	assert_int_equal(recognise(), -EFBIG);
	(void)close(fd);
	assert_int_equal(unlinkat(dir, "..v1/sub/large", 0), 0);
	for (unsigned i = 0; i < LIVE_FILES_MAX - 2; i++) {
		(void)snprintf(name, sizeof(name), "..v1/sub/%u", i);
		assert_int_equal(mknodat(dir, name, S_IFREG | 0644, 0), 0);
	}
	assert_int_equal(recognise(), 1);
	assert_int_equal(mknodat(dir, "..v1/one-more", S_IFREG | 0644, 0), 0);
	assert_int_equal(recognise(), -EFBIG);
}

static void a_fifo_is_no_file_of_the_kubelets(void **state)
{
	assert_int_equal(mkfifoat(dir, "..v1/fifo", 0644), 0);
	assert_true(recognise() <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_kubelets, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(other_folders, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_link_as_the_data_folder_is_not_followed, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(large_ones, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_fifo_is_no_file_of_the_kubelets, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
