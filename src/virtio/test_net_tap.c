/* SPDX-License-Identifier: Apache-2.0 */
/* The device on a real tap, in a network namespace of its own; a packet socket is the other side. Skipped without the right. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "virtio/net.h"
#include "virtio/test_dev_rig.h"

#define RX 0
#define TX 1
#define HDR 12
#define PACKET_HDR 10 /* of the packet socket: without the number of buffers */
#define TSO4 1
#define PAYLOAD 20000
#define TCP_FRAME (14 + 20 + 20 + PAYLOAD)

static int tap = -1, host = -1;

static void set_up(int sock, const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_UP};

	(void)str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), name);
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
}

/* False: not allowed here. */
static bool make_tap(void)
{
	struct ifreq ifr = {.ifr_name = "t0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL)};
	int on = 1;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0)
		return false;
	host = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (host < 0)
		return false;
	set_up(host, "t0");
	addr.sll_ifindex = (int)if_nametoindex("t0");
	assert_int_equal(setsockopt(host, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(host, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return true;
}

struct world {
	struct rig rig;
	struct net *net;
	gpa_t rx[RIG_QUEUE];
};

static void offer(struct world *w)
{
	gpa_t at;
	int head;

	while (w->rig.q[RX].n_free && (head = rig_add(&w->rig, RX, NULL, 0, 1536, &at)) >= 0)
		w->rx[head] = at;
	assert_int_equal(rig_kick(&w->rig, RX), 0);
}

static void start(struct world *w, uint64_t without)
{
	struct net_options opts = {.tap_fd = fcntl(tap, F_DUPFD_CLOEXEC, 0), .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};

	*w = (struct world){0};
	rig_open(&w->rig);
	assert_int_equal(net_new(&w->net, w->rig.loop, &opts, NULL), 0);
	assert_int_equal(rig_start_without(&w->rig, net_dev(w->net), without), 0);
	offer(w);
}

static void end(struct world *w)
{
	rig_stop(&w->rig);
	net_free(w->net);
	rig_close(&w->rig);
}

/* The next frame of IPv4 (the kernel has its own to send): its length without header, the type of segmentation. */
static size_t take(struct world *w, uint8_t *ret_gso)
{
	for (;;) {
		unsigned parts = 1;
		uint8_t head_bytes[HDR + 14] = {0};
		size_t len = 0;

		for (unsigned i = 0; i < parts; i++) {
			uint16_t head = 0;
			uint32_t n = 0;

			if (i == 0 ? !rig_wait(&w->rig, RX, &head, &n) : !drv_used(&w->rig.q[RX], &head, &n))
				fail_msg("part %u of %u is missing", i, parts);
			if (i == 0) {
				memcpy(head_bytes, drv_ptr(&w->rig.vm, w->rx[head]), sizeof(head_bytes));
				parts = get_le16(head_bytes + 10);
			}
			len += n;
		}
		offer(w);
		*ret_gso = head_bytes[1];
		if (head_bytes[HDR + 12] == 0x08 && head_bytes[HDR + 13] == 0x00)
			return len - HDR;
	}
}

/* A TCP segment of PAYLOAD bytes that wants to be cut into pieces of 1448. */
static size_t tcp_frame(uint8_t *p)
{
	static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	uint32_t sum = 0;

	memset(p, 0, PACKET_HDR + TCP_FRAME);
	p[0] = 1; /* checksum from byte 34, into 16 */
	p[1] = TSO4;
	put_le16(p + 2, 54);
	put_le16(p + 4, 1448);
	put_le16(p + 6, 34);
	put_le16(p + 8, 16);
	p += PACKET_HDR;
	memset(p, 2, 12);
	p[12] = 0x08;
	memcpy(p + 14, ip, sizeof(ip));
	p[16] = (40 + PAYLOAD) >> 8;
	p[17] = (40 + PAYLOAD) & 0xff;
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)p[14 + i] << 8 | p[15 + i];
	sum = (sum & 0xffff) + (sum >> 16);
	p[24] = (uint8_t)(~sum >> 8);
	p[25] = (uint8_t)~sum;
	p[34 + 12] = 0x50;
	p[34 + 13] = 0x10;
	return PACKET_HDR + TCP_FRAME;
}

static void segments_reach_the_guest_whole(void **state)
{
	static uint8_t frame[PACKET_HDR + TCP_FRAME];
	static struct world w;
	uint8_t gso;

	start(&w, 0);
	assert_int_equal(send(host, frame, tcp_frame(frame), 0), sizeof(frame));
	assert_int_equal(take(&w, &gso), TCP_FRAME);
	assert_int_equal(gso, TSO4);
	end(&w);
}

static void or_cut_if_it_cannot_take_them(void **state)
{
	static uint8_t frame[PACKET_HDR + TCP_FRAME];
	static struct world w;
	size_t payload = 0, len;
	uint8_t gso;

	start(&w, UINT64_C(1) << 7 | UINT64_C(1) << 8);
	assert_int_equal(send(host, frame, tcp_frame(frame), 0), sizeof(frame));
	while (payload < PAYLOAD) {
		len = take(&w, &gso);
		assert_true(len > 54 && len <= 1514);
		assert_int_equal(gso, 0);
		payload += len - 54;
	}
	assert_int_equal(payload, PAYLOAD);
	end(&w);
}

static void frames_of_the_guest_come_out(void **state)
{
	static uint8_t frame[PACKET_HDR + TCP_FRAME], out[HDR + TCP_FRAME], in[sizeof(frame)];
	uint64_t give_up = time_mono_ns() + RIG_WAIT_NS;
	static struct world w;
	ssize_t n;

	start(&w, 0);
	while (recv(host, in, sizeof(in), 0) > 0)
		;
	(void)tcp_frame(frame);
	memcpy(out, frame, PACKET_HDR);
	memcpy(out + HDR, frame + PACKET_HDR, TCP_FRAME);
	assert_int_equal(rig_request(&w.rig, TX, out, sizeof(out), NULL, 0), 0);
	do
		n = recv(host, in, sizeof(in), 0);
	while ((n < 0 || in[PACKET_HDR + 12] != 0x08) && time_mono_ns() < give_up);
	assert_int_equal(n, sizeof(frame));
	assert_int_equal(in[1], TSO4);
	assert_memory_equal(in + PACKET_HDR, frame + PACKET_HDR, TCP_FRAME);
	assert_int_equal(net_get_counters(w.net)->tx_dropped, 0);
	/* What the kernel does not take for a header is dropped, and the queue goes on. */
	out[6] = 0xff;
	out[7] = 0xff;
	assert_int_equal(rig_request(&w.rig, TX, out, sizeof(out), NULL, 0), 0);
	assert_int_equal(net_get_counters(w.net)->tx_dropped, 1);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_reach_the_guest_whole),
		cmocka_unit_test(or_cut_if_it_cannot_take_them),
		cmocka_unit_test(frames_of_the_guest_come_out),
	};

	if (!make_tap()) {
		(void)printf("no tap can be made here\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
