/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Open files and folders of the guest. */
#include "virtio/fs_inode.h"

struct fs_handle {
	uint64_t fh;
	struct fs_inode *inode;	       /* held; NULL once released: jobs and waiting locks may still hold the handle */
	struct fs_handle *prev, *next; /* of the inode */
	int fd;
	unsigned refs;
	bool flocked; /* flock(2) was used: the lock must go with the handle */
	bool wrote;
	bool no_flush;	 /* the guest was told that it need not say when it closes it, only when it is gone */
	int64_t dir_pos; /* folders: where the descriptor stands */
};

struct fs_handles {
	struct fs_slots slots;
	struct fs_inodes *inodes; /* borrowed */
};

void fs_handles_init(struct fs_handles *hs, struct fs_inodes *inodes);
void fs_handles_fini(struct fs_handles *hs);
/* Releases every handle. Those of running jobs live on until the job ends. */
void fs_handles_drop(struct fs_handles *hs);

/* `fd` (counted) is consumed, also on failure. -ENFILE, -ENOMEM. */
int fs_handle_new(struct fs_handles *hs, struct fs_inode *ino, int fd, struct fs_handle **ret) must_check;
/* NULL if there is no handle `fh` of this inode. */
struct fs_handle *fs_handle_get(const struct fs_handles *hs, uint64_t fh, const struct fs_inode *ino);
/* The guest closed it. */
void fs_handle_release(struct fs_handles *hs, struct fs_handle *h);
void fs_handle_ref(struct fs_handle *h);
void fs_handle_unref(struct fs_handles *hs, struct fs_handle *h);
