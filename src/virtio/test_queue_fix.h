/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A queue with a driver at its other end, for the tests of the queue. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio/queue.h"
#include "virtio/test_driver.h"

#define F_EVENT_IDX (UINT64_C(1) << VIRTIO_BIT_EVENT_IDX)
#define F_INDIRECT (UINT64_C(1) << VIRTIO_BIT_INDIRECT_DESC)
#define MEM_SIZE (4u << 20)
#define SIZE 8 /* entries of most queues here */

/* A queue with both of its ends. The chain is large, so it is not on the stack. */
struct fix {
	struct drv_vm vm;
	struct drv_queue dq;
	struct queue q;
	struct chain c;
	gpa_t buf; /* 64 KiB */
	gpa_t table;
};

static inline struct fix *make(uint16_t size, uint64_t features)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	drv_vm_init(&f->vm, MEM_SIZE);
	drv_queue_init(&f->dq, &f->vm, size, features);
	f->buf = drv_alloc(&f->vm, 65536, 4096);
	f->table = drv_alloc(&f->vm, 16 * 2048, 16);
	f->q.cfg = f->dq.cfg;
	assert_int_equal(queue_start(&f->q, &f->vm.gm, features, 0, NULL), 0);
	return f;
}

static inline void drop(struct fix *f)
{
	drv_vm_fini(&f->vm);
	free(f);
}

static inline int add_one(struct fix *f)
{
	const struct drv_buf b = {f->buf, 64, false};

	return drv_add(&f->dq, &b, 1);
}

/* Adds a chain of one buffer, publishes it and pops it. Returns the head. */
static inline uint16_t pop_one(struct fix *f)
{
	int h = add_one(f);

	assert_true(h >= 0);
	(void)drv_publish(&f->dq);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.head, h);
	return (uint16_t)h;
}
