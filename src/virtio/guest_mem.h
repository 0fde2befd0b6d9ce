/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Guest memory and the only door to it. A guest address is a number (gpa_t) until guest_mem_at has checked it:
 * nothing else in the tree turns one into a pointer. What lies behind the pointer may change at any moment: copy
 * once, then check.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef uint64_t gpa_t; /* guest physical address, in bytes */

#define GUEST_MEM_REGIONS_MAX 8

struct guest_region {
	gpa_t gpa;
	uint64_t size; /* bytes, > 0 */
	uint8_t *hva;  /* borrowed: whoever mapped it unmaps it */
	bool readonly; /* devices may read from it, but a store would fault */
};

struct guest_mem {
	unsigned n;
	struct guest_region regions[GUEST_MEM_REGIONS_MAX];
};

/* Adds a region. -EINVAL if it is empty, wraps, or overlaps another; -ENOSPC if the table is full. */
int guest_mem_add(struct guest_mem *mem, gpa_t gpa, uint64_t size, void *hva, struct err *err) must_check;
/* The same for memory that is mapped for reading only. */
int guest_mem_add_ro(struct guest_mem *mem, gpa_t gpa, uint64_t size, void *hva, struct err *err) must_check;

/* The host address of [gpa, gpa + len), or NULL unless all of it lies inside one writable region. len 0 is never inside. */
void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t len);

/*
 * The same for a caller that keeps the region it hit last in `hot`: zeroed at first and again whenever `mem` changes.
 * The common case costs two comparisons. The region may be read-only: hot->readonly tells, and is for the caller to obey.
 */
static inline void *guest_region_at(const struct guest_region *r, gpa_t gpa, uint64_t len)
{
	/* Below the region the subtraction wraps to at least 2^64 - r->gpa, which is no less than r->size. */
	uint64_t off = gpa - r->gpa;

	return off < r->size && len != 0 && len <= r->size - off ? r->hva + off : NULL;
}

void *guest_mem_at_hot_miss(const struct guest_mem *mem, struct guest_region *hot, gpa_t gpa, uint64_t len);

static inline void *guest_mem_at_hot(const struct guest_mem *mem, struct guest_region *hot, gpa_t gpa, uint64_t len)
{
	void *p = guest_region_at(hot, gpa, len);

	return __builtin_expect(p != NULL, 1) ? p : guest_mem_at_hot_miss(mem, hot, gpa, len);
}
