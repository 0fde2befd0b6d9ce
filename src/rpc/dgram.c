/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/dgram.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"

#define PREFIX 2
#define READ_CHUNK 16384u
#define TURNS_MAX 8 /* reads in a row, so that one stream cannot starve the others */

static void on_idle(struct loop_timer *t)
{
	struct dgram *d = container_of(t, struct dgram, idle);
	uint64_t quiet = time_mono_ns() - d->used_ns;

	if (quiet >= DGRAM_IDLE_NS)
		d->ended(d);
	else
		loop_timer_set(d->loop, t, DGRAM_IDLE_NS - quiet, on_idle);
}

void dgram_init(struct dgram *d, struct loop *loop, void (*deliver)(struct dgram *d, const uint8_t *bytes, size_t n),
	void (*ended)(struct dgram *d))
{
	*d = (struct dgram){.loop = loop,
		.fd = -1,
		.in = BUF_INIT(DGRAM_PENDING_MAX),
		.out = BUF_INIT(DGRAM_PENDING_MAX),
		.used_ns = time_mono_ns(),
		.deliver = deliver,
		.ended = ended};
	loop_timer_set(loop, &d->idle, DGRAM_IDLE_NS, on_idle);
}

void dgram_close(struct dgram *d)
{
	loop_timer_cancel(&d->idle);
	loop_remove_fd(&d->src);
	buf_fini(&d->in);
	buf_fini(&d->out);
	d->fd = -1;
}

/* False: the stream is broken. */
static bool push(struct dgram *d)
{
	while (d->out.len) {
		ssize_t n = send(d->fd, buf_data(&d->out), d->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		buf_consume(&d->out, (size_t)n);
	}
	buf_trim(&d->out);
	loop_mod_fd(&d->src, EPOLLIN | (d->out.len ? EPOLLOUT : 0));
	return true;
}

bool dgram_send(struct dgram *d, const void *bytes, size_t n)
{
	uint8_t prefix[PREFIX];

	if (n > DGRAM_MAX || d->out.limit - d->out.len < n + PREFIX)
		return false;
	put_le16(prefix, (uint16_t)n);
	/* Both fit: only memory can be missing, and half a datagram must not stay. */
	if (!buf_reserve(&d->out, n + PREFIX) || buf_append(&d->out, prefix, PREFIX) < 0 ||
		buf_append(&d->out, bytes, n) < 0)
		return false;
	d->used_ns = time_mono_ns();
	if (d->fd >= 0 && !push(d))
		d->ended(d);
	return true;
}

static int deliver_all(struct dgram *d)
{
	while (d->in.len >= PREFIX) {
		size_t n = get_le16(buf_data(&d->in));

		if (n > DGRAM_MAX)
			return -EPROTO;
		if (d->in.len < PREFIX + n)
			break;
		d->used_ns = time_mono_ns();
		d->deliver(d, buf_data(&d->in) + PREFIX, n);
		buf_consume(&d->in, PREFIX + n);
	}
	return 0;
}

/* -errno; -ECONNRESET at the end of the stream. */
static int pull(struct dgram *d)
{
	int r = 0;

	for (int i = 0; i < TURNS_MAX && r == 0; i++) {
		/* Less than one datagram is left over, so there is always room. */
		void *room = buf_reserve(&d->in, READ_CHUNK);
		ssize_t n;

		if (!room)
			return -ENOMEM;
		n = recv(d->fd, room, READ_CHUNK, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		buf_added(&d->in, (size_t)n);
		r = deliver_all(d);
	}
	buf_trim(&d->in);
	return r;
}

static void on_stream(struct loop_fd *src, uint32_t events)
{
	struct dgram *d = container_of(src, struct dgram, src);
	int r = 0;

	if (events & EPOLLOUT)
		r = push(d) ? 0 : -EPIPE;
	if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		r = pull(d);
	if (r < 0)
		d->ended(d);
}

int dgram_open(struct dgram *d, int fd, struct err *err)
{
	int r = loop_add_fd(d->loop, &d->src, fd, EPOLLIN | (d->out.len ? EPOLLOUT : 0), on_stream, err);

	if (r == 0)
		d->fd = fd;
	return r;
}
