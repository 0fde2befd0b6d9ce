/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>

int str_to_u64(const char *text, uint64_t max, uint64_t *ret, struct err *err)
{
	uint64_t v = 0;

	if (!*text)
		return err_set(err, EINVAL, "'' is not a number");
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return err_set(err, EINVAL, "'%.40s' is not a number", text);
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v) ||
			v > max)
			return err_set(err, ERANGE, "'%.40s' is more than %llu", text, (unsigned long long)max);
	}
	*ret = v;
	return 0;
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	bool fits = len < size;

	if (!size)
		return false;
	if (!fits)
		len = size - 1;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return fits;
}

int str_format(char *dst, size_t size, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < size)
		return 0;
	(void)err_set(err, ENAMETOOLONG, "'%.80s...' is longer than %zu bytes", dst, size - 1);
	dst[0] = '\0';
	return -ENAMETOOLONG;
}

bool str_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n >= m && !memcmp(text + n - m, suffix, m);
}

void hex_encode(char *dst, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[p[i] >> 4];
		dst[2 * i + 1] = digits[p[i] & 15];
	}
	dst[2 * n] = '\0';
}
