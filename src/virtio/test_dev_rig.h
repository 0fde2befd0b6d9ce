/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A correct driver for any device, for unit tests: it makes requests of flat bytes, kicks only when it must, and waits for
 * answers on the device's loop.
 *
 *   rig_open -> x_new on rig->loop -> rig_start -> rig_request ... -> rig_stop -> x_free -> rig_close
 */
#include "base/fd.h"
#include "virtio/test_driver.h"

#define RIG_MEM (4u << 20)
#define RIG_QUEUE 64
#define RIG_WAIT_NS (60 * NS_PER_S)

struct rig {
	struct drv_vm vm;
	struct loop *loop;
	struct virtio_dev *dev;
	struct drv_transport t;
	struct drv_queue q[VIRTIO_QUEUES_MAX];
	uint64_t used; /* guest memory in use when the driver started */
	unsigned config_changes;
};

drv_fn void rig_open(struct rig *r)
{
	int rc;

	*r = (struct rig){0};
	drv_vm_init(&r->vm, RIG_MEM);
	rc = loop_new(&r->loop, NULL);
	assert(rc == 0);
	(void)rc;
}

drv_fn void rig_close(struct rig *r)
{
	loop_free(r->loop);
	drv_vm_fini(&r->vm);
}

/* Starts `dev` with what it offers but for the bits of `without`. Returns what activate says. */
drv_fn int rig_start_without(struct rig *r, struct virtio_dev *dev, uint64_t without)
{
	uint64_t features = (dev->ops->features & ~without) | UINT64_C(1) << VIRTIO_BIT_VERSION_1 |
			    UINT64_C(1) << VIRTIO_BIT_EVENT_IDX | UINT64_C(1) << VIRTIO_BIT_INDIRECT_DESC;
	int rc;

	r->dev = dev;
	r->t = (struct drv_transport){.t = {drv_on_signal, drv_on_broken}};
	dev->transport = &r->t.t;
	dev->mem = &r->vm.gm;
	dev->features = features;
	for (unsigned i = 0; i < dev->ops->n_queues; i++) {
		drv_queue_init(&r->q[i], &r->vm, RIG_QUEUE, features);
		dev->queues[i].cfg = r->q[i].cfg;
		rc = queue_start(&dev->queues[i], &r->vm.gm, features, 0, NULL);
		assert(rc == 0);
	}
	r->used = r->vm.used;
	dev->active = true;
	rc = dev->ops->activate(dev, NULL);
	for (unsigned i = 0; rc == 0 && i < dev->ops->n_queues; i++)
		rc = dev->ops->notify(dev, i);
	return rc;
}

drv_fn void rig_start(struct rig *r, struct virtio_dev *dev)
{
	int rc = rig_start_without(r, dev, 0);

	assert(rc == 0);
	(void)rc;
}

drv_fn void rig_stop(struct rig *r)
{
	drv_dev_reset(r->dev);
	r->vm.used = 0;
}

/* Shows what was added; what notify says, or 0 when no kick is due. */
drv_fn int rig_kick(struct rig *r, unsigned queue)
{
	return drv_publish(&r->q[queue]) ? r->dev->ops->notify(r->dev, queue) : 0;
}

/* Adds a chain: `out_len` readable bytes (a copy of `out`, or zeros) and `in_len` writable ones. Returns the head. */
drv_fn int rig_add(struct rig *r, unsigned queue, const void *out, uint32_t out_len, uint32_t in_len, gpa_t *ret_in)
{
	struct drv_buf bufs[2];
	unsigned n = 0;

	if (out_len) {
		bufs[n++] = (struct drv_buf){drv_alloc(&r->vm, out_len, 8), out_len, false};
		if (out)
			memcpy(drv_ptr(&r->vm, bufs[0].gpa), out, out_len);
	}
	if (in_len) {
		bufs[n++] = (struct drv_buf){drv_alloc(&r->vm, in_len, 8), in_len, true};
		memset(drv_ptr(&r->vm, bufs[n - 1].gpa), 0xcc, in_len);
		if (ret_in)
			*ret_in = bufs[n - 1].gpa;
	}
	return drv_add(&r->q[queue], bufs, n);
}

/* Turns the loop until the queue returns a chain. False after RIG_WAIT_NS. */
drv_fn bool rig_wait(struct rig *r, unsigned queue, uint16_t *ret_head, uint32_t *ret_len)
{
	uint64_t end = time_mono_ns() + RIG_WAIT_NS;

	while (!drv_used(&r->q[queue], ret_head, ret_len)) {
		if (time_mono_ns() > end || loop_turn(r->loop, 10) < 0)
			return false;
	}
	return true;
}

/*
 * One request, answered: the bytes written, of which `in` gets a copy. -1: no answer came, -EPROTO from notify.
 */
drv_fn int64_t rig_request(struct rig *r, unsigned queue, const void *out, uint32_t out_len, void *in, uint32_t in_len)
{
	uint64_t used = r->vm.used;
	gpa_t at = 0;
	uint32_t len;
	int rc;

	rc = rig_add(r, queue, out, out_len, in_len, &at);
	assert(rc >= 0);
	rc = rig_kick(r, queue);
	if (rc < 0)
		return rc;
	if (!rig_wait(r, queue, NULL, &len))
		return -1;
	if (in && at)
		memcpy(in, drv_ptr(&r->vm, at), in_len);
	r->vm.used = used;
	return len;
}

/* Turns the loop until nothing more is due. */
drv_fn void rig_settle(struct rig *r)
{
	for (int i = 0; i < 16; i++)
		(void)loop_turn(r->loop, 0);
}
