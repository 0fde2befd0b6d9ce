/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <malloc.h>

#ifdef __GLIBC__

#define THRESHOLD (128 * 1024) /* glibc's own, before it moves them */

void heap_tight(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, THRESHOLD);
}

void heap_small(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 64 * 1024);
	(void)mallopt(M_TOP_PAD, 4096);
}

void heap_trim(void)
{
	(void)malloc_trim(0);
}

#else

void heap_tight(void)
{
}

void heap_small(void)
{
}

void heap_trim(void)
{
}

#endif
