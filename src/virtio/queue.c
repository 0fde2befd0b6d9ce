/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue (virtio 1.2 §2.7).
 *
 * Three areas in guest memory: the descriptor table (16 bytes an entry: address, length, flags, next), the available
 * ring (flags, idx, heads, used_event) that the driver writes and the used ring (flags, idx, {head, length},
 * avail_event) that we write. All indices run freely modulo 2^16. The areas are resolved and checked once, at
 * queue_start or queue_remap.
 *
 * Trust: the driver may write any of it at any moment, also while we look. So each field is loaded once into a local
 * (load16, load_desc) and judged there; our own state (next_avail, next_used, the in-flight bits) never comes from the
 * used ring after queue_start. Work per pop is bounded by CHAIN_IOV_MAX descriptors.
 *
 * Refused, with the queue broken for ever: an available index that runs ahead by more than the queue size, a head
 * beyond the table or still in flight, `next` beyond the table, loops, a readable buffer behind a writable one, a
 * writable one in read-only memory, an empty buffer, one that is not wholly inside a region, more than 2^32 bytes, an indirect table that is empty,
 * ragged, nested, not last in its chain or not negotiated.
 *
 * Notifications: with EVENT_IDX the driver kicks when its index passes avail_event, so that stays where it is while we
 * drain and is moved only when a pop finds nothing; then the index is read again, because the driver may have added a
 * chain before it could see the new value (store, full fence, load on both sides).
 */
#include "virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio/device.h"

enum {
	DESC_BYTES = 16,
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,

	RING_FLAGS = 0, /* offsets that both rings share */
	RING_IDX = 2,
	RING_ENTRIES = 4,
	USED_ENTRY_BYTES = 8,

	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
};

#define CHAIN_BYTES_MAX (UINT64_C(1) << 32)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static inline uint16_t load16(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

static inline void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
}

/* One copy: behind the barrier the compiler has to take guest memory for changed and cannot read it a second time. */
static inline struct desc load_desc(const uint8_t *p)
{
	struct desc d;

	memcpy(&d, p, sizeof(d));
	__asm__ volatile("" ::: "memory");
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

static inline uint8_t *used_event(const struct queue *q)
{
	return q->avail + RING_ENTRIES + 2 * (size_t)q->size;
}

static inline uint8_t *avail_event(const struct queue *q)
{
	return q->used + RING_ENTRIES + USED_ENTRY_BYTES * (size_t)q->size;
}

static inline bool head_in_flight(const struct queue *q, uint16_t head)
{
	return q->in_flight[head / 64] >> (head % 64) & 1;
}

struct area {
	const char *name;
	gpa_t gpa;
	uint64_t len;
	unsigned align;
};

static uint8_t *resolve_area(const struct guest_mem *mem, const struct area *a, struct err *err)
{
	uint8_t *p = guest_mem_at(mem, a->gpa, a->len);

	if (!p) {
		(void)err_set(err, EINVAL, "%s at 0x%" PRIx64 ", %" PRIu64 " bytes: outside guest memory", a->name,
			a->gpa, a->len);
		return NULL;
	}
	/* The host address too: a front end may map a region at any offset, and the indices are loaded as a whole. */
	if (a->gpa % a->align || (uintptr_t)p % a->align) {
		(void)err_set(err, EINVAL, "%s at 0x%" PRIx64 ": not aligned to %u", a->name, a->gpa, a->align);
		return NULL;
	}
	return p;
}

static int resolve(struct queue *q, const struct guest_mem *mem, const struct queue_cfg *cfg, struct err *err)
{
	const struct area areas[] = {
		{"descriptor table", cfg->desc, DESC_BYTES * (uint64_t)cfg->size, 16},
		{"available ring", cfg->avail, 6 + 2 * (uint64_t)cfg->size, 2},
		{"used ring", cfg->used, 6 + USED_ENTRY_BYTES * (uint64_t)cfg->size, 4},
	};
	uint8_t *p[ARRAY_SIZE(areas)];

	for (unsigned i = 0; i < ARRAY_SIZE(areas); i++) {
		p[i] = resolve_area(mem, &areas[i], err);
		if (!p[i])
			return -EINVAL;
	}
	q->desc = p[0];
	q->avail = p[1];
	q->used = p[2];
	q->mem = mem;
	q->hot = (struct guest_region){0};
	return 0;
}

int queue_start(struct queue *q, const struct guest_mem *mem, uint64_t features, uint16_t base, struct err *err)
{
	struct queue_cfg cfg = q->cfg;
	int r;

	if (q->started)
		return err_set(err, EBUSY, "queue already started");
	if (cfg.size == 0 || cfg.size > QUEUE_SIZE_MAX || (cfg.size & (cfg.size - 1)))
		return err_set(err, EINVAL, "queue size %u: not a power of two up to %d", cfg.size, QUEUE_SIZE_MAX);
	memset(&q->mem, 0, sizeof(*q) - offsetof(struct queue, mem));
	r = resolve(q, mem, &cfg, err);
	if (r < 0)
		return r;
	q->frozen = cfg;
	q->size = cfg.size;
	q->event_idx = features >> VIRTIO_BIT_EVENT_IDX & 1;
	q->indirect = features >> VIRTIO_BIT_INDIRECT_DESC & 1;
	q->next_avail = base;
	q->next_used = q->signalled_used = load16(q->used + RING_IDX);
	q->last_head = -1;
	q->started = true;
	queue_kicks_enable(q, true);
	return 0;
}

uint16_t queue_stop(struct queue *q)
{
	uint16_t next = q->next_avail;

	memset(&q->mem, 0, sizeof(*q) - offsetof(struct queue, mem));
	return next;
}

void queue_hold(struct queue *q, bool on)
{
	if (q->started)
		q->held = on;
}

int queue_remap(struct queue *q, const struct guest_mem *mem, struct err *err)
{
	int r;

	if (!q->started)
		return 0;
	r = resolve(q, mem, &q->frozen, err);
	if (r < 0) {
		/* The old pointers are about to dangle: nothing may follow them any more. */
		q->desc = q->avail = q->used = NULL;
		q->broken = true;
	}
	return r;
}

static inline int add_buffer(struct queue *q, struct chain *c, const struct desc *d)
{
	unsigned n = c->n_out + c->n_in;
	void *p;

	if (n == CHAIN_IOV_MAX)
		return -EPROTO;
	p = guest_mem_at_hot(q->mem, &q->hot, d->addr, d->len);
	if (!p)
		return -EPROTO;
	c->iov[n] = (struct iovec){.iov_base = p, .iov_len = d->len};
	if (d->flags & DESC_WRITE) {
		if (q->hot.readonly)
			return -EPROTO;
		c->n_in++;
		c->in_len += d->len;
		return 0;
	}
	if (c->n_in)
		return -EPROTO;
	c->n_out++;
	c->out_len += d->len;
	return 0;
}

static int walk_chain(struct queue *q, struct chain *c)
{
	const uint8_t *table = q->desc;
	uint32_t entries = q->size, left = q->size, i = c->head;
	bool may_indirect = q->indirect; /* once, as the last of its chain (virtio 1.2 §2.7.5.3) */
	struct desc d;

	for (;;) {
		if (i >= entries || left-- == 0)
			return -EPROTO;
		d = load_desc(table + (size_t)i * DESC_BYTES);
		if (d.flags & DESC_INDIRECT) {
			if (!may_indirect || d.flags & DESC_NEXT || d.len % DESC_BYTES)
				return -EPROTO;
			may_indirect = false;
			table = guest_mem_at_hot(q->mem, &q->hot, d.addr, d.len);
			if (!table)
				return -EPROTO;
			entries = left = d.len / DESC_BYTES;
			i = 0;
			continue;
		}
		if (add_buffer(q, c, &d) < 0)
			return -EPROTO;
		if (!(d.flags & DESC_NEXT))
			return c->out_len + c->in_len <= CHAIN_BYTES_MAX ? 0 : -EPROTO;
		i = d.next;
	}
}

/* The number of chains that the driver offers; more than the queue holds is nonsense that the caller refuses. */
static uint16_t pending(struct queue *q)
{
	uint16_t n = load16(q->avail + RING_IDX) - q->next_avail;

	if (n || !q->kicks_on || !q->event_idx || q->armed_at == q->next_avail)
		return n;
	q->armed_at = q->next_avail;
	store16(avail_event(q), q->next_avail);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(q->avail + RING_IDX) - q->next_avail;
}

static int set_broken(struct queue *q)
{
	q->broken = true;
	return -EPROTO;
}

int queue_pop(struct queue *q, struct chain *ret)
{
	uint16_t n, head;

	if (q->broken)
		return -EPROTO;
	if (!q->started || q->held)
		return 0;
	n = pending(q);
	if (n == 0)
		return 0;
	if (n > q->size)
		return set_broken(q);
	head = load16(q->avail + RING_ENTRIES + 2 * (size_t)(q->next_avail & (q->size - 1)));
	if (head >= q->size || head_in_flight(q, head))
		return set_broken(q);
	ret->head = head;
	ret->n_out = ret->n_in = 0;
	ret->out_len = ret->in_len = 0;
	if (walk_chain(q, ret) < 0)
		return set_broken(q);
	q->in_flight[head / 64] |= UINT64_C(1) << head % 64;
	q->n_in_flight++;
	q->last_head = head;
	q->next_avail++;
	return 1;
}

bool queue_has_avail(const struct queue *q)
{
	return q->started && !q->held && !q->broken && load16(q->avail + RING_IDX) != q->next_avail;
}

static bool take_in_flight(struct queue *q, uint16_t head)
{
	if (!q->started || q->broken || head >= q->size || !head_in_flight(q, head))
		return false;
	q->in_flight[head / 64] &= ~(UINT64_C(1) << head % 64);
	q->n_in_flight--;
	return true;
}

int queue_fill(struct queue *q, uint16_t head, uint32_t len)
{
	uint16_t at = q->next_used + q->n_filled;
	uint8_t *entry;

	if (!take_in_flight(q, head))
		return -EPROTO;
	if (q->last_head == head)
		q->last_head = -1;
	entry = q->used + RING_ENTRIES + USED_ENTRY_BYTES * (size_t)(at & (q->size - 1));
	put_le32(entry, head);
	put_le32(entry + 4, len);
	q->n_filled++;
	return 0;
}

void queue_show(struct queue *q)
{
	if (!q->started || q->broken || q->n_filled == 0)
		return;
	q->next_used += q->n_filled;
	q->n_filled = 0;
	store16(q->used + RING_IDX, q->next_used); /* release: the entries and the buffers are seen before it */
}

int queue_push(struct queue *q, uint16_t head, uint32_t len)
{
	int r = queue_fill(q, head, len);

	if (r == 0)
		queue_show(q);
	return r;
}

void queue_unpop(struct queue *q, uint16_t head)
{
	if (!take_in_flight(q, head))
		return;
	assert(q->last_head == head);
	q->last_head = -1;
	q->next_avail--;
}

bool queue_should_signal(struct queue *q)
{
	uint16_t old = q->signalled_used, now = q->next_used, pushed;
	bool valid = q->signalled_valid;

	if (!q->started || q->broken)
		return false;
	pushed = now - old;
	if (pushed == 0)
		return false;
	q->signalled_used = now;
	q->signalled_valid = true;
	/* Our index must be visible before we look whether the driver sleeps; it does the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(load16(q->avail + RING_FLAGS) & AVAIL_NO_INTERRUPT);
	/* used_event lies in [old, now): virtio 1.2 §2.7.7.2 */
	return !valid || (uint16_t)(now - load16(used_event(q)) - 1) < pushed;
}

void queue_kicks_enable(struct queue *q, bool on)
{
	if (!q->started || q->broken)
		return;
	q->kicks_on = on;
	if (!q->event_idx)
		store16(q->used + RING_FLAGS, on ? 0 : USED_NO_NOTIFY);
	if (!on) {
		/* What lies ahead would still be kicked for, once. */
		if (q->event_idx && q->armed_at == q->next_avail) {
			q->armed_at--;
			store16(avail_event(q), q->armed_at);
		}
		return;
	}
	if (q->event_idx) {
		store16(avail_event(q), q->next_avail);
		q->armed_at = q->next_avail;
	}
	/* The caller looks at the available index next: not before the driver can see the above. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The next piece of at most `n` bytes from byte *off on; *i and *off move along. 0: the end. */
static size_t iov_piece(const struct iovec *iov, unsigned n_iov, unsigned *i, size_t *off, size_t n)
{
	while (*i < n_iov && *off >= iov[*i].iov_len)
		*off -= iov[(*i)++].iov_len;
	if (*i == n_iov)
		return 0;
	return iov[*i].iov_len - *off < n ? iov[*i].iov_len - *off : n;
}

size_t iov_read(const struct iovec *iov, unsigned n_iov, size_t off, void *dst, size_t n)
{
	size_t done = 0, len;
	unsigned i = 0;

	while (done < n && (len = iov_piece(iov, n_iov, &i, &off, n - done)) > 0) {
		memcpy((uint8_t *)dst + done, (const uint8_t *)iov[i].iov_base + off, len);
		done += len;
		off += len;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, unsigned n_iov, size_t off, const void *src, size_t n)
{
	size_t done = 0, len;
	unsigned i = 0;

	while (done < n && (len = iov_piece(iov, n_iov, &i, &off, n - done)) > 0) {
		memcpy((uint8_t *)iov[i].iov_base + off, (const uint8_t *)src + done, len);
		done += len;
		off += len;
	}
	return done;
}

unsigned iov_slice(struct iovec *dst, unsigned max, const struct iovec *iov, unsigned n_iov, size_t off, size_t n)
{
	unsigned used = 0, i = 0;
	size_t len;

	while (n > 0 && used < max && (len = iov_piece(iov, n_iov, &i, &off, n)) > 0) {
		dst[used++] = (struct iovec){.iov_base = (uint8_t *)iov[i].iov_base + off, .iov_len = len};
		n -= len;
		off += len;
	}
	return used;
}
