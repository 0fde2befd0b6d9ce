/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver and device in two threads, each asleep on an eventfd until the other wakes it, as in a VM. A notification that is
 * lost stops both, and the deadline of the wait fails the test.
 */
#include "virtio/queue.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "virtio/test_driver.h"

#define CHAINS 200000u
#define DEADLINE_MS 20000

struct race {
	struct drv_vm vm;
	struct drv_queue dq;
	struct queue q;
	struct chain c;
	int kick, call;
	unsigned long kicks, calls; /* each counted by its sender */
	unsigned rearm;		    /* the device switches kicks off while it works */
	bool device_ok;
};

static bool wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t v;

	return poll(&p, 1, DEADLINE_MS) == 1 && read(fd, &v, sizeof(v)) == sizeof(v);
}

static void wake(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* Serves what is there. False: a rule was broken that nobody broke. */
static bool serve(struct race *r, uint32_t *done)
{
	int got = 0;

	do {
		if (r->rearm)
			queue_kicks_enable(&r->q, false);
		while ((got = queue_pop(&r->q, &r->c)) == 1) {
			if (queue_push(&r->q, r->c.head, *done) < 0)
				return false;
			(*done)++;
			/* Now and then in the middle, else at the end. */
			if (*done % 7 == 0 && queue_should_signal(&r->q)) {
				r->calls++;
				wake(r->call);
			}
		}
		if (r->rearm)
			queue_kicks_enable(&r->q, true);
	} while (got == 0 && r->rearm && queue_has_avail(&r->q));
	if (queue_should_signal(&r->q)) {
		r->calls++;
		wake(r->call);
	}
	return got == 0;
}

static void *device(void *arg)
{
	struct race *r = arg;
	uint32_t done = 0;

	while (done < CHAINS)
		if (!wait_for(r->kick) || !serve(r, &done))
			return NULL;
	r->device_ok = true;
	return NULL;
}

static bool driver(struct race *r)
{
	const struct drv_buf b = {DRV_GPA, 16, false};
	uint32_t added = 0, returned = 0, len;

	while (returned < CHAINS) {
		/* In batches of changing size, so that both sides run dry again and again. */
		for (unsigned n = added % 5 + 1; n > 0 && added < CHAINS && drv_add(&r->dq, &b, 1) >= 0; n--)
			added++;
		if (drv_publish(&r->dq)) {
			r->kicks++;
			wake(r->kick);
		}
		while (drv_used(&r->dq, NULL, &len))
			if (len != returned++)
				return false;
		if (r->dq.n_free > 0 && added < CHAINS)
			continue;
		/* drv_used has asked for the next interrupt: look once more before sleeping. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (returned < added && drv_used_idx(&r->dq) == r->dq.last_used && !wait_for(r->call))
			return false;
	}
	return true;
}

static void race(uint64_t features, uint16_t size, unsigned rearm)
{
	struct race *r = calloc(1, sizeof(*r));
	pthread_t t;
	bool ok;

	assert_non_null(r);
	drv_vm_init(&r->vm, 1 << 20);
	drv_queue_init(&r->dq, &r->vm, size, features);
	r->q.cfg = r->dq.cfg;
	r->rearm = rearm;
	assert_int_equal(queue_start(&r->q, &r->vm.gm, features, 0, NULL), 0);
	r->kick = eventfd(0, EFD_CLOEXEC);
	r->call = eventfd(0, EFD_CLOEXEC);
	assert_true(r->kick >= 0 && r->call >= 0);
	assert_int_equal(pthread_create(&t, NULL, device, r), 0);
	ok = driver(r);
	assert_int_equal(pthread_join(t, NULL), 0);
	print_message("size %u: %lu kicks, %lu calls for %u chains\n", size, r->kicks, r->calls, CHAINS);
	assert_true(ok);
	assert_true(r->device_ok);
	close_fd(&r->kick);
	close_fd(&r->call);
	drv_vm_fini(&r->vm);
	free(r);
}

static void no_wakeup_is_lost_with_event_idx(void **state)
{
	race(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, 4, 0);
	race(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, 256, 0);
}

static void no_wakeup_is_lost_with_kicks_switched(void **state)
{
	race(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, 4, 1);
	race(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, 256, 1);
	race(0, 4, 1);
	race(0, 256, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wakeup_is_lost_with_event_idx),
		cmocka_unit_test(no_wakeup_is_lost_with_kicks_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
