/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll reports EPOLLHUP and EPOLLERR whether asked or not, so an end that nothing is wanted from is taken out of the
 * loop; a sink that is a socket or the write side of a pipe stays in with no event asked for, to learn that its peer went.
 */
#include "agent/pump.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"

#define TURNS_MAX 8 /* chunks a call, so that one stream cannot starve the others */

static void on_end(struct loop_fd *src, uint32_t events);

static void end_watch(struct pump_end *e)
{
	bool in = e->reader && !e->reader->eof && e->reader->pend.len == 0 && !e->reader->gather.loop;
	bool out = e->writer && e->writer->pend.len > 0;
	/* A vsock whose peer has closed reports EPOLLRDHUP and no EPOLLHUP: as long as we could still send. */
	uint32_t want = (in ? (uint32_t)EPOLLIN : 0) | (out ? (uint32_t)EPOLLOUT : 0) |
			(e->writer && e->one_way ? (uint32_t)EPOLLRDHUP : 0);
	/* The pty is the only end that is a source and no socket and still written to; it hangs up level-triggered. */
	bool watch = want || (e->writer && (e->is_socket || !e->reader));
	struct err err;

	if (!watch || e->fd < 0)
		loop_remove_fd(&e->src);
	else if (e->src.loop)
		loop_mod_fd(&e->src, want);
	else if (loop_add_fd(e->loop, &e->src, e->fd, want, on_end, &err) < 0)
		(void)shutdown(
			e->fd, SHUT_RDWR); /* no memory in the kernel: the stream ends instead of standing still */
}

void pump_end_open(struct pump_end *e, struct loop *loop, int fd, bool is_socket)
{
	*e = (struct pump_end){.loop = loop, .fd = fd, .is_socket = is_socket};
}

void pump_end_close(struct pump_end *e)
{
	loop_remove_fd(&e->src);
	close_fd(&e->fd);
}

void pump_init(struct pump *p, void (*ended)(struct pump *p, enum pump_why why), void *ctx)
{
	*p = (struct pump){.ended = ended, .ctx = ctx, .pend = BUF_INIT(PUMP_CHUNK)};
}

void pump_start(struct pump *p, struct pump_end *from, struct pump_end *to)
{
	p->from = from;
	p->to = to;
	from->reader = p;
	to->writer = p;
	end_watch(from);
	end_watch(to);
}

void pump_stop(struct pump *p)
{
	struct pump_end *from = p->from, *to = p->to;

	if (!from)
		return;
	loop_timer_cancel(&p->gather);
	p->from = p->to = NULL;
	from->reader = NULL;
	to->writer = NULL;
	end_watch(from);
	end_watch(to);
}

void pump_fini(struct pump *p)
{
	pump_stop(p);
	buf_fini(&p->pend);
}

static void finish(struct pump *p, enum pump_why why)
{
	pump_stop(p);
	p->ended(p, why);
}

static ssize_t put(const struct pump *p)
{
	if (p->to->is_socket)
		return send(p->to->fd, buf_data(&p->pend), p->pend.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return write(p->to->fd, buf_data(&p->pend), p->pend.len);
}

static bool again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Fills `pend`. False: nothing more for now. */
static bool fill(struct pump *p)
{
	void *room = buf_reserve(&p->pend, PUMP_CHUNK);
	ssize_t n;

	if (!room)
		return false; /* no memory: level triggered, tried again */
	n = read(p->from->fd, room, PUMP_CHUNK);
	if (n > 0)
		buf_added(&p->pend, (size_t)n);
	else if (n == 0 || !again()) /* a terminal that nobody holds any more says EIO */
		p->eof = true;
	else if (p->close_when_idle)
		p->eof = true;
	else
		return false;
	return true;
}

static void look(struct pump *p, bool gathered);

static void on_gathered(struct loop_timer *t)
{
	look(container_of(t, struct pump, gather), true);
}

/* At the end of a look: the source has nothing more for now. */
static void gather(struct pump *p)
{
	uint64_t now = time_mono_ns();
	bool soon = now - p->looked_ns < 2 * GATHER_NS;

	if (p->gathered && p->found < GATHER_FULL)
		p->pauses = 0;
	if (!p->found || !soon || (p->prompt && p->prompted != p->prompt->writes))
		p->small = 0;
	else if (p->gathered && p->found >= GATHER_FULL)
		p->pause = p->pauses = MIN_OF(MAX_OF(2 * p->pauses, GATHER_PAUSE_MIN), GATHER_PAUSE_MAX);
	else if (p->pause)
		p->pause--;
	else if (p->small < GATHER_AFTER)
		p->small++;
	else
		loop_timer_set(p->from->loop, &p->gather, GATHER_NS, on_gathered);
	if (p->prompt)
		p->prompted = p->prompt->writes;
	p->looked_ns = now;
	p->gathered = false;
	p->found = 0;
}

/* Moves what can be moved. False: it has ended. *empty: the source has no more for now. */
static bool move(struct pump *p, bool *empty)
{
	for (int i = 0; i < 2 * TURNS_MAX; i++) {
		ssize_t n;

		if (p->pend.len == 0) {
			if (p->eof) {
				buf_trim(&p->pend);
				finish(p, PUMP_EOF);
				return false;
			}
			*empty = !fill(p);
			if (*empty)
				return true;
			p->found += p->pend.len;
			continue;
		}
		n = put(p);
		if (n < 0 && !again()) {
			finish(p, PUMP_GONE);
			return false;
		}
		if (n < 0)
			return true;
		p->writes++;
		buf_consume(&p->pend, (size_t)n);
	}
	return true;
}

static void look(struct pump *p, bool gathered)
{
	bool empty = false;

	loop_timer_cancel(&p->gather);
	p->gathered = p->gathered || gathered;
	if (!move(p, &empty))
		return;
	if (empty && p->gathers)
		gather(p);
	if (p->pend.len == 0)
		buf_trim(&p->pend);
	end_watch(p->from);
	end_watch(p->to);
}

void pump_run(struct pump *p)
{
	if (p->from)
		look(p, false);
}

static void on_end(struct loop_fd *src, uint32_t events)
{
	struct pump_end *e = container_of(src, struct pump_end, src);
	struct pump *reader = e->reader, *writer = e->writer;
	uint32_t gone = (uint32_t)(EPOLLERR | EPOLLHUP) | (e->one_way ? (uint32_t)EPOLLRDHUP : 0);

	/* A sink that hung up takes no more; what it has of the other direction is read below first. */
	if (writer && (events & gone) && (e->is_socket || !reader)) {
		if (reader) {
			pump_run(reader);
			if (e->writer != writer)
				return;
		}
		finish(writer, PUMP_GONE);
		return;
	}
	if (reader && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		pump_run(reader);
	if (e->writer == writer && writer && (events & EPOLLOUT))
		pump_run(writer);
}
