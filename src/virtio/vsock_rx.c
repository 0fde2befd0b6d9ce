/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to the guest.
 *
 * rx queue (host to guest). Connections that have something for the guest stand in a run queue and are served in turn, one
 * packet that is due or up to RX_READ bytes of payload each, read from the host socket straight into guest memory, several
 * chains with one system call. When the guest gives no buffer, everything stays where it is (payload in the host sockets, not
 * watched any more) until its next kick; nothing is polled.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "virtio/vsock_int.h"

#define RX_BATCH (1024u * 1024u) /* bytes of payload per turn */
#define RX_READ (64u * 1024u)	 /* bytes of payload per connection in a row */
#define RX_CHAINS 16		 /* filled with one system call */
#define RX_CHAIN_IOV 4		 /* buffers of a chain that is filled together with others */
#define RX_IOV 64

/* A chain of the rx queue that waits for its packet. */
struct rx_slot {
	uint16_t head;
	unsigned n;
	uint32_t room; /* for payload */
	const struct iovec *iov;
	struct iovec own[RX_CHAIN_IOV];
};

static int put_packet(struct vsock *vs, const struct rx_slot *slot, const struct vsock_hdr *h)
{
	uint8_t bytes[VSOCK_HDR_LEN];

	vsock_hdr_encode(bytes, h);
	(void)iov_write(slot->iov, slot->n, 0, bytes, sizeof(bytes));
	return queue_push(&vs->dev.queues[VSOCK_RXQ], slot->head, VSOCK_HDR_LEN + h->len);
}

/* 1: a chain, whose buffers stay in vs->chain until the next. 0: none there. -EPROTO. */
static int get_slot(struct vsock *vs, struct rx_slot *ret)
{
	struct chain *chain = &vs->chain;
	int r = queue_pop(&vs->dev.queues[VSOCK_RXQ], chain);

	if (r <= 0)
		return r;
	if (chain->in_len < VSOCK_HDR_LEN)
		return -EPROTO;
	ret->head = chain->head;
	ret->n = chain->n_in;
	ret->iov = chain_in(chain);
	ret->room = (uint32_t)MIN_OF(chain->in_len - VSOCK_HDR_LEN, RX_READ);
	return 1;
}

/*
 * Up to RX_CHAINS chains with room for `want` bytes together. A chain of many buffers comes alone, the others have theirs
 * copied. Returns how many, or -EPROTO.
 */
static int get_slots(struct vsock *vs, struct rx_slot slots[RX_CHAINS], uint32_t want)
{
	int n = 0;

	while (want && n < RX_CHAINS) {
		struct rx_slot *slot = &slots[n];
		int r = get_slot(vs, slot);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (slot->n > RX_CHAIN_IOV) {
			if (n == 0)
				return 1;
			queue_unpop(&vs->dev.queues[VSOCK_RXQ], slot->head);
			break;
		}
		memcpy(slot->own, slot->iov, slot->n * sizeof(slot->iov[0]));
		slot->iov = slot->own;
		want -= MIN_OF(want, slot->room);
		n++;
	}
	return n;
}

/* Reads from the host socket into the slots, at most `want` bytes. -ENOBUFS: they have room for headers only. */
static ssize_t read_into(struct vsock_conn *c, const struct rx_slot *slots, int n_slots, uint32_t want)
{
	struct iovec iov[RX_IOV];
	struct msghdr msg = {.msg_iov = iov};
	ssize_t got;

	for (int i = 0; i < n_slots && want; i++) {
		uint32_t n = MIN_OF(want, slots[i].room);

		msg.msg_iovlen += iov_slice(
			iov + msg.msg_iovlen, RX_IOV - msg.msg_iovlen, slots[i].iov, slots[i].n, VSOCK_HDR_LEN, n);
		want -= n;
	}
	if (!msg.msg_iovlen)
		return -ENOBUFS;
	do {
		got = recvmsg(c->fd, &msg, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Gives every slot back: with a part of the `len` bytes that were read, with a packet that is due, or with a filler. */
static int put_slots(struct vsock *vs, struct vsock_conn *c, const struct rx_slot *slots, int n_slots, uint32_t len)
{
	for (int i = 0; i < n_slots; i++) {
		uint32_t n = MIN_OF(len, slots[i].room);
		struct vsock_hdr h;
		int r;

		if (n)
			vsock_conn_data_hdr(c, vs->opts.cid, n, &h);
		else if (!vsock_conn_next(c, vs->opts.cid, &h))
			vsock_conn_filler_hdr(c, vs->opts.cid, &h);
		len -= n;
		r = put_packet(vs, &slots[i], &h);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The host socket's bytes, or its end, to the guest. The bytes moved (0: no buffer), or -EPROTO. */
static int serve_data(struct vsock *vs, struct vsock_conn *c)
{
	struct rx_slot slots[RX_CHAINS];
	uint32_t want = MIN_OF(vsock_conn_credit(c), RX_READ);
	int there = 0, n, r;
	ssize_t got;

	/* Knowing how much there is, no more chains are taken than will be filled: only one could be put back. */
	if (ioctl(c->fd, SIOCINQ, &there) < 0 || there <= 0)
		there = 1;
	if ((uint32_t)there < want)
		want = (uint32_t)there;
	n = get_slots(vs, slots, want);
	if (n <= 0)
		return n;
	got = read_into(c, slots, n, want);
	if (got == -EAGAIN || got == -EWOULDBLOCK) {
		c->readable = false;
		if (n == 1) {
			queue_unpop(&vs->dev.queues[VSOCK_RXQ], slots[0].head);
			return 1;
		}
	} else if (got == 0) {
		c->readable = false;
		vsock_conn_shut(c, c->hung_up ? VSOCK_NO_BOTH : VSOCK_NO_SEND);
	} else if (got < 0 && got != -ENOBUFS) {
		vsock_kill(vs, c);
	} else if (got == there && !c->hung_up) {
		c->readable = false; /* if more came meanwhile, epoll tells */
	}
	r = put_slots(vs, c, slots, n, got > 0 ? (uint32_t)got : 0);
	return r < 0 ? r : MAX_OF((int)got, 1);
}

static int serve_due(struct vsock *vs, struct vsock_conn *c)
{
	struct rx_slot slot;
	struct vsock_hdr h;
	int r = get_slot(vs, &slot);

	if (r <= 0)
		return r;
	if (!vsock_conn_next(c, vs->opts.cid, &h))
		vsock_conn_filler_hdr(c, vs->opts.cid, &h);
	r = put_packet(vs, &slot, &h);
	return r < 0 ? r : 1;
}

static int serve_orphan(struct vsock *vs)
{
	const struct vsock_orphan *o = &vs->orphans[vs->n_orphans - 1];
	struct vsock_hdr h = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = vs->opts.cid,
		.src_port = o->host_port,
		.dst_port = o->guest_port,
		.type = o->type,
		.op = VSOCK_OP_RST,
	};
	struct rx_slot slot;
	int r = get_slot(vs, &slot);

	if (r <= 0)
		return r;
	vs->n_orphans--;
	r = put_packet(vs, &slot, &h);
	return r < 0 ? r : 1;
}

/* Serves the first of the run queue. The bytes moved, at least 1; 0: the guest gives no buffer; -EPROTO. */
static int serve_next(struct vsock *vs)
{
	struct vsock_conn *c;
	int r;

	if (vs->n_orphans)
		return serve_orphan(vs);
	c = vsock_run_pop(&vs->table);
	if (c->due)
		r = serve_due(vs, c);
	else if (c->readable && vsock_conn_h2g(c) && vsock_conn_credit(c))
		r = serve_data(vs, c);
	else
		r = 1; /* what it waited for has gone */
	if (r == 0)
		vsock_run_unpop(&vs->table, c);
	else if (r > 0 && c->state == VSOCK_DEAD && !c->due)
		vsock_forget(vs, c);
	else if (r > 0)
		vsock_settle(vs, c);
	return r;
}

int vsock_rx_run(struct vsock *vs)
{
	uint32_t moved = 0;
	int r = 1;

	while (r > 0 && moved < RX_BATCH && (vs->n_orphans || vs->table.run_first)) {
		r = serve_next(vs);
		/* A packet costs the guest and us about as much as some bytes of payload do. */
		moved += r > 0 ? MAX_OF((uint32_t)r, 1024) : 0;
	}
	if (r > 0 && (vs->n_orphans || vs->table.run_first))
		vsock_work(vs);
	for (struct vsock_conn *c = vs->table.run_first; c; c = c->run_next)
		vsock_watch(c);
	virtio_signal(&vs->dev, VSOCK_RXQ);
	return r < 0 ? r : 0;
}
