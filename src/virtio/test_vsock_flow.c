/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: whatever the sizes and the order of reads, writes, buffers, credit and half-closes are, every byte arrives once, in
 * order, in both directions, and then the ends do. Each byte tells its connection, direction and place, so a mix-up shows.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio/test_vsock_guest.h"

#define CONNS_MAX 1000
#define PIECE_MAX 65536

struct stream {
	uint32_t total, sent, got;
	bool end_sent, end_seen;
};

struct peer {
	unsigned id;
	int fd;
	uint32_t guest_port, host_port;
	struct stream h2g, g2h;
	/* the guest's half of the credit */
	uint32_t room, consumed, dev_alloc, dev_fwd;
	bool over;
};

struct flow {
	struct guest *g;
	unsigned n;
	struct peer peers[CONNS_MAX];
	uint64_t rng;
	uint8_t scratch[PIECE_MAX];
};

static uint32_t rnd(struct flow *f, uint32_t below)
{
	f->rng ^= f->rng << 13;
	f->rng ^= f->rng >> 7;
	f->rng ^= f->rng << 17;
	return (uint32_t)(f->rng >> 16) % below;
}

static uint8_t pattern(const struct peer *p, unsigned direction, uint32_t at)
{
	uint32_t x = at * 2654435761u ^ p->id * 40503u ^ direction * 977u;

	return (uint8_t)(x >> 11);
}

static void fill(struct flow *f, const struct peer *p, unsigned direction, uint32_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		f->scratch[i] = pattern(p, direction, at + i);
}

static void check(const struct peer *p, unsigned direction, uint32_t at, const uint8_t *data, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (data[i] != pattern(p, direction, at + i))
			fail_msg("connection %u, direction %u: byte %u is wrong", p->id, direction, at + i);
}

static struct vsock_hdr guest_hdr(const struct peer *p, enum vsock_op op)
{
	struct vsock_hdr h = g_hdr(p->guest_port, p->host_port, op);

	h.buf_alloc = p->room;
	h.fwd_cnt = p->consumed;
	return h;
}

/* ---- the four actors of a connection ---- */

static void host_writes(struct flow *f, struct peer *p)
{
	struct stream *s = &p->h2g;
	uint32_t left = s->total - s->sent, n;
	ssize_t w;

	if (!left) {
		if (!s->end_sent)
			assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
		s->end_sent = true;
		return;
	}
	n = 1 + rnd(f, left < PIECE_MAX ? left : PIECE_MAX);
	n = n > left ? left : n;
	fill(f, p, 0, s->sent, n);
	w = send(p->fd, f->scratch, n, MSG_NOSIGNAL);
	if (w < 0)
		assert_int_equal(errno, EAGAIN);
	else
		s->sent += (uint32_t)w;
}

static void host_reads(struct flow *f, struct peer *p)
{
	struct stream *s = &p->g2h;
	ssize_t n = recv(p->fd, f->scratch, 1 + rnd(f, PIECE_MAX), 0);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	else if (n == 0)
		s->end_seen = true;
	else
		check(p, 1, s->got, f->scratch, (uint32_t)n);
	s->got += n > 0 ? (uint32_t)n : 0;
}

static void guest_writes(struct flow *f, struct peer *p)
{
	struct stream *s = &p->g2h;
	uint32_t left = s->total - s->sent, credit = p->dev_alloc - (s->sent - p->dev_fwd), n;
	struct vsock_hdr h = guest_hdr(p, VSOCK_OP_RW);

	if (!left) {
		h.op = VSOCK_OP_SHUTDOWN;
		h.flags = VSOCK_NO_SEND;
		if (!s->end_sent)
			assert_int_equal(g_send_hdr(f->g, &h, NULL, 0), 0);
		s->end_sent = true;
		return;
	}
	n = 1 + rnd(f, left < PIECE_MAX ? left : PIECE_MAX);
	n = n > left ? left : n;
	n = n > credit ? credit : n;
	fill(f, p, 1, s->sent, n);
	h.len = n;
	assert_int_equal(g_send_hdr(f->g, &h, f->scratch, n), 0);
	s->sent += n;
}

static struct peer *find(struct flow *f, const struct vsock_hdr *h)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->peers[i].guest_port == h->dst_port && f->peers[i].host_port == h->src_port)
			return &f->peers[i];
	return NULL;
}

static void guest_takes(struct flow *f, const struct g_packet *k)
{
	struct peer *p = find(f, &k->h);
	struct vsock_hdr h;

	assert_non_null(p);
	p->dev_alloc = k->h.buf_alloc;
	p->dev_fwd = k->h.fwd_cnt;
	if (k->h.op == VSOCK_OP_SHUTDOWN && k->h.flags & VSOCK_NO_SEND)
		p->h2g.end_seen = true;
	if (k->h.op == VSOCK_OP_RST)
		p->over = true;
	if (k->h.op != VSOCK_OP_RW)
		return;
	check(p, 0, p->h2g.got, k->data, k->h.len);
	p->h2g.got += k->h.len;
	/* Never more than the guest has said there is room for. */
	if (p->h2g.got - p->consumed > p->room)
		fail_msg("connection %u: credit of %u overrun", p->id, p->room);
	/* Now and then the application reads, and the guest tells. */
	if (p->h2g.got - p->consumed < p->room && rnd(f, 4))
		return;
	p->consumed = p->h2g.got;
	h = guest_hdr(p, VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(g_send_hdr(f->g, &h, NULL, 0), 0);
}

static void guest_reads(struct flow *f)
{
	unsigned out = f->g->q[G_RX].avail_idx - f->g->q[G_RX].last_used, n = rnd(f, 20);
	struct g_packet k;

	g_post_rx(f->g, out + n > G_QUEUE / 2 ? G_QUEUE / 2 - out : n);
	g_settle(f->g);
	while (g_recv(f->g, &k))
		guest_takes(f, &k);
}

/* ---- set-up and the run ---- */

static void open_client(struct flow *f, struct peer *p)
{
	struct g_packet k;
	char line[64];

	p->fd = g_client(f->g);
	p->guest_port = 1024 + p->id % 3;
	(void)snprintf(line, sizeof(line), "CONNECT %u\n", p->guest_port);
	assert_int_equal(send(p->fd, line, strlen(line), 0), strlen(line));
	g_settle(f->g);
	assert_true(g_get(f->g, &k));
	assert_int_equal(k.h.op, VSOCK_OP_REQUEST);
	p->host_port = k.h.src_port;
	p->dev_alloc = k.h.buf_alloc;
	k.h = guest_hdr(p, VSOCK_OP_RESPONSE);
	assert_int_equal(g_send_hdr(f->g, &k.h, NULL, 0), 0);
	(void)snprintf(line, sizeof(line), "OK %u\n", p->host_port);
	assert_int_equal(recv(p->fd, f->scratch, strlen(line), 0), strlen(line));
	assert_memory_equal(f->scratch, line, strlen(line));
}

static void open_dial(struct flow *f, struct peer *p)
{
	struct vsock_hdr h;
	struct g_packet k;
	int pair[2];

	p->guest_port = 50000 + p->id;
	p->host_port = 80;
	h = guest_hdr(p, VSOCK_OP_REQUEST);
	assert_int_equal(g_send_hdr(f->g, &h, NULL, 0), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	p->fd = pair[1];
	vsock_dialed(f->g->vs, f->g->dial_token, pair[0]);
	g_settle(f->g);
	assert_true(g_get(f->g, &k));
	assert_int_equal(k.h.op, VSOCK_OP_RESPONSE);
	p->dev_alloc = k.h.buf_alloc;
}

static struct flow *flow_new(uint64_t seed, unsigned n, uint32_t bytes_max)
{
	struct flow *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->g = g_new(NULL);
	g_start(f->g);
	f->rng = seed * 0x9e3779b97f4a7c15 + 1;
	f->n = n;
	for (unsigned i = 0; i < n; i++) {
		struct peer *p = &f->peers[i];

		p->id = i;
		p->room = 1 + rnd(f, 100000);
		p->h2g.total = rnd(f, bytes_max);
		p->g2h.total = rnd(f, bytes_max);
		if (rnd(f, 2))
			open_client(f, p);
		else
			open_dial(f, p);
	}
	return f;
}

static void flow_free(struct flow *f)
{
	for (unsigned i = 0; i < f->n; i++)
		close(f->peers[i].fd);
	g_free(f->g);
	free(f);
}

static bool finished(const struct flow *f)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!f->peers[i].h2g.end_seen || !f->peers[i].g2h.end_seen)
			return false;
	return true;
}

static void run(struct flow *f)
{
	uint64_t end = time_mono_ns() + 60 * NS_PER_S;

	while (!finished(f)) {
		struct peer *p = &f->peers[rnd(f, f->n)];

		switch (rnd(f, 5)) {
		case 0:
			host_writes(f, p);
			break;
		case 1:
			host_reads(f, p);
			break;
		case 2:
			guest_writes(f, p);
			break;
		default:
			guest_reads(f);
		}
		if (time_mono_ns() > end)
			fail_msg("stuck");
	}
	for (unsigned i = 0; i < f->n; i++) {
		const struct peer *p = &f->peers[i];

		assert_int_equal(p->h2g.got, p->h2g.total);
		assert_int_equal(p->g2h.got, p->g2h.total);
		assert_false(p->over);
	}
}

static void every_byte_arrives(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct flow *f = flow_new(seed, 1 + seed % 5, 500000);

		print_message("seed %" PRIu64 "\n", seed);
		run(f);
		flow_free(f);
	}
}

static void a_thousand_connections(void **state)
{
	struct flow *f = flow_new(4711, CONNS_MAX, 3000);
	unsigned i;

	run(f);
	/* The guest closes them all, and all of them are forgotten. */
	for (i = 0; i < f->n; i++) {
		struct vsock_hdr h = guest_hdr(&f->peers[i], VSOCK_OP_SHUTDOWN);

		h.flags = VSOCK_NO_BOTH;
		assert_int_equal(g_send_hdr(f->g, &h, NULL, 0), 0);
		guest_reads(f);
	}
	for (i = 0; i < 1000 && !f->peers[f->n - 1].over; i++)
		guest_reads(f);
	for (i = 0; i < f->n; i++)
		assert_true(f->peers[i].over);
	flow_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_arrives),
		cmocka_unit_test(a_thousand_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
