/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads against the device's loop, each in a thread of its own. For ThreadSanitizer, too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio/test_pci_driver.h"

#define ROUNDS 200
#define VCPUS 3

struct rig {
	struct drv_vm vm;
	struct loop *loop;
	struct toy toy;
	struct pd pd;
	bool up, end; /* atomic */
	pthread_t thread;
};

static void *device_thread(void *arg)
{
	struct rig *r = arg;

	assert(loop_new(&r->loop, NULL) == 0);
	toy_init(&r->toy, r->loop);
	pd_init(&r->pd, &r->vm, &r->toy.dev);
	__atomic_store_n(&r->up, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&r->end, __ATOMIC_ACQUIRE))
		assert(loop_turn(r->loop, 1) == 0);
	return NULL;
}

static void rig_start(struct rig *r)
{
	drv_vm_init(&r->vm, 1 << 20);
	assert_int_equal(pthread_create(&r->thread, NULL, device_thread, r), 0);
	while (!__atomic_load_n(&r->up, __ATOMIC_ACQUIRE))
		sched_yield();
	pd_probe(&r->pd);
}

static void rig_stop(struct rig *r)
{
	__atomic_store_n(&r->end, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	pd_fini(&r->pd);
	loop_free(r->loop);
	drv_vm_fini(&r->vm);
}

static void sessions_from_another_thread(void **state)
{
	static struct rig r;
	const uint64_t features = UINT64_C(1) << VIRTIO_BIT_VERSION_1;
	static struct drv_queue q;
	gpa_t out, in;

	rig_start(&r);
	out = drv_alloc(&r.vm, 16, 8);
	in = drv_alloc(&r.vm, 16, 8);
	pd_msix_enable(&r.pd, true);
	pd_unmask(&r.pd, 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		const struct drv_buf bufs[] = {{out, 16, false}, {in, 16, true}};
		uint64_t used = r.vm.used;

		assert_true(pd_negotiate(&r.pd, features));
		pd_queue(&r.pd, &q, 0, 8, features);
		pd_driver_ok(&r.pd);
		assert_int_equal(pd_status(&r.pd), 0xf); /* the access has waited: it runs already */
		assert_true(drv_add(&q, bufs, 2) >= 0);
		(void)drv_publish(&q);
		pd_kick(&r.pd, 0);
		while (drv_used(&q, NULL, NULL) == 0)
			sched_yield();
		pd_set_status(&r.pd, 0);
		r.vm.used = used; /* reset has returned: the memory is ours again */
	}
	assert_int_equal(r.toy.activations, ROUNDS);
	assert_int_equal(r.toy.resets, ROUNDS);
	rig_stop(&r);
}

static void *vcpu(void *arg)
{
	struct rig *r = arg;
	const uint64_t features = UINT64_C(1) << VIRTIO_BIT_VERSION_1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		(void)pd_negotiate(&r->pd, features);
		pd_set(&r->pd, r->pd.common + PD_Q_VECTOR, 2, i % 3);
		pd_driver_ok(&r->pd);
		pd_kick(&r->pd, i % 2);
		pd_set(&r->pd, r->pd.msix + 12, 4, i & 1);
		pd_set(&r->pd, r->pd.config + 8, 4, i);
		(void)pd_get(&r->pd, r->pd.config, 8);
		(void)pd_get(&r->pd, r->pd.common + PD_GENERATION, 1);
		pd_msix_enable(&r->pd, i & 2);
	}
	return NULL;
}

static void many_vcpus_at_once(void **state)
{
	static struct rig r;
	pthread_t t[VCPUS];

	rig_start(&r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, vcpu, &r), 0);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_true(r.toy.resets <= r.toy.activations);
	rig_stop(&r);
}

/* The loop is gone before the vCPUs are. */
static void closing_lets_everybody_go(void **state)
{
	static struct rig r;
	pthread_t t[VCPUS];

	rig_start(&r);
	__atomic_store_n(&r.end, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(r.thread, NULL), 0);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, vcpu, &r), 0);
	virtio_pci_close(r.pd.vp);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	pd_fini(&r.pd);
	loop_free(r.loop);
	drv_vm_fini(&r.vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_from_another_thread),
		cmocka_unit_test(many_vcpus_at_once),
		cmocka_unit_test(closing_lets_everybody_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
