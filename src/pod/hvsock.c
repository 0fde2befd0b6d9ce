/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer is read byte by byte (it is short), so that no byte of what follows is taken from the caller. What the VMM
 * writes is not trusted: a line longer than line[] or of another form ends the attempt.
 */
#include "pod/hvsock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/fd.h"

/* No call on it takes longer than that; 0: for ever. */
static void set_timeout(int fd, unsigned timeout_ms)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* timeout_ms 0: a socket that does not block. */
static int open_socket(const char *path, unsigned timeout_ms, int *ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (timeout_ms ? 0 : SOCK_NONBLOCK), 0);

	if (fd < 0)
		return err_errno(err, "socket");
	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(
			err, ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	/* A listener that has stopped lets clients wait as soon as its backlog is full. */
	if (timeout_ms)
		set_timeout(fd, timeout_ms);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (timeout_ms && errno == EAGAIN)
			return err_set(err, ETIMEDOUT, "'%s' took no connection within %u ms", path, timeout_ms);
		return err_errno(err, "connect to '%s'", path);
	}
	*ret = take_fd(&fd);
	return 0;
}

static int send_connect(int fd, unsigned port, struct err *err)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);

	/* A fresh socket's buffer takes this in one piece, blocking or not. */
	return send(fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : err_errno(err, "ask for guest port %u", port);
}

/* 1: the line is complete; 0: more is to come; < 0: refused or nonsense. */
static int take_line(struct hvsock_dial *d, struct err *err)
{
	char c;
	ssize_t n = recv(d->fd, &c, 1, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : err_errno(err, "guest connection");
	if (n == 0)
		return err_set(err, ECONNREFUSED, "the guest refused the connection");
	if (c != '\n') {
		if (d->n + 1 >= sizeof(d->line))
			return err_set(err, EPROTO, "the answer to CONNECT is too long");
		d->line[d->n++] = c;
		return 0;
	}
	d->line[d->n] = '\0';
	if (!str_has_prefix(d->line, "OK "))
		return err_set(err, EPROTO, "the answer to CONNECT is not OK");
	return 1;
}

/* The agent's one-byte answer to a stream header. Same returns. */
static int take_status(struct hvsock_dial *d, struct err *err)
{
	uint8_t status;
	ssize_t n = recv(d->fd, &status, 1, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : err_errno(err, "stream connection");
	if (n == 0)
		return err_set(err, ECONNRESET, "the agent closed the stream");
	if (status)
		return err_set(err, status, "the agent refused the stream: %s", strerror(status));
	return 1;
}

/* 1: connected. */
static int step(struct hvsock_dial *d, struct err *err)
{
	int r;

	if (d->status_next)
		return take_status(d, err);
	r = take_line(d, err);
	if (r != 1 || !d->is_stream)
		return r;
	if (send(d->fd, d->header, d->header_len, MSG_NOSIGNAL) != (ssize_t)d->header_len)
		return err_errno(err, "send the stream header");
	d->status_next = true;
	return 0;
}

static int prepare(struct hvsock_dial *d, const struct stream_header *h, struct err *err)
{
	d->n = 0;
	d->status_next = false;
	d->is_stream = h != NULL;
	d->header_len = 0;
	if (h) {
		int n = stream_header_encode(d->header, h);

		if (n < 0)
			return err_set(err, EINVAL, "a stream's container or exec id is too long");
		d->header_len = (unsigned)n;
	}
	return 0;
}

static int connect_sync(
	const char *path, unsigned port, const struct stream_header *h, unsigned timeout_ms, int *ret, struct err *err)
{
	uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct hvsock_dial d = {.fd = -1};
	auto_close int fd = -1;
	int r = prepare(&d, h, err);

	if (r == 0)
		r = open_socket(path, MAX_OF(timeout_ms, 1u), &fd, err);
	if (r < 0)
		return r;
	d.fd = fd;
	r = send_connect(fd, port, err);
	while (r == 0) {
		r = step(&d, err);
		if (r == 0 && time_mono_ns() > deadline)
			return err_set(
				err, ETIMEDOUT, "the guest did not answer on port %u within %u ms", port, timeout_ms);
	}
	if (r < 0)
		return r;
	set_timeout(fd, 0);
	*ret = take_fd(&fd);
	return 0;
}

int hvsock_connect(const char *path, unsigned port, unsigned timeout_ms, int *ret_fd, struct err *err)
{
	return connect_sync(path, port, NULL, timeout_ms, ret_fd, err);
}

int hvsock_attach(const char *path, const struct stream_header *h, unsigned timeout_ms, int *ret_fd, struct err *err)
{
	return connect_sync(path, STREAM_PORT, h, timeout_ms, ret_fd, err);
}

void hvsock_dial_cancel(struct hvsock_dial *d)
{
	loop_timer_cancel(&d->timer);
	if (!d->src.loop)
		return;
	loop_remove_fd(&d->src);
	close_fd(&d->fd);
}

static void on_ready(struct loop_fd *src, uint32_t events)
{
	struct hvsock_dial *d = container_of(src, struct hvsock_dial, src);
	struct err err = {0};
	int r = step(d, &err);

	if (r == 0)
		return;
	loop_timer_cancel(&d->timer);
	loop_remove_fd(&d->src);
	if (r < 0)
		close_fd(&d->fd);
	d->done(d, take_fd(&d->fd), r < 0 ? &err : NULL);
}

static void on_timeout(struct loop_timer *t)
{
	struct hvsock_dial *d = container_of(t, struct hvsock_dial, timer);
	struct err err = {0};

	(void)err_set(&err, ETIMEDOUT, "the guest did not answer in time");
	hvsock_dial_cancel(d);
	d->done(d, -1, &err);
}

void hvsock_dial_timeout(struct hvsock_dial *d, struct loop *loop, unsigned timeout_ms)
{
	loop_timer_set(loop, &d->timer, timeout_ms * NS_PER_MS, on_timeout);
}

int hvsock_dial_start(struct hvsock_dial *d, struct loop *loop, const char *path, unsigned port,
	const struct stream_header *h, struct err *err)
{
	auto_close int fd = -1;
	int r = prepare(d, h, err);

	if (r == 0)
		r = open_socket(path, 0, &fd, err);
	if (r == 0)
		r = send_connect(fd, port, err);
	if (r == 0)
		r = loop_add_fd(loop, &d->src, fd, EPOLLIN, on_ready, err);
	if (r == 0)
		d->fd = take_fd(&fd);
	return r;
}
