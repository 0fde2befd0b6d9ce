/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers for things that the guest may name: node ids and file handles. A number is never given twice (a 44-bit counter above
 * the index of the place), so one that was never handed out, or is no longer valid, is found out by one comparison.
 */
#include <stdint.h>

#include "base/cleanup.h"

#define FS_SLOTS_MAX (1u << 20)

struct fs_slot {
	void *obj;   /* NULL: free */
	uint64_t id; /* of obj, or the next free place + 1 (0: none) */
};

struct fs_slots {
	struct fs_slot *slots;
	uint32_t cap, n, max;
	uint32_t free; /* first free place + 1 */
	uint64_t count;
};

/* `max` <= FS_SLOTS_MAX things at a time. Nothing is allocated yet. */
void fs_slots_init(struct fs_slots *s, uint32_t max);
/* Frees the table, not the things in it. */
void fs_slots_fini(struct fs_slots *s);
/* *ret_id is at least 2^20. -ENFILE: `max` reached, -ENOMEM. */
int fs_slots_add(struct fs_slots *s, void *obj, uint64_t *ret_id) must_check;
/* NULL if there is no such number. */
void *fs_slots_get(const struct fs_slots *s, uint64_t id);
/* `id` must be valid. */
void fs_slots_remove(struct fs_slots *s, uint64_t id);
