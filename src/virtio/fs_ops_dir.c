/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders.
 *
 * The guest reads a folder in replies of a page or more, and goes on by the offset of the last entry it got: d_off of getdents64,
 * opaque to everybody. The host is read in larger steps; what was not given out yet is kept in one of FS_DIR_BUFS buffers, so
 * memory does not grow with the number of open folders. A request that does not go on where its buffer stands seeks.
 *
 * READDIRPLUS looks up each entry but "." and "..", which Linux does not want looked up. An entry that cannot be is given
 * without attributes, so that a name is never missing from a list.
 *
 * System calls: openat2 getdents64 lseek statx
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/fs_int.h"

struct dirent64_raw {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

#define DIRENT_MIN (offsetof(struct dirent64_raw, name) + 2)

int fs_op_opendir(struct fs_req *req)
{
	struct fuse_open_out *out = (struct fuse_open_out *)req->out;
	struct fs_handle *h;
	struct statx stx;
	int fd, r;

	fd = fs_inode_open(&req->fs->inodes, req->inode, O_RDONLY | O_DIRECTORY, &stx);
	if (fd < 0)
		return fd;
	r = fs_handle_new(&req->fs->handles, req->inode, fd, &h);
	if (r < 0)
		return r;
	*out = (struct fuse_open_out){.fh = h->fh};
	return sizeof(*out);
}

/* ---- buffers ---- */

void fs_dir_bufs_drop(struct fs *fs)
{
	for (unsigned i = 0; i < FS_DIR_BUFS; i++) {
		free(fs->dir_bufs[i].bytes);
		fs->dir_bufs[i] = (struct fs_dir_buf){0};
	}
}

static struct fs_dir_buf *find_buf(struct fs *fs, uint64_t fh)
{
	for (unsigned i = 0; i < FS_DIR_BUFS; i++)
		if (fs->dir_bufs[i].fh == fh)
			return &fs->dir_bufs[i];
	return NULL;
}

/* The buffer of the handle, or the one that was used longest ago. */
static struct fs_dir_buf *get_buf(struct fs *fs, uint64_t fh)
{
	struct fs_dir_buf *b = find_buf(fs, fh);

	if (!b) {
		b = &fs->dir_bufs[0];
		for (unsigned i = 1; i < FS_DIR_BUFS; i++)
			if (fs->dir_bufs[i].used < b->used)
				b = &fs->dir_bufs[i];
		*b = (struct fs_dir_buf){.fh = fh, .bytes = b->bytes};
	}
	if (!b->bytes)
		b->bytes = malloc(FS_DIR_BUF_BYTES);
	if (!b->bytes) {
		b->fh = 0;
		return NULL;
	}
	b->used = ++fs->dir_clock;
	return b;
}

static int seek_buf(struct fs_dir_buf *b, struct fs_handle *h, uint64_t off)
{
	/* From the start means: as it is now. */
	if ((uint64_t)b->pos == off && off != 0 && b->at < b->len)
		return 0;
	b->at = b->len = 0;
	if (off > INT64_MAX)
		return -EINVAL;
	if ((uint64_t)h->dir_pos != off && lseek(h->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	h->dir_pos = b->pos = (int64_t)off;
	return 0;
}

/* The next entry, not taken yet. 1, 0: the end, -errno. */
static int peek(struct fs_dir_buf *b, struct fs_handle *h, const struct dirent64_raw **ret)
{
	const struct dirent64_raw *d;
	long n;

	if (b->at == b->len) {
		n = syscall(SYS_getdents64, h->fd, b->bytes, FS_DIR_BUF_BYTES);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		b->at = 0;
		b->len = (unsigned)n;
		/* Where the descriptor stands now, the last entry tells; until that one is reached nobody may ask. */
		h->dir_pos = -1;
	}
	d = (const struct dirent64_raw *)(const void *)(b->bytes + b->at);
	if (b->len - b->at < DIRENT_MIN || d->reclen > b->len - b->at)
		return -EIO;
	*ret = d;
	return 1;
}

static void take(struct fs_dir_buf *b, struct fs_handle *h, const struct dirent64_raw *d)
{
	b->at += d->reclen;
	b->pos = d->off;
	if (b->at == b->len)
		h->dir_pos = d->off;
}

/* ---- entries ---- */

static bool is_dots(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..");
}

static void put_dirent(struct fuse_dirent *out, const struct dirent64_raw *d, size_t namelen)
{
	*out = (struct fuse_dirent){
		.ino = d->ino,
		.off = (uint64_t)d->off,
		.namelen = (uint32_t)namelen,
		.type = d->type,
	};
	memcpy(out->name, d->name, namelen);
	memset(out->name + namelen, 0, FUSE_DIRENT_SIZE(out) - FUSE_NAME_OFFSET - namelen);
}

/* The part that LOOKUP would have given. False: the name is gone, so leave it out. */
static bool put_entry(struct fs_req *req, int dirfd, const struct dirent64_raw *d, struct fuse_entry_out *out)
{
	struct statx stx;
	int r;

	*out = (struct fuse_entry_out){.attr = {.ino = d->ino, .mode = (uint32_t)d->type << 12}};
	if (is_dots(d->name))
		return true;
	r = fs_statx(&req->fs->inodes, dirfd, d->name, &stx);
	if (r == -ENOENT)
		return false;
	if (r == 0 && fs_fill_entry(req->fs, req->inode, d->name, &stx, out) < 0)
		*out = (struct fuse_entry_out){.attr = {.ino = d->ino, .mode = (uint32_t)d->type << 12}};
	return true;
}

/* Puts one entry at `out`, of `left` bytes. Its length; 0: no room; -1: left out. */
static int put(struct fs_req *req, int dirfd, const struct dirent64_raw *d, uint8_t *out, size_t left, bool plus)
{
	size_t namelen = strlen(d->name);
	size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + namelen);

	if (size > left)
		return 0;
	if (plus && !put_entry(req, dirfd, d, (struct fuse_entry_out *)out))
		return -1;
	put_dirent((struct fuse_dirent *)(out + head), d, namelen);
	return (int)size;
}

static int read_folder(struct fs_req *req, bool plus)
{
	const struct fuse_read_in *in = req->body;
	struct fs_handle *h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
	uint32_t room = MIN_OF(MIN_OF(in->size, req->room), FS_OUT_MAX), used = 0;
	const struct dirent64_raw *d = NULL;
	struct fs_dir_buf *b;
	int r;

	if (!h)
		return -EBADF;
	b = get_buf(req->fs, h->fh);
	if (!b)
		return -ENOMEM;
	r = seek_buf(b, h, in->offset);
	while (r == 0 && (r = peek(b, h, &d)) > 0) {
		int n = put(req, h->fd, d, req->out + used, room - used, plus);

		if (n == 0)
			/* Not even one: the guest's buffer is too small for any name. */
			return used > 0 ? (int)used : -EINVAL;
		if (n > 0)
			used += (uint32_t)n;
		take(b, h, d);
		r = 0;
	}
	return r < 0 && used == 0 ? r : (int)used;
}

int fs_op_readdir(struct fs_req *req)
{
	return read_folder(req, false);
}

int fs_op_readdirplus(struct fs_req *req)
{
	return read_folder(req, true);
}

int fs_op_releasedir(struct fs_req *req)
{
	const struct fuse_release_in *in = req->body;
	struct fs_dir_buf *b = find_buf(req->fs, in->fh);

	if (b)
		b->fh = b->used = 0;
	return fs_op_release(req);
}
