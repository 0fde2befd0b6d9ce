/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To the guest. How long the next frame is, is only known when it has been read, and what was popped cannot be put back in
 * any number. So there is a stock of popped chains (slots): enough for the longest frame before each read, and what a short
 * frame did not use waits for the next. Without mergeable buffers one chain is a frame's. When the guest has offered all
 * that it can (its whole queue, or the whole stock) and that is still too little for the longest frame, shorter ones are
 * served all the same; a frame that fills the room to the last byte may have been cut and is dropped.
 *
 * Chains of one frame are shown to the driver at once (queue_fill, queue_show): Linux takes a frame of which it sees only
 * a part for a broken one.
 */
#include "virtio/net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/fd.h"

enum { RXQ, TXQ, N_QUEUES };

/* virtio 1.2 §5.1.3 */
#define F_CSUM (UINT64_C(1) << 0)
#define F_GUEST_CSUM (UINT64_C(1) << 1)
#define F_MTU (UINT64_C(1) << 3)
#define F_MAC (UINT64_C(1) << 5)
#define F_GUEST_TSO4 (UINT64_C(1) << 7)
#define F_GUEST_TSO6 (UINT64_C(1) << 8)
#define F_HOST_TSO4 (UINT64_C(1) << 11)
#define F_HOST_TSO6 (UINT64_C(1) << 12)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_STATUS (UINT64_C(1) << 16)

enum {
	HDR_LEN = 12,
	HDR_FLAGS = 0,
	HDR_GSO = 1,
	HDR_NUM_BUFFERS = 10,
	HDR_NEEDS_CSUM = 1,
	GSO_NONE = 0,
	GSO_TCPV4 = 1,
	GSO_TCPV6 = 4,

	ETH_HDR_LEN = 18, /* with a VLAN tag */

	CONFIG_STATUS = 6,
	CONFIG_MTU = 10,
	CONFIG_LEN = 12, /* MAC, status, pairs of queues, MTU */

	SLOTS = 64,
	SLOT_IOV = 20,	     /* Linux: 19 for a frame of 64 KiB without mergeable buffers */
	SLOT_IOV_MERGED = 4, /* of a mergeable one; more buffers of a chain are not used */
	RX_BATCH = 64,	     /* frames per turn */
	TX_BATCH = 64,	     /* chains per turn */
	TX_IOV = 64,	     /* Linux: 18 */
};

struct slot {
	uint16_t head;
	unsigned n;
	uint32_t room;
	struct iovec iov[SLOT_IOV];
};

/* One pair of queues and its tap; there would be several with VIRTIO_NET_F_MQ. */
struct net_pair {
	int fd;
	struct loop_fd src;
	bool watch_in, watch_out;
	unsigned first, n; /* the stock is a ring */
	uint64_t room;	   /* of all slots in it */
	struct slot slots[SLOTS];
};

struct net {
	struct virtio_dev dev;
	struct net_options opts;
	struct loop_timer more; /* the driver's queue was left early */
	bool broken, gone;	/* the tap is gone */
	uint8_t config[CONFIG_LEN];
	struct net_counters counters;
	struct net_pair pair;
	struct chain chain;
};

static struct net *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

static void watch(struct net *net, bool in, bool out)
{
	struct net_pair *p = &net->pair;

	if (!p->src.loop || (p->watch_in == in && p->watch_out == out))
		return;
	p->watch_in = in;
	p->watch_out = out;
	loop_mod_fd(&p->src, (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u));
}

/* Nothing will ever come or go again. */
static void tap_gone(struct net *net)
{
	net->gone = true;
	loop_remove_fd(&net->pair.src);
	net_set_link(net, false);
}

/* ---- to the guest ---- */

/* The longest frame that the tap can hand us: without TSO its MTU bounds it. */
static uint32_t frame_max(const struct net *net)
{
	if (net->dev.features & (F_GUEST_TSO4 | F_GUEST_TSO6))
		return NET_FRAME_MAX;
	return MIN_OF(HDR_LEN + ETH_HDR_LEN + net->opts.mtu, NET_FRAME_MAX);
}

static bool merged(const struct net *net)
{
	return net->dev.features & F_MRG_RXBUF;
}

/* 1: one more slot in the stock. 0: the guest has no more. -EPROTO. */
static int stock_add(struct net *net)
{
	struct net_pair *p = &net->pair;
	struct slot *s = &p->slots[(p->first + p->n) % SLOTS];
	struct chain *c = &net->chain;
	int r = queue_pop(&net->dev.queues[RXQ], c);

	if (r <= 0)
		return r;
	if (c->in_len < HDR_LEN || c->n_out)
		return -EPROTO;
	s->head = c->head;
	s->n = iov_slice(s->iov, merged(net) ? SLOT_IOV_MERGED : SLOT_IOV, chain_in(c), c->n_in, 0, NET_FRAME_MAX);
	s->room = 0;
	for (unsigned i = 0; i < s->n; i++)
		s->room += (uint32_t)s->iov[i].iov_len;
	if (s->room < HDR_LEN)
		return -EPROTO;
	p->room += s->room;
	p->n++;
	return 1;
}

/* 1: there is room for a frame. 0: not yet. -EPROTO. */
static int stock_fill(struct net *net)
{
	struct net_pair *p = &net->pair;
	const struct queue *q = &net->dev.queues[RXQ];
	uint32_t want = frame_max(net);
	int r = 1;

	if (!merged(net))
		return p->n ? 1 : stock_add(net);
	while (r > 0 && p->room < want && p->n < SLOTS)
		r = stock_add(net);
	if (r < 0)
		return r;
	return p->room >= want || p->n == SLOTS || (p->n && queue_in_flight(q) == q->size);
}

/* The first slot takes up to `left` bytes of the frame and goes back to the driver. */
static int stock_take(struct net *net, size_t *left)
{
	struct net_pair *p = &net->pair;
	const struct slot *s = &p->slots[p->first];
	uint32_t len = (uint32_t)MIN_OF(*left, s->room);
	int r = queue_fill(&net->dev.queues[RXQ], s->head, len);

	*left -= len;
	p->room -= s->room;
	p->first = (p->first + 1) % SLOTS;
	p->n--;
	return r;
}

/* 1: a frame of `len` bytes, the header included, lies in the stock. 0: none there. -EPIPE: the tap is gone. */
static int read_frame(struct net *net, size_t *ret_len, bool *ret_cut)
{
	struct net_pair *p = &net->pair;
	struct iovec iov[SLOTS * SLOT_IOV_MERGED];
	unsigned n = 0, slots = merged(net) ? p->n : 1;
	uint32_t want = frame_max(net);
	size_t room = 0;
	ssize_t got;

	for (unsigned i = 0; i < slots && room < want; i++) {
		const struct slot *s = &p->slots[(p->first + i) % SLOTS];

		memcpy(iov + n, s->iov, s->n * sizeof(iov[0]));
		n += s->n;
		room += s->room;
	}
	do {
		got = readv(p->fd, iov, (int)n);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -EPIPE;
	if (got == 0)
		return -EPIPE;
	*ret_len = (size_t)got;
	*ret_cut = (size_t)got < HDR_LEN || ((size_t)got == room && room < want);
	return 1;
}

static int deliver(struct net *net, size_t len)
{
	const struct net_pair *p = &net->pair;
	const struct slot *s = &p->slots[p->first];
	uint64_t sum = 0;
	uint8_t bytes[2];
	uint16_t n = 0;
	int r = 0;

	net->counters.rx_frames++;
	net->counters.rx_bytes += len;
	for (; sum < len; n++)
		sum += p->slots[(p->first + n) % SLOTS].room;
	put_le16(bytes, n);
	(void)iov_write(s->iov, s->n, HDR_NUM_BUFFERS, bytes, sizeof(bytes));
	while (r == 0 && len)
		r = stock_take(net, &len);
	queue_show(&net->dev.queues[RXQ]);
	return r;
}

static int rx_run(struct net *net)
{
	bool cut, starved = false;
	size_t len;
	int r = 1;

	for (int i = 0; r > 0 && i < RX_BATCH && !net->gone; i++) {
		r = stock_fill(net);
		starved = r == 0;
		if (r <= 0)
			break;
		r = read_frame(net, &len, &cut);
		if (r == -EPIPE) {
			tap_gone(net);
			r = 0;
		} else if (r > 0 && cut) {
			net->counters.rx_dropped++;
		} else if (r > 0) {
			r = deliver(net, len);
			r = r < 0 ? r : 1;
		}
	}
	/* What is left in the tap wakes us again; without buffers it must not: a kick will. */
	watch(net, !starved && r >= 0, net->pair.watch_out);
	virtio_signal(&net->dev, RXQ);
	return r < 0 ? r : 0;
}

/* ---- to the host ---- */

static bool header_ok(const struct net *net, const uint8_t hdr[HDR_LEN])
{
	uint64_t f = net->dev.features;

	if (hdr[HDR_FLAGS] & HDR_NEEDS_CSUM && !(f & F_CSUM))
		return false;
	switch (hdr[HDR_GSO]) {
	case GSO_NONE:
		return true;
	case GSO_TCPV4:
		return f & F_HOST_TSO4;
	case GSO_TCPV6:
		return f & F_HOST_TSO6;
	default:
		return false;
	}
}

/* 1: the frame was sent, or dropped for good. 0: the tap is full. */
static int send_frame(struct net *net)
{
	const struct chain *c = &net->chain;
	uint8_t hdr[HDR_LEN];
	struct iovec iov[1 + TX_IOV] = {{.iov_base = hdr, .iov_len = sizeof(hdr)}};
	unsigned n = 0;
	ssize_t sent = -1;

	if (c->out_len > HDR_LEN && c->out_len <= NET_FRAME_MAX && c->n_out <= TX_IOV &&
		iov_read(chain_out(c), c->n_out, 0, hdr, sizeof(hdr)) == sizeof(hdr) && header_ok(net, hdr))
		n = iov_slice(iov + 1, TX_IOV, chain_out(c), c->n_out, HDR_LEN, NET_FRAME_MAX);
	if (n) {
		do {
			sent = writev(net->pair.fd, iov, (int)n + 1);
		} while (sent < 0 && errno == EINTR);
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !net->gone)
			return 0;
	}
	if (sent > 0) {
		net->counters.tx_frames++;
		net->counters.tx_bytes += (uint64_t)sent;
	} else {
		net->counters.tx_dropped++;
	}
	return 1;
}

static void on_more(struct loop_timer *t);

static int tx_run(struct net *net)
{
	struct queue *q = &net->dev.queues[TXQ];
	bool full = false;
	int r = 1;

	for (int i = 0; r > 0 && i < TX_BATCH && !full; i++) {
		r = queue_pop(q, &net->chain);
		if (r <= 0)
			break;
		full = send_frame(net) == 0;
		if (full)
			queue_unpop(q, net->chain.head);
		else
			r = queue_push(q, net->chain.head, 0) < 0 ? -EPROTO : 1;
	}
	watch(net, net->pair.watch_in, full);
	if (r > 0 && !full)
		loop_timer_set(net->dev.loop, &net->more, 0, on_more);
	/* A peer on this machine has often answered already, within writev: one interrupt for both, not two. */
	if (r == 0 && net->pair.watch_in)
		r = rx_run(net);
	virtio_signal(&net->dev, TXQ);
	return r < 0 ? r : 0;
}

/* ---- events ---- */

static void check(struct net *net, int r)
{
	if (r == 0)
		return;
	net->broken = true;
	watch(net, false, false);
	virtio_broken(&net->dev);
}

static void on_more(struct loop_timer *t)
{
	struct net *net = container_of(t, struct net, more);

	check(net, tx_run(net));
}

static void on_tap(struct loop_fd *src, uint32_t events)
{
	struct net *net = container_of(src, struct net, pair.src);
	int r = 0;

	if (events & EPOLLOUT && net->pair.watch_out)
		r = tx_run(net);
	if (r == 0 && events & EPOLLIN && net->pair.watch_in)
		r = rx_run(net);
	/* These come without being asked for, and would come for ever. */
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN) && !net->gone)
		tap_gone(net);
	check(net, r);
}

static int notify(struct virtio_dev *dev, unsigned index)
{
	struct net *net = from_dev(dev);
	int r = 0;

	if (net->broken)
		return 0;
	if (index == TXQ && !net->pair.watch_out)
		r = tx_run(net);
	else if (index == RXQ && !net->pair.watch_in)
		r = rx_run(net);
	net->broken = r < 0;
	return r;
}

static int tap_ioctl(const struct net *net, unsigned long request, unsigned arg)
{
	if (net->opts.tap_ioctl)
		return net->opts.tap_ioctl(net->pair.fd, request, arg);
	/* One takes its argument by value, the other by reference. */
	return request == TUNSETOFFLOAD ? ioctl(net->pair.fd, request, arg) : ioctl(net->pair.fd, request, &arg);
}

/* The kernel hands us only what the driver can take. */
static int activate(struct virtio_dev *dev, struct err *err)
{
	struct net *net = from_dev(dev);
	unsigned offload = 0;

	if (dev->features & (F_GUEST_TSO4 | F_GUEST_TSO6) && !(dev->features & F_GUEST_CSUM))
		return err_set(err, EPROTO, "net: the driver accepts TSO without GUEST_CSUM");
	if (dev->features & F_GUEST_CSUM)
		offload |= TUN_F_CSUM;
	if (dev->features & F_GUEST_TSO4)
		offload |= TUN_F_TSO4;
	if (dev->features & F_GUEST_TSO6)
		offload |= TUN_F_TSO6;
	if (!net->gone && tap_ioctl(net, TUNSETOFFLOAD, offload) < 0)
		return err_errno(err, "net: TUNSETOFFLOAD");
	return 0;
}

static void reset(struct virtio_dev *dev)
{
	struct net *net = from_dev(dev);

	loop_timer_cancel(&net->more);
	watch(net, false, false);
	net->pair.first = net->pair.n = 0;
	net->pair.room = 0;
	net->broken = false;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	memcpy(dst, from_dev(dev)->config + off, len);
}

static const struct virtio_ops ops = {
	.device_id = 1,
	.name = "net",
	.features = F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6 |
		    F_MRG_RXBUF | F_STATUS,
	.n_queues = N_QUEUES,
	.queue_size = 256,
	.n_vectors = 2,
	.config_len = CONFIG_LEN,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int net_new(struct net **ret, struct loop *loop, const struct net_options *opts, struct err *err)
{
	struct net *net = calloc(1, sizeof(*net));
	int fd = opts->tap_fd, r = 0;

	if (!net) {
		close_fd(&fd);
		return err_set(err, ENOMEM, "net: out of memory");
	}
	net->dev.ops = &ops;
	net->dev.loop = loop;
	net->opts = *opts;
	net->pair.fd = fd;
	memcpy(net->config, opts->mac, sizeof(opts->mac));
	put_le16(net->config + CONFIG_STATUS, 1);
	put_le16(net->config + CONFIG_MTU, opts->mtu);
	if (opts->mtu < 68)
		r = err_set(err, EINVAL, "net: MTU %u is less than 68", opts->mtu);
	if (r == 0)
		r = fd_set_nonblock(fd, true, err);
	if (r == 0 && tap_ioctl(net, TUNSETVNETHDRSZ, HDR_LEN) < 0)
		r = err_errno(err, "net: its descriptor is no tap: TUNSETVNETHDRSZ");
	if (r == 0)
		r = loop_add_fd(loop, &net->pair.src, fd, 0, on_tap, err);
	if (r < 0) {
		net_free(net);
		return r;
	}
	*ret = net;
	return 0;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	loop_timer_cancel(&net->more);
	loop_remove_fd(&net->pair.src);
	close_fd(&net->pair.fd);
	free(net);
}

struct virtio_dev *net_dev(struct net *net)
{
	return &net->dev;
}

void net_set_link(struct net *net, bool up)
{
	uint16_t status = up && !net->gone;

	if (get_le16(net->config + CONFIG_STATUS) == status)
		return;
	virtio_config_begin(&net->dev);
	put_le16(net->config + CONFIG_STATUS, status);
	virtio_config_end(&net->dev);
}

const struct net_counters *net_get_counters(const struct net *net)
{
	return &net->counters;
}
