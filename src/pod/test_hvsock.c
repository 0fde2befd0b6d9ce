/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/hvsock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"

static char dir[] = "/tmp/podvm-test-hvsock.XXXXXX";
static struct sockaddr_un sa = {.sun_family = AF_UNIX};
static int listener;

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(listener, (struct sockaddr *)&sa, sizeof(sa)) | listen(listener, 8);
}

static int teardown(void **state)
{
	close(listener);
	(void)unlink(sa.sun_path);
	return rmdir(dir);
}

/* A child that plays the VMM for one connection: reads the CONNECT line and a stream header of `header` bytes, answers `answer`. */
static pid_t vmm(const char *answer, size_t n, size_t header)
{
	pid_t pid = fork();
	char line[64];
	size_t at = 0;
	int fd;

	if (pid)
		return pid;
	fd = accept(listener, NULL, NULL);
	do
		if (read(fd, &line[at], 1) != 1)
			_exit(1);
	while (line[at++] != '\n');
	if (memcmp(line, "CONNECT 1025\n", 13) != 0)
		_exit(2);
	/* One byte at a time, in the order that a real peer would: OK line, header, status and bytes. */
	for (size_t i = 0; i < n; i++) {
		if (send(fd, answer + i, 1, MSG_NOSIGNAL) != 1)
			_exit(3);
		if (answer[i] == '\n' && header && fd_read_all(fd, line, header) != 0)
			_exit(4);
	}
	_exit(0);
}

static const struct stream_header stdio = {.kind = STREAM_STDIO, .fd = 1, .container = "web-0"};
#define STDIO_LEN (STREAM_HEADER_MIN + 5)

static void answers(void **state)
{
	static const struct {
		const char *answer;
		size_t n, header;
		int want;
	} table[] = {
		{"OK 1073741824\n\0rest", 19, STDIO_LEN, 0},
		{"OK 1\n\x02", 6, STDIO_LEN, -2},
		{"OK 1\n", 5, STDIO_LEN, -ECONNRESET},
		{"", 0, 0, -ECONNREFUSED},
		{"NO\n", 3, 0, -EPROTO},
		{"OK 11111111111111111111111111111111111111111111\n", 48, 0, -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		pid_t pid = vmm(table[i].answer, table[i].n, table[i].header);
		struct err err = {0};
		char rest[8] = "";
		int fd = -1, r = hvsock_attach(sa.sun_path, &stdio, 5000, &fd, &err);

		assert_int_equal(r, table[i].want);
		if (r == 0) {
			assert_int_equal(fd_read_all(fd, rest, 4), 0);
			assert_string_equal(rest, "rest");
			close(fd);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

struct result {
	struct hvsock_dial dial;
	struct loop *loop;
	int fd, code;
};

static void on_done(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct result *r = container_of(d, struct result, dial);

	r->fd = fd;
	r->code = err ? err->code : 0;
	loop_stop(r->loop, 0);
}

static void the_same_on_a_loop(void **state)
{
	struct result r = {.dial = {.done = on_done}, .fd = -1};
	pid_t pid = vmm("OK 1\n\0rest", 10, STDIO_LEN);
	char rest[8] = "";

	assert_int_equal(loop_new(&r.loop, NULL), 0);
	assert_int_equal(hvsock_dial_start(&r.dial, r.loop, sa.sun_path, STREAM_PORT, &stdio, NULL), 0);
	hvsock_dial_timeout(&r.dial, r.loop, 5000);
	assert_int_equal(loop_run(r.loop), 0);
	assert_int_equal(r.code, 0);
	assert_int_equal(fd_read_all(r.fd, rest, 4), 0);
	assert_string_equal(rest, "rest");
	close(r.fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* Nobody accepts: the deadline ends it. */
	assert_int_equal(hvsock_dial_start(&r.dial, r.loop, sa.sun_path, STREAM_PORT, &stdio, NULL), 0);
	hvsock_dial_timeout(&r.dial, r.loop, 20);
	assert_int_equal(loop_run(r.loop), 0);
	assert_int_equal(r.code, ETIMEDOUT);
	assert_int_equal(r.fd, -1);
	hvsock_dial_cancel(&r.dial);
	loop_free(r.loop);
}

/* A VMM that has stopped: first it takes no line, then, with its backlog full, no connection. */
static void a_stopped_vmm_times_out(void **state)
{
	struct sockaddr_un name = sa;
	int stopped = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting, fd;
	struct err err;

	assert_true(str_copy(name.sun_path + strlen(name.sun_path), 2, "2"));
	assert_int_equal(bind(stopped, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(stopped, 0), 0);
	assert_int_equal(hvsock_connect(name.sun_path, 1025, 50, &fd, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "did not answer on port 1025"));
	waiting = accept(stopped, NULL, NULL);
	assert_true(waiting >= 0);
	close(waiting);
	waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(waiting, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(hvsock_connect(name.sun_path, 1025, 50, &fd, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "took no connection within 50 ms"));
	close(waiting);
	close(stopped);
	(void)unlink(name.sun_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(the_same_on_a_loop),
		cmocka_unit_test(a_stopped_vmm_times_out),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
