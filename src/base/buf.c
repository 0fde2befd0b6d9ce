/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

void buf_fini(struct buf *b)
{
	free(b->mem);
	b->mem = NULL;
	b->start = b->len = b->cap = 0;
}

static int grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : 256;
	uint8_t *mem;

	while (cap < need)
		cap *= 2;
	if (cap > b->limit)
		cap = b->limit;
	mem = malloc(cap);
	if (!mem)
		return -ENOMEM;
	if (b->len)
		memcpy(mem, b->mem + b->start, b->len);
	free(b->mem);
	b->mem = mem;
	b->start = 0;
	b->cap = cap;
	return 0;
}

void *buf_reserve(struct buf *b, size_t n)
{
	if (n > b->limit - b->len) {
		errno = ENOBUFS;
		return NULL;
	}
	if (b->cap - b->start - b->len >= n && b->mem)
		return b->mem + b->start + b->len;
	if (b->cap >= b->len + n && b->mem) {
		memmove(b->mem, b->mem + b->start, b->len);
		b->start = 0;
		return b->mem + b->len;
	}
	if (grow(b, b->len + n) < 0) {
		errno = ENOMEM;
		return NULL;
	}
	return b->mem + b->len;
}

void buf_added(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->start - b->len);
	b->len += n;
}

int buf_append(struct buf *b, const void *bytes, size_t n)
{
	void *p;

	if (!n)
		return 0;
	p = buf_reserve(b, n);
	if (!p)
		return -errno;
	memcpy(p, bytes, n);
	b->len += n;
	return 0;
}

int buf_append_str(struct buf *b, const char *text)
{
	return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	/* vsnprintf needs one byte more than the text, for its NUL. */
	p = buf_reserve(b, (size_t)n + 1);
	if (!p)
		return -errno;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->start += n;
	b->len -= n;
	if (!b->len)
		b->start = 0;
}

void buf_trim(struct buf *b)
{
	if (!b->len)
		buf_fini(b);
}
