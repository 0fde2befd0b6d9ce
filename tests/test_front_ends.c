/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm-vmm --vhost-user ends with its front end, at once and for good: there is nothing that QEMU, or who killed it, could connect
 * to again. Usage: test_front_ends PODVM_VMM
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "vmm/status.h"

#define DEADLINE_MS 60000
#define GET_FEATURES 1

static const char *program;

/* podvm-vmm with both devices; [0] fs, [1] vsock, and the end of its log. */
struct devices {
	int front[2], log, pidfd;
	pid_t pid;
};

static void start(struct devices *d)
{
	const char *argv[] = {"podvm-vmm", "--vhost-user", "--fs-sock", "3", "--fs-root", "/usr", "--vsock-sock", "4",
		"--cid", "3",
#ifdef SANITIZED /* whose runtime makes calls of its own */
		"--no-jail",
#endif
		NULL};
	struct spawn sp = {
		.file = program, .argv = argv, .clone_flags = CLONE_NEWPID, .no_new_privs = true, .n_fds = 4};
	int fs[2], vsock[2], log[2];
	struct err err = {0};

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fs), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vsock), 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	sp.fds[0] = (struct spawn_fd){fs[1], 3};
	sp.fds[1] = (struct spawn_fd){vsock[1], 4};
	sp.fds[2] = (struct spawn_fd){log[1], STDOUT_FILENO};
	sp.fds[3] = (struct spawn_fd){log[1], STDERR_FILENO};
	if (spawn_start(&sp, &d->pid, &d->pidfd, &err) < 0)
		fail_msg("%s", err.msg);
	(void)close(fs[1]);
	(void)close(vsock[1]);
	(void)close(log[1]);
	d->front[0] = fs[0];
	d->front[1] = vsock[0];
	d->log = log[0];
}

static void wait_readable(int fd, const char *what)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, DEADLINE_MS) != 1)
		fail_msg("%s: nothing came in time", what);
}

/* Both devices answer: the program is up and serves. */
static void ask(const struct devices *d)
{
	const uint32_t question[3] = {GET_FEATURES, 1, 0};
	uint32_t answer[5];

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(send(d->front[i], question, sizeof(question), 0), sizeof(question));
		wait_readable(d->front[i], i ? "vsock" : "fs");
		assert_int_equal(recv(d->front[i], answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
		assert_int_equal(answer[0], GET_FEATURES);
		assert_int_equal(answer[2], 8);
	}
}

static void hang_up(struct devices *d, unsigned which)
{
	close_fd(&d->front[which]);
}

static void break_protocol(struct devices *d, unsigned which)
{
	const uint32_t nonsense[3] = {GET_FEATURES, 1, UINT32_MAX};

	assert_int_equal(send(d->front[which], nonsense, sizeof(nonsense), 0), sizeof(nonsense));
}

static void terminate(struct devices *d, unsigned which unused_arg)
{
	assert_int_equal(syscall(SYS_pidfd_send_signal, d->pidfd, SIGTERM, NULL, 0u), 0);
}

/* Its exit status. Both sockets are closed, with nothing more in them. */
static int finish(struct devices *d, char *log, size_t size)
{
	ssize_t n, used = 0;
	char byte;
	int status;

	wait_readable(d->pidfd, "the end");
	status = spawn_wait(d->pidfd);
	for (unsigned i = 0; i < 2; i++)
		if (d->front[i] >= 0)
			assert_true(recv(d->front[i], &byte, 1, MSG_DONTWAIT) <= 0);
	while ((n = read(d->log, log + used, size - 1 - (size_t)used)) > 0)
		used += n;
	log[used] = '\0';
	for (unsigned i = 0; i < 2; i++)
		close_fd(&d->front[i]);
	close_fd(&d->log);
	close_fd(&d->pidfd);
	return status;
}

static void it_ends_with_any_of_its_front_ends(void **state)
{
	static const struct {
		const char *what;
		void (*end)(struct devices *d, unsigned which);
		unsigned which;
		int status;
		const char *log;
	} cases[] = {
		{"fs hangs up", hang_up, 0, 0, NULL},
		{"vsock hangs up", hang_up, 1, 0, NULL},
		{"fs breaks the protocol", break_protocol, 0, VMM_FAILED, "vhost-user fs"},
		{"vsock breaks the protocol", break_protocol, 1, VMM_FAILED, "vhost-user vsock"},
		{"SIGTERM", terminate, 0, 0, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct devices d;
		char log[4096];
		int status;

		start(&d);
		ask(&d);
		cases[i].end(&d, cases[i].which);
		status = finish(&d, log, sizeof(log));
		if (status != cases[i].status ||
			(cases[i].log ? !strstr(log, cases[i].log) : strstr(log, "error") != NULL))
			fail_msg("%s: exit status %d, log: %s", cases[i].what, status, log);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_with_any_of_its_front_ends),
	};

	if (argc != 2) {
		(void)fprintf(stderr, "usage: test_front_ends PODVM_VMM\n");
		return 2;
	}
	program = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
