/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the other side: status codes, their text, and messages unpacked within a budget of memory. */
#include <errno.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "rpc/ttrpc_impl.h"

/* The first line of a code gives its errno; the first line of an errno gives its code. */
static const struct {
	enum ttrpc_code code;
	int err;
} codes[] = {
	{TTRPC_OK, 0},
	{TTRPC_CANCELLED, ECANCELED},
	{TTRPC_INVALID_ARGUMENT, EINVAL},
	{TTRPC_INVALID_ARGUMENT, ERANGE},
	{TTRPC_INVALID_ARGUMENT, EDOM},
	{TTRPC_INVALID_ARGUMENT, EILSEQ},
	{TTRPC_INVALID_ARGUMENT, ENAMETOOLONG},
	{TTRPC_INVALID_ARGUMENT, ENOTDIR},
	{TTRPC_INVALID_ARGUMENT, EISDIR},
	{TTRPC_INVALID_ARGUMENT, ELOOP},
	{TTRPC_DEADLINE_EXCEEDED, ETIMEDOUT},
	{TTRPC_NOT_FOUND, ENOENT},
	{TTRPC_NOT_FOUND, ESRCH},
	{TTRPC_NOT_FOUND, ENODEV},
	{TTRPC_ALREADY_EXISTS, EEXIST},
	{TTRPC_PERMISSION_DENIED, EPERM},
	{TTRPC_PERMISSION_DENIED, EACCES},
	{TTRPC_PERMISSION_DENIED, EROFS},
	{TTRPC_RESOURCE_EXHAUSTED, ENOBUFS},
	{TTRPC_RESOURCE_EXHAUSTED, ENOMEM},
	{TTRPC_RESOURCE_EXHAUSTED, ENOSPC},
	{TTRPC_RESOURCE_EXHAUSTED, EDQUOT},
	{TTRPC_RESOURCE_EXHAUSTED, EMFILE},
	{TTRPC_RESOURCE_EXHAUSTED, ENFILE},
	{TTRPC_RESOURCE_EXHAUSTED, EMSGSIZE},
	{TTRPC_RESOURCE_EXHAUSTED, EFBIG},
	{TTRPC_RESOURCE_EXHAUSTED, E2BIG},
	{TTRPC_RESOURCE_EXHAUSTED, EAGAIN},
	{TTRPC_FAILED_PRECONDITION, EBUSY},
	{TTRPC_FAILED_PRECONDITION, ENOTEMPTY},
	{TTRPC_FAILED_PRECONDITION, ENOTTY},
	{TTRPC_FAILED_PRECONDITION, EALREADY},
	{TTRPC_UNIMPLEMENTED, EOPNOTSUPP},
	{TTRPC_UNIMPLEMENTED, ENOSYS},
	{TTRPC_INTERNAL, EIO},
	{TTRPC_INTERNAL, EPROTO},
	{TTRPC_UNAVAILABLE, ECONNREFUSED},
	{TTRPC_UNAVAILABLE, ECONNRESET},
	{TTRPC_UNAVAILABLE, ECONNABORTED},
	{TTRPC_UNAVAILABLE, ENOTCONN},
	{TTRPC_UNAVAILABLE, EPIPE},
	{TTRPC_UNAVAILABLE, EHOSTUNREACH},
};

enum ttrpc_code ttrpc_code_from_errno(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].err == code)
			return codes[i].code;
	return TTRPC_UNKNOWN;
}

int ttrpc_errno_from_code(enum ttrpc_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code)
			return codes[i].err;
	return EIO;
}

/* Length of the character at p, 0 if it is none or a control character (C0, C1). */
static size_t printable(const uint8_t *p, size_t n)
{
	uint32_t code;
	size_t len = utf8_next(p, n, &code);

	return len && code >= 0x20 && (code < 0x7f || code >= 0xa0) ? len : 0;
}

void ttrpc_text(char *dst, size_t size, const void *src, size_t n)
{
	const uint8_t *p = src;
	size_t at = 0;

	while (n && at + 1 < size) {
		size_t len = printable(p, n);

		if (len >= size - at)
			break;
		if (len)
			memcpy(dst + at, p, len);
		else
			dst[at] = *p == '\n' || *p == '\t' ? ' ' : '?';
		len = MAX_OF(len, (size_t)1);
		at += len;
		p += len;
		n -= len;
	}
	dst[at] = '\0';
}

struct budget {
	size_t left;
	bool over;
};

static void *budget_alloc(void *ctx, size_t n)
{
	struct budget *b = ctx;
	size_t cost = n + 16; /* what malloc adds for itself counts too */
	void *p = cost > n && cost <= b->left ? malloc(n) : NULL;

	if (p)
		b->left -= cost;
	else
		b->over = true;
	return p;
}

static void budget_free(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

ProtobufCMessage *ttrpc_unpack(
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n, enum ttrpc_code *ret_code)
{
	struct budget budget = {.left = 2 * n + TTRPC_UNPACK_SLACK};
	ProtobufCAllocator alloc = {budget_alloc, budget_free, &budget};
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &alloc, n, data);

	if (!m)
		*ret_code = budget.over ? TTRPC_RESOURCE_EXHAUSTED : TTRPC_INVALID_ARGUMENT;
	return m;
}

int ttrpc_response_read(ProtobufCMessage **ret, const char *method, const ProtobufCMessageDescriptor *reply_type,
	const struct ttrpc_slice *data, struct err *err)
{
	struct ttrpc_response_head head;
	enum ttrpc_code code = TTRPC_OK;
	char text[sizeof(err->msg)];
	int r = ttrpc_response_parse(&head, data->p, data->n);

	if (r < 0)
		return err_set(err, -r, "%s: the answer is malformed", method);
	if (head.code != TTRPC_OK) {
		r = ttrpc_errno_from_code((enum ttrpc_code)head.code);
		ttrpc_text(text, sizeof(text), head.message.p, head.message.n);
		if (!text[0])
			return err_set(err, r, "%s: failed with code %d and no message", method, (int)head.code);
		return err_set(err, r, "%s", text);
	}
	*ret = ttrpc_unpack(reply_type, head.payload.p, head.payload.n, &code);
	if (*ret)
		return 0;
	if (code == TTRPC_RESOURCE_EXHAUSTED)
		return err_set(err, ENOBUFS, "%s: the answer would need too much memory", method);
	return err_set(err, EPROTO, "%s: the answer is malformed", method);
}
