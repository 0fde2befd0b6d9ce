/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of clients to a relay, with a process that plays the guest: port 7 echoes, port 9 is refused. */
#include "pod/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/stream.h"

#define DEADLINE_NS (60 * NS_PER_S)
#define BIG (1u << 20)

static char dir[] = "/tmp/podvm-test-relay.XXXXXX";
static struct sockaddr_un guest = {.sun_family = AF_UNIX};
static pid_t guest_pid;

/* ---- the guest ---- */

static void serve(int fd)
{
	static uint8_t bytes[65536];
	uint8_t head[STREAM_HEADER_MIN], status = 0;
	struct stream_header h;
	char line[13];
	ssize_t n;

	if (fd_read_all(fd, line, sizeof(line)) != 0 || memcmp(line, "CONNECT 1025\n", 13) != 0 ||
		fd_write_all(fd, "OK 5\n", 5) != 0 || fd_read_all(fd, head, sizeof(head)) != 0 ||
		stream_header_decode(&h, head, sizeof(head)) <= 0 || h.kind != STREAM_DIAL)
		_exit(1);
	if (h.port != 7)
		status = ECONNREFUSED;
	if (fd_write_all(fd, &status, 1) != 0 || status)
		_exit(0);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		if (fd_write_all(fd, bytes, (size_t)n) != 0)
			_exit(1);
	_exit(0);
}

static _Noreturn void play_guest(int listener)
{
	(void)signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0 && fork() == 0)
			serve(fd);
		(void)close(fd);
	}
}

static int setup(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(guest.sun_path, sizeof(guest.sun_path), "%s/s", dir);
	if (bind(fd, (struct sockaddr *)&guest, sizeof(guest)) < 0 || listen(fd, 1024) < 0)
		return -1;
	guest_pid = fork();
	if (guest_pid == 0)
		play_guest(fd);
	return close(fd);
}

static int teardown(void **state)
{
	(void)kill(guest_pid, SIGKILL);
	(void)waitpid(guest_pid, NULL, 0);
	(void)unlink(guest.sun_path);
	return rmdir(dir);
}

/* ---- the clients ---- */

struct rig {
	struct loop *loop;
	struct relay relay;
	struct relay_listener listener;
	struct sockaddr_in sa;
	uint64_t deadline;
};

static void rig_init(struct rig *rig, uint16_t guest_port)
{
	socklen_t len = sizeof(rig->sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*rig = (struct rig){.sa = {.sin_family = AF_INET}, .deadline = time_mono_ns() + DEADLINE_NS};
	rig->sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	relay_init(&rig->relay, rig->loop, guest.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&rig->sa, sizeof(rig->sa)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&rig->sa, &len), 0);
	assert_int_equal(relay_listen(&rig->relay, &rig->listener, fd, guest_port, NULL), 0);
}

static void rig_fini(struct rig *rig)
{
	relay_fini(&rig->relay);
	assert_int_equal(rig->relay.n_conns, 0);
	loop_free(rig->loop);
}

static void turn(struct rig *rig)
{
	assert_true(time_mono_ns() < rig->deadline);
	assert_int_equal(loop_turn(rig->loop, 100), 0);
}

static int client(struct rig *rig)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&rig->sa, sizeof(rig->sa)), 0);
	assert_int_equal(fd_set_nonblock(fd, true, NULL), 0);
	return fd;
}

/* Reads until the end or an error while the relay runs: 0 or the errno. */
static int read_to_end(struct rig *rig, int fd, uint8_t *dst, size_t size, size_t *ret)
{
	ssize_t n;

	for (*ret = 0;;) {
		n = recv(fd, dst + *ret, size - *ret, 0);
		if (n < 0 && errno == EAGAIN)
			turn(rig);
		else if (n <= 0)
			return n < 0 ? errno : 0;
		else
			*ret += (size_t)n;
	}
}

static void carries_both_ways_with_half_close(void **state)
{
	static uint8_t sent[BIG], got[BIG + 1];
	struct rig rig;
	size_t at = 0, n = 0, total = 0;
	int fd;

	for (size_t i = 0; i < BIG; i++)
		sent[i] = (uint8_t)(i * 2654435761u >> 13);
	rig_init(&rig, 7);
	fd = client(&rig);
	while (at < BIG || total < BIG) {
		ssize_t r = at < BIG ? send(fd, sent + at, BIG - at, MSG_NOSIGNAL) : 0;

		at += r > 0 ? (size_t)r : 0;
		if (at == BIG)
			(void)shutdown(fd, SHUT_WR);
		r = recv(fd, got + total, sizeof(got) - total, 0);
		total += r > 0 ? (size_t)r : 0;
		turn(&rig);
	}
	assert_int_equal(read_to_end(&rig, fd, got + total, sizeof(got) - total, &n), 0);
	assert_int_equal(total + n, BIG);
	assert_memory_equal(sent, got, BIG);
	while (rig.relay.n_conns)
		turn(&rig);
	(void)close(fd);
	rig_fini(&rig);
}

static void a_refusal_is_a_reset(void **state)
{
	struct rig rig;
	uint8_t byte;
	size_t n;
	int fd;

	rig_init(&rig, 9);
	fd = client(&rig);
	assert_int_equal(read_to_end(&rig, fd, &byte, 1, &n), ECONNRESET);
	assert_int_equal(rig.relay.n_conns, 0);
	(void)close(fd);
	rig_fini(&rig);
}

/* Without a port of its own a listener asks for the one that was dialled, which nobody serves in this guest. */
static void the_port_is_the_one_dialled(void **state)
{
	struct rig rig;
	uint8_t byte;
	size_t n;
	int fd;

	rig_init(&rig, 0);
	fd = client(&rig);
	assert_int_equal(read_to_end(&rig, fd, &byte, 1, &n), ECONNRESET);
	(void)close(fd);
	rig_fini(&rig);
}

static void more_than_it_takes_wait_their_turn(void **state)
{
	static int fds[RELAY_CONNS_MAX + 20];
	struct rig rig;
	uint8_t byte[2];
	size_t n;

	rig_init(&rig, 7);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(&rig);
		assert_int_equal(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
		(void)loop_turn(rig.loop, 0);
	}
	while (rig.relay.n_conns < RELAY_CONNS_MAX)
		turn(&rig);
	for (int i = 0; i < 3; i++)
		(void)loop_turn(rig.loop, 10);
	assert_int_equal(rig.relay.n_conns, RELAY_CONNS_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		(void)shutdown(fds[i], SHUT_WR);
		assert_int_equal(read_to_end(&rig, fds[i], byte, sizeof(byte), &n), 0);
		assert_int_equal(n, 1);
		(void)close(fds[i]);
	}
	rig_fini(&rig);
}

static void an_end_in_the_middle_leaves_nothing(void **state)
{
	struct rig rig;
	int a, b;

	rig_init(&rig, 7);
	a = client(&rig);
	b = client(&rig);
	while (rig.relay.n_conns < 2)
		turn(&rig);
	rig_fini(&rig); /* while both are being dialled or carried */
	(void)close(a);
	(void)close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_both_ways_with_half_close),
		cmocka_unit_test(a_refusal_is_a_reset),
		cmocka_unit_test(the_port_is_the_one_dialled),
		cmocka_unit_test(more_than_it_takes_wait_their_turn),
		cmocka_unit_test(an_end_in_the_middle_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
