/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Settings of glibc's heap. musl's needs and has none: its blocks of a size are mapped together and unmapped when the last is freed. */

/*
 * Freed memory goes back to the kernel. glibc raises its thresholds with the largest block ever freed, so that after two messages
 * of 4 MiB the heap keeps 4 MiB for ever; with thresholds that were set it does not. For the main of a program that lives long.
 */
void heap_tight(void);
/* For a program with few threads and few bytes: one heap, and what is freed goes back soon. */
void heap_small(void);
/* Gives back what is free now. */
void heap_trim(void);
