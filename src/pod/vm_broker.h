/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The parent's side of src/vmm/broker.h: connects to "<vsock path>_<port>" for a guest that dials. */
#include "base/loop.h"

struct vm_broker {
	int fd; /* owned; -1 when closed */
	struct loop_fd src;
	const char *path; /* of the pod's vsock socket; borrowed */
	/* The device's process broke the protocol or does not read: once, on the loop. */
	void (*failed)(void *ctx, const struct err *why);
	void *ctx;
};

/* `fd` (consumed, also on failure) is one end of the SOCK_SEQPACKET pair. Does not run `failed` for an end of file. */
int vm_broker_init(struct vm_broker *b, struct loop *loop, int fd, const char *path,
	void (*failed)(void *ctx, const struct err *why), void *ctx, struct err *err) must_check;
/* No-op on a zeroed or closed one. */
void vm_broker_fini(struct vm_broker *b);
