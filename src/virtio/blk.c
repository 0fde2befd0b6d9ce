/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/blk.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/bytes.h"

/* virtio 1.2 §5.2.3 */
#define F_SEG_MAX (UINT64_C(1) << 2)
#define F_RO (UINT64_C(1) << 5)
#define F_BLK_SIZE (UINT64_C(1) << 6)
#define F_FLUSH (UINT64_C(1) << 9)
#define F_DISCARD (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,

	S_OK = 0,
	S_IOERR = 1,
	S_UNSUPP = 2,

	HDR_LEN = 16,
	HDR_SECTOR = 8,
	RANGE_LEN = 16, /* of discard and write zeroes: sector, sectors, flags */
	RANGE_UNMAP = 1,

	CONFIG_CAPACITY = 0,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_DISCARD_SECTORS = 36,
	CONFIG_DISCARD_SEGS = 40,
	CONFIG_DISCARD_ALIGN = 44,
	CONFIG_ZEROES_SECTORS = 48,
	CONFIG_ZEROES_SEGS = 52,
	CONFIG_ZEROES_UNMAP = 56,
	CONFIG_LEN = 60,
};

#define RANGE_SECTORS_MAX (UINT32_C(1) << 22) /* 2 GiB in one request */
#define BATCH 64			      /* chains per turn */

/* By head, so that a request in flight has its place, and only one. */
struct req {
	struct blk_job job;
	struct blk *blk;
	uint8_t *status; /* the last byte that the device writes */
	uint32_t in_len; /* bytes written with a success, the status included */
	struct iovec iov[BLK_SEGS_MAX];
};

struct blk {
	struct virtio_dev dev;
	struct virtio_ops ops; /* features and the size of queues differ */
	struct blk_options opts;
	uint64_t capacity; /* bytes */
	struct blk_io io;
	bool io_up, broken;
	struct loop_timer more;
	uint8_t config[CONFIG_LEN];
	struct blk_counters counters;
	struct chain chain;
	struct req reqs[BLK_JOBS_MAX];
};

static struct blk *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct blk, dev);
}

/* 0 or -EPROTO */
static int answer(struct blk *b, uint16_t head, uint8_t status)
{
	struct req *req = &b->reqs[head];

	*req->status = status;
	b->counters.errors += status != S_OK;
	return queue_push(&b->dev.queues[0], head, status == S_OK ? req->in_len : 1);
}

static uint8_t status_of(int result)
{
	if (result == 0)
		return S_OK;
	return result == -EOPNOTSUPP || result == -ENOSYS ? S_UNSUPP : S_IOERR;
}

static void on_done(void *ctx, struct blk_job *job)
{
	struct blk *b = ctx;
	struct req *req = container_of(job, struct req, job);

	/* Fails only if the queue was broken meanwhile. */
	(void)!answer(b, (uint16_t)(req - b->reqs), status_of(job->result));
}

static void on_batch(void *ctx)
{
	struct blk *b = ctx;

	if (!b->broken)
		virtio_signal(&b->dev, 0);
}

/* A part of the disk, in sectors. */
static bool in_range(const struct blk *b, uint64_t sector, uint64_t len)
{
	return len > 0 && len % BLK_SECTOR == 0 && sector < b->capacity / BLK_SECTOR &&
	       len <= b->capacity - sector * BLK_SECTOR;
}

/* A status when the request is over, or -1 when its job has been submitted. */
static int start_rw(struct blk *b, struct req *req, uint64_t sector, bool write)
{
	const struct chain *c = &b->chain;
	uint64_t len = write ? c->out_len - HDR_LEN : c->in_len - 1;

	if (!in_range(b, sector, len) || (write && b->opts.read_only))
		return S_IOERR;
	req->job = (struct blk_job){
		.op = write ? BLK_WRITE : BLK_READ,
		.sync = write && !(b->dev.features & F_FLUSH),
		.iov = req->iov,
		.off = sector * BLK_SECTOR,
		.len = len,
	};
	req->job.n_iov = iov_slice(req->iov, BLK_SEGS_MAX, write ? chain_out(c) : chain_in(c),
		write ? c->n_out : c->n_in, write ? HDR_LEN : 0, len);
	for (unsigned i = 0; i < req->job.n_iov; i++)
		len -= req->iov[i].iov_len;
	if (len)
		return S_IOERR; /* more buffers than it may have */
	*(write ? &b->counters.writes : &b->counters.reads) += 1;
	*(write ? &b->counters.written_bytes : &b->counters.read_bytes) += req->job.len;
	if (!write)
		req->in_len = (uint32_t)req->job.len + 1;
	return -1;
}

static int start_range(struct blk *b, struct req *req, bool zero)
{
	const struct chain *c = &b->chain;
	uint8_t range[RANGE_LEN];
	uint32_t sectors, flags;

	if (b->opts.read_only || c->out_len != HDR_LEN + RANGE_LEN)
		return S_IOERR;
	(void)iov_read(chain_out(c), c->n_out, HDR_LEN, range, sizeof(range));
	sectors = get_le32(range + 8);
	flags = get_le32(range + 12);
	if (flags & ~(uint32_t)(zero ? RANGE_UNMAP : 0))
		return S_UNSUPP;
	if (sectors > RANGE_SECTORS_MAX || !in_range(b, get_le64(range), (uint64_t)sectors * BLK_SECTOR))
		return S_IOERR;
	req->job = (struct blk_job){
		.op = zero && !flags ? BLK_ZERO : BLK_PUNCH,
		.off = get_le64(range) * BLK_SECTOR,
		.len = (uint64_t)sectors * BLK_SECTOR,
	};
	b->counters.others++;
	return -1;
}

static int get_id(struct blk *b, struct req *req)
{
	const struct chain *c = &b->chain;
	size_t n = MIN_OF(c->in_len - 1, BLK_ID_MAX);

	req->in_len = (uint32_t)iov_write(chain_in(c), c->n_in, 0, b->opts.id, n) + 1;
	b->counters.others++;
	return S_OK;
}

static int start(struct blk *b, struct req *req)
{
	const struct chain *c = &b->chain;
	uint8_t hdr[HDR_LEN];

	(void)iov_read(chain_out(c), c->n_out, 0, hdr, sizeof(hdr));
	switch (get_le32(hdr)) {
	case T_IN:
		return start_rw(b, req, get_le64(hdr + HDR_SECTOR), false);
	case T_OUT:
		return start_rw(b, req, get_le64(hdr + HDR_SECTOR), true);
	case T_FLUSH:
		req->job = (struct blk_job){.op = BLK_FLUSH};
		b->counters.others++;
		return b->opts.read_only ? S_OK : -1;
	case T_GET_ID:
		return get_id(b, req);
	case T_DISCARD:
		return start_range(b, req, false);
	case T_WRITE_ZEROES:
		return start_range(b, req, true);
	default:
		return S_UNSUPP;
	}
}

static int on_chain(struct blk *b)
{
	const struct chain *c = &b->chain;
	const struct iovec *last;
	struct req *req;
	int status;

	/* virtio 1.2 §5.2.6.1; without a place for the status there is no way to answer. A larger queue was not offered. */
	if (c->out_len < HDR_LEN || c->in_len < 1 || c->head >= BLK_JOBS_MAX)
		return -EPROTO;
	last = &chain_in(c)[c->n_in - 1];
	req = &b->reqs[c->head];
	req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	req->in_len = 1;
	status = start(b, req);
	if (status >= 0)
		return answer(b, c->head, (uint8_t)status);
	blk_io_submit(&b->io, &req->job);
	return 0;
}

static void on_more(struct loop_timer *t);

static int run(struct blk *b)
{
	int r = 1;

	for (int i = 0; i < BATCH; i++) {
		r = queue_pop(&b->dev.queues[0], &b->chain);
		if (r <= 0)
			break;
		r = on_chain(b);
		if (r < 0)
			break;
		r = 1;
	}
	blk_io_flush(&b->io);
	if (r > 0)
		loop_timer_set(b->dev.loop, &b->more, 0, on_more);
	virtio_signal(&b->dev, 0);
	b->broken = r < 0;
	return r < 0 ? r : 0;
}

static void on_more(struct loop_timer *t)
{
	struct blk *b = container_of(t, struct blk, more);

	if (run(b) < 0)
		virtio_broken(&b->dev);
}

static int notify(struct virtio_dev *dev, unsigned index unused_arg)
{
	return from_dev(dev)->broken ? 0 : run(from_dev(dev));
}

static int activate(struct virtio_dev *dev, struct err *err)
{
	return blk_io_start(&from_dev(dev)->io, err);
}

static void reset(struct virtio_dev *dev)
{
	struct blk *b = from_dev(dev);

	loop_timer_cancel(&b->more);
	b->broken = true; /* no signals for what ends now */
	blk_io_drain(&b->io);
	b->broken = false;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	memcpy(dst, from_dev(dev)->config + off, len);
}

static const struct virtio_ops ops = {
	.device_id = 2,
	.name = "blk",
	.features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH,
	.n_queues = 1,
	.queue_size = BLK_JOBS_MAX,
	.config_len = CONFIG_LEN,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

static int find_capacity(struct blk *b, struct err *err)
{
	struct stat st;

	if (fstat(b->opts.fd, &st) < 0)
		return err_errno(err, "blk: stat");
	if (S_ISREG(st.st_mode))
		b->capacity = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "blk: neither a regular file nor a block device");
	else if (ioctl(b->opts.fd, BLKGETSIZE64, &b->capacity) < 0)
		return err_errno(err, "blk: BLKGETSIZE64");
	b->capacity -= b->capacity % BLK_SECTOR;
	return 0;
}

static void fill_config(struct blk *b)
{
	put_le64(b->config + CONFIG_CAPACITY, b->capacity / BLK_SECTOR);
	put_le32(b->config + CONFIG_SEG_MAX, BLK_SEGS_MAX);
	put_le32(b->config + CONFIG_BLK_SIZE, BLK_SECTOR);
	put_le32(b->config + CONFIG_DISCARD_SECTORS, RANGE_SECTORS_MAX);
	put_le32(b->config + CONFIG_DISCARD_SEGS, 1);
	put_le32(b->config + CONFIG_DISCARD_ALIGN, 4096 / BLK_SECTOR);
	put_le32(b->config + CONFIG_ZEROES_SECTORS, RANGE_SECTORS_MAX);
	put_le32(b->config + CONFIG_ZEROES_SEGS, 1);
	b->config[CONFIG_ZEROES_UNMAP] = 1;
	b->ops.features |= b->opts.read_only ? F_RO : F_DISCARD | F_WRITE_ZEROES;
}

static const struct blk_io_ops io_ops = {on_done, on_batch};

int blk_new(struct blk **ret, struct loop *loop, const struct blk_options *opts, struct err *err)
{
	struct blk *b = calloc(1, sizeof(*b));
	int fd = opts->fd, r;

	if (!b) {
		close_fd(&fd);
		return err_set(err, ENOMEM, "blk: out of memory");
	}
	b->ops = ops;
	b->dev.ops = &b->ops;
	b->dev.loop = loop;
	b->opts = *opts;
	r = find_capacity(b, err);
	if (r == 0)
		r = blk_io_init(&b->io, loop, b->opts.fd, opts->engine, &io_ops, b, err);
	b->io_up = r == 0;
	if (r < 0) {
		blk_free(b);
		return r;
	}
	fill_config(b);
	*ret = b;
	return 0;
}

void blk_free(struct blk *b)
{
	if (!b)
		return;
	loop_timer_cancel(&b->more);
	b->broken = true;
	if (b->io_up)
		blk_io_fini(&b->io);
	close_fd(&b->opts.fd);
	free(b);
}

struct virtio_dev *blk_dev(struct blk *b)
{
	return &b->dev;
}

enum blk_engine blk_engine(const struct blk *b)
{
	return b->io.uring ? BLK_ENGINE_URING : BLK_ENGINE_THREADS;
}

const struct blk_counters *blk_get_counters(const struct blk *b)
{
	return &b->counters;
}
