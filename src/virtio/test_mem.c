/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

#define GPA (UINT64_C(8) << 30)
#define BLOCK UINT64_C(65536)
#define BLOCKS 16

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };

struct world {
	struct rig rig;
	struct mem *m;
	uint8_t *hva;
	uint64_t given;
};

static void on_give_back(void *ctx, void *hva, uint64_t len)
{
	struct world *w = ctx;
	uint64_t off = (uint64_t)((uint8_t *)hva - w->hva);

	assert_true(off <= BLOCKS * BLOCK && len <= BLOCKS * BLOCK - off);
	w->given += len;
}

static void start(struct world *w)
{
	static uint8_t region[BLOCKS * BLOCK];
	const struct mem_options opts = {.gpa = GPA,
		.hva = region,
		.size = sizeof(region),
		.block_size = BLOCK,
		.give_back = on_give_back,
		.ctx = w};

	*w = (struct world){.hva = region};
	rig_open(&w->rig);
	assert_int_equal(mem_new(&w->m, w->rig.loop, &opts, NULL), 0);
	rig_start(&w->rig, mem_dev(w->m));
}

static void end(struct world *w)
{
	rig_stop(&w->rig);
	mem_free(w->m);
	rig_close(&w->rig);
}

/* The type of the answer, and with STATE the state times 16. */
static int ask(struct world *w, uint16_t type, uint64_t addr, uint16_t n)
{
	uint8_t req[24] = {0}, resp[10];

	put_le16(req, type);
	put_le64(req + 8, addr);
	put_le16(req + 16, n);
	assert_int_equal(rig_request(&w->rig, 0, req, sizeof(req), resp, sizeof(resp)), sizeof(resp));
	return get_le16(resp) | get_le16(resp + 8) << 4;
}

static void blocks_come_and_go(void **state)
{
	static struct world w;

	start(&w);
	assert_int_equal(ask(&w, PLUG, GPA, 1), NACK); /* nothing was asked for */
	assert_int_equal(mem_set_requested(w.m, 4 * BLOCK, NULL), 0);
	assert_int_equal(ask(&w, PLUG, GPA, 2), ACK);
	assert_int_equal(ask(&w, PLUG, GPA + 3 * BLOCK, 1), ACK);
	assert_int_equal(mem_plugged(w.m), 3 * BLOCK);
	assert_int_equal(ask(&w, PLUG, GPA + 4 * BLOCK, 2), NACK); /* more than asked for */
	assert_int_equal(ask(&w, STATE, GPA, 2), ACK);
	assert_int_equal(ask(&w, STATE, GPA, 3), ACK | 2 << 4);
	assert_int_equal(ask(&w, STATE, GPA + 4 * BLOCK, 5), ACK | 1 << 4);
	assert_int_equal(ask(&w, UNPLUG, GPA, 2), ACK);
	assert_int_equal(w.given, 2 * BLOCK);
	assert_int_equal(ask(&w, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(mem_plugged(w.m), 0);
	end(&w);
}

static void hostile_requests(void **state)
{
	static const struct {
		uint16_t type;
		uint64_t addr;
		uint16_t n;
	} rows[] = {
		{PLUG, GPA, 0},
		{PLUG, GPA + 1, 1},
		{PLUG, GPA, 1},
		{PLUG, GPA + BLOCK, BLOCKS},
		{PLUG, GPA - BLOCK, 1},
		{PLUG, 0, 1},
		{PLUG, UINT64_MAX, 1},
		{PLUG, GPA + BLOCKS * BLOCK, 1},
		{PLUG, GPA, UINT16_MAX},
		{UNPLUG, GPA + BLOCK, 1},
		{UNPLUG, GPA, 2},
		{UNPLUG, GPA, 0},
		{STATE, GPA + BLOCKS * BLOCK, 1},
		{STATE, GPA, BLOCKS + 1},
		{4, GPA, 1},
		{UINT16_MAX, GPA, 1},
	};
	static struct world w;

	start(&w);
	assert_int_equal(mem_set_requested(w.m, BLOCKS * BLOCK, NULL), 0);
	assert_int_equal(ask(&w, PLUG, GPA, 1), ACK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (ask(&w, rows[i].type, rows[i].addr, rows[i].n) != ERROR)
			fail_msg("row %zu", i);
	assert_int_equal(mem_plugged(w.m), BLOCK);
	assert_int_equal(w.given, 0);
	assert_int_equal(rig_request(&w.rig, 0, NULL, 23, NULL, 10), -EPROTO);
	end(&w);
	start(&w);
	assert_int_equal(rig_request(&w.rig, 0, NULL, 24, NULL, 9), -EPROTO);
	end(&w);
}

static void configuration(void **state)
{
	static struct world w;
	struct err err;
	uint8_t v[56];

	start(&w);
	assert_int_equal(mem_set_requested(w.m, BLOCK + 1, &err), -EINVAL);
	assert_int_equal(mem_set_requested(w.m, (BLOCKS + 1) * BLOCK, &err), -EINVAL);
	assert_int_equal(mem_set_requested(w.m, 2 * BLOCK, &err), 0);
	assert_int_equal(ask(&w, PLUG, GPA, 1), ACK);
	rig_stop(&w.rig); /* what is plugged stays */
	rig_start(&w.rig, mem_dev(w.m));
	w.rig.dev->ops->config_read(w.rig.dev, 0, v, sizeof(v));
	assert_true(get_le64(v) == BLOCK && get_le64(v + 16) == GPA && get_le64(v + 24) == BLOCKS * BLOCK);
	assert_true(get_le64(v + 32) == BLOCKS * BLOCK && get_le64(v + 40) == BLOCK && get_le64(v + 48) == 2 * BLOCK);
	end(&w);
}

static void bad_regions(void **state)
{
	static uint8_t hva[BLOCK];
	const struct mem_options rows[] = {
		{.gpa = GPA, .hva = hva, .size = BLOCK, .block_size = 0},
		{.gpa = GPA, .hva = hva, .size = BLOCK, .block_size = 2048},
		{.gpa = GPA, .hva = hva, .size = BLOCK, .block_size = 12288},
		{.gpa = GPA + 4096, .hva = hva, .size = BLOCK, .block_size = BLOCK},
		{.gpa = GPA, .hva = hva, .size = 0, .block_size = BLOCK},
		{.gpa = GPA, .hva = hva, .size = BLOCK + 4096, .block_size = BLOCK},
		{.gpa = GPA, .hva = NULL, .size = BLOCK, .block_size = BLOCK},
		{.gpa = 0, .hva = hva, .size = UINT64_C(1) << 40, .block_size = 4096},
		{.gpa = UINT64_MAX - BLOCK + 1, .hva = hva, .size = 2 * BLOCK, .block_size = BLOCK},
	};
	struct mem *m = NULL;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (mem_new(&m, NULL, &rows[i], &err) != -EINVAL)
			fail_msg("row %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_come_and_go),
		cmocka_unit_test(hostile_requests),
		cmocka_unit_test(configuration),
		cmocka_unit_test(bad_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
