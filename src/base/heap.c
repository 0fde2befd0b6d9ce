/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <malloc.h>

#define THRESHOLD (128 * 1024) /* glibc's own, before it moves them */

void heap_tight(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, THRESHOLD);
	(void)mallopt(M_TRIM_THRESHOLD, THRESHOLD);
}
