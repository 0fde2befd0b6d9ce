/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The bytes of virtio-vsock, without I/O: the packet header (virtio 1.2 §5.10.6) and the CONNECT line of the host's socket.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define VSOCK_HDR_LEN 44
#define VSOCK_HOST_CID 2

enum vsock_type { VSOCK_TYPE_STREAM = 1 };

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of VSOCK_OP_SHUTDOWN: what its sender will not do any more. */
enum vsock_shutdown {
	VSOCK_NO_RCV = 1 << 0,
	VSOCK_NO_SEND = 1 << 1,
	VSOCK_NO_BOTH = VSOCK_NO_RCV | VSOCK_NO_SEND,
};

struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* bytes of payload behind the header */
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* the sender's receive buffer, and the bytes that have left it */
};

void vsock_hdr_encode(uint8_t dst[VSOCK_HDR_LEN], const struct vsock_hdr *h);
void vsock_hdr_decode(struct vsock_hdr *ret, const uint8_t src[VSOCK_HDR_LEN]);

/* What a packet from the guest deserves before any connection is looked at. */
enum vsock_verdict {
	VSOCK_PASS, /* well-formed, for the host */
	VSOCK_IGNORE, /* not from this guest to the host (its own CID, another's): we speak for nobody else. Or a bad RST */
	VSOCK_REFUSE, /* answer with RST: unknown type or operation, or longer than its chain */
};

/* `chain_len` is the number of bytes that the driver gave, header included. */
enum vsock_verdict vsock_hdr_check(const struct vsock_hdr *h, uint64_t guest_cid, uint64_t chain_len);

/* Room for the longest line either way, "CONNECT 4294967294\n", and then some. */
#define VSOCK_LINE_MAX 32

/*
 * Parses a line of a client, newline included: "CONNECT <port>\n", decimal, one space, port below 2^32 - 1 (VMADDR_PORT_ANY).
 * 0, or -EPROTO.
 */
int vsock_line_parse(const char *line, size_t n, uint32_t *ret_port) must_check;
/* Writes "OK <port>\n" without a NUL; returns its length. */
size_t vsock_line_ok(char dst[VSOCK_LINE_MAX], uint32_t port);
