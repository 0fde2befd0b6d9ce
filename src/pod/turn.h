/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Emulated guests boot in turns: as many at a time as the machine has CPUs. A boot is a second or two of pure computing, so more of
 * them at once end no sooner; and a stock kernel that is not scheduled for 100 ms at the wrong moment measures its timer wrongly (see
 * turn.c). A turn is a flock on one of the files PODVM_RUN/boot.<n>: it ends with its holder, however that ends.
 *
 *   turn_wait -> (mine, once, on the loop, also if no turn came within TURN_WAIT_MAX_MS) -> turn_end
 */
#include "base/loop.h"

#define TURN_WAIT_MAX_MS 120000 /* as long as a boot may take */
#define TURNS_MAX 256

struct turn {
	struct loop *loop;
	struct loop_timer timer;
	uint64_t since_ns; /* CLOCK_MONOTONIC */
	int fd;		   /* the flock, or -1 */
	void (*mine)(struct turn *turn);
};

/* 1: *ret has its turn, `mine` will not run. 0: all turns are taken, `mine` runs later. Where no file can be made or locked: 1. */
int turn_wait(struct turn *ret, struct loop *loop, void (*mine)(struct turn *turn)) must_check;
/* Ends it, or the wait for it. Fine on a zeroed one, and twice. */
void turn_end(struct turn *turn);
