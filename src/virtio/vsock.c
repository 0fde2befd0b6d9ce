/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device: its queues, and the packets that the guest sends. Those to the guest: vsock_rx.c.
 *
 * tx queue (guest to host). A kick has up to TX_BATCH chains handled: payload goes from guest memory straight into the host
 * socket (vsock_host_send); what the socket does not take is copied, within the credit we gave. Chains are given back at once,
 * with one interrupt for the batch, so that no connection can block another. When the batch has to be answered, its interrupt
 * comes with that of the answers: each is a wake-up of QEMU, two exits and a context switch in the guest.
 *
 * Refused: a packet that is not from this guest to the host (from or to another CID, or to the guest's own) is dropped
 * without an answer, as vhost-vsock does; one that is malformed, of an unknown type or operation, beyond its
 * credit or against the state of its connection gets RST, once; RST is never answered. Refusals that belong to no
 * connection wait in a table of VSOCK_ORPHANS_MAX, without duplicates, and are dropped beyond that. A chain that
 * cannot hold a packet header is a broken driver: -EPROTO.
 */
#include "virtio/vsock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "virtio/vsock_int.h"

#define F_STREAM (UINT64_C(1) << 0) /* virtio 1.2 §5.10.3; SEQPACKET (bit 1) is not offered */
#define EVENT_TRANSPORT_RESET 0
#define EVENT_LEN 4

#define TX_BATCH 128		/* chains per turn */
#define TX_BYTES (128u * 1024u) /* a turn: half the buffer of a Linux socket, so that its credit is told in time */
#define DIAL_NS (10 * NS_PER_S)
#define HELLO_MS 5000

static struct vsock *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* ---- from the guest ---- */

static void refuse(struct vsock *vs, const struct vsock_hdr *h)
{
	struct vsock_orphan o = {.host_port = h->dst_port, .guest_port = h->src_port, .type = h->type};

	if (h->op == VSOCK_OP_RST || vs->n_orphans == VSOCK_ORPHANS_MAX)
		return;
	for (unsigned i = 0; i < vs->n_orphans; i++) {
		const struct vsock_orphan *p = &vs->orphans[i];

		if (p->host_port == o.host_port && p->guest_port == o.guest_port && p->type == o.type)
			return;
	}
	vs->orphans[vs->n_orphans++] = o;
	vsock_work(vs);
}

static void on_request(struct vsock *vs, const struct vsock_hdr *h)
{
	struct vsock_conn *c = vs->opts.dial ? vsock_table_add(&vs->table, vs, VSOCK_DIALING) : NULL;

	if (!c) {
		refuse(vs, h);
		return;
	}
	vsock_table_hash(&vs->table, c, h->dst_port, h->src_port);
	vsock_conn_hear(c, h);
	c->token = vs->table.next_token++;
	vsock_deadline(vs, c, DIAL_NS);
	vs->opts.dial(vs->opts.ctx, h->dst_port, c->token);
}

static void on_rw(struct vsock *vs, struct vsock_conn *c, const struct vsock_hdr *h)
{
	const struct chain *chain = &vs->chain;

	if (c->state == VSOCK_CLOSING)
		return; /* sent before it heard of our SHUTDOWN */
	if (c->state != VSOCK_OPEN || c->peers & VSOCK_NO_SEND || !vsock_conn_take(c, h->len)) {
		vsock_kill(vs, c);
		return;
	}
	if (c->mine & VSOCK_NO_RCV)
		vsock_conn_forward(c, h->len);
	else if (h->len && vsock_host_send(c, chain_out(chain), chain->n_out, h->len) < 0)
		vsock_kill(vs, c);
	else
		vsock_settle(vs, c);
}

/* A packet of a connection that we know, not RST. */
static void on_conn_packet(struct vsock *vs, struct vsock_conn *c, const struct vsock_hdr *h)
{
	if (c->state == VSOCK_DEAD)
		return; /* RST is on its way */
	vsock_conn_hear(c, h);
	switch (h->op) {
	case VSOCK_OP_RW:
		on_rw(vs, c, h);
		return;
	case VSOCK_OP_RESPONSE:
		if (c->state == VSOCK_CONNECTING && !(c->due & VSOCK_DUE_REQUEST)) {
			vsock_host_opened(vs, c);
			return;
		}
		break;
	case VSOCK_OP_SHUTDOWN:
		c->peers |= h->flags & VSOCK_NO_BOTH;
		if (c->state == VSOCK_OPEN) {
			vsock_settle(vs, c);
			return;
		}
		if (c->state == VSOCK_CLOSING && c->peers != VSOCK_NO_BOTH)
			return;
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		c->due |= c->state == VSOCK_OPEN ? VSOCK_DUE_CREDIT : 0;
		vsock_settle(vs, c);
		return;
	case VSOCK_OP_CREDIT_UPDATE:
		vsock_settle(vs, c);
		return;
	}
	/* Against the state of the connection, or the end that a CLOSING one waits for: RST is right for both. */
	vsock_kill(vs, c);
}

/*
 * A kernel with a built-in driver refuses what comes before its first program listens. So a refusal counts only after the
 * guest has accepted a connection or asked for one; then what was held is tried again.
 */
static void on_heard(struct vsock *vs)
{
	vs->heard = true;
	vsock_host_release(vs);
}

static void on_packet(struct vsock *vs)
{
	const struct chain *chain = &vs->chain;
	uint8_t bytes[VSOCK_HDR_LEN];
	struct vsock_conn *c = NULL;
	enum vsock_verdict verdict;
	struct vsock_hdr h;

	/* One copy: the guest may rewrite its memory while we look. */
	if (iov_read(chain_out(chain), chain->n_out, 0, bytes, sizeof(bytes)) < sizeof(bytes))
		return;
	vsock_hdr_decode(&h, bytes);
	verdict = vsock_hdr_check(&h, vs->opts.cid, chain->out_len);
	if (verdict == VSOCK_IGNORE)
		return;
	if (h.type == VSOCK_TYPE_STREAM)
		c = vsock_table_find(&vs->table, h.dst_port, h.src_port);
	if (!vs->heard && (h.op == VSOCK_OP_REQUEST || h.op == VSOCK_OP_RESPONSE))
		on_heard(vs);
	if (c && h.op == VSOCK_OP_RST)
		vsock_forget(vs, c);
	else if (c && (verdict == VSOCK_REFUSE || h.op == VSOCK_OP_REQUEST))
		vsock_kill(vs, c);
	else if (c)
		on_conn_packet(vs, c, &h);
	else if (verdict == VSOCK_PASS && h.op == VSOCK_OP_REQUEST)
		on_request(vs, &h);
	else
		refuse(vs, &h);
}

static int tx_run(struct vsock *vs)
{
	struct queue *q = &vs->dev.queues[VSOCK_TXQ];
	uint64_t moved = 0;
	int got = 1, r = 0;

	for (int i = 0; i < TX_BATCH && moved < TX_BYTES && r == 0; i++) {
		got = queue_pop(q, &vs->chain);
		if (got <= 0)
			break;
		moved += vs->chain.out_len;
		on_packet(vs);
		/* The chain's memory is not looked at any more. A push can only fail if on_packet stopped the queue. */
		r = queue_push(q, vs->chain.head, 0);
	}
	/* The queue was not seen empty, so no kick is certain for what is left in it. */
	vs->tx_more = got > 0 && r == 0;
	if (vs->tx_more)
		vsock_work(vs);
	/* What is to be answered in this turn goes with the same interrupt. */
	if (!vs->work.loop)
		virtio_signal(&vs->dev, VSOCK_TXQ);
	return MIN_OF(got, r) < 0 ? -EPROTO : 0;
}

/* ---- events ---- */

static int event_run(struct vsock *vs)
{
	struct queue *q = &vs->dev.queues[VSOCK_EVENTQ];
	uint8_t bytes[EVENT_LEN];
	int r;

	if (!vs->event_due)
		return 0;
	r = queue_pop(q, &vs->chain);
	if (r <= 0)
		return r;
	if (vs->chain.in_len < EVENT_LEN)
		return -EPROTO;
	put_le32(bytes, EVENT_TRANSPORT_RESET);
	(void)iov_write(chain_in(&vs->chain), vs->chain.n_in, 0, bytes, sizeof(bytes));
	r = queue_push(q, vs->chain.head, EVENT_LEN);
	vs->event_due = false;
	virtio_signal(&vs->dev, VSOCK_EVENTQ);
	return r;
}

/* ---- the device ---- */

static void on_work(struct loop_timer *t)
{
	struct vsock *vs = container_of(t, struct vsock, work);
	int r;

	if (!vs->dev.active || vs->broken)
		return;
	r = vsock_rx_run(vs);
	virtio_signal(&vs->dev, VSOCK_TXQ);
	if (r == 0 && vs->tx_more)
		r = tx_run(vs);
	if (r == 0)
		return;
	vs->broken = true;
	virtio_broken(&vs->dev);
}

void vsock_work(struct vsock *vs)
{
	if (vs->dev.active && !vs->work.loop)
		loop_timer_set(vs->dev.loop, &vs->work, 0, on_work);
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	uint8_t cid[8];

	put_le64(cid, from_dev(dev)->opts.cid);
	memcpy(dst, cid + off, len);
}

static int activate(struct virtio_dev *dev, struct err *err unused_arg)
{
	struct vsock *vs = from_dev(dev);

	dev->active = true;
	vsock_host_release(vs);
	vsock_work(vs);
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index)
{
	struct vsock *vs = from_dev(dev);
	int r = 0;

	if (vs->broken)
		return 0;
	if (index == VSOCK_RXQ && (vs->n_orphans || vs->table.run_first))
		r = vsock_rx_run(vs);
	else if (index == VSOCK_TXQ)
		r = tx_run(vs);
	else if (index == VSOCK_EVENTQ)
		r = event_run(vs);
	vs->broken = r < 0;
	return r;
}

/* The guest has forgotten every connection, so each ends as after a RST; clients that it never heard of are held again. */
static void reset(struct virtio_dev *dev)
{
	struct vsock *vs = from_dev(dev);
	struct vsock_conn *next;

	dev->active = false;
	vs->tx_more = vs->event_due = vs->broken = false;
	vs->n_orphans = 0;
	loop_timer_cancel(&vs->work);
	for (struct vsock_conn *c = vs->table.all; c; c = next) {
		next = c->all_next;
		if (c->hashed)
			vsock_forget(vs, c);
	}
	vs->heard = false;
}

void vsock_transport_reset(struct vsock *vs, uint64_t cid)
{
	struct vsock_conn *next;

	for (struct vsock_conn *c = vs->table.all; c; c = next) {
		next = c->all_next;
		if (c->hashed)
			vsock_forget(vs, c);
	}
	vs->n_orphans = 0;
	vs->opts.cid = cid;
	vs->event_due = true;
	if (vs->dev.active && !vs->broken && event_run(vs) < 0) {
		vs->broken = true;
		virtio_broken(&vs->dev);
	}
}

static const struct virtio_ops ops = {
	.device_id = 19,
	.name = "vsock",
	.features = F_STREAM,
	.n_queues = VSOCK_N_QUEUES,
	.n_vectors = 2,
	.config_len = 8,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int vsock_new(struct vsock **ret, struct loop *loop, const struct vsock_options *opts, struct err *err)
{
	struct vsock *vs = calloc(1, sizeof(*vs));
	int listen_fd = opts->listen_fd, r = 0;
	uint64_t seed;

	if (!vs) {
		close_fd(&listen_fd);
		return err_set(err, ENOMEM, "vsock: out of memory");
	}
	vs->dev.ops = &ops;
	vs->dev.loop = loop;
	vs->opts = *opts;
	if (!vs->opts.hello_ms)
		vs->opts.hello_ms = HELLO_MS;
	vs->listen_fd = listen_fd;
	if (opts->cid <= VSOCK_HOST_CID || opts->cid >= UINT32_MAX)
		r = err_set(err, EINVAL, "vsock: CID %llu: not in 3..2^32-2", (unsigned long long)opts->cid);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		r = err_errno(err, "vsock: getrandom");
	else
		vsock_table_init(&vs->table, seed);
	if (r == 0 && vs->listen_fd >= 0)
		r = vsock_host_listen(vs, err);
	if (r < 0) {
		vsock_free(vs);
		return r;
	}
	*ret = vs;
	return 0;
}

void vsock_free(struct vsock *vs)
{
	if (!vs)
		return;
	loop_timer_cancel(&vs->work);
	vsock_host_stop(vs);
	free(vs);
}

struct virtio_dev *vsock_dev(struct vsock *vs)
{
	return &vs->dev;
}
