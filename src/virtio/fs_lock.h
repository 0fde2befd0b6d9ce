/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Locks of the guest, shared with the host and with other guests. fs_lock.c has the theory. */
#include "base/loop.h"
#include "virtio/fs_handle.h"

struct fs;
struct fs_waiter;

struct fs_locks {
	struct fs_waiter *waiters, **waiters_end; /* first come, first served */
	struct loop_timer timer;
	uint64_t delay_ns;
};

void fs_locks_init(struct fs_locks *l);
/* close(2) in the guest: `owner` has no fcntl locks on the inode any more. */
void fs_locks_close(struct fs *fs, struct fs_inode *ino, uint64_t owner);
/* The handle, of which no close is told (no_flush), is about to be released: so are the locks of those who took one on it. */
void fs_locks_close_handle(struct fs *fs, struct fs_inode *ino, uint64_t fh);
/* A handle of the inode was released; `flocked`: it may have had a flock lock. */
void fs_locks_released(struct fs *fs, struct fs_inode *ino, bool flocked);
/* Some lock of the inode is gone: those who wait try again. */
void fs_locks_changed(struct fs *fs, const struct fs_inode *ino);
/* The guest's request `unique` was interrupted. False if no lock waits for it. */
bool fs_locks_interrupt(struct fs *fs, uint64_t unique);
/* All locks and waiters are gone, with no reply. */
void fs_locks_drop(struct fs *fs);
