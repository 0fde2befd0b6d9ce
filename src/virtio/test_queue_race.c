/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver and device in two threads, each waiting until the other notifies it, as in a VM. A notification that is lost stops
 * both, and the deadline of the wait fails the test. They wait by looking, not in the kernel: only so do both sides run dry
 * at the same instant often enough that a missing fence shows (it does, within a second).
 */
#include "virtio/queue.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/fd.h"
#include "virtio/test_driver.h"

#define CHAINS 100000u
#define DEADLINE_NS (60 * NS_PER_S)

enum {
	REARM = 1 << 0, /* the device switches kicks off while it works */
	EACH = 1 << 1,	/* the device asks after each chain whether to interrupt, else now and then and at the end */
	DRAIN = 1 << 2, /* the driver waits for all of a batch, else only when it can add no more */
};

struct race {
	struct drv_vm vm;
	struct drv_queue dq;
	struct queue q;
	struct chain c;
	unsigned kicks, calls; /* each counted up by its sender */
	unsigned mode;
	uint32_t returned; /* of the driver */
	unsigned seen;
	bool device_ok;
};

/* Until *events differs from *seen, the count at the last return. */
static bool wait_for(const unsigned *events, unsigned *seen)
{
	uint64_t end = time_mono_ns() + DEADLINE_NS;

	for (unsigned n = 1;; n++) {
		unsigned now = __atomic_load_n(events, __ATOMIC_ACQUIRE);

		if (now != *seen) {
			*seen = now;
			return true;
		}
		if (n % 1024)
			continue;
		if (time_mono_ns() > end)
			return false;
		(void)sched_yield();
	}
}

static void wake(unsigned *events)
{
	__atomic_fetch_add(events, 1, __ATOMIC_RELEASE);
}

/* Serves what is there. False: a rule was broken that nobody broke. */
static bool serve(struct race *r, uint32_t *done)
{
	int got = 0;

	do {
		if (r->mode & REARM)
			queue_kicks_enable(&r->q, false);
		while ((got = queue_pop(&r->q, &r->c)) == 1) {
			if (queue_push(&r->q, r->c.head, *done) < 0)
				return false;
			(*done)++;
			if ((r->mode & EACH || *done % 7 == 0) && queue_should_signal(&r->q))
				wake(&r->calls);
		}
		if (r->mode & REARM)
			queue_kicks_enable(&r->q, true);
	} while (got == 0 && r->mode & REARM && queue_has_avail(&r->q));
	if (queue_should_signal(&r->q))
		wake(&r->calls);
	return got == 0;
}

static void *device(void *arg)
{
	struct race *r = arg;
	unsigned seen = 0;
	uint32_t done = 0;

	while (done < CHAINS)
		if (!wait_for(&r->kicks, &seen) || !serve(r, &done))
			return NULL;
	r->device_ok = true;
	return NULL;
}

/* Collects what came back, sleeping while more than `left` chains are out. */
static bool collect(struct race *r, uint32_t *out, uint32_t left)
{
	uint32_t len;

	for (;;) {
		while (drv_used(&r->dq, NULL, &len)) {
			if (len != r->returned++)
				return false;
			(*out)--;
		}
		if (*out <= left)
			return true;
		/* drv_used has asked for the next interrupt: look once more before sleeping. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (drv_used_idx(&r->dq) == r->dq.last_used && !wait_for(&r->calls, &r->seen))
			return false;
	}
}

static bool driver(struct race *r)
{
	const struct drv_buf b = {DRV_GPA, 16, false};
	uint32_t added = 0, out = 0;

	while (r->returned < CHAINS) {
		/* In batches of changing size, so that both sides run dry again and again. */
		for (unsigned n = added % 5 + 1; n > 0 && added < CHAINS && drv_add(&r->dq, &b, 1) >= 0; n--) {
			added++;
			out++;
		}
		if (drv_publish(&r->dq))
			wake(&r->kicks);
		if (!collect(r, &out, r->mode & DRAIN || added == CHAINS ? 0 : r->dq.cfg.size - 1))
			return false;
	}
	return true;
}

static void race(uint64_t features, uint16_t size, unsigned mode)
{
	struct race *r = calloc(1, sizeof(*r));
	pthread_t t;
	bool ok;

	assert_non_null(r);
	drv_vm_init(&r->vm, 1 << 20);
	drv_queue_init(&r->dq, &r->vm, size, features);
	r->q.cfg = r->dq.cfg;
	r->mode = mode;
	assert_int_equal(queue_start(&r->q, &r->vm.gm, features, 0, NULL), 0);
	assert_int_equal(pthread_create(&t, NULL, device, r), 0);
	ok = driver(r);
	assert_int_equal(pthread_join(t, NULL), 0);
	print_message("size %u, mode %u: %u kicks, %u calls for %u chains\n", size, mode, r->kicks, r->calls, CHAINS);
	assert_true(ok);
	assert_true(r->device_ok);
	drv_vm_fini(&r->vm);
	free(r);
}

static void races(uint64_t features, unsigned mode)
{
	race(features, 1, mode);
	race(features, 4, mode);
	race(features, 256, mode);
}

static void no_wakeup_is_lost_with_event_idx(void **state)
{
	races(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, 0);
	races(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, EACH | DRAIN);
}

static void no_wakeup_is_lost_with_kicks_switched(void **state)
{
	races(UINT64_C(1) << VIRTIO_BIT_EVENT_IDX, REARM);
	races(0, REARM);
	races(0, REARM | DRAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wakeup_is_lost_with_event_idx),
		cmocka_unit_test(no_wakeup_is_lost_with_kicks_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
