/* SPDX-License-Identifier: Apache-2.0 */
/* What a correct driver sees. Hostile ones: test_queue_hostile.c. */
#include "virtio/test_queue_fix.h"

/* --- what a correct driver sees --- */

static void pops_parts_in_order(void **state)
{
	struct fix *f = make(SIZE, 0);
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
	assert_int_equal(queue_in_flight(&f->q), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_int_equal(queue_push(&f->q, h, 4098), 0);
	assert_int_equal(queue_in_flight(&f->q), 0);
	assert_int_equal(drv_used(&f->dq, &head, &len), 1);
	assert_int_equal(head, h);
	assert_int_equal(len, 4098);
	assert_int_equal(drv_used(&f->dq, &head, &len), 0);
	drop(f);
}

static void takes_indirect_tables(void **state)
{
	struct fix *f = make(SIZE, F_INDIRECT);
	struct drv_buf bufs[CHAIN_IOV_MAX];

	for (unsigned i = 0; i < CHAIN_IOV_MAX; i++)
		bufs[i] = (struct drv_buf){f->buf + i, 1 + i, i >= 26};
	/* Longer than the queue: Linux does that, and so the largest request of FUSE fits any queue. */
	assert_true(drv_add_indirect(&f->dq, bufs, CHAIN_IOV_MAX) >= 0);
	assert_true(drv_add_indirect(&f->dq, bufs, 1) >= 0);
	(void)drv_publish(&f->dq);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.n_out, 26);
	assert_int_equal(f->c.n_in, 1000);
	assert_int_equal(f->c.out_len + f->c.in_len, CHAIN_IOV_MAX * (CHAIN_IOV_MAX + 1) / 2);
	assert_ptr_equal(f->c.iov[1025].iov_base, drv_ptr(&f->vm, f->buf + 1025));
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.n_out, 1);
	assert_int_equal(f->c.n_in, 0);
	drop(f);
}

static void takes_an_indirect_table_after_direct_buffers(void **state)
{
	struct fix *f = make(SIZE, F_INDIRECT);
	const struct drv_buf last = {f->buf + 50, 9, false};

	/* virtio 1.2 §2.7.5.3.2; DRV_WRITE on the table is to be ignored */
	drv_set_desc(&f->dq, 3, f->buf, 5, DRV_FLAGS_NEXT(DRV_NEXT, 6));
	drv_set_desc(&f->dq, 6, f->table, 16, DRV_FLAGS_NEXT(DRV_INDIRECT | DRV_WRITE, 2));
	drv_set_entry(&f->vm, f->table, 0, &last, DRV_FLAGS_NEXT(0, 77));
	drv_offer(&f->dq, 3);
	(void)drv_publish(&f->dq);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.n_out, 2);
	assert_int_equal(f->c.out_len, 14);
	assert_int_equal(f->c.n_in, 0);
	drop(f);
}

static void goes_round_many_times(void **state)
{
	static const uint16_t sizes[] = {1, 2, SIZE, QUEUE_SIZE_MAX};

	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct fix *f = make(sizes[s], F_EVENT_IDX);
		uint32_t added = 0, popped = 0, returned = 0;

		while (returned < 70000) {
			uint16_t head;
			uint32_t len;

			while (added < 70000 && add_one(f) >= 0)
				added++;
			(void)drv_publish(&f->dq);
			while (queue_pop(&f->q, &f->c) == 1)
				assert_int_equal(queue_push(&f->q, f->c.head, popped++), 0);
			assert_false(f->q.broken);
			while (drv_used(&f->dq, &head, &len))
				assert_int_equal(len, returned++);
			assert_int_equal(returned, added);
		}
		drop(f);
	}
}

static void returns_chains_in_any_order(void **state)
{
	struct fix *f = make(SIZE, 0);
	uint16_t heads[SIZE], got;
	uint32_t len;

	for (unsigned i = 0; i < SIZE; i++)
		heads[i] = pop_one(f);
	assert_int_equal(queue_in_flight(&f->q), SIZE);
	for (unsigned i = SIZE; i-- > 0;)
		assert_int_equal(queue_push(&f->q, heads[i], i), 0);
	for (unsigned i = SIZE; i-- > 0;) {
		assert_int_equal(drv_used(&f->dq, &got, &len), 1);
		assert_int_equal(got, heads[i]);
		assert_int_equal(len, i);
	}
	drop(f);
}

static void filled_chains_are_shown_together(void **state)
{
	struct fix *f = make(SIZE, 0);

	for (uint16_t round = 0; round < 40; round++) {
		uint16_t first = pop_one(f), second = pop_one(f), before = drv_used_idx(&f->dq), head;
		uint32_t len;

		assert_int_equal(queue_fill(&f->q, first, 11), 0);
		assert_int_equal(queue_fill(&f->q, first, 11), -EPROTO);
		assert_int_equal(queue_fill(&f->q, second, 22), 0);
		assert_int_equal(drv_used_idx(&f->dq), before);
		assert_false(queue_should_signal(&f->q));
		queue_show(&f->q);
		queue_show(&f->q);
		assert_int_equal(drv_used_idx(&f->dq), (uint16_t)(before + 2));
		assert_true(queue_should_signal(&f->q));
		assert_int_equal(drv_used(&f->dq, &head, &len), 1);
		assert_true(head == first && len == 11);
		assert_int_equal(drv_used(&f->dq, &head, &len), 1);
		assert_true(head == second && len == 22);
	}
	drop(f);
}

static void unpop_gives_the_chain_again(void **state)
{
	struct fix *f = make(SIZE, F_EVENT_IDX);
	uint16_t first = pop_one(f), second = pop_one(f);

	queue_unpop(&f->q, second);
	assert_int_equal(queue_in_flight(&f->q), 1);
	assert_true(queue_has_avail(&f->q));
	assert_int_equal(queue_push(&f->q, second, 0), -EPROTO);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.head, second);
	assert_int_equal(queue_push(&f->q, first, 0), 0);
	assert_int_equal(queue_push(&f->q, second, 0), 0);
	/* No longer in flight: nothing to take back. */
	queue_unpop(&f->q, second);
	assert_false(queue_has_avail(&f->q));
	drop(f);
}

static void stop_and_start_go_on_where_they_were(void **state)
{
	struct fix *f = make(SIZE, F_EVENT_IDX);
	uint16_t head, base;

	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(queue_push(&f->q, pop_one(f), i), 0);
	head = pop_one(f);
	base = queue_stop(&f->q);
	assert_int_equal(base, 6);
	assert_false(queue_is_started(&f->q));
	assert_int_equal(queue_in_flight(&f->q), 0);
	/* Whoever still holds the chain finds it refused, and nothing there. */
	assert_int_equal(queue_push(&f->q, head, 0), -EPROTO);
	queue_unpop(&f->q, head);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_false(queue_has_avail(&f->q));
	assert_false(queue_should_signal(&f->q));
	queue_kicks_enable(&f->q, true);
	assert_int_equal(queue_stop(&f->q), 0);
	assert_int_equal(drv_used_idx(&f->dq), 5);

	assert_int_equal(queue_start(&f->q, &f->vm.gm, F_EVENT_IDX, base, NULL), 0);
	assert_int_equal(drv_avail_event(&f->dq), 6);
	assert_false(queue_should_signal(&f->q)); /* the five were of the time before */
	assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
	assert_int_equal(drv_used_idx(&f->dq), 6);
	drop(f);
}

static void a_held_queue_looks_empty(void **state)
{
	struct fix *f = make(SIZE, 0);
	uint16_t head = pop_one(f);

	assert_true(add_one(f) >= 0);
	(void)drv_publish(&f->dq);
	queue_hold(&f->q, true);
	assert_false(queue_has_avail(&f->q));
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_int_equal(queue_push(&f->q, head, 0), 0);
	assert_true(queue_should_signal(&f->q));
	queue_hold(&f->q, false);
	assert_true(queue_has_avail(&f->q));
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	drop(f);
}

static void the_layout_is_frozen_at_start(void **state)
{
	struct fix *f = make(SIZE, 0);

	f->q.cfg = (struct queue_cfg){.size = QUEUE_SIZE_MAX, .desc = 1, .avail = 1, .used = UINT64_MAX};
	assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
	assert_int_equal(queue_remap(&f->q, &f->vm.gm, NULL), 0);
	assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
	assert_int_equal(drv_used_idx(&f->dq), 2);
	drop(f);
}

static void remap_follows_moved_memory(void **state)
{
	struct fix *f = make(SIZE, 0);
	uint8_t *copy = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint16_t head = pop_one(f);
	struct guest_mem moved = {0};
	struct err err = {0};

	assert_true(copy != MAP_FAILED);
	memcpy(copy, f->vm.mem, MEM_SIZE);
	assert_int_equal(guest_mem_add(&moved, DRV_GPA, MEM_SIZE, copy, NULL), 0);
	assert_int_equal(queue_remap(&f->q, &moved, NULL), 0);
	(void)munmap(f->vm.mem, MEM_SIZE);
	f->vm.mem = copy;
	assert_int_equal(queue_push(&f->q, head, 7), 0);
	assert_int_equal(drv_used_idx(&f->dq), 1);
	(void)pop_one(f);
	assert_ptr_equal(f->c.iov[0].iov_base, drv_ptr(&f->vm, f->buf));

	/* The rings are gone from the new map: broken, and nothing follows the old pointers. */
	moved.regions[0].gpa += 4096;
	assert_int_equal(queue_remap(&f->q, &moved, &err), -EINVAL);
	assert_int_equal(err.code, EINVAL);
	assert_int_equal(queue_pop(&f->q, &f->c), -EPROTO);
	assert_int_equal(queue_push(&f->q, f->c.head, 0), -EPROTO);
	assert_false(queue_should_signal(&f->q));
	assert_false(queue_has_avail(&f->q));
	queue_kicks_enable(&f->q, true);
	assert_int_equal(queue_stop(&f->q), 2);
	drop(f);
}

/* --- notifications --- */

static void signals_without_event_idx(void **state)
{
	struct fix *f = make(SIZE, 0);

	assert_false(queue_should_signal(&f->q));
	assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
	assert_true(queue_should_signal(&f->q));
	assert_false(queue_should_signal(&f->q));
	drv_set_avail_flags(&f->dq, 1);
	assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
	assert_false(queue_should_signal(&f->q));
	drop(f);
}

static void signals_with_event_idx(void **state)
{
	/* used_event as the driver left it, pushes since the last question, the answer; the used index runs on */
	static const struct {
		uint16_t event;
		unsigned pushes;
		bool want;
	} cases[] = {
		{0, 1, true},	    /* the first is always signalled */
		{1, 0, false},	    /* nothing pushed */
		{1, 1, true},	    /* index 1 -> 2 passes 1 */
		{5, 2, false},	    /* 2 -> 4 */
		{5, 2, true},	    /* 4 -> 6 */
		{5, 2, false},	    /* 6 -> 8: passed before */
		{8, 1, true},	    /* 8 -> 9 */
		{9, 7, true},	    /* 9 -> 16 */
		{15, 7, false},	    /* 16 -> 23 */
		{30, 7, false},	    /* 23 -> 30 */
		{30, 1, true},	    /* 30 -> 31 */
		{0xffff, 5, false}, /* 31 -> 36: far off */
	};
	struct fix *f = make(SIZE, F_EVENT_IDX);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (unsigned n = 0; n < cases[i].pushes; n++) {
			assert_int_equal(queue_push(&f->q, pop_one(f), 0), 0);
			assert_int_equal(drv_used(&f->dq, NULL, NULL), 1);
		}
		drv_set_used_event(&f->dq, cases[i].event);
		if (queue_should_signal(&f->q) != cases[i].want)
			fail_msg("case %zu: want %d", i, cases[i].want);
	}
	drop(f);
}

static void kicks_are_wanted_only_when_drained(void **state)
{
	struct fix *f = make(SIZE, F_EVENT_IDX);

	/* armed at start */
	assert_true(add_one(f) >= 0);
	assert_true(drv_publish(&f->dq));
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0); /* arms again */
	assert_true(add_one(f) >= 0);
	assert_true(drv_publish(&f->dq));

	queue_kicks_enable(&f->q, false);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	queue_kicks_enable(&f->q, true);
	assert_true(queue_has_avail(&f->q)); /* the caller's second look */
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	assert_true(add_one(f) >= 0);
	assert_true(drv_publish(&f->dq));
	/* Off when the next one would be kicked for. */
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	queue_kicks_enable(&f->q, false);
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	queue_kicks_enable(&f->q, true);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 1);
	assert_int_equal(queue_pop(&f->q, &f->c), 0);
	drop(f);
}

static void kicks_by_flag(void **state)
{
	struct fix *f = make(SIZE, 0);

	assert_int_equal(drv_used_flags(&f->dq), 0);
	queue_kicks_enable(&f->q, false);
	assert_int_equal(drv_used_flags(&f->dq), 1);
	assert_true(add_one(f) >= 0);
	assert_false(drv_publish(&f->dq));
	queue_kicks_enable(&f->q, true);
	assert_true(queue_has_avail(&f->q));
	assert_true(add_one(f) >= 0);
	assert_true(drv_publish(&f->dq));
	/* A queue that starts with kicks off in its ring switches them on. */
	queue_kicks_enable(&f->q, false);
	(void)queue_stop(&f->q);
	assert_int_equal(queue_start(&f->q, &f->vm.gm, 0, 0, NULL), 0);
	assert_int_equal(drv_used_flags(&f->dq), 0);
	drop(f);
}

/* --- hostile --- */

static void bad_layouts_do_not_start(void **state)
{
	const uint64_t top = DRV_GPA + MEM_SIZE, align = 16;
	const struct {
		const char *what;
		struct queue_cfg cfg;
	} cases[] = {
		{"size 0", {0, DRV_GPA, DRV_GPA, DRV_GPA}},
		{"size 3", {3, DRV_GPA, DRV_GPA, DRV_GPA}},
		{"size 2048", {2048, DRV_GPA, DRV_GPA, DRV_GPA}},
		{"size 0x8000", {0x8000, DRV_GPA, DRV_GPA, DRV_GPA}},
		{"desc not aligned", {8, DRV_GPA + 8, DRV_GPA, DRV_GPA}},
		{"avail not aligned", {8, DRV_GPA, DRV_GPA + 1, DRV_GPA}},
		{"used not aligned", {8, DRV_GPA, DRV_GPA, DRV_GPA + 2}},
		{"desc below", {8, DRV_GPA - align, DRV_GPA, DRV_GPA}},
		{"desc over the end", {8, top - 8 * 16 + align, DRV_GPA, DRV_GPA}},
		{"avail over the end", {8, DRV_GPA, top - 20, DRV_GPA}},
		{"used over the end", {8, DRV_GPA, DRV_GPA, top - 68}},
		{"used_event outside", {8, DRV_GPA, top - 20, DRV_GPA}},
		{"avail_event outside", {8, DRV_GPA, DRV_GPA, top - 68}},
		{"used outside", {8, DRV_GPA, DRV_GPA, top}},
		{"wraps", {8, DRV_GPA, DRV_GPA, UINT64_MAX - 3}},
		{"wraps to inside", {1024, UINT64_MAX - 15, DRV_GPA, DRV_GPA}},
	};
	struct fix *f = make(SIZE, 0);
	struct err err;

	assert_int_equal(queue_start(&f->q, &f->vm.gm, 0, 0, NULL), -EBUSY);
	(void)queue_stop(&f->q);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		err = (struct err){0};
		f->q.cfg = cases[i].cfg;
		if (queue_start(&f->q, &f->vm.gm, 0, 0, &err) != -EINVAL || err.code != EINVAL)
			fail_msg("%s: started (%s)", cases[i].what, err.msg);
		assert_int_equal(queue_pop(&f->q, &f->c), 0);
		assert_int_equal(queue_stop(&f->q), 0);
	}
	/* The last bytes of memory are fine: desc | avail | used flush with the end. */
	f->q.cfg = (struct queue_cfg){8, top - 8 * 16, top - 22, top - 72};
	assert_int_equal(queue_start(&f->q, &f->vm.gm, F_EVENT_IDX, 0, NULL), 0);
	drop(f);
}

/* Host memory that is not aligned like the guest's (a front end can do that) is refused: indices are loaded whole. */
static void misaligned_host_memory_does_not_start(void **state)
{
	struct fix *f = make(SIZE, 0);
	struct guest_mem odd = {0};

	(void)queue_stop(&f->q);
	assert_int_equal(guest_mem_add(&odd, DRV_GPA, MEM_SIZE - 1, f->vm.mem + 1, NULL), 0);
	assert_int_equal(queue_start(&f->q, &odd, 0, 0, NULL), -EINVAL);
	drop(f);
}

/* --- iovec --- */

static void iov_functions_agree_with_flat_memory(void **state)
{
	uint8_t mem[40], flat[40], got[64], back[40];
	/* mem in pieces of 7, 0, 1, 20 and 12 bytes */
	struct iovec iov[] = {{mem, 7}, {mem + 7, 0}, {mem + 7, 1}, {mem + 8, 20}, {mem + 28, 12}}, part[5];

	for (unsigned i = 0; i < 40; i++)
		flat[i] = mem[i] = (uint8_t)(i + 1);
	for (size_t off = 0; off < 45; off++) {
		for (size_t n = 0; n < 45; n++) {
			size_t want = off >= 40 ? 0 : n < 40 - off ? n : 40 - off, sum = 0;
			unsigned k;

			memset(got, 0, sizeof(got));
			assert_int_equal(iov_read(iov, 5, off, got, n), want);
			assert_memory_equal(got, flat + (off < 40 ? off : 0), want);
			assert_int_equal(got[want], 0);

			memcpy(back, mem, 40);
			memset(got, 0x80, sizeof(got));
			assert_int_equal(iov_write(iov, 5, off, got, n), want);
			for (size_t i = 0; i < 40; i++)
				assert_int_equal(mem[i], i >= off && i < off + want ? 0x80 : flat[i]);
			memcpy(mem, back, 40);

			k = iov_slice(part, 5, iov, 5, off, n);
			for (unsigned i = 0; i < k; i++) {
				assert_ptr_equal(part[i].iov_base, mem + off + sum);
				assert_true(part[i].iov_len > 0);
				sum += part[i].iov_len;
			}
			assert_int_equal(sum, want);
		}
	}
	assert_int_equal(iov_slice(part, 2, iov, 5, 3, 30), 2);
	assert_int_equal(part[1].iov_len, 1);
	assert_int_equal(iov_slice(part, 0, iov, 5, 0, 1), 0);
	assert_int_equal(iov_read(iov, 0, 0, got, 1), 0);
	assert_int_equal(iov_read(iov, 5, SIZE_MAX, got, SIZE_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pops_parts_in_order),
		cmocka_unit_test(takes_indirect_tables),
		cmocka_unit_test(takes_an_indirect_table_after_direct_buffers),
		cmocka_unit_test(goes_round_many_times),
		cmocka_unit_test(returns_chains_in_any_order),
		cmocka_unit_test(filled_chains_are_shown_together),
		cmocka_unit_test(unpop_gives_the_chain_again),
		cmocka_unit_test(stop_and_start_go_on_where_they_were),
		cmocka_unit_test(a_held_queue_looks_empty),
		cmocka_unit_test(the_layout_is_frozen_at_start),
		cmocka_unit_test(remap_follows_moved_memory),
		cmocka_unit_test(signals_without_event_idx),
		cmocka_unit_test(signals_with_event_idx),
		cmocka_unit_test(kicks_are_wanted_only_when_drained),
		cmocka_unit_test(kicks_by_flag),
		cmocka_unit_test(bad_layouts_do_not_start),
		cmocka_unit_test(misaligned_host_memory_does_not_start),
		cmocka_unit_test(iov_functions_agree_with_flat_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
