/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the fs device share: the device, a request, and one function for each FUSE operation. */
#include <limits.h>

#include "virtio/fs.h"
#include "virtio/fs_handle.h"
#include "virtio/fs_lock.h"
#include "virtio/fs_proto.h"
#include "virtio/fs_work.h"

#define FS_DIR_BUFS 4
#define FS_DIR_BUF_BYTES (16u * 1024u)

/* Entries of a folder that were read from the host and have not been given to the guest yet. */
struct fs_dir_buf {
	uint64_t fh; /* 0: unused */
	int64_t pos; /* the offset by which the guest asks for the next one */
	unsigned at, len;
	uint64_t used; /* for the choice of the one to give up */
	uint8_t *bytes;
};

struct fs {
	struct virtio_dev dev;
	struct virtio_ops ops; /* a copy each: the number of queues differs */
	char tag[36];	       /* virtio 1.2 §5.11.4: padded with NUL, not ended by it */
	unsigned n_request_queues, n_workers;
	bool writeback, local_locks;
	int proc_fd;

	/* The thread. */
	bool can_switch;
	uid_t own_uid;
	gid_t own_gid;
	mode_t umask;

	/* One session of the driver. */
	bool ready;		  /* FUSE_INIT was answered */
	uint64_t flags;		  /* FUSE_* bits in use */
	uint32_t epoch;		  /* counts sessions */
	struct loop_timer resume; /* queues that were left with requests in them */
	uint32_t resume_mask;
	struct loop_timer forget_time; /* runs: queue 0 has no kicks, see fs.c */
	struct loop_timer idle;	       /* runs while descriptors of nested inodes are open */
	unsigned n_forgotten;	       /* chains of queue 0 given back since its last interrupt */
	struct fs_inodes inodes;
	struct fs_handles handles;
	struct fs_locks locks;
	struct fs_work work;
	struct fs_dir_buf dir_bufs[FS_DIR_BUFS];
	uint64_t dir_clock;

	struct chain chain; /* the request being served */
	struct iovec iov[1024];
	_Alignas(8) uint8_t body[FS_BODY_MAX + 8];
	_Alignas(8) uint8_t out[FS_OUT_MAX];
};

struct fs_req {
	struct fs *fs;
	unsigned queue;
	struct fuse_in_header h;
	const void *body;	/* the arguments, copied; struct fuse_*_in and then text */
	uint32_t body_len;	/* a NUL follows, so text always ends */
	uint32_t room;		/* bytes that fit into the reply behind its header */
	struct fs_inode *inode; /* h.nodeid, for operations that need one */
	uint8_t *out;		/* FS_OUT_MAX bytes for the reply */
	bool in_place;		/* the reply is in the chain already (READ) */
};

/* Where an operation that ends later replies to. Good until the queue is stopped: see fs.c on sessions. */
#define FS_REPLY_IOV 4
#define FS_REPLY_MAX 64u

struct fs_reply {
	uint64_t unique;
	uint32_t epoch;
	unsigned queue;
	uint16_t head;
	unsigned n_iov;
	struct iovec iov[FS_REPLY_IOV];
};

/* An operation returns the length of what it put into req->out, -errno, or FS_LATER: it replies, or fails, by fs_reply_send. */
#define FS_LATER INT_MIN

/* Takes the reply over. -EINVAL when the guest's buffers are too scattered (Linux's never are). */
int fs_req_later(const struct fs_req *req, struct fs_reply *ret) must_check;
/* `error` is 0 or -errno. A reply of a session that is over goes nowhere. */
void fs_reply_send(struct fs *fs, const struct fs_reply *to, int error, const void *bytes, uint32_t len);

/*
 * The next text among the arguments: *at moves behind its NUL. `req_name` also checks that it is one step of a path.
 * -EINVAL, -ENAMETOOLONG.
 */
int fs_req_text(const struct fs_req *req, uint32_t *at, const char **ret) must_check;
int fs_req_name(const struct fs_req *req, uint32_t *at, const char **ret) must_check;

/* Fills the answers that describe an inode. */
void fs_fill_attr(struct fuse_attr *attr, const struct statx *stx);
void fs_fill_attr_out(struct fuse_attr_out *out, const struct statx *stx);
/* Enters the inode (counting a lookup) and fills *out. `parent` NULL: it has no name. */
int fs_fill_entry(struct fs *fs, struct fs_inode *parent, const char *name, const struct statx *stx,
	struct fuse_entry_out *out) must_check;

/* Files made between the two belong to the guest's caller. -EPERM: these ids cannot be taken. */
int fs_creds_take(const struct fs_req *req) must_check;
void fs_creds_drop(const struct fs_req *req);

/* Clears setuid and setgid as a write by an ordinary user would. */
int fs_kill_suidgid(int fd, const struct statx *stx) must_check;

/* The host's flags for an OPEN with the guest's, or -EINVAL. */
int fs_open_flags(const struct fs *fs, uint32_t flags) must_check;
int fs_open_file(
	struct fs_req *req, struct fs_inode *ino, const struct fuse_open_in *in, struct fuse_open_out *out) must_check;
/* A worker ended a job (fs_ops_file.c). */
void fs_job_done(void *ctx, struct fs_job *job);

/* fs_ops_meta.c */
int fs_op_lookup(struct fs_req *req);
int fs_op_forget(struct fs_req *req);
int fs_op_batch_forget(struct fs_req *req);
int fs_op_getattr(struct fs_req *req);
int fs_op_setattr(struct fs_req *req);
int fs_op_readlink(struct fs_req *req);
int fs_op_access(struct fs_req *req);
int fs_op_statfs(struct fs_req *req);
/* fs_ops_xattr.c */
int fs_op_getxattr(struct fs_req *req);
int fs_op_listxattr(struct fs_req *req);
int fs_op_setxattr(struct fs_req *req);
int fs_op_removexattr(struct fs_req *req);
/* fs_ops_name.c */
int fs_op_create(struct fs_req *req);
int fs_op_tmpfile(struct fs_req *req);
int fs_op_mknod(struct fs_req *req);
int fs_op_mkdir(struct fs_req *req);
int fs_op_symlink(struct fs_req *req);
int fs_op_link(struct fs_req *req);
int fs_op_unlink(struct fs_req *req);
int fs_op_rmdir(struct fs_req *req);
int fs_op_rename(struct fs_req *req);
int fs_op_rename2(struct fs_req *req);
/* fs_ops_file.c */
int fs_op_open(struct fs_req *req);
int fs_op_read(struct fs_req *req);
int fs_op_write(struct fs_req *req);
int fs_op_flush(struct fs_req *req);
int fs_op_release(struct fs_req *req);
int fs_op_fsync(struct fs_req *req);
int fs_op_syncfs(struct fs_req *req);
int fs_op_fallocate(struct fs_req *req);
int fs_op_lseek(struct fs_req *req);
int fs_op_copy_file_range(struct fs_req *req);
/* fs_ops_dir.c */
int fs_op_opendir(struct fs_req *req);
int fs_op_readdir(struct fs_req *req);
int fs_op_readdirplus(struct fs_req *req);
int fs_op_releasedir(struct fs_req *req);
void fs_dir_bufs_drop(struct fs *fs);
/* fs_lock.c */
int fs_op_getlk(struct fs_req *req);
int fs_op_setlk(struct fs_req *req);
int fs_op_setlkw(struct fs_req *req);
