/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Numbers in and out of bytes and text. Loads and stores go through memcpy, so any alignment is fine. */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

static inline uint16_t get_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t get_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline uint32_t get_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline void put_le16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/*
 * Decimal text to a number in [0, max]. The whole text must be digits (no sign, no space).
 * -EINVAL: not a number, -ERANGE: more than max; the message quotes the text.
 */
int str_to_u64(const char *text, uint64_t max, uint64_t *ret, struct err *err) must_check;

/* Copies at most size-1 bytes and always ends with NUL. Returns false if the text was cut. */
bool str_copy(char *dst, size_t size, const char *src);

/* snprintf into `dst`. Returns 0, or -ENAMETOOLONG (with err) if the result does not fit; dst then holds "". */
int str_format(char *dst, size_t size, struct err *err, const char *fmt, ...) printf_like(4, 5) must_check;

static inline bool str_eq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

bool str_has_prefix(const char *text, const char *prefix);
bool str_has_suffix(const char *text, const char *suffix);

/* Writes `n` bytes as 2n lower-case hex digits and a NUL; dst has room for 2n + 1. */
void hex_encode(char *dst, const void *bytes, size_t n);
