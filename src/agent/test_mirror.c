/* SPDX-License-Identifier: Apache-2.0 */
/* The copy of a folder that the kubelet's atomic writer keeps: what is in it, and what a watcher of it hears. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/mirror.h"
#include "base/bytes.h"
#include "base/fd.h"

static char top[] = "/tmp/podvm-mirror.XXXXXX";
static int top_fd = -1, src = -1, dst = -1;

static int make_folders(void **state)
{
	(void)strcpy(top + sizeof(top) - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(top_fd, "src", 0755) < 0 || mkdirat(top_fd, "dst", 0700) < 0)
		return -1;
	src = openat(top_fd, "src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dst = openat(top_fd, "dst", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return src < 0 || dst < 0 ? -1 : 0;
}

static int remove_folders(void **state)
{
	close_fd(&src);
	close_fd(&dst);
	close_fd(&top_fd);
	return dir_remove_all(AT_FDCWD, top, NULL);
}

static void write_file(int dir, const char *path, const char *text, mode_t mode)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

/* A version of the folder: its files say its name. */
static void write_version(const char *name, const char *const *keys)
{
	char path[128], target[128];

	assert_int_equal(mkdirat(src, name, 0755), 0);
	for (size_t i = 0; keys[i]; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", name, keys[i]);
		write_file(src, path, name, 0640);
		(void)snprintf(target, sizeof(target), "..data/%s", keys[i]);
		assert_true(symlinkat(target, src, keys[i]) == 0 || errno == EEXIST);
	}
	assert_int_equal(symlinkat(name, src, "..data_tmp"), 0);
	assert_int_equal(renameat(src, "..data_tmp", src, "..data"), 0);
}

static void expect_text(const char *path, const char *text)
{
	auto_free char *is = NULL;

	assert_int_equal(file_read(dst, path, 4096, &is, NULL, NULL), 0);
	assert_string_equal(is, text);
}

static bool exists(const char *path)
{
	struct stat sb;

	return fstatat(dst, path, &sb, AT_SYMLINK_NOFOLLOW) == 0;
}

static void copies_what_is_there(void **state)
{
	static const char *const keys[] = {"a", "b", NULL};
	struct stat sb;

	write_version("..v1", keys);
	assert_int_equal(mkdirat(src, "..v1/sub", 0750), 0);
	write_file(src, "..v1/sub/deep", "deep", 0400);
	assert_int_equal(fchmod(src, 02775), 0);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	expect_text("a", "..v1");
	expect_text("b", "..v1");
	expect_text("..data/sub/deep", "deep");
	assert_int_equal(fstatat(dst, "a", &sb, 0), 0);
	assert_int_equal(sb.st_mode & 07777, 0640);
	assert_int_equal(fstatat(dst, "..v1/sub", &sb, 0), 0);
	assert_int_equal(sb.st_mode & 07777, 0750);
	assert_int_equal(fstat(dst, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 02775);
}

static const char *const watched[] = {"..v2", "..data_tmp", "..data", "c", "b", "..v1"};

/* The names of the watched ones in the order of their first event; "" when there are no more. */
static void take_events(int fd, char order[8][16])
{
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, bytes, sizeof(bytes));
	unsigned k = 0;

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(bytes + at);
		bool known = false;

		for (unsigned i = 0; i < k; i++)
			known |= str_eq(order[i], e->name);
		if (e->len && !known && k < 7)
			assert_true(str_copy(order[k++], 16, e->name));
		at += (ssize_t)sizeof(*e) + (ssize_t)e->len;
	}
	order[k][0] = '\0';
}

static void an_update_is_heard_in_the_writers_order(void **state)
{
	static const char *const v1[] = {"a", "b", NULL}, *const v2[] = {"a", "c", NULL};
	auto_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[64], order[8][16];

	write_version("..v1", v1);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/dst", top);
	assert_true(inotify_add_watch(watch, path, IN_CREATE | IN_DELETE | IN_MOVED_TO) >= 0);
	/* As it stands nothing is to be done, and nothing is heard. */
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	take_events(watch, order);
	assert_string_equal(order[0], "");
	write_version("..v2", v2);
	assert_int_equal(unlinkat(src, "b", 0), 0);
	assert_int_equal(mirror_folder(src, "..v2", dst, NULL), 0);
	take_events(watch, order);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(order[i], watched[i]);
	expect_text("a", "..v2");
	expect_text("c", "..v2");
	assert_false(exists("b"));
	assert_false(exists("..v1"));
	assert_false(exists("..data_tmp"));
}

/* Older kubelets give the files to the fsGroup after they are in place. */
static void owners_and_modes_follow_later(void **state)
{
	static const char *const keys[] = {"a", NULL};
	struct stat sb;

	write_version("..v1", keys);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	assert_int_equal(fchmodat(src, "..v1/a", 0660, 0), 0);
	if (geteuid() == 0)
		assert_int_equal(fchownat(src, "..v1/a", 12, 34, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	assert_int_equal(fstatat(dst, "a", &sb, 0), 0);
	assert_int_equal(sb.st_mode & 07777, 0660);
	if (geteuid() == 0)
		assert_int_equal(sb.st_gid, 34);
}

static void what_cannot_be_copied_leaves_the_former(void **state)
{
	static const char *const v1[] = {"a", NULL}, *const v2[] = {"a", NULL};
	static const char *const names[] = {"", ".", "..", "v1", "../x", "..a/b", "..data", "..data_tmp"};
	auto_close int fd = -1;

	write_version("..v1", v1);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(mirror_folder(src, names[i], dst, NULL), -EINVAL);
	assert_int_equal(mirror_folder(src, "..v2", dst, NULL), -ENOENT);
	write_version("..v2", v2);
	assert_int_equal(mkfifoat(src, "..v2/fifo", 0600), 0);
	assert_int_equal(mirror_folder(src, "..v2", dst, NULL), -EINVAL);
	assert_int_equal(unlinkat(src, "..v2/fifo", 0), 0);
	fd = openat(src, "..v2/large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, MIRROR_BYTES_MAX + 1), 0);
	assert_int_equal(mirror_folder(src, "..v2", dst, NULL), -EFBIG);
	expect_text("a", "..v1");
	assert_false(exists("..v2"));
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(mirror_folder(src, "..v2", dst, NULL), 0);
	expect_text("a", "..v2");
}

static void no_link_is_followed(void **state)
{
	static const char *const keys[] = {"a", NULL};
	char target[64];
	ssize_t n;

	write_version("..v1", keys);
	write_file(top_fd, "secret", "secret", 0600);
	assert_int_equal(symlinkat("../../secret", src, "..v1/link"), 0);
	assert_int_equal(mirror_folder(src, "..v1", dst, NULL), 0);
	n = readlinkat(dst, "..v1/link", target, sizeof(target) - 1);
	assert_int_equal(n, strlen("../../secret"));
	/* The folder of files itself must not be one. */
	assert_int_equal(symlinkat("..v1", src, "..v2"), 0);
	assert_true(mirror_folder(src, "..v2", dst, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies_what_is_there, make_folders, remove_folders),
		cmocka_unit_test_setup_teardown(an_update_is_heard_in_the_writers_order, make_folders, remove_folders),
		cmocka_unit_test_setup_teardown(owners_and_modes_follow_later, make_folders, remove_folders),
		cmocka_unit_test_setup_teardown(what_cannot_be_copied_leaves_the_former, make_folders, remove_folders),
		cmocka_unit_test_setup_teardown(no_link_is_followed, make_folders, remove_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
