/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pump.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

/* in -> ours | pump | sink -> out */
struct rig {
	struct loop *loop;
	int in, out;
	struct pump_end from, to;
	struct pump pump;
	unsigned ended;
	enum pump_why why;
};

static void on_ended(struct pump *p, enum pump_why why)
{
	struct rig *rig = p->ctx;

	rig->ended++;
	rig->why = why;
}

static void start(struct rig *rig, bool one_way)
{
	int a[2], b[2];

	*rig = (struct rig){0};
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(pipe2(a, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
	rig->in = a[1];
	rig->out = b[1];
	pump_end_open(&rig->from, rig->loop, a[0], false);
	pump_end_open(&rig->to, rig->loop, b[0], true);
	rig->to.one_way = one_way;
	pump_init(&rig->pump, on_ended, rig);
	pump_start(&rig->pump, &rig->from, &rig->to);
}

static void stop(struct rig *rig)
{
	pump_fini(&rig->pump);
	pump_end_close(&rig->from);
	pump_end_close(&rig->to);
	close_fd(&rig->in);
	close_fd(&rig->out);
	loop_free(rig->loop);
}

static void turn(struct rig *rig)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_turn(rig->loop, 0), 0);
}

static void bytes_pass_and_the_end_is_behind_them(void **state)
{
	char got[16];
	struct rig rig;

	start(&rig, true);
	assert_int_equal(write(rig.in, "hello", 5), 5);
	close_fd(&rig.in);
	turn(&rig);
	assert_int_equal(rig.ended, 1);
	assert_int_equal(rig.why, PUMP_EOF);
	assert_int_equal(read(rig.out, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	stop(&rig);
}

static void a_slow_sink_stops_the_source(void **state)
{
	static char bytes[65536];
	struct rig rig;
	size_t sent = 0, got = 0;
	ssize_t n;

	start(&rig, true);
	for (unsigned full = 0; full < 3;) {
		n = write(rig.in, bytes, sizeof(bytes));
		full = n < 0 ? full + 1 : 0;
		sent += n > 0 ? (size_t)n : 0;
		turn(&rig);
		assert_true(rig.pump.pend.len <= PUMP_CHUNK);
	}
	close_fd(&rig.in);
	while (!rig.ended || got < sent) {
		n = read(rig.out, bytes, sizeof(bytes));
		got += n > 0 ? (size_t)n : 0;
		turn(&rig);
	}
	assert_int_equal(got, sent);
	assert_int_equal(rig.why, PUMP_EOF);
	stop(&rig);
}

static void a_sink_that_goes_is_noticed_while_nothing_moves(void **state)
{
	struct rig rig;

	start(&rig, true);
	turn(&rig);
	close_fd(&rig.out);
	turn(&rig);
	assert_int_equal(rig.ended, 1);
	assert_int_equal(rig.why, PUMP_GONE);
	stop(&rig);
}

/* What a vsock peer's close looks like; on a socket of two directions it is a half-close and no end. */
static void a_peer_that_shuts_its_side(void **state)
{
	for (int one_way = 0; one_way < 2; one_way++) {
		struct rig rig;

		start(&rig, one_way);
		turn(&rig);
		assert_int_equal(shutdown(rig.out, SHUT_WR), 0);
		turn(&rig);
		assert_int_equal(rig.ended, one_way);
		stop(&rig);
	}
}

static void the_first_quiet_moment_can_be_the_end(void **state)
{
	struct rig rig;

	start(&rig, true);
	assert_int_equal(write(rig.in, "x", 1), 1);
	rig.pump.close_when_idle = true;
	pump_run(&rig.pump);
	assert_int_equal(rig.ended, 1);
	assert_int_equal(rig.why, PUMP_EOF);
	stop(&rig);
}

/* ---- gathering ---- */

static void start_gathering(struct rig *rig)
{
	start(rig, true);
	assert_true(fcntl(rig->in, F_SETPIPE_SZ, PUMP_PIPE) >= (int)PUMP_PIPE);
	rig->pump.gathers = true;
}

/* Takes what has come out; how much. */
static size_t drain(struct rig *rig)
{
	static char bytes[1 << 16];
	size_t sum = 0;
	ssize_t n;

	while ((n = read(rig->out, bytes, sizeof(bytes))) > 0)
		sum += (size_t)n;
	return sum;
}

/* Small pieces, one a look, until the pump gathers: how many that took. A slow machine needs more, the looks have to be close. */
static unsigned until_gathering(struct rig *rig)
{
	unsigned n = 0;

	for (; !rig->pump.gather.loop; n++) {
		assert_true(n < 100000);
		assert_int_equal(write(rig->in, "x", 1), 1);
		assert_int_equal(loop_turn(rig->loop, -1), 0);
		assert_int_equal(drain(rig), 1);
	}
	return n;
}

static void small_pieces_are_gathered(void **state)
{
	struct rig rig;
	size_t n = 0;

	start_gathering(&rig);
	assert_true(until_gathering(&rig) > GATHER_AFTER);
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(rig.in, "yy", 2), 2);
	while (n == 0) {
		assert_int_equal(loop_turn(rig.loop, -1), 0);
		n = drain(&rig);
	}
	assert_int_equal(n, 200);
	/* Nothing comes any more: it looks at once again, and is the quickest there is for what comes next. */
	while (rig.pump.gather.loop)
		assert_int_equal(loop_turn(rig.loop, -1), 0);
	assert_int_equal(rig.pump.small, 0);
	assert_int_equal(write(rig.in, "z", 1), 1);
	assert_int_equal(loop_turn(rig.loop, 0), 0);
	assert_int_equal(drain(&rig), 1);
	stop(&rig);
}

static void the_end_of_what_is_gathered_is_not_lost(void **state)
{
	struct rig rig;

	start_gathering(&rig);
	(void)until_gathering(&rig);
	assert_int_equal(write(rig.in, "last", 4), 4);
	close_fd(&rig.in);
	while (!rig.ended)
		assert_int_equal(loop_turn(rig.loop, -1), 0);
	assert_int_equal(rig.why, PUMP_EOF);
	assert_int_equal(drain(&rig), 4);
	stop(&rig);
}

static void who_waits_for_an_answer_is_not_made_to_wait(void **state)
{
	struct pump input = {0};
	struct rig rig;

	start_gathering(&rig);
	rig.pump.prompt = &input;
	for (int i = 0; i < 1000; i++) {
		input.writes++;
		assert_int_equal(write(rig.in, "x", 1), 1);
		assert_int_equal(loop_turn(rig.loop, 0), 0);
		assert_int_equal(drain(&rig), 1);
		assert_null(rig.pump.gather.loop);
	}
	stop(&rig);
}

/*
 * The pipe was full when the time was over: its writer stood still, and the sink is slower than one look. A look that takes longer than a
 * few milliseconds counts for nothing, so a slow machine needs more of them.
 */
static void a_fast_writer_is_not_made_to_wait(void **state)
{
	static char bytes[PUMP_PIPE];
	struct rig rig;

	start_gathering(&rig);
	for (int i = 0; rig.pump.pauses < 4 * GATHER_PAUSE_MIN; i++) {
		size_t got = 0;

		assert_true(i < 1000);
		(void)until_gathering(&rig);
		assert_int_equal(rig.pump.pause, 0);
		assert_int_equal(write(rig.in, bytes, sizeof(bytes)), sizeof(bytes));
		while (got < sizeof(bytes)) {
			assert_int_equal(loop_turn(rig.loop, -1), 0);
			got += drain(&rig);
		}
		assert_int_equal(got, sizeof(bytes));
		if (rig.pump.pause)
			assert_int_equal(rig.pump.pause, rig.pump.pauses);
	}
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass_and_the_end_is_behind_them),
		cmocka_unit_test(a_slow_sink_stops_the_source),
		cmocka_unit_test(a_sink_that_goes_is_noticed_while_nothing_moves),
		cmocka_unit_test(a_peer_that_shuts_its_side),
		cmocka_unit_test(the_first_quiet_moment_can_be_the_end),
		cmocka_unit_test(small_pieces_are_gathered),
		cmocka_unit_test(the_end_of_what_is_gathered_is_not_lost),
		cmocka_unit_test(who_waits_for_an_answer_is_not_made_to_wait),
		cmocka_unit_test(a_fast_writer_is_not_made_to_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
