/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest with a few clients on the host's side. The input is a script: one byte says what happens, the next ones
 * how. Headers of packets are taken from the input as they are, but for what would be dropped at the door in most runs.
 */
#include <stdint.h>

#include "virtio/test_vsock_guest.h"

#define CLIENTS 4

struct script {
	const uint8_t *at;
	size_t left;
};

static uint8_t byte(struct script *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return *s->at++;
}

static bool tx(struct guest *g, struct script *s)
{
	static const uint8_t payload[G_TX_MAX];
	uint8_t raw[VSOCK_HDR_LEN] = {0}, keep = byte(s);
	struct vsock_hdr h;
	uint32_t n = byte(s) << (keep & 8);

	for (size_t i = 0; i < sizeof(raw) && s->left; i++)
		raw[i] = byte(s);
	vsock_hdr_decode(&h, raw);
	/* Bits of `keep` leave a field as hostile as it came. */
	if (!(keep & 1))
		h.src_cid = G_CID;
	if (!(keep & 2))
		h.dst_cid = VSOCK_HOST_CID;
	if (!(keep & 4)) {
		h.type = VSOCK_TYPE_STREAM;
		h.op %= 8;
		h.len = n;
		h.dst_port = h.dst_port & 1 ? (UINT32_C(1) << 30) + (h.dst_port >> 1) % CLIENTS : h.dst_port % CLIENTS;
		h.src_port %= CLIENTS;
	}
	g_add_tx(g, &h, payload, n);
	return g_publish_tx(g) == 0 && g->t.broken == 0;
}

static bool rx(struct guest *g, uint8_t how)
{
	struct g_packet p;
	unsigned out = g->q[G_RX].avail_idx - g->q[G_RX].last_used, n = how % 64;

	while (n-- && out++ < G_QUEUE / 2)
		g_add_rx(g, how & 64 ? how % 16 : G_RX_PAYLOAD);
	if (drv_publish(&g->q[G_RX]) && g_kick(g, G_RX) < 0)
		return false;
	g_settle(g);
	while (g_recv(g, &p))
		;
	return g->t.broken == 0;
}

static void host(struct guest *g, int fds[CLIENTS], uint8_t what)
{
	static char data[50000];
	int *fd = &fds[what % CLIENTS];
	char line[32];

	if (*fd < 0) {
		*fd = g_client(g);
		(void)snprintf(line, sizeof(line), "CONNECT %u\n", what % CLIENTS);
		(void)send(*fd, line, strlen(line), MSG_NOSIGNAL);
		return;
	}
	switch (what / CLIENTS % 5) {
	case 0:
		(void)send(*fd, data, what * 200u, MSG_NOSIGNAL);
		break;
	case 1:
		(void)recv(*fd, data, sizeof(data), 0);
		break;
	case 2:
		(void)shutdown(*fd, SHUT_WR);
		break;
	case 3:
		(void)shutdown(*fd, SHUT_RD);
		break;
	default:
		close_fd(fd);
	}
}

static void answer(struct guest *g, int fds[CLIENTS], uint8_t how)
{
	int pair[2] = {-1, -1}, *fd = &fds[how % CLIENTS];

	if (how & 128 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0) {
		close_fd(fd);
		*fd = pair[1];
	}
	vsock_dialed(g->vs, g->dial_token - (how >> 2 & 3), pair[0]);
}

static bool step(struct guest *g, int fds[CLIENTS], struct script *s)
{
	uint8_t what = byte(s);

	switch (what % 8) {
	case 0:
	case 1:
	case 2:
		return tx(g, s);
	case 3:
		return rx(g, byte(s));
	case 4:
		host(g, fds, byte(s));
		break;
	case 5:
		answer(g, fds, byte(s));
		break;
	case 6:
		vsock_transport_reset(g->vs, G_CID);
		break;
	default:
		if (what & 128) {
			drv_dev_reset(g->dev);
			g_start(g);
		}
	}
	g_settle(g);
	return g->t.broken == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, size < 4096 ? size : 4096};
	struct guest *g = g_new(NULL);
	int fds[CLIENTS] = {-1, -1, -1, -1};

	g_start(g);
	while (s.left && step(g, fds, &s))
		;
	for (int i = 0; i < CLIENTS; i++)
		close_fd(&fds[i]);
	g_settle(g);
	g_free(g);
	return 0;
}
