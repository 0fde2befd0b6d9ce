/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The broker's client: passes the guest's dials to the parent, and the sockets it answers with to the vsock device. */
#include "base/loop.h"

struct vsock;

struct dial {
	struct vsock *vs; /* set by the owner before the loop runs */
	int fd;		  /* the broker's socket; owned. -1: none, every dial is refused */
	struct loop_fd src;
	void (*ended)(void *ctx, const struct err *why);
	void *ctx;
};

/*
 * `fd` (consumed, also on failure) is our end of the broker's socket. `ended` runs once, on the loop, when the parent hung up
 * (why->code == 0) or broke the protocol.
 */
int dial_start(struct dial *d, struct loop *loop, int fd, void (*ended)(void *ctx, const struct err *why), void *ctx,
	struct err *err) must_check;
/* Fine on a zeroed one whose fd is -1. */
void dial_stop(struct dial *d);
/* For vsock_options.dial; ctx is the struct dial. */
void dial_request(void *ctx, uint32_t port, uint64_t token);
