/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/bytes.h"

struct rng {
	struct virtio_dev dev;
	struct loop_timer more;
	struct chain chain;
};

static struct rng *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct rng, dev);
}

/* Fills the chain's buffers; the bytes written. */
static uint32_t fill(const struct chain *c)
{
	uint8_t buf[RNG_REQUEST_MAX];
	size_t want = MIN_OF(c->in_len, sizeof(buf));
	ssize_t n = getrandom(buf, want, GRND_NONBLOCK);

	/* Fewer bytes than wanted are an answer, none is too: the driver asks again. */
	n = n < 0 ? 0 : n;
	(void)iov_write(chain_in(c), c->n_in, 0, buf, (size_t)n);
	explicit_bzero(buf, sizeof(buf));
	return (uint32_t)n;
}

static void on_more(struct loop_timer *t);

static int run(struct rng *rng)
{
	struct queue *q = &rng->dev.queues[0];
	size_t bytes = 0;
	int r = 1;

	while (bytes < RNG_TURN_MAX) {
		r = queue_pop(q, &rng->chain);
		if (r <= 0)
			break;
		/* virtio 1.2 §5.4.6.1: buffers for the device to write, and nothing to read */
		r = rng->chain.n_out || !rng->chain.n_in ? -EPROTO : queue_push(q, rng->chain.head, fill(&rng->chain));
		if (r < 0)
			break;
		bytes += RNG_REQUEST_MAX;
		r = 1;
	}
	if (r > 0)
		loop_timer_set(rng->dev.loop, &rng->more, 0, on_more);
	virtio_signal(&rng->dev, 0);
	return r < 0 ? r : 0;
}

static void on_more(struct loop_timer *t)
{
	struct rng *rng = container_of(t, struct rng, more);

	if (run(rng) < 0)
		virtio_broken(&rng->dev);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index unused_arg)
{
	return run(from_dev(dev));
}

static void reset(struct virtio_dev *dev)
{
	loop_timer_cancel(&from_dev(dev)->more);
}

static const struct virtio_ops ops = {
	.device_id = 4,
	.name = "rng",
	.n_queues = 1,
	.queue_size = 16,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

int rng_new(struct rng **ret, struct loop *loop, struct err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return err_set(err, ENOMEM, "rng: out of memory");
	rng->dev.ops = &ops;
	rng->dev.loop = loop;
	*ret = rng;
	return 0;
}

void rng_free(struct rng *rng)
{
	if (!rng)
		return;
	loop_timer_cancel(&rng->more);
	free(rng);
}

struct virtio_dev *rng_dev(struct rng *rng)
{
	return &rng->dev;
}
