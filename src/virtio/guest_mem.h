/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Guest memory and the only door to it. A guest address is a number (gpa_t) until guest_mem_at has checked it: nothing
 * else in the tree turns one into a pointer. What lies behind the pointer may change at any moment: copy once, then check.
 */
#include <stdint.h>

#include "base/err.h"

typedef uint64_t gpa_t; /* guest physical address, in bytes */

#define GUEST_MEM_REGIONS_MAX 8

struct guest_region {
	gpa_t gpa;
	uint64_t size; /* bytes, > 0 */
	uint8_t *hva;  /* borrowed: whoever mapped it unmaps it */
};

struct guest_mem {
	unsigned n;
	struct guest_region regions[GUEST_MEM_REGIONS_MAX];
};

/* Adds a region. -EINVAL if it is empty, wraps, or overlaps another; -ENOSPC if the table is full. */
int guest_mem_add(struct guest_mem *mem, gpa_t gpa, uint64_t size, void *hva, struct err *err) must_check;

/* The host address of [gpa, gpa + len), or NULL unless all of it lies inside one region. len 0 is never inside. */
void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t len);
