/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"

#define DEADLINE_MS 60000

/* ---- codec ---- */

static const struct {
	const char *line;
	int r;
	struct qmp_message m;
} good[] = {
	{"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, \"capabilities\": "
	 "[\"oob\"]}}",
		0, {.kind = QMP_GREETING, .name = "7.2.22"}},
	{"{\"return\": {}, \"id\": 7}", 0, {.kind = QMP_RETURN, .id = 7}},
	{"{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": 4294967295}", 0,
		{.kind = QMP_RETURN, .id = UINT32_MAX, .text = "running"}},
	{"{\"id\": 9, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such thing\"}}", 0,
		{.kind = QMP_ERROR, .id = 9, .name = "CommandNotFound", .text = "no such thing"}},
	{"{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
	 "\"reason\": \"guest-reset\"}}",
		0, {.kind = QMP_EVENT, .name = "SHUTDOWN", .text = "guest-reset", .guest = true}},
	{"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}}", 0,
		{.kind = QMP_EVENT, .name = "GUEST_PANICKED", .text = "pause"}},
	{"{\"event\": \"STOP\"}", 0, {.kind = QMP_EVENT, .name = "STOP"}},
	/* hostile, but an object of a known kind */
	{"{\"return\": 3, \"id\": -1}", 0, {.kind = QMP_RETURN}},
	{"{\"return\": null, \"id\": 4294967296}", 0, {.kind = QMP_RETURN}},
	{"{\"return\": [], \"id\": \"7\"}", 0, {.kind = QMP_RETURN}},
	{"{\"event\": \"A\\n\\u001b[31m\\u00e9\", \"data\": 5}", 0, {.kind = QMP_EVENT, .name = "A??[31m??"}},
	{"{\"error\": {\"class\": 1, \"desc\": {}}}", 0, {.kind = QMP_ERROR}},
	{"{\"QMP\": {\"version\": 7}}", 0, {.kind = QMP_GREETING, .name = "0.0.0"}},
	{"{\"event\": \"0123456789012345678901234567890123456789012345678901234567890123456789\"}", 0,
		{.kind = QMP_EVENT, .name = "01234567890123456789012345678901234567890123456"}},
	/* refused */
	{"", -EPROTO, {0}},
	{"{", -EPROTO, {0}},
	{"nonsense", -EPROTO, {0}},
	{"[]", -EPROTO, {0}},
	{"{}", -EPROTO, {0}},
	{"\"event\"", -EPROTO, {0}},
	{"{\"event\": 5}", -EPROTO, {0}},
	{"{\"error\": \"x\"}", -EPROTO, {0}},
	{"{\"QMP\": 1}", -EPROTO, {0}},
	{"{\"return\": {}, \"return\": {}}", -EPROTO, {0}},
	{"{\"return\": {}} trailing", -EPROTO, {0}},
	{"{\"event\": \"\xff\xfe\"}", -EPROTO, {0}},
};

static void codec_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct qmp_message m = {.kind = 99};
		struct err e = {0};
		int r = qmp_decode(&m, good[i].line, strlen(good[i].line), &e);

		if (r != good[i].r)
			fail_msg("line %zu '%s': %d, not %d", i, good[i].line, r, good[i].r);
		if (r < 0) {
			assert_int_equal((int)m.kind, 99);
			assert_int_equal(e.code, EPROTO);
			continue;
		}
		assert_int_equal(m.kind, good[i].m.kind);
		assert_int_equal(m.id, good[i].m.id);
		assert_string_equal(m.name, good[i].m.name);
		assert_string_equal(m.text, good[i].m.text);
		assert_int_equal(m.guest, good[i].m.guest);
	}
}

static void nesting_is_bounded(void **state)
{
	static char deep[60000];
	struct qmp_message m;

	memset(deep, '[', sizeof(deep));
	assert_int_equal(qmp_decode(&m, deep, sizeof(deep), NULL), -EPROTO);
	memset(deep, '{', sizeof(deep));
	assert_int_equal(qmp_decode(&m, deep, sizeof(deep), NULL), -EPROTO);
}

static void commands_are_lines(void **state)
{
	char line[96];
	size_t n = qmp_encode(line, "query-status", UINT32_MAX);

	assert_int_equal(n, strlen(line));
	assert_string_equal(line, "{\"execute\":\"query-status\",\"id\":4294967295}\n");
}

/* ---- client ---- */

struct rig {
	struct loop *loop;
	struct qmp *q;
	int peer;
	unsigned n_events, n_closed, n_done;
	struct qmp_message event, answer;
	struct err closed, failed;
};

static void on_event(void *ctx, const struct qmp_message *ev)
{
	struct rig *rig = ctx;

	rig->n_events++;
	rig->event = *ev;
}

static void on_closed(void *ctx, const struct err *why)
{
	struct rig *rig = ctx;

	rig->n_closed++;
	rig->closed = *why;
}

static void on_done(void *ctx, const struct qmp_message *answer, const struct err *err)
{
	struct rig *rig = ctx;

	rig->n_done++;
	assert_true(!answer != !err);
	if (answer)
		rig->answer = *answer;
	else
		rig->failed = *err;
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct qmp_callbacks cb = {.event = on_event, .closed = on_closed, .ctx = rig};
	int pair[2];

	assert_non_null(rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(qmp_new(&rig->q, rig->loop, pair[0], &cb, NULL), 0);
	rig->peer = pair[1];
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	qmp_free(rig->q);
	loop_free(rig->loop);
	close_fd(&rig->peer);
	free(rig);
	return 0;
}

static void say(struct rig *rig, const char *text)
{
	assert_int_equal(fd_write_all(rig->peer, text, strlen(text)), 0);
}

/* Turns the loop until *what is at least n. */
static void until(struct rig *rig, const unsigned *what, unsigned n)
{
	uint64_t end = time_mono_ns() + DEADLINE_MS * NS_PER_MS;

	while (*what < n) {
		assert_true(time_mono_ns() < end);
		assert_int_equal(loop_turn(rig->loop, 100), 0);
	}
}

static void expect_line(struct rig *rig, const char *want)
{
	char line[200];
	size_t n = strlen(want);

	assert_true(n < sizeof(line));
	assert_int_equal(fd_read_all(rig->peer, line, n), 0);
	line[n] = '\0';
	assert_string_equal(line, want);
}

#define NEGOTIATE "{\"execute\":\"qmp_capabilities\",\"id\":1}\n"
#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 10}}}}\r\n"

static void calls_and_events(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(qmp_call(rig->q, "stop", 1000, on_done, rig, NULL), 0);
	expect_line(rig, NEGOTIATE "{\"execute\":\"stop\",\"id\":2}\n");
	say(rig, GREETING "{\"return\": {}, \"id\": 1}\r\n{\"event\": \"STOP\"}\r\n\r\n{\"return\"");
	until(rig, &rig->n_events, 1);
	assert_string_equal(rig->event.name, "STOP");
	assert_int_equal(rig->n_done, 0);
	say(rig, ": {\"status\": \"paused\"}, \"id\": 2}\n");
	until(rig, &rig->n_done, 1);
	assert_string_equal(rig->answer.text, "paused");
	assert_int_equal(qmp_call(rig->q, "cont", 1000, on_done, rig, NULL), 0);
	say(rig, "{\"id\": 3, \"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\n");
	until(rig, &rig->n_done, 2);
	assert_int_equal(rig->failed.code, EIO);
	assert_string_equal(rig->failed.msg, "QMP: GenericError: not now");
	assert_int_equal(rig->n_closed, 0);
}

static void answers_nobody_waits_for(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(qmp_call(rig->q, "stop", 1000, on_done, rig, NULL), 0);
	say(rig, "{\"return\": {}, \"id\": 77}\n{\"return\": {}}\n{\"return\": {}, \"id\": 2}\n{\"return\": {}, "
		 "\"id\": 2}\n"
		 "{\"event\": \"LAST\"}\n");
	until(rig, &rig->n_events, 1);
	assert_int_equal(rig->n_done, 1);
}

static void time_limit(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(qmp_call(rig->q, "stop", 20, on_done, rig, NULL), 0);
	until(rig, &rig->n_done, 1);
	assert_int_equal(rig->failed.code, ETIMEDOUT);
	/* The late answer disturbs nobody. */
	say(rig, "{\"return\": {}, \"id\": 2}\n{\"event\": \"X\"}\n");
	until(rig, &rig->n_events, 1);
	assert_int_equal(rig->n_done, 1);
}

static void calls_are_bounded(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < QMP_CALLS_MAX; i++)
		assert_int_equal(qmp_call(rig->q, "stop", 60000, on_done, rig, NULL), 0);
	assert_int_equal(qmp_call(rig->q, "stop", 60000, on_done, rig, NULL), -EBUSY);
	/* The end fails all of them, before `closed`. */
	close_fd(&rig->peer);
	until(rig, &rig->n_closed, 1);
	assert_int_equal(rig->n_done, QMP_CALLS_MAX);
	assert_int_equal(rig->failed.code, EPIPE);
	assert_int_equal(rig->closed.code, 0);
	assert_int_equal(qmp_call(rig->q, "stop", 1, on_done, rig, NULL), -EPIPE);
}

struct order {
	struct qmp *q;
	char names[16];
	unsigned n;
};

static void on_event_that_drains(void *ctx, const struct qmp_message *ev)
{
	struct order *o = ctx;

	o->names[o->n++] = ev->name[0];
	if (ev->name[0] == 'C')
		qmp_drain(o->q);
}

static void a_callback_may_drain(void **state)
{
	struct rig *rig = *state;
	struct order o = {0};
	struct qmp_callbacks cb = {.event = on_event_that_drains, .closed = on_closed, .ctx = &o};
	int pair[2];

	qmp_free(rig->q);
	close_fd(&rig->peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(qmp_new(&rig->q, rig->loop, pair[0], &cb, NULL), 0);
	rig->peer = pair[1];
	o.q = rig->q;
	say(rig, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"event\": \"C\"}\n{\"event\": \"D\"}\n{\"return\": {}, "
		 "\"id\": 2}\n{\"event\": \"E\"}\n{\"event\": \"F\"}\n");
	until(rig, &o.n, 6);
	assert_string_equal(o.names, "ABCDEF");
}

static void a_burst_is_delivered_whole(void **state)
{
	static const char one[] = "{\"event\":\"E\"}\n";
	struct rig *rig = *state;
	char burst[300 * (sizeof(one) - 1) + 1];

	/* In one write: the accounting of 300 small ones would fill the socket before anybody reads. */
	for (size_t i = 0; i < 300; i++)
		(void)strcpy(burst + i * (sizeof(one) - 1), one);
	say(rig, burst);
	until(rig, &rig->n_events, 300);
	assert_int_equal(rig->n_events, 300);
}

static const char *const broken[] = {
	"junk\n",
	"{\"hello\": 1}\n",
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no capabilities\"}, \"id\": 1}\n",
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"whose?\"}}\n",
};

static void broken_lines_end_it(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		void *s = NULL;
		struct rig *rig;

		(void)set_up(&s);
		rig = s;
		say(rig, broken[i]);
		until(rig, &rig->n_closed, 1);
		assert_int_equal(rig->closed.code, EPROTO);
		(void)tear_down(&s);
	}
}

static void endless_line_ends_it(void **state)
{
	struct rig *rig = *state;
	char chunk[4096];
	size_t sent = 0;

	memset(chunk, ' ', sizeof(chunk));
	assert_int_equal(fd_set_nonblock(rig->peer, true, NULL), 0);
	while (!rig->n_closed && sent < 16 * QMP_LINE_MAX) {
		ssize_t n = send(rig->peer, chunk, sizeof(chunk), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		assert_int_equal(loop_turn(rig->loop, 10), 0);
	}
	assert_int_equal(rig->n_closed, 1);
	assert_int_equal(rig->closed.code, EPROTO);
	assert_non_null(strstr(rig->closed.msg, "longer than"));
}

static void drain_reads_what_a_dead_peer_left(void **state)
{
	struct rig *rig = *state;

	say(rig, "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-shutdown\"}}\n");
	close_fd(&rig->peer);
	qmp_drain(rig->q);
	assert_int_equal(rig->n_events, 1);
	assert_string_equal(rig->event.text, "guest-shutdown");
	qmp_drain(NULL);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codec_table),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(commands_are_lines),
		CLIENT_TEST(calls_and_events),
		CLIENT_TEST(answers_nobody_waits_for),
		CLIENT_TEST(time_limit),
		CLIENT_TEST(calls_are_bounded),
		CLIENT_TEST(a_callback_may_drain),
		CLIENT_TEST(a_burst_is_delivered_whole),
		cmocka_unit_test(broken_lines_end_it),
		CLIENT_TEST(endless_line_ends_it),
		CLIENT_TEST(drain_reads_what_a_dead_peer_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
