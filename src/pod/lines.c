/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer may be a guest that floods its console. One event reads at most CHUNKS_PER_EVENT chunks, then the loop goes on
 * with others; memory is one line.
 */
#include "pod/lines.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"

#define CHUNK 4096
#define CHUNKS_PER_EVENT 4
#define CHUNKS_AT_END 256

static void finish_line(struct lines *l)
{
	size_t n = l->n;

	while (n && l->buf[n - 1] == '\r')
		n--;
	l->n = 0;
	l->cut = false;
	l->line(l->ctx, l->buf, n);
}

static void feed(struct lines *l, const char *p, size_t n)
{
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t part = nl ? (size_t)(nl - p) : n, room = sizeof(l->buf) - l->n;

		memcpy(l->buf + l->n, p, part < room ? part : room);
		l->n += part < room ? part : room;
		l->cut = l->cut || part > room;
		if (!nl)
			return;
		finish_line(l);
		p = nl + 1;
		n -= part + 1;
	}
}

/* False: nothing more to read now, or for ever (then the descriptor is closed). */
static bool read_some(struct lines *l, unsigned chunks)
{
	char chunk[CHUNK];

	while (chunks--) {
		ssize_t n = read(l->fd, chunk, sizeof(chunk));

		if (n > 0) {
			feed(l, chunk, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		loop_remove_fd(&l->src);
		close_fd(&l->fd);
		if (l->n)
			finish_line(l);
		return false;
	}
	return true;
}

static void on_readable(struct loop_fd *src, uint32_t events)
{
	(void)read_some(container_of(src, struct lines, src), CHUNKS_PER_EVENT);
}

int lines_init(struct lines *l, struct loop *loop, int fd, void (*line)(void *ctx, const char *line, size_t len),
	void *ctx, struct err *err)
{
	int r;

	l->fd = fd;
	l->n = 0;
	l->cut = false;
	l->line = line;
	l->ctx = ctx;
	r = fd_set_nonblock(fd, true, err);
	if (r == 0)
		r = loop_add_fd(loop, &l->src, fd, EPOLLIN, on_readable, err);
	if (r < 0)
		close_fd(&l->fd);
	return r;
}

void lines_drain(struct lines *l)
{
	if (!l->line || l->fd < 0)
		return;
	(void)read_some(l, CHUNKS_AT_END);
	if (l->fd >= 0 && l->n)
		finish_line(l);
}

void lines_fini(struct lines *l)
{
	if (!l->line)
		return;
	loop_remove_fd(&l->src);
	close_fd(&l->fd);
}
