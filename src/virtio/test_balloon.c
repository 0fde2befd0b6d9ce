/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/balloon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

enum { INFLATE, DEFLATE, STATS, HINT, REPORT };

#define RANGES_MAX 64

struct world {
	struct rig rig;
	struct balloon *b;
	unsigned n;
	uint64_t len;
	struct {
		gpa_t gpa;
		uint64_t len;
	} ranges[RANGES_MAX];
};

static void on_give_back(void *ctx, void *hva, uint64_t len)
{
	struct world *w = ctx;
	uint64_t off = (uint64_t)((uint8_t *)hva - w->rig.vm.mem);

	assert_true(off <= w->rig.vm.size && len <= w->rig.vm.size - off);
	assert_true(off % 4096 == 0 && len % 4096 == 0 && len > 0);
	w->len += len;
	w->ranges[w->n % RANGES_MAX].gpa = DRV_GPA + off;
	w->ranges[w->n++ % RANGES_MAX].len = len;
}

static struct world *started(bool real)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct balloon_options opts = {real ? NULL : on_give_back, w};

	assert_non_null(w);
	rig_open(&w->rig);
	assert_int_equal(balloon_new(&w->b, w->rig.loop, &opts, NULL), 0);
	rig_start(&w->rig, balloon_dev(w->b));
	return w;
}

static void end(struct world *w)
{
	rig_stop(&w->rig);
	balloon_free(w->b);
	rig_close(&w->rig);
	free(w);
}

static int64_t send_pfns(struct world *w, unsigned queue, const uint32_t *pfns, unsigned n)
{
	return rig_request(&w->rig, queue, pfns, 4 * n, NULL, 0);
}

#define PFN(i) ((uint32_t)(DRV_GPA / 4096 + (i)))

static void pages_are_given_back_in_runs(void **state)
{
	struct world *w = started(false);
	const uint32_t pfns[] = {PFN(300), PFN(301), PFN(302), PFN(310), PFN(309), PFN(308), PFN(400)};

	assert_int_equal(send_pfns(w, INFLATE, pfns, ARRAY_SIZE(pfns)), 0);
	assert_int_equal(w->n, 3);
	assert_int_equal(w->ranges[0].gpa, (gpa_t)PFN(300) * 4096);
	assert_int_equal(w->ranges[0].len, 3 * 4096);
	assert_int_equal(w->ranges[1].gpa, (gpa_t)PFN(308) * 4096);
	assert_int_equal(w->ranges[1].len, 3 * 4096);
	assert_int_equal(w->ranges[2].len, 4096);
	assert_int_equal(balloon_get_counters(w->b)->inflated, 7 * 4096);
	assert_int_equal(send_pfns(w, DEFLATE, pfns, 2), 0);
	assert_int_equal(balloon_get_counters(w->b)->deflated, 2 * 4096);
	assert_int_equal(w->n, 3);
	end(w);
}

static void pages_outside_are_skipped(void **state)
{
	struct world *w = started(false);
	const uint32_t pfns[] = {0, UINT32_MAX, PFN(RIG_MEM / 4096), PFN(-1), PFN(RIG_MEM / 4096 - 1)};

	assert_int_equal(send_pfns(w, INFLATE, pfns, ARRAY_SIZE(pfns)), 0);
	assert_int_equal(w->n, 1);
	assert_int_equal(balloon_get_counters(w->b)->bad, 4);
	end(w);
}

static void hostile_requests(void **state)
{
	static const struct {
		unsigned queue;
		uint32_t out, in;
		int64_t result;
	} rows[] = {
		{INFLATE, 3, 0, -EPROTO},
		{INFLATE, 4 * BALLOON_PFNS_MAX + 4, 0, -EPROTO},
		{INFLATE, 1 << 20, 0, -EPROTO},
		{INFLATE, 4 * BALLOON_PFNS_MAX, 0, 0},
		{INFLATE, 0, 64, 0},
		{DEFLATE, 1 << 20, 0, 0},
		{DEFLATE, 3, 5, 0},
		{HINT, 8, 8, 0},
		{REPORT, 4096, 0, 0},
		{REPORT, 0, 100, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world *w = started(false);
		int64_t r = rig_request(&w->rig, rows[i].queue, NULL, rows[i].out, NULL, rows[i].in);

		if (r != rows[i].result)
			fail_msg("row %zu: %lld", i, (long long)r);
		assert_int_equal(w->len, 0);
		end(w);
	}
}

static void reported_pages_are_given_back(void **state)
{
	struct world *w = started(true);
	const struct drv_buf bufs[] = {{DRV_GPA + 0x200000, 0x100000, true}, {DRV_GPA + 0x180800, 0x2000, true}};
	uint8_t *page = drv_ptr(&w->rig.vm, DRV_GPA + 0x280000), *edge = drv_ptr(&w->rig.vm, DRV_GPA + 0x180800);

	*page = *edge = 7;

	assert_true(drv_add(&w->rig.q[REPORT], bufs, 2) >= 0);
	assert_int_equal(rig_kick(&w->rig, REPORT), 0);
	assert_true(rig_wait(&w->rig, REPORT, NULL, NULL));
	assert_int_equal(balloon_get_counters(w->b)->reported, 0x100000 + 0x1000);
	assert_int_equal(*edge, 7); /* a page that was reported in part only */
	end(w);
}

static void statistics(void **state)
{
	struct world *w = started(false);
	struct rig *r = &w->rig;
	uint8_t bytes[4 * 10];
	gpa_t at;
	struct drv_buf buf;

	assert_false(balloon_poll_stats(w->b));
	put_le16(bytes, 4);
	put_le64(bytes + 2, 123456789);
	put_le16(bytes + 10, 999); /* not a tag that we know */
	put_le64(bytes + 12, 1);
	put_le16(bytes + 20, 15);
	put_le64(bytes + 22, UINT64_MAX);
	put_le16(bytes + 30, 5);
	at = drv_alloc(&r->vm, sizeof(bytes), 8);
	memcpy(drv_ptr(&r->vm, at), bytes, sizeof(bytes));
	buf = (struct drv_buf){at, 35, false}; /* the last one is cut */
	assert_true(drv_add(&r->q[STATS], &buf, 1) >= 0);
	assert_int_equal(rig_kick(r, STATS), 0);
	assert_int_equal(balloon_get_stats(w->b)->valid, 1 << 4 | 1 << 15);
	assert_int_equal(balloon_get_stats(w->b)->values[4], 123456789);
	assert_true(balloon_get_stats(w->b)->at_ns > 0);
	assert_int_equal(drv_used(&r->q[STATS], NULL, NULL), 0); /* it stays with us */
	assert_true(balloon_poll_stats(w->b));
	assert_int_equal(drv_used(&r->q[STATS], NULL, NULL), 1);
	assert_false(balloon_poll_stats(w->b));
	assert_true(drv_add(&r->q[STATS], &buf, 1) >= 0);
	assert_int_equal(rig_kick(r, STATS), 0);
	assert_true(drv_add(&r->q[STATS], &buf, 1) >= 0); /* a second one while the first is held */
	(void)drv_publish(&r->q[STATS]);
	assert_int_equal(r->dev->ops->notify(r->dev, STATS), -EPROTO);
	end(w);
}

static void target_and_actual(void **state)
{
	struct world *w = started(false);
	const struct virtio_ops *ops = w->rig.dev->ops;
	uint8_t v[16];

	balloon_set_target(w->b, 0x12345);
	ops->config_read(w->rig.dev, 0, v, 16);
	assert_int_equal(get_le32(v), 0x12345);
	put_le32(v, 77);
	ops->config_write(w->rig.dev, 4, v, 4);
	assert_int_equal(balloon_actual(w->b), 77);
	ops->config_write(w->rig.dev, 0, v, 4); /* not the driver's to write */
	ops->config_write(w->rig.dev, 5, v, 1);
	ops->config_read(w->rig.dev, 0, v, 16);
	assert_int_equal(get_le32(v), 0x12345);
	rig_stop(&w->rig);
	assert_int_equal(balloon_actual(w->b), 0);
	assert_false(balloon_poll_stats(w->b));
	rig_start(&w->rig, balloon_dev(w->b));
	end(w);
}

/* What the last driver lent is the next one's to lend again. */
static void a_reset_forgets_the_buffer_for_statistics(void **state)
{
	struct world *w = started(false);

	for (int i = 0; i < 2; i++) { /* no balloon_poll_stats in between: it would forget, too */
		assert_true(rig_add(&w->rig, STATS, NULL, 10, 0, NULL) >= 0);
		assert_int_equal(rig_kick(&w->rig, STATS), 0);
		rig_stop(&w->rig);
		rig_start(&w->rig, balloon_dev(w->b));
	}
	assert_false(balloon_poll_stats(w->b));
	end(w);
}

/* virtio 1.2 §5.5.3: a driver does not do what was not offered, and tells nobody. */
static void what_is_offered(void **state)
{
	struct world *w = started(false);

	assert_int_equal(balloon_dev(w->b)->ops->features,
		1 << 1 /* statistics */ | 1 << 2 /* deflate on OOM */ | 1 << 3 /* hints */ | 1 << 5 /* reporting */);
	end(w);
}

static void a_turn_is_bounded(void **state)
{
	struct world *w = started(false);
	unsigned done = 0;

	for (int i = 0; i < 50; i++)
		assert_true(rig_add(&w->rig, DEFLATE, NULL, 4, 0, NULL) >= 0);
	assert_int_equal(rig_kick(&w->rig, DEFLATE), 0);
	while (drv_used(&w->rig.q[DEFLATE], NULL, NULL))
		done++;
	assert_int_equal(done, 32);
	rig_settle(&w->rig);
	while (drv_used(&w->rig.q[DEFLATE], NULL, NULL))
		done++;
	assert_int_equal(done, 50);
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_given_back_in_runs),
		cmocka_unit_test(pages_outside_are_skipped),
		cmocka_unit_test(hostile_requests),
		cmocka_unit_test(reported_pages_are_given_back),
		cmocka_unit_test(statistics),
		cmocka_unit_test(target_and_actual),
		cmocka_unit_test(a_reset_forgets_the_buffer_for_statistics),
		cmocka_unit_test(what_is_offered),
		cmocka_unit_test(a_turn_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
