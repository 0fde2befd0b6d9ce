/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-fs (virtio 1.2 §5.11): a FUSE server (protocol 7.27 to 7.38, what Linux 5.4 and later offer) for one folder of the host.
 * Nothing outside that folder can be named: every path step is one component, opened with
 * openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). The guest can open regular files and folders; symbolic links, fifos and
 * sockets exist; device nodes are shown and never opened or made. Mounts below the folder are followed and announced as submounts.
 *
 * The host's changes are seen in the guest within a second (FUSE 1 s for names and attributes, nothing for absent names; file
 * contents at the next open). FUSE notifications do not exist over virtio in stock kernels, so inotify in the guest hears
 * of changes by the guest alone (what the kubelet updates is copied into the guest: shim/live.h).
 *
 * fs_new makes the calling thread the device's: the one that runs the loop. It gives it a working directory and a umask of its
 * own (unshare(CLONE_FS)) and SECBIT_NO_SETUID_FIXUP, so that files can be made as the guest's users without losing
 * capabilities, and starts the workers. It needs CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
 * CAP_SETFCAP, and CAP_SETPCAP unless the secure bit is set already. If it is not root, files can be made as itself only.
 */
#include "virtio/device.h"

struct fs;

#define FS_TAG_MAX 36
#define FS_REQUEST_QUEUES_MAX (VIRTIO_QUEUES_MAX - 1)
#define FS_FDS_MIN 64

struct fs_options {
	const char *tag;	   /* at most 36 bytes */
	int root_fd;		   /* O_PATH or folder descriptor of the shared folder; consumed, also on failure */
	unsigned n_request_queues; /* 1 to FS_REQUEST_QUEUES_MAX */
	unsigned fds_max; /* descriptors that the guest may make us hold (inodes and handles together), >= FS_FDS_MIN */
	bool writeback;	  /* off by default */
	unsigned
		workers; /* threads for operations that may block for long (fsync, fallocate ...), up to 8; 0: inline */
	/*
	 * /proc/self/fd of this process, opened by itself (so after a fork into a pid namespace; which instance of procfs it is, and
	 * whether that is still mounted, does not matter); consumed, also on failure. <= 0: fs_new opens it.
	 */
	int proc_fd;
	/*
	 * fcntl and flock locks are left to the guest kernel: they do not reach the host or other guests then, but a process that
	 * waits for one can be killed. (Linux does not pass interrupts on over virtio-fs.)
	 */
	bool local_locks;
};

int fs_new(struct fs **ret, struct loop *loop, const struct fs_options *opts, struct err *err) must_check;
void fs_free(struct fs *fs);
DEFINE_FREEP(fs);
struct virtio_dev *fs_dev(struct fs *fs);
