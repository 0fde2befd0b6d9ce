/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/mem.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "virtio/chains.h"

enum {
	REQ_PLUG = 0,
	REQ_UNPLUG = 1,
	REQ_UNPLUG_ALL = 2,
	REQ_STATE = 3,
	REQ_BLOCKS = 16, /* offset of the number of blocks, behind type and address */
	REQ_LEN = 24,

	RESP_ACK = 0,
	RESP_NACK = 1,
	RESP_ERROR = 3,
	RESP_STATE = 8,
	RESP_LEN = 10,

	STATE_PLUGGED = 0,
	STATE_UNPLUGGED = 1,
	STATE_MIXED = 2,

	CONFIG_LEN = 56,
};

#define BATCH 32 /* requests per turn */
#define BLOCKS_MAX (1u << 20)

struct mem {
	struct virtio_dev dev;
	struct mem_options opts;
	uint64_t plugged;   /* bytes; atomic */
	uint64_t requested; /* bytes; by virtio_config_begin */
	uint32_t n_blocks;
	struct chains chains;
	uint8_t blocks[]; /* 1: plugged */
};

static struct mem *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct mem, dev);
}

static void give_back(struct mem *m, uint32_t first, uint32_t n)
{
	uint8_t *hva = m->opts.hva + first * m->opts.block_size;
	uint64_t len = n * m->opts.block_size;

	if (m->opts.give_back)
		m->opts.give_back(m->opts.ctx, hva, len);
	else
		(void)madvise(hva, len, MADV_DONTNEED);
}

static void set_plugged(struct mem *m, uint32_t first, uint32_t n, bool on)
{
	uint64_t len = n * m->opts.block_size;

	memset(m->blocks + first, on, n);
	/* The driver keeps count itself; it reads this when it starts. */
	__atomic_store_n(&m->plugged, on ? m->plugged + len : m->plugged - len, __ATOMIC_RELAXED);
	if (!on)
		give_back(m, first, n);
}

static uint32_t count_plugged(const struct mem *m, uint32_t first, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += m->blocks[first + i];
	return count;
}

static void unplug_all(struct mem *m)
{
	if (m->plugged == 0)
		return;
	memset(m->blocks, 0, m->n_blocks);
	__atomic_store_n(&m->plugged, 0, __ATOMIC_RELAXED);
	give_back(m, 0, m->n_blocks);
}

/* The answer to a request; `state` where it has one. */
static uint16_t answer(struct mem *m, const uint8_t req[REQ_LEN], uint16_t *state)
{
	uint16_t type = get_le16(req), n = get_le16(req + REQ_BLOCKS);
	uint64_t off = get_le64(req + 8) - m->opts.gpa, block = m->opts.block_size;
	uint32_t first, plugged;

	if (type == REQ_UNPLUG_ALL) {
		unplug_all(m);
		return RESP_ACK;
	}
	if (type > REQ_STATE || off >= m->opts.size || off % block || n == 0 || n > (m->opts.size - off) / block)
		return RESP_ERROR;
	first = (uint32_t)(off / block);
	plugged = count_plugged(m, first, n);
	switch (type) {
	case REQ_PLUG:
		if (plugged)
			return RESP_ERROR;
		if (m->plugged + n * block > m->requested)
			return RESP_NACK;
		set_plugged(m, first, n, true);
		return RESP_ACK;
	case REQ_UNPLUG:
		if (plugged != n)
			return RESP_ERROR;
		set_plugged(m, first, n, false);
		return RESP_ACK;
	default:
		*state = plugged == n ? STATE_PLUGGED : plugged ? STATE_MIXED : STATE_UNPLUGGED;
		return RESP_ACK;
	}
}

static int serve(struct virtio_dev *dev, const struct chain *c, uint32_t *ret_len)
{
	uint8_t req[REQ_LEN], resp[RESP_LEN] = {0};
	uint16_t state = 0;

	if (c->out_len < sizeof(req) || c->in_len < sizeof(resp))
		return -EPROTO;
	(void)iov_read(chain_out(c), c->n_out, 0, req, sizeof(req));
	put_le16(resp, answer(from_dev(dev), req, &state));
	put_le16(resp + RESP_STATE, state);
	*ret_len = (uint32_t)iov_write(chain_in(c), c->n_in, 0, resp, sizeof(resp));
	return 1;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	const struct mem *m = from_dev(dev);
	uint8_t config[CONFIG_LEN] = {0};

	put_le64(config, m->opts.block_size);
	put_le16(config + 8, m->opts.node);
	put_le64(config + 16, m->opts.gpa);
	put_le64(config + 24, m->opts.size);
	put_le64(config + 32, m->opts.size); /* all of it is usable */
	put_le64(config + 40, mem_plugged(m));
	put_le64(config + 48, m->requested);
	memcpy(dst, config + off, len);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index unused_arg)
{
	return chains_run(&from_dev(dev)->chains);
}

/* What is plugged stays: the guest goes on using it, and the next driver reads how much it is. */
static void reset(struct virtio_dev *dev)
{
	chains_stop(&from_dev(dev)->chains);
}

static const struct virtio_ops ops = {
	.device_id = 24,
	.name = "mem",
	.n_queues = 1,
	.queue_size = 64,
	.config_len = CONFIG_LEN,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int mem_new(struct mem **ret, struct loop *loop, const struct mem_options *opts, struct err *err)
{
	uint64_t block = opts->block_size;
	struct mem *m;

	if (block < 4096 || block & (block - 1) || opts->gpa % block || opts->size % block || !opts->hva ||
		opts->size == 0 || opts->size / block > BLOCKS_MAX || opts->size > UINT64_MAX - opts->gpa)
		return err_set(err, EINVAL, "mem: region 0x%llx, %llu bytes in blocks of %llu",
			(unsigned long long)opts->gpa, (unsigned long long)opts->size, (unsigned long long)block);
	m = calloc(1, sizeof(*m) + opts->size / block);
	if (!m)
		return err_set(err, ENOMEM, "mem: out of memory");
	m->dev.ops = &ops;
	m->dev.loop = loop;
	m->chains = (struct chains){.dev = &m->dev, .budget = BATCH, .serve = serve};
	m->opts = *opts;
	m->n_blocks = (uint32_t)(opts->size / block);
	*ret = m;
	return 0;
}

void mem_free(struct mem *m)
{
	if (!m)
		return;
	chains_stop(&m->chains);
	free(m);
}

struct virtio_dev *mem_dev(struct mem *m)
{
	return &m->dev;
}

int mem_set_requested(struct mem *m, uint64_t size, struct err *err)
{
	if (size > m->opts.size || size % m->opts.block_size)
		return err_set(err, EINVAL, "mem: %llu bytes: not whole blocks of %llu up to %llu",
			(unsigned long long)size, (unsigned long long)m->opts.block_size,
			(unsigned long long)m->opts.size);
	virtio_config_begin(&m->dev);
	m->requested = size;
	virtio_config_end(&m->dev);
	return 0;
}

uint64_t mem_plugged(const struct mem *m)
{
	return __atomic_load_n(&m->plugged, __ATOMIC_RELAXED);
}
