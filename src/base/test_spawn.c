/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spawn.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/proc.h"

static void output_and_exit_codes(void **state)
{
	static const char *const echo[] = {"echo", "hi", NULL};
	static const char *const fail[] = {"sh", "-c", "echo first >&2; echo second >&2; exit 3", NULL};
	static const char *const absent[] = {"podvm-no-such-program", NULL};
	static const char *const much[] = {"head", "-c", "100", "/dev/zero", NULL};
	static const char *const hang[] = {"sleep", "60", NULL};
	struct err err = {0};
	char *out = NULL;

	assert_int_equal(spawn_run(echo, 100, &out, 10000, &err), 0);
	assert_string_equal(out, "hi\n");
	free(out);
	assert_int_equal(spawn_run(fail, 100, &out, 10000, &err), -EIO);
	assert_string_equal(err.msg, "'sh' failed with exit code 3: second");
	assert_int_equal(spawn_run(absent, 100, &out, 10000, &err), -ENOENT);
	assert_int_equal(spawn_run(much, 99, &out, 10000, &err), -EFBIG);
	assert_int_equal(spawn_run(hang, 99, &out, 50, &err), -ETIMEDOUT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* everything was reaped */
}

static void descriptors_arrive_where_asked_and_no_others(void **state)
{
	static const char *const argv[] = {"sh", "-c", "echo one >&5; echo two >&4; ls /proc/self/fd >&1", NULL};
	struct spawn sp = {.file = "/bin/sh", .argv = argv};
	struct err err = {0};
	char text[64] = "";
	int a[2], b[2], o[2], pidfd = -1;
	pid_t pid;

	assert_int_equal(pipe(a) + pipe(b) + pipe(o), 0);
	/* Crossed on purpose: each target number may be another's source. */
	sp.fds[0] = (struct spawn_fd){.parent = a[1], .child = 5};
	sp.fds[1] = (struct spawn_fd){.parent = b[1], .child = 4};
	sp.fds[2] = (struct spawn_fd){.parent = o[1], .child = 1};
	sp.n_fds = 3;
	assert_int_equal(spawn_start(&sp, &pid, &pidfd, &err), 0);
	assert_int_equal(spawn_wait(pidfd), 0);
	close(pidfd);
	assert_int_equal(read(a[0], text, sizeof(text)), 4);
	assert_memory_equal(text, "one\n", 4);
	assert_int_equal(read(b[0], text, sizeof(text)), 4);
	assert_memory_equal(text, "two\n", 4);
	memset(text, 0, sizeof(text));
	assert_true(read(o[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "0\n1\n2\n3\n4\n5\n"); /* 3 is ls reading the folder */
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
		close(o[i]);
	}
}

static void dies_with_its_parent(void **state)
{
	static const char *const argv[] = {"sleep", "60", NULL};
	struct spawn sp = {.file = "sleep", .argv = argv, .search_path = true};
	int sv[2], n;
	char byte;
	pid_t parent;

	/* The child holds one end of a socket: end of file there is the proof of its death. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	parent = fork();
	if (parent == 0) {
		int pidfd;
		pid_t pid;

		close(sv[0]);
		sp.fds[0] = (struct spawn_fd){.parent = sv[1], .child = 3};
		sp.n_fds = 1;
		if (spawn_start(&sp, &pid, &pidfd, NULL) < 0)
			_exit(1);
		(void)!write(sv[1], "x", 1);
		(void)pause();
		_exit(1);
	}
	close(sv[1]);
	assert_int_equal(read(sv[0], &byte, 1), 1);
	assert_int_equal(kill(parent, SIGKILL), 0);
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	n = (int)read(sv[0], &byte, 1);
	assert_int_equal(n, 0);
	close(sv[0]);
}

static void numbers_of_a_process(void **state)
{
	/* A name that looks like fields of its own. */
	(void)prctl(PR_SET_NAME, "a) b 7 (c");
	assert_int_equal(proc_stat(getpid(), 4), getppid());
	assert_int_equal(proc_stat(getpid(), 5), getpgrp());
	assert_true(proc_stat(getpid(), 22) > 0);
	assert_int_equal(proc_stat(getpid(), 1000), 0);
	assert_int_equal(proc_stat(INT32_MAX, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_exit_codes),
		cmocka_unit_test(descriptors_arrive_where_asked_and_no_others),
		cmocka_unit_test(dies_with_its_parent),
		cmocka_unit_test(numbers_of_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
