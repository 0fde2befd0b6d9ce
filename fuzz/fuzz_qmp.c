/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile QEMU. The input is what it sends; its first byte says how it is cut, so that the line buffer and the codec see
 * it in pieces, with calls of our own in between. Each line is also given to the codec alone.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/qmp.h"

#define INPUT_MAX 65536

static void check_text(const char *text, size_t size)
{
	size_t n = strnlen(text, size);

	assert(n < size);
	for (size_t i = 0; i < n; i++)
		assert((unsigned char)text[i] >= 0x20 && (unsigned char)text[i] < 0x7f);
}

static void decode(const char *line, size_t n)
{
	struct qmp_message m;
	struct err err = {0};
	int r = qmp_decode(&m, line, n, &err);

	assert(r == 0 || (r < 0 && err.code && *err.msg));
	if (r < 0)
		return;
	check_text(m.name, sizeof(m.name));
	check_text(m.text, sizeof(m.text));
}

static void decode_all(const char *text, size_t n)
{
	while (n) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;

		decode(text, len);
		text += len + (end != NULL);
		n -= len + (end != NULL);
	}
}

struct session {
	unsigned calls, answers, lost;
};

static void on_event(void *ctx, const struct qmp_message *ev)
{
	const struct session *s = ctx;

	assert(ev->kind == QMP_EVENT && !s->lost);
	check_text(ev->name, sizeof(ev->name));
}

static void on_lost(void *ctx, const struct err *why)
{
	struct session *s = ctx;

	assert(why && s->lost++ == 0);
}

static void on_answer(void *ctx, const struct qmp_message *answer, const struct err *err)
{
	struct session *s = ctx;

	assert((answer != NULL) != (err != NULL && err->code != 0));
	s->answers++;
	assert(s->answers <= s->calls);
}

static void talk(const uint8_t *bytes, size_t n, unsigned cut)
{
	struct session s = {0};
	const struct qmp_callbacks cb = {.event = on_event, .closed = on_lost, .ctx = &s};
	struct loop *loop = NULL;
	struct qmp *q = NULL;
	int pair[2], r = loop_new(&loop, NULL);

	assert(r == 0);
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
	assert(r == 0);
	r = qmp_new(&q, loop, pair[0], &cb, NULL);
	assert(r == 0);
	for (size_t at = 0; at < n && !s.lost; at += cut) {
		size_t some = MIN_OF(n - at, (size_t)cut);
		struct err err = {0};

		if (send(pair[1], bytes + at, some, MSG_NOSIGNAL) < 0)
			break;
		if (qmp_call(q, "query-status", 60000, on_answer, &s, &err) == 0)
			s.calls++;
		else
			assert(err.code == EBUSY || err.code == EPIPE || s.lost);
		(void)loop_turn(loop, 0);
	}
	close_fd(&pair[1]);
	qmp_drain(q);
	for (int i = 0; i < 100 && !s.lost; i++)
		(void)loop_turn(loop, 0);
	assert(s.lost == 1 && s.answers == s.calls);
	qmp_free(q);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > INPUT_MAX)
		return 0;
	decode_all((const char *)data + 1, size - 1);
	/* At most some hundred pieces. */
	talk(data + 1, size - 1, 1 + data[0] + (unsigned)(size / 128));
	return 0;
}
