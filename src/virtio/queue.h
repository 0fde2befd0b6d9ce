/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A split virtqueue, device side (virtio 1.2 §2.7), with EVENT_IDX and indirect descriptors.
 *
 *   state     operations
 *   zeroed    the transport fills `cfg`
 *   started   queue_start froze a private copy of cfg (later writes to cfg change nothing): pop, push, signal
 *   broken    a ring rule was violated: pop returns -EPROTO for ever, the transport sets DEVICE_NEEDS_RESET
 *   stopped   queue_stop: like zeroed; chains in flight are forgotten, a late push is refused
 *
 * The guest owns the ring memory and is hostile: every index is bounded, every address goes through guest_mem_at, a
 * head already in flight is refused, a chain's length is bounded: direct descriptors by the queue size, indirect ones
 * by their table (Linux makes it longer than the queue), all of them by CHAIN_IOV_MAX. One thread per queue.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/guest_mem.h"

#define QUEUE_SIZE_MAX 1024
#define CHAIN_IOV_MAX 1026 /* 1 MiB of pages plus FUSE headers */

struct queue_cfg {
	uint16_t size; /* entries, a power of two <= QUEUE_SIZE_MAX */
	gpa_t desc, avail, used;
};

struct queue {
	struct queue_cfg cfg; /* written by the transport only */

	/* Everything below is private to queue.c. */
	const struct guest_mem *mem;
	uint16_t size;
	uint8_t *desc, *avail, *used; /* resolved at queue_start */
	uint16_t next_avail, next_used, signalled_used, n_filled;
	bool started, broken, event_idx, indirect, signalled_valid;
	uint64_t in_flight[QUEUE_SIZE_MAX / 64]; /* a bit per head */
	uint16_t n_in_flight;
	bool kicks_on, held;
	uint16_t armed_at;	 /* what the driver was told as avail_event */
	int32_t last_head;	 /* most recently popped, -1: none that queue_unpop may take */
	struct queue_cfg frozen; /* cfg as it was at queue_start */
	struct guest_region hot; /* the region that the last buffer was in */
};

/* One request of the driver: first what the device reads, then what it writes. */
struct chain {
	uint16_t head;
	unsigned n_out, n_in;	  /* iov[0..n_out) readable, iov[n_out..n_out+n_in) writable */
	uint64_t out_len, in_len; /* bytes in each part */
	struct iovec iov[CHAIN_IOV_MAX];
};

static inline const struct iovec *chain_out(const struct chain *c)
{
	return c->iov;
}

static inline const struct iovec *chain_in(const struct chain *c)
{
	return c->iov + c->n_out;
}

/*
 * Checks cfg (size, alignment, all three areas inside guest memory) and starts the queue. `features` are the
 * negotiated bits (VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC are looked at). `base` is the first available index to
 * serve (0 after a reset). `mem` is borrowed until queue_stop.
 */
int queue_start(
	struct queue *q, const struct guest_mem *mem, uint64_t features, uint16_t base, struct err *err) must_check;
/* Returns the next available index (for VHOST_USER_GET_VRING_BASE). No-op on a queue not started. */
uint16_t queue_stop(struct queue *q);
/*
 * A held queue looks empty to queue_pop and queue_has_avail; chains in flight may be pushed. Kicks may be missed
 * meanwhile, so whoever lets it go notifies the device. For the transport.
 */
void queue_hold(struct queue *q, bool on);
/* The memory map changed: resolves the rings again. -errno leaves the queue broken. */
int queue_remap(struct queue *q, const struct guest_mem *mem, struct err *err) must_check;

/*
 * 1: *ret holds a chain, which is in flight until queue_push. 0: nothing there, or the queue is not started. -EPROTO:
 * the driver broke the ring; *ret is then undefined. When it returns 0 with kicks on (as at start), a later kick is
 * certain; with EVENT_IDX none comes while chains are left, so a device pops until 0 or remembers that it stopped
 * early.
 */
int queue_pop(struct queue *q, struct chain *ret) must_check;
/* True if queue_pop would find a chain or break the queue; one look at the available index. False once broken. */
bool queue_has_avail(const struct queue *q);
/* Returns a chain to the driver with `len` bytes written. -EPROTO if head is not in flight. */
int queue_push(struct queue *q, uint16_t head, uint32_t len) must_check;
/* The same in two steps: chains that were filled are seen by the driver all at once, at queue_show. */
int queue_fill(struct queue *q, uint16_t head, uint32_t len) must_check;
void queue_show(struct queue *q);
/*
 * Takes back the last pop: the chain will be popped again, and may look different then (the guest owns the ring).
 * Only for the most recently popped head; a no-op when that is no longer in flight, because the queue was stopped
 * meanwhile.
 */
void queue_unpop(struct queue *q, uint16_t head);

/* Does the driver want an interrupt for what was pushed since the last call? False when nothing was. */
bool queue_should_signal(struct queue *q);
/*
 * Kicks on (the state at start) or off. After switching on look again (queue_has_avail), or a kick may be missed. Off
 * is a hint: a kick may still come.
 */
void queue_kicks_enable(struct queue *q, bool on);

static inline bool queue_is_started(const struct queue *q)
{
	return q->started;
}

/* Chains that were popped and not yet pushed. */
static inline unsigned queue_in_flight(const struct queue *q)
{
	return q->n_in_flight;
}

/* Copies between a chain's parts and flat memory, from byte `off` of the part. Return the bytes copied (0..n). */
size_t iov_read(const struct iovec *iov, unsigned n_iov, size_t off, void *dst, size_t n);
size_t iov_write(const struct iovec *iov, unsigned n_iov, size_t off, const void *src, size_t n);
/* The part of an iovec from byte `off`, at most `n` bytes, in at most `max` entries. Returns the entries used. */
unsigned iov_slice(struct iovec *dst, unsigned max, const struct iovec *iov, unsigned n_iov, size_t off, size_t n);
