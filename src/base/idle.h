/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod that does nothing should cost nothing: a thread that has used next to no processor time for a while gives back what it can
 * do without, and what it needs again comes by page faults. See idle.c.
 */
#include "base/loop.h"

struct idle {
	struct loop *loop;
	struct loop_timer timer;
	uint64_t period_ns, cpu_ns;
	void (*drop)(void *ctx); /* gives back more, of the owner's; may be NULL */
	void *ctx;
};

/* Watches the thread that runs `loop`, from this call on, which it makes. */
void idle_start(struct idle *idle, struct loop *loop, void (*drop)(void *ctx), void *ctx);
/* Fine on a zeroed one. */
void idle_stop(struct idle *idle);
