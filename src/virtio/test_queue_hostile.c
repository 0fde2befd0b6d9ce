/* SPDX-License-Identifier: Apache-2.0 */
/* Rings as no driver makes them, and what the device itself must not do. */
#include "virtio/test_queue_fix.h"

struct hostile {
	const char *what;
	uint64_t features;
	void (*build)(struct fix *f);
};

static void offer_all(struct fix *f, uint16_t head)
{
	drv_offer(&f->dq, head);
	(void)drv_publish(&f->dq);
}

/* Head 0 is one descriptor as given. */
static void one_desc(struct fix *f, gpa_t gpa, uint32_t len, unsigned flags_next)
{
	drv_set_desc(&f->dq, 0, gpa, len, flags_next);
	offer_all(f, 0);
}

/* Head 0 is an indirect table of `n` entries that the caller fills. */
static void one_table(struct fix *f, uint32_t n)
{
	one_desc(f, f->table, 16 * n, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}

static void entry(struct fix *f, unsigned i, unsigned flags, unsigned next)
{
	const struct drv_buf b = {f->buf, 16, false};

	drv_set_entry(&f->vm, f->table, i, &b, DRV_FLAGS_NEXT(flags, next));
}

static void h_head_size(struct fix *f)
{
	offer_all(f, SIZE);
}
static void h_head_max(struct fix *f)
{
	offer_all(f, 0xffff);
}
static void h_idx_one_too_far(struct fix *f)
{
	(void)add_one(f);
	drv_set_avail_idx(&f->dq, SIZE + 1);
}
static void h_idx_backwards(struct fix *f)
{
	drv_set_avail_idx(&f->dq, 0xffff);
}
static void h_self_loop(struct fix *f)
{
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, 0));
}
static void h_loop_of_two(struct fix *f)
{
	drv_set_desc(&f->dq, 1, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, 0));
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, 1));
}
static void h_next_outside(struct fix *f)
{
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, SIZE));
}
static void h_next_max(struct fix *f)
{
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, 0xffff));
}
static void h_empty_buffer(struct fix *f)
{
	one_desc(f, f->buf, 0, 0);
}
static void h_empty_second(struct fix *f)
{
	drv_set_desc(&f->dq, 1, f->buf, 0, DRV_FLAGS_NEXT(DRV_WRITE, 0));
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT, 1));
}
static void h_over_the_end(struct fix *f)
{
	one_desc(f, DRV_GPA + MEM_SIZE - 15, 16, 0);
}
static void h_below(struct fix *f)
{
	one_desc(f, DRV_GPA - 1, 2, 0);
}
static void h_length_max(struct fix *f)
{
	one_desc(f, f->buf, UINT32_MAX, 0);
}
static void h_address_wraps(struct fix *f)
{
	one_desc(f, UINT64_MAX - 7, 16, 0);
}
static void h_address_wraps_into_memory(struct fix *f)
{
	one_desc(f, UINT64_MAX, UINT32_MAX, 0);
}
static void h_address_0(struct fix *f)
{
	one_desc(f, 0, 1, 0);
}
static void h_out_after_in(struct fix *f)
{
	drv_set_desc(&f->dq, 1, f->buf, 1, 0);
	one_desc(f, f->buf, 1, DRV_FLAGS_NEXT(DRV_NEXT | DRV_WRITE, 1));
}
static void h_indirect_not_negotiated(struct fix *f)
{
	entry(f, 0, 0, 0);
	one_table(f, 1);
}
static void h_indirect_empty(struct fix *f)
{
	one_table(f, 0);
}
static void h_indirect_ragged(struct fix *f)
{
	entry(f, 0, 0, 0);
	one_desc(f, f->table, 17, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}
static void h_indirect_short(struct fix *f)
{
	entry(f, 0, 0, 0);
	one_desc(f, f->table, 15, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}
static void h_indirect_length_max(struct fix *f)
{
	one_desc(f, f->table, UINT32_MAX & ~15u, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}
static void h_indirect_outside(struct fix *f)
{
	one_desc(f, DRV_GPA + MEM_SIZE, 16, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}
static void h_indirect_over_the_end(struct fix *f)
{
	one_desc(f, DRV_GPA + MEM_SIZE - 16, 32, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
}
static void h_indirect_with_next(struct fix *f)
{
	entry(f, 0, 0, 0);
	drv_set_desc(&f->dq, 1, f->buf, 1, 0);
	one_desc(f, f->table, 16, DRV_FLAGS_NEXT(DRV_INDIRECT | DRV_NEXT, 1));
}
static void h_indirect_nested(struct fix *f)
{
	const struct drv_buf b = {f->table + 64, 16, false};

	drv_set_entry(&f->vm, f->table, 0, &b, DRV_INDIRECT);
	entry(f, 4, 0, 0);
	one_table(f, 1);
}
/* The table of the table is the queue's own: no second level by that way either. */
static void h_indirect_is_the_ring(struct fix *f)
{
	drv_set_desc(&f->dq, 0, f->dq.cfg.desc, 16 * SIZE, DRV_FLAGS_NEXT(DRV_INDIRECT, 0));
	offer_all(f, 0);
}
static void h_indirect_next_outside(struct fix *f)
{
	entry(f, 0, DRV_NEXT, 2);
	entry(f, 1, 0, 0);
	entry(f, 2, 0, 0);
	one_table(f, 2);
}
static void h_indirect_loop(struct fix *f)
{
	entry(f, 0, DRV_NEXT, 1);
	entry(f, 1, DRV_NEXT, 0);
	one_table(f, 2);
}
static void h_indirect_too_long(struct fix *f)
{
	for (unsigned i = 0; i <= CHAIN_IOV_MAX; i++)
		entry(f, i, i < CHAIN_IOV_MAX ? DRV_NEXT : 0, i + 1);
	one_table(f, CHAIN_IOV_MAX + 1);
}
/* The whole memory 1026 times: more than 2^32 bytes. */
static void h_too_many_bytes(struct fix *f)
{
	const struct drv_buf all = {DRV_GPA, MEM_SIZE, true};

	for (unsigned i = 0; i < CHAIN_IOV_MAX; i++)
		drv_set_entry(&f->vm, f->table, i, &all,
			DRV_FLAGS_NEXT(DRV_WRITE | (i + 1 < CHAIN_IOV_MAX ? DRV_NEXT : 0), i + 1));
	one_table(f, CHAIN_IOV_MAX);
}

static const struct hostile hostile[] = {
	{"head = size", 0, h_head_size},
	{"head = 0xffff", 0, h_head_max},
	{"index ahead by size + 1", 0, h_idx_one_too_far},
	{"index backwards", 0, h_idx_backwards},
	{"descriptor names itself", 0, h_self_loop},
	{"loop of two", 0, h_loop_of_two},
	{"next = size", 0, h_next_outside},
	{"next = 0xffff", 0, h_next_max},
	{"empty buffer", 0, h_empty_buffer},
	{"empty second buffer", 0, h_empty_second},
	{"buffer over the end of memory", 0, h_over_the_end},
	{"buffer from below memory", 0, h_below},
	{"length 2^32 - 1", 0, h_length_max},
	{"address wraps", 0, h_address_wraps},
	{"address wraps into memory", 0, h_address_wraps_into_memory},
	{"address 0", 0, h_address_0},
	{"readable behind writable", 0, h_out_after_in},
	{"indirect, not negotiated", 0, h_indirect_not_negotiated},
	{"indirect, empty", F_INDIRECT, h_indirect_empty},
	{"indirect, ragged", F_INDIRECT, h_indirect_ragged},
	{"indirect, 15 bytes", F_INDIRECT, h_indirect_short},
	{"indirect, length 2^32 - 16", F_INDIRECT, h_indirect_length_max},
	{"indirect, outside", F_INDIRECT, h_indirect_outside},
	{"indirect, over the end", F_INDIRECT, h_indirect_over_the_end},
	{"indirect with next", F_INDIRECT, h_indirect_with_next},
	{"indirect, nested", F_INDIRECT, h_indirect_nested},
	{"indirect, the ring itself", F_INDIRECT, h_indirect_is_the_ring},
	{"indirect, next outside", F_INDIRECT, h_indirect_next_outside},
	{"indirect, loop", F_INDIRECT, h_indirect_loop},
	{"indirect, too long", F_INDIRECT, h_indirect_too_long},
	{"more than 2^32 bytes", F_INDIRECT, h_too_many_bytes},
};

static void hostile_rings_break_the_queue(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct fix *f = make(SIZE, hostile[i].features);

		hostile[i].build(f);
		if (queue_pop(&f->q, &f->c) != -EPROTO)
			fail_msg("%s: not refused", hostile[i].what);
		/* For ever, even when the driver repents, and nothing is touched any more. */
		drv_set_avail_idx(&f->dq, 0);
		assert_int_equal(queue_pop(&f->q, &f->c), -EPROTO);
		assert_int_equal(queue_push(&f->q, 0, 0), -EPROTO);
		assert_false(queue_has_avail(&f->q));
		assert_int_equal(drv_used_idx(&f->dq), 0);
		assert_int_equal(queue_stop(&f->q), 0);
		assert_int_equal(queue_start(&f->q, &f->vm.gm, 0, 0, NULL), 0);
		assert_int_equal(queue_pop(&f->q, &f->c), 0);
		drop(f);
	}
}

static void a_head_in_flight_is_refused_again(void **state)
{
	struct fix *f = make(SIZE, 0);
	uint16_t head = pop_one(f);

	offer_all(f, head);
	assert_int_equal(queue_pop(&f->q, &f->c), -EPROTO);
	drop(f);
	/* After its return it may come again. */
	f = make(SIZE, 0);
	head = pop_one(f);
	assert_int_equal(queue_push(&f->q, head, 0), 0);
	offer_all(f, head);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	drop(f);
}

static void pushes_of_nonsense_are_refused(void **state)
{
	struct fix *f = make(SIZE, 0);
	uint16_t head = pop_one(f);

	assert_int_equal(queue_push(&f->q, (head + 1) % SIZE, 0), -EPROTO);
	assert_int_equal(queue_push(&f->q, SIZE, 0), -EPROTO);
	assert_int_equal(queue_push(&f->q, 0xffff, 0), -EPROTO);
	assert_int_equal(drv_used_idx(&f->dq), 0);
	assert_int_equal(queue_push(&f->q, head, 0), 0);
	assert_int_equal(queue_push(&f->q, head, 0), -EPROTO);
	assert_int_equal(drv_used_idx(&f->dq), 1);
	drop(f);
}

/* Whatever the driver writes there, our index goes its own way: the used ring is never read back. */
static void the_used_ring_is_write_only(void **state)
{
	struct fix *f = make(SIZE, F_EVENT_IDX);

	for (unsigned i = 1; i <= 20; i++) {
		memset(drv_ptr(&f->vm, f->dq.cfg.used), 0xa5, 6 + 8 * SIZE);
		assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
		assert_int_equal(drv_used_idx(&f->dq), i);
		f->dq.n_free = SIZE; /* the driver's stack: it did not collect */
	}
	drop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_rings_break_the_queue),
		cmocka_unit_test(a_head_in_flight_is_refused_again),
		cmocka_unit_test(pushes_of_nonsense_are_refused),
		cmocka_unit_test(the_used_ring_is_write_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
