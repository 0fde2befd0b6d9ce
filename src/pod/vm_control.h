/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The owner's end of podvm-vmm's control socket (docs/vmm-api.md), as far as a pod needs it: disks that come and go. A guest may have
 * taken podvm-vmm over, so what comes from there is bounded and only compared or printed: lines of LINES_LEN_MAX bytes, texts
 * made printable.
 */
#include "base/loop.h"
#include "pod/driver.h"
#include "pod/lines.h"

#define VM_CONTROL_CALLS_MAX 16 /* requests without an answer at one time */
#define VM_CONTROL_TIMEOUT_MS 10000

typedef void vm_control_done(void *ctx, const struct err *err);

struct vm_control_call {
	uint64_t id; /* 0: free */
	struct loop_timer timer;
	vm_control_done *done; /* may be NULL */
	void *ctx;
};

struct vm_control {
	struct loop *loop;
	struct lines lines;
	uint64_t last_id;
	struct vm_control_call calls[VM_CONTROL_CALLS_MAX];
	/* The guest let go of the disk of that name. */
	void (*removed)(void *ctx, const char *name);
	void *ctx;
};

/* `fd` (consumed, also on failure) is one end of the stream socket pair. `c` is zeroed and stays where it is. */
int vm_control_init(struct vm_control *c, struct loop *loop, int fd, void (*removed)(void *ctx, const char *name),
	void *ctx, struct err *err) must_check;
/*
 * Plugs a disk in; `fd` is borrowed. `done` runs once, on the loop and inside of the reading of the socket: it must not free the VM. -EPIPE:
 * podvm-vmm is gone; -EBUSY: VM_CONTROL_CALLS_MAX; -EINVAL: the name (1 to VM_DISK_NAME_MAX of [A-Za-z0-9-_.]).
 */
int vm_control_add_disk(struct vm_control *c, const char *name, int fd, bool read_only, vm_control_done *done,
	void *ctx, struct err *err) must_check;
/* Has the guest asked to let go of it; `removed` follows when it does. */
int vm_control_remove(struct vm_control *c, const char *name, struct err *err) must_check;
/* Requests without an answer are forgotten. No-op on a zeroed one. */
void vm_control_fini(struct vm_control *c);
