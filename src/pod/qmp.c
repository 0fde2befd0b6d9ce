/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QMP client. The negotiation command is written before the greeting is read, so nothing waits for a round trip; calls
 * may follow at once, QEMU answers in order.
 *
 *   open    reads on the loop
 *   closed  end of file, a broken line, or a line too long: open calls fail, `closed` runs once from the loop
 *
 * Input is read into one bounded buffer.
 */
#include "pod/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/fd.h"

#define NEGOTIATE_ID 1u
#define LINES_PER_TURN 64

struct call {
	uint32_t id; /* 0: free */
	struct loop_timer timer;
	void (*done)(void *ctx, const struct qmp_message *answer, const struct err *err);
	void *ctx;
};

struct qmp {
	struct loop *loop;
	int sock;
	struct loop_fd src;
	struct qmp_callbacks cb;
	struct buf in;
	size_t seen; /* bytes of `in` known to hold no line end */
	uint32_t last_id;
	struct call calls[QMP_CALLS_MAX];
	struct loop_timer later; /* delivers what is left for the next turn, and `closed` */
	bool closed, told;
	struct err why;
};

static void deliver_later(struct loop_timer *t);

/* ---- the end ---- */

static void close_qmp(struct qmp *q, const struct err *why)
{
	if (q->closed)
		return;
	q->closed = true;
	q->why = *why;
	loop_remove_fd(&q->src);
	close_fd(&q->sock);
	loop_timer_set(q->loop, &q->later, 0, deliver_later);
}

static void finish_call(struct call *c, const struct qmp_message *answer, const struct err *err)
{
	void (*done)(void *, const struct qmp_message *, const struct err *) = c->done;

	loop_timer_cancel(&c->timer);
	c->id = 0;
	if (done)
		done(c->ctx, answer, err);
}

static void fail_calls(struct qmp *q)
{
	struct err e = {0};

	(void)err_set(&e, EPIPE, "QMP: connection closed%s%s", *q->why.msg ? ": " : "", q->why.msg);
	for (unsigned i = 0; i < QMP_CALLS_MAX; i++)
		if (q->calls[i].id)
			finish_call(&q->calls[i], NULL, &e);
}

/* ---- what comes in ---- */

static void deliver(struct qmp *q, const struct qmp_message *m)
{
	struct err e = {0};

	if (m->kind == QMP_EVENT) {
		q->cb.event(q->cb.ctx, m);
		return;
	}
	if (m->kind == QMP_ERROR && (m->id == 0 || m->id == NEGOTIATE_ID)) {
		(void)err_set(&e, EPROTO, "QMP: QEMU refused to negotiate: %s", m->text);
		close_qmp(q, &e);
		return;
	}
	for (unsigned i = 0; m->id && i < QMP_CALLS_MAX; i++) {
		if (q->calls[i].id != m->id)
			continue;
		if (m->kind == QMP_ERROR)
			(void)err_set(&e, EIO, "QMP: %s: %s", m->name, m->text);
		finish_call(&q->calls[i], m->kind == QMP_ERROR ? NULL : m, m->kind == QMP_ERROR ? &e : NULL);
		return;
	}
	/* A greeting, the answer to the negotiation, or one that came after its time limit. */
}

static void deliver_later(struct loop_timer *t)
{
	struct qmp *q = container_of(t, struct qmp, later);

	qmp_drain(q);
	if (q->closed && !q->told) {
		q->told = true;
		fail_calls(q);
		q->cb.closed(q->cb.ctx, &q->why);
	}
}

/* The next whole line of the buffer. 1: *ret is filled. 0: none yet. -EPROTO: the connection was closed. */
static int next_message(struct qmp *q, struct qmp_message *ret)
{
	struct err e = {0};

	for (;;) {
		const char *p = (const char *)buf_data(&q->in), *end;
		size_t n;
		int r;

		end = q->in.len > q->seen ? memchr(p + q->seen, '\n', q->in.len - q->seen) : NULL;
		if (!end) {
			q->seen = q->in.len;
			return 0;
		}
		n = (size_t)(end - p);
		while (n && (p[n - 1] == '\r' || p[n - 1] == ' '))
			n--;
		r = n ? qmp_decode(ret, p, n, &e) : 0;
		buf_consume(&q->in, (size_t)(end - p) + 1);
		q->seen = 0;
		if (r < 0) {
			close_qmp(q, &e);
			return r;
		}
		if (n)
			return 1;
	}
}

/* Reads once. 1: bytes came, 0: nothing there now, < 0: closed. */
static int fill(struct qmp *q)
{
	struct err e = {0};
	void *room;
	ssize_t n;

	if (q->in.len > QMP_LINE_MAX) {
		(void)err_set(&e, EPROTO, "QMP: a line is longer than %u bytes", QMP_LINE_MAX);
		close_qmp(q, &e);
		return -EPROTO;
	}
	room = buf_reserve(&q->in, 4096);
	if (!room) {
		(void)err_set(&e, ENOMEM, "QMP: out of memory");
		close_qmp(q, &e);
		return -ENOMEM;
	}
	n = recv(q->sock, room, 4096, MSG_DONTWAIT);
	if (n > 0) {
		buf_added(&q->in, (size_t)n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* A peer that died with commands unread resets the connection: a hang-up, too. */
	if (n < 0 && errno != ECONNRESET)
		(void)err_errno(&e, "QMP: read");
	close_qmp(q, &e);
	return -EPIPE;
}

static void on_readable(struct loop_fd *src, uint32_t events)
{
	qmp_drain(container_of(src, struct qmp, src));
}

void qmp_drain(struct qmp *q)
{
	struct qmp_message m;

	if (!q)
		return;
	for (unsigned i = 0; i < LINES_PER_TURN; i++) {
		int r;

		r = q->closed ? -EPIPE : next_message(q, &m);
		if (r > 0)
			deliver(q, &m);
		else if (r < 0 || fill(q) <= 0)
			break;
	}
	if (q->closed)
		return;
	/* A peer that never stops writing waits for its next turn; lines already read would not wake the loop. */
	if (q->in.len > q->seen)
		loop_timer_set(q->loop, &q->later, 0, deliver_later);
	else if (!q->in.len)
		buf_trim(&q->in);
}

/* ---- calls ---- */

static int send_command(struct qmp *q, const char *command, uint32_t id, struct err *err)
{
	char line[96];
	size_t n = qmp_encode(line, command, id);
	ssize_t sent = send(q->sock, line, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* Commands are tiny and few: a socket buffer that is full means that QEMU does not read any more. */
	if (sent < 0)
		return err_errno(err, "QMP: send '%s'", command);
	if ((size_t)sent != n)
		return err_set(err, EIO, "QMP: send '%s': QEMU does not read", command);
	return 0;
}

static uint32_t new_id(struct qmp *q)
{
	q->last_id = q->last_id == UINT32_MAX ? NEGOTIATE_ID + 1 : q->last_id + 1;
	return q->last_id;
}

static void on_call_timeout(struct loop_timer *t)
{
	struct call *c = container_of(t, struct call, timer);
	struct err e = {0};

	(void)err_set(&e, ETIMEDOUT, "QMP: no answer in time");
	finish_call(c, NULL, &e);
}

int qmp_call(struct qmp *q, const char *command, unsigned timeout_ms,
	void (*done)(void *ctx, const struct qmp_message *answer, const struct err *err), void *ctx, struct err *err)
{
	struct call *c = NULL;
	uint32_t id;
	int r;

	if (q->closed)
		return err_set(err, EPIPE, "QMP: '%s': the connection is closed", command);
	for (unsigned i = 0; i < QMP_CALLS_MAX && !c; i++)
		if (!q->calls[i].id)
			c = &q->calls[i];
	if (!c)
		return err_set(err, EBUSY, "QMP: '%s': %u calls have no answer yet", command, QMP_CALLS_MAX);
	id = new_id(q);
	r = send_command(q, command, id, err);
	if (r < 0)
		return r;
	c->id = id;
	c->done = done;
	c->ctx = ctx;
	loop_timer_set(q->loop, &c->timer, timeout_ms * NS_PER_MS, on_call_timeout);
	return 0;
}

/* ---- life ---- */

int qmp_new(struct qmp **ret, struct loop *loop, int sock, const struct qmp_callbacks *cb, struct err *err)
{
	auto_close int owned = sock;
	struct qmp *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_set(err, ENOMEM, "QMP: out of memory");
	q->loop = loop;
	q->cb = *cb;
	q->in = (struct buf)BUF_INIT(QMP_LINE_MAX + 8192);
	q->last_id = NEGOTIATE_ID;
	q->sock = take_fd(&owned);
	r = send_command(q, "qmp_capabilities", NEGOTIATE_ID, err);
	if (r == 0)
		r = loop_add_fd(loop, &q->src, q->sock, EPOLLIN, on_readable, err);
	if (r < 0) {
		qmp_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	for (unsigned i = 0; i < QMP_CALLS_MAX; i++)
		loop_timer_cancel(&q->calls[i].timer);
	loop_timer_cancel(&q->later);
	loop_remove_fd(&q->src);
	close_fd(&q->sock);
	buf_fini(&q->in);
	free(q);
}
