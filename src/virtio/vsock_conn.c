/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit (virtio 1.2 §5.10.6.3): each side tells, in every packet, the size of its receive buffer (buf_alloc) and how many
 * bytes have ever left that buffer (fwd_cnt). What is under way is the difference between what was sent and fwd_cnt, and may
 * not exceed buf_alloc.
 *
 * Our buffer is the memory that a host socket which takes nothing makes us hold. So that a hostile guest with a thousand
 * stalled connections stays cheap, only the first connections get VSOCK_BUF_ALLOC: at most 12 + 4 + 30 MiB in all.
 */
#include "virtio/vsock_conn.h"

#include <assert.h>

#include "base/bytes.h"
#include "virtio/vsock.h"

#define ALLOC_BIG_CONNS 12
#define ALLOC_MIDDLE_CONNS 28
#define ALLOC_MIDDLE (256u * 1024u)
#define ALLOC_SMALL (32u * 1024u)

/* Ports of connections that the host starts: a range that Linux guests do not pick by themselves. */
#define HOST_PORT_FIRST (UINT32_C(1) << 30)
#define HOST_PORT_LAST ((UINT32_C(1) << 31) - 1)

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->tx_cnt - c->peer_fwd;

	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

/*
 * News of half a buffer is told: the guest sends the other half meanwhile. Half of its own buffer if that is smaller: Linux has
 * no more bytes under way than it would take itself (6.1.192 does so), and would wait for ever for news of more.
 */
static void tell_credit(struct vsock_conn *c)
{
	uint32_t news = c->fwd - c->fwd_told;

	if (news && news >= MIN_OF(c->alloc, c->peer_alloc) / 2 && vsock_conn_g2h(c))
		c->due |= VSOCK_DUE_CREDIT;
}

void vsock_conn_hear(struct vsock_conn *c, const struct vsock_hdr *h)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	tell_credit(c); /* its buffer may have become smaller */
}

bool vsock_conn_take(struct vsock_conn *c, uint32_t n)
{
	uint32_t held = c->rx_cnt - c->fwd;

	if (n > c->alloc - held)
		return false;
	c->rx_cnt += n;
	return true;
}

void vsock_conn_forward(struct vsock_conn *c, uint32_t n)
{
	c->fwd += n;
	tell_credit(c);
}

void vsock_conn_shut(struct vsock_conn *c, unsigned flags)
{
	if ((c->mine | flags) == c->mine)
		return;
	c->mine |= flags;
	c->due |= VSOCK_DUE_SHUTDOWN;
}

static void fill_hdr(struct vsock_conn *c, uint64_t guest_cid, enum vsock_op op, struct vsock_hdr *ret)
{
	*ret = (struct vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd,
	};
	/* Every packet carries the credit, so none is due on its own any more. */
	c->fwd_told = c->fwd;
	c->due &= ~VSOCK_DUE_CREDIT;
}

bool vsock_conn_next(struct vsock_conn *c, uint64_t guest_cid, struct vsock_hdr *ret)
{
	if (c->due & VSOCK_DUE_RST) {
		c->due = 0;
		fill_hdr(c, guest_cid, VSOCK_OP_RST, ret);
	} else if (c->due & VSOCK_DUE_REQUEST) {
		c->due &= ~VSOCK_DUE_REQUEST;
		fill_hdr(c, guest_cid, VSOCK_OP_REQUEST, ret);
	} else if (c->due & VSOCK_DUE_RESPONSE) {
		c->due &= ~VSOCK_DUE_RESPONSE;
		fill_hdr(c, guest_cid, VSOCK_OP_RESPONSE, ret);
	} else if (c->due & VSOCK_DUE_SHUTDOWN) {
		c->due &= ~VSOCK_DUE_SHUTDOWN;
		fill_hdr(c, guest_cid, VSOCK_OP_SHUTDOWN, ret);
		ret->flags = c->mine;
	} else if (c->due & VSOCK_DUE_CREDIT) {
		fill_hdr(c, guest_cid, VSOCK_OP_CREDIT_UPDATE, ret);
	} else {
		return false;
	}
	return true;
}

void vsock_conn_data_hdr(struct vsock_conn *c, uint64_t guest_cid, uint32_t len, struct vsock_hdr *ret)
{
	fill_hdr(c, guest_cid, VSOCK_OP_RW, ret);
	ret->len = len;
	c->tx_cnt += len;
}

void vsock_conn_filler_hdr(struct vsock_conn *c, uint64_t guest_cid, struct vsock_hdr *ret)
{
	fill_hdr(c, guest_cid, VSOCK_OP_CREDIT_UPDATE, ret);
}

void vsock_table_init(struct vsock_table *t, uint64_t seed)
{
	*t = (struct vsock_table){.seed = seed, .next_port = HOST_PORT_FIRST, .next_token = 1};
}

struct vsock_conn *vsock_table_add(struct vsock_table *t, struct vsock *vs, enum vsock_state state)
{
	struct vsock_conn *c;

	if (t->n >= VSOCK_CONNS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->vs = vs;
	c->state = state;
	c->fd = -1;
	c->alloc = t->n < ALLOC_BIG_CONNS ? VSOCK_BUF_ALLOC : t->n < ALLOC_MIDDLE_CONNS ? ALLOC_MIDDLE : ALLOC_SMALL;
	c->out = (struct buf)BUF_INIT(c->alloc);
	c->all_next = t->all;
	if (t->all)
		t->all->all_prev = c;
	t->all = c;
	t->n++;
	return c;
}

static void run_remove(struct vsock_table *t, struct vsock_conn *c)
{
	struct vsock_conn **p = &t->run_first, *prev = NULL;

	if (!c->on_run)
		return;
	while (*p != c) {
		prev = *p;
		p = &prev->run_next;
	}
	*p = c->run_next;
	if (t->run_last == c)
		t->run_last = prev;
	c->run_next = NULL;
	c->on_run = false;
}

void vsock_table_free(struct vsock_table *t, struct vsock_conn *c)
{
	assert(c->fd < 0 && !c->src.loop);
	vsock_table_unhash(t, c);
	run_remove(t, c);
	if (c->all_prev)
		c->all_prev->all_next = c->all_next;
	else
		t->all = c->all_next;
	if (c->all_next)
		c->all_next->all_prev = c->all_prev;
	t->n--;
	buf_fini(&c->out);
	free(c);
}

/* Seeded, so that a guest cannot choose ports that all fall into one bucket; the chain is at most VSOCK_CONNS_MAX anyway. */
static unsigned bucket(const struct vsock_table *t, uint32_t host_port, uint32_t guest_port)
{
	uint64_t h = ((uint64_t)host_port << 32 | guest_port) ^ t->seed;

	h ^= h >> 29;
	h *= UINT64_C(0xbf58476d1ce4e5b9) ^ (t->seed << 1);
	h ^= h >> 32;
	return (unsigned)h % VSOCK_BUCKETS;
}

struct vsock_conn *vsock_table_find(const struct vsock_table *t, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *c = t->buckets[bucket(t, host_port, guest_port)];

	while (c && (c->host_port != host_port || c->guest_port != guest_port))
		c = c->hash_next;
	return c;
}

struct vsock_conn *vsock_table_find_token(const struct vsock_table *t, uint64_t token)
{
	for (struct vsock_conn *c = t->all; c; c = c->all_next)
		if (c->state == VSOCK_DIALING && c->token == token)
			return c;
	return NULL;
}

void vsock_table_hash(struct vsock_table *t, struct vsock_conn *c, uint32_t host_port, uint32_t guest_port)
{
	unsigned b = bucket(t, host_port, guest_port);

	assert(!c->hashed);
	c->host_port = host_port;
	c->guest_port = guest_port;
	c->hash_next = t->buckets[b];
	t->buckets[b] = c;
	c->hashed = true;
}

void vsock_table_unhash(struct vsock_table *t, struct vsock_conn *c)
{
	struct vsock_conn **p = &t->buckets[bucket(t, c->host_port, c->guest_port)];

	if (!c->hashed)
		return;
	while (*p != c)
		p = &(*p)->hash_next;
	*p = c->hash_next;
	c->hash_next = NULL;
	c->hashed = false;
}

uint32_t vsock_table_port(struct vsock_table *t, uint32_t guest_port)
{
	uint32_t port;

	/* Ends: there are far more ports than connections. */
	do {
		port = t->next_port;
		t->next_port = port == HOST_PORT_LAST ? HOST_PORT_FIRST : port + 1;
	} while (vsock_table_find(t, port, guest_port));
	return port;
}

void vsock_run_add(struct vsock_table *t, struct vsock_conn *c)
{
	if (c->on_run)
		return;
	c->on_run = true;
	c->run_next = NULL;
	if (t->run_last)
		t->run_last->run_next = c;
	else
		t->run_first = c;
	t->run_last = c;
}

struct vsock_conn *vsock_run_pop(struct vsock_table *t)
{
	struct vsock_conn *c = t->run_first;

	if (!c)
		return NULL;
	t->run_first = c->run_next;
	if (!t->run_first)
		t->run_last = NULL;
	c->run_next = NULL;
	c->on_run = false;
	return c;
}

void vsock_run_unpop(struct vsock_table *t, struct vsock_conn *c)
{
	assert(!c->on_run);
	c->on_run = true;
	c->run_next = t->run_first;
	t->run_first = c;
	if (!t->run_last)
		t->run_last = c;
}
