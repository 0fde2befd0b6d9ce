/* SPDX-License-Identifier: Apache-2.0 */
/* The server, and the client, against a raw peer that sends what it likes. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "rpc/test_ttrpc_rig.h"

/* ---- the server against a raw peer ---- */

static void wrong_frames_are_answered_and_the_connection_goes_on(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	rig_put_request(&b, 2, "GetInfo", 0); /* even */
	rig_put_request(&b, 0, "GetInfo", 0);
	rig_put_request(&b, 5, "GetInfo", 0);
	rig_put_request(&b, 5, "GetInfo", 0); /* again */
	rig_put_request(&b, 3, "GetInfo", 0); /* smaller */
	rig_put_frame(&b, 5, TTRPC_DATA, "x", 1);
	rig_put_frame(&b, 7, TTRPC_DATA, "x", 1);
	rig_put_frame(&b, 7, TTRPC_RESPONSE, "x", 1); /* not for a server: ignored */
	rig_put_frame(&b, 7, 0x77, "x", 1);	      /* unknown type: ignored */
	rig_put_frame(&b, 7, TTRPC_REQUEST, "\xff", 1);
	rig_put_frame(&b, 9, TTRPC_REQUEST, "", 0);
	rig_put_request(&b, 11, "", 0);
	rig_put_request(&b, 13, "GetInfo\n", 0);
	rig_put_request(&b, 15, "GetInfo", -1);
	rig_put_request(&b, 0xffffffff, "GetInfo", 0);
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 2, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 0, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 5, TTRPC_OK);
	rig_expect_code(&rig, fd, &in, 5, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 3, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 5, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 7, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 7, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 9, TTRPC_UNIMPLEMENTED);
	rig_expect_code(&rig, fd, &in, 11, TTRPC_UNIMPLEMENTED);
	rig_expect_code(&rig, fd, &in, 13, TTRPC_UNIMPLEMENTED);
	rig_expect_code(&rig, fd, &in, 15, TTRPC_DEADLINE_EXCEEDED);
	rig_expect_code(&rig, fd, &in, 0xffffffff, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_broken_payload_fails_its_call(void **state)
{
	/* service, method "CreateContainer", payload with a length beyond its end */
	static const uint8_t wire[] = "\x0a\x14" SERVICE "\x12\x0f"
				      "CreateContainer"
				      "\x1a\x03\x0a\x7f\x61";
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	rig_put_frame(&b, 1, TTRPC_REQUEST, wire, sizeof(wire) - 1);
	rig_put_request(&b, 3, "GetInfo", 0);
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 1, TTRPC_INVALID_ARGUMENT);
	rig_expect_code(&rig, fd, &in, 3, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_long_message_is_refused_and_the_connection_goes_on(void **state)
{
	static uint8_t chunk[65536];
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_frame f = {.len = TTRPC_DATA_MAX + 65536, .stream = 1, .type = TTRPC_REQUEST};
	uint8_t head[TTRPC_HEADER_LEN];
	size_t left = f.len;
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	ttrpc_frame_encode(head, &f);
	rig_put(&b, head, sizeof(head));
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 1, TTRPC_RESOURCE_EXHAUSTED);
	while (left) {
		ssize_t n = send(fd, chunk, MIN_OF(left, sizeof(chunk)), MSG_NOSIGNAL);

		if (n > 0)
			left -= (size_t)n;
		else
			assert_int_equal(errno, EAGAIN);
		assert_int_equal(loop_turn(rig.loop, 0), 0);
	}
	rig_put_request(&b, 3, "GetInfo", 0);
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 3, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_stranger_is_hung_up_on(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct rig_reply r;
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
	assert_int_equal(rig_read(&rig, fd, &in, &r), 0);
	ttrpc_input_fini(&in);
	close(fd);
	rig_stop(&rig);
}

static void a_peer_may_end_at_any_byte(void **state)
{
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	unsigned held = 0;
	size_t n;

	rig_start(&rig);
	rig_put_request(&b, 1, "WaitProcess", 0);
	rig_put_request(&b, 3, "GetInfo", 0);
	n = b.len;
	for (size_t len = 0; len <= n; len++) {
		int fd = rig_connect(&rig);

		assert_int_equal(send(fd, buf_data(&b), len, 0), (ssize_t)len);
		if (len % 2)
			rig_settle(&rig);
		close(fd);
		rig_settle(&rig);
		for (; held < rig.n_held; held++) {
			assert_int_equal(rig.held[held].gone, 1);
			rig_answer_held(&rig.held[held], 0);
		}
		rig.n_held = held = 0;
	}
	buf_fini(&b);
	rig_stop(&rig);
}

static void calls_beyond_the_limit_are_refused(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	rig_start(&rig);
	fd = rig_connect(&rig);
	for (unsigned i = 0; i < MAX_CALLS + 2; i++)
		rig_put_request(&b, 1 + 2 * i, "WaitProcess", i == 0 ? 1 : 0);
	rig_send(&rig, fd, &b);
	/* The first is past its deadline, but its handler still holds it: it counts. */
	rig_expect_code(&rig, fd, &in, 1 + 2 * MAX_CALLS, TTRPC_RESOURCE_EXHAUSTED);
	rig_expect_code(&rig, fd, &in, 3 + 2 * MAX_CALLS, TTRPC_RESOURCE_EXHAUSTED);
	rig_expect_code(&rig, fd, &in, 1, TTRPC_DEADLINE_EXCEEDED);
	assert_int_equal(rig.n_held, MAX_CALLS);
	rig_put_request(&b, 1001, "WaitProcess", 0);
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 1001, TTRPC_RESOURCE_EXHAUSTED);
	rig_answer_held(&rig.held[0], 0);
	rig_put_request(&b, 1003, "GetInfo", 0);
	rig_send(&rig, fd, &b);
	rig_expect_code(&rig, fd, &in, 1003, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void callers_that_hang_up_do_not_pile_up_calls(void **state)
{
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	int fd = -1;

	rig_start(&rig);
	for (unsigned round = 0; round < MAX_CONNS + 2; round++) {
		close_fd(&fd);
		rig_settle(&rig);
		fd = rig_connect(&rig);
		for (unsigned i = 0; i < MAX_CALLS; i++)
			rig_put_request(&b, 1 + 2 * i, "WaitProcess", 0);
		rig_send(&rig, fd, &b);
		rig_settle(&rig);
	}
	assert_int_equal(rig.n_held, MAX_CONNS * MAX_CALLS);
	rig_expect_code(&rig, fd, &in, 1, TTRPC_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i < rig.n_held; i++)
		rig_answer_held(&rig.held[i], 0);
	rig_put_request(&b, 1001, "GetInfo", 0);
	rig_send(&rig, fd, &b);
	for (unsigned i = 1; i < MAX_CALLS; i++)
		rig_expect_code(&rig, fd, &in, 1 + 2 * i, TTRPC_RESOURCE_EXHAUSTED);
	rig_expect_code(&rig, fd, &in, 1001, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_peer_that_does_not_read_is_not_read(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	uint32_t id = 1, answers = 0;
	bool full = false;
	int fd;

	rig_start(&rig);
	rig.info_size = 1000;
	fd = rig_connect(&rig);
	/* Until the server has stopped reading and the socket is full. */
	while (!full) {
		rig_put_request(&b, id, "GetInfo", 0);
		while (b.len && !full) {
			ssize_t n = send(fd, buf_data(&b), b.len, MSG_NOSIGNAL);

			if (n > 0) {
				buf_consume(&b, (size_t)n);
				continue;
			}
			assert_int_equal(errno, EAGAIN);
			rig_settle(&rig);
			full = send(fd, buf_data(&b), 1, MSG_NOSIGNAL) < 0;
			if (!full)
				buf_consume(&b, 1);
		}
		id += full ? 0 : 2;
		assert_true(id < 1000000);
	}
	/* Now it reads: every whole request is answered, in order. */
	while (answers < id / 2) {
		struct rig_reply r;

		assert_int_equal(rig_read(&rig, fd, &in, &r), 1);
		assert_int_equal(r.f.stream, 1 + 2 * answers);
		assert_int_equal(r.head.code, 0);
		answers++;
	}
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void a_burst_of_requests_waits_for_its_answers(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	int fd;

	/* They arrive in one read; together the answers are larger than the output may be. */
	rig_start(&rig);
	rig.info_size = 300000;
	fd = rig_connect(&rig);
	for (uint32_t i = 0; i < 60; i++)
		rig_put_request(&b, 1 + 2 * i, "GetInfo", 0);
	assert_true(b.len <= TTRPC_READ_MIN);
	rig_send(&rig, fd, &b);
	for (uint32_t i = 0; i < 60; i++)
		rig_expect_code(&rig, fd, &in, 1 + 2 * i, TTRPC_OK);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void answers_that_nobody_reads_are_bounded(void **state)
{
	struct rig rig;
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct buf b = BUF_INIT(1u << 20);
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	int fd, ok = 0, refused = 0;

	rig_start(&rig);
	fd = rig_connect(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		rig_put_request(&b, 1 + 2 * i, "WaitProcess", 0);
	rig_send(&rig, fd, &b);
	turn_until(&rig, rig.n_held == MAX_CALLS);
	info.agent_version = calloc(1, 1000001);
	memset(info.agent_version, 'x', 1000000);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		ttrpc_reply(take_ptr(rig.held[i].rq), &info.base);
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		struct rig_reply r;

		assert_int_equal(rig_read(&rig, fd, &in, &r), 1);
		assert_true(r.head.code == TTRPC_OK || r.head.code == TTRPC_RESOURCE_EXHAUSTED);
		if (r.head.code == TTRPC_OK)
			ok++;
		else
			refused++;
	}
	assert_int_equal(ok, 4);
	assert_int_equal(refused, MAX_CALLS - 4);
	free(info.agent_version);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	close(fd);
	rig_stop(&rig);
}

static void connections_beyond_the_limit_are_closed(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa.sun_family);
	struct rig rig;
	struct rig_reply r;
	struct buf b = BUF_INIT(1u << 20);
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[MAX_CONNS + 1], sv[2];
	struct err err;

	/* An abstract address of the kernel's choice. */
	assert_int_equal(bind(lfd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(lfd, 16), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(lfd, (struct sockaddr *)&sa, &len), 0);
	rig_start(&rig);
	assert_int_equal(ttrpc_server_listen(rig.server, lfd, NULL), 0);
	assert_int_equal(ttrpc_server_listen(rig.server, lfd, &err), -EALREADY);
	for (int i = 0; i < MAX_CONNS + 1; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&sa, len), 0);
		rig_settle(&rig);
	}
	assert_int_equal(rig_read(&rig, fds[MAX_CONNS], &in, &r), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(ttrpc_server_add(rig.server, sv[0], &err), -EMFILE);
	assert_int_equal(read(sv[1], &r, 1), 0);
	close(sv[1]);
	for (int i = 0; i < MAX_CONNS; i++) {
		rig_put_request(&b, 1, "GetInfo", 0);
		rig_send(&rig, fds[i], &b);
		rig_expect_code(&rig, fds[i], &in, 1, TTRPC_OK);
	}
	/* A place that is given up is free again. */
	close(fds[0]);
	rig_settle(&rig);
	fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&sa, len), 0);
	rig_put_request(&b, 1, "GetInfo", 0);
	rig_send(&rig, fds[0], &b);
	rig_expect_code(&rig, fds[0], &in, 1, TTRPC_OK);
	for (int i = 0; i < MAX_CONNS + 1; i++)
		close(fds[i]);
	ttrpc_input_fini(&in);
	buf_fini(&b);
	rig_stop(&rig);
	close(lfd);
}

/* ---- the client against a raw peer ---- */

static void hostile_answers_fail_their_call_only(void **state)
{
	static const struct {
		uint8_t type;
		const char *bytes;
		size_t n;
		int want; /* errno of the call; -1: no answer yet */
	} cases[] = {
		{TTRPC_RESPONSE, "", 0, 0},
		{TTRPC_RESPONSE, "\x12\x02\x08\x07", 4, 0},
		{TTRPC_RESPONSE, "\xff", 1, EPROTO},
		{TTRPC_RESPONSE, "\x12\x7f", 2, EPROTO},
		{TTRPC_RESPONSE, "\x12\x02\x08\x80", 4, EPROTO},
		{TTRPC_RESPONSE, "\x0a\x02\x08\x05", 4, ENOENT},
		{TTRPC_RESPONSE, "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, EIO},
		{TTRPC_DATA, "", 0, EPROTO},
		{TTRPC_REQUEST, "", 0, -1},
		{0x55, "", 0, -1},
	};
	struct rig rig;
	struct buf b = BUF_INIT(1u << 20);
	uint32_t id;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig_answer a = {0};

		assert_int_equal(rig_call_wait(&rig, 0, &a, &id), 0);
		rig_put_frame(&b, id + 2, TTRPC_RESPONSE, "", 0);
		rig_put_frame(&b, id + 1, TTRPC_RESPONSE, "\xff", 1);
		rig_put_frame(&b, 0, TTRPC_RESPONSE, "", 0);
		rig_put_frame(&b, id, cases[i].type, cases[i].bytes, cases[i].n);
		rig_put_frame(&b, id, cases[i].want < 0 ? 0x44 : TTRPC_RESPONSE, "", 0); /* a second answer */
		rig_send(&rig, raw, &b);
		rig_settle(&rig);
		if (a.done != (cases[i].want >= 0) || (a.done && a.err != cases[i].want))
			fail_msg("case %zu: done %d, error %d '%s'", i, a.done, a.err, a.text);
		ttrpc_cancel(rig.client, id);
	}
	assert_int_equal(rig.closed, 0);
	buf_fini(&b);
	close(raw);
	rig_stop(&rig);
}

static void a_long_answer_fails_its_call_only(void **state)
{
	static uint8_t chunk[65536];
	struct ttrpc_frame f = {.len = 0x00ffffff, .stream = 1, .type = TTRPC_RESPONSE};
	struct rig_answer a = {0}, c = {0};
	struct buf b = BUF_INIT(1u << 20);
	uint8_t head[TTRPC_HEADER_LEN];
	size_t left = f.len;
	struct rig rig;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	assert_int_equal(rig_call_info(&rig, &a), 0);
	assert_int_equal(rig_call_info(&rig, &c), 0);
	ttrpc_frame_encode(head, &f);
	rig_put(&b, head, sizeof(head));
	rig_send(&rig, raw, &b);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ENOBUFS);
	while (left) {
		ssize_t n = send(raw, chunk, MIN_OF(left, sizeof(chunk)), MSG_NOSIGNAL);

		if (n > 0)
			left -= (size_t)n;
		assert_int_equal(loop_turn(rig.loop, 0), 0);
	}
	rig_put_frame(&b, 3, TTRPC_RESPONSE, "", 0);
	rig_send(&rig, raw, &b);
	turn_until(&rig, c.done);
	assert_int_equal(c.err, 0);
	buf_fini(&b);
	close(raw);
	rig_stop(&rig);
}

static void a_server_that_is_no_server_ends_the_connection(void **state)
{
	struct rig_answer a = {0};
	struct rig rig;
	int raw;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	assert_int_equal(rig_call_info(&rig, &a), 0);
	assert_int_equal(send(raw, "220 mail ESMTP\r\n", 16, 0), 16);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.err, ECONNRESET);
	assert_int_equal(rig.closed_err, EPROTO);
	close(raw);
	rig_stop(&rig);
}

static void a_server_may_end_at_any_byte(void **state)
{
	struct buf b = BUF_INIT(1u << 20);
	struct rig rig;

	rig_put_frame(&b, 1, TTRPC_RESPONSE, "\x12\x02\x08\x07", 4);
	for (size_t len = 0; len <= b.len; len++) {
		struct rig_answer a = {0};
		int raw;

		rig_start(&rig);
		raw = rig_raw_server(&rig);
		assert_int_equal(rig_call_wait(&rig, 0, &a, NULL), 0);
		assert_int_equal(send(raw, buf_data(&b), len, 0), (ssize_t)len);
		close(raw);
		turn_until(&rig, rig.closed);
		assert_int_equal(a.done, 1);
		assert_int_equal(a.err, len == b.len ? 0 : ECONNRESET);
		rig_stop(&rig);
	}
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_frames_are_answered_and_the_connection_goes_on),
		cmocka_unit_test(a_broken_payload_fails_its_call),
		cmocka_unit_test(a_long_message_is_refused_and_the_connection_goes_on),
		cmocka_unit_test(a_stranger_is_hung_up_on),
		cmocka_unit_test(a_peer_may_end_at_any_byte),
		cmocka_unit_test(calls_beyond_the_limit_are_refused),
		cmocka_unit_test(callers_that_hang_up_do_not_pile_up_calls),
		cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
		cmocka_unit_test(a_burst_of_requests_waits_for_its_answers),
		cmocka_unit_test(answers_that_nobody_reads_are_bounded),
		cmocka_unit_test(connections_beyond_the_limit_are_closed),
		cmocka_unit_test(hostile_answers_fail_their_call_only),
		cmocka_unit_test(a_long_answer_fails_its_call_only),
		cmocka_unit_test(a_server_that_is_no_server_ends_the_connection),
		cmocka_unit_test(a_server_may_end_at_any_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
