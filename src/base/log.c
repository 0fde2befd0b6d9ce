/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"

#define PREFIXED_MAX 900 /* the kernel's log refuses records of more than 976 bytes */

static struct {
	int fd;
	enum log_level level;
	const char *proc, *pod, *prefix;
	void (*hook)(void *ctx, enum log_level level, const char *line);
	void *hook_ctx;
	bool no_time;
} sink = {.fd = STDERR_FILENO, .level = LOG_INFO, .proc = "podvm"};

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};
_Static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_MAX, "a name for every level");

void log_init(int fd, enum log_level level, const char *proc, const char *pod)
{
	sink.fd = fd;
	sink.level = level;
	sink.proc = proc;
	sink.pod = pod;
}

void log_set_prefix(const char *text)
{
	sink.prefix = text;
}

void log_omit_time(void)
{
	sink.no_time = true;
}

void log_set_hook(void (*fn)(void *ctx, enum log_level level, const char *line), void *ctx)
{
	sink.hook = fn;
	sink.hook_ctx = ctx;
}

int log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++)
		if (!strcmp(name, level_names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* Makes every control byte visible: \n as \n, others as \xNN. Keeps UTF-8 as it is. */
static size_t escape(char *dst, size_t size, const char *src)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (; *src && n + 5 < size; src++) {
		unsigned char c = (unsigned char)*src;

		if (c >= 0x20 && c != 0x7f) {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '\\';
		if (c == '\n' || c == '\t') {
			dst[n++] = c == '\n' ? 'n' : 't';
			continue;
		}
		dst[n++] = 'x';
		dst[n++] = digits[c >> 4];
		dst[n++] = digits[c & 15];
	}
	dst[n] = '\0';
	return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX], when[31] = "";
	const size_t max = sink.prefix ? PREFIXED_MAX : sizeof(line);
	int saved = errno, n;
	va_list ap;

	if (level > sink.level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (sink.hook) {
		(void)escape(line, sizeof(line), text);
		sink.hook(sink.hook_ctx, level, line);
		errno = saved;
		return;
	}
	if (!sink.no_time)
		time_format(when, time_real_ns());
	n = snprintf(line, sizeof(line), "%.8s%s%s%s %s%s%s%s: ", sink.prefix ? sink.prefix : "", when,
		*when ? " " : "", level_names[level], sink.proc, sink.pod ? "[" : "", sink.pod ? sink.pod : "",
		sink.pod ? "]" : "");
	if (n < 0 || (size_t)n >= max - 8)
		n = 0;
	n += (int)escape(line + n, max - (size_t)n - 1, text);
	line[n++] = '\n';
	if (fd_write_all(sink.fd, line, (size_t)n) < 0)
		sink.level = LOG_ERROR; /* nobody reads any more; there is nowhere to say so */
	errno = saved;
}
