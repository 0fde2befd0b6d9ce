/* SPDX-License-Identifier: Apache-2.0 */
/* Every register at every width and offset: only those of the table answer, and none at a width that it does not have. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio/test_pci_driver.h"

struct rig {
	struct drv_vm vm;
	struct loop *loop;
	struct toy toy;
	struct pd pd;
};

static struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	drv_vm_init(&r->vm, 1 << 18);
	assert_int_equal(loop_new(&r->loop, NULL), 0);
	toy_init(&r->toy, r->loop);
	pd_init(&r->pd, &r->vm, &r->toy.dev);
	pd_probe(&r->pd);
	return r;
}

static void rig_free(struct rig *r)
{
	pd_fini(&r->pd);
	loop_free(r->loop);
	drv_vm_fini(&r->vm);
	free(r);
}

/* Bytes of the common configuration that answer, by register. */
static const struct {
	uint8_t off, len;
} common_regs[] = {
	{0, 4},
	{4, 4},
	{8, 4},
	{12, 4},
	{16, 2},
	{18, 2},
	{20, 1},
	{21, 1},
	{22, 2},
	{24, 2},
	{26, 2},
	{28, 2},
	{30, 2},
	{32, 4},
	{36, 4},
	{40, 4},
	{44, 4},
	{48, 4},
	{52, 4},
};

static bool in_table(uint32_t off, unsigned len)
{
	for (size_t i = 0; i < ARRAY_SIZE(common_regs); i++)
		if (common_regs[i].off == off && common_regs[i].len == len)
			return true;
	return false;
}

/* What of a read of `len` bytes at `off` is answered; the rest is ones. */
static bool answers(const struct pd *pd, uint32_t off, unsigned len)
{
	if (off % len)
		return false;
	if (off < pd->common + 0x1000)
		return len == 8 ? in_table(off, 4) && in_table(off + 4, 4) : in_table(off, len);
	if (off < pd->isr + 0x1000)
		return off == pd->isr && len == 1;
	if (off < pd->config + 0x1000)
		return off + len <= pd->config + 12;
	if (off < pd->notify + 0x1000)
		return false;
	return off < pd->msix + 0x1000 && (len == 4 || len == 8);
}

static void reads_at_every_offset_and_width(void **state)
{
	struct rig *r = rig_new();

	for (unsigned len = 1; len <= 8; len *= 2)
		for (uint32_t off = 0; off < VIRTIO_PCI_BAR_SIZE; off++) {
			uint8_t v[8];
			bool ones = true;

			memset(v, 0x77, sizeof(v));
			assert_true(pci_mmio_read(&r->pd.bus, PD_BAR + off, v, len));
			for (unsigned i = 0; i < len; i++)
				ones = ones && v[i] == 0xff;
			for (unsigned i = len; i < 8; i++)
				assert_int_equal(v[i], 0x77);
			/* A vector that is not set is all ones too. */
			if (ones == answers(&r->pd, off, len) && off != 16 && off != 26)
				fail_msg("0x%x, %u bytes", off, len);
		}
	rig_free(r);
}

static const uint64_t values[] = {0, 1, 2, 0xf, 0xff, 0x8000, 0xffff, UINT32_MAX, UINT64_MAX, DRV_GPA};

/* What a write must not have changed; the status may hold anything that was written. */
static void check_sane(struct rig *r)
{
	struct pd *pd = &r->pd;

	assert_int_equal(pd_cfg_get(pd, 0, 4), 0x107f1af4);
	assert_int_equal(pd_get(pd, pd->common + PD_N_QUEUES, 2), TOY_QUEUES);
	assert_int_equal(pd_get(pd, pd->config, 4), 0xa3a2a1a0);
	assert_true(pd_features(pd) >> VIRTIO_BIT_VERSION_1 & 1);
}

static void writes_at_every_offset_and_width(void **state)
{
	struct rig *r = rig_new();

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint8_t v[8];

		put_le64(v, values[i]);
		for (unsigned len = 1; len <= 8; len++)
			for (uint32_t off = 0; off < VIRTIO_PCI_BAR_SIZE;
				off += off < 0x200 || off % 0x1000 < 64 ? 1 : 61)
				assert_true(pci_mmio_write(&r->pd.bus, PD_BAR + off, v, len));
		assert_int_equal(loop_turn(r->loop, 0), 0);
		check_sane(r);
	}
	rig_free(r);
}

static void config_writes_at_every_offset_and_width(void **state)
{
	struct rig *r = rig_new();
	uint8_t before[256], after[256];

	for (unsigned i = 0; i < 256; i += 4)
		put_le32(before + i, pd_cfg_get(&r->pd, i, 4));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		for (unsigned len = 1; len <= 4; len++)
			for (unsigned off = 0; off < 4096; off++)
				pd_cfg_set(&r->pd, off, len, (uint32_t)values[i]);
	for (unsigned i = 0; i < 256; i += 4)
		put_le32(after + i, pd_cfg_get(&r->pd, i, 4));
	/* Identity and the list of capabilities are as they were. */
	assert_memory_equal(before, after, 4);
	assert_memory_equal(before + 8, after + 8, 0x34);
	for (unsigned at = before[0x34]; at; at = before[at + 1]) {
		assert_memory_equal(before + at, after + at, before[at] == 9 ? 4 : 3);
		if (at != r->pd.window_cap && before[at] == 9)
			assert_memory_equal(before + at, after + at, 16);
	}
	pd_cfg_set(&r->pd, 4, 2, 6);
	check_sane(r);
	rig_free(r);
}

/* The window names any access; what is not one of the BAR's does nothing. */
static void hostile_windows(void **state)
{
	static const uint32_t offsets[] = {0, 1, 2, 3, 20, 0x7ffc, 0x7fff, 0x8000, 0x7fffffff, 0xfffffffc, UINT32_MAX};
	static const uint32_t lengths[] = {0, 1, 2, 3, 4, 5, 8, 0x80000000, UINT32_MAX};
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	for (unsigned bar = 0; bar < 256; bar += 51)
		for (size_t o = 0; o < ARRAY_SIZE(offsets); o++)
			for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
				pd_cfg_set(pd, pd->window_cap + 4, 1, bar);
				pd_cfg_set(pd, pd->window_cap + 8, 4, offsets[o]);
				pd_cfg_set(pd, pd->window_cap + 12, 4, lengths[l]);
				for (unsigned len = 1; len <= 4; len *= 2) {
					(void)pd_cfg_get(pd, pd->window_cap + 16, len);
					pd_cfg_set(pd, pd->window_cap + 16, len, 0xdeadbeef);
				}
			}
	check_sane(r);
	rig_free(r);
}

static void kicks_of_queues_that_do_not_exist(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	assert_true(pd_negotiate(pd, UINT64_C(1) << VIRTIO_BIT_VERSION_1));
	pd_driver_ok(pd); /* no queue at all */
	for (uint32_t off = 0; off < 0x1000; off++)
		for (unsigned len = 1; len <= 8; len *= 2)
			pd_set(pd, pd->notify + off, len, UINT64_MAX);
	assert_int_equal(loop_turn(r->loop, 0), 0);
	assert_int_equal(r->toy.notifies[0] + r->toy.notifies[1], 0);
	assert_int_equal(pd_status(pd), 0xf);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_at_every_offset_and_width),
		cmocka_unit_test(writes_at_every_offset_and_width),
		cmocka_unit_test(config_writes_at_every_offset_and_width),
		cmocka_unit_test(hostile_windows),
		cmocka_unit_test(kicks_of_queues_that_do_not_exist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
