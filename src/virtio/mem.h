/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-mem (virtio 1.2 §5.15): memory that comes and goes in blocks. The whole region is mapped and part of guest memory
 * from the start (without a page behind it); a block that is unplugged is given back to the host. The guest may touch
 * blocks that are not plugged; what it gains is cut by its cgroup like any other memory, and is lost at the next unplug.
 *
 * The guest plugs and unplugs by itself, towards what mem_set_requested asks for; more than that is refused.
 */
#include "virtio/device.h"

struct mem;

struct mem_options {
	gpa_t gpa;	     /* of the region; a multiple of block_size */
	uint8_t *hva;	     /* borrowed */
	uint64_t size;	     /* a multiple of block_size, at most 2^20 blocks */
	uint64_t block_size; /* a power of two >= 4096; Linux wants 2 MiB or more */
	uint16_t node;
	/* As balloon_options.give_back; NULL: MADV_DONTNEED. Blocks that are plugged read as anything. */
	void (*give_back)(void *ctx, void *hva, uint64_t len);
	void *ctx;
};

int mem_new(struct mem **ret, struct loop *loop, const struct mem_options *opts, struct err *err) must_check;
void mem_free(struct mem *m);
struct virtio_dev *mem_dev(struct mem *m);
/* On the loop. Bytes that the guest is to have plugged: a multiple of the block size, at most the region; -EINVAL else. */
int mem_set_requested(struct mem *m, uint64_t size, struct err *err) must_check;
/* Bytes that are plugged; from any thread. */
uint64_t mem_plugged(const struct mem *m);
