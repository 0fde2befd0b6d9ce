/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A clock for tests of deadlines. It takes the place of CLOCK_MONOTONIC in the whole program (which is linked with --wrap=time_mono_ns) and moves
 * by CLOCK_STEP_NS at each turn of the loop, so minutes of waiting take milliseconds and a busy machine changes nothing. Whoever is on
 * the other side of a socket must be on the same loop, or silent: a turn does not wait for anybody.
 */
#include "base/loop.h"

#define CLOCK_STEP_NS (10 * NS_PER_MS)

uint64_t __wrap_time_mono_ns(void);

static uint64_t clock_ns = 1000 * NS_PER_S;

uint64_t __wrap_time_mono_ns(void)
{
	return clock_ns;
}

static inline void clock_turn(struct loop *loop)
{
	assert_int_equal(loop_turn(loop, 0), 0);
	clock_ns += CLOCK_STEP_NS;
}

/* Turns until `cond` or for `ns`, whichever is first. */
#define clock_turn_until(loop, cond, ns)                                                                               \
	do {                                                                                                           \
		for (uint64_t end_ = clock_ns + (ns); !(cond) && clock_ns < end_;)                                     \
			clock_turn(loop);                                                                              \
	} while (0)
