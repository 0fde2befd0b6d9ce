/* SPDX-License-Identifier: Apache-2.0 */
/* Standard output and error as pipe, socket, terminal and file, with a reader that stands still, goes on, or goes away. */
#include "cli/out.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"

#define LINES 40000

struct rig {
	struct loop *loop;
	struct out out;
	int saved[2];
	unsigned changes;
	char *want, *got;
	size_t n_want, n_got;
};

static void on_changed(struct out *out)
{
	container_of(out, struct rig, out)->changes++;
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	*state = rig;
	rig->saved[0] = dup(STDOUT_FILENO);
	rig->saved[1] = dup(STDERR_FILENO);
	rig->want = malloc(LINES * 16);
	rig->got = malloc(LINES * 16);
	return rig->want && rig->got && signal(SIGPIPE, SIG_IGN) != SIG_ERR && loop_new(&rig->loop, NULL) == 0 ? 0 : -1;
}

/* What cmocka prints goes to the right place again. */
static int teardown(void **state)
{
	struct rig *rig = *state;

	out_close(&rig->out);
	(void)dup2(rig->saved[0], STDOUT_FILENO);
	(void)dup2(rig->saved[1], STDERR_FILENO);
	(void)close(rig->saved[0]);
	(void)close(rig->saved[1]);
	loop_free(rig->loop);
	free(rig->want);
	free(rig->got);
	free(rig);
	return 0;
}

/* Numbers 1 and 2 become what is given, which is closed. */
static void stand_in(int one, int two)
{
	assert_return_code(dup2(one, STDOUT_FILENO), 0);
	assert_return_code(dup2(two, STDERR_FILENO), 0);
	(void)close(one);
	if (two != one)
		(void)close(two);
}

static void turns(struct rig *rig)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_turn(rig->loop, 0), 0);
}

/* Numbered lines, until out_full says that it is enough. */
static void put_lines(struct rig *rig)
{
	for (int i = 0; i < LINES && !out_full(&rig->out, STDOUT_FILENO); i++) {
		int n = snprintf(rig->want + rig->n_want, 16, "line %d\n", i);

		out_put(&rig->out, STDOUT_FILENO, rig->want + rig->n_want, (size_t)n);
		rig->n_want += (size_t)n;
		if (i % 100 == 0)
			turns(rig);
	}
	turns(rig);
}

/* Takes all that there is, until what was put has come and nothing waits. */
static void take_all(struct rig *rig, int fd)
{
	while (rig->n_got < rig->n_want) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		assert_int_equal(loop_turn(rig->loop, 0), 0);
		if (poll(&p, 1, 10) > 0) {
			ssize_t n = read(fd, rig->got + rig->n_got, LINES * 16 - rig->n_got);

			assert_true(n > 0);
			rig->n_got += (size_t)n;
		}
	}
	turns(rig);
	assert_true(out_empty(&rig->out));
	assert_int_equal(rig->n_got, rig->n_want);
	assert_memory_equal(rig->got, rig->want, rig->n_want);
}

/* The reader stands still: nothing blocks, and the owner is told to stop. Then it goes on. */
static void fill_and_read(struct rig *rig, int reader)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	out_open(&rig->out, rig->loop, on_changed);
	put_lines(rig);
	assert_true(out_full(&rig->out, STDOUT_FILENO));
	assert_false(out_empty(&rig->out));
	assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL), flags);
	rig->changes = 0;
	take_all(rig, reader);
	assert_true(rig->changes > 0);
	assert_false(out_full(&rig->out, STDOUT_FILENO));
	assert_false(out_gone(&rig->out, STDOUT_FILENO));
}

static void a_pipe_whose_reader_stands_still(void **state)
{
	int p[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	stand_in(p[1], null);
	fill_and_read(*state, p[0]);
	close(p[0]);
}

static void a_socket_whose_reader_stands_still(void **state)
{
	int s[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	stand_in(s[1], null);
	fill_and_read(*state, s[0]);
	close(s[0]);
}

static void a_terminal_that_stands_still(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios raw;

	assert_return_code(master, 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_return_code(slave, 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	stand_in(slave, open("/dev/null", O_WRONLY | O_CLOEXEC));
	fill_and_read(*state, master);
	close(master);
}

/* What the functions say of a pipe that cannot be opened again. */
static void a_pipe_that_is_polled(void **state)
{
	struct rig *rig = *state;
	int p[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	stand_in(p[1], null);
	out_open(&rig->out, rig->loop, on_changed);
	assert_int_equal(rig->out.end[0].kind, OUT_OWN);
	close_fd(&rig->out.end[0].fd);
	rig->out.end[0].kind = OUT_POLLED;
	rig->out.end[0].fd = STDOUT_FILENO;
	put_lines(rig);
	assert_true(out_full(&rig->out, STDOUT_FILENO));
	take_all(rig, p[0]);
	close(p[0]);
}

static void one_pipe_for_both_keeps_the_order(void **state)
{
	struct rig *rig = *state;
	char got[32] = "";
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	stand_in(p[1], p[1]);
	out_open(&rig->out, rig->loop, on_changed);
	out_put(&rig->out, STDOUT_FILENO, "a", 1);
	out_put(&rig->out, STDERR_FILENO, "b", 1);
	out_put(&rig->out, STDOUT_FILENO, "c", 1);
	turns(rig);
	assert_int_equal(read(p[0], got, sizeof(got)), 3);
	assert_string_equal(got, "abc");
	put_lines(rig);
	assert_true(out_full(&rig->out, STDERR_FILENO));
	close(p[0]);
}

static void a_reader_that_goes_away(void **state)
{
	struct rig *rig = *state;
	int p[2], q[2];
	char got[8];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	stand_in(p[1], q[1]);
	out_open(&rig->out, rig->loop, on_changed);
	put_lines(rig);
	assert_true(out_full(&rig->out, STDOUT_FILENO));
	rig->changes = 0;
	close(p[0]);
	turns(rig);
	assert_true(rig->changes > 0);
	assert_true(out_gone(&rig->out, STDOUT_FILENO));
	assert_false(out_full(&rig->out, STDOUT_FILENO));
	assert_true(out_empty(&rig->out));
	out_put(&rig->out, STDOUT_FILENO, "lost", 4);
	assert_true(out_empty(&rig->out));
	assert_false(out_gone(&rig->out, STDERR_FILENO));
	out_put(&rig->out, STDERR_FILENO, "kept", 4);
	turns(rig);
	assert_int_equal(read(q[0], got, sizeof(got)), 4);
	close(q[0]);
}

static void files_are_written_at_once(void **state)
{
	char name[] = "/tmp/podvm-test-out-XXXXXX";
	struct rig *rig = *state;
	int fd = mkostemp(name, O_CLOEXEC), reader = open(name, O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, 0);
	assert_return_code(unlink(name), 0);
	stand_in(fd, open("/dev/full", O_WRONLY | O_CLOEXEC));
	out_open(&rig->out, rig->loop, on_changed);
	for (int i = 0; i < 20; i++) {
		memset(rig->want, 'a' + i, 10000);
		out_put(&rig->out, STDOUT_FILENO, rig->want, 10000);
	}
	out_put(&rig->out, STDERR_FILENO, "no room", 7);
	out_flush(&rig->out);
	turns(rig);
	assert_true(out_empty(&rig->out));
	assert_int_equal(lseek(reader, 0, SEEK_END), 200000);
	assert_true(out_gone(&rig->out, STDERR_FILENO));
	close(reader);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_pipe_whose_reader_stands_still),
		T(a_socket_whose_reader_stands_still),
		T(a_terminal_that_stands_still),
		T(a_pipe_that_is_polled),
		T(one_pipe_for_both_keeps_the_order),
		T(a_reader_that_goes_away),
		T(files_are_written_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
