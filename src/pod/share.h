/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod's shared folder: a small tmpfs in the mount namespace of the pod's own process, which the guest mounts by virtio-fs at
 * GUEST_SHARE. Everything the guest sees of the host is bound or written below it, so it ends with that namespace, however the
 * process ends. Paths are relative to the share, below folders that the host made: no name of a guest is ever in them. For the guest
 * the tmpfs is read-only (what is bound there has its own say), or a link in place of a folder would lead the host astray.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "base/paths.h"

#define GUEST_SHARE "/run/podvm/shared"

struct share {
	char path[PATH_LEN]; /* on the host */
	int fd;	  /* as the guest sees it, with all that is bound there; read-only itself; -1 when not set up */
	int bare; /* the tmpfs alone, writable: the host's way to make and remove names */
};

enum share_flags {
	SHARE_RO = 1,		/* the mount itself */
	SHARE_RO_RECURSIVE = 2, /* and those below it (needs Linux 5.12) */
	SHARE_FLAT = 4,		/* without the mounts below it */
	SHARE_FOLLOW = 8, /* share_take: later mounts of the host arrive (where the host's mount is a shared one) */
};

/* Gives the calling process its own mount namespace (mounts of the host still arrive, none of ours leave). Once. */
int share_enter(struct err *err) must_check;

/* The mount namespace that the process came from, for sources that are mounted there later, whether such mounts arrive or not. */
struct share_host {
	int host, own; /* descriptors of the namespaces; -1 when not set up */
};
/* Instead of share_enter. In a process without threads. */
int share_enter_from(struct share_host *ret, struct err *err) must_check;
void share_host_fini(struct share_host *h);
/*
 * Takes the file or folder `source` as the host's namespace has it now: a detached copy of its mount, for share_graft. -EINVAL: it
 * is neither a file nor a folder. `flags`: enum share_flags. *ret_below: other mounts are below it.
 */
int share_take(const struct share_host *h, const char *source, unsigned flags, int *ret_tree, bool *ret_below,
	struct err *err) must_check;
/* Mounts it at `path`, which is made. */
int share_init(struct share *sh, const char *path, struct err *err) must_check;
/* No-op when it is not set up. */
void share_fini(struct share *sh);

/* A folder with this mode; an existing one gets the mode. */
int share_dir(const struct share *sh, const char *path, mode_t mode, struct err *err) must_check;
/* A new file. */
int share_file(
	const struct share *sh, const char *path, const void *bytes, size_t n, mode_t mode, struct err *err) must_check;
/*
 * Binds the file or folder that `src` (O_PATH) is to `path`, which is made. Mounts made later on the host below it arrive
 * here and in the guest; none of ours leave. `flags`: enum share_flags.
 */
int share_bind(const struct share *sh, int src, const char *path, unsigned flags, struct err *err) must_check;
/* Puts what share_take took (borrowed) at `path`, which is made. */
int share_graft(const struct share *sh, int tree, const char *path, struct err *err) must_check;
/* Removes what share_dir and share_file made at `path`, with all below it; what was bound there is to be unbound before. */
void share_remove(const struct share *sh, const char *path);
/* Unmounts what is at `path`, if anything. */
void share_unbind(const struct share *sh, const char *path);
/* Makes the mount at `path` (of share_mount's kind) visible to the jail of the VMM. */
int share_publish(const struct share *sh, const char *path, struct err *err) must_check;
