/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "virtio/test_dev_rig.h"

static struct rng *started(struct rig *r)
{
	struct rng *rng = NULL;

	rig_open(r);
	assert_int_equal(rng_new(&rng, r->loop, NULL), 0);
	rig_start(r, rng_dev(rng));
	return rng;
}

static void end(struct rig *r, struct rng *rng)
{
	rig_stop(r);
	rng_free(rng);
	rig_close(r);
}

static void bytes_come_and_differ(void **state)
{
	static struct rig r;
	struct rng *rng = started(&r);
	uint8_t a[64], b[64];

	assert_int_equal(rig_request(&r, 0, NULL, 0, a, sizeof(a)), sizeof(a));
	assert_int_equal(rig_request(&r, 0, NULL, 0, b, sizeof(b)), sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(r.t.signals[0], 2);
	end(&r, rng);
}

static void a_request_is_bounded(void **state)
{
	static struct rig r;
	struct rng *rng = started(&r);
	static uint8_t big[1 << 20];

	assert_int_equal(rig_request(&r, 0, NULL, 0, big, sizeof(big)), RNG_REQUEST_MAX);
	assert_int_equal(big[RNG_REQUEST_MAX], 0xcc);
	end(&r, rng);
}

static void a_turn_is_bounded(void **state)
{
	static struct rig r;
	struct rng *rng = started(&r);
	unsigned done = 0;

	for (int i = 0; i < 40; i++)
		assert_true(rig_add(&r, 0, NULL, 0, 4096, NULL) >= 0);
	assert_int_equal(rig_kick(&r, 0), 0);
	while (drv_used(&r.q[0], NULL, NULL))
		done++;
	assert_int_equal(done, RNG_TURN_MAX / RNG_REQUEST_MAX);
	rig_settle(&r);
	while (drv_used(&r.q[0], NULL, NULL))
		done++;
	assert_int_equal(done, 40);
	end(&r, rng);
}

static void readable_buffers_break_it(void **state)
{
	static struct rig r;
	struct rng *rng = started(&r);

	assert_int_equal(rig_request(&r, 0, "x", 1, NULL, 64), -EPROTO);
	rig_stop(&r);
	rig_start(&r, rng_dev(rng));
	assert_int_equal(rig_request(&r, 0, "x", 1, NULL, 0), -EPROTO);
	end(&r, rng);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_and_differ),
		cmocka_unit_test(a_request_is_bounded),
		cmocka_unit_test(a_turn_is_bounded),
		cmocka_unit_test(readable_buffers_break_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
