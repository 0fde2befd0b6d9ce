/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/blk_io.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/libc.h"

bool blk_job_advance(struct blk_job *job, int64_t n)
{
	job->result = 0;
	if (n == -EINTR || n == -EAGAIN)
		return false;
	if (n < 0 || (job->op != BLK_READ && job->op != BLK_WRITE)) {
		job->result = (int)n;
		return true;
	}
	if (n == 0 || (uint64_t)n > job->len) {
		job->result = -EIO;
		return true;
	}
	job->len -= (uint64_t)n;
	job->off += (uint64_t)n;
	while (job->n_iov && (uint64_t)n >= job->iov->iov_len) {
		n -= (int64_t)job->iov->iov_len;
		job->iov++;
		job->n_iov--;
	}
	if (job->n_iov) {
		job->iov->iov_base = (uint8_t *)job->iov->iov_base + n;
		job->iov->iov_len -= (uint64_t)n;
	}
	return job->len == 0;
}

static int64_t step(const struct blk_job *job, int fd)
{
	int64_t n;

	switch (job->op) {
	case BLK_READ:
		n = preadv(fd, job->iov, (int)job->n_iov, (off_t)job->off);
		break;
	case BLK_WRITE:
		n = pwritev2(fd, job->iov, (int)job->n_iov, (off_t)job->off, job->sync ? RWF_DSYNC : 0);
		break;
	case BLK_FLUSH:
		n = fdatasync(fd);
		break;
	default:
		n = fallocate(fd,
			FALLOC_FL_KEEP_SIZE | (job->op == BLK_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
			(off_t)job->off, (off_t)job->len);
	}
	return n < 0 ? -errno : n;
}

/* On a worker. */
static int64_t run(const struct fs_job *work)
{
	/* The job is ours alone until done. */
	struct blk_job *job = container_of((struct fs_job *)(uintptr_t)work, struct blk_job, work);

	while (!blk_job_advance(job, step(job, work->fd)))
		;
	return job->result;
}

static void on_work_done(void *ctx, struct fs_job *work)
{
	struct blk_job *job = container_of(work, struct blk_job, work);
	const struct blk_io *io = ctx;

	job->result = (int)work->result;
	blk_io_complete(ctx, job);
	io->ops->batch(io->ctx);
}

void blk_io_complete(struct blk_io *io, struct blk_job *job)
{
	io->in_flight--;
	io->ops->done(io->ctx, job);
}

int blk_io_init(struct blk_io *io, struct loop *loop, int fd, enum blk_engine engine, const struct blk_io_ops *ops,
	void *ctx, struct err *err)
{
	int r = -ENOSYS;

	*io = (struct blk_io){.fd = fd, .ops = ops, .ctx = ctx, .work = {.event_fd = -1}};
	if (engine != BLK_ENGINE_THREADS)
		r = blk_uring_new(&io->uring, io, loop, err);
	if (r == 0 || engine == BLK_ENGINE_URING)
		return r;
	return fs_work_init(&io->work, loop, on_work_done, io, err);
}

int blk_io_start(struct blk_io *io, struct err *err)
{
	return io->uring || io->work.n_threads ? 0 : fs_work_start(&io->work, BLK_WORKERS, err);
}

void blk_io_fini(struct blk_io *io)
{
	if (io->uring) {
		blk_io_drain(io);
		blk_uring_free(take_ptr(io->uring));
	} else if (io->work.event_fd >= 0) {
		fs_work_fini(&io->work);
	}
}

void blk_io_submit(struct blk_io *io, struct blk_job *job)
{
	io->in_flight++;
	if (io->uring) {
		blk_uring_submit(io->uring, job);
		return;
	}
	job->work.run = run;
	job->work.fd = io->fd;
	fs_work_submit(&io->work, &job->work);
}

void blk_io_flush(struct blk_io *io)
{
	if (io->uring)
		blk_uring_flush(io->uring);
}

void blk_io_drain(struct blk_io *io)
{
	if (!io->uring)
		fs_work_drain(&io->work);
	while (io->uring && io->in_flight)
		blk_uring_wait(io->uring);
}
