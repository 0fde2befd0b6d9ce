/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

#define GPA (UINT64_C(16) << 30)

static int image(size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	if (size > 5000)
		assert_int_equal(pwrite(fd, "hello", 5, 5000), 5);
	return fd;
}

static void the_file_is_mapped(void **state)
{
	auto_close int fd = image(3u << 20 | 123);
	struct loop *loop = NULL;
	struct pmem *p = NULL;
	const struct guest_region *r;
	uint8_t v[16];

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(pmem_new(&p, loop, fd, GPA, NULL), 0);
	r = pmem_region(p);
	assert_true(r->gpa == GPA && r->size == 4u << 20 && r->readonly);
	assert_true((uintptr_t)r->hva % PMEM_ALIGN == 0);
	assert_memory_equal(r->hva + 5000, "hello", 5);
	assert_int_equal(r->hva[r->size - 1], 0);
	pmem_dev(p)->ops->config_read(pmem_dev(p), 0, v, 16);
	assert_true(get_le64(v) == GPA && get_le64(v + 8) == 4u << 20);
	pmem_free(p);
	loop_free(loop);
}

static void what_is_refused(void **state)
{
	auto_close int empty = image(0), good = image(8192), dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct loop *loop = NULL;
	struct pmem *p = NULL;
	struct err err;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(pmem_new(&p, loop, empty, GPA, &err), -EINVAL);
	assert_int_equal(pmem_new(&p, loop, dir, GPA, &err), -EINVAL);
	assert_int_equal(pmem_new(&p, loop, good, GPA + 4096, &err), -EINVAL);
	assert_int_equal(pmem_new(&p, loop, -1, GPA, &err), -EBADF);
	assert_null(p);
	loop_free(loop);
}

static void requests(void **state)
{
	static const struct {
		uint32_t type, out, in;
		int64_t result;
		uint32_t answer;
	} rows[] = {
		{0, 4, 4, 4, 0},
		{1, 4, 4, 4, 1},
		{UINT32_MAX, 64, 64, 4, 1},
		{0, 3, 4, -EPROTO, 0},
		{0, 4, 3, -EPROTO, 0},
		{0, 4, 0, -EPROTO, 0},
		{0, 0, 4, -EPROTO, 0},
	};
	auto_close int fd = image(8192);
	static struct rig r;
	struct pmem *p = NULL;

	rig_open(&r);
	assert_int_equal(pmem_new(&p, r.loop, fd, GPA, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t out[64] = {0}, in[64];

		rig_start(&r, pmem_dev(p));
		put_le32(out, rows[i].type);
		if (rig_request(&r, 0, out, rows[i].out, in, rows[i].in) != rows[i].result)
			fail_msg("row %zu", i);
		if (rows[i].result > 0)
			assert_int_equal(get_le32(in), rows[i].answer);
		rig_stop(&r);
	}
	pmem_free(p);
	rig_close(&r);
}

/* What is mapped for reading is read by other devices' requests, and a request to write it breaks their queue. */
static void other_devices_may_read_it(void **state)
{
	auto_close int fd = image(8192);
	static struct drv_queue dq;
	static struct chain c;
	static struct queue q;
	struct drv_vm vm;
	struct loop *loop = NULL;
	struct pmem *p = NULL;
	struct drv_buf buf = {GPA + 5000, 5, false};

	drv_vm_init(&vm, 1 << 20);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(pmem_new(&p, loop, fd, GPA, NULL), 0);
	assert_int_equal(guest_mem_add_ro(&vm.gm, GPA, pmem_region(p)->size, pmem_region(p)->hva, NULL), 0);
	assert_null(guest_mem_at(&vm.gm, GPA, 1));
	drv_queue_init(&dq, &vm, 8, 0);
	q.cfg = dq.cfg;
	assert_int_equal(queue_start(&q, &vm.gm, 0, 0, NULL), 0);
	assert_true(drv_add(&dq, &buf, 1) >= 0);
	(void)drv_publish(&dq);
	assert_int_equal(queue_pop(&q, &c), 1);
	assert_memory_equal(c.iov[0].iov_base, "hello", 5);
	buf.write = true;
	assert_true(drv_add(&dq, &buf, 1) >= 0);
	(void)drv_publish(&dq);
	assert_int_equal(queue_pop(&q, &c), -EPROTO);
	(void)queue_stop(&q);
	q.cfg.used = GPA + 4096;
	assert_int_equal(queue_start(&q, &vm.gm, 0, 0, NULL), -EINVAL);
	pmem_free(p);
	loop_free(loop);
	drv_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_is_mapped),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(requests),
		cmocka_unit_test(other_devices_may_read_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
