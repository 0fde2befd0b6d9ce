/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. The guest has user.*, security.capability and POSIX ACLs. trusted.* is for the host (overlayfs keeps its
 * own there), other security.* are labels of the host's security modules: they are absent when read, refused when written,
 * and left out of lists.
 *
 * Values are of any bytes up to the kernel's limit of 64 KiB. A relative name N is /proc/self/fd/N: see enter_thread.
 *
 * For a process that is not the owner Linux asks for the ACL of each file that it opens, so reading does not open cold inodes:
 * it goes by folder and name, never following the last step, and what is found there must be the inode.
 *
 * System calls: getxattr fgetxattr lgetxattr statx listxattr setxattr removexattr fchmodat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/bytes.h"
#include "virtio/fs_int.h"

static bool name_visible(const char *name)
{
	return (str_has_prefix(name, "user.") && name[5]) || str_eq(name, "security.capability") ||
	       str_eq(name, "system.posix_acl_access") || str_eq(name, "system.posix_acl_default");
}

static int get_name(const struct fs_req *req, uint32_t at, const char **ret)
{
	int r = fs_req_text(req, &at, ret);

	if (r == 0 && strlen(*ret) > FS_NAME_MAX)
		return -ERANGE;
	return r;
}

struct fd_name {
	char text[16];
};

static int get_fd_name(const struct fs_req *req, struct fd_name *ret)
{
	int fd = fs_inode_fd(&req->fs->inodes, req->inode);

	if (fd < 0)
		return fd;
	(void)snprintf(ret->text, sizeof(ret->text), "%d", fd);
	return 0;
}

/* The two forms of an answer: how much there is, for a guest that asks with size 0, or the bytes. */
static int answer(struct fs_req *req, uint32_t size, size_t n)
{
	if (size == 0) {
		*(struct fuse_getxattr_out *)req->out = (struct fuse_getxattr_out){.size = (uint32_t)n};
		return sizeof(struct fuse_getxattr_out);
	}
	return n <= size ? (int)n : -ERANGE;
}

static uint32_t answer_room(const struct fs_req *req, uint32_t size)
{
	return MIN_OF(MIN_OF(size, req->room), FS_OUT_MAX);
}

/* Of an inode that is not open. The value's length, or -errno. */
static ssize_t get_by_place(struct fs_req *req, const char *name, uint32_t size)
{
	char place[16 + FS_NAME_MAX + 1];
	struct statx stx;
	ssize_t n;
	int r, dirfd = fs_inode_fd(&req->fs->inodes, req->inode->parent);

	if (dirfd < 0)
		return dirfd;
	(void)snprintf(place, sizeof(place), "%d/%s", dirfd, req->inode->name);
	n = lgetxattr(place, name, req->out, size);
	if (n < 0)
		n = -errno;
	r = fs_inode_stat(&req->fs->inodes, req->inode, &stx);
	return r < 0 ? r : n;
}

static ssize_t get_value(struct fs_req *req, const char *name, uint32_t size)
{
	const struct fs_inode *ino = req->inode;
	struct fd_name file;
	ssize_t n;
	int r;

	/* Linux asks for security.capability before the first write to a file: it is open then. */
	if (ino->handles) {
		n = fgetxattr(ino->handles->fd, name, req->out, size);
	} else if (ino->fd < 0 && ino->parent) {
		return get_by_place(req, name, size);
	} else {
		r = get_fd_name(req, &file);
		if (r < 0)
			return r;
		n = getxattr(file.text, name, req->out, size);
	}
	return n < 0 ? -errno : n;
}

int fs_op_getxattr(struct fs_req *req)
{
	const struct fuse_getxattr_in *in = req->body;
	uint32_t size = answer_room(req, in->size);
	const char *name;
	ssize_t n;
	int r;

	if (size == 0 && req->room < sizeof(struct fuse_getxattr_out))
		return -EINVAL;
	r = get_name(req, sizeof(*in), &name);
	if (r < 0)
		return r;
	if (!name_visible(name))
		return -ENODATA;
	n = get_value(req, name, size);
	return n < 0 ? (int)n : answer(req, size, (size_t)n);
}

int fs_op_listxattr(struct fs_req *req)
{
	const struct fuse_getxattr_in *in = req->body;
	uint32_t size = answer_room(req, in->size);
	struct fd_name file;
	size_t kept = 0;
	ssize_t n;
	int r;

	if (size == 0 && req->room < sizeof(struct fuse_getxattr_out))
		return -EINVAL;
	r = get_fd_name(req, &file);
	if (r < 0)
		return r;
	/* All of it even if only the size is wanted: what is left out does not count. */
	n = listxattr(file.text, (char *)req->out, FS_OUT_MAX);
	if (n < 0)
		return -errno;
	for (const char *name = (const char *)req->out, *end = name + n; name < end;) {
		size_t len = strnlen(name, (size_t)(end - name)) + 1;

		if (name + len <= end && name_visible(name)) {
			memmove(req->out + kept, name, len);
			kept += len;
		}
		name += len;
	}
	return answer(req, size, kept);
}

/* The caller may not keep setgid on a file whose ACL he sets; the host does not know who he is. */
static int kill_sgid(struct fs_req *req, const char *file)
{
	struct statx stx;
	int r = fs_inode_stat(&req->fs->inodes, req->inode, &stx);

	if (r < 0 || !(stx.stx_mode & S_ISGID))
		return r;
	return fchmodat(req->fs->proc_fd, file, stx.stx_mode & 07777 & ~(mode_t)S_ISGID, 0) < 0 ? -errno : 0;
}

int fs_op_setxattr(struct fs_req *req)
{
	const struct fuse_setxattr_in *in = req->body;
	uint32_t head = req->fs->flags & FUSE_SETXATTR_EXT ? sizeof(*in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct fd_name file;
	const char *name;
	uint32_t at;
	int r;

	if (req->body_len < head)
		return -EINVAL;
	r = get_name(req, head, &name);
	if (r < 0)
		return r;
	at = head + (uint32_t)strlen(name) + 1;
	if (in->size > FS_XATTR_MAX || in->size > req->body_len - at)
		return -EINVAL;
	if (!name_visible(name))
		return str_has_prefix(name, "trusted.") ? -EPERM : -EOPNOTSUPP;
	r = get_fd_name(req, &file);
	if (r < 0)
		return r;
	if (setxattr(file.text, name, (const char *)req->body + at, in->size, (int)in->flags) < 0)
		return -errno;
	if (head == sizeof(*in) && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)
		return kill_sgid(req, file.text);
	return 0;
}

int fs_op_removexattr(struct fs_req *req)
{
	struct fd_name file;
	const char *name;
	int r;

	r = get_name(req, 0, &name);
	if (r < 0)
		return r;
	if (!name_visible(name))
		return str_has_prefix(name, "trusted.") ? -EPERM : -EOPNOTSUPP;
	r = get_fd_name(req, &file);
	if (r < 0)
		return r;
	return removexattr(file.text, name) < 0 ? -errno : 0;
}
