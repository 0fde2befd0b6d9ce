/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: ten bytes of header, then data. The input is one buffer: whole small frames are taken from a read of some
 * KiB, a large frame gets one buffer of its size once its length has been checked, and the read goes straight there. A
 * frame that is too long is never stored: its bytes are dropped as they come.
 */
#include <errno.h>

#include "base/bytes.h"
#include "rpc/ttrpc_impl.h"

/* A buffer larger than this is given back when it is empty: an idle connection should hold next to nothing. */
#define KEEP_MAX (16u << 10)

void ttrpc_frame_encode(uint8_t dst[TTRPC_HEADER_LEN], const struct ttrpc_frame *f)
{
	put_be32(dst, f->len);
	put_be32(dst + 4, f->stream);
	dst[8] = f->type;
	dst[9] = f->flags;
}

void ttrpc_frame_decode(struct ttrpc_frame *ret, const uint8_t src[TTRPC_HEADER_LEN])
{
	ret->len = get_be32(src);
	ret->stream = get_be32(src + 4);
	ret->type = src[8];
	ret->flags = src[9];
}

void ttrpc_input_fini(struct ttrpc_input *in)
{
	buf_fini(&in->buf);
	in->taken = in->skip = 0;
}

/* Drops what has been handed out or refused. */
static void drop(struct ttrpc_input *in)
{
	size_t n;

	buf_consume(&in->buf, in->taken);
	in->taken = 0;
	n = MIN_OF((size_t)in->skip, in->buf.len);
	buf_consume(&in->buf, n);
	in->skip -= (uint32_t)n;
	if (in->buf.cap > KEEP_MAX)
		buf_trim(&in->buf);
}

/* Bytes missing until the next step can be taken. */
static size_t missing(const struct ttrpc_input *in)
{
	struct ttrpc_frame f;

	if (in->skip)
		return in->skip;
	if (in->buf.len < TTRPC_HEADER_LEN)
		return TTRPC_HEADER_LEN - in->buf.len;
	ttrpc_frame_decode(&f, buf_data(&in->buf));
	if (f.len > TTRPC_DATA_MAX || in->buf.len >= TTRPC_HEADER_LEN + (size_t)f.len)
		return 0; /* ttrpc_input_next has something to say first */
	return TTRPC_HEADER_LEN + f.len - in->buf.len;
}

void *ttrpc_input_room(struct ttrpc_input *in, bool exact, size_t *ret_n)
{
	size_t n;

	drop(in);
	n = missing(in);
	if (in->skip)
		n = MIN_OF(n, (size_t)KEEP_MAX);
	else if (!exact)
		n = MAX_OF(n, (size_t)TTRPC_READ_MIN);
	*ret_n = n;
	return buf_reserve(&in->buf, n);
}

void ttrpc_input_added(struct ttrpc_input *in, size_t n)
{
	buf_added(&in->buf, n);
}

int ttrpc_input_next(struct ttrpc_input *in, struct ttrpc_frame *ret, const uint8_t **ret_data)
{
	struct ttrpc_frame f;

	drop(in);
	if (in->skip || in->buf.len < TTRPC_HEADER_LEN)
		return TTRPC_INPUT_MORE;
	ttrpc_frame_decode(&f, buf_data(&in->buf));
	if (f.len >> 24)
		return -EPROTO;
	if (f.len > TTRPC_DATA_MAX) {
		in->taken = TTRPC_HEADER_LEN;
		in->skip = f.len;
		*ret = f;
		return TTRPC_INPUT_TOO_LONG;
	}
	if (in->buf.len < TTRPC_HEADER_LEN + (size_t)f.len)
		return TTRPC_INPUT_MORE;
	in->taken = TTRPC_HEADER_LEN + (size_t)f.len;
	*ret = f;
	*ret_data = buf_data(&in->buf) + TTRPC_HEADER_LEN;
	return TTRPC_INPUT_FRAME;
}
