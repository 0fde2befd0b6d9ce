/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_driver.h"

#define F_EVENT_IDX (UINT64_C(1) << VIRTIO_BIT_EVENT_IDX)
#define F_INDIRECT (UINT64_C(1) << VIRTIO_BIT_INDIRECT_DESC)
#define MEM_SIZE (4u << 20)

/* A queue with both of its ends. The chain is large, so it is not on the stack. */
struct fix {
	struct drv_vm vm;
	struct drv_queue dq;
	struct queue q;
	struct chain c;
	gpa_t buf; /* 64 KiB */
};

static struct fix *make(uint16_t size, uint64_t features)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	drv_vm_init(&f->vm, MEM_SIZE);
	drv_queue_init(&f->dq, &f->vm, size, features);
	f->buf = drv_alloc(&f->vm, 65536, 4096);
	f->q.cfg = f->dq.cfg;
	assert_int_equal(queue_start(&f->q, &f->vm.gm, features, 0, NULL), 0);
	return f;
}

static void drop(struct fix *f)
{
	drv_vm_fini(&f->vm);
	free(f);
}

static void pops_parts_in_order(void **state)
{
	struct fix *f = make(8, 0);
	const struct drv_buf bufs[] = {
		{f->buf, 16, false}, {f->buf + 100, 1, false}, {f->buf + 200, 4096, true}, {f->buf + 5000, 2, true}};
	uint16_t head;
	uint32_t len;
	int h;

	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	h = drv_add(&f->dq, bufs, 4);
	assert_true(h >= 0);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_true(drv_publish(&f->dq));
	assert_true(queue_has_avail(&f->q));
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.head, h);
	assert_int_equal(f->c.n_out, 2);
	assert_int_equal(f->c.n_in, 2);
	assert_int_equal(f->c.out_len, 17);
	assert_int_equal(f->c.in_len, 4098);
	assert_ptr_equal(chain_out(&f->c)[1].iov_base, drv_ptr(&f->vm, f->buf + 100));
	assert_ptr_equal(chain_in(&f->c)[0].iov_base, drv_ptr(&f->vm, f->buf + 200));
	assert_int_equal(chain_in(&f->c)[1].iov_len, 2);
	assert_false(queue_has_avail(&f->q));
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_int_equal(queue_push(&f->q, h, 4098), 0);
	assert_int_equal(drv_used(&f->dq, &head, &len), 1);
	assert_int_equal(head, h);
	assert_int_equal(len, 4098);
	assert_int_equal(drv_used(&f->dq, &head, &len), 0);
	drop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pops_parts_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
