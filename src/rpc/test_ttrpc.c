/* SPDX-License-Identifier: Apache-2.0 */
/* Client and server against each other, over real sockets. */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include "rpc/test_ttrpc_rig.h"

/* ---- client and server ---- */

static void calls_are_answered(void **state)
{
	struct rig rig;
	struct rig_answer a = {0}, b = {0}, c = {0}, d = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(rig_call_info(&rig, &a), 0);
	assert_int_equal(rig_call_create(&rig, "", 10, &b), 0);
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "Nothing", &req.base, rig_empty_type, 0, rig_on_created, &c,
				 NULL, NULL),
		0);
	assert_int_equal(ttrpc_call(rig.client, "other", "GetInfo", &req.base, rig_empty_type, 0, rig_on_created, &d,
				 NULL, NULL),
		0);
	assert_int_equal(a.done, 0);
	turn_until(&rig, a.done && b.done && c.done && d.done);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.n, 3);
	assert_int_equal(b.err, EEXIST);
	assert_string_equal(b.text, "container '' exists");
	assert_int_equal(c.err, EOPNOTSUPP);
	assert_string_equal(c.text, "method Nothing");
	assert_int_equal(d.err, EOPNOTSUPP);
	assert_string_equal(d.text, "service other");
	c.done = 0;
	ttrpc_client_unknown(rig.client, "it is too old");
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "Nothing", &req.base, rig_empty_type, 0, rig_on_created, &c,
				 NULL, NULL),
		0);
	turn_until(&rig, c.done);
	assert_int_equal(c.err, EOPNOTSUPP);
	assert_string_equal(c.text, "Nothing: it is too old");
	c.done = 1;
	assert_int_equal(a.done + b.done + c.done + d.done, 4);
	rig_stop(&rig);
}

static void answers_find_their_calls_in_any_order(void **state)
{
	struct rig rig;
	struct rig_answer a[MAX_CALLS] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		assert_int_equal(rig_call_wait(&rig, 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == MAX_CALLS);
	for (unsigned i = MAX_CALLS; i > 0; i--)
		rig_answer_held(&rig.held[(i * 7) % MAX_CALLS], 1000 + (i * 7) % MAX_CALLS);
	turn_until(&rig, a[0].done && a[MAX_CALLS - 1].done);
	rig_settle(&rig);
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		assert_int_equal(a[i].done, 1);
		assert_int_equal(a[i].n, 1000 + i);
	}
	rig_stop(&rig);
}

static void messages_up_to_the_limit_pass(void **state)
{
	static const size_t sizes[] = {0, 1, 4096, 65536, 1000000, TTRPC_DATA_MAX - 100};
	struct rig rig;

	rig_start(&rig);
	rig_connect_client(&rig);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct rig_answer a = {0}, b = {0};

		rig.info_size = sizes[i];
		assert_int_equal(rig_call_create(&rig, "c", sizes[i], &a), 0);
		assert_int_equal(rig_call_info(&rig, &b), 0);
		turn_until(&rig, a.done && b.done);
		assert_int_equal(a.err, 0);
		assert_int_equal(a.n, sizes[i]);
		assert_int_equal(b.err, 0);
		assert_int_equal(b.n, sizes[i]);
	}
	rig_stop(&rig);
}

static void too_large_messages_fail_alone(void **state)
{
	struct rig rig;
	struct rig_answer a = {0}, b = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(rig_call_create(&rig, "c", TTRPC_DATA_MAX, &a), -EMSGSIZE);
	rig.info_size = TTRPC_DATA_MAX;
	assert_int_equal(rig_call_info(&rig, &a), 0);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ENOBUFS);
	assert_string_equal(a.text, "the answer is larger than 4194304 bytes");
	rig.info_size = 9;
	assert_int_equal(rig_call_info(&rig, &b), 0);
	turn_until(&rig, b.done);
	assert_int_equal(b.n, 9);
	rig_stop(&rig);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
	struct rig rig;
	struct rig_answer a = {0}, b = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(rig_call_wait(&rig, 30, &a, NULL), 0);
	turn_until(&rig, a.done && rig.n_held && rig.held[0].gone);
	assert_int_equal(a.err, ETIMEDOUT);
	assert_int_equal(rig.held[0].gone, 1);
	/* The late answer goes nowhere, and the connection goes on. */
	rig_answer_held(&rig.held[0], 1);
	assert_int_equal(rig_call_info(&rig, &b), 0);
	turn_until(&rig, b.done);
	assert_int_equal(a.done, 1);
	assert_int_equal(b.err, 0);
	rig_stop(&rig);
}

static void only_the_answer_to_a_probe_ends_its_silence(void **state)
{
	struct rig rig;
	struct rig_answer a = {0}, b = {0}, c = {0};
	uint64_t missed;
	uint32_t id;

	rig_start(&rig);
	rig_connect_client(&rig);
	/* The deadline of any other call says nothing: it may just take long. */
	assert_int_equal(rig_call_wait(&rig, 30, &a, NULL), 0);
	turn_until(&rig, a.done && rig.n_held && rig.held[0].gone);
	assert_int_equal(ttrpc_client_missed_ns(rig.client), 0);
	a.done = 0;
	assert_int_equal(rig_call_wait(&rig, 30, &a, &id), 0);
	ttrpc_client_probes(rig.client, id);
	turn_until(&rig, a.done);
	missed = ttrpc_client_missed_ns(rig.client);
	assert_true(missed > 0);
	/* Nor do other answers, late ones included. */
	rig_answer_held(&rig.held[0], 1);
	assert_int_equal(rig_call_info(&rig, &b), 0);
	turn_until(&rig, b.done);
	assert_int_equal(ttrpc_client_missed_ns(rig.client), missed);
	assert_int_equal(rig_call_create(&rig, "c", 1, &c), 0);
	ttrpc_client_probes(rig.client, id + 4);
	turn_until(&rig, c.done);
	assert_int_equal(ttrpc_client_missed_ns(rig.client), 0);
	rig_stop(&rig);
}

static void a_cancelled_call_is_silent(void **state)
{
	struct rig rig;
	struct rig_answer a = {0}, b = {0};
	uint32_t id = 0;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(rig_call_wait(&rig, 50, &a, &id), 0);
	assert_int_equal(id, 1);
	turn_until(&rig, rig.n_held == 1);
	ttrpc_cancel(rig.client, id);
	ttrpc_cancel(rig.client, id);
	ttrpc_cancel(rig.client, 12345);
	rig_answer_held(&rig.held[0], 1);
	assert_int_equal(rig_call_wait(&rig, 60, &b, NULL), 0);
	turn_until(&rig, b.done);
	assert_int_equal(a.done, 0);
	rig_stop(&rig);
}

static void a_closed_connection_fails_what_is_pending(void **state)
{
	struct rig rig;
	struct rig_answer a[3] = {0}, late = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_call_wait(&rig, 1000, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 3);
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, rig.closed);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a[i].done, 1);
		assert_int_equal(a[i].err, ECONNRESET);
	}
	assert_int_equal(rig.closed, 1);
	assert_int_equal(rig_call_info(&rig, &late), -ECONNRESET);
	rig_settle(&rig);
	assert_int_equal(rig.closed, 1);
	/* The handlers still hold their requests; rig_on_gone is not for the end of the server. */
	assert_int_equal(rig.held[0].gone, 0);
	rig_stop(&rig);
}

static void kept_calls_fail_with_the_reason_of_the_owner(void **state)
{
	struct rig rig;
	struct rig_answer a[2] = {0};
	struct err why;

	rig_start(&rig);
	rig_connect_client(&rig);
	ttrpc_client_keep_calls(rig.client);
	assert_int_equal(rig_call_wait(&rig, 0, &a[0], NULL), 0);
	assert_int_equal(rig_call_wait(&rig, 100, &a[1], NULL), 0);
	turn_until(&rig, rig.n_held == 2);
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, rig.closed);
	assert_int_equal(a[0].done, 0);
	turn_until(&rig, a[1].done); /* deadlines hold on */
	assert_int_equal(a[1].err, ETIMEDOUT);
	(void)err_set(&why, EIO, "it was the cat");
	ttrpc_client_end(rig.client, &why);
	assert_int_equal(a[0].done, 1);
	assert_int_equal(a[0].err, ECONNRESET);
	assert_string_equal(a[0].text, "WaitProcess: it was the cat");
	assert_int_equal(rig.closed, 1);
	rig_stop(&rig);
}

static void a_gone_caller_is_reported_once(void **state)
{
	struct rig rig;
	struct rig_answer a[3] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_call_wait(&rig, 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 3);
	rig_answer_held(&rig.held[1], 5);
	ttrpc_client_free(rig.client);
	rig.client = NULL;
	turn_until(&rig, rig.held[0].gone && rig.held[2].gone);
	rig_settle(&rig);
	assert_int_equal(rig.held[0].gone, 1);
	assert_int_equal(rig.held[1].gone, 0);
	assert_int_equal(rig.held[2].gone, 1);
	/* Asked too late, it is told at once. */
	ttrpc_on_gone(rig.held[2].rq, rig_on_gone, &rig.held[2]);
	assert_int_equal(rig.held[2].gone, 2);
	rig_answer_held(&rig.held[0], 1);
	assert_int_equal(a[0].done + a[1].done + a[2].done, 0);
	rig_stop(&rig);
}

static void answer_when_gone(void *ctx)
{
	struct rig_held *h = ctx;

	h->gone++;
	rig_answer_held(h, 0);
}

static void on_gone_may_answer(void **state)
{
	struct rig rig;
	struct rig_answer a[4] = {0};

	rig_start(&rig);
	rig_connect_client(&rig);
	for (int i = 0; i < 4; i++)
		assert_int_equal(rig_call_wait(&rig, i < 2 ? 20 : 0, &a[i], NULL), 0);
	turn_until(&rig, rig.n_held == 4);
	for (int i = 0; i < 4; i++)
		ttrpc_on_gone(rig.held[i].rq, answer_when_gone, &rig.held[i]);
	turn_until(&rig, rig.held[0].gone && rig.held[1].gone);
	ttrpc_client_free(rig.client);
	rig.client = NULL;
	turn_until(&rig, rig.held[2].gone && rig.held[3].gone);
	rig_stop(&rig);
}

static void free_client_when_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct rig *rig = ctx;

	rig_note(rig->waiting, 0, err);
	ttrpc_client_free(rig->client);
	rig->client = NULL;
}

static void callbacks_may_free_the_client(void **state)
{
	struct rig_answer a = {0}, b = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	struct rig rig;

	/* In done, with other calls pending and more answers in the buffer. */
	rig_start(&rig);
	rig.waiting = &a;
	rig_connect_client(&rig);
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "GetInfo", &req.base, rig_info_type, 500,
				 free_client_when_done, &rig, NULL, NULL),
		0);
	assert_int_equal(rig_call_info(&rig, &b), 0);
	turn_until(&rig, a.done);
	rig_settle(&rig);
	assert_int_equal(b.done, 0);
	/* In done, because of the deadline. */
	rig_connect_client(&rig);
	a.done = 0;
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "WaitProcess", &req.base, rig_empty_type, 10,
				 free_client_when_done, &rig, NULL, NULL),
		0);
	turn_until(&rig, a.done);
	assert_int_equal(a.err, ETIMEDOUT);
	/* In done, because of the end of the connection: closed does not run. */
	rig_connect_client(&rig);
	a.done = rig.closed = 0;
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "WaitProcess", &req.base, rig_empty_type, 0,
				 free_client_when_done, &rig, NULL, NULL),
		0);
	assert_int_equal(rig_call_wait(&rig, 0, &b, NULL), 0);
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, a.done);
	rig_settle(&rig);
	assert_int_equal(rig.closed, 0);
	rig_stop(&rig);
	/* In closed. */
	rig_start(&rig);
	rig_connect_client(&rig);
	rig.free_client = true;
	ttrpc_server_free(rig.server);
	rig.server = NULL;
	turn_until(&rig, rig.closed);
	rig_settle(&rig);
	rig_stop(&rig);
}

static void a_handler_may_free_the_server(void **state)
{
	struct rig_answer a = {0}, b = {0};
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	struct rig rig;

	rig_start(&rig);
	rig_connect_client(&rig);
	assert_int_equal(rig_call_wait(&rig, 0, &b, NULL), 0);
	assert_int_equal(ttrpc_call(rig.client, SERVICE, "Shutdown", &req.base, rig_empty_type, 0, rig_on_created, &a,
				 NULL, NULL),
		0);
	assert_int_equal(rig_call_info(&rig, &b), 0);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.done, 1);
	assert_null(rig.server);
	rig_stop(&rig);
}

static void a_client_that_is_not_read_is_bounded(void **state)
{
	struct rig_answer a = {0};
	struct rig rig;
	int raw, r = 0;
	int n;

	rig_start(&rig);
	raw = rig_raw_server(&rig);
	for (n = 0; n < 100000 && r == 0; n++)
		r = rig_call_create(&rig, "c", 100000, &a);
	assert_int_equal(r, -ENOBUFS);
	assert_true(n < 60);
	close(raw);
	turn_until(&rig, rig.closed);
	assert_int_equal(a.done, n - 1);
	rig_stop(&rig);
}

/* ---- blocking calls ---- */

struct server_thread {
	struct rig rig;
	pthread_t thread;
	bool stop;
};

static void *serve(void *ctx)
{
	struct server_thread *t = ctx;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE))
		(void)loop_turn(t->rig.loop, 10);
	return NULL;
}

static int sync_info(int sock, unsigned timeout_ms, uint32_t *cpus, struct err *err)
{
	Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	ProtobufCMessage *m = NULL;
	int r = ttrpc_call_sync(sock, SERVICE, "GetInfo", &req.base, rig_info_type, timeout_ms, &m, err);

	if (r == 0) {
		*cpus = ((Podvm__Agent__V1__GetInfoResponse *)m)->cpus;
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return r;
}

static void blocking_calls_are_answered(void **state)
{
	struct server_thread t = {0};
	Podvm__Agent__V1__ProcessRequest wait = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	Podvm__Agent__V1__CreateContainerRequest create = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	uint32_t cpus = 0;
	struct err err;
	uint64_t before;
	int fd;

	rig_start(&t.rig);
	t.rig.info_size = 3000000;
	fd = rig_connect(&t.rig);
	assert_int_equal(pthread_create(&t.thread, NULL, serve, &t), 0);
	for (int i = 0; i < 3; i++) {
		/* Works on a socket of either kind. */
		assert_int_equal(fd_set_nonblock(fd, i == 1, NULL), 0);
		assert_int_equal(sync_info(fd, i == 2 ? 0 : 20000, &cpus, &err), 0);
		assert_int_equal(cpus, 3000000);
	}
	create.oci_spec.len = 3000000;
	create.oci_spec.data = calloc(1, 3000000);
	assert_int_equal(
		ttrpc_call_sync(fd, SERVICE, "CreateContainer", &create.base, rig_created_type, 20000, &m, &err),
		-EEXIST);
	assert_string_equal(err.msg, "container '' exists");
	create.oci_spec.len = TTRPC_DATA_MAX;
	assert_int_equal(ttrpc_call_sync(fd, SERVICE, "CreateContainer", &create.base, rig_created_type, 0, &m, &err),
		-EMSGSIZE);
	free(create.oci_spec.data);
	before = time_mono_ns();
	assert_int_equal(
		ttrpc_call_sync(fd, SERVICE, "WaitProcess", &wait.base, rig_created_type, 50, &m, &err), -ETIMEDOUT);
	assert_true(time_mono_ns() - before >= 45 * NS_PER_MS);
	assert_true(time_mono_ns() - before < DEADLINE_NS);
	assert_null(m);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(t.thread, NULL), 0);
	close(fd);
	rig_stop(&t.rig);
}

static void blocking_calls_survive_hostile_answers(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int want;
	} cases[] = {
		{"", 0, -ECONNRESET},
		{"\0\0\0", 3, -ECONNRESET},
		{"\0\0\0\4\0\0\0\1\2\0xx", 12, -ECONNRESET},
		{"\xff\0\0\0\0\0\0\0\0\0", 10, -EPROTO},
		/* Answers to other streams, then nothing. */
		{"\0\0\0\1\0\0\0\2\2\0x\0\0\0\1\0\0\0\4\2\0x", 22, -ECONNRESET},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t cpus;
		struct err err;
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		assert_int_equal(send(sv[1], cases[i].bytes, cases[i].n, 0), (ssize_t)cases[i].n);
		assert_int_equal(shutdown(sv[1], SHUT_WR), 0);
		if (sync_info(sv[0], 5000, &cpus, &err) != cases[i].want)
			fail_msg("case %zu: %s", i, err.msg);
		close(sv[0]);
		close(sv[1]);
	}
}

static void blocking_calls_leave_the_next_answer_in_the_socket(void **state)
{
	struct buf b = BUF_INIT(65536);
	uint8_t head[TTRPC_HEADER_LEN];
	struct ttrpc_frame f;
	uint32_t cpus = 0;
	struct err err;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	/* The id of a call that nobody answers tells those of the next two. */
	assert_int_equal(sync_info(sv[0], 1, &cpus, &err), -ETIMEDOUT);
	assert_int_equal(recv(sv[1], head, sizeof(head), MSG_WAITALL), sizeof(head));
	ttrpc_frame_decode(&f, head);
	rig_put_frame(&b, f.stream, TTRPC_RESPONSE, "", 0);
	rig_put_frame(&b, f.stream + 2, TTRPC_RESPONSE, "", 0);
	rig_put_frame(&b, f.stream + 4, TTRPC_RESPONSE, "", 0);
	assert_int_equal(send(sv[1], buf_data(&b), b.len, 0), (ssize_t)b.len);
	assert_int_equal(sync_info(sv[0], 5000, &cpus, &err), 0);
	assert_int_equal(sync_info(sv[0], 5000, &cpus, &err), 0);
	buf_fini(&b);
	close(sv[0]);
	close(sv[1]);
}

static void a_blocking_call_to_nobody_ends(void **state)
{
	uint32_t cpus;
	struct err err;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sync_info(sv[0], 20, &cpus, &err), -ETIMEDOUT);
	close(sv[1]);
	assert_int_equal(sync_info(sv[0], 20, &cpus, &err), -EPIPE);
	close(sv[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_answered),
		cmocka_unit_test(answers_find_their_calls_in_any_order),
		cmocka_unit_test(messages_up_to_the_limit_pass),
		cmocka_unit_test(too_large_messages_fail_alone),
		cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
		cmocka_unit_test(only_the_answer_to_a_probe_ends_its_silence),
		cmocka_unit_test(a_cancelled_call_is_silent),
		cmocka_unit_test(a_closed_connection_fails_what_is_pending),
		cmocka_unit_test(kept_calls_fail_with_the_reason_of_the_owner),
		cmocka_unit_test(a_gone_caller_is_reported_once),
		cmocka_unit_test(on_gone_may_answer),
		cmocka_unit_test(callbacks_may_free_the_client),
		cmocka_unit_test(a_handler_may_free_the_server),
		cmocka_unit_test(a_client_that_is_not_read_is_bounded),
		cmocka_unit_test(blocking_calls_are_answered),
		cmocka_unit_test(blocking_calls_survive_hostile_answers),
		cmocka_unit_test(blocking_calls_leave_the_next_answer_in_the_socket),
		cmocka_unit_test(a_blocking_call_to_nobody_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
