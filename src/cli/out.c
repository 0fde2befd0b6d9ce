/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a pipe or a terminal again by /proc/self/fd makes an open file description of our own, whose O_NONBLOCK nobody else
 * sees. Not the master of a terminal: opening that again would make another terminal.
 */
#include "cli/out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"

#define PENDING_MAX (64u << 20) /* never reached by an owner that heeds out_full */
#define TURNS 16		/* writes a turn of the loop */

static struct out_end *end_of(const struct out *out, int fd)
{
	return (struct out_end *)(uintptr_t)&out->end[fd == STDERR_FILENO && out->n_ends > 1];
}

static int open_again(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void end_open(struct out_end *e, struct out *out, int fd)
{
	unsigned number;
	struct stat st;

	*e = (struct out_end){.out = out, .kind = OUT_POLLED, .fd = fd, .pending = BUF_INIT(PENDING_MAX)};
	if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		e->kind = OUT_FILE;
	} else if (S_ISSOCK(st.st_mode)) {
		e->kind = OUT_SOCKET;
	} else if (S_ISFIFO(st.st_mode) || (isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0)) {
		int own = open_again(fd);

		if (own >= 0) {
			e->kind = OUT_OWN;
			e->fd = own;
		}
	}
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void out_open(struct out *out, struct loop *loop, void (*changed)(struct out *out))
{
	*out = (struct out){
		.loop = loop, .n_ends = same_file(STDOUT_FILENO, STDERR_FILENO) ? 1 : 2, .changed = changed};
	end_open(&out->end[0], out, STDOUT_FILENO);
	if (out->n_ends > 1)
		end_open(&out->end[1], out, STDERR_FILENO);
}

static void drop(struct out_end *e)
{
	loop_remove_fd(&e->src);
	buf_consume(&e->pending, e->pending.len);
	buf_trim(&e->pending);
	e->full = false;
}

static ssize_t write_some(const struct out_end *e)
{
	const void *p = buf_data(&e->pending);
	size_t n = e->pending.len;
	struct pollfd poll_fd = {.fd = e->fd, .events = POLLOUT};

	if (e->kind == OUT_SOCKET)
		return send(e->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (e->kind == OUT_POLLED) {
		if (poll(&poll_fd, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		n = MIN_OF(n, (size_t)PIPE_BUF);
	}
	return write(e->fd, p, n);
}

static void on_room(struct loop_fd *src, uint32_t events);

/* More than one turn's worth is left, or there is no room: epoll tells when it goes on, and does not know files. */
static void wait_for_room(struct out_end *e)
{
	int r = e->src.loop ? 0 : loop_add_fd(e->out->loop, &e->src, e->fd, EPOLLOUT, on_room, NULL);

	e->gone = r < 0 && r != -EPERM;
}

static void on_timer(struct loop_timer *t);

static void flush(struct out_end *e)
{
	for (int i = 0; i < TURNS && e->pending.len && !e->gone; i++) {
		ssize_t n = write_some(e);

		if (n >= 0)
			buf_consume(&e->pending, (size_t)n);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			e->gone = true;
	}
	if (e->pending.len <= OUT_FULL / 2)
		e->full = false;
	if (e->pending.len && !e->gone)
		wait_for_room(e);
	if (e->gone || !e->pending.len)
		drop(e);
	else if (!e->src.loop)
		loop_timer_set(e->out->loop, &e->out->timer, 0, on_timer);
}

static void on_room(struct loop_fd *src, uint32_t events)
{
	struct out_end *e = container_of(src, struct out_end, src);

	flush(e);
	e->out->changed(e->out);
}

void out_flush(struct out *out)
{
	for (unsigned i = 0; i < out->n_ends; i++)
		if (!out->end[i].src.loop)
			flush(&out->end[i]);
}

static void on_timer(struct loop_timer *t)
{
	struct out *out = container_of(t, struct out, timer);

	out_flush(out);
	out->changed(out);
}

void out_put(struct out *out, int fd, const void *bytes, size_t n)
{
	struct out_end *e = end_of(out, fd);

	if (e->gone || !n)
		return;
	if (buf_append(&e->pending, bytes, n) < 0) {
		e->gone = true;
		drop(e);
	}
	e->full = e->full || e->pending.len >= OUT_FULL;
	if (!e->src.loop)
		loop_timer_set(out->loop, &out->timer, 0, on_timer);
}

bool out_full(const struct out *out, int fd)
{
	return end_of(out, fd)->full;
}

bool out_gone(const struct out *out, int fd)
{
	return end_of(out, fd)->gone;
}

bool out_empty(const struct out *out)
{
	return !out->end[0].pending.len && !out->end[1].pending.len;
}

void out_close(struct out *out)
{
	loop_timer_cancel(&out->timer);
	for (unsigned i = 0; i < out->n_ends; i++) {
		struct out_end *e = &out->end[i];

		drop(e);
		buf_fini(&e->pending);
		if (e->kind == OUT_OWN)
			close_fd(&e->fd);
	}
	out->n_ends = 0;
}
