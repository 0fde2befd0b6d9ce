/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/virtio_pci.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_pci_driver.h"

#define RING_BITS (UINT64_C(1) << VIRTIO_BIT_EVENT_IDX | UINT64_C(1) << VIRTIO_BIT_INDIRECT_DESC)
#define VERSION_1 (UINT64_C(1) << VIRTIO_BIT_VERSION_1)
#define CONFIG_VECTOR TOY_QUEUES

struct rig {
	struct drv_vm vm;
	struct loop *loop;
	struct toy toy;
	struct pd pd;
	struct drv_queue q[TOY_QUEUES];
	gpa_t out, in;
};

static struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	drv_vm_init(&r->vm, 1 << 20);
	assert_int_equal(loop_new(&r->loop, NULL), 0);
	toy_init(&r->toy, r->loop);
	pd_init(&r->pd, &r->vm, &r->toy.dev);
	pd_probe(&r->pd);
	r->out = drv_alloc(&r->vm, 64, 8);
	r->in = drv_alloc(&r->vm, 64, 8);
	return r;
}

static void rig_free(struct rig *r)
{
	pd_fini(&r->pd);
	loop_free(r->loop);
	drv_vm_fini(&r->vm);
	free(r);
}

/* Up to but not including DRIVER_OK; all vectors are open. */
static struct rig *rig_ready(void)
{
	struct rig *r = rig_new();
	uint64_t features = VERSION_1 | RING_BITS;

	assert_true(pd_negotiate(&r->pd, features));
	pd_msix_enable(&r->pd, true);
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		pd_queue(&r->pd, &r->q[i], i, 64, features);
		pd_unmask(&r->pd, i);
	}
	pd_unmask(&r->pd, CONFIG_VECTOR);
	pd_set(&r->pd, r->pd.common + PD_CONFIG_VECTOR, 2, CONFIG_VECTOR);
	return r;
}

static void offer(struct rig *r, unsigned queue)
{
	const struct drv_buf bufs[] = {{r->out, 16, false}, {r->in, 16, true}};

	memcpy(drv_ptr(&r->vm, r->out), "sixteen bytes...", 16);
	memset(drv_ptr(&r->vm, r->in), 0, 16);
	assert_true(drv_add(&r->q[queue], bufs, 2) >= 0);
	(void)drv_publish(&r->q[queue]);
}

static void turn(struct rig *r)
{
	assert_int_equal(loop_turn(r->loop, 0), 0);
}

static void expect_echo(struct rig *r, unsigned queue)
{
	uint32_t len;

	assert_int_equal(drv_used(&r->q[queue], NULL, &len), 1);
	assert_int_equal(len, 16);
	assert_memory_equal(drv_ptr(&r->vm, r->in), "sixteen bytes...", 16);
}

static void a_driver_finds_its_device(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	assert_int_equal(pd_cfg_get(pd, 0, 4), 0x107f1af4);
	assert_int_equal(pd_cfg_get(pd, pd->msix_cap + 2, 2), TOY_QUEUES); /* one less than vectors */
	assert_int_equal(pd->notify_step, 4);
	assert_true(pd->window_cap && pd->notify && pd->isr && pd->config && pd->msix && pd->pba);
	assert_int_equal(pd_get(pd, pd->common + PD_N_QUEUES, 2), TOY_QUEUES);
	assert_true(pd_features(pd) == (r->toy.dev.ops->features | VERSION_1 | RING_BITS));
	pd_set(pd, pd->common + PD_DEV_FEAT_SEL, 4, 2);
	assert_int_equal(pd_get(pd, pd->common + PD_DEV_FEAT, 4), 0);
	pd_set(pd, pd->common + PD_Q_SELECT, 2, 1);
	assert_int_equal(pd_get(pd, pd->common + PD_Q_SIZE, 2), 64);
	assert_int_equal(pd_get(pd, pd->common + PD_Q_NOTIFY_OFF, 2), 1);
	assert_int_equal(pd_get(pd, pd->common + PD_Q_VECTOR, 2), 0xffff);
	assert_true(virtio_pci_notify_gpa(pd->vp, 1) == PD_BAR + pd->notify + 4);
	rig_free(r);
}

static void a_whole_session(void **state)
{
	struct rig *r = rig_ready();

	for (unsigned session = 1; session <= 3; session++) {
		pd_driver_ok(&r->pd);
		assert_int_equal(pd_status(&r->pd), 0xf);
		assert_int_equal(r->toy.activations, session);
		assert_true(r->toy.dev.features == (VERSION_1 | RING_BITS));
		for (unsigned i = 0; i < TOY_QUEUES; i++) {
			r->pd.irqs[i] = 0;
			offer(r, i);
			pd_kick(&r->pd, i);
			turn(r);
			expect_echo(r, i);
			assert_int_equal(r->pd.irqs[i], 1);
			offer(r, i);
			virtio_pci_kick(r->pd.vp, i); /* as an ioeventfd does */
			expect_echo(r, i);
			assert_int_equal(r->pd.irqs[i], 2);
		}
		pd_set_status(&r->pd, 0);
		assert_int_equal(pd_status(&r->pd), 0);
		assert_int_equal(r->toy.resets, session);
		assert_false(queue_is_started(&r->toy.dev.queues[0]));
		assert_true(pd_negotiate(&r->pd, VERSION_1 | RING_BITS));
		for (unsigned i = 0; i < TOY_QUEUES; i++)
			pd_queue(&r->pd, &r->q[i], i, 64, VERSION_1 | RING_BITS);
	}
	rig_free(r);
}

/* Nothing stays from a driver that set all there is, and was interrupted (virtio 1.2 §2.4.2, §4.1.4.3.1, §4.1.4.5.1). */
static void a_reset_clears_every_register(void **state)
{
	static const struct {
		unsigned reg, len;
		uint64_t value;
	} rows[] = {
		{PD_Q_SIZE, 2, 64},
		{PD_Q_VECTOR, 2, 0xffff},
		{PD_Q_ENABLE, 2, 0},
		{PD_Q_DESC, 8, 0},
		{PD_Q_DRIVER, 8, 0},
		{PD_Q_DEVICE, 8, 0},
	};
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	assert_true(pd_negotiate(pd, VERSION_1));
	for (unsigned i = 0; i < TOY_QUEUES; i++)
		pd_queue(pd, &r->q[i], i, 32, VERSION_1);
	pd_set(pd, pd->common + PD_CONFIG_VECTOR, 2, CONFIG_VECTOR);
	pd_set(pd, pd->common + PD_DEV_FEAT_SEL, 4, 1);
	pd_driver_ok(pd);
	offer(r, 1);
	pd_kick(pd, 1);
	turn(r);
	expect_echo(r, 1);
	pd_set(pd, pd->config + 8, 4, 0); /* the toy tells of each change */
	pd_set_status(pd, 0);
	assert_int_equal(pd_get(pd, pd->isr, 1), 0);
	assert_int_equal(pd_get(pd, pd->common + PD_DEV_FEAT_SEL, 4), 0);
	assert_int_equal(pd_get(pd, pd->common + PD_DRV_FEAT_SEL, 4), 0);
	for (unsigned i = 0; i < 2; i++) {
		pd_set(pd, pd->common + PD_DRV_FEAT_SEL, 4, i);
		assert_int_equal(pd_get(pd, pd->common + PD_DRV_FEAT, 4), 0);
	}
	assert_int_equal(pd_get(pd, pd->common + PD_CONFIG_VECTOR, 2), 0xffff);
	assert_int_equal(pd_get(pd, pd->common + PD_Q_SELECT, 2), 0);
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		pd_set(pd, pd->common + PD_Q_SELECT, 2, i);
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			uint64_t v = pd_get(pd, pd->common + rows[k].reg, rows[k].len);

			if (v != rows[k].value)
				fail_msg("queue %u, register %u: 0x%llx", i, rows[k].reg, (unsigned long long)v);
		}
	}
	rig_free(r);
}

static void chains_before_driver_ok_are_served(void **state)
{
	struct rig *r = rig_ready();

	offer(r, 1);
	pd_kick(&r->pd, 1); /* too early: nothing may happen */
	turn(r);
	assert_int_equal(r->toy.notifies[1], 0);
	pd_driver_ok(&r->pd);
	turn(r);
	expect_echo(r, 1);
	rig_free(r);
}

static void features_are_checked_and_frozen(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	assert_false(pd_negotiate(pd, RING_BITS));     /* no VERSION_1 */
	assert_false(pd_negotiate(pd, VERSION_1 | 1)); /* not offered */
	assert_false(pd_negotiate(pd, VERSION_1 | UINT64_C(1) << 63));
	pd_driver_ok(pd); /* without FEATURES_OK */
	assert_int_equal(pd_status(pd), PD_ACK | PD_DRIVER);
	assert_int_equal(r->toy.activations, 0);
	assert_true(pd_negotiate(pd, VERSION_1));
	pd_set(pd, pd->common + PD_DRV_FEAT_SEL, 4, 0);
	pd_set(pd, pd->common + PD_DRV_FEAT, 4, 8);
	assert_int_equal(pd_get(pd, pd->common + PD_DRV_FEAT, 4), 0);
	pd_set(pd, pd->common + PD_DRV_FEAT_SEL, 4, 7); /* banks that do not exist */
	pd_set(pd, pd->common + PD_DRV_FEAT, 4, UINT32_MAX);
	pd_driver_ok(pd);
	assert_true(r->toy.dev.features == VERSION_1);
	pd_set_status(pd, PD_ACK); /* would clear bits */
	assert_int_equal(pd_status(pd), 0xf);
	pd_set_status(pd, 0xff); /* FAILED; the bits that are ours to set stay out */
	assert_int_equal(pd_status(pd), 0x8f);
	assert_int_equal(r->toy.activations, 1);
	rig_free(r);
}

static void an_enabled_queue_is_frozen(void **state)
{
	struct rig *r = rig_ready();
	struct pd *pd = &r->pd;
	const struct queue_cfg want = r->q[0].cfg;

	pd_set(pd, pd->common + PD_Q_SELECT, 2, 0);
	for (int after = 0; after < 2; after++) {
		pd_set(pd, pd->common + PD_Q_SIZE, 2, 32768);
		pd_set(pd, pd->common + PD_Q_DESC, 8, 0);
		pd_set(pd, pd->common + PD_Q_DRIVER, 8, 0);
		pd_set(pd, pd->common + PD_Q_DEVICE + 4, 4, 7);
		pd_set(pd, pd->common + PD_Q_ENABLE, 2, 0);
		assert_int_equal(pd_get(pd, pd->common + PD_Q_ENABLE, 2), 1);
		assert_int_equal(pd_get(pd, pd->common + PD_Q_SIZE, 2), 64);
		assert_true(pd_get(pd, pd->common + PD_Q_DESC, 8) == want.desc);
		assert_true(pd_get(pd, pd->common + PD_Q_DRIVER, 8) == want.avail);
		assert_true(pd_get(pd, pd->common + PD_Q_DEVICE, 8) == want.used);
		pd_driver_ok(pd);
	}
	offer(r, 0);
	pd_kick(pd, 0);
	turn(r);
	expect_echo(r, 0);
	rig_free(r);
}

static void queues_that_were_not_enabled_stay_off(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	assert_true(pd_negotiate(pd, VERSION_1));
	pd_queue(pd, &r->q[0], 0, 64, VERSION_1);
	pd_driver_ok(pd);
	pd_queue(pd, &r->q[1], 1, 64, VERSION_1); /* too late */
	assert_int_equal(pd_get(pd, pd->common + PD_Q_ENABLE, 2), 0);
	offer(r, 1);
	pd_kick(pd, 1);
	virtio_pci_kick(pd->vp, 1);
	virtio_pci_kick(pd->vp, 77);
	turn(r);
	assert_int_equal(r->toy.notifies[1], 0);
	assert_int_equal(pd_status(pd), 0xf);
	rig_free(r);
}

/* Each row breaks one thing of queue 0's layout. */
static void a_bad_layout_needs_a_reset(void **state)
{
	static const struct {
		unsigned reg, len;
		uint64_t value;
	} rows[] = {
		{PD_Q_SIZE, 2, 0},
		{PD_Q_SIZE, 2, 3},
		{PD_Q_SIZE, 2, 2048},
		{PD_Q_SIZE, 2, 65535},
		{PD_Q_DESC, 8, 0},
		{PD_Q_DESC, 8, UINT64_MAX},
		{PD_Q_DESC, 8, DRV_GPA + 8},
		{PD_Q_DESC, 8, DRV_GPA + (1 << 20) - 16},
		{PD_Q_DRIVER, 8, DRV_GPA + 1},
		{PD_Q_DRIVER, 8, UINT64_MAX - 1},
		{PD_Q_DEVICE, 8, DRV_GPA + 2},
		{PD_Q_DEVICE, 8, UINT64_C(1) << 63},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig *r = rig_new();
		struct pd *pd = &r->pd;

		assert_true(pd_negotiate(pd, VERSION_1));
		pd_msix_enable(pd, true);
		pd_unmask(pd, CONFIG_VECTOR);
		pd_set(pd, pd->common + PD_CONFIG_VECTOR, 2, CONFIG_VECTOR);
		drv_queue_init(&r->q[0], &r->vm, 64, VERSION_1);
		pd_set(pd, pd->common + PD_Q_DESC, 8, r->q[0].cfg.desc);
		pd_set(pd, pd->common + PD_Q_DRIVER, 8, r->q[0].cfg.avail);
		pd_set(pd, pd->common + PD_Q_DEVICE, 8, r->q[0].cfg.used);
		pd_set(pd, pd->common + rows[i].reg, rows[i].len, rows[i].value);
		pd_set(pd, pd->common + PD_Q_ENABLE, 2, 1);
		pd_driver_ok(pd);
		if (!(pd_status(pd) & PD_NEEDS_RESET) || r->toy.activations != 0 || pd->irqs[CONFIG_VECTOR] != 1)
			fail_msg("row %zu: status 0x%x", i, pd_status(pd));
		pd_kick(pd, 0);
		turn(r);
		assert_int_equal(r->toy.notifies[0], 0);
		pd_set_status(pd, 0);
		assert_int_equal(pd_status(pd), 0);
		assert_true(pd_negotiate(pd, VERSION_1));
		pd_queue(pd, &r->q[0], 0, 64, VERSION_1);
		pd_driver_ok(pd);
		assert_int_equal(pd_status(pd), 0xf);
		rig_free(r);
	}
}

static void a_broken_ring_needs_a_reset(void **state)
{
	struct rig *r = rig_ready();

	pd_driver_ok(&r->pd);
	turn(r);
	drv_set_avail_idx(&r->q[0], 1000);
	pd_kick(&r->pd, 0);
	turn(r);
	assert_int_equal(pd_status(&r->pd), 0xf | PD_NEEDS_RESET);
	assert_int_equal(r->pd.irqs[CONFIG_VECTOR], 1);
	r->toy.notifies[0] = r->toy.notifies[1] = 0;
	offer(r, 1);
	pd_kick(&r->pd, 1);
	pd_kick(&r->pd, 0);
	turn(r);
	assert_int_equal(r->toy.notifies[0] + r->toy.notifies[1], 0);
	virtio_broken(&r->toy.dev); /* once is enough */
	assert_int_equal(r->pd.irqs[CONFIG_VECTOR], 1);
	pd_set_status(&r->pd, 0);
	assert_int_equal(pd_status(&r->pd), 0);
	rig_free(r);
}

static void a_device_may_refuse(void **state)
{
	struct rig *r = rig_ready();

	r->toy.refuse = true;
	pd_driver_ok(&r->pd);
	assert_int_equal(pd_status(&r->pd), 0xf | PD_NEEDS_RESET);
	pd_set_status(&r->pd, 0);
	assert_int_equal(r->toy.resets, 0); /* it never ran */
	rig_free(r);
}

static void configuration_is_read_and_written(void **state)
{
	struct rig *r = rig_ready();
	struct pd *pd = &r->pd;
	uint8_t gen = (uint8_t)pd_get(pd, pd->common + PD_GENERATION, 1);

	assert_int_equal(pd_get(pd, pd->config, 4), 0xa3a2a1a0);
	assert_int_equal(pd_get(pd, pd->config + 11, 1), 0xab);
	assert_true(pd_get(pd, pd->config, 8) == UINT64_C(0xa7a6a5a4a3a2a1a0));
	assert_true(pd_get(pd, pd->config + 8, 8) == UINT64_MAX); /* reaches over the end */
	assert_int_equal(pd_get(pd, pd->config + 12, 1), 0xff);
	assert_int_equal(pd_get(pd, pd->common + PD_GENERATION, 1), gen);
	pd_set(pd, pd->config + 4, 4, 0x11223344);
	assert_int_equal(pd_get(pd, pd->config + 4, 4), 0x1122a5a4);
	assert_int_equal(pd_get(pd, pd->common + PD_GENERATION, 1), (uint8_t)(gen + 1));
	assert_int_equal(pd->irqs[CONFIG_VECTOR], 1);
	assert_int_equal(pd_get(pd, pd->isr, 1), 2);
	assert_int_equal(pd_get(pd, pd->isr, 1), 0);
	pd_set(pd, pd->config + 8, 8, 0);
	assert_int_equal(pd_get(pd, pd->config + 8, 4), 0xabaaa9a8);
	rig_free(r);
}

static void masked_vectors_wait(void **state)
{
	struct rig *r = rig_ready();
	struct pd *pd = &r->pd;

	pd_driver_ok(pd);
	turn(r);
	pd_set(pd, pd->msix + 12, 4, 1);
	assert_false(pd->routes[0].live);
	offer(r, 0);
	pd_kick(pd, 0);
	turn(r);
	expect_echo(r, 0);
	assert_int_equal(pd->irqs[0], 0);
	assert_int_equal(pd_get(pd, pd->pba, 8), 1);
	pd_set(pd, pd->msix, 8, UINT64_C(0x1fee01003)); /* not told while masked; the two low bits do not exist */
	pd_set(pd, pd->msix + 12, 4, 0);
	assert_int_equal(pd->irqs[0], 1);
	assert_int_equal(pd_get(pd, pd->pba, 8), 0);
	assert_true(pd->routes[0].live && pd->routes[0].addr == UINT64_C(0x1fee01000));
	/* all of them, by message control */
	pd_cfg_set(pd, pd->msix_cap + 3, 1, 0xc0);
	assert_false(pd->routes[0].live || pd->routes[1].live);
	offer(r, 1);
	pd_kick(pd, 1);
	turn(r);
	assert_int_equal(pd->irqs[1], 0);
	assert_int_equal(pd_get(pd, pd->pba, 4), 2);
	pd_cfg_set(pd, pd->msix_cap + 3, 1, 0x80);
	assert_int_equal(pd->irqs[1], 1);
	/* off: nothing fires then, nor later */
	offer(r, 1);
	pd_msix_enable(pd, false);
	pd_kick(pd, 1);
	turn(r);
	pd_msix_enable(pd, true);
	assert_int_equal(pd->irqs[1], 1);
	assert_int_equal(pd_get(pd, pd->isr, 1) & 1, 1);
	rig_free(r);
}

static void vectors_that_do_not_exist(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;

	for (unsigned v = 0; v < 0x10000; v += v < 20 ? 1 : 0x555) {
		uint64_t want = v <= TOY_QUEUES ? v : 0xffff;

		pd_set(pd, pd->common + PD_CONFIG_VECTOR, 2, v);
		assert_int_equal(pd_get(pd, pd->common + PD_CONFIG_VECTOR, 2), want);
		pd_set(pd, pd->common + PD_Q_VECTOR, 2, v);
		assert_int_equal(pd_get(pd, pd->common + PD_Q_VECTOR, 2), want);
	}
	rig_free(r);
}

static void the_window_reaches_the_bar(void **state)
{
	struct rig *r = rig_new();
	struct pd *pd = &r->pd;
	unsigned cap = pd->window_cap;

	pd_cfg_set(pd, cap + 8, 4, pd->common + PD_N_QUEUES);
	pd_cfg_set(pd, cap + 12, 4, 2);
	assert_int_equal(pd_cfg_get(pd, cap + 16, 2), TOY_QUEUES);
	pd_cfg_set(pd, cap + 8, 4, pd->common + PD_STATUS);
	pd_cfg_set(pd, cap + 12, 4, 1);
	pd_cfg_set(pd, cap + 16, 1, 3);
	assert_int_equal(pd_status(pd), 3);
	assert_int_equal(pd_cfg_get(pd, cap + 16, 1), 3);
	rig_free(r);
}

static void bad_places_are_refused(void **state)
{
	struct rig *r = rig_new();
	static const struct virtio_pci_ops ops = {pd_on_msix, pd_on_irq};
	struct virtio_pci *vp = NULL;
	struct toy toy;
	struct err err;

	toy_init(&toy, r->loop);
	assert_int_equal(
		virtio_pci_new(&vp, &r->pd.bus, 4, &toy.dev, &r->vm.gm, PD_BAR + 4096, &ops, r, &err), -EINVAL);
	assert_int_equal(virtio_pci_new(&vp, &r->pd.bus, 4, &toy.dev, &r->vm.gm, PD_BAR, &ops, r, &err), -EINVAL);
	assert_int_equal(
		virtio_pci_new(&vp, &r->pd.bus, PD_SLOT, &toy.dev, &r->vm.gm, PD_BAR * 2, &ops, r, &err), -EEXIST);
	assert_null(vp);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_driver_finds_its_device),
		cmocka_unit_test(a_whole_session),
		cmocka_unit_test(a_reset_clears_every_register),
		cmocka_unit_test(chains_before_driver_ok_are_served),
		cmocka_unit_test(features_are_checked_and_frozen),
		cmocka_unit_test(an_enabled_queue_is_frozen),
		cmocka_unit_test(queues_that_were_not_enabled_stay_off),
		cmocka_unit_test(a_bad_layout_needs_a_reset),
		cmocka_unit_test(a_broken_ring_needs_a_reset),
		cmocka_unit_test(a_device_may_refuse),
		cmocka_unit_test(configuration_is_read_and_written),
		cmocka_unit_test(masked_vectors_wait),
		cmocka_unit_test(vectors_that_do_not_exist),
		cmocka_unit_test(the_window_reaches_the_bar),
		cmocka_unit_test(bad_places_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
