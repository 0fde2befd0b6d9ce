/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod that does nothing should cost nothing. What a device has touched of the guest's memory counts as ours although it is
 * QEMU's, and so do the program's own pages and freed heap. A thread that has used next to no processor time for a while
 * therefore gives all of it back; it comes back by page faults, from the page cache, when there is work again. The period
 * grows while nothing happens, so that a thousand idle pods do not tick.
 */
#include "vmm/serve.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bytes.h"

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

static void on_idle(struct loop_timer *t)
{
	struct serve *s = container_of(t, struct serve, idle);
	const uint64_t cpu = thread_cpu_ns();
	uintptr_t page = 4096;

	if (cpu - s->cpu_ns > s->idle_period_ns / IDLE_SHARE) {
		s->idle_period_ns = PERIOD_MIN_NS;
	} else {
		vhost_user_drop_rss(s->vu);
		(void)malloc_trim(0);
		(void)dl_iterate_phdr(drop_segments, &page);
		s->idle_period_ns = MIN_OF(s->idle_period_ns * 2, PERIOD_MAX_NS);
	}
	s->cpu_ns = thread_cpu_ns();
	loop_timer_set(s->loop, t, s->idle_period_ns, on_idle);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct serve *s = ctx;

	s->ended(s->ctx, why);
}

int serve_start(struct serve *s, struct loop *loop, struct virtio_dev *dev, int sock,
	void (*ended)(void *ctx, const struct err *why), void *ctx, struct err *err)
{
	int r;

	*s = (struct serve){.loop = loop, .ended = ended, .ctx = ctx, .idle_period_ns = PERIOD_MIN_NS};
	r = vhost_user_new(&s->vu, loop, dev, sock, on_closed, s, err);
	if (r < 0)
		return err_wrap(err, "%s", dev->ops->name);
	s->cpu_ns = thread_cpu_ns();
	loop_timer_set(loop, &s->idle, s->idle_period_ns, on_idle);
	return 0;
}

void serve_stop(struct serve *s)
{
	loop_timer_cancel(&s->idle);
	vhost_user_free(take_ptr(s->vu));
}
