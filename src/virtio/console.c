/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/console.h"

#include <errno.h>

#include "base/bytes.h"
#include "virtio/chains.h"

enum { RXQ, TXQ, N_QUEUES };

#define CHAIN_COST 1024 /* at least: an empty chain is work too */

struct console {
	struct virtio_dev dev;
	struct console_options opts;
	uint64_t dropped;
	size_t len; /* of the line so far */
	char line[CONSOLE_LINE_MAX];
	struct chains chains;
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

static int serve(struct virtio_dev *dev, const struct chain *chain, uint32_t *ret_len unused_arg)
{
	struct console *c = from_dev(dev);
	size_t len = MIN_OF(chain->out_len, CONSOLE_CHAIN_MAX), n;
	char buf[1024];

	for (size_t at = 0; at < len; at += n) {
		n = iov_read(chain_out(chain), chain->n_out, at, buf, MIN_OF(sizeof(buf), len - at));
		put(c, buf, n);
	}
	c->dropped += chain->out_len - len;
	return MAX_OF((int)len, CHAIN_COST);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index)
{
	/* There is no input: what the driver offers for it stays where it is. */
	return index == TXQ ? chains_run(&from_dev(dev)->chains) : 0;
}

static void reset(struct virtio_dev *dev)
{
	chains_stop(&from_dev(dev)->chains);
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
	c->chains = (struct chains){.dev = &c->dev, .queue = TXQ, .budget = CONSOLE_CHAIN_MAX, .serve = serve};
	c->opts = *opts;
	*ret = c;
	return 0;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	chains_stop(&c->chains);
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
