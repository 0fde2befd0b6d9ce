/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One device on one vhost-user socket in one thread, and what keeps it small when nothing happens (idle.h).
 */
#include "base/idle.h"
#include "base/loop.h"
#include "virtio/vhost_user.h"

struct serve {
	struct loop *loop;
	struct vhost_user *vu;
	void (*ended)(void *ctx, const struct err *why);
	void *ctx;
	struct idle idle;
};

/*
 * Serves `dev` on `sock` (consumed, also on failure) in the thread that runs `loop`. `ended` runs once, on the loop, when the
 * front end hung up (why->code == 0) or broke the protocol.
 */
int serve_start(struct serve *s, struct loop *loop, struct virtio_dev *dev, int sock,
	void (*ended)(void *ctx, const struct err *why), void *ctx, struct err *err) must_check;
/* Hangs up, resets the device. Fine on a zeroed one. */
void serve_stop(struct serve *s);
