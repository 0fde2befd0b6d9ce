/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "virtio/chains.h"

struct rng {
	struct virtio_dev dev;
	struct chains chains;
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

/* virtio 1.2 §5.4.6.1: buffers for the device to write, and nothing to read */
static int serve(struct virtio_dev *dev unused_arg, const struct chain *c, uint32_t *ret_len)
{
	if (c->n_out || !c->n_in)
		return -EPROTO;
	*ret_len = fill(c);
	return RNG_REQUEST_MAX;
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index unused_arg)
{
	return chains_run(&from_dev(dev)->chains);
}

static void reset(struct virtio_dev *dev)
{
	chains_stop(&from_dev(dev)->chains);
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
	rng->chains = (struct chains){.dev = &rng->dev, .budget = RNG_TURN_MAX, .serve = serve};
	*ret = rng;
	return 0;
}

void rng_free(struct rng *rng)
{
	if (!rng)
		return;
	chains_stop(&rng->chains);
	free(rng);
}

struct virtio_dev *rng_dev(struct rng *rng)
{
	return &rng->dev;
}
