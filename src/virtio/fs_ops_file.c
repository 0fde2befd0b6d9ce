/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files.
 *
 * The guest's page cache. A file's contents are kept over close and open (FOPEN_KEEP_CACHE) if the file is, at OPEN, in the
 * version it was in at the OPEN before: times and size of statx, hashed into inode->stamp. A version that is younger than the
 * granularity of the times counts as none, because a second change could not be told from it. Between, the guest itself
 * throws contents away when it sees another mtime or size (FUSE_AUTO_INVAL_DATA, at most a second later).
 *
 * Closing. FLUSH tells of each close(2), for the sake of what is not written back yet and of fcntl locks. A file that is opened for
 * reading, while nobody has such locks, is opened with FOPEN_NOFLUSH (Linux 5.16): a round trip less of the four that reading a small
 * file takes. What that means for locks is in fs_lock.c.
 *
 * O_APPEND goes with each WRITE (RWF_APPEND), since the guest may change it after open. O_DIRECT is for the guest's cache, ours
 * stays. setuid and setgid are cleared as the guest asks (HANDLE_KILLPRIV_V2): our own capabilities would keep them.
 *
 * System calls: openat2 openat statx preadv pwritev2 ftruncate fchmod fsync fdatasync syncfs fallocate lseek
 * copy_file_range dup close clock_gettime
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/libc.h"
#include "virtio/fs_int.h"

#define YOUNG_NS 50000000 /* more than a tick of any kernel, and than what network file systems round to in practice */
#define COPY_INLINE (256u * 1024u)
#define COPY_MAX (64u * 1024u * 1024u) /* of one request: the guest asks again for the rest */
#define IOV_SYSCALL_MAX 1024u

/* ---- OPEN ---- */

int fs_open_flags(const struct fs *fs, uint32_t flags)
{
	int access = (int)flags & O_ACCMODE;

	if (access == O_ACCMODE)
		return -EINVAL;
	/* The guest reads around what it writes when it caches writes; truncation wants a file that can be written. */
	if ((access == O_WRONLY && fs->flags & FUSE_WRITEBACK_CACHE) || (access == O_RDONLY && flags & O_TRUNC))
		access = O_RDWR;
	return access | ((int)flags & (O_SYNC | O_NOATIME));
}

static int64_t ns_of(const struct statx_timestamp *ts)
{
	return ts->tv_sec * 1000000000 + ts->tv_nsec;
}

/* 0: too young to tell. */
static uint64_t version_of(const struct statx *stx)
{
	struct timespec now = {0};
	uint64_t v;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec * 1000000000 + now.tv_nsec - ns_of(&stx->stx_ctime) < YOUNG_NS)
		return 0;
	v = (uint64_t)ns_of(&stx->stx_ctime) * UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ v >> 32 ^ (uint64_t)ns_of(&stx->stx_mtime)) * UINT64_C(0xd6e8feb86659fd93);
	v = (v ^ v >> 32 ^ stx->stx_size) * UINT64_C(0xd6e8feb86659fd93);
	return (v ^ v >> 32) | 1;
}

int fs_kill_suidgid(int fd, const struct statx *stx)
{
	mode_t kill = stx->stx_mode & S_ISUID;

	if ((stx->stx_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		kill |= S_ISGID;
	if (!kill || !S_ISREG(stx->stx_mode))
		return 0;
	return fchmod(fd, stx->stx_mode & 07777 & ~kill) < 0 ? -errno : 0;
}

static int truncate_opened(int fd, const struct statx *stx, uint32_t open_flags)
{
	int r = open_flags & FUSE_OPEN_KILL_SUIDGID ? fs_kill_suidgid(fd, stx) : 0;

	if (r == 0 && ftruncate(fd, 0) < 0)
		r = -errno;
	return r;
}

int fs_open_file(struct fs_req *req, struct fs_inode *ino, const struct fuse_open_in *in, struct fuse_open_out *out)
{
	struct fs_inodes *t = &req->fs->inodes;
	struct fs_handle *h;
	struct statx stx;
	uint64_t version = 0;
	int fd, r, flags = fs_open_flags(req->fs, in->flags);

	if (flags < 0)
		return flags;
	if (ino->type != S_IFREG)
		return ino->type == S_IFDIR ? -EISDIR : ino->type == S_IFLNK ? -ELOOP : -EACCES;
	fd = fs_inode_open(t, ino, flags, &stx);
	if (fd < 0)
		return fd;
	if (in->flags & O_TRUNC) {
		r = truncate_opened(fd, &stx, in->open_flags);
		if (r < 0) {
			fs_fd_close(t, fd);
			return r;
		}
	} else {
		version = version_of(&stx);
	}
	r = fs_handle_new(&req->fs->handles, ino, fd, &h);
	if (r < 0)
		return r;
	*out = (struct fuse_open_out){.fh = h->fh};
	if (version && version == ino->stamp)
		out->open_flags = FOPEN_KEEP_CACHE;
	ino->stamp = version;
	h->no_flush = (in->flags & O_ACCMODE) == O_RDONLY && !ino->plocks;
	if (h->no_flush)
		out->open_flags |= FOPEN_NOFLUSH;
	return 0;
}

int fs_op_open(struct fs_req *req)
{
	int r = fs_open_file(req, req->inode, req->body, (struct fuse_open_out *)req->out);

	return r < 0 ? r : (int)sizeof(struct fuse_open_out);
}

/* ---- READ and WRITE ---- */

static struct fs_handle *file_handle(const struct fs_req *req, uint64_t fh)
{
	return req->inode->type == S_IFREG ? fs_handle_get(&req->fs->handles, fh, req->inode) : NULL;
}

int fs_op_read(struct fs_req *req)
{
	const struct fuse_read_in *in = req->body;
	const struct chain *c = &req->fs->chain;
	const struct fs_handle *h = file_handle(req, in->fh);
	uint64_t off = in->offset;
	uint32_t want = MIN_OF(in->size, req->room), done = 0;
	struct iovec *iov = req->fs->iov;

	if (!h)
		return -EBADF;
	if (off > INT64_MAX - FS_IO_MAX || want > FS_IO_MAX)
		return -EINVAL;
	req->in_place = true;
	while (done < want) {
		size_t at = sizeof(struct fuse_out_header) + done, asked = 0;
		unsigned n = iov_slice(iov, IOV_SYSCALL_MAX, chain_in(c), c->n_in, at, want - done);
		ssize_t got;

		for (unsigned i = 0; i < n; i++)
			asked += iov[i].iov_len;
		got = preadv(h->fd, iov, (int)n, (off_t)(off + done));
		if (got < 0)
			return done > 0 ? (int)done : -errno;
		done += (uint32_t)got;
		/* Less than asked for is the end of a regular file. */
		if ((size_t)got < asked)
			break;
	}
	return (int)done;
}

int fs_op_write(struct fs_req *req)
{
	const struct fuse_write_in *in = req->body;
	const struct chain *c = &req->fs->chain;
	const size_t data = sizeof(req->h) + sizeof(*in);
	struct fuse_write_out *out = (struct fuse_write_out *)req->out;
	struct fs_handle *h = file_handle(req, in->fh);
	struct iovec *iov = req->fs->iov;
	uint32_t done = 0;
	int flags, r = 0;

	if (!h)
		return -EBADF;
	if (in->size > FS_IO_MAX || in->size > c->out_len - data || in->offset > INT64_MAX - FS_IO_MAX)
		return -EINVAL;
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID) {
		struct statx stx;

		r = fs_statx(&req->fs->inodes, h->fd, "", &stx);
		if (r == 0)
			r = fs_kill_suidgid(h->fd, &stx);
		if (r < 0)
			return r;
	}
	/* With a write cache the guest knows best where the end is; it writes back what it cached to its place. */
	flags = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE) &&
				!(req->fs->flags & FUSE_WRITEBACK_CACHE)
			? RWF_APPEND
			: 0;
	h->wrote = true;
	while (done < in->size) {
		unsigned n = iov_slice(iov, IOV_SYSCALL_MAX, chain_out(c), c->n_out, data + done, in->size - done);
		ssize_t put = pwritev2(h->fd, iov, (int)n, (off_t)(in->offset + done), flags);

		if (put < 0 && done == 0)
			return -errno;
		if (put <= 0)
			break;
		done += (uint32_t)put;
	}
	*out = (struct fuse_write_out){.size = done};
	return sizeof(*out);
}

/* ---- FLUSH, RELEASE, LSEEK ---- */

int fs_op_flush(struct fs_req *req)
{
	const struct fuse_flush_in *in = req->body;
	const struct fs_handle *h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
	int fd;

	if (!h)
		return -EBADF;
	fs_locks_close(req->fs, req->inode, in->lock_owner);
	if (!h->wrote)
		return 0;
	/* Some file systems (NFS) write back, and report errors, when a descriptor is closed. */
	fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return errno == EMFILE ? 0 : -errno;
	return close(fd) < 0 ? -errno : 0;
}

int fs_op_release(struct fs_req *req)
{
	const struct fuse_release_in *in = req->body;
	struct fs_handle *h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
	bool flocked;

	if (!h)
		return -EBADF;
	flocked = h->flocked;
	if (h->no_flush)
		fs_locks_close_handle(req->fs, req->inode, h->fh);
	fs_inode_ref(req->inode);
	fs_handle_release(&req->fs->handles, h);
	fs_locks_released(req->fs, req->inode, flocked);
	fs_inode_unref(&req->fs->inodes, req->inode);
	return 0;
}

int fs_op_lseek(struct fs_req *req)
{
	const struct fuse_lseek_in *in = req->body;
	const struct fs_handle *h = file_handle(req, in->fh);
	off_t off;

	if (!h)
		return -EBADF;
	/* The others need no server; and nothing here depends on where the descriptor stands. */
	if ((in->whence != SEEK_DATA && in->whence != SEEK_HOLE) || in->offset > INT64_MAX)
		return -EINVAL;
	off = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	if (off < 0)
		return -errno;
	*(struct fuse_lseek_out *)req->out = (struct fuse_lseek_out){.offset = (uint64_t)off};
	return sizeof(struct fuse_lseek_out);
}

/* ---- what may take long ---- */

struct file_job {
	struct fs_job job;
	struct fs_reply to;
	struct fs_handle *h, *h_out; /* held, may be NULL */
	int own_fd;		     /* counted; -1: none */
	bool copies;		     /* the result is a count */
};

void fs_job_done(void *ctx, struct fs_job *job)
{
	struct file_job *fj = container_of(job, struct file_job, job);
	struct fs *fs = ctx;
	const struct fuse_write_out out = {.size = fj->copies && job->result > 0 ? (uint32_t)job->result : 0};

	fs_reply_send(fs, &fj->to, job->result < 0 ? (int)job->result : 0, &out, fj->copies ? sizeof(out) : 0);
	if (fj->h)
		fs_handle_unref(&fs->handles, fj->h);
	if (fj->h_out)
		fs_handle_unref(&fs->handles, fj->h_out);
	if (fj->own_fd >= 0)
		fs_fd_close(&fs->inodes, fj->own_fd);
	free(fj);
}

/* Runs it elsewhere. The handles are borrowed; own_fd is consumed. */
static int run_later(struct fs_req *req, const struct file_job *what)
{
	struct file_job *fj = malloc(sizeof(*fj));
	int r = fj ? 0 : -ENOMEM;

	if (r == 0) {
		*fj = *what;
		r = fs_req_later(req, &fj->to);
	}
	if (r < 0) {
		free(fj);
		if (what->own_fd >= 0)
			fs_fd_close(&req->fs->inodes, what->own_fd);
		return r;
	}
	if (fj->h)
		fs_handle_ref(fj->h);
	if (fj->h_out)
		fs_handle_ref(fj->h_out);
	fs_work_submit(&req->fs->work, &fj->job);
	return FS_LATER;
}

static int64_t run_fsync(const struct fs_job *job)
{
	return (job->mode ? fdatasync(job->fd) : fsync(job->fd)) < 0 ? -errno : 0;
}

static int64_t run_syncfs(const struct fs_job *job)
{
	return syncfs(job->fd) < 0 ? -errno : 0;
}

static int64_t run_fallocate(const struct fs_job *job)
{
	return fallocate(job->fd, job->mode, (off_t)job->off, (off_t)job->len) < 0 ? -errno : 0;
}

static int64_t run_copy(const struct fs_job *job)
{
	off_t in = (off_t)job->off, out = (off_t)job->off_out;
	ssize_t n = copy_file_range(job->fd, &in, job->fd_out, &out, job->len, 0);

	return n < 0 ? -errno : n;
}

/* FSYNC and FSYNCDIR. */
int fs_op_fsync(struct fs_req *req)
{
	const struct fuse_fsync_in *in = req->body;
	struct fs_handle *h = fs_handle_get(&req->fs->handles, in->fh, req->inode);

	if (!h)
		return -EBADF;
	return run_later(req,
		&(struct file_job){
			.job = {.run = run_fsync, .fd = h->fd, .mode = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? 1 : 0},
			.h = h,
			.own_fd = -1,
		});
}

int fs_op_syncfs(struct fs_req *req)
{
	struct statx stx;
	int fd;

	if (req->inode->type != S_IFDIR)
		return -EINVAL;
	fd = fs_inode_open(&req->fs->inodes, req->inode, O_RDONLY | O_DIRECTORY, &stx);
	if (fd < 0)
		return fd;
	return run_later(req, &(struct file_job){.job = {.run = run_syncfs, .fd = fd}, .own_fd = fd});
}

int fs_op_fallocate(struct fs_req *req)
{
	const struct fuse_fallocate_in *in = req->body;
	struct fs_handle *h = file_handle(req, in->fh);

	if (!h)
		return -EBADF;
	if (in->mode & ~(uint32_t)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX - in->offset)
		return -EINVAL;
	h->wrote = true;
	return run_later(req, &(struct file_job){
				      .job = {.run = run_fallocate,
					      .fd = h->fd,
					      .off = in->offset,
					      .len = in->length,
					      .mode = (int)in->mode},
				      .h = h,
				      .own_fd = -1,
			      });
}

int fs_op_copy_file_range(struct fs_req *req)
{
	const struct fuse_copy_file_range_in *in = req->body;
	struct fs_handle *h = file_handle(req, in->fh_in), *h_out;
	const struct fs_inode *ino_out = fs_inode_get(&req->fs->inodes, in->nodeid_out);
	struct file_job what = {.own_fd = -1, .copies = true};
	int64_t n;

	h_out = ino_out && ino_out->type == S_IFREG ? fs_handle_get(&req->fs->handles, in->fh_out, ino_out) : NULL;
	if (!h || !h_out)
		return -EBADF;
	if (in->flags || in->off_in > INT64_MAX - COPY_MAX || in->off_out > INT64_MAX - COPY_MAX)
		return -EINVAL;
	h_out->wrote = true;
	what.job = (struct fs_job){
		.run = run_copy,
		.fd = h->fd,
		.fd_out = h_out->fd,
		.off = in->off_in,
		.off_out = in->off_out,
		.len = MIN_OF(in->len, COPY_MAX),
	};
	what.h = h;
	what.h_out = h_out;
	if (what.job.len > COPY_INLINE)
		return run_later(req, &what);
	n = run_copy(&what.job);
	if (n < 0)
		return (int)n;
	*(struct fuse_write_out *)req->out = (struct fuse_write_out){.size = (uint32_t)n};
	return sizeof(struct fuse_write_out);
}
