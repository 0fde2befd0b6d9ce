/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An event loop on epoll(7). Sources are embedded in their owners, so adding one allocates nothing.
 *
 *   source state   allowed
 *   zeroed         loop_add_fd / loop_timer_set
 *   added          loop_mod_fd, loop_remove_fd / loop_timer_cancel; the callback runs
 *   removed        like zeroed; may be freed at once, also inside any callback: no event of it is delivered any more
 *
 * One thread only; other threads reach a loop through an eventfd that it watches. Signals come through loop_add_signals.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

struct loop;

struct loop_fd {
	int fd;						  /* borrowed: the owner closes it after loop_remove_fd */
	void (*fn)(struct loop_fd *src, uint32_t events); /* EPOLLIN and so on */
	struct loop *loop;				  /* private; NULL when not added */
};

struct loop_timer {
	void (*fn)(struct loop_timer *t);
	struct loop *loop;	 /* private; NULL when not set */
	uint64_t deadline_ns;	 /* private; CLOCK_MONOTONIC */
	struct loop_timer *next; /* private; list sorted by deadline */
};

int loop_new(struct loop **ret, struct err *err) must_check;
/* Sources still added are forgotten, not closed. NULL is fine. */
void loop_free(struct loop *loop);
DEFINE_FREEP(loop);

/* Level triggered; `events` may be 0 (then only EPOLLERR and EPOLLHUP arrive). */
int loop_add_fd(struct loop *loop, struct loop_fd *src, int fd, uint32_t events,
	void (*fn)(struct loop_fd *src, uint32_t events), struct err *err) must_check;
void loop_mod_fd(struct loop_fd *src, uint32_t events);
/* No-op when not added. */
void loop_remove_fd(struct loop_fd *src);

/* One shot at now + delay_ns (0: at the next turn); setting a set timer moves it. */
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t delay_ns, void (*fn)(struct loop_timer *t));
void loop_timer_cancel(struct loop_timer *t);

/* Blocks the signals of `set` for the calling thread and delivers them to fn as data (signalfd). Once per loop. */
int loop_add_signals(struct loop *loop, const sigset_t *set, void (*fn)(void *ctx, int signo), void *ctx,
	struct err *err) must_check;

/* Runs until loop_stop; returns the code given to it, or a negative errno when epoll itself fails. */
int loop_run(struct loop *loop);
/* One turn: waits at most timeout_ms (-1: no limit), runs what is due. 0 or -errno. */
int loop_turn(struct loop *loop, int timeout_ms);
void loop_stop(struct loop *loop, int code);

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
