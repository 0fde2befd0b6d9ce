/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The loop of a device whose requests are served at once: pop, serve, push, until the queue is empty or the turn's budget is
 * spent; then the rest waits for the next turn of the event loop, so that a busy guest does not keep others waiting.
 */
#include "virtio/device.h"

struct chains {
	struct virtio_dev *dev; /* borrowed */
	unsigned queue;
	unsigned budget; /* of a turn, in what `serve` returns */
	/*
	 * Serves a chain; *ret_len is 0 before, and says how many bytes were written into it. Returns what it cost (> 0) or
	 * -EPROTO, when the driver broke a rule.
	 */
	int (*serve)(struct virtio_dev *dev, const struct chain *c, uint32_t *ret_len);
	struct loop_timer more; /* private, as is what follows */
	struct chain chain;
};

/* For notify: serves what there is, within the budget. 0, or -EPROTO. */
int chains_run(struct chains *c) must_check;
/* For reset, and before it is freed. */
void chains_stop(struct chains *c);
