/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Changes of a container's limits (Update). containerd sends all of them each time, changed or not; what is as it was at the creation is
 * no change. A change is refused when the VM, whose size is fixed, could not keep it: a limit that means nothing would be taken for memory or
 * CPUs that are there.
 */
#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

struct resize_limits {
	char cpus[128], mems[128]; /* CPU and memory node numbers of the node, as text; "" for none */
	char huge[160];		   /* "hugepageLimits", JSON; "" for none */
	int64_t memory;		   /* bytes; 0 or less: no limit */
	int64_t quota, period;	   /* µs; quota 0 or less: no limit */
};

struct resize_vm {
	unsigned vcpus;
	uint64_t memory; /* bytes */
};

/* Of linux.resources (borrowed, may be NULL). What is too long to be kept differs from everything. */
void resize_read(struct resize_limits *ret, const json_t *resources);
/*
 * Takes node numbers that did not change out of `resources` (they mean nothing in the guest). -EINVAL names a limit that changed and cannot be
 * kept: CPU or node numbers, more memory or CPUs than the VM has.
 */
int resize_check(
	json_t *resources, const struct resize_limits *created, const struct resize_vm *vm, struct err *err) must_check;
