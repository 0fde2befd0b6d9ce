/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The header that opens every connection to the agent's stream port (STREAM_PORT): which bytes it carries. The agent
 * answers with one byte, 0 or an errno value; after a 0 both directions are the stream's until closed.
 *
 *   0  4  "PVS1"
 *   4  1  kind (enum stream_kind)
 *   5  1  fd: 0, 1 or 2 for STREAM_STDIO, else 0
 *   6  2  port, little endian, for the dials, else 0
 *   8  1  length of the container id, 1..64 for STREAM_STDIO, else 0
 *   9  1  length of the exec id, 0..64 (0: the container's first process)
 *  10     the container id, then the exec id
 *
 * STREAM_STDIO: one connection per descriptor. With a terminal only fd 0 (to the terminal) and fd 1 (from it) exist.
 *   The host never sends on fd 1 and 2; when it closes one, or shuts its side, that stream has ended.
 * STREAM_DIAL: the agent connects to localhost:port in the guest by TCP (IPv4, then IPv6).
 * STREAM_DIAL_UDP: the same by UDP. The stream carries datagrams (rpc/dgram.h): for each a length of two bytes, little endian, at most
 *   65507, and its bytes. One stream is one socket of the guest, so answers find their way; a client of the host has one for itself.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define AGENT_PORT 1024
#define STREAM_PORT 1025
/*
 * Receive buffer of the agent's stream sockets, bytes; the most that is under way in either direction (Linux 6.1.192 has no more
 * under way than it would take itself).
 */
#define STREAM_SOCKET_BUFFER (1024u * 1024u)
#define STREAM_ID_MAX 64
#define STREAM_HEADER_MIN 10
#define STREAM_HEADER_MAX (STREAM_HEADER_MIN + 2 * STREAM_ID_MAX)

enum stream_kind { STREAM_STDIO = 1, STREAM_DIAL = 2, STREAM_DIAL_UDP = 3 };

struct stream_header {
	enum stream_kind kind;
	uint8_t fd;
	uint16_t port;
	char container[STREAM_ID_MAX + 1];
	char exec[STREAM_ID_MAX + 1];
};

/* Returns the bytes written to dst, or -EINVAL when a field is out of range. */
int stream_header_encode(uint8_t dst[STREAM_HEADER_MAX], const struct stream_header *h) must_check;
/* > 0: the header's length, *ret is filled. 0: more bytes are needed. -EPROTO: not a header. */
int stream_header_decode(struct stream_header *ret, const uint8_t *src, size_t n) must_check;
