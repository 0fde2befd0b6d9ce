/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The memory table of a vhost-user connection: maps what the front end shares, and translates its addresses. */
#include <stdbool.h>
#include <sys/types.h>

#include "virtio/vhost_user_msg.h"

struct vhost_user_mapping {
	void *map;
	size_t len;
	size_t skip; /* the region begins at map + skip */
	dev_t dev;   /* dev, ino and region.offset tell whether a later table means the same memory */
	ino_t ino;
	struct vhost_user_region region;
};

/* All zero: no memory. */
struct vhost_user_mem {
	struct guest_mem gm; /* what devices see */
	unsigned n;
	struct vhost_user_mapping mappings[GUEST_MEM_REGIONS_MAX];
	/* Mappings of the table before: buffers of chains in flight may still lie there. */
	unsigned n_retired;
	struct vhost_user_mapping retired[GUEST_MEM_REGIONS_MAX];
};

/*
 * Replaces the table by n <= GUEST_MEM_REGIONS_MAX regions, region i behind fds[i] (borrowed). Mappings that stay the
 * same are kept; the others are retired and remain valid until vhost_user_mem_release, which must have been called
 * since the last table. On failure nothing has changed.
 */
int vhost_user_mem_set(struct vhost_user_mem *m, const struct vhost_user_region *regions, unsigned n, const int *fds,
	struct err *err) must_check;
/* Unmaps what was retired: nobody uses it any more. */
void vhost_user_mem_release(struct vhost_user_mem *m);
/* Unmaps everything. */
void vhost_user_mem_fini(struct vhost_user_mem *m);

/* The guest address of an address in the front end. False if no region has it. */
bool vhost_user_mem_gpa(const struct vhost_user_mem *m, uint64_t uva, gpa_t *ret);
/* Drops our page-table entries (and so our share of the RSS); the contents stay. */
void vhost_user_mem_drop_rss(struct vhost_user_mem *m);
