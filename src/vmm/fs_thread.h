/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The thread of virtio-fs: a loop of its own, so that a file system that blocks never stalls vsock.
 */
#include <pthread.h>

#include "virtio/device.h"
#include "vmm/options.h"

struct fs_thread {
	const struct options *opts; /* borrowed */
	int root_fd, proc_fd;	    /* consumed by the thread */
	unsigned fds_max;
	/*
	 * Our own machine: puts the device on its bus, in the thread. NULL: the device is served on opts->fs_sock. fs_thread_start
	 * then waits for it.
	 */
	int (*attach)(void *ctx, struct virtio_dev *dev, struct err *err);
	void *ctx;
	int attached_fd; /* eventfd, written when attach was called, or nothing came of it */
	int end_fd;	 /* eventfd, readable when the thread is through; owned */
	struct err why;	 /* why->code == 0: the front end hung up. Valid once end_fd is readable */
};

/*
 * Starts it; t->attach and t->ctx are set, the rest is not. root_fd and proc_fd are consumed. The owner watches end_fd and keeps `t` until the process ends: the thread may
 * hang in a file system for ever, so nobody waits for it.
 */
int fs_thread_start(
	struct fs_thread *t, const struct options *opts, int root_fd, int proc_fd, struct err *err) must_check;
