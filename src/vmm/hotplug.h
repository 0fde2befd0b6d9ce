/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Disks and network interfaces that come and go while the guest runs, through the machine's root ports.
 *
 *   hotplug_start -> hotplug_add_* -> the guest finds it -> hotplug_remove: the guest is asked -> `released`: it let go
 *       -> all vCPUs stand -> hotplug_take_out -> `removed`
 *
 * A device is taken off the bus while no vCPU can be in one of its registers: so its owner has them stand for a moment.
 */
#include "vmm/options.h"
#include "vmm/vm.h"

#define HOTPLUG_PATIENCE_NS (10 * NS_PER_S)
#define HOTPLUG_NAME_MAX 20 /* bytes; a disk's serial number in the guest */

struct blk;
struct net;

struct hotplug_device {
	char name[HOTPLUG_NAME_MAX + 1]; /* "": the port is free */
	struct net *net;
	struct blk *disk;
	uint64_t asked_ns; /* when the guest was asked to let go, CLOCK_MONOTONIC; 0: it was not */
};

struct hotplug {
	struct vm *vm; /* borrowed */
	struct loop *loop;
	struct loop_fd src;
	uint32_t released; /* a bit for each port of which the guest let go */
	struct hotplug_device devices[PCI_PORTS_MAX];
	void (*on_released)(void *ctx);			 /* have the vCPUs stand, then call hotplug_take_out */
	void (*on_removed)(void *ctx, const char *name); /* from hotplug_take_out */
	void *ctx;
};

/* h->on_released, on_removed and ctx are set, the rest is not. Before the thread's filter. */
int hotplug_start(struct hotplug *h, struct vm *vm, struct loop *loop, struct err *err) must_check;
/*
 * A device comes; its descriptor is consumed, also on failure. `name` is for hotplug_remove. -EEXIST: there is one of that
 * name; -ENOSPC: no port is free; -EINVAL: the name.
 */
int hotplug_add_disk(struct hotplug *h, const char *name, const struct option_disk *disk, struct err *err) must_check;
int hotplug_add_nic(struct hotplug *h, const char *name, const struct option_nic *nic, struct err *err) must_check;
/*
 * Asks the guest to let go. Again: nothing for HOTPLUG_PATIENCE_NS, in which a guest would take it for a change of mind; later it is
 * asked once more. -ENOENT: there is none of that name.
 */
int hotplug_remove(struct hotplug *h, const char *name, struct err *err) must_check;
/* Some device waits for hotplug_take_out. */
static inline bool hotplug_waits(const struct hotplug *h)
{
	return h->released != 0;
}
/* All vCPUs stand: frees what the guest let go of. */
void hotplug_take_out(struct hotplug *h);
