/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-fs (virtio 1.2 §5.11): a FUSE server (protocol 7.31 up to what Linux 6.12 offers) for one folder of the host.
 * Nothing outside that folder can be named: every path step is one component, opened with
 * openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) from an O_PATH inode; only regular files, folders, symbolic links, fifos and
 * sockets exist for the guest. Mounts below the folder are followed and announced as submounts.
 */
#include "virtio/device.h"

struct fs;

struct fs_options {
	const char *tag;     /* at most 36 bytes */
	int root_fd;	     /* O_PATH or folder descriptor of the shared folder; consumed */
	int proc_fd;	     /* O_PATH of /proc/self/fd (a jail has no /proc); consumed. <= 0: fs opens it by its path */
	unsigned n_request_queues; /* >= 1 */
	unsigned fds_max;    /* descriptors that the guest may make us hold (inodes and handles together) */
	bool writeback;	     /* off by default */
	unsigned workers;    /* threads for operations that may block for long (locks, fsync); 0: inline */
};

int fs_new(struct fs **ret, struct loop *loop, const struct fs_options *opts, struct err *err) must_check;
void fs_free(struct fs *fs);
DEFINE_FREEP(fs);
struct virtio_dev *fs_dev(struct fs *fs);
