/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Memory with one end of life: everything that a document or a pod is made of is allocated here and freed at once, so no
 * error path has anything to undo. Each object is a malloc of its own, which keeps AddressSanitizer's bounds exact.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct pool_object;

struct pool {
	struct pool_object *objects;
	size_t used;  /* bytes handed out */
	size_t limit; /* bytes; more is refused as if memory had run out */
	bool full;    /* the limit has refused something */
};

/* Zeroed memory, good until pool_fini. NULL: no memory, or the limit is reached. */
void *pool_alloc(struct pool *p, size_t size);
/* The same for n objects; an n * size that overflows is NULL. */
void *pool_array(struct pool *p, size_t n, size_t size);
/* A copy of n bytes with a NUL after them. */
char *pool_copy(struct pool *p, const void *bytes, size_t n);
char *pool_str(struct pool *p, const char *text);
char *pool_printf(struct pool *p, const char *fmt, ...) printf_like(2, 3);
/* Frees everything; the pool may be used again. */
void pool_fini(struct pool *p);
