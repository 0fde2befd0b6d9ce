/* SPDX-License-Identifier: Apache-2.0 */
/* A process between its pipes, its streams and who waits for its end. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "agent/test_rig.h"

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void close_all(int fds[3])
{
	for (unsigned i = 0; i < 3; i++)
		close_fd(&fds[i]);
}

static void output_comes_before_the_end(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call early, late;
	struct process *p;
	char text[64];
	int io[3], out;

	p = rig_process(rig, "e1", false, io);
	out = rig_stream(rig, STREAM_STDIO, "box", "e1", 1, 0);
	assert_int_equal(rig_status(rig, out), 0);
	rig_wait(rig, "e1", &early);
	rig_settle(rig);
	assert_false(early.done);
	put(io[1], "the last words");
	close_all(io);
	process_exited(p, 7 << 8);
	rig_until(rig, &early.done);
	assert_int_equal(early.code, 0);
	assert_int_equal(early.exit_code, 7);
	assert_false(early.oom_killed);
	assert_int_equal(rig_read(rig, out, text, sizeof(text)), 14);
	assert_string_equal(text, "the last words");
	assert_int_equal(rig_read(rig, out, text, sizeof(text)), 0);
	rig_wait(rig, "e1", &late);
	rig_until(rig, &late.done);
	assert_int_equal(late.exit_code, 7);
	assert_int_equal(rig->exec_ended, 1);
	assert_int_equal(rig->ended, 0);
	assert_int_equal(rig->oom_checks, 1);
	close_fd(&out);
	rig_free(rig);
}

static void a_signal_is_128_and_more_and_an_event(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call wait, events;
	struct process *p;
	int io[3];

	p = rig_process(rig, "", false, io);
	close_all(io);
	rig->c.oom_kills = 1;
	process_exited(p, SIGKILL);
	rig_wait(rig, "", &wait);
	rig_until(rig, &wait.done);
	assert_int_equal(wait.exit_code, 137);
	assert_true(wait.oom_killed);
	assert_int_equal(rig->ended, 1);
	rig_events(rig, 0, 0, &events);
	rig_until(rig, &events.done);
	assert_int_equal(events.n_events, 1);
	assert_int_equal(events.event_exit[0], 137);
	rig_free(rig);
}

static void a_child_that_holds_the_pipe_delays_the_end_but_a_moment(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call call;
	struct process *p;
	char text[8];
	int io[3], out;

	p = rig_process(rig, "e1", false, io);
	out = rig_stream(rig, STREAM_STDIO, "box", "e1", 1, 0);
	assert_int_equal(rig_status(rig, out), 0);
	rig_wait(rig, "e1", &call);
	process_exited(p, 0);
	rig_settle(rig);
	assert_false(call.done);
	rig_until(rig, &call.done);
	assert_int_equal(call.exit_code, 0);
	assert_int_equal(rig_read(rig, out, text, sizeof(text)), 0);
	close_all(io);
	close_fd(&out);
	rig_free(rig);
}

static void input_arrives_and_ends(void **state)
{
	struct rig *rig = rig_new();
	char text[16];
	int io[3], in;

	(void)rig_process(rig, "e1", true, io);
	in = rig_stream(rig, STREAM_STDIO, "box", "e1", 0, 0);
	assert_int_equal(rig_status(rig, in), 0);
	put(in, "hello");
	rig_settle(rig);
	assert_int_equal(read(io[0], text, sizeof(text)), 5);
	close_fd(&in);
	rig_settle(rig);
	assert_int_equal(read(io[0], text, sizeof(text)), 0);
	close_all(io);
	rig_free(rig);
}

static void streams_of_nobody_are_refused(void **state)
{
	struct rig *rig = rig_new();
	char text[8];
	int io[3], out, fd;

	(void)rig_process(rig, "e1", false, io);
	out = rig_stream(rig, STREAM_STDIO, "box", "e1", 1, 0);
	assert_int_equal(rig_status(rig, out), 0);
	/* It has a stream already; another's name; no header at all. */
	fd = rig_stream(rig, STREAM_STDIO, "box", "e1", 1, 0);
	assert_int_not_equal(rig_status(rig, fd), 0);
	close_fd(&fd);
	fd = rig_stream(rig, STREAM_STDIO, "box", "e2", 1, 0);
	assert_int_not_equal(rig_status(rig, fd), 0);
	close_fd(&fd);
	fd = rig_stream(rig, 0, "", "", 0, 0);
	put(fd, "GET / HTTP/1.1\r\n\r\n");
	while (rig_read(rig, fd, text, sizeof(text)) > 0)
		assert_int_not_equal(text[0], 0);
	close_fd(&fd);
	/* The first one did not notice. */
	put(io[1], "x");
	assert_int_equal(rig_read(rig, out, text, sizeof(text)), 1);
	close_all(io);
	close_fd(&out);
	rig_free(rig);
}

static void who_waits_is_told_when_it_fails_or_goes(void **state)
{
	struct rig *rig = rig_new();
	struct err why = {0};
	struct rig_call failed, gone, nobody;
	struct process *p, *q;
	int io[3], other[3];

	p = rig_process(rig, "e1", false, io);
	q = rig_process(rig, "e2", false, other);
	rig_wait(rig, "e1", &failed);
	rig_wait(rig, "e2", &gone);
	rig_wait(rig, "e3", &nobody);
	rig_settle(rig);
	(void)err_set(&why, EINVAL, "no such program");
	process_failed(p, &why);
	process_free(q);
	rig_until(rig, &failed.done);
	rig_until(rig, &gone.done);
	rig_until(rig, &nobody.done);
	assert_int_equal(failed.code, EINVAL);
	/* ESRCH on the other side: ttrpc has one code for both. */
	assert_int_equal(gone.code, ENOENT);
	assert_int_equal(nobody.code, ENOENT);
	assert_int_equal(p->exit_code, 255);
	close_all(io);
	close_all(other);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_comes_before_the_end),
		cmocka_unit_test(a_signal_is_128_and_more_and_an_event),
		cmocka_unit_test(a_child_that_holds_the_pipe_delays_the_end_but_a_moment),
		cmocka_unit_test(input_arrives_and_ends),
		cmocka_unit_test(streams_of_nobody_are_refused),
		cmocka_unit_test(who_waits_is_told_when_it_fails_or_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
