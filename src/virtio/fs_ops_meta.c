/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to inodes, and what an inode says of itself.
 *
 * Permissions are the guest kernel's business (FUSE default_permissions is always on for virtio-fs): the server acts with
 * its own capabilities and only files that are made get the guest's ids.
 *
 * System calls: statx readlinkat fstatfs fchmodat fchownat utimensat ftruncate
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/fs_int.h"

int fs_op_lookup(struct fs_req *req)
{
	struct fs *fs = req->fs;
	const char *name;
	struct statx stx;
	uint32_t at = 0;
	int fd, r;

	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	fd = fs_inode_fd(&fs->inodes, req->inode);
	if (fd < 0)
		return fd;
	/* A single step that is not followed cannot leave the folder, so statx does what openat2 would. */
	r = fs_statx(&fs->inodes, fd, name, &stx);
	if (r < 0)
		return r;
	r = fs_fill_entry(fs, req->inode, name, &stx, (struct fuse_entry_out *)req->out);
	return r < 0 ? r : (int)sizeof(struct fuse_entry_out);
}

int fs_op_forget(struct fs_req *req)
{
	const struct fuse_forget_in *in = req->body;

	fs_inode_forget(&req->fs->inodes, req->inode, in->nlookup);
	return 0;
}

int fs_op_batch_forget(struct fs_req *req)
{
	const struct fuse_batch_forget_in *in = req->body;
	const struct fuse_forget_one *one = (const struct fuse_forget_one *)(in + 1);
	uint32_t n = MIN_OF(in->count, (req->body_len - sizeof(*in)) / sizeof(*one));

	for (uint32_t i = 0; i < n; i++) {
		struct fs_inode *ino = fs_inode_get(&req->fs->inodes, one[i].nodeid);

		if (ino)
			fs_inode_forget(&req->fs->inodes, ino, one[i].nlookup);
	}
	return 0;
}

int fs_op_getattr(struct fs_req *req)
{
	const struct fuse_getattr_in *in = req->body;
	struct fs_inodes *t = &req->fs->inodes;
	const struct fs_handle *h;
	struct statx stx;
	int r;

	if (in->getattr_flags & FUSE_GETATTR_FH) {
		h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
		if (!h)
			return -EBADF;
		r = fs_statx(t, h->fd, "", &stx);
	} else {
		r = fs_inode_stat(t, req->inode, &stx);
	}
	if (r < 0)
		return r;
	fs_fill_attr_out((struct fuse_attr_out *)req->out, &stx);
	return sizeof(struct fuse_attr_out);
}

/* ---- SETATTR ---- */

/* Through /proc/self/fd, because fchmod does not take O_PATH descriptors. */
static int set_mode(struct fs *fs, const struct fs_inode *ino, int fd, uint32_t mode)
{
	char name[16];

	if (ino->type == S_IFLNK)
		return -EOPNOTSUPP;
	(void)snprintf(name, sizeof(name), "%d", fd);
	return fchmodat(fs->proc_fd, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static int set_owner(int fd, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int kill_then_truncate(struct fs_inodes *t, int fd, const struct fuse_setattr_in *in)
{
	struct statx stx;
	int r;

	if (in->valid & FATTR_KILL_SUIDGID) {
		r = fs_statx(t, fd, "", &stx);
		if (r == 0)
			r = fs_kill_suidgid(fd, &stx);
		if (r < 0)
			return r;
	}
	return ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
}

static int set_size(struct fs_req *req, const struct fs_handle *h, const struct fuse_setattr_in *in)
{
	struct fs_inodes *t = &req->fs->inodes;
	struct statx stx;
	int fd, r;

	if (req->inode->type != S_IFREG)
		return req->inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (in->size > INT64_MAX)
		return -EINVAL;
	if (h)
		return kill_then_truncate(t, h->fd, in);
	fd = fs_inode_open(t, req->inode, O_WRONLY, &stx);
	if (fd < 0)
		return fd;
	r = kill_then_truncate(t, fd, in);
	fs_fd_close(t, fd);
	return r;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, const struct timespec *at)
{
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return valid & set ? *at : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(int fd, const struct fuse_setattr_in *in)
{
	const struct timespec atime = {.tv_sec = (time_t)in->atime, .tv_nsec = in->atimensec};
	const struct timespec mtime = {.tv_sec = (time_t)in->mtime, .tv_nsec = in->mtimensec};
	struct timespec ts[2];

	/* UTIME_NOW and UTIME_OMIT have flags of their own. */
	if (in->atimensec >= 1000000000 || in->mtimensec >= 1000000000)
		return -EINVAL;
	ts[0] = time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, &atime);
	ts[1] = time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, &mtime);
	return utimensat(fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

#define FATTR_TIMES (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)

int fs_op_setattr(struct fs_req *req)
{
	const struct fuse_setattr_in *in = req->body;
	struct fs_inodes *t = &req->fs->inodes;
	const struct fs_handle *h = NULL;
	struct statx stx;
	int fd, r = 0;

	if (in->valid & FATTR_FH) {
		h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
		if (!h)
			return -EBADF;
	}
	if (in->valid & FATTR_SIZE)
		r = set_size(req, h, in);
	if (r < 0)
		return r;
	fd = h ? h->fd : fs_inode_fd(t, req->inode);
	if (fd < 0)
		return fd;
	/* chown clears setuid and setgid, so the mode comes after the owner. */
	if (in->valid & (FATTR_UID | FATTR_GID))
		r = set_owner(fd, in);
	if (r == 0 && in->valid & FATTR_MODE)
		r = set_mode(req->fs, req->inode, fd, in->mode);
	if (r == 0 && in->valid & FATTR_TIMES)
		r = set_times(fd, in);
	if (r == 0)
		r = fs_statx(t, fd, "", &stx);
	if (r < 0)
		return r;
	fs_inode_touched(req->inode, &stx);
	fs_fill_attr_out((struct fuse_attr_out *)req->out, &stx);
	return sizeof(struct fuse_attr_out);
}

int fs_op_readlink(struct fs_req *req)
{
	ssize_t n;
	int fd;

	if (req->inode->type != S_IFLNK)
		return -EINVAL;
	fd = fs_inode_fd(&req->fs->inodes, req->inode);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", (char *)req->out, MIN_OF(req->room, FS_TARGET_MAX + 1));
	return n < 0 ? -errno : (int)n;
}

/* access(2) with what the guest tells about the caller. Linux never asks, because it checks permissions by itself. */
int fs_op_access(struct fs_req *req)
{
	const struct fuse_access_in *in = req->body;
	struct statx stx;
	unsigned bits;
	int r;

	if (in->mask & ~(uint32_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	r = fs_inode_stat(&req->fs->inodes, req->inode, &stx);
	if (r < 0)
		return r;
	if (req->h.uid == 0)
		return in->mask & X_OK && req->inode->type == S_IFREG && !(stx.stx_mode & 0111) ? -EACCES : 0;
	bits = stx.stx_uid == req->h.uid   ? stx.stx_mode >> 6
	       : stx.stx_gid == req->h.gid ? stx.stx_mode >> 3
					   : stx.stx_mode;
	return in->mask & ~bits ? -EACCES : 0;
}

int fs_op_statfs(struct fs_req *req)
{
	struct fuse_statfs_out *out = (struct fuse_statfs_out *)req->out;
	struct statfs sfs;
	int fd = fs_inode_fd(&req->fs->inodes, req->inode);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &sfs) < 0)
		return -errno;
	*out = (struct fuse_statfs_out){
		.st =
			{
				.blocks = sfs.f_blocks,
				.bfree = sfs.f_bfree,
				.bavail = sfs.f_bavail,
				.files = sfs.f_files,
				.ffree = sfs.f_ffree,
				.bsize = (uint32_t)sfs.f_bsize,
				.namelen = MIN_OF((uint32_t)sfs.f_namelen, FS_NAME_MAX),
				.frsize = (uint32_t)(sfs.f_frsize ? sfs.f_frsize : sfs.f_bsize),
			},
	};
	return sizeof(*out);
}
