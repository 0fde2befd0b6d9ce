/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* podvm-vmm --vm with one of the bare guests of this folder, in its jail, and its control socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "vmm/status.h"

#define DEADLINE_MS 60000
/* The program, its stacks, what the kernel counts for it, and the little that these guests touch of their memory. */
#define RSS_KIB (8 * 1024)
#define TEXT_MAX 16384

/* Not every test uses all of it. */
#define rig_fn static inline __attribute__((unused))

static const char *program, *folder;

struct machine {
	int pidfd, console, log, control;
	pid_t pid;
};

/* Of main: 0, or the status to end with. */
rig_fn int rig_init(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	program = argv[1];
	folder = argv[2];
	if (geteuid() == 0 && access("/dev/kvm", R_OK | W_OK) == 0)
		return 0;
	(void)fprintf(stderr, "skipped: needs root and /dev/kvm\n");
	return 77;
}

rig_fn int open_guest(const char *guest)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/guest_%s", folder, guest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

/* Its descriptors: 3 kernel (consumed), 4 console, 5 control socket, 6 and 7 files, 8 a tap unless it is -1 (consumed). */
rig_fn void launch_with(struct machine *m, const char *const argv[], int kernel, int tap)
{
	struct spawn sp = {.file = program,
		.argv = argv,
		.clone_flags = CLONE_NEWPID,
		.no_new_privs = true,
		.n_fds = tap < 0 ? 7 : 8};
	int console[2], log[2], control[2], file = memfd_create("file", MFD_CLOEXEC);
	struct err err = {0};

	assert_int_equal(ftruncate(file, 2 << 20), 0);
	assert_int_equal(pipe2(console, O_CLOEXEC), 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
	sp.fds[0] = (struct spawn_fd){kernel, 3};
	sp.fds[1] = (struct spawn_fd){console[1], 4};
	sp.fds[2] = (struct spawn_fd){control[1], 5};
	sp.fds[3] = (struct spawn_fd){log[1], STDERR_FILENO};
	sp.fds[4] = (struct spawn_fd){log[1], STDOUT_FILENO};
	sp.fds[5] = (struct spawn_fd){file, 6};
	sp.fds[6] = (struct spawn_fd){file, 7};
	sp.fds[7] = (struct spawn_fd){tap, 8};
	if (spawn_start(&sp, &m->pid, &m->pidfd, &err) < 0)
		fail_msg("%s", err.msg);
	(void)close(kernel);
	(void)close(file);
	close_fd(&tap);
	(void)close(console[1]);
	(void)close(log[1]);
	(void)close(control[1]);
	m->console = console[0];
	m->log = log[0];
	m->control = control[0];
}

rig_fn void launch(struct machine *m, const char *const argv[], int kernel)
{
	launch_with(m, argv, kernel, -1);
}

/* With every device that needs nothing outside: 1 vsock, 2 rng, 3 disk, 4 pmem, 5 balloon, 6 mem, 7 console; and root ports. */
rig_fn void start_with(struct machine *m, const char *guest, const char *vcpus, const char *more)
{
	const char *argv[] = {"podvm-vmm", "--vm", "--id", guest, "--kernel", "3", "--console", "4", "--control", "5",
		"--memory", "64", "--vcpus", vcpus, "--cid", "3", "--explain", "--rng", "--disk", "6,threads", "--pmem",
		"7", "--balloon", "--memory-max", "128", "--hvc", "--hotplug-ports", "2",
#ifdef SANITIZED /* whose runtime makes calls of its own */
		"--no-jail",
#endif
		more, NULL};

	launch(m, argv, open_guest(guest));
}

rig_fn void start(struct machine *m, const char *guest, const char *vcpus)
{
	start_with(m, guest, vcpus, NULL);
}

/* Until the end of file, or until `until` is in it. */
rig_fn void read_text(int fd, char text[TEXT_MAX], const char *until)
{
	size_t n = 0;

	text[0] = '\0';
	while (n < TEXT_MAX - 1 && !(until && strstr(text, until))) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		if (poll(&p, 1, DEADLINE_MS) != 1)
			fail_msg("nothing came in time; so far: '%s'", text);
		got = read(fd, text + n, TEXT_MAX - 1 - n);
		if (got <= 0)
			return;
		n += (size_t)got;
		text[n] = '\0';
	}
}

rig_fn int finish(struct machine *m)
{
	struct pollfd p = {.fd = m->pidfd, .events = POLLIN};
	int status;

	if (poll(&p, 1, DEADLINE_MS) != 1) {
		spawn_kill(&m->pidfd);
		fail_msg("the machine did not end");
	}
	status = spawn_wait(m->pidfd);
	(void)close(m->pidfd);
	(void)close(m->console);
	(void)close(m->log);
	(void)close(m->control);
	return status;
}

rig_fn void check_growth(void)
{
#ifndef SANITIZED
	struct rusage ru;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &ru), 0);
	if (ru.ru_maxrss > RSS_KIB)
		fail_msg("a machine had %ld KiB", ru.ru_maxrss);
#endif
}

/* ---- the control socket ---- */

/* Sends a line, with a descriptor unless it is -1. */
rig_fn void send_line(struct machine *m, const char *line, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c = {.h = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char text[TEXT_MAX];
	struct iovec iov = {text, (size_t)snprintf(text, sizeof(text), "%s\n", line)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
		msg.msg_control = &c;
		msg.msg_controllen = sizeof(c.room);
	}
	assert_int_equal(sendmsg(m->control, &msg, MSG_NOSIGNAL), iov.iov_len);
}

rig_fn void read_line(struct machine *m, const char *line, char got[TEXT_MAX])
{
	size_t len = 0;

	while (len < TEXT_MAX - 1 && !memchr(got, '\n', len)) {
		struct pollfd p = {.fd = m->control, .events = POLLIN};

		if (poll(&p, 1, DEADLINE_MS) != 1 || read(m->control, got + len, 1) != 1)
			fail_msg("no answer to '%s'; so far: '%s'", line ? line : "", got);
		got[++len] = '\0';
	}
	got[len - 1] = '\0';
}

/* Reads a line that must be `want`; a '*' at its end stands for anything. */
rig_fn void hear(struct machine *m, const char *line, const char *want)
{
	char got[TEXT_MAX] = "";
	size_t n = strlen(want);

	read_line(m, line, got);
	if (want[n - 1] == '*' ? strncmp(got, want, n - 1) != 0 : strcmp(got, want) != 0)
		fail_msg("'%s': answer '%s', not '%s'", line ? line : "", got, want);
}

/* Sends a line (NULL: none), and hears its answer. */
rig_fn void talk(struct machine *m, const char *line, const char *want)
{
	if (line)
		send_line(m, line, -1);
	hear(m, line, want);
}

/* Its answer has `part` somewhere. */
rig_fn void talk_find(struct machine *m, const char *line, const char *part)
{
	char got[TEXT_MAX] = "";

	send_line(m, line, -1);
	read_line(m, line, got);
	if (!strstr(got, part))
		fail_msg("'%s': answer '%s', which should have '%s'", line, got, part);
}
