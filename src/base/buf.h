/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A byte buffer that grows up to a limit fixed by its owner. Bytes are added at the end and consumed at the front.
 *   BUF_INIT(limit)  ->  buf_append / buf_reserve+buf_added / buf_consume  ->  buf_fini
 * Nothing is allocated until the first byte. A buffer that would pass its limit refuses with -ENOBUFS, unchanged.
 */
#include <stdint.h>

#include "base/cleanup.h"

struct buf {
	uint8_t *mem;
	size_t start; /* offset of the first byte not consumed */
	size_t len;   /* bytes not consumed */
	size_t cap;
	size_t limit;
};

#define BUF_INIT(limit_)                                                                                               \
	{                                                                                                              \
		.limit = (limit_)                                                                                      \
	}

void buf_fini(struct buf *b);
#define auto_buf cleanup_with(buf_fini)

static inline uint8_t *buf_data(const struct buf *b)
{
	return b->mem ? b->mem + b->start : NULL;
}

/* Room for `n` more bytes at the end; the pointer is good until the next call on `b`. NULL: -ENOBUFS or no memory. */
void *buf_reserve(struct buf *b, size_t n);
/* Says that `n` bytes were written where buf_reserve pointed. */
void buf_added(struct buf *b, size_t n);
/* 0, -ENOBUFS (limit) or -ENOMEM. */
int buf_append(struct buf *b, const void *bytes, size_t n) must_check;
int buf_append_str(struct buf *b, const char *text) must_check;
int buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3) must_check;
/* Drops `n` <= len bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* Gives back the memory when the buffer is empty. */
void buf_trim(struct buf *b);
