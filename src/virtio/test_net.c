/* SPDX-License-Identifier: Apache-2.0 */
/* The tap is one end of a SOCK_SEQPACKET pair: frames keep their borders, and it can be full. */
#include "virtio/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

#define RX 0
#define TX 1
#define HDR 12
#define F_MRG (UINT64_C(1) << 15)
#define F_TSO (UINT64_C(1) << 7 | UINT64_C(1) << 8)
#define F_GUEST_CSUM (UINT64_C(1) << 1)

static unsigned offload, hdr_size, fail_ioctl;

static int fake_ioctl(int fd, unsigned long request, unsigned arg)
{
	if (fail_ioctl) {
		errno = EINVAL;
		return -1;
	}
	*(request == TUNSETOFFLOAD ? &offload : &hdr_size) = arg;
	return 0;
}

struct world {
	struct rig rig;
	struct net *net;
	int host; /* the other end of the tap */
	gpa_t rx[RIG_QUEUE];
	uint32_t rx_len;
};

static struct world *started(uint64_t without)
{
	struct world *w = calloc(1, sizeof(*w));
	struct net_options opts = {.mac = {2, 0, 0, 1, 2, 3}, .mtu = 1500, .tap_ioctl = fake_ioctl};
	int sv[2];

	assert_non_null(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	opts.tap_fd = sv[0];
	w->host = sv[1];
	assert_int_equal(fd_set_nonblock(w->host, true, NULL), 0);
	rig_open(&w->rig);
	assert_int_equal(net_new(&w->net, w->rig.loop, &opts, NULL), 0);
	assert_int_equal(rig_start_without(&w->rig, net_dev(w->net), without), 0);
	return w;
}

static void end(struct world *w)
{
	rig_stop(&w->rig);
	net_free(w->net);
	close_fd(&w->host);
	rig_close(&w->rig);
	free(w);
}

/* Offers `n` buffers of `len` bytes. */
static void offer(struct world *w, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		gpa_t at;
		int head = rig_add(&w->rig, RX, NULL, 0, len, &at);

		assert_true(head >= 0);
		w->rx[head] = at;
	}
	w->rx_len = len;
	assert_int_equal(rig_kick(&w->rig, RX), 0);
}

static void host_sends(struct world *w, uint8_t fill, size_t len)
{
	static uint8_t frame[HDR + 70000];

	memset(frame, 0, HDR);
	memset(frame + HDR, fill, len);
	assert_int_equal(send(w->host, frame, HDR + len, 0), HDR + len);
}

/* The next frame, as a driver with mergeable buffers takes it: all its parts are there at once. Returns its length. */
static size_t take(struct world *w, uint8_t fill)
{
	size_t total = 0;
	unsigned n = 1, got = 0;
	uint16_t head;
	uint32_t len;

	while (got < n) {
		const uint8_t *p;
		uint32_t i = 0;

		if (got == 0 ? !rig_wait(&w->rig, RX, &head, &len) : !drv_used(&w->rig.q[RX], &head, &len))
			fail_msg("part %u of %u is missing", got, n);
		p = drv_ptr(&w->rig.vm, w->rx[head]);
		if (got == 0) {
			n = get_le16(p + 10);
			i = HDR;
		}
		assert_true(len <= w->rx_len && n > 0);
		for (; i < len; i++)
			assert_int_equal(p[i], fill);
		total += len;
		got++;
	}
	return total - HDR;
}

static void frames_to_the_guest(void **state)
{
	static const size_t sizes[] = {14, 60, 1500, 1514, 4096, 30000, 65535};
	struct world *w = started(0);

	offer(w, 60, 1536);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		host_sends(w, (uint8_t)(i + 1), sizes[i]);
		assert_int_equal(take(w, (uint8_t)(i + 1)), sizes[i]);
		offer(w, 60 - (unsigned)(w->rig.q[RX].avail_idx - w->rig.q[RX].last_used), 1536);
		w->rig.vm.used = MIN_OF(w->rig.vm.used, RIG_MEM / 2);
	}
	assert_int_equal(net_get_counters(w->net)->rx_frames, ARRAY_SIZE(sizes));
	assert_int_equal(net_get_counters(w->net)->rx_dropped, 0);
	end(w);
}

static void unused_buffers_wait_for_the_next_frame(void **state)
{
	struct world *w = started(0);

	offer(w, 50, 1536);
	for (unsigned i = 0; i < 7; i++) {
		host_sends(w, 7, 64);
		assert_int_equal(take(w, 7), 64);
	}
	/* 43 buffers are left, which is just enough for the longest frame. */
	host_sends(w, 8, 1000);
	assert_int_equal(take(w, 8), 1000);
	host_sends(w, 9, 1000);
	rig_settle(&w->rig);
	assert_int_equal(drv_used(&w->rig.q[RX], NULL, NULL), 0);
	offer(w, 1, 1536); /* the kick, and only it, lets it go on */
	assert_int_equal(take(w, 9), 1000);
	end(w);
}

static void without_merging_a_chain_is_a_frame(void **state)
{
	struct world *w = started(F_MRG | F_TSO);

	offer(w, 3, 1530);
	for (unsigned i = 0; i < 3; i++) {
		host_sends(w, 5, 1500);
		assert_int_equal(take(w, 5), 1500);
	}
	host_sends(w, 6, 100);
	rig_settle(&w->rig);
	assert_int_equal(drv_used(&w->rig.q[RX], NULL, NULL), 0);
	offer(w, 1, 1530);
	assert_int_equal(take(w, 6), 100);
	/* Cut by a buffer that is too short: dropped, and the buffer serves the next. */
	offer(w, 1, 200);
	host_sends(w, 1, 1000);
	host_sends(w, 2, 150);
	assert_int_equal(take(w, 2), 150);
	assert_int_equal(net_get_counters(w->net)->rx_dropped, 1);
	end(w);
}

/* The guest has offered its whole queue, and it is less than the longest frame. */
static void small_queues_work(void **state)
{
	struct world *w = started(0);

	offer(w, RIG_QUEUE, 256);
	host_sends(w, 3, 5000);
	assert_int_equal(take(w, 3), 5000);
	offer(w, 5012 / 256 + 1, 256);
	host_sends(w, 4, 60000); /* does not fit */
	host_sends(w, 5, 100);
	assert_int_equal(take(w, 5), 100);
	assert_int_equal(net_get_counters(w->net)->rx_dropped, 1);
	end(w);
}

static void frames_to_the_host(void **state)
{
	static const size_t sizes[] = {1, 14, 1514, 65536};
	struct world *w = started(0);
	static uint8_t out[HDR + 65536], in[HDR + 65536];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(out, 0, HDR);
		memset(out + HDR, (int)i + 1, sizes[i]);
		out[10] = 99; /* number of buffers: means nothing here */
		assert_int_equal(rig_request(&w->rig, TX, out, (uint32_t)(HDR + sizes[i]), NULL, 0), 0);
		assert_int_equal(recv(w->host, in, sizeof(in), 0), HDR + sizes[i]);
		assert_memory_equal(in, out, HDR + sizes[i]);
	}
	assert_int_equal(net_get_counters(w->net)->tx_frames, ARRAY_SIZE(sizes));
	end(w);
}

/* Both queues have one MSI-X vector, so what is shown to the driver at once interrupts it once. */
static void an_answer_comes_with_the_turn_that_sent(void **state)
{
	static const uint8_t frame[HDR + 60];
	struct world *w = started(0);
	uint8_t got[sizeof(frame)];
	uint16_t head;
	uint32_t len;

	assert_int_equal(net_dev(w->net)->ops->n_vectors, 2);
	offer(w, 60, 1536);
	host_sends(w, 7, 60);
	assert_false(drv_used(&w->rig.q[RX], &head, &len));
	assert_true(rig_add(&w->rig, TX, frame, sizeof(frame), 0, NULL) >= 0);
	assert_int_equal(rig_kick(&w->rig, TX), 0);
	assert_int_equal(recv(w->host, got, sizeof(got), 0), sizeof(frame));
	/* No turn of the loop in between. */
	assert_true(drv_used(&w->rig.q[TX], &head, &len));
	assert_true(drv_used(&w->rig.q[RX], &head, &len));
	assert_int_equal(len, HDR + 60);
	end(w);
}

static void hostile_frames_are_dropped(void **state)
{
	static const struct {
		uint32_t len;
		uint8_t flags, gso;
		uint64_t without;
	} rows[] = {
		{0, 0, 0, 0}, /* no chain of 0 bytes exists: see below */
		{1, 0, 0, 0},
		{HDR - 1, 0, 0, 0},
		{HDR, 0, 0, 0},
		{NET_FRAME_MAX + 1, 0, 0, 0},
		{1 << 20, 0, 0, 0},
		{100, 1, 0, 1},
		{100, 0, 1, UINT64_C(1) << 11},
		{100, 0, 4, UINT64_C(1) << 12},
		{100, 0, 3, 0},
		{100, 0, 5, 0},
		{100, 0, 0x81, 0},
		{100, 0, 0xff, 0},
		{100, 0, 2, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world *w = started(rows[i].without);
		uint8_t hdr[100] = {rows[i].flags, rows[i].gso}, in[100];
		uint32_t len = rows[i].len;

		if (rig_request(&w->rig, TX, len <= sizeof(hdr) ? hdr : NULL, len, NULL, len ? 0 : 64) != 0)
			fail_msg("row %zu: no answer", i);
		if (recv(w->host, in, sizeof(in), 0) >= 0 || net_get_counters(w->net)->tx_dropped != 1)
			fail_msg("row %zu: sent", i);
		end(w);
	}
}

static void too_many_pieces_are_dropped(void **state)
{
	struct world *w = started(0);
	struct drv_buf bufs[200];
	uint8_t in[100];

	for (unsigned i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct drv_buf){drv_alloc(&w->rig.vm, 64, 8), 64, false};
	assert_true(drv_add_indirect(&w->rig.q[TX], bufs, ARRAY_SIZE(bufs)) >= 0);
	assert_int_equal(rig_kick(&w->rig, TX), 0);
	assert_true(rig_wait(&w->rig, TX, NULL, NULL));
	assert_int_equal(recv(w->host, in, sizeof(in), 0), -1);
	end(w);
}

static void a_full_tap_holds_the_guest(void **state)
{
	struct world *w = started(0);
	static uint8_t frame[HDR + 16000], in[HDR + 16000];
	unsigned sent = 0, got = 0;
	gpa_t at = drv_alloc(&w->rig.vm, sizeof(frame), 8);
	const struct drv_buf buf = {at, sizeof(frame), false};

	/* More than a socket holds. */
	for (; sent < RIG_QUEUE - 1; sent++)
		assert_true(drv_add(&w->rig.q[TX], &buf, 1) >= 0);
	assert_int_equal(rig_kick(&w->rig, TX), 0);
	rig_settle(&w->rig);
	assert_true(drv_used_idx(&w->rig.q[TX]) < sent);
	for (uint64_t give_up = time_mono_ns() + RIG_WAIT_NS; got < sent && time_mono_ns() < give_up;) {
		if (recv(w->host, in, sizeof(in), 0) == sizeof(frame))
			got++;
		(void)loop_turn(w->rig.loop, 0);
	}
	assert_int_equal(got, sent);
	assert_int_equal(drv_used_idx(&w->rig.q[TX]), sent);
	assert_int_equal(net_get_counters(w->net)->tx_dropped, 0);
	end(w);
}

static void a_turn_is_bounded(void **state)
{
	struct world *w = started(F_TSO);
	unsigned done = 0;

	offer(w, RIG_QUEUE, 2048);
	for (unsigned i = 0; i < RIG_QUEUE; i++)
		host_sends(w, 1, 64);
	assert_int_equal(loop_turn(w->rig.loop, 0), 0);
	while (drv_used(&w->rig.q[RX], NULL, NULL))
		done++;
	assert_true(done <= 64);
	assert_true(w->rig.t.signals[RX] <= 2);
	end(w);
}

static void hostile_rx_chains(void **state)
{
	static const struct {
		uint32_t out, in;
	} rows[] = {{8, 64}, {8, 0}, {0, 11}, {0, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world *w = started(0);

		assert_true(rig_add(&w->rig, RX, NULL, rows[i].out, rows[i].in, NULL) >= 0);
		if (rig_kick(&w->rig, RX) != -EPROTO)
			fail_msg("row %zu", i);
		host_sends(w, 1, 64);
		rig_settle(&w->rig); /* nothing more happens */
		assert_int_equal(net_dev(w->net)->ops->notify(net_dev(w->net), RX), 0);
		rig_stop(&w->rig);
		rig_start(&w->rig, net_dev(w->net));
		offer(w, 60, 1536);
		assert_int_equal(take(w, 1), 64);
		end(w);
	}
	/* Four buffers of a mergeable chain are used, and they may be too short for the header. */
	struct world *w = started(0);
	struct drv_buf bufs[20];

	for (unsigned i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct drv_buf){drv_alloc(&w->rig.vm, 8, 8), 2, true};
	assert_true(drv_add_indirect(&w->rig.q[RX], bufs, ARRAY_SIZE(bufs)) >= 0);
	assert_int_equal(rig_kick(&w->rig, RX), -EPROTO);
	end(w);
}

static void reset_forgets_the_stock(void **state)
{
	struct world *w = started(0);

	offer(w, 60, 1536);
	rig_settle(&w->rig);
	for (int i = 0; i < 3; i++) {
		rig_stop(&w->rig);
		host_sends(w, 9, 200);
		rig_settle(&w->rig); /* not read: nobody to give it to */
		rig_start(&w->rig, net_dev(w->net));
		offer(w, 60, 1536);
		assert_int_equal(take(w, 9), 200);
	}
	end(w);
}

static void offload_follows_negotiation(void **state)
{
	static const struct {
		uint64_t without;
		unsigned offload;
	} rows[] = {
		{0, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6},
		{UINT64_C(1) << 8, TUN_F_CSUM | TUN_F_TSO4},
		{F_TSO, TUN_F_CSUM},
		{F_TSO | F_GUEST_CSUM, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world *w;

		offload = 99;
		w = started(rows[i].without);
		assert_int_equal(offload, rows[i].offload);
		assert_int_equal(hdr_size, HDR);
		rig_stop(&w->rig);
		assert_int_equal(rig_start_without(&w->rig, net_dev(w->net), F_GUEST_CSUM), -EPROTO);
		rig_stop(&w->rig);
		fail_ioctl = 1;
		assert_int_equal(rig_start_without(&w->rig, net_dev(w->net), 0), -EINVAL);
		fail_ioctl = 0;
		end(w);
	}
}

static void the_tap_goes(void **state)
{
	struct world *w = started(0);
	uint8_t v[12], frame[100] = {0};

	offer(w, 60, 1536);
	w->rig.dev->ops->config_read(w->rig.dev, 0, v, 12);
	assert_int_equal(get_le16(v + 6), 1);
	assert_int_equal(get_le16(v + 10), 1500);
	assert_int_equal(v[5], 3);
	close_fd(&w->host);
	rig_settle(&w->rig);
	w->rig.dev->ops->config_read(w->rig.dev, 0, v, 12);
	assert_int_equal(get_le16(v + 6), 0);
	net_set_link(w->net, true); /* it does not come back */
	w->rig.dev->ops->config_read(w->rig.dev, 0, v, 12);
	assert_int_equal(get_le16(v + 6), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(rig_request(&w->rig, TX, frame, sizeof(frame), NULL, 0), 0);
	assert_int_equal(net_get_counters(w->net)->tx_dropped, 1);
	end(w);
}

static void bad_options(void **state)
{
	struct net_options opts = {.mtu = 67, .tap_fd = open("/dev/null", O_RDWR | O_CLOEXEC), .tap_ioctl = fake_ioctl};
	struct loop *loop = NULL;
	struct net *net = NULL;
	struct err err;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(net_new(&net, loop, &opts, &err), -EINVAL);
	opts.mtu = 68;
	opts.tap_ioctl = NULL; /* not a tap */
	opts.tap_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(net_new(&net, loop, &opts, &err) < 0);
	opts.tap_fd = -1;
	assert_int_equal(net_new(&net, loop, &opts, &err), -EBADF);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_to_the_guest),
		cmocka_unit_test(unused_buffers_wait_for_the_next_frame),
		cmocka_unit_test(without_merging_a_chain_is_a_frame),
		cmocka_unit_test(small_queues_work),
		cmocka_unit_test(frames_to_the_host),
		cmocka_unit_test(an_answer_comes_with_the_turn_that_sent),
		cmocka_unit_test(hostile_frames_are_dropped),
		cmocka_unit_test(too_many_pieces_are_dropped),
		cmocka_unit_test(a_full_tap_holds_the_guest),
		cmocka_unit_test(a_turn_is_bounded),
		cmocka_unit_test(hostile_rx_chains),
		cmocka_unit_test(reset_forgets_the_stock),
		cmocka_unit_test(offload_follows_negotiation),
		cmocka_unit_test(the_tap_goes),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
