/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operations share: answers that describe an inode, and acting in the name of the guest's users.
 *
 * System calls: setfsuid setfsgid
 */
#include <errno.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtio/fs_int.h"

/* ---- answers ---- */

static uint32_t encode_rdev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~UINT32_C(0xff)) << 12;
}

void fs_fill_attr(struct fuse_attr *attr, const struct statx *stx)
{
	*attr = (struct fuse_attr){
		.ino = stx->stx_ino,
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = (uint64_t)stx->stx_atime.tv_sec,
		.mtime = (uint64_t)stx->stx_mtime.tv_sec,
		.ctime = (uint64_t)stx->stx_ctime.tv_sec,
		.atimensec = stx->stx_atime.tv_nsec,
		.mtimensec = stx->stx_mtime.tv_nsec,
		.ctimensec = stx->stx_ctime.tv_nsec,
		.mode = stx->stx_mode,
		.nlink = stx->stx_nlink,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
		.rdev = encode_rdev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.blksize = stx->stx_blksize,
	};
}

void fs_fill_attr_out(struct fuse_attr_out *out, const struct statx *stx)
{
	*out = (struct fuse_attr_out){.attr_valid = FS_VALID_S};
	fs_fill_attr(&out->attr, stx);
}

int fs_fill_entry(
	struct fs *fs, struct fs_inode *parent, const char *name, const struct statx *stx, struct fuse_entry_out *out)
{
	struct fs_inode *ino;
	int r = fs_inode_enter(&fs->inodes, parent, name, stx, &ino);

	if (r < 0)
		return r;
	*out = (struct fuse_entry_out){
		.nodeid = ino->nodeid,
		.entry_valid = FS_VALID_S,
		.attr_valid = FS_VALID_S,
	};
	fs_fill_attr(&out->attr, stx);
	if (fs->flags & FUSE_SUBMOUNTS && parent && ino->type == S_IFDIR &&
		(ino->key.mnt != parent->key.mnt || ino->key.dev != parent->key.dev))
		out->attr.flags = FUSE_ATTR_SUBMOUNT;
	return 0;
}

/* ---- credentials ---- */

static void set_ids(uid_t uid, gid_t gid)
{
	/* The raw calls: they change this thread only, whatever the C library does. */
	(void)syscall(SYS_setfsgid, gid);
	(void)syscall(SYS_setfsuid, uid);
}

int fs_creds_take(const struct fs_req *req)
{
	const struct fs *fs = req->fs;

	if (req->h.uid == fs->own_uid && req->h.gid == fs->own_gid)
		return 0;
	if (!fs->can_switch || req->h.uid == (uid_t)-1 || req->h.gid == (gid_t)-1)
		return -EPERM;
	set_ids(req->h.uid, req->h.gid);
	/* They fail without a word when an id is not mapped in our user namespace. */
	if ((uid_t)syscall(SYS_setfsuid, -1) == req->h.uid && (gid_t)syscall(SYS_setfsgid, -1) == req->h.gid)
		return 0;
	set_ids(fs->own_uid, fs->own_gid);
	return -EPERM;
}

void fs_creds_drop(const struct fs_req *req)
{
	const struct fs *fs = req->fs;

	if (req->h.uid != fs->own_uid || req->h.gid != fs->own_gid)
		set_ids(fs->own_uid, fs->own_gid);
}
