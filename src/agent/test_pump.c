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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass_and_the_end_is_behind_them),
		cmocka_unit_test(a_slow_sink_stops_the_source),
		cmocka_unit_test(a_sink_that_goes_is_noticed_while_nothing_moves),
		cmocka_unit_test(a_peer_that_shuts_its_side),
		cmocka_unit_test(the_first_quiet_moment_can_be_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
