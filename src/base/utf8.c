/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

size_t utf8_next(const void *p, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *b = p;
	size_t len = b[0] < 0x80 ? 1 : b[0] < 0xc0 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf8 ? 4 : 0;
	uint32_t code;

	if (len == 0 || len > n)
		return 0;
	code = len == 1 ? b[0] : b[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	if (ret)
		*ret = code;
	return len;
}

bool utf8_valid(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n) {
		size_t len = utf8_next(b, n, NULL);

		if (!len)
			return false;
		b += len;
		n -= len;
	}
	return true;
}

void utf8_repair(char *text)
{
	size_t n = strlen(text);

	while (n) {
		size_t len = utf8_next(text, n, NULL);

		if (!len) {
			*text = '?';
			len = 1;
		}
		text += len;
		n -= len;
	}
}
