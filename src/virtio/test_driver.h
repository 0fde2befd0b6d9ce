/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The driver's side of virtio, for unit tests and fuzz targets only: guest memory with a bump allocator, split rings
 * laid out in it, chains (direct, indirect, or raw descriptors for hostile ones), the used ring, and a transport that
 * counts.
 *
 *   drv_vm_init -> drv_queue_init ... -> drv_dev_start -> drv_add, drv_publish -> ops->notify -> drv_used
 *               -> drv_dev_reset -> drv_vm_fini
 *
 * The valid path asserts, so it is for tests that play a correct driver; a fuzz target checks its input first, or uses
 * only the raw setters (drv_set_*), which take any value and stay inside guest memory.
 */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "virtio/device.h"

#define DRV_GPA 0x100000 /* where drv_vm's memory begins */
#define DRV_GUARD UINT64_C(4096)
#define DRV_NEXT 1
#define DRV_WRITE 2
#define DRV_INDIRECT 4
#define drv_fn static inline __attribute__((unused))

/* --- guest memory --- */

struct drv_vm {
	uint8_t *mem;
	int fd; /* of drv_vm_init_shared, else -1 */
	uint64_t size, used;
	struct guest_mem gm; /* one region, [DRV_GPA, DRV_GPA + size) */
	uint8_t *
		room; /* `mem` with a page before and behind that nobody may touch: what a device does outside is found */
};

drv_fn void drv_vm_map(struct drv_vm *vm, uint64_t size, int fd)
{
	uint8_t *room = mmap(NULL, size + 2 * DRV_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *p = mmap(room + DRV_GUARD, size, PROT_READ | PROT_WRITE,
		MAP_FIXED | MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	int r;

	assert(room != MAP_FAILED && p != MAP_FAILED && size % DRV_GUARD == 0);
	*vm = (struct drv_vm){.mem = p, .fd = fd, .size = size, .room = room};
	r = guest_mem_add(&vm->gm, DRV_GPA, size, p, NULL);
	assert(r == 0);
	(void)r;
}

drv_fn void drv_vm_init(struct drv_vm *vm, uint64_t size)
{
	drv_vm_map(vm, size, -1);
}

/* Memory in a memfd, vm->fd, for a back end to map. */
drv_fn void drv_vm_init_shared(struct drv_vm *vm, uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	assert(fd >= 0);
	r = ftruncate(fd, (off_t)size);
	assert(r == 0);
	(void)r;
	drv_vm_map(vm, size, fd);
}

drv_fn void drv_vm_fini(struct drv_vm *vm)
{
	if (vm->mem) {
		(void)munmap(vm->room, vm->size + 2 * DRV_GUARD);
		close_fd(&vm->fd);
	}
	*vm = (struct drv_vm){.fd = -1};
}

/* Zeroed guest memory; `align` is a power of two. */
drv_fn gpa_t drv_alloc(struct drv_vm *vm, uint64_t len, uint64_t align)
{
	uint64_t at = (vm->used + align - 1) & ~(align - 1);

	assert(at <= vm->size && len <= vm->size - at);
	vm->used = at + len;
	memset(vm->mem + at, 0, len);
	return DRV_GPA + at;
}

drv_fn void *drv_ptr(struct drv_vm *vm, gpa_t gpa)
{
	assert(gpa >= DRV_GPA && gpa - DRV_GPA < vm->size);
	return vm->mem + (gpa - DRV_GPA);
}

/* --- one queue --- */

struct drv_queue {
	struct drv_vm *vm;
	struct queue_cfg cfg; /* give it to the device's queue */
	bool event_idx;
	uint16_t avail_idx;	/* chains made available by drv_add, whether published or not */
	uint16_t published_idx; /* what the device can see */
	uint16_t last_used;
	uint16_t n_free;
	uint16_t free_next[QUEUE_SIZE_MAX]; /* stack of free descriptors */
	gpa_t table[QUEUE_SIZE_MAX];	    /* indirect table of a head, 0: none made yet */
	uint32_t table_entries[QUEUE_SIZE_MAX];
};

struct drv_buf {
	gpa_t gpa;
	uint32_t len;
	bool write; /* the device writes it */
};

/* `size` is a power of two; 0x10000 or so of guest memory is taken for 1024 entries. */
drv_fn void drv_queue_init(struct drv_queue *dq, struct drv_vm *vm, uint16_t size, uint64_t features)
{
	memset(dq, 0, sizeof(*dq));
	dq->vm = vm;
	dq->cfg.size = size;
	dq->cfg.desc = drv_alloc(vm, 16 * (uint64_t)size, 16);
	dq->cfg.avail = drv_alloc(vm, 6 + 2 * (uint64_t)size, 2);
	dq->cfg.used = drv_alloc(vm, 6 + 8 * (uint64_t)size, 4);
	dq->event_idx = features >> VIRTIO_BIT_EVENT_IDX & 1;
	for (uint16_t i = 0; i < size; i++)
		dq->free_next[dq->n_free++] = size - 1 - i;
}

/* Flags and events of the rings, which the device may be looking at. */
drv_fn void drv_store16(struct drv_queue *dq, gpa_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)drv_ptr(dq->vm, gpa), htole16(v), __ATOMIC_RELEASE);
}

drv_fn uint16_t drv_load16(struct drv_queue *dq, gpa_t gpa)
{
	return le16toh(__atomic_load_n((uint16_t *)drv_ptr(dq->vm, gpa), __ATOMIC_ACQUIRE));
}

/* Raw setters: any value, in range of the areas. */
drv_fn void drv_set_entry(struct drv_vm *vm, gpa_t table, unsigned i, const struct drv_buf *b, unsigned flags_next)
{
	uint8_t *p = drv_ptr(vm, table + 16 * (gpa_t)i);

	put_le64(p, b->gpa);
	put_le32(p + 8, b->len);
	put_le16(p + 12, flags_next & 0xffff);
	put_le16(p + 14, flags_next >> 16);
}

/* Descriptor i of the queue's own table; flags are taken as they are (DRV_WRITE is not added). */
drv_fn void drv_set_desc(struct drv_queue *dq, unsigned i, gpa_t gpa, uint32_t len, unsigned flags_next)
{
	const struct drv_buf b = {gpa, len, false};

	drv_set_entry(dq->vm, dq->cfg.desc, i % dq->cfg.size, &b, flags_next);
}

#define DRV_FLAGS_NEXT(flags, next) ((unsigned)(flags) | (unsigned)(next) << 16)

drv_fn void drv_set_avail(struct drv_queue *dq, uint16_t slot, uint16_t head)
{
	put_le16(drv_ptr(dq->vm, dq->cfg.avail + 4 + 2 * (gpa_t)(slot % dq->cfg.size)), head);
}

drv_fn void drv_set_avail_idx(struct drv_queue *dq, uint16_t idx)
{
	drv_store16(dq, dq->cfg.avail + 2, idx);
	dq->avail_idx = dq->published_idx = idx;
}

/* With EVENT_IDX: interrupt when the used index passes `event`. */
drv_fn void drv_set_used_event(struct drv_queue *dq, uint16_t event)
{
	drv_store16(dq, dq->cfg.avail + 4 + 2 * (gpa_t)dq->cfg.size, event);
}

/* Without EVENT_IDX: 1 asks for no interrupt. */
drv_fn void drv_set_avail_flags(struct drv_queue *dq, uint16_t flags)
{
	drv_store16(dq, dq->cfg.avail, flags);
}

drv_fn uint16_t drv_avail_event(struct drv_queue *dq)
{
	return drv_load16(dq, dq->cfg.used + 4 + 8 * (gpa_t)dq->cfg.size);
}

drv_fn uint16_t drv_used_flags(struct drv_queue *dq)
{
	return drv_load16(dq, dq->cfg.used);
}

drv_fn uint16_t drv_used_idx(struct drv_queue *dq)
{
	return drv_load16(dq, dq->cfg.used + 2);
}

drv_fn void drv_offer(struct drv_queue *dq, uint16_t head)
{
	drv_set_avail(dq, dq->avail_idx, head);
	dq->avail_idx++;
}

/*
 * Adds a chain of `n` > 0 buffers, readable ones first; drv_publish shows it to the device. Returns its head, or -1
 * when the queue has no free descriptors (an ordinary outcome).
 */
drv_fn int drv_add(struct drv_queue *dq, const struct drv_buf *bufs, unsigned n)
{
	uint16_t head;

	assert(n > 0);
	if (n > dq->n_free)
		return -1;
	head = dq->free_next[dq->n_free - 1];
	for (unsigned i = 0; i < n; i++) {
		uint16_t d = dq->free_next[--dq->n_free];
		unsigned flags = (bufs[i].write ? DRV_WRITE : 0) | (i + 1 < n ? DRV_NEXT : 0);
		uint16_t next = i + 1 < n ? dq->free_next[dq->n_free - 1] : 0;

		drv_set_desc(dq, d, bufs[i].gpa, bufs[i].len, DRV_FLAGS_NEXT(flags, next));
	}
	drv_offer(dq, head);
	return head;
}

/* The same through an indirect table, which costs one descriptor. The table is reused with its head. */
drv_fn int drv_add_indirect(struct drv_queue *dq, const struct drv_buf *bufs, unsigned n)
{
	uint16_t head;

	assert(n > 0);
	if (dq->n_free == 0)
		return -1;
	head = dq->free_next[--dq->n_free];
	if (dq->table_entries[head] < n) {
		dq->table[head] = drv_alloc(dq->vm, 16 * (uint64_t)n, 16);
		dq->table_entries[head] = n;
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned flags = (bufs[i].write ? DRV_WRITE : 0) | (i + 1 < n ? DRV_NEXT : 0);

		drv_set_entry(dq->vm, dq->table[head], i, &bufs[i], DRV_FLAGS_NEXT(flags, i + 1 < n ? i + 1 : 0));
	}
	drv_set_desc(dq, head, dq->table[head], 16 * n, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
	drv_offer(dq, head);
	return head;
}

/* Shows what was added. True if a correct driver would kick now. */
drv_fn bool drv_publish(struct drv_queue *dq)
{
	uint16_t old = dq->published_idx, now = dq->avail_idx;

	drv_store16(dq, dq->cfg.avail + 2, now);
	dq->published_idx = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (dq->event_idx)
		return (uint16_t)(now - drv_avail_event(dq) - 1) < (uint16_t)(now - old);
	return !(drv_used_flags(dq) & 1) && now != old;
}

/*
 * 1: the device returned a chain (its descriptors are free again). 0: nothing. With EVENT_IDX asks for the next
 * interrupt.
 */
drv_fn int drv_used(struct drv_queue *dq, uint16_t *ret_head, uint32_t *ret_len)
{
	uint8_t *entry;
	uint32_t head;
	uint16_t i;

	if (drv_used_idx(dq) == dq->last_used)
		return 0;
	entry = drv_ptr(dq->vm, dq->cfg.used + 4 + 8 * (gpa_t)(dq->last_used % dq->cfg.size));
	head = get_le32(entry);
	assert(head < dq->cfg.size);
	if (ret_head)
		*ret_head = head;
	if (ret_len)
		*ret_len = get_le32(entry + 4);
	dq->last_used++;
	drv_set_used_event(dq, dq->last_used);
	for (i = head;;) {
		const uint8_t *d = drv_ptr(dq->vm, dq->cfg.desc + 16 * (gpa_t)i);

		assert(dq->n_free < dq->cfg.size);
		dq->free_next[dq->n_free++] = i;
		if (!(get_le16(d + 12) & DRV_NEXT))
			return 1;
		i = get_le16(d + 14);
	}
}

/* --- a device without a real transport --- */

struct drv_transport {
	struct virtio_transport t;
	unsigned signals[VIRTIO_QUEUES_MAX];
	unsigned broken;
};

drv_fn void drv_on_signal(struct virtio_transport *t, unsigned index)
{
	container_of(t, struct drv_transport, t)->signals[index]++;
}

drv_fn void drv_on_broken(struct virtio_transport *t)
{
	container_of(t, struct drv_transport, t)->broken++;
}

/* Makes and starts all queues of `dev`, `size` entries each, and activates it. dqs has room for dev->ops->n_queues. */
drv_fn int drv_dev_start(
	struct virtio_dev *dev, struct drv_transport *t, struct drv_vm *vm, struct drv_queue *dqs, uint16_t size)
{
	uint64_t features = dev->ops->features | UINT64_C(1) << VIRTIO_BIT_VERSION_1 |
			    UINT64_C(1) << VIRTIO_BIT_EVENT_IDX | UINT64_C(1) << VIRTIO_BIT_INDIRECT_DESC;
	int r;

	*t = (struct drv_transport){.t = {drv_on_signal, drv_on_broken}};
	dev->transport = &t->t;
	dev->mem = &vm->gm;
	dev->features = features;
	for (unsigned i = 0; i < dev->ops->n_queues; i++) {
		drv_queue_init(&dqs[i], vm, size, features);
		dev->queues[i].cfg = dqs[i].cfg;
		r = queue_start(&dev->queues[i], &vm->gm, features, 0, NULL);
		if (r < 0)
			return r;
	}
	r = dev->ops->activate(dev, NULL);
	dev->active = r == 0;
	return r;
}

drv_fn void drv_dev_reset(struct virtio_dev *dev)
{
	if (dev->active)
		dev->ops->reset(dev);
	dev->active = false;
	for (unsigned i = 0; i < dev->ops->n_queues; i++)
		(void)queue_stop(&dev->queues[i]);
	dev->mem = NULL;
}
