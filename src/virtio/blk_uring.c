/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring(7) by its system calls: the library would be the VMM's only one for the sake of three.
 *
 * The rings are shared with the kernel: it moves the head of the submission ring and the tail of the completion ring, we the
 * others, each with release and read with acquire. There are never more jobs than submission entries, so neither overflows.
 * The entries of the submission array are the identity, written once.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/libc.h"
#include "virtio/blk_io.h"

#define RETRY_NS NS_PER_MS

struct blk_uring {
	struct blk_io *io;
	struct loop *loop;
	int fd, event_fd;
	struct loop_fd src;
	struct loop_timer retry;
	uint8_t *rings;
	size_t rings_len;
	struct io_uring_sqe *sqes;
	size_t sqes_len;
	const struct io_uring_cqe *cqes;
	uint32_t *sq_tail, *cq_head;
	const uint32_t *cq_tail;
	uint32_t sq_mask, cq_mask, unsubmitted;
};

static int enter(const struct blk_uring *u, uint32_t submit, uint32_t wait)
{
	long r = syscall(SYS_io_uring_enter, u->fd, submit, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);

	return r < 0 ? -errno : (int)r;
}

static void on_retry(struct loop_timer *t)
{
	blk_uring_flush(container_of(t, struct blk_uring, retry));
}

/* What the kernel did not take stays in the ring. */
static void submit(struct blk_uring *u, uint32_t wait)
{
	int n = enter(u, u->unsubmitted, wait);

	if (n > 0)
		u->unsubmitted -= MIN_OF((uint32_t)n, u->unsubmitted);
	if (u->unsubmitted)
		loop_timer_set(u->loop, &u->retry, RETRY_NS, on_retry);
}

void blk_uring_flush(struct blk_uring *u)
{
	if (u->unsubmitted)
		submit(u, 0);
}

void blk_uring_submit(struct blk_uring *u, struct blk_job *job)
{
	static const uint8_t opcodes[] = {
		[BLK_READ] = IORING_OP_READV,
		[BLK_WRITE] = IORING_OP_WRITEV,
		[BLK_FLUSH] = IORING_OP_FSYNC,
		[BLK_PUNCH] = IORING_OP_FALLOCATE,
		[BLK_ZERO] = IORING_OP_FALLOCATE,
	};
	uint32_t tail = *u->sq_tail;
	struct io_uring_sqe *e = &u->sqes[tail & u->sq_mask];

	memset(e, 0, sizeof(*e));
	e->opcode = opcodes[job->op];
	e->flags = IOSQE_FIXED_FILE; /* e->fd = 0: the first registered file */
	e->user_data = (uint64_t)(uintptr_t)job;
	switch (job->op) {
	case BLK_READ:
	case BLK_WRITE:
		e->addr = (uint64_t)(uintptr_t)job->iov;
		e->len = job->n_iov;
		e->off = job->off;
		e->rw_flags = job->sync ? RWF_DSYNC : 0;
		break;
	case BLK_FLUSH:
		e->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	default:
		e->off = job->off;
		e->addr = job->len;
		e->len = FALLOC_FL_KEEP_SIZE | (job->op == BLK_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	}
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
	u->unsubmitted++;
}

static void reap(struct blk_uring *u)
{
	uint32_t head = *u->cq_head;

	while (head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE)) {
		const struct io_uring_cqe *e = &u->cqes[head & u->cq_mask];
		struct blk_job *job = (struct blk_job *)(uintptr_t)e->user_data;
		int32_t n = e->res;

		head++;
		__atomic_store_n(u->cq_head, head, __ATOMIC_RELEASE);
		if (blk_job_advance(job, n))
			blk_io_complete(u->io, job);
		else
			blk_uring_submit(u, job);
	}
	u->io->ops->batch(u->io->ctx);
	blk_uring_flush(u);
}

static void on_event(struct loop_fd *src, uint32_t events unused_arg)
{
	uint64_t count;
	ssize_t n = read(src->fd, &count, sizeof(count));

	(void)n;
	reap(container_of(src, struct blk_uring, src));
}

void blk_uring_wait(struct blk_uring *u)
{
	submit(u, 1);
	reap(u);
}

static long do_register(const struct blk_uring *u, unsigned opcode, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, u->fd, opcode, arg, n);
}

static bool lock_down(const struct blk_uring *u)
{
	struct io_uring_restriction allow[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	};

	return do_register(u, IORING_REGISTER_FILES, &u->io->fd, 1) == 0 &&
	       do_register(u, IORING_REGISTER_EVENTFD, &u->event_fd, 1) == 0 &&
	       do_register(u, IORING_REGISTER_RESTRICTIONS, allow, ARRAY_SIZE(allow)) == 0 &&
	       do_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0;
}

static bool map(struct blk_uring *u, const struct io_uring_params *p)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	uint32_t *array;
	void *at;

	u->rings_len = MAX_OF(p->sq_off.array + p->sq_entries * sizeof(uint32_t),
		p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe));
	u->sqes_len = p->sq_entries * sizeof(struct io_uring_sqe);
	at = mmap(NULL, u->rings_len, prot, flags, u->fd, IORING_OFF_SQ_RING);
	u->rings = at == MAP_FAILED ? NULL : at;
	at = mmap(NULL, u->sqes_len, prot, flags, u->fd, IORING_OFF_SQES);
	u->sqes = at == MAP_FAILED ? NULL : at;
	if (!u->rings || !u->sqes)
		return false;
	u->sq_tail = (uint32_t *)(void *)(u->rings + p->sq_off.tail);
	u->sq_mask = p->sq_entries - 1;
	u->cq_head = (uint32_t *)(void *)(u->rings + p->cq_off.head);
	u->cq_tail = (uint32_t *)(void *)(u->rings + p->cq_off.tail);
	u->cq_mask = p->cq_entries - 1;
	u->cqes = (struct io_uring_cqe *)(void *)(u->rings + p->cq_off.cqes);
	array = (uint32_t *)(void *)(u->rings + p->sq_off.array);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		array[i] = i;
	return true;
}

int blk_uring_new(struct blk_uring **ret, struct blk_io *io, struct loop *loop, struct err *err)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED};
	struct blk_uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_set(err, ENOMEM, "blk: out of memory");
	u->io = io;
	u->loop = loop;
	u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	u->fd = (int)syscall(SYS_io_uring_setup, BLK_JOBS_MAX, &p);
	if (u->event_fd < 0)
		r = err_errno(err, "blk: eventfd");
	else if (u->fd < 0 || !(p.features & IORING_FEAT_SINGLE_MMAP) || !map(u, &p) || !lock_down(u))
		r = err_set(err, ENOSYS, "blk: io_uring is not there, or not all of it");
	else
		r = loop_add_fd(loop, &u->src, u->event_fd, EPOLLIN, on_event, err);
	if (r < 0) {
		blk_uring_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

void blk_uring_free(struct blk_uring *u)
{
	if (!u)
		return;
	loop_timer_cancel(&u->retry);
	loop_remove_fd(&u->src);
	if (u->sqes)
		(void)munmap(u->sqes, u->sqes_len);
	if (u->rings)
		(void)munmap(u->rings, u->rings_len);
	close_fd(&u->fd);
	close_fd(&u->event_fd);
	free(u);
}
