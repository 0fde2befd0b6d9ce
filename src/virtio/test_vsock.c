/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vsock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_vsock_guest.h"

#define GUEST_PORT 1024

static void expect_op(struct guest *g, struct g_packet *p, enum vsock_op op)
{
	assert_true(g_get(g, p));
	assert_int_equal(p->h.op, op);
	assert_int_equal(p->h.dst_cid, G_CID);
}

static void expect_silence(struct guest *g)
{
	struct g_packet p;

	if (g_get(g, &p))
		fail_msg("unexpected packet, op %u, len %u", p.h.op, p.h.len);
}

static void expect_text(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void expect_eof(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void expect_open(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* A client whose connection the guest has accepted; *ret_port is the host's port. */
static int connected(struct guest *g, uint32_t *ret_port)
{
	int fd = g_client(g);
	struct g_packet p;
	char ok[64];

	put(fd, "CONNECT 1024\n");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, GUEST_PORT);
	*ret_port = p.h.src_port;
	g_send(g, GUEST_PORT, *ret_port, VSOCK_OP_RESPONSE, NULL, 0);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", *ret_port);
	expect_text(fd, ok);
	return fd;
}

static struct guest *started(void)
{
	struct guest *g = g_new(NULL);

	g_start(g);
	return g;
}

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

	/* Never looks at our credit; the host's socket takes some 200 KiB, we hold 256. */
	for (i = 0; i < 100 && p.h.op != VSOCK_OP_RST; i++) {
		g_send(g, GUEST_PORT, port, VSOCK_OP_RW, data, sizeof(data));
		while (p.h.op != VSOCK_OP_RST && g_get(g, &p))
			;
	}
	assert_true(i > 4 && i < 20);
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

/* True if the loop finds nothing to do for a while. */
static bool sleeps(struct guest *g)
{
	uint64_t start = time_mono_ns();

	(void)loop_turn(g->loop, 50);
	return time_mono_ns() - start >= 45 * NS_PER_MS;
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
	h.buf_alloc = VSOCK_BUF_ALLOC;
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
	assert_int_equal(p.h.fwd_cnt, VSOCK_BUF_ALLOC / 2);
	g_settle(g);
	assert_int_equal((uint16_t)(drv_used_idx(&g->q[G_TX]) - g->q[G_TX].last_used), 3);
	close(fd);
	g_free(g);
}

/* ---- ends ---- */

static void host_ends_first(void **state)
{
	struct guest *g = started();
	struct g_packet p;
	uint32_t port;
	int fd = connected(g, &port);

	put(fd, "last words");
	shutdown(fd, SHUT_WR);
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RW);
	expect_op(g, &p, VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VSOCK_NO_SEND);
	expect_silence(g);
	/* The other direction goes on. */
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "answer", 6);
	expect_text(fd, "answer");
	expect_open(fd);
	/* A guest that closes says so for both directions and waits for RST. */
	{
		struct vsock_hdr h = g_hdr(GUEST_PORT, port, VSOCK_OP_SHUTDOWN);

		h.flags = VSOCK_NO_BOTH;
		assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	}
	expect_eof(fd);
	expect_op(g, &p, VSOCK_OP_RST);
	expect_silence(g);
	close(fd);
	g_free(g);
}

static void guest_ends_first(void **state)
{
	struct guest *g = started();
	struct vsock_hdr h;
	struct g_packet p;
	uint32_t port;
	int fd = connected(g, &port);

	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "last words", 10);
	h = g_hdr(GUEST_PORT, port, VSOCK_OP_SHUTDOWN);
	h.flags = VSOCK_NO_SEND;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	expect_text(fd, "last words");
	expect_eof(fd);
	put(fd, "answer");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RW);
	assert_memory_equal(p.data, "answer", 6);
	/* Bytes after its own end are against the rules, but the end of the host comes first here. */
	close(fd);
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VSOCK_NO_BOTH);
	expect_silence(g);
	g_send(g, GUEST_PORT, port, VSOCK_OP_RST, NULL, 0);
	expect_silence(g);
	/* The connection is gone: the same ports again are unknown. */
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "x", 1);
	expect_op(g, &p, VSOCK_OP_RST);
	g_free(g);
}

static void guest_that_takes_no_more_stops_the_client(void **state)
{
	struct guest *g = started();
	struct vsock_hdr h;
	uint32_t port;
	int fd = connected(g, &port);

	h = g_hdr(GUEST_PORT, port, VSOCK_OP_SHUTDOWN);
	h.flags = VSOCK_NO_RCV;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "still", 5);
	expect_text(fd, "still");
	assert_true(sleeps(g));
	close(fd);
	g_free(g);
}

static void client_that_takes_no_more_stops_the_guest(void **state)
{
	struct guest *g = started();
	struct g_packet p;
	uint32_t port;
	int fd = connected(g, &port);

	shutdown(fd, SHUT_RD);
	g_settle(g);
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "x", 1);
	expect_op(g, &p, VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VSOCK_NO_RCV);
	/* What was under way is dropped without harm; the other direction goes on. */
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "y", 1);
	put(fd, "more");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_RW);
	close(fd);
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_SHUTDOWN);
	assert_int_equal(p.h.flags, VSOCK_NO_BOTH);
	g_free(g);
}

/* What the guest sent before its end reaches a slow client, although the guest has forgotten the connection. */
static void ends_are_behind_the_bytes(void **state)
{
	static const struct {
		const char *what;
		enum vsock_op op;
	} ends[] = {{"close", VSOCK_OP_SHUTDOWN}, {"reset", VSOCK_OP_RST}, {"device reset", 0}};
	static uint8_t data[65536];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct guest *g = started();
		struct vsock_hdr h;
		uint32_t port, got = 0, sent = 0;
		int fd = connected(g, &port);
		ssize_t n;

		for (; sent < VSOCK_BUF_ALLOC; sent += sizeof(data))
			g_send(g, GUEST_PORT, port, VSOCK_OP_RW, data, sizeof(data));
		h = g_hdr(GUEST_PORT, port, ends[i].op);
		h.flags = VSOCK_NO_BOTH;
		if (ends[i].op)
			assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
		else
			drv_dev_reset(g->dev);
		do {
			n = recv(fd, data, sizeof(data), 0);
			got += n > 0 ? (uint32_t)n : 0;
			g_settle(g);
		} while (n > 0);
		if (n != 0 || got != sent)
			fail_msg("%s: %u bytes of %u, then %zd", ends[i].what, got, sent, n);
		close(fd);
		g_free(g);
	}
}

/* ---- hostile guests ---- */

static void hostile_packets(void **state)
{
	enum outcome { NOTHING, RESET, RESET_OTHER };
	static const struct {
		const char *what;
		struct vsock_hdr h; /* ports 1024 and 1 are replaced by the connection's */
		uint32_t len;	    /* bytes really there */
		enum outcome want;
	} table[] = {
		{"wrong source", {.src_cid = 4, .dst_cid = 2, .type = 1, .op = 5}, 0, NOTHING},
		{"wrong destination", {.src_cid = 3, .dst_cid = 9, .type = 1, .op = 1}, 0, NOTHING},
		{"to itself", {.src_cid = 3, .dst_cid = 3, .type = 1, .op = 1}, 0, NOTHING},
		{"data to itself", {.src_cid = 3, .dst_cid = 3, .type = 1, .op = 5, .len = 4}, 4, NOTHING},
		{"unknown type", {.src_cid = 3, .dst_cid = 2, .type = 2, .op = 1}, 0, RESET_OTHER},
		{"operation 0", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 0}, 0, RESET},
		{"operation 99", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 99}, 0, RESET},
		{"longer than the chain", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = 11}, 10, RESET},
		{"2^32 - 1 bytes", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = UINT32_MAX}, 10, RESET},
		{"REQUEST again", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 1}, 0, RESET},
		{"RESPONSE again", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 2}, 0, RESET},
		{"unknown shutdown flags", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 4, .flags = 0xfffffffc}, 0,
			NOTHING},
		{"empty data", {.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5}, 0, NOTHING},
		{"RST with a bad type", {.src_cid = 3, .dst_cid = 2, .type = 7, .op = 3}, 0, NOTHING},
	};
	uint8_t data[64] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct guest *g = started();
		struct vsock_hdr h = table[i].h;
		struct g_packet p = {0};
		uint32_t port;
		int fd = connected(g, &port);
		bool answered, alive;

		h.src_port = GUEST_PORT;
		h.dst_port = port;
		h.buf_alloc = 65536;
		if (g_send_hdr(g, &h, data, table[i].len) < 0)
			fail_msg("%s: the device broke", table[i].what);
		answered = g_get(g, &p);
		alive = recv(fd, data, 1, 0) < 0 && errno == EAGAIN;
		if (answered != (table[i].want != NOTHING) || (answered && p.h.op != VSOCK_OP_RST))
			fail_msg("%s: answered %d, op %u", table[i].what, answered, p.h.op);
		if (answered && (p.h.src_cid != h.dst_cid || p.h.type != h.type || p.h.src_port != port))
			fail_msg("%s: RST of something else", table[i].what);
		if (alive != (table[i].want != RESET))
			fail_msg("%s: client %s", table[i].what, alive ? "lives" : "was hung up on");
		close(fd);
		g_free(g);
	}
}

static void packets_of_no_connection(void **state)
{
	struct guest *g = started();
	struct g_packet p;

	for (int op = VSOCK_OP_RESPONSE; op <= VSOCK_OP_CREDIT_REQUEST; op++) {
		g_send(g, 9, 10, op, NULL, 0);
		if (op == VSOCK_OP_RST) {
			expect_silence(g);
			continue;
		}
		expect_op(g, &p, VSOCK_OP_RST);
		assert_int_equal(p.h.src_port, 10);
		assert_int_equal(p.h.dst_port, 9);
	}
	g_free(g);
}

static void data_out_of_turn_is_reset(void **state)
{
	struct guest *g = started();
	struct vsock_hdr h;
	struct g_packet p;
	uint32_t port;
	int fd = g_client(g);

	/* Before the connection is there. */
	put(fd, "CONNECT 1024\n");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	g_send(g, GUEST_PORT, p.h.src_port, VSOCK_OP_RW, "x", 1);
	expect_op(g, &p, VSOCK_OP_RST);
	expect_eof(fd);
	close(fd);
	/* To a dial that is not answered. */
	g_send(g, 5000, 80, VSOCK_OP_REQUEST, NULL, 0);
	g_send(g, 5000, 80, VSOCK_OP_RW, "x", 1);
	expect_op(g, &p, VSOCK_OP_RST);
	/* After its own end. */
	fd = connected(g, &port);
	h = g_hdr(GUEST_PORT, port, VSOCK_OP_SHUTDOWN);
	h.flags = VSOCK_NO_SEND;
	assert_int_equal(g_send_hdr(g, &h, NULL, 0), 0);
	g_send(g, GUEST_PORT, port, VSOCK_OP_RW, "x", 1);
	expect_op(g, &p, VSOCK_OP_RST);
	close(fd);
	g_free(g);
}

static void resets_are_bounded(void **state)
{
	struct guest *g = started();
	struct g_packet p;
	int n = 0;

	/* No rx buffers meanwhile; every packet asks for a RST of its own. */
	for (uint32_t i = 0; i < 1000; i++)
		g_send(g, i, 10, VSOCK_OP_RW, NULL, 0);
	while (g_get(g, &p))
		n++;
	assert_in_range(n, 1, 64);
	/* The same packet again and again is refused once: by the buffer that is out, then once more that waits. */
	for (n = 0; n < 1000; n++)
		g_send(g, 1, 10, VSOCK_OP_RW, NULL, 0);
	expect_op(g, &p, VSOCK_OP_RST);
	expect_op(g, &p, VSOCK_OP_RST);
	expect_silence(g);
	g_free(g);
}

static void guests_dials_are_bounded(void **state)
{
	struct guest *g = started();
	struct g_packet p;

	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
		g_send(g, 10000 + i, 80, VSOCK_OP_REQUEST, NULL, 0);
	assert_int_equal(g->dials, VSOCK_CONNS_MAX);
	expect_silence(g);
	g_send(g, 9999, 80, VSOCK_OP_REQUEST, NULL, 0);
	assert_int_equal(g->dials, VSOCK_CONNS_MAX);
	expect_op(g, &p, VSOCK_OP_RST);
	assert_int_equal(p.h.dst_port, 9999);
	g_free(g);
}

static void odd_rx_buffers(void **state)
{
	struct guest *g = started();
	struct drv_buf bytes[100];
	struct g_packet p;
	uint32_t port, len;
	uint16_t head;
	int fd = connected(g, &port);

	/* Room for a header only: given back with a packet that means nothing, the data stays. */
	put(fd, "data");
	g_add_rx(g, 0);
	if (drv_publish(&g->q[G_RX]))
		assert_int_equal(g_kick(g, G_RX), 0);
	g_settle(g);
	assert_true(g_recv(g, &p));
	assert_int_equal(p.h.op, VSOCK_OP_CREDIT_UPDATE);
	expect_op(g, &p, VSOCK_OP_RW);
	assert_int_equal(p.h.len, 4);
	/* A hundred buffers of a byte each. */
	for (unsigned i = 0; i < 100; i++)
		bytes[i] = (struct drv_buf){g->rx_pool_data + i, 1, true};
	put(fd, "0123456789");
	assert_true(drv_add_indirect(&g->q[G_RX], bytes, 100) >= 0);
	if (drv_publish(&g->q[G_RX]))
		assert_int_equal(g_kick(g, G_RX), 0);
	g_settle(g);
	assert_true(drv_used(&g->q[G_RX], &head, &len));
	assert_int_equal(len, VSOCK_HDR_LEN + 10);
	assert_memory_equal(drv_ptr(&g->vm, g->rx_pool_data + VSOCK_HDR_LEN), "0123456789", 10);
	close(fd);
	g_free(g);
}

static void too_small_rx_buffer_breaks_the_device(void **state)
{
	struct guest *g = started();
	struct drv_buf b = {g->rx_pool_data, VSOCK_HDR_LEN - 1, true};
	int fd = g_client(g);

	assert_true(drv_add(&g->q[G_RX], &b, 1) >= 0);
	(void)drv_publish(&g->q[G_RX]);
	put(fd, "CONNECT 1024\n");
	g_settle(g);
	assert_int_equal(g->t.broken, 1);
	/* Once, and it is quiet from then on. */
	assert_int_equal(g_kick(g, G_TX), 0);
	g_settle(g);
	assert_int_equal(g->t.broken, 1);
	/* A reset mends it. */
	drv_dev_reset(g->dev);
	g_start(g);
	close(fd);
	fd = connected(g, &(uint32_t){0});
	close(fd);
	g_free(g);
}

static void broken_rings_are_reported(void **state)
{
	struct guest *g = started();

	drv_set_avail(&g->q[G_TX], 0, 5000);
	drv_set_avail_idx(&g->q[G_TX], 1);
	assert_int_equal(g_kick(g, G_TX), -EPROTO);
	drv_dev_reset(g->dev);
	g_free(g);
}

static void short_tx_chains_are_ignored(void **state)
{
	struct guest *g = started();
	struct drv_buf b = {g->tx_data, VSOCK_HDR_LEN - 1, false};

	assert_true(drv_add(&g->q[G_TX], &b, 1) >= 0);
	b.write = true;
	assert_true(drv_add(&g->q[G_TX], &b, 1) >= 0);
	assert_true(drv_publish(&g->q[G_TX]));
	assert_int_equal(g_kick(g, G_TX), 0);
	assert_int_equal(drv_used(&g->q[G_TX], NULL, NULL), 1);
	assert_int_equal(drv_used(&g->q[G_TX], NULL, NULL), 1);
	expect_silence(g);
	g_free(g);
}

static void transport_reset_is_an_event(void **state)
{
	struct guest *g = started();
	struct drv_buf b;
	uint8_t cid[8];
	uint32_t port, len;
	int fd = connected(g, &port);

	vsock_transport_reset(g->vs, 77);
	g_settle(g);
	expect_eof(fd);
	close(fd);
	b = (struct drv_buf){drv_alloc(&g->vm, 8, 8), 8, true};
	memset(drv_ptr(&g->vm, b.gpa), 0xff, 8);
	assert_true(drv_add(&g->q[G_EVENT], &b, 1) >= 0);
	assert_true(drv_publish(&g->q[G_EVENT]));
	assert_int_equal(g_kick(g, G_EVENT), 0);
	assert_int_equal(drv_used(&g->q[G_EVENT], NULL, &len), 1);
	assert_int_equal(len, 4);
	assert_int_equal(get_le32(drv_ptr(&g->vm, b.gpa)), 0);
	assert_int_equal(g->t.signals[G_EVENT], 1);
	g->dev->ops->config_read(g->dev, 0, cid, 8);
	assert_int_equal(get_le64(cid), 77);
	g_free(g);
}

static void refuses_reserved_cids(void **state)
{
	static const uint64_t cids[] = {0, 1, 2, UINT32_MAX, UINT64_MAX};
	struct loop *loop = NULL;

	assert_int_equal(loop_new(&loop, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cids); i++) {
		const struct vsock_options opts = {.cid = cids[i], .listen_fd = -1};
		struct vsock *vs = NULL;
		struct err err = {0};

		assert_int_equal(vsock_new(&vs, loop, &opts, &err), -EINVAL);
		assert_null(vs);
	}
	loop_free(loop);
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
		cmocka_unit_test(host_ends_first),
		cmocka_unit_test(guest_ends_first),
		cmocka_unit_test(guest_that_takes_no_more_stops_the_client),
		cmocka_unit_test(client_that_takes_no_more_stops_the_guest),
		cmocka_unit_test(ends_are_behind_the_bytes),
		cmocka_unit_test(hostile_packets),
		cmocka_unit_test(packets_of_no_connection),
		cmocka_unit_test(data_out_of_turn_is_reset),
		cmocka_unit_test(resets_are_bounded),
		cmocka_unit_test(guests_dials_are_bounded),
		cmocka_unit_test(odd_rx_buffers),
		cmocka_unit_test(too_small_rx_buffer_breaks_the_device),
		cmocka_unit_test(broken_rings_are_reported),
		cmocka_unit_test(short_tx_chains_are_ignored),
		cmocka_unit_test(transport_reset_is_an_event),
		cmocka_unit_test(refuses_reserved_cids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
