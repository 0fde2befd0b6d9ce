/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll with embedded sources. A turn collects up to EVENTS_MAX events; a source that is removed while the turn is being
 * delivered is struck from what is left of it, so its memory may be freed at once. Timers are a sorted list: a pod has a
 * handful of them.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/bytes.h"
#include "base/fd.h"

#define EVENTS_MAX 32

struct loop {
	int epfd;
	bool stopped;
	int code;
	struct loop_timer *timers; /* sorted by deadline */
	struct epoll_event events[EVENTS_MAX];
	int n_events, at; /* the turn being delivered */
	int sigfd;
	struct loop_fd sig_src;
	void (*sig_fn)(void *ctx, int signo);
	void *sig_ctx;
};

int loop_new(struct loop **ret, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return err_set(err, ENOMEM, "event loop: out of memory");
	loop->sigfd = -1;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0) {
		int r = err_errno(err, "epoll_create1");

		free(loop);
		return r;
	}
	*ret = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close_fd(&loop->sigfd);
	close_fd(&loop->epfd);
	free(loop);
}

int loop_add_fd(struct loop *loop, struct loop_fd *src, int fd, uint32_t events,
	void (*fn)(struct loop_fd *src, uint32_t events), struct err *err)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	assert(!src->loop);
	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_errno(err, "watch descriptor %d", fd);
	src->fd = fd;
	src->fn = fn;
	src->loop = loop;
	return 0;
}

void loop_mod_fd(struct loop_fd *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};
	int r;

	assert(src->loop);
	r = epoll_ctl(src->loop->epfd, EPOLL_CTL_MOD, src->fd, &ev);
	assert(r == 0);
	(void)r;
}

void loop_remove_fd(struct loop_fd *src)
{
	struct loop *loop = src->loop;

	if (!loop)
		return;
	(void)epoll_ctl(loop->epfd, EPOLL_CTL_DEL, src->fd, NULL);
	for (int i = loop->at; i < loop->n_events; i++)
		if (loop->events[i].data.ptr == src)
			loop->events[i].data.ptr = NULL;
	src->loop = NULL;
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->loop)
		return;
	for (struct loop_timer **p = &t->loop->timers; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->loop = NULL;
	t->next = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t delay_ns, void (*fn)(struct loop_timer *t))
{
	struct loop_timer **p = &loop->timers;

	loop_timer_cancel(t);
	t->fn = fn;
	t->loop = loop;
	if (__builtin_add_overflow(time_mono_ns(), delay_ns, &t->deadline_ns))
		t->deadline_ns = UINT64_MAX;
	while (*p && (*p)->deadline_ns <= t->deadline_ns)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

static void on_signal(struct loop_fd *src, uint32_t events)
{
	struct loop *loop = container_of(src, struct loop, sig_src);
	struct signalfd_siginfo si;

	(void)events;
	while (read(loop->sigfd, &si, sizeof(si)) == sizeof(si))
		loop->sig_fn(loop->sig_ctx, (int)si.ssi_signo);
}

int loop_add_signals(
	struct loop *loop, const sigset_t *set, void (*fn)(void *ctx, int signo), void *ctx, struct err *err)
{
	int r;

	assert(loop->sigfd < 0);
	if (pthread_sigmask(SIG_BLOCK, set, NULL) != 0)
		return err_set(err, EINVAL, "block signals");
	loop->sigfd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->sigfd < 0)
		return err_errno(err, "signalfd");
	loop->sig_fn = fn;
	loop->sig_ctx = ctx;
	r = loop_add_fd(loop, &loop->sig_src, loop->sigfd, EPOLLIN, on_signal, err);
	if (r < 0)
		close_fd(&loop->sigfd);
	return r;
}

/* Milliseconds until the first timer, rounded up so that it is due when epoll returns. */
static int timer_wait_ms(const struct loop *loop, int timeout_ms)
{
	uint64_t now, left;

	if (!loop->timers)
		return timeout_ms;
	now = time_mono_ns();
	left = loop->timers->deadline_ns > now ? loop->timers->deadline_ns - now : 0;
	left = (left + NS_PER_MS - 1) / NS_PER_MS;
	if (timeout_ms >= 0 && left > (uint64_t)timeout_ms)
		return timeout_ms;
	return left > 3600000 ? 3600000 : (int)left;
}

static void run_timers(struct loop *loop)
{
	uint64_t now = time_mono_ns();

	/* A timer set by a callback is due at the next turn at the earliest: its deadline is not before `now`. */
	while (loop->timers && loop->timers->deadline_ns <= now && !loop->stopped) {
		struct loop_timer *t = loop->timers;

		loop->timers = t->next;
		t->loop = NULL;
		t->next = NULL;
		t->fn(t);
	}
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	int n = epoll_pwait(loop->epfd, loop->events, EVENTS_MAX, timer_wait_ms(loop, timeout_ms), NULL);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->n_events = n;
	for (loop->at = 0; loop->at < loop->n_events && !loop->stopped; loop->at++) {
		struct epoll_event *ev = &loop->events[loop->at];
		struct loop_fd *src = ev->data.ptr;

		if (src)
			src->fn(src, ev->events);
	}
	loop->n_events = 0;
	run_timers(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped) {
		int r = loop_turn(loop, -1);

		if (r < 0)
			return r;
	}
	return loop->code;
}

void loop_stop(struct loop *loop, int code)
{
	loop->stopped = true;
	loop->code = code;
}
