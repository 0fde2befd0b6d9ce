/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

struct peer {
	struct loop_fd src;
	struct peer *other;
	int calls;
};

static void on_ready(struct loop_fd *src, uint32_t events)
{
	struct peer *p = container_of(src, struct peer, src);

	p->calls++;
	loop_remove_fd(&p->src);
	/* Frees the other in the middle of the turn: its event must not arrive. */
	if (p->other) {
		loop_remove_fd(&p->other->src);
		memset(p->other, 0x5a, sizeof(*p->other));
	}
}

static void a_removed_source_gets_no_event(void **state)
{
	struct peer a = {0}, b = {0};
	struct loop *loop = NULL;
	int x[2], y[2];

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, x), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, y), 0);
	assert_int_equal(write(x[1], "x", 1) + write(y[1], "y", 1), 2);
	a.other = &b;
	b.other = &a;
	assert_int_equal(loop_add_fd(loop, &a.src, x[0], EPOLLIN, on_ready, NULL), 0);
	assert_int_equal(loop_add_fd(loop, &b.src, y[0], EPOLLIN, on_ready, NULL), 0);
	assert_int_equal(loop_turn(loop, 1000), 0);
	assert_int_equal((a.calls == 1) + (b.calls == 1), 1);
	assert_int_equal(loop_turn(loop, 0), 0);
	loop_free(loop);
	close(x[0]);
	close(x[1]);
	close(y[0]);
	close(y[1]);
}

struct tick {
	struct loop_timer t;
	struct loop *loop;
	char name;
};

static char order[8];

static void on_tick(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, t);
	size_t n = strlen(order);

	order[n] = k->name;
	order[n + 1] = '\0';
	if (n + 1 == 3)
		loop_stop(k->loop, 42);
}

static void timers_run_in_order_of_deadline(void **state)
{
	struct loop *loop = NULL;
	struct tick a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'}, d = {.name = 'd'};

	assert_int_equal(loop_new(&loop, NULL), 0);
	a.loop = b.loop = c.loop = d.loop = loop;
	loop_timer_set(loop, &a.t, 3 * NS_PER_MS, on_tick);
	loop_timer_set(loop, &b.t, 60 * NS_PER_S, on_tick);
	loop_timer_set(loop, &c.t, 0, on_tick);
	loop_timer_set(loop, &d.t, 60 * NS_PER_S, on_tick);
	loop_timer_set(loop, &b.t, 6 * NS_PER_MS, on_tick);
	loop_timer_cancel(&d.t);
	loop_timer_cancel(&d.t);
	assert_int_equal(loop_run(loop), 42);
	assert_string_equal(order, "cab");
	loop_free(loop);
}

static int got_signal;

static void on_signal(void *ctx, int signo)
{
	got_signal = signo;
	loop_stop(ctx, 0);
}

static void signals_come_as_data(void **state)
{
	struct loop *loop = NULL;
	sigset_t set;

	assert_int_equal(loop_new(&loop, NULL), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	assert_int_equal(loop_add_signals(loop, &set, on_signal, loop, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(got_signal, SIGUSR1);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_removed_source_gets_no_event),
		cmocka_unit_test(timers_run_in_order_of_deadline),
		cmocka_unit_test(signals_come_as_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
