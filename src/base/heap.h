/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Freed memory goes back to the kernel. glibc raises its thresholds with the largest block ever freed, so that after two messages
 * of 4 MiB the heap keeps 4 MiB for ever; with thresholds that were set it does not. For the main of a program that lives long.
 */
void heap_tight(void);
