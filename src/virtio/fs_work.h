/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Operations that may block for long, on threads of their own; fs and blk use them. A job of fs sees descriptors and numbers
 * only, never guest memory: so its reset just forgets the jobs, and what a thread is still doing then ends harmlessly. Those of
 * blk do touch guest memory, and its reset drains.
 *
 *   fs_work_init -> fs_work_start (threads) -> fs_work_submit ... done callbacks on the loop -> fs_work_fini (waits for running jobs)
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define FS_WORKERS_MAX 8

struct fs_job {
	struct fs_job *next;			  /* private */
	int64_t (*run)(const struct fs_job *job); /* on a worker: a result, or -errno */
	int fd, fd_out;				  /* borrowed: open until `done` has run */
	uint64_t off, off_out, len;
	int mode;
	int64_t result;
};

struct fs_work {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t threads[FS_WORKERS_MAX];
	unsigned n_threads;
	bool stop;
	unsigned running; /* jobs that a thread is at */
	pthread_cond_t idle;
	struct fs_job *todo, **todo_end, *finished;
	int event_fd;
	struct loop_fd src;
	void (*done)(void *ctx, struct fs_job *job);
	void *ctx;
};

/* `done` runs on the loop for every job that was submitted, with `result` set; it owns the job. No threads yet. */
int fs_work_init(struct fs_work *w, struct loop *loop, void (*done)(void *ctx, struct fs_job *job), void *ctx,
	struct err *err) must_check;
int fs_work_start(struct fs_work *w, unsigned n_threads, struct err *err) must_check;
/* Ends the threads, waiting for what they are doing, and gives every job to `done`. */
void fs_work_fini(struct fs_work *w);
/* Without threads the job is run, and `done` called, at once. */
void fs_work_submit(struct fs_work *w, struct fs_job *job);
/* Waits for the jobs that run, cancels (-ECANCELED) those that do not yet, and gives all of them to `done`. */
void fs_work_drain(struct fs_work *w);
