/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/balloon.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/fd.h"

enum { INFLATEQ, DEFLATEQ, STATSQ, HINTQ, REPORTQ, N_QUEUES };

#define F_STATS_VQ (UINT64_C(1) << 1)
#define F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define F_FREE_PAGE_HINT (UINT64_C(1) << 3)
#define F_REPORTING (UINT64_C(1) << 5)

enum {
	CONFIG_TARGET = 0,
	CONFIG_ACTUAL = 4, /* written by the driver */
	CONFIG_LEN = 16,   /* then the hinting command and the poison value, zeros */

	STAT_BYTES = 10,
	STATS_ENTRIES_MAX = 64,
};

#define BATCH 32 /* chains per turn */

struct balloon {
	struct virtio_dev dev;
	struct balloon_options opts;
	struct loop_timer more;
	uint32_t again; /* queues that were left early */
	uint8_t config[CONFIG_LEN];
	bool stats_held; /* the driver's buffer for statistics is here */
	uint16_t stats_head;
	struct balloon_stats stats;
	struct balloon_counters counters;
	struct chain chain;
};

static struct balloon *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct balloon, dev);
}

static void give_back(struct balloon *b, void *hva, uint64_t len)
{
	if (b->opts.give_back)
		b->opts.give_back(b->opts.ctx, hva, len);
	else
		(void)madvise(hva, len, MADV_DONTNEED);
}

/* A run of pages that follow one another. */
struct run {
	uint8_t *hva;
	uint64_t len;
};

static void run_end(struct balloon *b, struct run *run)
{
	if (run->len)
		give_back(b, run->hva, run->len);
	*run = (struct run){0};
}

static void run_add(struct balloon *b, struct run *run, uint8_t *page)
{
	/* Linux hands out pages from the top down as often as upwards. */
	if (run->len && page + BALLOON_PAGE == run->hva) {
		run->hva = page;
	} else if (!run->len || page != run->hva + run->len) {
		run_end(b, run);
		run->hva = page;
	}
	run->len += BALLOON_PAGE;
}

/* An array of 32-bit page numbers. Two regions may touch in host memory, too: a run over both is still ours. */
static int on_inflate(struct balloon *b)
{
	const struct chain *c = &b->chain;
	struct run run = {0};
	uint8_t pfns[256];

	if (c->out_len % 4 || c->out_len > 4 * BALLOON_PFNS_MAX)
		return -EPROTO;
	for (size_t at = 0; at < c->out_len; at += sizeof(pfns)) {
		size_t n = iov_read(chain_out(c), c->n_out, at, pfns, sizeof(pfns));

		for (size_t i = 0; i < n; i += 4) {
			uint64_t gpa = (uint64_t)get_le32(pfns + i) * BALLOON_PAGE;
			uint8_t *page = guest_mem_at(b->dev.mem, gpa, BALLOON_PAGE);

			if (page && (uintptr_t)page % BALLOON_PAGE == 0)
				run_add(b, &run, page);
			else
				b->counters.bad++;
			b->counters.inflated += page ? BALLOON_PAGE : 0;
		}
	}
	run_end(b, &run);
	return 0;
}

static int on_deflate(struct balloon *b)
{
	b->counters.deflated += MIN_OF(b->chain.out_len / 4, BALLOON_PFNS_MAX) * BALLOON_PAGE;
	return 0; /* the pages come back when they are touched */
}

/* The buffers themselves are the pages, and the queue has found them inside guest memory. */
static int on_report(struct balloon *b)
{
	const struct iovec *in = chain_in(&b->chain);

	for (unsigned i = 0; i < b->chain.n_in; i++) {
		uintptr_t from = (uintptr_t)in[i].iov_base, to = from + in[i].iov_len;

		from = (from + BALLOON_PAGE - 1) & ~(uintptr_t)(BALLOON_PAGE - 1);
		to &= ~(uintptr_t)(BALLOON_PAGE - 1);
		if (from >= to)
			continue;
		give_back(b, (uint8_t *)in[i].iov_base + (from - (uintptr_t)in[i].iov_base), to - from);
		b->counters.reported += to - from;
	}
	return 0;
}

/* The driver's one buffer: it stays here until statistics are wanted again. */
static int on_stats(struct balloon *b)
{
	const struct chain *c = &b->chain;
	uint8_t entry[STAT_BYTES];

	if (b->stats_held)
		return -EPROTO;
	b->stats_held = true;
	b->stats_head = c->head;
	b->stats.valid = 0;
	for (unsigned i = 0; i < STATS_ENTRIES_MAX; i++) {
		uint16_t tag;

		if (iov_read(chain_out(c), c->n_out, (size_t)i * STAT_BYTES, entry, STAT_BYTES) < STAT_BYTES)
			break;
		tag = get_le16(entry);
		if (tag >= BALLOON_STATS_MAX)
			continue;
		b->stats.valid |= 1u << tag;
		b->stats.values[tag] = get_le64(entry + 2);
	}
	b->stats.at_ns = time_mono_ns();
	return 0;
}

static int on_chain(struct balloon *b, unsigned index)
{
	switch (index) {
	case INFLATEQ:
		return on_inflate(b);
	case DEFLATEQ:
		return on_deflate(b);
	case STATSQ:
		return on_stats(b);
	case REPORTQ:
		return on_report(b);
	default:
		return 0;
	}
}

static void on_more(struct loop_timer *t);

static int run_queue(struct balloon *b, unsigned index)
{
	struct queue *q = &b->dev.queues[index];
	int r = 1;

	b->again &= ~(1u << index);
	for (int i = 0; i < BATCH; i++) {
		r = queue_pop(q, &b->chain);
		if (r <= 0)
			break;
		r = on_chain(b, index);
		if (r == 0 && index != STATSQ)
			r = queue_push(q, b->chain.head, 0);
		if (r < 0)
			break;
		r = 1;
	}
	if (r > 0) {
		b->again |= 1u << index;
		loop_timer_set(b->dev.loop, &b->more, 0, on_more);
	}
	virtio_signal(&b->dev, index);
	return r < 0 ? r : 0;
}

static void on_more(struct loop_timer *t)
{
	struct balloon *b = container_of(t, struct balloon, more);

	for (uint32_t again = b->again; again; again &= again - 1)
		if (run_queue(b, (unsigned)__builtin_ctz(again)) < 0) {
			virtio_broken(&b->dev);
			return;
		}
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	memcpy(dst, from_dev(dev)->config + off, len);
}

static void config_write(struct virtio_dev *dev, uint32_t off, const void *src, uint32_t len)
{
	/* A plain store like the driver's own: it is the only one that looks. */
	if (off == CONFIG_ACTUAL && len == 4)
		__atomic_store_n((uint32_t *)(void *)(from_dev(dev)->config + CONFIG_ACTUAL), htole32(get_le32(src)),
			__ATOMIC_RELAXED);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index)
{
	return run_queue(from_dev(dev), index);
}

static void reset(struct virtio_dev *dev)
{
	struct balloon *b = from_dev(dev);

	loop_timer_cancel(&b->more);
	b->again = 0;
	b->stats_held = false;
	put_le32(b->config + CONFIG_ACTUAL, 0);
}

static const struct virtio_ops ops = {
	.device_id = 5,
	.name = "balloon",
	.features = F_STATS_VQ | F_DEFLATE_ON_OOM | F_FREE_PAGE_HINT | F_REPORTING,
	.n_queues = N_QUEUES,
	.config_len = CONFIG_LEN,
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int balloon_new(struct balloon **ret, struct loop *loop, const struct balloon_options *opts, struct err *err)
{
	struct balloon *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ENOMEM, "balloon: out of memory");
	b->dev.ops = &ops;
	b->dev.loop = loop;
	if (opts)
		b->opts = *opts;
	*ret = b;
	return 0;
}

void balloon_free(struct balloon *b)
{
	if (!b)
		return;
	loop_timer_cancel(&b->more);
	free(b);
}

struct virtio_dev *balloon_dev(struct balloon *b)
{
	return &b->dev;
}

void balloon_set_target(struct balloon *b, uint32_t pages)
{
	virtio_config_begin(&b->dev);
	put_le32(b->config + CONFIG_TARGET, pages);
	virtio_config_end(&b->dev);
}

uint32_t balloon_actual(const struct balloon *b)
{
	return get_le32(b->config + CONFIG_ACTUAL);
}

bool balloon_poll_stats(struct balloon *b)
{
	if (!b->dev.active || !b->stats_held)
		return false;
	b->stats_held = false;
	if (queue_push(&b->dev.queues[STATSQ], b->stats_head, 0) < 0)
		return false;
	virtio_signal(&b->dev, STATSQ);
	return true;
}

const struct balloon_stats *balloon_get_stats(const struct balloon *b)
{
	return &b->stats;
}

const struct balloon_counters *balloon_get_counters(const struct balloon *b)
{
	return &b->counters;
}
