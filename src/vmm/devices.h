/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The devices of our own machine that run on its main loop, from the command line to the bus. */
#include "vmm/options.h"
#include "vmm/vm.h"

struct net;
struct blk;

struct devices {
	struct net *nets[OPTIONS_NICS_MAX];
	struct blk *disks[OPTIONS_DISKS_MAX];
};

/*
 * Makes them and puts them on the bus: entropy, interfaces, disks, balloon, as far as the options ask for them. Consumes their
 * descriptors. Before the thread's filter. Disks need io_uring: its workers are the kernel's, so no thread of ours would
 * have to be jailed for them.
 */
int devices_add(
	struct devices *d, struct vm *vm, struct loop *loop, const struct options *o, struct err *err) must_check;
