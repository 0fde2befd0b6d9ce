/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names made, moved and removed.
 *
 * What is made belongs to the guest's caller: the thread takes his ids (fs_creds_take) around the call, and his umask, which the
 * host applies unless the folder has a default ACL. Device nodes are refused. setgid on a new executable in a folder of a
 * group that the caller is not known to be in is dropped, as Linux does for callers without CAP_FSETID.
 *
 * System calls: openat2 mknodat mkdirat symlinkat linkat unlinkat renameat2 statx umask setfsuid setfsgid
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/libc.h"
#include "virtio/fs_int.h"

/* The thread's umask is ours alone and stays as it is until a caller with another one comes. */
static void take_umask(struct fs *fs, uint32_t mask)
{
	mask = fs->flags & FUSE_DONT_MASK ? mask & 0777 : 0;
	if (mask != fs->umask)
		(void)umask(mask);
	fs->umask = mask;
}

static mode_t creation_mode(const struct fs_req *req, int dirfd, uint32_t mode)
{
	struct statx stx;

	mode &= 07777;
	if ((mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP) || req->h.uid == 0)
		return mode;
	if (fs_statx(&req->fs->inodes, dirfd, "", &stx) == 0 &&
		(!(stx.stx_mode & S_ISGID) || stx.stx_gid == req->h.gid))
		return mode;
	return mode & ~(mode_t)S_ISGID;
}

/* The answer for something that has just been made at `name`. */
static int answer_entry(struct fs_req *req, int dirfd, const char *name)
{
	struct statx stx;
	int r = fs_statx(&req->fs->inodes, dirfd, name, &stx);

	if (r == 0)
		r = fs_fill_entry(req->fs, req->inode, name, &stx, (struct fuse_entry_out *)req->out);
	return r < 0 ? r : (int)sizeof(struct fuse_entry_out);
}

/* ---- files ---- */

struct create_out {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

/* The new file behind `fd` (counted, consumed) becomes an inode and a handle. */
static int answer_created(struct fs_req *req, const char *name, int fd)
{
	struct create_out *out = (struct create_out *)req->out;
	struct fs *fs = req->fs;
	struct fs_handle *h;
	struct fs_inode *ino;
	struct statx stx;
	int r;

	r = fs_statx(&fs->inodes, fd, "", &stx);
	if (r == 0)
		r = fs_fill_entry(fs, name ? req->inode : NULL, name, &stx, &out->entry);
	if (r < 0) {
		fs_fd_close(&fs->inodes, fd);
		return r;
	}
	ino = fs_inode_get(&fs->inodes, out->entry.nodeid);
	r = fs_handle_new(&fs->handles, ino, fd, &h);
	if (r < 0) {
		fs_inode_forget(&fs->inodes, ino, 1);
		return r;
	}
	out->open = (struct fuse_open_out){.fh = h->fh};
	return sizeof(*out);
}

static int open_existing(struct fs_req *req, int dirfd, const char *name)
{
	const struct fuse_create_in *in = req->body;
	struct create_out *out = (struct create_out *)req->out;
	struct fs_inode *ino;
	int r = answer_entry(req, dirfd, name);

	if (r < 0)
		return r;
	ino = fs_inode_get(&req->fs->inodes, out->entry.nodeid);
	r = fs_open_file(req, ino, &(struct fuse_open_in){in->flags, in->open_flags}, &out->open);
	if (r == 0 && in->flags & O_TRUNC) {
		struct statx stx;

		r = fs_inode_stat(&req->fs->inodes, ino, &stx);
		if (r == 0)
			fs_fill_attr(&out->entry.attr, &stx);
		else
			fs_handle_release(&req->fs->handles, fs_handle_get(&req->fs->handles, out->open.fh, ino));
	}
	if (r < 0) {
		/* Something else appeared there since the guest looked: let it look again. */
		r = ino->type == S_IFREG ? r : -ESTALE;
		fs_inode_forget(&req->fs->inodes, ino, 1); /* may have been the last who knew it */
		return r;
	}
	return sizeof(*out);
}

int fs_op_create(struct fs_req *req)
{
	const struct fuse_create_in *in = req->body;
	uint32_t at = sizeof(*in);
	struct fs *fs = req->fs;
	const char *name;
	int dirfd, fd, flags, r;

	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	flags = fs_open_flags(fs, in->flags);
	if (flags < 0)
		return flags;
	dirfd = fs_inode_fd(&fs->inodes, req->inode);
	if (dirfd < 0)
		return dirfd;
	r = fs_creds_take(req);
	if (r < 0)
		return r;
	take_umask(fs, in->umask);
	/* O_EXCL in any case: so what is opened here is a new regular file and nothing that the host put there. */
	fd = fs_openat(
		&fs->inodes, dirfd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, creation_mode(req, dirfd, in->mode));
	fs_creds_drop(req);
	if (fd == -EEXIST && !(in->flags & O_EXCL))
		return open_existing(req, dirfd, name);
	return fd < 0 ? fd : answer_created(req, name, fd);
}

int fs_op_tmpfile(struct fs_req *req)
{
	const struct fuse_create_in *in = req->body;
	struct fs *fs = req->fs;
	int dirfd, fd, flags, r;

	flags = fs_open_flags(fs, in->flags);
	if (flags < 0)
		return flags;
	dirfd = fs_inode_fd(&fs->inodes, req->inode);
	if (dirfd < 0)
		return dirfd;
	r = fs_creds_take(req);
	if (r < 0)
		return r;
	take_umask(fs, in->umask);
	/* O_TMPFILE wants a file that can be written. */
	if ((flags & O_ACCMODE) == O_RDONLY)
		flags |= O_RDWR;
	fd = fs_openat(&fs->inodes, dirfd, ".", flags | O_TMPFILE | (int)(in->flags & O_EXCL),
		creation_mode(req, dirfd, in->mode));
	fs_creds_drop(req);
	return fd < 0 ? fd : answer_created(req, NULL, fd);
}

/* ---- everything else ---- */

int fs_op_mknod(struct fs_req *req)
{
	const struct fuse_mknod_in *in = req->body;
	mode_t type = in->mode & S_IFMT;
	uint32_t at = sizeof(*in);
	const char *name;
	int dirfd, r;

	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return type == S_IFCHR || type == S_IFBLK ? -EPERM : -EINVAL;
	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	dirfd = fs_inode_fd(&req->fs->inodes, req->inode);
	if (dirfd < 0)
		return dirfd;
	r = fs_creds_take(req);
	if (r < 0)
		return r;
	take_umask(req->fs, in->umask);
	r = mknodat(dirfd, name, type | creation_mode(req, dirfd, in->mode), 0) < 0 ? -errno : 0;
	fs_creds_drop(req);
	return r < 0 ? r : answer_entry(req, dirfd, name);
}

int fs_op_mkdir(struct fs_req *req)
{
	const struct fuse_mkdir_in *in = req->body;
	uint32_t at = sizeof(*in);
	const char *name;
	int dirfd, r;

	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	dirfd = fs_inode_fd(&req->fs->inodes, req->inode);
	if (dirfd < 0)
		return dirfd;
	r = fs_creds_take(req);
	if (r < 0)
		return r;
	take_umask(req->fs, in->umask);
	r = mkdirat(dirfd, name, in->mode & 07777) < 0 ? -errno : 0;
	fs_creds_drop(req);
	return r < 0 ? r : answer_entry(req, dirfd, name);
}

int fs_op_symlink(struct fs_req *req)
{
	const char *name, *target;
	uint32_t at = 0;
	int dirfd, r;

	r = fs_req_name(req, &at, &name);
	if (r == 0)
		r = fs_req_text(req, &at, &target);
	if (r < 0)
		return r;
	if (strlen(target) > FS_TARGET_MAX)
		return -ENAMETOOLONG;
	dirfd = fs_inode_fd(&req->fs->inodes, req->inode);
	if (dirfd < 0)
		return dirfd;
	r = fs_creds_take(req);
	if (r < 0)
		return r;
	r = symlinkat(target, dirfd, name) < 0 ? -errno : 0;
	fs_creds_drop(req);
	return r < 0 ? r : answer_entry(req, dirfd, name);
}

int fs_op_link(struct fs_req *req)
{
	const struct fuse_link_in *in = req->body;
	struct fs_inodes *t = &req->fs->inodes;
	struct fs_inode *old = fs_inode_get(t, in->oldnodeid);
	uint32_t at = sizeof(*in);
	char old_name[16];
	const char *name;
	int dirfd, fd, r;

	if (!old)
		return -EINVAL;
	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	if (old->type == S_IFDIR)
		return -EPERM;
	dirfd = fs_inode_fd2(t, old, req->inode, &fd);
	if (dirfd < 0)
		return dirfd;
	/* By our own magic link, which is followed to the inode itself: AT_EMPTY_PATH needs a capability outside user namespaces. */
	(void)snprintf(old_name, sizeof(old_name), "%d", fd);
	if (linkat(req->fs->proc_fd, old_name, dirfd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return answer_entry(req, dirfd, name);
}

static int remove_name(struct fs_req *req, int flags)
{
	struct fs_inodes *t = &req->fs->inodes;
	const char *name;
	uint32_t at = 0;
	int dirfd, r;

	r = fs_req_name(req, &at, &name);
	if (r < 0)
		return r;
	fs_inode_keep(t, req->inode, name);
	dirfd = fs_inode_fd(t, req->inode);
	if (dirfd < 0)
		return dirfd;
	if (unlinkat(dirfd, name, flags) < 0)
		return -errno;
	fs_inode_unlinked(t, req->inode, name);
	return 0;
}

int fs_op_unlink(struct fs_req *req)
{
	return remove_name(req, 0);
}

int fs_op_rmdir(struct fs_req *req)
{
	return remove_name(req, AT_REMOVEDIR);
}

static int rename_names(struct fs_req *req, uint64_t new_dir, uint32_t at, unsigned flags)
{
	struct fs_inodes *t = &req->fs->inodes;
	struct fs_place from = {.dir = req->inode}, to = {.dir = fs_inode_get(t, new_dir)};
	int from_fd, to_fd, r;

	if (!to.dir || flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (to.dir->type != S_IFDIR)
		return -ENOTDIR;
	r = fs_req_name(req, &at, &from.name);
	if (r == 0)
		r = fs_req_name(req, &at, &to.name);
	if (r < 0)
		return r;
	if (!(flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
		fs_inode_keep(t, to.dir, to.name);
	to_fd = fs_inode_fd2(t, from.dir, to.dir, &from_fd);
	if (to_fd < 0)
		return to_fd;
	/* The C library would call renameat when there are no flags: one call less for the filter to allow. */
	if (syscall(SYS_renameat2, from_fd, from.name, to_fd, to.name, flags) < 0)
		return -errno;
	fs_inode_renamed(t, from, to, flags & RENAME_EXCHANGE);
	return 0;
}

int fs_op_rename(struct fs_req *req)
{
	const struct fuse_rename_in *in = req->body;

	return rename_names(req, in->newdir, sizeof(*in), 0);
}

int fs_op_rename2(struct fs_req *req)
{
	const struct fuse_rename2_in *in = req->body;

	return rename_names(req, in->newdir, sizeof(*in), in->flags);
}
