/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/podvm-test-fd.XXXXXX";

static int setup(void **state)
{
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct err err = {0};

	if (chdir("/") == 0 && dir_remove_all(AT_FDCWD, dir, &err) == 0)
		return 0;
	print_error("%s\n", err.msg);
	return -1;
}

static void reads_what_was_written(void **state)
{
	struct err err = {0};
	char *text = NULL;
	size_t len;

	assert_int_equal(file_write_atomic(AT_FDCWD, "f", "hello", 5, 0640, &err), 0);
	assert_int_equal(file_read(AT_FDCWD, "f", 5, &text, &len, &err), 0);
	assert_int_equal(len, 5);
	assert_string_equal(text, "hello");
	free(text);
	assert_int_equal(file_read(AT_FDCWD, "f", 4, &text, &len, &err), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, "none", 4, &text, &len, &err), -ENOENT);
	assert_int_equal(file_write_atomic(AT_FDCWD, "no/such/f", "x", 1, 0644, &err), -ENOENT);
}

static void reads_large_files(void **state)
{
	struct err err = {0};
	size_t size = 300000, len;
	auto_free char *bytes = malloc(size), *back = NULL;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 31);
	assert_int_equal(file_write_atomic(AT_FDCWD, "large", bytes, size, 0600, &err), 0);
	assert_int_equal(file_read(AT_FDCWD, "large", size, &back, &len, &err), 0);
	assert_int_equal(len, size);
	assert_memory_equal(back, bytes, size);
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 100000, &back, &len, &err), -EFBIG);
}

static void removes_a_tree_but_not_what_links_point_to(void **state)
{
	struct err err = {0};

	assert_int_equal(dir_make_all("keep/me", 0755, &err), 0);
	assert_int_equal(dir_make_all("t/a/b/c", 0755, &err), 0);
	assert_int_equal(dir_make_all("t/a/b/c", 0755, &err), 0);
	assert_int_equal(symlink("../keep", "t/link"), 0);
	assert_int_equal(dir_remove_all(AT_FDCWD, "t", &err), 0);
	assert_int_equal(access("t", F_OK), -1);
	assert_int_equal(access("keep/me", F_OK), 0);
	assert_int_equal(dir_remove_all(AT_FDCWD, "t", &err), 0);
}

/* Far deeper than the stack, the descriptors or PATH_MAX would allow. */
static void removes_a_tree_of_any_depth(void **state)
{
	struct err err = {0};
	int at = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned i = 0; i < 1200; i++) {
		const char *name = i ? "folder" : "deep";
		int next;

		assert_int_equal(mkdirat(at, name, 0755), 0);
		assert_int_equal(mkdirat(at, "side", 0755), 0);
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		(void)close(at);
		at = next;
	}
	(void)close(at);
	assert_int_equal(dir_remove_all(AT_FDCWD, "deep", &err), 0);
	assert_int_equal(access("deep", F_OK), -1);
	assert_int_equal(access("side", F_OK), 0);
}

static void passes_descriptors(void **state)
{
	struct err err = {0};
	int sv[2], fds[FD_PASS_MAX], send[2] = {0, 1};
	char bytes[16];
	unsigned n_fds;
	size_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(fd_send(sv[0], "ping", 4, send, 2, &err), 0);
	assert_int_equal(fd_recv(sv[1], bytes, sizeof(bytes), &n, fds, &n_fds, &err), 0);
	assert_int_equal(n, 4);
	assert_int_equal(n_fds, 2);
	assert_int_equal(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(fd_set_nonblock(sv[1], true, &err), 0);
	assert_int_equal(fd_recv(sv[1], bytes, sizeof(bytes), &n, fds, &n_fds, &err), -EAGAIN);
	close(sv[0]);
	assert_int_equal(fd_recv(sv[1], bytes, sizeof(bytes), &n, fds, &n_fds, &err), 0);
	assert_int_equal(n, 0);
	close(sv[1]);
}

static void whole_reads_tell_end_from_cut(void **state)
{
	char bytes[4];
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(fd_write_all(sv[0], "abcdef", 6), 0);
	close(sv[0]);
	assert_int_equal(fd_read_all(sv[1], bytes, 4), 0);
	assert_int_equal(fd_read_all(sv[1], bytes, 4), -EPIPE);
	assert_int_equal(fd_read_all(sv[1], bytes, 4), 1);
	assert_int_equal(fd_write_all(sv[1], "x", 1), -EPIPE);
	close(sv[1]);
}

static void formats_time(void **state)
{
	char text[31];

	time_format(text, UINT64_C(1700000000123456789));
	assert_string_equal(text, "2023-11-14T22:13:20.123456789Z");
	time_format(text, 0);
	assert_string_equal(text, "1970-01-01T00:00:00.000000000Z");
	time_format(text, UINT64_C(951782399999999999));
	assert_string_equal(text, "2000-02-28T23:59:59.999999999Z");
	time_format(text, UINT64_C(951782400000000000));
	assert_string_equal(text, "2000-02-29T00:00:00.000000000Z");
	time_format(text, UINT64_C(4107542400000000000));
	assert_string_equal(text, "2100-03-01T00:00:00.000000000Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_was_written),
		cmocka_unit_test(reads_large_files),
		cmocka_unit_test(removes_a_tree_but_not_what_links_point_to),
		cmocka_unit_test(removes_a_tree_of_any_depth),
		cmocka_unit_test(passes_descriptors),
		cmocka_unit_test(whole_reads_tell_end_from_cut),
		cmocka_unit_test(formats_time),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
