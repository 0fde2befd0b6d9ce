/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/pool.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

struct pool_object {
	struct pool_object *next;
	_Alignas(max_align_t) unsigned char bytes[];
};

void *pool_alloc(struct pool *p, size_t size)
{
	struct pool_object *o;

	if (size > p->limit - p->used || size > SIZE_MAX - sizeof(*o)) {
		p->full = true;
		return NULL;
	}
	o = calloc(1, sizeof(*o) + size);
	if (!o)
		return NULL;
	p->used += size;
	o->next = p->objects;
	p->objects = o;
	return o->bytes;
}

void *pool_array(struct pool *p, size_t n, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(n, size, &total) ? NULL : pool_alloc(p, total);
}

char *pool_copy(struct pool *p, const void *bytes, size_t n)
{
	char *copy = n < SIZE_MAX ? pool_alloc(p, n + 1) : NULL;

	if (copy && n)
		memcpy(copy, bytes, n);
	return copy;
}

char *pool_str(struct pool *p, const char *text)
{
	return pool_copy(p, text, strlen(text));
}

char *pool_printf(struct pool *p, const char *fmt, ...)
{
	va_list ap, again;
	char *text = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		text = pool_alloc(p, (size_t)n + 1);
	if (text)
		(void)vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return text;
}

void pool_fini(struct pool *p)
{
	while (p->objects) {
		struct pool_object *next = p->objects->next;

		free(p->objects);
		p->objects = next;
	}
	p->used = 0;
}
