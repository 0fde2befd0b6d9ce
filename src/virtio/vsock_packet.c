/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/vsock_packet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Offsets of struct virtio_vsock_hdr, all little endian. */
enum {
	AT_SRC_CID = 0,
	AT_DST_CID = 8,
	AT_SRC_PORT = 16,
	AT_DST_PORT = 20,
	AT_LEN = 24,
	AT_TYPE = 28,
	AT_OP = 30,
	AT_FLAGS = 32,
	AT_BUF_ALLOC = 36,
	AT_FWD_CNT = 40,
};

void vsock_hdr_encode(uint8_t dst[VSOCK_HDR_LEN], const struct vsock_hdr *h)
{
	put_le64(dst + AT_SRC_CID, h->src_cid);
	put_le64(dst + AT_DST_CID, h->dst_cid);
	put_le32(dst + AT_SRC_PORT, h->src_port);
	put_le32(dst + AT_DST_PORT, h->dst_port);
	put_le32(dst + AT_LEN, h->len);
	put_le16(dst + AT_TYPE, h->type);
	put_le16(dst + AT_OP, h->op);
	put_le32(dst + AT_FLAGS, h->flags);
	put_le32(dst + AT_BUF_ALLOC, h->buf_alloc);
	put_le32(dst + AT_FWD_CNT, h->fwd_cnt);
}

void vsock_hdr_decode(struct vsock_hdr *ret, const uint8_t src[VSOCK_HDR_LEN])
{
	ret->src_cid = get_le64(src + AT_SRC_CID);
	ret->dst_cid = get_le64(src + AT_DST_CID);
	ret->src_port = get_le32(src + AT_SRC_PORT);
	ret->dst_port = get_le32(src + AT_DST_PORT);
	ret->len = get_le32(src + AT_LEN);
	ret->type = get_le16(src + AT_TYPE);
	ret->op = get_le16(src + AT_OP);
	ret->flags = get_le32(src + AT_FLAGS);
	ret->buf_alloc = get_le32(src + AT_BUF_ALLOC);
	ret->fwd_cnt = get_le32(src + AT_FWD_CNT);
}

enum vsock_verdict vsock_hdr_check(const struct vsock_hdr *h, uint64_t guest_cid, uint64_t chain_len)
{
	/* A RST is never answered, or two ends could reset each other for ever. */
	enum vsock_verdict bad = h->op == VSOCK_OP_RST ? VSOCK_IGNORE : VSOCK_REFUSE;

	if (h->src_cid != guest_cid || h->dst_cid != VSOCK_HOST_CID)
		return VSOCK_IGNORE;
	if (h->type != VSOCK_TYPE_STREAM)
		return bad;
	if (h->op < VSOCK_OP_REQUEST || h->op > VSOCK_OP_CREDIT_REQUEST)
		return bad;
	if (chain_len < VSOCK_HDR_LEN || h->len > chain_len - VSOCK_HDR_LEN)
		return bad;
	return VSOCK_PASS;
}

int vsock_line_parse(const char *line, size_t n, uint32_t *ret_port)
{
	static const char word[] = "CONNECT ";
	uint64_t port = 0;
	size_t i = sizeof(word) - 1;

	/* At least one digit and the newline; "4294967294" is the longest number. */
	if (n < i + 2 || n > i + 11 || memcmp(line, word, i) != 0 || line[n - 1] != '\n')
		return -EPROTO;
	for (; i < n - 1; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -EPROTO;
		port = port * 10 + (uint64_t)(line[i] - '0');
	}
	if (port >= UINT32_MAX)
		return -EPROTO;
	*ret_port = (uint32_t)port;
	return 0;
}

size_t vsock_line_ok(char dst[VSOCK_LINE_MAX], uint32_t port)
{
	return (size_t)snprintf(dst, VSOCK_LINE_MAX, "OK %u\n", port);
}
