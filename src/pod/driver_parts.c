/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/driver_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/fd.h"

#define VSOCK_BACKLOG 1024 /* as many as the device takes: a client that does not block fails when it is full */

void driver_printable(char *dst, size_t size, const char *src, size_t len)
{
	size_t n = MIN_OF(len, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = (unsigned char)src[i] < 0x20 || (unsigned char)src[i] >= 0x7f ? '?' : src[i];
	dst[n] = '\0';
}

void driver_describe_status(char dst[64], int status)
{
	if (status < 0)
		(void)snprintf(dst, 64, "ended, status unknown");
	else if (status > 128)
		(void)snprintf(dst, 64, "was killed by signal %d (%s)", status - 128, sigdescr_np(status - 128));
	else
		(void)snprintf(dst, 64, "ended with exit code %d", status);
}

void driver_find_panic(char *dst, size_t size, const char *line, size_t len)
{
	static const char mark[] = "Kernel panic - not syncing: ";
	const char *at = *dst ? NULL : memmem(line, len, mark, sizeof(mark) - 1);

	if (!at)
		return;
	at += sizeof(mark) - 1;
	driver_printable(dst, size, at, (size_t)(line + len - at));
}

int driver_open_file(int *ret, const char *what, const char *path, struct err *err)
{
	struct stat st;

	*ret = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret < 0 || fstat(*ret, &st) < 0)
		return err_errno(err, "guest's %s '%s'", what, path);
	/* QEMU opens it once more, by descriptor, under its own id. */
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return err_set(err, EACCES, "guest's %s '%s' is no file that everyone may read", what, path);
	return 0;
}

int driver_listen(const char *path, bool *ret_bound, int *ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(
			err, ENAMETOOLONG, "vsock socket '%s': more than %zu bytes", path, sizeof(sa.sun_path) - 1);
	/* The mode before listen(2): nobody else can have connected. */
	if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, "bind '%s'", path);
	*ret_bound = true;
	if (chmod(path, 0600) < 0 || listen(fd, VSOCK_BACKLOG) < 0)
		return err_errno(err, "listen on '%s'", path);
	*ret = take_fd(&fd);
	return 0;
}

/* ---- processes ---- */

/* "TIME LEVEL vmm[pod]: text" of our own programs: what is after the first "]: " is for people. */
static void on_child_line(void *ctx, const char *line, size_t len)
{
	struct driver_child *c = ctx;
	const char *text = memmem(line, len, "]: ", 3);

	text = text ? text + 3 : line;
	if (len)
		driver_printable(c->last, sizeof(c->last), text, (size_t)(line + len - text));
	c->cb->log(c->cb->ctx, c->name, line, len);
}

void driver_child_init(struct driver_child *c, const char *name, const struct vm_callbacks *cb)
{
	*c = (struct driver_child){.name = name, .cb = cb, .pidfd = -1};
}

int driver_child_start(struct driver_child *c, struct spawn *sp, int log_fd, struct err *err)
{
	/* Ctrl-C at the terminal is for podvm alone, which then stops the containers: it must not hit the VM. */
	sp->new_session = true;
	sp->fds[sp->n_fds++] = (struct spawn_fd){.parent = log_fd, .child = STDERR_FILENO};
	sp->fds[sp->n_fds++] = (struct spawn_fd){.parent = log_fd, .child = STDOUT_FILENO};
	return spawn_start(sp, &c->pid, &c->pidfd, err);
}

int driver_child_watch(struct driver_child *c, struct loop *loop, int log_fd,
	void (*ended)(struct loop_fd *src, uint32_t events), struct err *err)
{
	int r = lines_init(&c->log, loop, log_fd, on_child_line, c, err);

	return r < 0 ? r : loop_add_fd(loop, &c->src, c->pidfd, EPOLLIN, ended, err);
}

int driver_child_reap(struct driver_child *c)
{
	int status = spawn_wait(c->pidfd);

	loop_remove_fd(&c->src);
	close_fd(&c->pidfd);
	lines_drain(&c->log);
	return status;
}

void driver_child_kill(struct driver_child *c)
{
	loop_remove_fd(&c->src);
	spawn_kill(&c->pidfd);
}

void driver_child_fini(struct driver_child *c)
{
	lines_fini(&c->log);
}
