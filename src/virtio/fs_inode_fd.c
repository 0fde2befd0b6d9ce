/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: the budget, the list of those that may be closed, and every way to open something. See fs_inode.c.
 *
 * System calls: openat2 openat statx close
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/fs_handle.h"
#include "virtio/fs_proto.h"

#define IN_USE_MAX 4u
#define EVICT_AT_ONCE 16 /* when the process, not our budget, is out of descriptors */

/* ---- lists ---- */

static void list_unlink(struct fs_list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = NULL;
}

static void list_push(struct fs_list *head, struct fs_list *l)
{
	l->next = head->next;
	l->prev = head;
	head->next->prev = l;
	head->next = l;
}

/* ---- descriptors ---- */

static void cool(struct fs_inodes *t, struct fs_inode *ino)
{
	fs_lru_remove(t, ino);
	(void)close(ino->fd);
	ino->fd = -1;
	t->n_fds--;
}

/* Not the ones in use at this moment: an operation needs two folders at most, and touches them last (fs_inode_fd2). */
static bool evict(struct fs_inodes *t)
{
	const struct fs_list *list = t->n_hot - t->n_nested > IN_USE_MAX ? &t->lru : &t->nested;

	if (list == &t->nested && t->n_nested <= IN_USE_MAX)
		return false;
	cool(t, container_of(list->prev, struct fs_inode, lru));
	return true;
}

void fs_inodes_idle(struct fs_inodes *t)
{
	for (struct fs_list *l = t->nested.next, *next; l != &t->nested; l = next) {
		struct fs_inode *ino = container_of(l, struct fs_inode, lru);

		next = l->next;
		if (!ino->touched)
			cool(t, ino);
		ino->touched = false;
	}
}

static int fd_take(struct fs_inodes *t)
{
	while (t->n_fds >= t->fds_max)
		if (!evict(t))
			return -ENFILE;
	t->n_fds++;
	return 0;
}

void fs_fd_close(struct fs_inodes *t, int fd)
{
	(void)close(fd);
	t->n_fds--;
}

int fs_fd_hold(struct fs_inodes *t)
{
	/* Something is left for the folders on the way, or nothing could be reached any more, not even to close. */
	unsigned max = t->fds_max - MIN_OF(t->fds_max / 4, 64);

	if (t->n_held >= max)
		return -ENFILE;
	t->n_held++;
	return 0;
}

void fs_fd_unhold(struct fs_inodes *t)
{
	t->n_held--;
}

/* The process ran out of descriptors before our budget did: gives back some of ours. True: try again. */
static bool make_room(struct fs_inodes *t, int error)
{
	bool any = false;

	if (error != EMFILE && error != ENFILE)
		return false;
	for (int i = 0; i < EVICT_AT_ONCE && evict(t); i++)
		any = true;
	return any;
}

int fs_openat(struct fs_inodes *t, int dirfd, const char *name, int flags, unsigned mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int tries = 3, r = fd_take(t);
	long fd;

	if (r < 0)
		return r;
	do
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || make_room(t, errno)) && --tries > 0);
	if (fd >= 0)
		return (int)fd;
	r = -errno;
	t->n_fds--;
	return r;
}

int fs_reopen(struct fs_inodes *t, int fd, int flags)
{
	int tries = 3, r = fd_take(t), new_fd;
	char name[16];

	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%d", fd);
	do
		new_fd = openat(t->proc_fd, name, flags | O_CLOEXEC);
	while (new_fd < 0 && (errno == EINTR || make_room(t, errno)) && --tries > 0);
	if (new_fd >= 0)
		return new_fd;
	r = -errno;
	t->n_fds--;
	return r;
}

int fs_statx(const struct fs_inodes *t, int dirfd, const char *name, struct statx *ret)
{
	unsigned mask = STATX_BASIC_STATS | t->mnt_mask;

	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT, mask, ret) < 0)
		return -errno;
	return 0;
}

int fs_name_check(const char *name)
{
	size_t len = strlen(name);

	if (len > FS_NAME_MAX)
		return -ENAMETOOLONG;
	if (len == 0 || str_eq(name, ".") || str_eq(name, "..") || memchr(name, '/', len))
		return -EINVAL;
	return 0;
}

void fs_lru_add(struct fs_inodes *t, struct fs_inode *ino)
{
	if (t->n_hot >= t->hot_max)
		(void)evict(t);
	list_push(ino->nested ? &t->nested : &t->lru, &ino->lru);
	ino->touched = true;
	t->n_hot++;
	t->n_nested += ino->nested;
}

void fs_lru_remove(struct fs_inodes *t, struct fs_inode *ino)
{
	if (!ino->lru.next)
		return;
	list_unlink(&ino->lru);
	t->n_hot--;
	t->n_nested -= ino->nested;
}

/* ---- opening ---- */

/* Opens `name` in dirfd if it is still the inode. */
static int open_checked(struct fs_inodes *t, struct fs_inode *ino, int dirfd, int flags, struct statx *ret_stx)
{
	int fd = fs_openat(t, dirfd, ino->name, flags | O_NOFOLLOW, 0), r;

	if (fd >= 0) {
		r = fs_statx(t, fd, "", ret_stx);
		if (r == 0 && fs_inode_is(ino, ret_stx))
			return fd;
		fs_fd_close(t, fd);
		if (r < 0)
			return r;
	} else if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP && fd != -ENXIO && fd != -EISDIR) {
		return fd;
	}
	fs_inode_lose_place(t, ino);
	return -ESTALE;
}

static int heat_one(struct fs_inodes *t, struct fs_inode *ino)
{
	struct statx stx;
	int dirfd, fd;

	if (!ino->parent)
		return -ESTALE;
	/* Opened just before; gone again only if the budget is down to nothing. */
	dirfd = ino->parent->fd >= 0 ? ino->parent->fd : ino->parent->handles ? ino->parent->handles->fd : -1;
	if (dirfd < 0)
		return -ENFILE;
	fd = open_checked(t, ino, dirfd, O_PATH, &stx);
	if (fd < 0)
		return fd;
	ino->fd = fd;
	fs_lru_add(t, ino);
	return 0;
}

static bool is_open(const struct fs_inode *ino)
{
	return ino->fd >= 0 || ino->handles;
}

int fs_inode_fd(struct fs_inodes *t, struct fs_inode *ino)
{
	struct fs_list *first = ino->nested ? &t->nested : &t->lru;
	unsigned n = 0;

	for (struct fs_inode *p = ino; p && !is_open(p); p = p->parent) {
		if (n == FS_DEPTH_MAX)
			return -ESTALE;
		t->walk[n++] = p;
	}
	while (n > 0) {
		int r = heat_one(t, t->walk[--n]);

		if (r < 0)
			return r;
	}
	if (ino->fd < 0)
		return ino->handles->fd;
	if (ino->lru.next && first->next != &ino->lru) {
		list_unlink(&ino->lru);
		list_push(first, &ino->lru);
	}
	ino->touched = true;
	return ino->fd;
}

int fs_inode_fd2(struct fs_inodes *t, struct fs_inode *a, struct fs_inode *b, int *ret_a)
{
	for (int tries = 0; tries < 3; tries++) {
		int fd_b, fd_a = fs_inode_fd(t, a);

		if (fd_a < 0)
			return fd_a;
		fd_b = fs_inode_fd(t, b);
		if (fd_b < 0)
			return fd_b;
		/* On the way to b, a may have been closed. */
		if (!is_open(a))
			continue;
		*ret_a = fs_inode_fd(t, a);
		return fd_b;
	}
	return -ENFILE;
}

int fs_inode_stat(struct fs_inodes *t, struct fs_inode *ino, struct statx *ret_stx)
{
	int fd, r;

	if (is_open(ino))
		return fs_statx(t, ino->fd >= 0 ? ino->fd : ino->handles->fd, "", ret_stx);
	if (!ino->parent)
		return -ESTALE;
	fd = fs_inode_fd(t, ino->parent);
	if (fd < 0)
		return fd;
	r = fs_statx(t, fd, ino->name, ret_stx);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	if (r == 0 && fs_inode_is(ino, ret_stx))
		return 0;
	fs_inode_lose_place(t, ino);
	return -ESTALE;
}

int fs_inode_open(struct fs_inodes *t, struct fs_inode *ino, int flags, struct statx *ret_stx)
{
	int fd, r;

	if (!is_open(ino) && ino->parent) {
		fd = fs_inode_fd(t, ino->parent);
		/* A fifo that took the file's place must not block us. */
		return fd < 0 ? fd : open_checked(t, ino, fd, flags | O_NONBLOCK | O_NOCTTY, ret_stx);
	}
	fd = fs_inode_fd(t, ino);
	if (fd < 0)
		return fd;
	if (ino->type == S_IFDIR)
		fd = fs_openat(t, fd, ".", flags, 0);
	else
		fd = fs_reopen(t, fd, flags);
	if (fd < 0)
		return fd;
	r = fs_statx(t, fd, "", ret_stx);
	if (r < 0) {
		fs_fd_close(t, fd);
		return r;
	}
	return fd;
}

void fs_inode_donate(struct fs_inodes *t, struct fs_inode *ino, int fd)
{
	if (ino->fd >= 0) {
		fs_fd_close(t, fd);
		return;
	}
	ino->fd = fd;
	if (ino->parent)
		fs_lru_add(t, ino);
}

void fs_inode_last_handle(struct fs_inodes *t, struct fs_inode *ino, int fd)
{
	if (ino->fd >= 0 || ino->parent || ino->nlookup == 0)
		return;
	fd = fs_reopen(t, fd, O_PATH);
	if (fd >= 0)
		ino->fd = fd;
}
