/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a stream connection. Fields that a kind does not use must be zero, so that they can mean something
 * later. Ids are those of agent.proto: they end up in paths, so nothing but their own alphabet passes, on either side.
 */
#include "rpc/stream.h"

#include <errno.h>

#include "base/bytes.h"

static const uint8_t magic[4] = {'P', 'V', 'S', '1'};

static bool id_valid(const uint8_t *id, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t c = id[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		if (!alnum && c != '_' && c != '-' && (c != '.' || i == 0))
			return false;
	}
	return true;
}

static bool fields_valid(const struct stream_header *h, size_t container, size_t exec)
{
	if (container > STREAM_ID_MAX || exec > STREAM_ID_MAX)
		return false;
	switch (h->kind) {
	case STREAM_STDIO:
		return h->fd <= 2 && h->port == 0 && container > 0;
	case STREAM_DIAL:
	case STREAM_DIAL_UDP:
		return h->fd == 0 && h->port != 0 && container == 0 && exec == 0;
	}
	return false;
}

int stream_header_encode(uint8_t dst[STREAM_HEADER_MAX], const struct stream_header *h)
{
	size_t container = strnlen(h->container, sizeof(h->container));
	size_t exec = strnlen(h->exec, sizeof(h->exec));

	if (!fields_valid(h, container, exec) || !id_valid((const uint8_t *)h->container, container) ||
		!id_valid((const uint8_t *)h->exec, exec))
		return -EINVAL;
	memcpy(dst, magic, sizeof(magic));
	dst[4] = (uint8_t)h->kind;
	dst[5] = h->fd;
	put_le16(dst + 6, h->port);
	dst[8] = (uint8_t)container;
	dst[9] = (uint8_t)exec;
	memcpy(dst + STREAM_HEADER_MIN, h->container, container);
	memcpy(dst + STREAM_HEADER_MIN + container, h->exec, exec);
	return (int)(STREAM_HEADER_MIN + container + exec);
}

int stream_header_decode(struct stream_header *ret, const uint8_t *src, size_t n)
{
	struct stream_header h = {0};
	size_t container, exec, len;

	/* Wrong bytes are refused as soon as they are seen: a stranger should not be waited for. */
	if (memcmp(src, magic, MIN_OF(n, sizeof(magic))) != 0)
		return -EPROTO;
	if (n < STREAM_HEADER_MIN)
		return 0;
	container = src[8];
	exec = src[9];
	h.kind = (enum stream_kind)src[4];
	h.fd = src[5];
	h.port = get_le16(src + 6);
	if (!fields_valid(&h, container, exec))
		return -EPROTO;
	len = STREAM_HEADER_MIN + container + exec;
	if (n < len)
		return 0;
	src += STREAM_HEADER_MIN;
	if (!id_valid(src, container) || !id_valid(src + container, exec))
		return -EPROTO;
	memcpy(h.container, src, container);
	memcpy(h.exec, src + container, exec);
	*ret = h;
	return (int)len;
}
