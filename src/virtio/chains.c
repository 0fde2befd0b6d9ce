/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/chains.h"

#include "base/bytes.h"

/* 1: served; 0: the queue is empty; -EPROTO */
static int serve_one(struct chains *c, unsigned *spent)
{
	struct queue *q = &c->dev->queues[c->queue];
	uint32_t len = 0;
	int r = queue_pop(q, &c->chain), cost;

	if (r <= 0)
		return r;
	cost = c->serve(c->dev, &c->chain, &len);
	if (cost < 0)
		return cost;
	*spent += (unsigned)cost;
	r = queue_push(q, c->chain.head, len);
	return r < 0 ? r : 1;
}

static void on_more(struct loop_timer *t)
{
	struct chains *c = container_of(t, struct chains, more);

	if (chains_run(c) < 0)
		virtio_broken(c->dev);
}

int chains_run(struct chains *c)
{
	unsigned spent = 0;
	int r = 1;

	while (r > 0 && spent < c->budget)
		r = serve_one(c, &spent);
	if (r > 0)
		loop_timer_set(c->dev->loop, &c->more, 0, on_more);
	virtio_signal(c->dev, c->queue);
	return r < 0 ? r : 0;
}

void chains_stop(struct chains *c)
{
	loop_timer_cancel(&c->more);
}
