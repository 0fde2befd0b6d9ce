/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/turn.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"

static char dir[] = "/tmp/podvm-turn-XXXXXX";

static int setup(void **state)
{
	return mkdtemp(dir) && setenv("PODVM_RUN", dir, 1) == 0 ? paths_check(NULL) : -1;
}

static int teardown(void **state)
{
	return dir_remove_all(AT_FDCWD, dir, NULL);
}

static void mine(struct turn *turn)
{
	loop_stop(turn->loop, 7);
}

static struct loop *late_loop;

static void on_late(struct loop_timer *t)
{
	loop_stop(late_loop, 1);
}

/* Runs the loop until the turn came: 7; 1: it did not within `ms`. */
static int run(struct loop *loop, unsigned ms)
{
	struct loop_timer late = {0};
	int r;

	late_loop = loop;
	loop_timer_set(loop, &late, ms * NS_PER_MS, on_late);
	r = loop_run(loop);
	loop_timer_cancel(&late);
	return r;
}

static void as_many_as_there_are_cpus(void **state)
{
	long n = MIN_OF(sysconf(_SC_NPROCESSORS_ONLN), (long)TURNS_MAX);
	struct turn turns[TURNS_MAX], last = {0};
	struct loop *loop;

	assert_int_equal(loop_new(&loop, NULL), 0);
	for (long i = 0; i < n; i++)
		assert_int_equal(turn_wait(&turns[i], loop, mine), 1);
	assert_int_equal(turn_wait(&last, loop, mine), 0);
	assert_int_equal(run(loop, 300), 1);
	turn_end(&turns[n - 1]);
	assert_int_equal(run(loop, 30000), 7);
	turn_end(&last);
	turn_end(&last);
	for (long i = 0; i < n - 1; i++)
		turn_end(&turns[i]);
	/* A wait that is given up does not come true. */
	for (long i = 0; i < n; i++)
		assert_int_equal(turn_wait(&turns[i], loop, mine), 1);
	assert_int_equal(turn_wait(&last, loop, mine), 0);
	turn_end(&last);
	turn_end(&turns[0]);
	assert_int_equal(run(loop, 300), 1);
	for (long i = 1; i < n; i++)
		turn_end(&turns[i]);
	loop_free(loop);
}

static void a_killed_holder_s_turn_is_free(void **state)
{
	long n = MIN_OF(sysconf(_SC_NPROCESSORS_ONLN), (long)TURNS_MAX);
	struct turn turn = {0};
	struct loop *loop;
	int ready[2], status;
	pid_t child;
	char c = 0;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		static struct turn all[TURNS_MAX];

		if (loop_new(&loop, NULL) < 0)
			_exit(1);
		for (long i = 0; i < n; i++)
			if (turn_wait(&all[i], loop, mine) != 1)
				_exit(1);
		(void)!write(ready[1], &c, 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(turn_wait(&turn, loop, mine), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(run(loop, 30000), 7);
	turn_end(&turn);
	loop_free(loop);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void without_a_run_folder_nobody_waits(void **state)
{
	struct turn turn = {0};
	struct loop *loop;

	assert_int_equal(setenv("PODVM_RUN", "/proc/none", 1), 0);
	assert_int_equal(paths_check(NULL), 0);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(turn_wait(&turn, loop, mine), 1);
	turn_end(&turn);
	loop_free(loop);
	assert_int_equal(setenv("PODVM_RUN", dir, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_as_there_are_cpus),
		cmocka_unit_test(a_killed_holder_s_turn_is_free),
		cmocka_unit_test(without_a_run_folder_nobody_waits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
