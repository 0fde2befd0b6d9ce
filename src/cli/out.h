/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Our own standard output and error, for commands with a loop that must go on when nobody reads them: what is written waits in
 * memory and goes out as the reader takes it. The owner stops its sources while out_full, so little waits.
 *
 *   zeroed -> out_open -> out_put ... (`changed`) -> out_close
 *
 * The descriptors are shared with other processes, whose view of them does not change: pipes and terminals are opened once more
 * for ourselves, without blocking; to sockets each write says that it does not want to wait. Where that is not possible (no /proc, no
 * right), only as much as poll(2) promises is written at a time. Files are simply written to.
 *
 * Standard error that is the same file as standard output shares its place, so that the order is kept.
 */
#include "base/buf.h"
#include "base/loop.h"

#define OUT_FULL (64u * 1024) /* bytes that wait from which on the owner should stop */

struct out_end {
	struct out *out;
	enum out_kind { OUT_FILE, OUT_OWN, OUT_SOCKET, OUT_POLLED } kind;
	int fd;	   /* what is written to: number 1 or 2, or our own */
	bool gone; /* nobody reads any more; what is put is dropped */
	bool full; /* from OUT_FULL bytes on, until half of them have gone */
	struct buf pending;
	struct loop_fd src; /* added while it waits for room */
};

struct out {
	struct loop *loop;
	struct out_end end[2];
	unsigned n_ends; /* 1: both are the same file */
	struct loop_timer timer;
	/* Less waits than before, or an end is gone. May call everything but out_close. Not while out_put is on the stack. */
	void (*changed)(struct out *out);
};

/* SIGPIPE must be ignored. */
void out_open(struct out *out, struct loop *loop, void (*changed)(struct out *out));
/* `fd` is 1 or 2. Written at the loop's next turn. Without memory for it, the end is gone. */
void out_put(struct out *out, int fd, const void *bytes, size_t n);
/* The owner should put no more for now. False for an end that is gone. */
bool out_full(const struct out *out, int fd);
/* Nobody reads it, or it could not be written: told by `changed` too. */
bool out_gone(const struct out *out, int fd);
/* Writes what can be written now, without waiting for the next turn. */
void out_flush(struct out *out);
/* Nothing waits. */
bool out_empty(const struct out *out);
/* Drops what waits. No-op on one that was not opened. */
void out_close(struct out *out);
