/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Text for people: safe for a terminal, in columns, sizes and ages, and the nearest word to a mistyped one. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/*
 * Writes bytes so that no terminal can be made to obey them: printable ASCII, tabs and UTF-8 text go as they are; control
 * characters (C0, C1, DEL), characters that reorder text, and bytes that are no UTF-8 go as \xNN.
 */
void text_put_safe(FILE *f, const char *bytes, size_t n);

/* Writes `text` in lines of at most `width` columns, each with `indent` spaces in front. "\n\n" separates paragraphs. */
void text_wrap(FILE *f, const char *text, unsigned indent, unsigned width);

/* Of the NULL-terminated `words` the one that `word` probably was meant to be, or NULL. */
const char *text_nearest(const char *word, const char *const *words);

/* "12.3 MiB", "4 KiB"; "12s", "3m10s", "5h2m", "9d". */
void text_size(char dst[16], uint64_t bytes);
void text_age(char dst[16], uint64_t ns);

/* A table: cells in rows, columns as wide as their widest cell. */
struct text_table {
	unsigned columns;
	size_t n, room; /* cells */
	char **cells;
};

#define TEXT_COLUMNS_MAX 16
/* Adds one cell (control characters are escaped when printed). -ENOMEM. */
int text_table_add(struct text_table *t, const char *fmt, ...) printf_like(2, 3) must_check;
void text_table_print(const struct text_table *t, FILE *f);
void text_table_fini(struct text_table *t);
#define auto_table cleanup_with(text_table_fini)
