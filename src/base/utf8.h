/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing beyond U+10FFFF) in bytes that may be anything. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the character at p, which has n > 0 bytes, and its code (ret may be NULL); 0: no character starts there. */
size_t utf8_next(const void *p, size_t n, uint32_t *ret);
bool utf8_valid(const void *p, size_t n);
/* Makes valid UTF-8 of a text: each byte that belongs to no character becomes '?'. */
void utf8_repair(char *text);
