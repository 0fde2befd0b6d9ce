/* SPDX-License-Identifier: Apache-2.0 */
/* How connections end, whoever ends them, and guests that mean harm. */
#include "virtio/test_vsock_expect.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
