/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks.
 *
 * flock(2) locks belong to an open file, and so to its handle: they are taken on the handle's descriptor and go with it.
 *
 * fcntl(2) locks belong to an owner (the guest's process, a number to us) and an inode. Each pair has an open file description
 * of its own and takes OFD locks on that, so the host's kernel sees different owners; a FLUSH by the owner closes it. Inodes
 * without handles have none. Files opened for reading are closed without FLUSH (fs_ops_file.c): locks on them, which can only be
 * read locks, go when the handle does.
 *
 * A lock that is taken and shall be waited for (SETLKW) blocks no thread, since a few waiters could then keep the very request
 * from being served that would free the lock. It waits in a list, first come, first served, and is tried again whenever this
 * guest lets go of a lock of the inode, and now and then for locks held by the host or by other guests. There are
 * never more waiters than requests in the queues. INTERRUPT and reset end the wait; Linux does not send INTERRUPT over virtio-fs,
 * so a process there waits until it gets the lock.
 *
 * Not as on a local disk: deadlocks are not detected (EDEADLK); F_GETLK tells the holder's pid only if it is clear which
 * process of this guest it is; and a read lock on a file opened for reading outlives its owner's close(2) as long as another
 * descriptor of the same open file, duplicated or inherited, is there. No lock is ever lost early.
 *
 * System calls: openat fcntl flock close
 */
#include "virtio/fs_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/bytes.h"
#include "virtio/fs_int.h"

#define DELAY_MIN_NS (5 * NS_PER_MS)
#define DELAY_MAX_NS (100 * NS_PER_MS)

struct fs_plock {
	struct fs_plock *next; /* of the inode */
	uint64_t owner;
	uint32_t pid; /* who took a lock last; in the guest */
	int fd;
	uint64_t fh; /* what it took its last lock on, if that is a handle without FLUSH, else 0 */
};

struct request {
	bool is_flock;
	uint64_t owner;
	uint32_t pid;
	struct flock fl; /* is_flock: l_type only */
};

struct fs_waiter {
	struct fs_waiter *next;
	struct fs_reply to;
	struct fs_handle *h; /* held */
	struct request want;
};

void fs_locks_init(struct fs_locks *l)
{
	*l = (struct fs_locks){0};
	l->waiters_end = &l->waiters;
}

/* ---- fcntl owners ---- */

static struct fs_plock *find_plock(const struct fs_inode *ino, uint64_t owner)
{
	struct fs_plock *pl = ino->plocks;

	while (pl && pl->owner != owner)
		pl = pl->next;
	return pl;
}

/* A descriptor for locks on what the handle has open. Counted. */
static int open_for_locks(struct fs_inodes *t, const struct fs_handle *h)
{
	int fd = h->inode->type == S_IFREG ? fs_reopen(t, h->fd, O_RDWR) : -EISDIR;

	/* A file that cannot be written cannot have been opened for writing by the guest: read locks will do. */
	return fd >= 0 || fd == -ENFILE || fd == -EMFILE ? fd : fs_reopen(t, h->fd, O_RDONLY);
}

static int new_plock(struct fs_inodes *t, const struct fs_handle *h, uint64_t owner, struct fs_plock **ret)
{
	struct fs_plock *pl;
	int r = fs_fd_hold(t);

	if (r < 0)
		return -ENOLCK;
	pl = malloc(sizeof(*pl));
	r = pl ? open_for_locks(t, h) : -ENOMEM;
	if (r < 0) {
		free(pl);
		fs_fd_unhold(t);
		return r;
	}
	*pl = (struct fs_plock){.next = h->inode->plocks, .owner = owner, .fd = r};
	h->inode->plocks = pl;
	*ret = pl;
	return 0;
}

static void free_plock(struct fs_inodes *t, struct fs_plock **at)
{
	struct fs_plock *pl = *at;

	*at = pl->next;
	fs_fd_close(t, pl->fd);
	fs_fd_unhold(t);
	free(pl);
}

void fs_locks_close(struct fs *fs, struct fs_inode *ino, uint64_t owner)
{
	for (struct fs_plock **p = &ino->plocks; *p; p = &(*p)->next)
		if ((*p)->owner == owner) {
			free_plock(&fs->inodes, p);
			fs_locks_changed(fs, ino);
			return;
		}
}

void fs_locks_close_handle(struct fs *fs, struct fs_inode *ino, uint64_t fh)
{
	struct fs_plock **p = &ino->plocks;
	bool any = false;

	while (*p)
		if ((*p)->fh == fh) {
			free_plock(&fs->inodes, p);
			any = true;
		} else {
			p = &(*p)->next;
		}
	if (any)
		fs_locks_changed(fs, ino);
}

static void free_plocks(struct fs *fs, struct fs_inode *ino)
{
	while (ino->plocks)
		free_plock(&fs->inodes, &ino->plocks);
}

void fs_locks_released(struct fs *fs, struct fs_inode *ino, bool flocked)
{
	bool last = !ino->handles && ino->plocks;

	if (last)
		free_plocks(fs, ino);
	if (flocked || last)
		fs_locks_changed(fs, ino);
}

/* ---- taking ---- */

static int parse(const struct fs_req *req, struct fs_handle **ret_h, struct request *ret)
{
	const struct fuse_lk_in *in = req->body;

	*ret_h = fs_handle_get(&req->fs->handles, in->fh, req->inode);
	if (!*ret_h)
		return -EBADF;
	if (in->lk.type != F_RDLCK && in->lk.type != F_WRLCK && in->lk.type != F_UNLCK)
		return -EINVAL;
	if (in->lk.start > INT64_MAX || in->lk.end < in->lk.start)
		return -EINVAL;
	*ret = (struct request){
		.is_flock = in->lk_flags & FUSE_LK_FLOCK,
		.owner = in->owner,
		.pid = in->lk.pid,
		.fl = {.l_type = (short)in->lk.type, .l_whence = SEEK_SET, .l_start = (off_t)in->lk.start},
	};
	/* Length 0 means to the end, however far that is. */
	if (in->lk.end < INT64_MAX)
		ret->fl.l_len = (off_t)(in->lk.end - in->lk.start + 1);
	return 0;
}

static int try_flock(struct fs_handle *h, const struct request *want)
{
	int op = want->fl.l_type == F_RDLCK ? LOCK_SH : want->fl.l_type == F_WRLCK ? LOCK_EX : LOCK_UN;

	h->flocked = true;
	return flock(h->fd, op | LOCK_NB) < 0 ? -errno : 0;
}

static int try_fcntl(struct fs_inodes *t, struct fs_handle *h, const struct request *want)
{
	struct fs_plock *pl = find_plock(h->inode, want->owner);
	struct flock fl = want->fl;
	int r = 0;

	if (!pl && fl.l_type == F_UNLCK)
		return 0;
	if (!pl)
		r = new_plock(t, h, want->owner, &pl);
	if (r < 0)
		return r;
	if (fcntl(pl->fd, F_OFD_SETLK, &fl) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	pl->pid = want->pid;
	if (fl.l_type != F_UNLCK)
		pl->fh = h->no_flush ? h->fh : 0;
	return 0;
}

/* 0, -EAGAIN: somebody else has it, or -errno. */
static int try(struct fs *fs, struct fs_handle *h, const struct request *want)
{
	if (!h->inode)
		return -EBADF;
	return want->is_flock ? try_flock(h, want) : try_fcntl(&fs->inodes, h, want);
}

/* ---- waiting ---- */

static void end_wait(struct fs *fs, struct fs_waiter **at, int error)
{
	struct fs_locks *l = &fs->locks;
	struct fs_waiter *w = *at;

	*at = w->next;
	if (!w->next)
		l->waiters_end = at;
	fs_reply_send(fs, &w->to, error, NULL, 0);
	fs_handle_unref(&fs->handles, w->h);
	free(w);
}

/* `ino` NULL: all of them. */
static void retry(struct fs *fs, const struct fs_inode *ino)
{
	struct fs_waiter **p = &fs->locks.waiters;

	while (*p) {
		struct fs_waiter *w = *p;
		int r = -EAGAIN;

		if (!ino || !w->h->inode || w->h->inode == ino)
			r = try(fs, w->h, &w->want);
		if (r == -EAGAIN)
			p = &w->next;
		else
			end_wait(fs, p, r);
	}
	if (!fs->locks.waiters)
		loop_timer_cancel(&fs->locks.timer);
}

static void on_timer(struct loop_timer *t)
{
	struct fs_locks *l = container_of(t, struct fs_locks, timer);
	struct fs *fs = container_of(l, struct fs, locks);

	retry(fs, NULL);
	if (!l->waiters)
		return;
	l->delay_ns = MIN_OF(l->delay_ns * 2, DELAY_MAX_NS);
	loop_timer_set(fs->dev.loop, t, l->delay_ns, on_timer);
}

static int wait_for(struct fs_req *req, struct fs_handle *h, const struct request *want)
{
	struct fs_locks *l = &req->fs->locks;
	struct fs_waiter *w = malloc(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	*w = (struct fs_waiter){.h = h, .want = *want};
	r = fs_req_later(req, &w->to);
	if (r < 0) {
		free(w);
		return r;
	}
	fs_handle_ref(h);
	*l->waiters_end = w;
	l->waiters_end = &w->next;
	l->delay_ns = DELAY_MIN_NS;
	loop_timer_set(req->fs->dev.loop, &l->timer, l->delay_ns, on_timer);
	return FS_LATER;
}

void fs_locks_changed(struct fs *fs, const struct fs_inode *ino)
{
	if (fs->locks.waiters)
		retry(fs, ino);
}

bool fs_locks_interrupt(struct fs *fs, uint64_t unique)
{
	for (struct fs_waiter **p = &fs->locks.waiters; *p; p = &(*p)->next)
		if ((*p)->to.unique == unique) {
			end_wait(fs, p, -EINTR);
			return true;
		}
	return false;
}

void fs_locks_drop(struct fs *fs)
{
	const struct fs_slots *s = &fs->handles.slots;

	loop_timer_cancel(&fs->locks.timer);
	while (fs->locks.waiters)
		end_wait(fs, &fs->locks.waiters, -ENOTCONN);
	for (uint32_t i = 0; i < s->cap; i++) {
		const struct fs_handle *h = s->slots[i].obj;

		if (h)
			free_plocks(fs, h->inode);
	}
}

/* ---- requests ---- */

static uint32_t holder_pid(const struct fs_inode *ino, uint64_t asking)
{
	const struct fs_plock *other = NULL;

	for (const struct fs_plock *pl = ino->plocks; pl; pl = pl->next) {
		if (pl->owner == asking)
			continue;
		if (other)
			return 0;
		other = pl;
	}
	return other ? other->pid : 0;
}

int fs_op_getlk(struct fs_req *req)
{
	struct fuse_lk_out *out = (struct fuse_lk_out *)req->out;
	struct fs_inodes *t = &req->fs->inodes;
	const struct fs_plock *pl;
	struct request want;
	struct fs_handle *h;
	int fd, r;

	r = parse(req, &h, &want);
	if (r < 0)
		return r;
	if (want.is_flock || want.fl.l_type == F_UNLCK)
		return -EINVAL;
	pl = find_plock(h->inode, want.owner);
	fd = pl ? pl->fd : open_for_locks(t, h);
	if (fd < 0)
		return fd;
	r = fcntl(fd, F_OFD_GETLK, &want.fl) < 0 ? -errno : 0;
	if (!pl)
		fs_fd_close(t, fd);
	if (r < 0)
		return r;
	*out = (struct fuse_lk_out){.lk = {.type = (uint32_t)want.fl.l_type}};
	if (want.fl.l_type != F_UNLCK) {
		out->lk.start = (uint64_t)want.fl.l_start;
		out->lk.end = want.fl.l_len ? (uint64_t)(want.fl.l_start + want.fl.l_len - 1) : INT64_MAX;
		out->lk.pid = holder_pid(h->inode, want.owner);
	}
	return sizeof(*out);
}

static int setlk(struct fs_req *req, bool wait)
{
	struct request want;
	struct fs_handle *h;
	int r = parse(req, &h, &want);

	if (r < 0)
		return r;
	r = try(req->fs, h, &want);
	if (r == -EAGAIN && wait)
		return wait_for(req, h, &want);
	/* Unlocking, and also locking for reading what was locked for writing, may be what others wait for. */
	if (r == 0 && want.fl.l_type != F_WRLCK)
		fs_locks_changed(req->fs, req->inode);
	return r;
}

int fs_op_setlk(struct fs_req *req)
{
	return setlk(req, false);
}

int fs_op_setlkw(struct fs_req *req)
{
	return setlk(req, true);
}
