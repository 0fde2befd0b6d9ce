/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fs device: its queues, its sessions, and the way of a request.
 *
 * Queue 0 is for FORGET and INTERRUPT, the others for everything else (virtio 1.2 §5.11.2); we serve any request on any queue. A
 * request is one chain: fuse_in_header and arguments to read, fuse_out_header and answer to write. Header and arguments are
 * copied once and judged there (the data of READ and WRITE never are: they go between file and guest memory directly).
 * One request after the other is served on the device's thread; what may block for long goes to workers (fs_work.c),
 * locks that are taken wait in a list (fs_lock.c). At most BATCH requests of a queue are served before the loop may look at others.
 *
 *   session      requests
 *   activated    INIT only (-EIO); the node table holds the root
 *   ready        everything; INIT and DESTROY end it: nodes, handles and locks are dropped
 *   reset        dropped too, and the epoch counts up: what workers finish later is not replied to
 *
 * A request that breaks the protocol gets -EINVAL, an unknown one -ENOSYS; one with no room for a reply header goes back
 * with nothing written and undone. Nothing of it ends the session; only a broken ring does.
 *
 * FORGET has no reply and nobody waits for it, but the guest kernel sends one for every file that it drops or removes, each with a
 * kick, and takes each back with an interrupt. So for a while after one (FORGET_NS) queue 0 has no kicks: it is looked at after the
 * requests of other queues, and when the while is over; and its interrupts come for many at once.
 *
 * Caching: names and attributes are valid for FS_VALID_S in the guest, absent names never, so what kubelet does on the host (a
 * ConfigMap's ..data link is replaced by rename) is seen after that time at the latest. Contents are kept over close and open
 * as long as the file has not changed (fs_ops_file.c).
 *
 * System calls: unshare fchdir prctl setfsuid setfsgid umask clone (in fs_new only)
 */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/fs_int.h"

#define BATCH 128
#define MAX_BACKGROUND 64 /* reads and writes that the guest sends without waiting for the first */
#define ERRNO_MAX 511	  /* FUSE takes no more */
#define FORGET_QUEUE 0
#define IDLE_NS (500 * NS_PER_MS) /* after its last use a nested inode is closed within twice that */
#define FORGET_NS (2 * NS_PER_MS)
#define FORGET_SIGNAL 64 /* an interrupt for so many at the latest, or for half of the queue */

struct config {
	char tag[36];
	uint8_t n_request_queues[4];
};

static struct fs *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct fs, dev);
}

/* ---- replies ---- */

static int push(struct fs *fs, unsigned queue, uint16_t head, uint32_t len)
{
	int r = queue_push(&fs->dev.queues[queue], head, len);

	if (r == 0)
		virtio_signal(&fs->dev, queue);
	return r;
}

static struct fuse_out_header out_header(uint64_t unique, int error, uint32_t len)
{
	return (struct fuse_out_header){
		.len = (uint32_t)sizeof(struct fuse_out_header) + (error ? 0 : len),
		.error = error >= -ERRNO_MAX ? error : -EIO,
		.unique = unique,
	};
}

int fs_req_later(const struct fs_req *req, struct fs_reply *ret)
{
	const struct chain *c = &req->fs->chain;
	size_t want = MIN_OF(c->in_len, sizeof(struct fuse_out_header) + FS_REPLY_MAX), got = 0;

	*ret = (struct fs_reply){
		.unique = req->h.unique, .epoch = req->fs->epoch, .queue = req->queue, .head = c->head};
	ret->n_iov = iov_slice(ret->iov, FS_REPLY_IOV, chain_in(c), c->n_in, 0, want);
	for (unsigned i = 0; i < ret->n_iov; i++)
		got += ret->iov[i].iov_len;
	return got == want ? 0 : -EINVAL;
}

void fs_reply_send(struct fs *fs, const struct fs_reply *to, int error, const void *bytes, uint32_t len)
{
	struct fuse_out_header oh = out_header(to->unique, error, len);

	if (to->epoch != fs->epoch)
		return;
	(void)iov_write(to->iov, to->n_iov, 0, &oh, sizeof(oh));
	if (!error)
		(void)iov_write(to->iov, to->n_iov, sizeof(oh), bytes, len);
	if (push(fs, to->queue, to->head, oh.len) < 0)
		virtio_broken(&fs->dev);
}

/* ---- arguments ---- */

int fs_req_text(const struct fs_req *req, uint32_t *at, const char **ret)
{
	const char *text = (const char *)req->body + *at;
	size_t left, len;

	if (*at >= req->body_len)
		return -EINVAL;
	left = req->body_len - *at;
	len = strnlen(text, left);
	if (len == left)
		return -EINVAL;
	*at += (uint32_t)len + 1;
	*ret = text;
	return 0;
}

int fs_req_name(const struct fs_req *req, uint32_t *at, const char **ret)
{
	int r = fs_req_text(req, at, ret);

	return r < 0 ? r : fs_name_check(*ret);
}

/* ---- sessions ---- */

static void drop_session(struct fs *fs)
{
	fs_locks_drop(fs);
	fs_handles_drop(&fs->handles);
	fs_inodes_drop(&fs->inodes);
	fs_dir_bufs_drop(fs);
	fs->ready = false;
	fs->flags = 0;
}

/*
 * FUSE_ASYNC_READ: a file that is closed while it is read ahead is released when that read has ended. In a submount whoever unmounts
 * has to wait for that (agent/submount.h), or Linux 6.1 stops with a BUG.
 */
static uint64_t wanted_flags(const struct fs *fs)
{
	uint64_t flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK |
			 FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
			 FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS |
			 FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT;

	if (!fs->local_locks)
		flags |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
	if (fs->writeback)
		flags |= FUSE_WRITEBACK_CACHE;
	return flags;
}

static int op_init(struct fs_req *req)
{
	struct fs *fs = req->fs;
	struct fuse_init_in in = {0};
	struct fuse_init_out *out = (struct fuse_init_out *)req->out;

	memcpy(&in, req->body, MIN_OF(req->body_len, sizeof(in)));
	*out = (struct fuse_init_out){.major = FUSE_KERNEL_VERSION, .minor = FS_MINOR_MAX};
	drop_session(fs);
	/* A driver of a later major version tries again with the one that we name. */
	if (in.major > FUSE_KERNEL_VERSION)
		return sizeof(*out);
	if (in.major < FUSE_KERNEL_VERSION || in.minor < FS_MINOR_MIN)
		return -EPROTO;
	fs->flags = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		fs->flags |= (uint64_t)in.flags2 << 32;
	fs->flags &= wanted_flags(fs);
	fs->ready = true;
	out->minor = MIN_OF(in.minor, FS_MINOR_MAX);
	out->max_readahead = in.max_readahead;
	out->flags = (uint32_t)fs->flags;
	out->flags2 = (uint32_t)(fs->flags >> 32);
	out->max_background = MAX_BACKGROUND;
	out->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	out->max_write = FS_IO_MAX;
	out->time_gran = 1;
	out->max_pages = FS_IO_MAX / 4096;
	return sizeof(*out);
}

static int op_destroy(struct fs_req *req)
{
	drop_session(req->fs);
	return 0;
}

static int op_interrupt(struct fs_req *req)
{
	const struct fuse_interrupt_in *in = req->body;

	/* What does not wait for a lock is done, or on its way. */
	(void)fs_locks_interrupt(req->fs, in->unique);
	return 0;
}

/* ---- requests ---- */

enum {
	NO_REPLY = 1 << 0,
	ANY_NODE = 1 << 1, /* h.nodeid means nothing */
	FOLDER = 1 << 2,   /* h.nodeid must be one */
};

struct op {
	int (*fn)(struct fs_req *req);
	unsigned flags;
	uint32_t body_min, out_min;
};

static const struct op ops[] = {
	[FUSE_LOOKUP] = {fs_op_lookup, FOLDER, 2, sizeof(struct fuse_entry_out)},
	[FUSE_FORGET] = {fs_op_forget, NO_REPLY, sizeof(struct fuse_forget_in), 0},
	[FUSE_GETATTR] = {fs_op_getattr, 0, sizeof(struct fuse_getattr_in), sizeof(struct fuse_attr_out)},
	[FUSE_SETATTR] = {fs_op_setattr, 0, sizeof(struct fuse_setattr_in), sizeof(struct fuse_attr_out)},
	[FUSE_READLINK] = {fs_op_readlink, 0, 0, 0},
	[FUSE_SYMLINK] = {fs_op_symlink, FOLDER, 4, sizeof(struct fuse_entry_out)},
	[FUSE_MKNOD] = {fs_op_mknod, FOLDER, sizeof(struct fuse_mknod_in) + 2, sizeof(struct fuse_entry_out)},
	[FUSE_MKDIR] = {fs_op_mkdir, FOLDER, sizeof(struct fuse_mkdir_in) + 2, sizeof(struct fuse_entry_out)},
	[FUSE_UNLINK] = {fs_op_unlink, FOLDER, 2, 0},
	[FUSE_RMDIR] = {fs_op_rmdir, FOLDER, 2, 0},
	[FUSE_RENAME] = {fs_op_rename, FOLDER, sizeof(struct fuse_rename_in) + 4, 0},
	[FUSE_LINK] = {fs_op_link, FOLDER, sizeof(struct fuse_link_in) + 2, sizeof(struct fuse_entry_out)},
	[FUSE_OPEN] = {fs_op_open, 0, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out)},
	[FUSE_READ] = {fs_op_read, 0, sizeof(struct fuse_read_in), 0},
	[FUSE_WRITE] = {fs_op_write, 0, sizeof(struct fuse_write_in), sizeof(struct fuse_write_out)},
	[FUSE_STATFS] = {fs_op_statfs, 0, 0, sizeof(struct fuse_statfs_out)},
	[FUSE_RELEASE] = {fs_op_release, 0, sizeof(struct fuse_release_in), 0},
	[FUSE_FSYNC] = {fs_op_fsync, 0, sizeof(struct fuse_fsync_in), 0},
	[FUSE_SETXATTR] = {fs_op_setxattr, 0, FUSE_COMPAT_SETXATTR_IN_SIZE, 0},
	[FUSE_GETXATTR] = {fs_op_getxattr, 0, sizeof(struct fuse_getxattr_in), 0},
	[FUSE_LISTXATTR] = {fs_op_listxattr, 0, sizeof(struct fuse_getxattr_in), 0},
	[FUSE_REMOVEXATTR] = {fs_op_removexattr, 0, 2, 0},
	[FUSE_FLUSH] = {fs_op_flush, 0, sizeof(struct fuse_flush_in), 0},
	[FUSE_INIT] = {op_init, ANY_NODE, FS_INIT_IN_MIN, sizeof(struct fuse_init_out)},
	[FUSE_OPENDIR] = {fs_op_opendir, FOLDER, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out)},
	[FUSE_READDIR] = {fs_op_readdir, FOLDER, sizeof(struct fuse_read_in), 0},
	[FUSE_RELEASEDIR] = {fs_op_releasedir, FOLDER, sizeof(struct fuse_release_in), 0},
	[FUSE_FSYNCDIR] = {fs_op_fsync, FOLDER, sizeof(struct fuse_fsync_in), 0},
	[FUSE_GETLK] = {fs_op_getlk, 0, sizeof(struct fuse_lk_in), sizeof(struct fuse_lk_out)},
	[FUSE_SETLK] = {fs_op_setlk, 0, sizeof(struct fuse_lk_in), 0},
	[FUSE_SETLKW] = {fs_op_setlkw, 0, sizeof(struct fuse_lk_in), 0},
	[FUSE_ACCESS] = {fs_op_access, 0, sizeof(struct fuse_access_in), 0},
	[FUSE_CREATE] = {fs_op_create, FOLDER, sizeof(struct fuse_create_in) + 2,
		sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)},
	[FUSE_INTERRUPT] = {op_interrupt, NO_REPLY | ANY_NODE, sizeof(struct fuse_interrupt_in), 0},
	[FUSE_DESTROY] = {op_destroy, ANY_NODE, 0, 0},
	[FUSE_BATCH_FORGET] = {fs_op_batch_forget, NO_REPLY | ANY_NODE, sizeof(struct fuse_batch_forget_in), 0},
	[FUSE_FALLOCATE] = {fs_op_fallocate, 0, sizeof(struct fuse_fallocate_in), 0},
	[FUSE_READDIRPLUS] = {fs_op_readdirplus, FOLDER, sizeof(struct fuse_read_in), 0},
	[FUSE_RENAME2] = {fs_op_rename2, FOLDER, sizeof(struct fuse_rename2_in) + 4, 0},
	[FUSE_LSEEK] = {fs_op_lseek, 0, sizeof(struct fuse_lseek_in), sizeof(struct fuse_lseek_out)},
	[FUSE_COPY_FILE_RANGE] = {fs_op_copy_file_range, 0, sizeof(struct fuse_copy_file_range_in),
		sizeof(struct fuse_write_out)},
	[FUSE_SYNCFS] = {fs_op_syncfs, 0, sizeof(struct fuse_syncfs_in), 0},
	[FUSE_TMPFILE] = {fs_op_tmpfile, FOLDER, sizeof(struct fuse_create_in),
		sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)},
};

static const struct op *find_op(uint32_t opcode)
{
	return opcode < ARRAY_SIZE(ops) && ops[opcode].fn ? &ops[opcode] : NULL;
}

/* Copies the arguments and lets the operation run. What an operation returns. */
static int run_op(struct fs_req *req, const struct op *op)
{
	struct fs *fs = req->fs;
	const struct chain *c = &fs->chain;
	uint64_t len = c->out_len - sizeof(req->h);

	if (req->h.len != c->out_len)
		return -EINVAL;
	if (op->fn == fs_op_write)
		len = MIN_OF(len, sizeof(struct fuse_write_in));
	if (len > FS_BODY_MAX || len < op->body_min || req->room < op->out_min)
		return -EINVAL;
	if (!fs->ready && op->fn != op_init)
		return -EIO;
	(void)iov_read(chain_out(c), c->n_out, sizeof(req->h), fs->body, len);
	fs->body[len] = '\0';
	req->body_len = (uint32_t)len;
	if (!(op->flags & ANY_NODE)) {
		req->inode = fs_inode_get(&fs->inodes, req->h.nodeid);
		if (!req->inode)
			return -EINVAL;
		if (op->flags & FOLDER && req->inode->type != S_IFDIR)
			return -ENOTDIR;
	}
	return op->fn(req);
}

static int finish(struct fs_req *req, int r)
{
	const struct chain *c = &req->fs->chain;
	struct fuse_out_header oh = out_header(req->h.unique, MIN_OF(r, 0), (uint32_t)MAX_OF(r, 0));

	(void)iov_write(chain_in(c), c->n_in, 0, &oh, sizeof(oh));
	if (r > 0 && !req->in_place)
		(void)iov_write(chain_in(c), c->n_in, sizeof(oh), req->out, (size_t)r);
	return push(req->fs, req->queue, c->head, oh.len);
}

static void signal_forgotten(struct fs *fs)
{
	if (fs->n_forgotten > 0)
		virtio_signal(&fs->dev, FORGET_QUEUE);
	fs->n_forgotten = 0;
}

/* Gives back what has no reply. */
static int give_back(struct fs *fs, unsigned queue, uint16_t head)
{
	struct queue *q = &fs->dev.queues[queue];
	int r;

	if (queue != FORGET_QUEUE)
		return push(fs, queue, head, 0);
	r = queue_push(q, head, 0);
	if (r == 0 && ++fs->n_forgotten >= MIN_OF(FORGET_SIGNAL, q->cfg.size / 2u))
		signal_forgotten(fs);
	return r;
}

/* Serves the chain in fs->chain. -EPROTO. */
static int serve(struct fs *fs, unsigned queue)
{
	const struct chain *c = &fs->chain;
	struct fs_req req = {.fs = fs, .queue = queue, .body = fs->body, .out = fs->out};
	const struct op *op;
	int r;

	if (iov_read(chain_out(c), c->n_out, 0, &req.h, sizeof(req.h)) < sizeof(req.h))
		return push(fs, queue, c->head, 0);
	op = find_op(req.h.opcode);
	if (op && op->flags & NO_REPLY) {
		(void)run_op(&req, op);
		return give_back(fs, queue, c->head);
	}
	if (c->in_len < sizeof(struct fuse_out_header))
		return push(fs, queue, c->head, 0);
	req.room = (uint32_t)MIN_OF(c->in_len - sizeof(struct fuse_out_header), INT32_MAX);
	r = op ? run_op(&req, op) : -ENOSYS;
	return r == FS_LATER ? 0 : finish(&req, r);
}

static void on_resume(struct loop_timer *t);

static int drain(struct virtio_dev *dev, unsigned index)
{
	struct fs *fs = from_dev(dev);

	for (int n = 0; n < BATCH; n++) {
		int r = queue_pop(&dev->queues[index], &fs->chain);

		if (r <= 0)
			return r;
		r = serve(fs, index);
		if (r < 0)
			return r;
	}
	/* No kick will come for what is left. */
	fs->resume_mask |= 1u << index;
	if (!fs->resume.loop)
		loop_timer_set(dev->loop, &fs->resume, 0, on_resume);
	return 0;
}

static void on_forget_time(struct loop_timer *t);

static void wait_for_forgets(struct fs *fs)
{
	queue_kicks_enable(&fs->dev.queues[FORGET_QUEUE], false);
	loop_timer_set(fs->dev.loop, &fs->forget_time, FORGET_NS, on_forget_time);
}

static void on_forget_time(struct loop_timer *t)
{
	struct fs *fs = container_of(t, struct fs, forget_time);
	int r = drain(&fs->dev, FORGET_QUEUE);

	if (r == 0 && fs->n_forgotten == 0) {
		queue_kicks_enable(&fs->dev.queues[FORGET_QUEUE], true);
		r = drain(&fs->dev, FORGET_QUEUE); /* what came before the driver could know */
	}
	if (r < 0) {
		virtio_broken(&fs->dev);
	} else if (fs->n_forgotten > 0) {
		signal_forgotten(fs);
		wait_for_forgets(fs);
	}
}

static void set_limit(struct fs *fs)
{
	const struct guest_mem *mem = fs->dev.mem;
	uint64_t sum = 0;

	for (unsigned i = 0; i < mem->n; i++)
		sum += mem->regions[i].readonly ? 0 : mem->regions[i].size;
	fs_inodes_limit(&fs->inodes, sum);
}

static void on_idle(struct loop_timer *t)
{
	struct fs *fs = container_of(t, struct fs, idle);

	fs_inodes_idle(&fs->inodes);
	if (fs->inodes.n_nested > 0)
		loop_timer_set(fs->dev.loop, &fs->idle, IDLE_NS, on_idle);
}

static int fs_notify(struct virtio_dev *dev, unsigned index)
{
	struct fs *fs = from_dev(dev);
	int r = drain(dev, index);

	/* In time, and seldom: it may have been given more memory. */
	if (fs->inodes.slots.n > fs->inodes.slots.max / 4 * 3)
		set_limit(fs);
	if (fs->inodes.n_nested > 0 && !fs->idle.loop)
		loop_timer_set(dev->loop, &fs->idle, IDLE_NS, on_idle);
	if (r == 0 && index != FORGET_QUEUE && fs->forget_time.loop)
		r = drain(dev, FORGET_QUEUE);
	else if (r == 0 && fs->n_forgotten > 0 && !fs->forget_time.loop)
		wait_for_forgets(fs);
	return r;
}

static void on_resume(struct loop_timer *t)
{
	struct fs *fs = container_of(t, struct fs, resume);
	uint32_t mask = fs->resume_mask;

	fs->resume_mask = 0;
	for (unsigned i = 0; i < fs->dev.ops->n_queues; i++)
		if (mask >> i & 1 && fs_notify(&fs->dev, i) < 0) {
			virtio_broken(&fs->dev);
			return;
		}
}

/* ---- the device ---- */

static void fs_config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	const struct fs *fs = from_dev(dev);
	struct config cfg;

	memcpy(cfg.tag, fs->tag, sizeof(cfg.tag));
	put_le32(cfg.n_request_queues, fs->n_request_queues);
	memcpy(dst, (const uint8_t *)&cfg + off, len);
}

static int fs_activate(struct virtio_dev *dev, struct err *err unused_arg)
{
	set_limit(from_dev(dev));
	return 0; /* nothing is kept between sessions */
}

static void fs_reset(struct virtio_dev *dev)
{
	struct fs *fs = from_dev(dev);

	fs->epoch++;
	loop_timer_cancel(&fs->resume);
	loop_timer_cancel(&fs->forget_time);
	loop_timer_cancel(&fs->idle);
	fs->resume_mask = 0;
	fs->n_forgotten = 0;
	drop_session(fs);
}

static int enter_thread(struct fs *fs, struct err *err)
{
	int bits;

	if (unshare(CLONE_FS) < 0)
		return err_errno(err, "virtio-fs: unshare(CLONE_FS)");
	/* Extended attributes have no *at() calls (before Linux 6.13): relative names are our own descriptors. */
	if (fchdir(fs->proc_fd) < 0)
		return err_errno(err, "virtio-fs: fchdir to /proc/self/fd");
	(void)umask(0);
	fs->own_uid = (uid_t)syscall(SYS_setfsuid, -1);
	fs->own_gid = (gid_t)syscall(SYS_setfsgid, -1);
	bits = prctl(PR_GET_SECUREBITS);
	fs->can_switch = bits >= 0 && (bits & SECBIT_NO_SETUID_FIXUP ||
					      prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) == 0);
	if (!fs->can_switch && fs->own_uid == 0)
		return err_errno(err, "virtio-fs: SECBIT_NO_SETUID_FIXUP (needs CAP_SETPCAP)");
	return 0;
}

static int check_options(const struct fs_options *opts, struct err *err)
{
	size_t tag_len = strlen(opts->tag);

	if (tag_len == 0 || tag_len > FS_TAG_MAX)
		return err_set(err, EINVAL, "virtio-fs: tag '%.40s': 1 to %d bytes", opts->tag, FS_TAG_MAX);
	if (opts->n_request_queues == 0 || opts->n_request_queues > FS_REQUEST_QUEUES_MAX)
		return err_set(err, EINVAL, "virtio-fs: %u request queues: 1 to %d", opts->n_request_queues,
			FS_REQUEST_QUEUES_MAX);
	if (opts->fds_max < FS_FDS_MIN)
		return err_set(err, EINVAL, "virtio-fs: %u descriptors: at least %d", opts->fds_max, FS_FDS_MIN);
	return 0;
}

/* On failure root_fd is still the caller's. */
static int fs_init(struct fs *fs, int root_fd, unsigned fds_max, struct err *err)
{
	int r;

	if (fs->proc_fd < 0) {
		fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fs->proc_fd < 0)
			return err_errno(err, "virtio-fs: /proc/self/fd");
	}
	r = enter_thread(fs, err);
	if (r < 0)
		return r;
	fs_handles_init(&fs->handles, &fs->inodes);
	fs_locks_init(&fs->locks);
	r = fs_work_init(&fs->work, fs->dev.loop, fs_job_done, fs, err);
	if (r < 0)
		return r;
	r = fs_work_start(&fs->work, fs->n_workers, err);
	if (r == 0)
		r = fs_inodes_init(&fs->inodes, root_fd, fs->proc_fd, fds_max, err);
	if (r < 0)
		fs_work_fini(&fs->work);
	return r;
}

int fs_new(struct fs **ret, struct loop *loop, const struct fs_options *opts, struct err *err)
{
	auto_close int root_fd = opts->root_fd, proc_fd = opts->proc_fd > 0 ? opts->proc_fd : -1;
	auto_free struct fs *fs = NULL;
	int r = check_options(opts, err);

	if (r < 0)
		return r;
	/* Zeroed pages of the big buffers cost nothing until they are used. */
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return err_set(err, ENOMEM, "virtio-fs: out of memory");
	fs->ops = (struct virtio_ops){
		.device_id = 26,
		.name = "fs",
		.n_queues = 1 + opts->n_request_queues,
		.n_vectors = 2,
		.config_len = sizeof(struct config),
		.config_read = fs_config_read,
		.activate = fs_activate,
		.notify = fs_notify,
		.reset = fs_reset,
	};
	fs->dev = (struct virtio_dev){.ops = &fs->ops, .loop = loop};
	memcpy(fs->tag, opts->tag, strlen(opts->tag));
	fs->n_request_queues = opts->n_request_queues;
	fs->n_workers = opts->workers;
	fs->writeback = opts->writeback;
	fs->local_locks = opts->local_locks;
	fs->proc_fd = proc_fd;
	r = fs_init(fs, root_fd, opts->fds_max, err);
	proc_fd = fs->proc_fd; /* opened there, or ours all along */
	if (r < 0)
		return r;
	root_fd = proc_fd = -1;
	*ret = take_ptr(fs);
	return 0;
}

void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	fs_reset(&fs->dev);
	/* Jobs that are still running hold handles. */
	fs_work_fini(&fs->work);
	fs_handles_fini(&fs->handles);
	fs_inodes_fini(&fs->inodes);
	(void)close(fs->proc_fd);
	free(fs);
}

struct virtio_dev *fs_dev(struct fs *fs)
{
	return &fs->dev;
}
