/* SPDX-License-Identifier: Apache-2.0 */
/* Connections from both sides, and credit. Their ends and hostile guests: test_vsock_hostile.c. */
#include "virtio/test_vsock_expect.h"

/* ---- clients of the host's socket ---- */

static void client_connects(void **state)
{
	struct guest *g = started();
	struct g_packet p;
	uint32_t port;
	int fd = connected(g, &port);

	put(fd, "hello");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RW);
	assert_int_equal(p.h.len, 5);
	assert_memory_equal(p.data, "hello", 5);
	assert_int_equal(p.h.buf_alloc, VSOCK_BUF_ALLOC);
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "world", 5);
	expect_text(fd, "world");
	close(fd);
	g_free(g);
}

static void bytes_behind_the_line_wait(void **state)
{
	struct guest *g = started();
	int fd = g_client(g);
	struct g_packet p;

	put(fd, "CONN");
	g_settle(g);
	put(fd, "ECT 1024\nCONNECT 9\nrest");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	expect_silence(g);
	g_send(g, GUEST_PORT, p.h.src_port, VSOCK_OP_RESPONSE, NULL, 0);
	expect_op(g, &p, VSOCK_OP_RW);
	assert_int_equal(p.h.len, 14);
	assert_memory_equal(p.data, "CONNECT 9\nrest", 14);
	close(fd);
	g_free(g);
}

static void bad_lines_are_hung_up_on(void **state)
{
	static const char *const lines[] = {"CONNECT x\n", "GET / HTTP/1.1\r\n", "\n", "CONNECT 4294967295\n",
		"CONNECT 1 1 1 1 1 1 1 1 1 1 1 1 1", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
	struct guest *g = started();

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = g_client(g);
		ssize_t n;
		char c;

		put(fd, lines[i]);
		g_settle(g);
		n = recv(fd, &c, 1, 0);
		/* A close with unread bytes is a reset for the client. */
		if (n > 0 || (n < 0 && errno != ECONNRESET))
			fail_msg("'%s' was not refused", lines[i]);
		close(fd);
	}
	expect_silence(g);
	g_free(g);
}

static void silent_clients_are_dropped(void **state)
{
	struct vsock_options opts = {.cid = G_CID, .hello_ms = 20};
	struct guest *g = g_new(&opts);
	uint64_t end = time_mono_ns() + 5 * NS_PER_S;
	int silent = g_client(g), slow = g_client(g), held = g_client(g);
	char c;

	put(slow, "CONNECT 10");
	put(held, "CONNECT 1024\n");
	g_settle(g);
	expect_open(silent);
	while ((recv(silent, &c, 1, MSG_PEEK) < 0 || recv(slow, &c, 1, MSG_PEEK) < 0) && time_mono_ns() < end)
		(void)loop_turn(g->loop, 100);
	expect_eof(silent);
	expect_eof(slow);
	expect_open(held);
	close(silent);
	close(slow);
	close(held);
	g_free(g);
}

static void clients_are_held_until_the_driver_comes(void **state)
{
	struct guest *g = g_new(NULL);
	int first = g_client(g), gone = g_client(g);
	struct g_packet p;
	char ok[64];

	put(first, "CONNECT 1024\n");
	put(gone, "CONNECT 1025\n");
	g_settle(g);
	close(gone);
	g_settle(g);
	g_start(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, 1024);
	expect_silence(g);
	g_send(g, 1024, p.h.src_port, VSOCK_OP_RESPONSE, NULL, 0);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", p.h.src_port);
	expect_text(first, ok);
	close(first);
	g_free(g);
}

/* A kernel with a built-in driver refuses everything until a program listens; the program says so by any request. */
static void a_refusal_counts_when_a_program_was_heard(void **state)
{
	struct guest *g = started();
	int fd = g_client(g);
	struct g_packet p;

	put(fd, "CONNECT 1024\n");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	g_send(g, 1024, p.h.src_port, VSOCK_OP_RST, NULL, 0);
	expect_open(fd);
	expect_silence(g);
	/* To whom the request goes does not matter. */
	g_send(g, 5000, 1024, VSOCK_OP_REQUEST, NULL, 0);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, 1024);
	g_send(g, 1024, p.h.src_port, VSOCK_OP_RST, NULL, 0);
	expect_eof(fd);
	close(fd);
	g_free(g);
}

static void clients_survive_a_reset_before_their_request(void **state)
{
	struct guest *g = started();
	int fd = g_client(g);
	struct g_packet p;

	/* No rx buffer: the REQUEST stays here. */
	put(fd, "CONNECT 1024\n");
	g_settle(g);
	drv_dev_reset(g->dev);
	g_settle(g);
	expect_open(fd);
	g_start(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	g_send(g, GUEST_PORT, p.h.src_port, VSOCK_OP_RESPONSE, NULL, 0);
	/* Now the guest knows it, and a reset ends it. */
	drv_dev_reset(g->dev);
	g_settle(g);
	assert_true(recv(fd, &(char[64]){0}, 64, 0) > 0);
	expect_eof(fd);
	close(fd);
	g_free(g);
}

static void clients_that_leave_are_taken_back(void **state)
{
	struct guest *g = started();
	int fd = g_client(g);
	struct g_packet p;
	uint32_t port;

	/* Before the guest heard of it: nothing. */
	put(fd, "CONNECT 1024\n");
	g_settle(g);
	close(fd);
	g_settle(g);
	expect_silence(g);
	/* After: RST. */
	fd = g_client(g);
	put(fd, "CONNECT 1024\n");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	port = p.h.src_port;
	close(fd);
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RST);
	assert_int_equal(p.h.src_port, port);
	assert_int_equal(p.h.dst_port, 1024);
	/* The late answer belongs to nothing. */
	g_send(g, 1024, port, VSOCK_OP_RESPONSE, NULL, 0);
	expect_op(g, &p, VSOCK_OP_RST);
	expect_silence(g);
	g_free(g);
}

static void clients_beyond_the_limit_are_refused(void **state)
{
	static int fds[VSOCK_CONNS_MAX + 1];
	struct guest *g = g_new(NULL);

	for (int i = 0; i < VSOCK_CONNS_MAX; i++) {
		fds[i] = g_client(g);
		put(fds[i], "CONNECT 7\n");
		(void)loop_turn(g->loop, 0);
	}
	g_settle(g);
	expect_open(fds[VSOCK_CONNS_MAX - 1]);
	fds[VSOCK_CONNS_MAX] = g_client(g);
	g_settle(g);
	expect_eof(fds[VSOCK_CONNS_MAX]);
	for (int i = 0; i <= VSOCK_CONNS_MAX; i++)
		close(fds[i]);
	for (int i = 0; i < VSOCK_CONNS_MAX / 16; i++)
		(void)loop_turn(g->loop, 0);
	fds[0] = g_client(g);
	g_settle(g);
	expect_open(fds[0]);
	close(fds[0]);
	g_free(g);
}

/* ---- dials of the guest ---- */

static int dialed(struct guest *g, uint32_t guest_port, uint32_t host_port)
{
	struct g_packet p;
	int pair[2];

	g_send(g, guest_port, host_port, VSOCK_OP_REQUEST, NULL, 0);
	assert_int_equal(g->dial_port, host_port);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	vsock_dialed(g->vs, g->dial_token, pair[0]);
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RESPONSE);
	assert_int_equal(p.h.src_port, host_port);
	assert_int_equal(p.h.dst_port, guest_port);
	return pair[1];
}

static void guest_dials(void **state)
{
	struct guest *g = started();
	struct g_packet p;
	int fd = dialed(g, 5000, 80);

	g_send(g, 5000, 80, VSOCK_OP_RW, "ping", 4);
	expect_text(fd, "ping");
	put(fd, "pong");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RW);
	assert_memory_equal(p.data, "pong", 4);
	/* The answer cannot be given twice, and a token that never was is ignored; both descriptors are closed. */
	vsock_dialed(g->vs, g->dial_token, dup(fd));
	vsock_dialed(g->vs, 123456, dup(fd));
	vsock_dialed(g->vs, g->dial_token, -1);
	g_settle(g);
	expect_silence(g);
	close(fd);
	g_free(g);
}

static void dials_are_refused(void **state)
{
	struct vsock_options opts = {.cid = G_CID};
	struct guest *g = started();
	struct g_packet p;
	uint64_t token;

	g_send(g, 5000, 80, VSOCK_OP_REQUEST, NULL, 0);
	expect_silence(g);
	vsock_dialed(g->vs, g->dial_token, -1);
	expect_op(g, &p, VSOCK_OP_RST);
	assert_int_equal(p.h.src_port, 80);
	assert_int_equal(p.h.dst_port, 5000);
	/* The guest gives up first: the answer is late, and a second dial has another token. */
	g_send(g, 5000, 80, VSOCK_OP_REQUEST, NULL, 0);
	token = g->dial_token;
	g_send(g, 5000, 80, VSOCK_OP_RST, NULL, 0);
	g_send(g, 5000, 80, VSOCK_OP_REQUEST, NULL, 0);
	assert_true(g->dial_token != token);
	vsock_dialed(g->vs, token, -1);
	expect_silence(g);
	g_free(g);
	/* Nobody answers dials at all. */
	g = g_new(&opts);
	g_start(g);
	g_send(g, 5000, 80, VSOCK_OP_REQUEST, NULL, 0);
	expect_op(g, &p, VSOCK_OP_RST);
	g_free(g);
}

/* ---- credit ---- */

static void full_host_sockets_are_buffered_within_credit(void **state)
{
	static uint8_t data[65536], back[65536];
	struct guest *g = started();
	struct g_packet p;
	uint32_t port, sent = 0, got = 0, fwd = 0;
	int fd = connected(g, &port);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)((i * 2654435761u) >> 13);
	/* The host reads nothing: what its socket takes counts as consumed, the rest is held. */
	while (sent - fwd < VSOCK_BUF_ALLOC) {
		uint32_t n = VSOCK_BUF_ALLOC - (sent - fwd);

		g_send(g, GUEST_PORT, port, VSOCK_OP_RW, data, n < 65536 ? n : 65536);
		sent += n < 65536 ? n : 65536;
		while (g_get(g, &p)) {
			assert_int_equal(p.h.op, VSOCK_OP_CREDIT_UPDATE);
			fwd = p.h.fwd_cnt;
		}
	}
	/* Now it reads, and everything comes in order. */
	while (got < sent) {
		ssize_t n = recv(fd, back, sizeof(back), 0);

		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		for (ssize_t i = 0; i < n; i++)
			if (back[i] != data[(got + (size_t)i) % 65536])
				fail_msg("byte %zu differs", got + (size_t)i);
		got += n > 0 ? (uint32_t)n : 0;
		g_settle(g);
	}
	/* And the guest learns that all of its credit is back. */
	while (g_get(g, &p))
		fwd = p.h.fwd_cnt;
	assert_true(sent - fwd < VSOCK_BUF_ALLOC / 2);
	close(fd);
	g_free(g);
}

static void sending_beyond_credit_is_reset(void **state)
{
	static uint8_t data[65536];
	struct guest *g = started();
	struct g_packet p = {0};
	uint32_t port, i;
	int fd = connected(g, &port);

	/* Never looks at our credit; the host's socket takes some 200 KiB, we hold the credit. */
	for (i = 0; i < 100 && p.h.op != VSOCK_OP_RST; i++) {
		g_send(g, GUEST_PORT, port, VSOCK_OP_RW, data, sizeof(data));
		while (p.h.op != VSOCK_OP_RST && g_get(g, &p))
			;
	}
	assert_true(i > VSOCK_BUF_ALLOC / sizeof(data) && i < VSOCK_BUF_ALLOC / sizeof(data) + 16);
	expect_silence(g);
	close(fd);
	g_free(g);
}

static void guests_credit_is_respected(void **state)
{
	static uint8_t data[20000];
	struct guest *g = started();
	struct vsock_hdr h;
	struct g_packet p;
	uint32_t port, got = 0;
	int fd = connected(g, &port);

	h = g_hdr(GUEST_PORT, port, VSOCK_OP_CREDIT_UPDATE);
	h.buf_alloc = 10000;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
	g_settle(g);
	while (g_get(g, &p))
		got += p.h.len;
	assert_int_equal(got, 10000);
	h.fwd_cnt = 10000;
	h.buf_alloc = 1;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	while (g_get(g, &p))
		got += p.h.len;
	assert_int_equal(got, 10001);
	/* A shrunken buffer, or counters that lie: nothing. */
	h.fwd_cnt = 99999;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	expect_silence(g);
	h.fwd_cnt = 10001;
	h.buf_alloc = UINT32_MAX;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	while (g_get(g, &p))
		got += p.h.len;
	assert_int_equal(got, 20000);
	/* Asked for ours. */
	g_send(g, GUEST_PORT, port, VSOCK_OP_CREDIT_REQUEST, NULL, 0);
	expect_op(g, &p, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.h.buf_alloc, VSOCK_BUF_ALLOC);
	close(fd);
	g_free(g);
}

static void nothing_spins_without_room(void **state)
{
	static uint8_t data[100000];
	struct guest *g = started();
	struct vsock_hdr h;
	uint32_t port;
	struct g_packet p;
	int fd = connected(g, &port), n = 0;

	/* No rx buffers, input waits. */
	assert_true(g_recv(g, &p) == false);
	assert_true(send(fd, data, sizeof(data), 0) > 0);
	g_settle(g);
	assert_true(sleeps(g));
	/* Nor after the client hung up, which epoll would report for ever. */
	shutdown(fd, SHUT_RDWR);
	g_settle(g);
	assert_true(sleeps(g));
	/* Buffers, but no credit. */
	h = g_hdr(GUEST_PORT, port, VSOCK_OP_CREDIT_UPDATE);
	h.buf_alloc = 0;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	g_post_rx(g, 40);
	g_settle(g);
	assert_true(sleeps(g));
	expect_silence(g);
	/* Both: everything comes, then the end. */
	h.buf_alloc = 200000;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	while (g_get(g, &p) && p.h.op == VSOCK_OP_RW)
		n += (int)p.h.len;
	assert_int_equal(p.h.op, VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VSOCK_NO_BOTH);
	assert_int_equal(n, sizeof(data));
	assert_true(sleeps(g));
	close(fd);
	g_free(g);
}

static void hungry_clients_share_the_buffers(void **state)
{
	static uint8_t data[150000];
	struct guest *g = started();
	uint32_t ports[4], got[4] = {0};
	int fds[4];

	for (int i = 0; i < 4; i++) {
		struct vsock_hdr h;

		fds[i] = connected(g, &ports[i]);
		h = g_hdr(GUEST_PORT, ports[i], VSOCK_OP_CREDIT_UPDATE);
		h.buf_alloc = 1u << 20;
		assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	}
	for (int i = 0; i < 4; i++)
		assert_true(send(fds[i], data, sizeof(data), 0) > 0);
	g_settle(g);
	/* 128 buffers of 4 KiB: each of the four gets two turns of 64 KiB, less what two were cut off. */
	for (int n = 0; n < 128; n++) {
		struct g_packet p;

		assert_true(g_get(g, &p));
		for (int i = 0; i < 4; i++)
			got[i] += p.h.src_port == ports[i] ? p.h.len : 0;
	}
	for (int i = 0; i < 4; i++) {
		if (got[i] < 100000)
			fail_msg("client %d got %u bytes through", i, got[i]);
		close(fds[i]);
	}
	g_free(g);
}

static void a_batch_is_one_interrupt(void **state)
{
	static uint8_t data[65536];
	struct guest *g = started();
	uint32_t port;
	int fd = connected(g, &port), packets = 0;
	unsigned rx, tx;
	struct g_packet p;

	g_post_rx(g, 60);
	rx = g->t.signals[G_RX];
	tx = g->t.signals[G_TX];
	assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
	for (int i = 0; i < 10; i++) {
		struct vsock_hdr h = g_hdr(GUEST_PORT, port, VSOCK_OP_RW);

		h.len = 100;
		g_add_tx(g, &h, data, 100);
	}
	assert_int_equal(g_publish_tx(g), 0);
	g_settle(g);
	while (g_recv(g, &p))
		packets++;
	assert_int_equal(packets, 16);
	assert_int_equal(g->t.signals[G_RX] - rx, 1);
	assert_int_equal(g->t.signals[G_TX] - tx, 1);
	close(fd);
	g_free(g);
}

/* Credit is told after half of it, before the rest is handled, and the interrupt for what was taken comes with it. */
static void news_of_credit_does_not_wait_for_the_rest(void **state)
{
	static uint8_t data[65536];
	struct guest *g = started();
	uint32_t port;
	int fd = connected(g, &port);
	struct vsock_hdr h = g_hdr(GUEST_PORT, port, VSOCK_OP_RW);
	unsigned rx, tx;
	struct g_packet p;

	g_post_rx(g, 8);
	rx = g->t.signals[G_RX];
	tx = g->t.signals[G_TX];
	h.len = sizeof(data);
	h.buf_alloc = 256 * 1024; /* less than ours: half of that is told */
	for (int i = 0; i < 3; i++)
		g_add_tx(g, &h, data, sizeof(data));
	assert_true(drv_publish(&g->q[G_TX]));
	assert_int_equal(g_kick(g, G_TX), 0);
	assert_int_equal((uint16_t)(drv_used_idx(&g->q[G_TX]) - g->q[G_TX].last_used), 2);
	assert_int_equal(g->t.signals[G_TX] - tx, 0);
	assert_int_equal(loop_turn(g->loop, 0), 0);
	assert_int_equal(g->t.signals[G_RX] - rx, 1);
	assert_int_equal(g->t.signals[G_TX] - tx, 1);
	assert_true(g_recv(g, &p));
	assert_int_equal(p.h.op, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.h.fwd_cnt, 2 * sizeof(data));
	g_settle(g);
	assert_int_equal((uint16_t)(drv_used_idx(&g->q[G_TX]) - g->q[G_TX].last_used), 3);
	close(fd);
	g_free(g);
}

/* One kick for a ring full of packets: there is no second one for what the first turn left. */
static void a_full_ring_is_taken_whole(void **state)
{
	struct guest *g = g_new(NULL);
	struct vsock_hdr h = g_hdr(GUEST_PORT, 9, VSOCK_OP_RST);
	unsigned n = 0;

	g_start(g);
	for (unsigned i = 0; i < G_QUEUE; i++)
		g_add_tx(g, &h, NULL, 0);
	assert_true(drv_publish(&g->q[G_TX]));
	assert_int_equal(g_kick(g, G_TX), 0);
	g_settle(g);
	while (drv_used(&g->q[G_TX], NULL, NULL))
		n++;
	assert_int_equal(n, G_QUEUE);
	/* And the next packet is kicked for again. */
	g_add_tx(g, &h, NULL, 0);
	assert_true(drv_publish(&g->q[G_TX]));
	g_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client_connects),
		cmocka_unit_test(bytes_behind_the_line_wait),
		cmocka_unit_test(bad_lines_are_hung_up_on),
		cmocka_unit_test(silent_clients_are_dropped),
		cmocka_unit_test(clients_are_held_until_the_driver_comes),
		cmocka_unit_test(a_refusal_counts_when_a_program_was_heard),
		cmocka_unit_test(clients_survive_a_reset_before_their_request),
		cmocka_unit_test(clients_that_leave_are_taken_back),
		cmocka_unit_test(clients_beyond_the_limit_are_refused),
		cmocka_unit_test(guest_dials),
		cmocka_unit_test(dials_are_refused),
		cmocka_unit_test(full_host_sockets_are_buffered_within_credit),
		cmocka_unit_test(sending_beyond_credit_is_reset),
		cmocka_unit_test(guests_credit_is_respected),
		cmocka_unit_test(nothing_spins_without_room),
		cmocka_unit_test(hungry_clients_share_the_buffers),
		cmocka_unit_test(a_batch_is_one_interrupt),
		cmocka_unit_test(news_of_credit_does_not_wait_for_the_rest),
		cmocka_unit_test(a_full_ring_is_taken_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
