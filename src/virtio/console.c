/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/console.h"

#include <errno.h>

#include "base/bytes.h"

enum { RXQ, TXQ, N_QUEUES };

#define TX_BATCH 64 /* chains per turn */

struct console {
	struct virtio_dev dev;
	struct console_options opts;
	struct loop_timer more;
	uint64_t dropped;
	size_t len; /* of the line so far */
	char line[CONSOLE_LINE_MAX];
	struct chain chain;
};

static struct console *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct console, dev);
}

static void end_line(struct console *c)
{
	c->opts.line(c->opts.ctx, c->line, c->len);
	c->len = 0;
}

static void put(struct console *c, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			end_line(c);
			continue;
		}
		if (bytes[i] == '\r')
			continue;
		if (c->len == sizeof(c->line))
			end_line(c);
		c->line[c->len++] = bytes[i];
	}
}

static void on_chain(struct console *c)
{
	size_t len = MIN_OF(c->chain.out_len, CONSOLE_CHAIN_MAX), n;
	char buf[1024];

	for (size_t at = 0; at < len; at += n) {
		n = iov_read(chain_out(&c->chain), c->chain.n_out, at, buf, MIN_OF(sizeof(buf), len - at));
		put(c, buf, n);
	}
	c->dropped += c->chain.out_len - len;
}

static void on_more(struct loop_timer *t);

static int run(struct console *c)
{
	struct queue *q = &c->dev.queues[TXQ];
	size_t bytes = 0;
	int r = 1;

	for (int i = 0; i < TX_BATCH && bytes < CONSOLE_CHAIN_MAX; i++) {
		r = queue_pop(q, &c->chain);
		if (r <= 0)
			break;
		bytes += MIN_OF(c->chain.out_len, CONSOLE_CHAIN_MAX);
		on_chain(c);
		r = queue_push(q, c->chain.head, 0);
		if (r < 0)
			break;
		r = 1;
	}
	if (r > 0)
		loop_timer_set(c->dev.loop, &c->more, 0, on_more);
	virtio_signal(&c->dev, TXQ);
	return r < 0 ? r : 0;
}

static void on_more(struct loop_timer *t)
{
	struct console *c = container_of(t, struct console, more);

	if (run(c) < 0)
		virtio_broken(&c->dev);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index)
{
	/* There is no input: what the driver offers for it stays where it is. */
	return index == TXQ ? run(from_dev(dev)) : 0;
}

static void reset(struct virtio_dev *dev)
{
	loop_timer_cancel(&from_dev(dev)->more);
}

static const struct virtio_ops ops = {
	.device_id = 3,
	.name = "console",
	.n_queues = N_QUEUES,
	.queue_size = 64,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int console_new(struct console **ret, struct loop *loop, const struct console_options *opts, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(err, ENOMEM, "console: out of memory");
	c->dev.ops = &ops;
	c->dev.loop = loop;
	c->opts = *opts;
	*ret = c;
	return 0;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	loop_timer_cancel(&c->more);
	if (c->len)
		end_line(c);
	free(c);
}

struct virtio_dev *console_dev(struct console *c)
{
	return &c->dev;
}

uint64_t console_dropped(const struct console *c)
{
	return c->dropped;
}
