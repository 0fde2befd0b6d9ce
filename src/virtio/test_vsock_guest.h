/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A guest's vsock driver for the tests of the device: rx buffers as Linux posts them (header and payload apart), packets
 * sent and received, and host-side clients. It kicks only when a correct driver would, so a lost kick shows.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "virtio/test_driver.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#define G_CID 3
#define G_QUEUE 256 /* more than the device takes in one turn */
#define G_RX_PAYLOAD 4096
#define G_TX_MAX 65536
#define G_MEM (8u << 20)

enum { G_RX, G_TX, G_EVENT };

struct g_packet {
	struct vsock_hdr h;
	uint8_t data[G_RX_PAYLOAD];
};

struct guest {
	struct drv_vm vm;
	struct drv_queue q[3];
	struct drv_transport t;
	struct loop *loop;
	struct vsock *vs;
	struct virtio_dev *dev;
	char path[64];	       /* of the host's socket */
	gpa_t rx_hdr[G_QUEUE]; /* by head */
	gpa_t rx_data[G_QUEUE];
	gpa_t rx_pool_hdr, rx_pool_data, tx_hdr, tx_data;
	unsigned rx_slots; /* ever used */
	unsigned kicks;
	/* the guest's last dial */
	uint32_t dial_port;
	uint64_t dial_token;
	unsigned dials;
};

drv_fn void g_on_dial(void *ctx, uint32_t port, uint64_t token)
{
	struct guest *g = ctx;

	g->dial_port = port;
	g->dial_token = token;
	g->dials++;
}

drv_fn int g_listen(struct guest *g)
{
	static unsigned serial;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	/* An abstract name: nothing to clean up. */
	(void)snprintf(g->path, sizeof(g->path), "podvm-test-vsock-%d-%u", (int)getpid(), serial++);
	memcpy(addr.sun_path + 1, g->path, strlen(g->path));
	r = bind(fd, (struct sockaddr *)&addr,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(g->path)));
	assert(r == 0);
	r = listen(fd, 1024);
	assert(r == 0);
	(void)r;
	return fd;
}

/* A client of the host's socket, non-blocking. */
drv_fn int g_client(struct guest *g)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	memcpy(addr.sun_path + 1, g->path, strlen(g->path));
	r = connect(fd, (struct sockaddr *)&addr,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(g->path)));
	assert(r == 0);
	r = fd_set_nonblock(fd, true, NULL);
	assert(r == 0);
	(void)r;
	return fd;
}

/* The device and its host side, no driver yet. */
drv_fn struct guest *g_new(const struct vsock_options *extra)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct vsock_options opts = {.cid = G_CID, .dial = g_on_dial, .ctx = g};
	int r;

	assert(g);
	if (extra)
		opts = *extra;
	opts.listen_fd = g_listen(g);
	drv_vm_init(&g->vm, G_MEM);
	r = loop_new(&g->loop, NULL);
	assert(r == 0);
	r = vsock_new(&g->vs, g->loop, &opts, NULL);
	assert(r == 0);
	(void)r;
	g->dev = vsock_dev(g->vs);
	return g;
}

drv_fn void g_free(struct guest *g)
{
	drv_dev_reset(g->dev);
	vsock_free(g->vs);
	loop_free(g->loop);
	drv_vm_fini(&g->vm);
	free(g);
}

/* The driver arrives (again). */
drv_fn void g_start(struct guest *g)
{
	int r;

	g->vm.used = 0;
	g->rx_slots = 0;
	r = drv_dev_start(g->dev, &g->t, &g->vm, g->q, G_QUEUE);
	assert(r == 0);
	(void)r;
	g->rx_pool_hdr = drv_alloc(&g->vm, G_QUEUE * VSOCK_HDR_LEN, 8);
	g->rx_pool_data = drv_alloc(&g->vm, G_QUEUE * G_RX_PAYLOAD, 4096);
	g->tx_hdr = drv_alloc(&g->vm, G_QUEUE * VSOCK_HDR_LEN, 8);
	g->tx_data = drv_alloc(&g->vm, G_TX_MAX, 4096);
}

/* Runs the loop until nothing more happens. */
drv_fn void g_settle(struct guest *g)
{
	for (int i = 0; i < 8; i++)
		(void)loop_turn(g->loop, 0);
}

drv_fn int g_kick(struct guest *g, unsigned queue)
{
	g->kicks++;
	return g->dev->ops->notify(g->dev, queue);
}

/* One rx buffer of `payload` bytes behind a header; the slots of memory are used round robin. */
drv_fn void g_add_rx(struct guest *g, uint32_t payload)
{
	unsigned slot = g->rx_slots++ % (G_QUEUE / 2);
	const struct drv_buf bufs[] = {{g->rx_pool_hdr + slot * VSOCK_HDR_LEN, VSOCK_HDR_LEN, true},
		{g->rx_pool_data + slot * G_RX_PAYLOAD, payload, true}};
	int head = drv_add(&g->q[G_RX], bufs, payload ? 2 : 1);

	assert(head >= 0);
	g->rx_hdr[head] = bufs[0].gpa;
	g->rx_data[head] = bufs[1].gpa;
}

/* Posts `n` rx buffers and kicks if a driver would. At most G_QUEUE / 2 are out at any time. */
drv_fn void g_post_rx(struct guest *g, unsigned n)
{
	while (n--)
		g_add_rx(g, G_RX_PAYLOAD);
	if (drv_publish(&g->q[G_RX])) {
		int r = g_kick(g, G_RX);

		assert(r == 0);
		(void)r;
	}
}

/* The next packet that the device has written, if there is one. */
drv_fn bool g_recv(struct guest *g, struct g_packet *ret)
{
	uint16_t head;
	uint32_t len;

	if (!drv_used(&g->q[G_RX], &head, &len))
		return false;
	assert(len >= VSOCK_HDR_LEN && len <= VSOCK_HDR_LEN + G_RX_PAYLOAD);
	vsock_hdr_decode(&ret->h, drv_ptr(&g->vm, g->rx_hdr[head]));
	assert(ret->h.len == len - VSOCK_HDR_LEN);
	memcpy(ret->data, drv_ptr(&g->vm, g->rx_data[head]), ret->h.len);
	return true;
}

/* Gives one buffer, lets the device work and takes a packet. */
drv_fn bool g_get(struct guest *g, struct g_packet *ret)
{
	if (g_recv(g, ret))
		return true;
	if (g->q[G_RX].avail_idx == g->q[G_RX].last_used)
		g_post_rx(g, 1);
	g_settle(g);
	return g_recv(g, ret);
}

/* Queues a packet whose header says what `h` says, with `n` bytes behind it. */
drv_fn void g_add_tx(struct guest *g, const struct vsock_hdr *h, const void *data, uint32_t n)
{
	struct drv_buf bufs[] = {{0, VSOCK_HDR_LEN, false}, {g->tx_data, n, false}};
	unsigned slot = g->q[G_TX].avail_idx % G_QUEUE;

	bufs[0].gpa = g->tx_hdr + slot * VSOCK_HDR_LEN;
	vsock_hdr_encode(drv_ptr(&g->vm, bufs[0].gpa), h);
	assert(n <= G_TX_MAX);
	if (n)
		memcpy(drv_ptr(&g->vm, bufs[1].gpa), data, n);
	if (drv_add(&g->q[G_TX], bufs, n ? 2 : 1) < 0)
		abort();
}

drv_fn int g_publish_tx(struct guest *g)
{
	int r = drv_publish(&g->q[G_TX]) ? g_kick(g, G_TX) : 0;

	while (drv_used(&g->q[G_TX], NULL, NULL))
		;
	return r;
}

drv_fn int g_send_hdr(struct guest *g, const struct vsock_hdr *h, const void *data, uint32_t n)
{
	int r;

	g_add_tx(g, h, data, n);
	r = g_publish_tx(g);
	g_settle(g);
	while (drv_used(&g->q[G_TX], NULL, NULL))
		;
	return r;
}

/* A stream packet from the guest's port to the host's, with a receive buffer of 64 KiB of which all is free. */
drv_fn struct vsock_hdr g_hdr(uint32_t guest_port, uint32_t host_port, enum vsock_op op)
{
	return (struct vsock_hdr){
		.src_cid = G_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = 65536,
	};
}

drv_fn void g_send(
	struct guest *g, uint32_t guest_port, uint32_t host_port, enum vsock_op op, const void *data, uint32_t n)
{
	struct vsock_hdr h = g_hdr(guest_port, host_port, op);
	int r;

	h.len = n;
	r = g_send_hdr(g, &h, data, n);
	assert(r == 0);
	(void)r;
}
