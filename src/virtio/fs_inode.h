/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inodes that the guest knows, and the budget of descriptors. fs_inode.c has the theory.
 *
 *   life of an inode     held by
 *   entered              the guest, nlookup times (fs_inode_enter); it may be named in requests
 *   forgotten            children that were found in it, open handles, running jobs; the guest may not name it
 *   freed                when nobody holds it
 */
#include <stdbool.h>

#include "base/err.h"
#include "base/libc.h"
#include "virtio/fs_slots.h"

/*
 * One inode for each KiB of the guest's memory: Linux needs more than that to remember one (fuse_inode and dentry), so no guest comes to
 * the end of them that could not have made it up. Not fewer than FS_INODES_MIN, not more than FS_SLOTS_MAX. What a guest can make us
 * hold is that number times FS_INODE_COST bytes at most (with names of 255 bytes; half of it with usual ones).
 */
#define FS_INODES_MIN 65536u
#define FS_INODE_COST 512u

#define FS_DEPTH_MAX 4096 /* folders between an inode and the next one above it that is open */

struct fs_handle;
struct fs_plock;

struct fs_key {
	uint64_t dev, ino, mnt;
};

struct fs_list {
	struct fs_list *prev, *next;
};

struct fs_inode {
	struct fs_key key;
	uint64_t nodeid;
	uint64_t nlookup;
	struct fs_inode *parent; /* the place where it was seen last; NULL: the root, or the place is lost */
	char *name;
	struct fs_inode *key_next, *name_next;
	struct fs_list lru; /* linked: fd may be closed at any time */
	struct fs_handle *handles;
	struct fs_plock *plocks;
	uint64_t
		stamp; /* symbolic links: mtime; regular files: the version that the guest's page cache has (fs_ops_file.c) */
	uint32_t refs, name_hash;
	int fd;	       /* O_PATH (a folder's may be a real one), -1: not open */
	uint16_t type; /* S_IFREG ... */
	bool nested;   /* on a mount below one that is below the root's: the host may want to unmount it */
	bool touched;  /* nested: its descriptor was used since the last fs_inodes_idle */
};

struct fs_inodes {
	struct fs_slots slots;
	struct fs_inode *root;
	int proc_fd; /* /proc/self/fd of this process; borrowed */

	struct fs_inode **by_key, **by_name; /* n_buckets each */
	uint32_t n_buckets;
	uint64_t seed[2];
	uint32_t mnt_mask; /* STATX_MNT_ID, or the one that is never reused */

	struct fs_list lru;		   /* of inodes with an fd that may be closed, the coldest last */
	struct fs_list nested;		   /* the same of nested ones */
	unsigned n_hot, n_nested, hot_max; /* on both lists; on the second */
	unsigned n_fds, fds_max;	   /* all descriptors that the guest makes us hold */
	unsigned n_held;		   /* those of them that cannot be closed at will: handles, locks */
	struct fs_inode *walk[FS_DEPTH_MAX];
};

/*
 * `root_fd` (a folder; consumed on success) becomes FUSE_ROOT_ID. fds_max >= 32. The seed keeps a guest from choosing names that fall
 * into one bucket.
 */
int fs_inodes_init(struct fs_inodes *t, int root_fd, int proc_fd, unsigned fds_max, struct err *err) must_check;
void fs_inodes_fini(struct fs_inodes *t);
/* The guest has `memory` bytes. A limit never sinks. */
void fs_inodes_limit(struct fs_inodes *t, uint64_t memory);
/* Forgets everything but the root. Handles and locks must be gone. */
void fs_inodes_drop(struct fs_inodes *t);

/* What the guest calls `nodeid`; NULL if it may not name that. */
struct fs_inode *fs_inode_get(struct fs_inodes *t, uint64_t nodeid);
/*
 * The inode that `stx` says lies at `name` in `parent` (checked by fs_name_ok). parent NULL: it has no name (O_TMPFILE). Counts one
 * lookup. -ENFILE: too many inodes; -ENOMEM.
 */
int fs_inode_enter(struct fs_inodes *t, struct fs_inode *parent, const char *name, const struct statx *stx,
	struct fs_inode **ret) must_check;
/* The guest forgets n lookups; more than there were are as many as there were. */
void fs_inode_forget(struct fs_inodes *t, struct fs_inode *ino, uint64_t n);
void fs_inode_ref(struct fs_inode *ino);
void fs_inode_unref(struct fs_inodes *t, struct fs_inode *ino);

/*
 * A descriptor of the inode for *at() calls and AT_EMPTY_PATH; borrowed, good until the next call of this module or until a
 * handle is closed. -ESTALE: it is not where it was; -ENFILE.
 */
int fs_inode_fd(struct fs_inodes *t, struct fs_inode *ino) must_check;
/* Two of them at a time: b's is returned, a's is *ret_a. */
int fs_inode_fd2(struct fs_inodes *t, struct fs_inode *a, struct fs_inode *b, int *ret_a) must_check;
/* What statx says of it, without opening it where possible. Errors as above. */
int fs_inode_stat(struct fs_inodes *t, struct fs_inode *ino, struct statx *ret_stx) must_check;
/*
 * Opens the inode (a regular file or folder) anew with `flags`; the descriptor is the caller's and counted (fs_fd_close).
 * *ret_stx tells about the open file.
 */
int fs_inode_open(struct fs_inodes *t, struct fs_inode *ino, int flags, struct statx *ret_stx) must_check;
/* Opens `fd` anew through /proc/self/fd; the result is counted. */
int fs_reopen(struct fs_inodes *t, int fd, int flags) must_check;

/* The guest changed what belongs to the identity of a symbolic link. */
void fs_inode_touched(struct fs_inode *ino, const struct statx *stx);

/*
 * Closes the descriptors of nested inodes that were not used since the last call: an open one keeps a mount busy, and it is the host's to
 * take away. To be called now and then, between requests, while n_nested is not 0.
 */
void fs_inodes_idle(struct fs_inodes *t);

/* Around changes that we make ourselves: `name` in `dir` is about to vanish, so what lies there is opened while it can be. */
void fs_inode_keep(struct fs_inodes *t, struct fs_inode *dir, const char *name);
/* `name` is gone. */
void fs_inode_unlinked(struct fs_inodes *t, struct fs_inode *dir, const char *name);

struct fs_place {
	struct fs_inode *dir;
	const char *name;
};

void fs_inode_renamed(struct fs_inodes *t, struct fs_place from, struct fs_place to, bool exchange);
/* The inode's last handle is about to be closed (`fd`): if it can be reached by nothing else, it is opened once more. */
void fs_inode_last_handle(struct fs_inodes *t, struct fs_inode *ino, int fd);
/* Takes a folder's descriptor that is not needed any more. It is used, or closed. */
void fs_inode_donate(struct fs_inodes *t, struct fs_inode *ino, int fd);

/* openat2 of one component, never outside `dirfd`; counted. Closing it takes fs_fd_close. */
int fs_openat(struct fs_inodes *t, int dirfd, const char *name, int flags, unsigned mode) must_check;
void fs_fd_close(struct fs_inodes *t, int fd);
/* A counted descriptor becomes one that is held for the guest (handles, locks). -ENFILE: enough of them are. */
int fs_fd_hold(struct fs_inodes *t) must_check;
void fs_fd_unhold(struct fs_inodes *t);
/* statx of `name` in dirfd ("": dirfd itself), symbolic links not followed. */
int fs_statx(const struct fs_inodes *t, int dirfd, const char *name, struct statx *ret) must_check;
/* One step of a path: not empty, not "." or "..", no "/", at most 255 bytes (-ENAMETOOLONG, else -EINVAL). */
int fs_name_check(const char *name) must_check;

/* --- between fs_inode.c and fs_inode_fd.c --- */

/* Does `stx` tell of this inode? */
bool fs_inode_is(const struct fs_inode *ino, const struct statx *stx);
/* It is not (or no more) where it was seen last. What is open stays so. */
void fs_inode_lose_place(struct fs_inodes *t, struct fs_inode *ino);
/* The inode, which has just been opened and has a place, may be closed at need. */
void fs_lru_add(struct fs_inodes *t, struct fs_inode *ino);
/* No-op if it is not on the list. */
void fs_lru_remove(struct fs_inodes *t, struct fs_inode *ino);
