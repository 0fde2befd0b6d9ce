/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads and writes of one file for virtio-blk, many at a time: by io_uring, or by threads that call preadv and pwritev.
 *
 *   blk_io_init -> blk_io_start -> blk_io_submit ..., blk_io_flush -> done callbacks on the loop -> blk_io_drain -> blk_io_fini
 *
 * The ring is locked down when it is made: it can read, write, sync and fallocate this one file, and nothing else.
 */
#include <sys/uio.h>

#include "virtio/fs_work.h"

#define BLK_JOBS_MAX 128 /* in flight */
#define BLK_WORKERS 2

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_PUNCH, BLK_ZERO };

struct blk_job {
	enum blk_op op;
	bool sync;	   /* of BLK_WRITE: on the disk when it is done */
	struct iovec *iov; /* borrowed until done, and consumed */
	unsigned n_iov;
	uint64_t off, len; /* bytes; of a read or write what the iovec holds; consumed likewise */
	int result;	   /* 0 or -errno; a file that ends early is -EIO */
	struct fs_job work;
};

enum blk_engine { BLK_ENGINE_AUTO, BLK_ENGINE_URING, BLK_ENGINE_THREADS };

struct blk_uring;

/* Called on the loop, or in blk_io_drain. */
struct blk_io_ops {
	void (*done)(void *ctx, struct blk_job *job);
	void (*batch)(void *ctx); /* after some calls of done: a good time to tell somebody */
};

struct blk_io {
	int fd;
	struct blk_uring *uring; /* NULL: threads */
	struct fs_work work;
	unsigned in_flight;
	const struct blk_io_ops *ops;
	void *ctx;
};

/* fd is borrowed. AUTO takes io_uring where the kernel has all of it. */
int blk_io_init(struct blk_io *io, struct loop *loop, int fd, enum blk_engine engine, const struct blk_io_ops *ops,
	void *ctx, struct err *err) must_check;
/* Starts the threads, where there are any; again: nothing. They inherit the rights of the calling thread. */
int blk_io_start(struct blk_io *io, struct err *err) must_check;
void blk_io_fini(struct blk_io *io);
/* At most BLK_JOBS_MAX at a time. The job starts with blk_io_flush at the latest. */
void blk_io_submit(struct blk_io *io, struct blk_job *job);
void blk_io_flush(struct blk_io *io);
/* When it returns, done has been called for every job and nothing touches their memory. */
void blk_io_drain(struct blk_io *io);

/* ---- between blk_io.c and blk_uring.c ---- */

/* `n` bytes, or -errno in n, have been done of the job. True when it is over; result is then set. */
bool blk_job_advance(struct blk_job *job, int64_t n);
/* Gives the job to done. */
void blk_io_complete(struct blk_io *io, struct blk_job *job);

/* -ENOSYS: the kernel has no io_uring, or not all that is needed, or does not allow it. */
int blk_uring_new(struct blk_uring **ret, struct blk_io *io, struct loop *loop, struct err *err) must_check;
void blk_uring_free(struct blk_uring *u);
void blk_uring_submit(struct blk_uring *u, struct blk_job *job);
void blk_uring_flush(struct blk_uring *u);
/* Waits for at least one job. */
void blk_uring_wait(struct blk_uring *u);
