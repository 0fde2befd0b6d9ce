/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At any time a stream waits for one of its two descriptors only: the source to have bytes, or the target to have room. The other
 * is not in the loop at all, because epoll reports a hang-up even of what is not waited for.
 */
#include "shim/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/bytes.h"

#define CHUNK 65536
#define TURNS 4 /* chunks per turn of the loop, so that one stream cannot starve the rest */

static void on_ready(struct loop_fd *src, uint32_t events);

void pipes_init(struct pipes *io, struct loop *loop)
{
	io->loop = loop;
	for (unsigned i = 0; i < 3; i++)
		io->stream[i] = (struct pipes_stream){.io = io, .fd = i, .conn = -1, .pipe = -1, .hold = -1};
}

static void stream_close(struct pipes_stream *s)
{
	hvsock_dial_cancel(&s->dial);
	loop_remove_fd(&s->src);
	close_fd(&s->conn);
	close_fd(&s->pipe);
	close_fd(&s->hold);
	s->used = false;
}

void pipes_close(struct pipes *io)
{
	for (unsigned i = 0; io->loop && i < 3; i++)
		stream_close(&io->stream[i]);
}

bool pipes_is_drained(const struct pipes *io)
{
	return !io->stream[1].used && !io->stream[2].used;
}

/* ---- moving bytes ---- */

static int source(const struct pipes_stream *s)
{
	return s->fd == 0 ? s->pipe : s->conn;
}

static int target(const struct pipes_stream *s)
{
	return s->fd == 0 ? s->conn : s->pipe;
}

static void finish(struct pipes_stream *s)
{
	struct pipes *io = s->io;

	/* stdin: the agent closes the process's end when the stream has ended. */
	stream_close(s);
	if (s->fd != 0 && pipes_is_drained(io))
		io->drained(io);
}

static void wait_for(struct pipes_stream *s, int fd, uint32_t events)
{
	if (s->src.loop && s->src.fd == fd) {
		loop_mod_fd(&s->src, events);
		return;
	}
	loop_remove_fd(&s->src);
	if (loop_add_fd(s->io->loop, &s->src, fd, events, on_ready, NULL) < 0)
		finish(s);
}

static ssize_t move(struct pipes_stream *s)
{
	static char bytes[CHUNK];

	if (s->drop)
		return recv(s->conn, bytes, sizeof(bytes), 0);
	return splice(source(s), NULL, target(s), NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

static void on_ready(struct loop_fd *src, uint32_t events)
{
	struct pipes_stream *s = container_of(src, struct pipes_stream, src);
	struct pollfd from = {.fd = source(s), .events = POLLIN};

	for (unsigned i = 0; i < TURNS; i++) {
		ssize_t n = move(s);

		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n == 0 || errno != EAGAIN) {
			finish(s);
			return;
		}
		if (poll(&from, 1, 0) > 0 && from.revents & POLLIN)
			wait_for(s, target(s), EPOLLOUT);
		else
			wait_for(s, source(s), EPOLLIN);
		return;
	}
	wait_for(s, source(s), EPOLLIN);
}

/* ---- setting up ---- */

static int open_pipe(const char *path, int flags, const char *what, int *ret, struct err *err)
{
	struct stat st;
	auto_close int fd = -1;

	if (*path != '/')
		return err_set(err, EINVAL,
			"%s '%.200s': only named pipes are supported (logging URIs such as binary:// and file:// are "
			"not)",
			what, path);
	fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "open %s '%.200s'", what, path);
	if (!S_ISFIFO(st.st_mode))
		return err_set(err, EINVAL, "%s '%.200s' is not a named pipe", what, path);
	*ret = take_fd(&fd);
	return 0;
}

static int open_output(struct pipes_stream *s, const char *path, const char *what, struct err *err)
{
	s->used = true;
	s->drop = !*path;
	return s->drop ? 0 : open_pipe(path, O_RDWR, what, &s->pipe, err);
}

int pipes_open(struct pipes *io, const char *in, const char *out, const char *errout, bool terminal, struct err *err)
{
	struct pipes_stream *s = &io->stream[0];
	int r = 0;

	io->terminal = terminal;
	if (*in) {
		s->used = true;
		r = open_pipe(in, O_RDONLY, "stdin", &s->pipe, err);
		if (r == 0)
			r = open_pipe(in, O_WRONLY, "stdin", &s->hold, err);
	}
	if (r == 0)
		r = open_output(&io->stream[1], out, "stdout", err);
	if (r == 0 && !terminal)
		r = open_output(&io->stream[2], errout, "stderr", err);
	if (r < 0)
		pipes_close(io);
	return r;
}

static const char *const names[] = {"stdin", "stdout", "stderr"};

static void on_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct pipes_stream *s = container_of(d, struct pipes_stream, dial);
	struct pipes *io = s->io;
	struct err why;

	s->conn = fd;
	if (io->failed)
		return;
	if (err) {
		why = *err;
		(void)err_wrap(&why, "attach to %s", names[s->fd]);
		io->failed = true;
		io->attached(io, &why);
		return;
	}
	wait_for(s, source(s), EPOLLIN);
	if (--io->dials == 0)
		io->attached(io, NULL);
}

int pipes_attach(struct pipes *io, struct sandbox *sb, const char *container, const char *exec, struct err *err)
{
	int r = 0;

	io->dials = 0;
	for (unsigned i = 0; r == 0 && i < 3; i++) {
		if (!io->stream[i].used)
			continue;
		io->stream[i].dial.done = on_dialled;
		r = sandbox_stream(sb, &io->stream[i].dial, container, exec, i, err);
		if (r < 0)
			(void)err_wrap(err, "attach to %s", names[i]);
		io->dials += r == 0;
	}
	if (r < 0)
		pipes_close(io);
	return r;
}

void pipes_close_stdin(struct pipes *io)
{
	close_fd(&io->stream[0].hold);
}
