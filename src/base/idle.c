/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own pages and freed heap are given back after a while without work; they come back from the page cache. The period
 * grows while nothing happens, so that a thousand idle pods do not tick.
 */
#include "base/idle.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bytes.h"
#include "base/heap.h"

#define PERIOD_MIN_NS (2 * NS_PER_S)
#define PERIOD_MAX_NS (64 * NS_PER_S)
#define IDLE_SHARE 100 /* less than a hundredth of the time is idle */

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts = {0};

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* The program's read-only segments: clean pages of the page cache, so nothing is lost. */
static int drop_segments(struct dl_phdr_info *info, size_t size unused_arg, void *ctx)
{
	const uintptr_t page = *(const uintptr_t *)ctx;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = (info->dlpi_addr + ph->p_vaddr + page - 1) & ~(page - 1);
		uintptr_t end = (info->dlpi_addr + ph->p_vaddr + ph->p_memsz) & ~(page - 1);

		if (ph->p_type == PT_LOAD && !(ph->p_flags & PF_W) && start < end)
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

static void on_timer(struct loop_timer *t)
{
	struct idle *idle = container_of(t, struct idle, timer);
	const uint64_t cpu = thread_cpu_ns();
	uintptr_t page = 4096;

	if (cpu - idle->cpu_ns > idle->period_ns / IDLE_SHARE) {
		idle->period_ns = PERIOD_MIN_NS;
	} else {
		if (idle->drop)
			idle->drop(idle->ctx);
		heap_trim();
		(void)dl_iterate_phdr(drop_segments, &page);
		idle->period_ns = MIN_OF(idle->period_ns * 2, PERIOD_MAX_NS);
	}
	idle->cpu_ns = thread_cpu_ns();
	loop_timer_set(idle->loop, t, idle->period_ns, on_timer);
}

void idle_start(struct idle *idle, struct loop *loop, void (*drop)(void *ctx), void *ctx)
{
	*idle = (struct idle){
		.loop = loop, .period_ns = PERIOD_MIN_NS, .cpu_ns = thread_cpu_ns(), .drop = drop, .ctx = ctx};
	loop_timer_set(loop, &idle->timer, idle->period_ns, on_timer);
}

void idle_stop(struct idle *idle)
{
	loop_timer_cancel(&idle->timer);
}
