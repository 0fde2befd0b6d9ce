/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The devices of our own machine that run on its main loop, from the command line to the bus. */
#include "vmm/options.h"
#include "vmm/vm.h"

struct balloon;
struct blk;
struct buf;
struct console;
struct hotplug;
struct mem;
struct net;
struct pmem;

struct devices {
	struct vm *vm;	    /* borrowed */
	struct loop *loop;  /* borrowed */
	uint64_t ram, room; /* bytes: at the start, and of what virtio-mem may add */
	struct net *nets[OPTIONS_NICS_MAX];
	struct blk *disks[OPTIONS_DISKS_MAX];
	struct pmem *pmems[OPTIONS_PMEMS_MAX];
	struct balloon *balloon;
	struct console *console;
	struct mem *mem;
	/* memory that devices bring along, for vm_config */
	struct guest_region regions[OPTIONS_PMEMS_MAX + 1];
	unsigned n_regions;
};

/* Before there is a machine: makes the devices that bring memory along, as far as the options ask for them. */
int devices_map(struct devices *d, struct loop *loop, const struct options *o, struct err *err) must_check;
/*
 * Makes the others and puts all on the bus: entropy, interfaces, disks, files as memory, balloon, memory, console. Consumes their
 * descriptors. Before the thread's filter. Disks use io_uring where the kernel lets them, else threads, which have the same
 * filter as the calling thread.
 */
int devices_add(struct devices *d, struct vm *vm, const struct options *o, struct err *err) must_check;

/*
 * Asks the guest to have `size` bytes of memory: more than at the start by virtio-mem, less by the balloon. It may take its
 * time, or not manage: counters tell. -EINVAL: no such size; -ENOTSUP: the machine has not the device for it.
 */
int devices_resize(struct devices *d, uint64_t size, struct err *err) must_check;

/*
 * Appends what devices count, those of `h` too, as members of a JSON object, each after a comma; and asks the balloon for news.
 */
int devices_put_counters(struct devices *d, const struct hotplug *h, struct buf *b) must_check;
