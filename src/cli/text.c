/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"

static bool obeys(uint32_t code)
{
	if (code < 0x20)
		return code != '\t';
	return (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f || code == 0x061c ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void text_put_safe(FILE *f, const char *bytes, size_t n)
{
	const uint8_t *p = (const uint8_t *)bytes, *end = p + n;

	while (p < end) {
		uint32_t code = 0;
		size_t len = utf8_next(p, (size_t)(end - p), &code);

		if (len && !obeys(code)) {
			(void)fwrite(p, 1, len, f);
			p += len;
			continue;
		}
		for (len = MAX_OF(len, (size_t)1); len; len--)
			(void)fprintf(f, "\\x%02x", *p++);
	}
}

/* One paragraph; `text` ends at `end`. */
static void wrap_paragraph(FILE *f, const char *text, const char *end, unsigned indent, unsigned width)
{
	unsigned column = 0;

	while (text < end) {
		size_t n = 0;

		while (text < end && (*text == ' ' || *text == '\n'))
			text++;
		while (text + n < end && text[n] != ' ' && text[n] != '\n')
			n++;
		if (!n)
			break;
		if (column && column + 1 + n > width) {
			(void)fputc('\n', f);
			column = 0;
		}
		if (column)
			column += (unsigned)fprintf(f, " ");
		else
			column = (unsigned)fprintf(f, "%*s", (int)indent, "");
		column += (unsigned)fprintf(f, "%.*s", (int)n, text);
		text += n;
	}
	(void)fputc('\n', f);
}

void text_wrap(FILE *f, const char *text, unsigned indent, unsigned width)
{
	for (;;) {
		const char *gap = strstr(text, "\n\n");

		wrap_paragraph(f, text, gap ? gap : text + strlen(text), indent, width);
		if (!gap)
			return;
		(void)fputc('\n', f);
		text = gap + 2;
	}
}

/* Insertions, deletions, changes and swaps of neighbours that turn a into b; words longer than 31 are never near. */
static unsigned distance(const char *a, const char *b)
{
	unsigned d[32][32];
	size_t n = strlen(a), m = strlen(b);

	if (n > 31 || m > 31)
		return 99;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN_OF(best, MIN_OF(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN_OF(best, d[i - 2][j - 2] + 1);
			d[i][j] = best;
		}
	return d[n][m];
}

const char *text_nearest(const char *word, const char *const *words)
{
	unsigned limit = strlen(word) <= 3 ? 1 : strlen(word) <= 6 ? 2 : 3, best = limit + 1;
	const char *found = NULL;

	for (; *words; words++) {
		unsigned d = distance(word, *words);

		/* The beginning of a word is as good as one mistake. */
		if (d > 1 && strlen(word) >= 2 && str_has_prefix(*words, word))
			d = 1;
		if (d < best) {
			best = d;
			found = *words;
		}
	}
	return found;
}

void text_size(char dst[16], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t tenths;

	while (unit + 1 < ARRAY_SIZE(units) && bytes >> (10 * (unit + 1)))
		unit++;
	if (unit == 0) {
		(void)snprintf(dst, 16, "%u B", (unsigned)bytes);
		return;
	}
	/* Shifted before the multiplication, so that the largest number does not overflow. */
	tenths = (bytes >> (10 * (unit - 1))) * 10 >> 10;
	if (tenths >= 100)
		(void)snprintf(dst, 16, "%u %s", (unsigned)(tenths / 10), units[unit]);
	else
		(void)snprintf(dst, 16, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[unit]);
}

void text_age(char dst[16], uint64_t ns)
{
	uint64_t s = ns / UINT64_C(1000000000), m = s / 60, h = m / 60, d = h / 24;

	if (m == 0)
		(void)snprintf(dst, 16, "%us", (unsigned)s);
	else if (m < 10)
		(void)snprintf(dst, 16, "%um%us", (unsigned)m, (unsigned)(s % 60));
	else if (h == 0)
		(void)snprintf(dst, 16, "%um", (unsigned)m);
	else if (h < 10)
		(void)snprintf(dst, 16, "%uh%um", (unsigned)h, (unsigned)(m % 60));
	else if (d < 2)
		(void)snprintf(dst, 16, "%uh", (unsigned)h);
	else
		(void)snprintf(dst, 16, "%llud", (unsigned long long)d);
}

int text_table_add(struct text_table *t, const char *fmt, ...)
{
	char text[1024];
	char *copy;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (t->n == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		char **cells = reallocarray(t->cells, room, sizeof(*cells));

		if (!cells)
			return -ENOMEM;
		t->cells = cells;
		t->room = room;
	}
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	t->cells[t->n++] = copy;
	return 0;
}

void text_table_print(const struct text_table *t, FILE *f)
{
	size_t widths[TEXT_COLUMNS_MAX] = {0};
	unsigned columns = MIN_OF(t->columns, (unsigned)TEXT_COLUMNS_MAX);

	for (size_t i = 0; i < t->n; i++)
		widths[i % columns] = MAX_OF(widths[i % columns], strlen(t->cells[i]));
	for (size_t i = 0; i < t->n; i++) {
		bool last = i % columns == columns - 1;
		size_t len = strlen(t->cells[i]);

		text_put_safe(f, t->cells[i], len);
		if (last)
			(void)fputc('\n', f);
		else
			(void)fprintf(f, "%*s", (int)(widths[i % columns] - len + 3), "");
	}
}

void text_table_fini(struct text_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->n = t->room = 0;
}
