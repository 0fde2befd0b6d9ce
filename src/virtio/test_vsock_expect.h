/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the tests of the vsock device say with the guest of test_vsock_guest.h: connections, and what must come or must not.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio/test_vsock_guest.h"

#define GUEST_PORT 1024

static inline void expect_op(struct guest *g, struct g_packet *p, enum vsock_op op)
{
	assert_true(g_get(g, p));
	assert_int_equal(p->h.op, op);
	assert_int_equal(p->h.dst_cid, G_CID);
}

static inline void expect_silence(struct guest *g)
{
	struct g_packet p;

	if (g_get(g, &p))
		fail_msg("unexpected packet, op %u, len %u", p.h.op, p.h.len);
}

static inline void expect_text(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static inline void expect_eof(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static inline void expect_open(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static inline void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* A client whose connection the guest has accepted; *ret_port is the host's port. */
static inline int connected(struct guest *g, uint32_t *ret_port)
{
	int fd = g_client(g);
	struct g_packet p;
	char ok[64];

	put(fd, "CONNECT 1024\n");
	g_settle(g);
	expect_op(g, &p, VSOCK_OP_REQUEST);
	assert_int_equal(p.h.dst_port, GUEST_PORT);
	*ret_port = p.h.src_port;
	g_send(g, GUEST_PORT, *ret_port, VSOCK_OP_RESPONSE, NULL, 0);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", *ret_port);
	expect_text(fd, ok);
	return fd;
}

static inline struct guest *started(void)
{
	struct guest *g = g_new(NULL);

	g_start(g);
	return g;
}

/* True if the loop finds nothing to do for a while. */
static inline bool sleeps(struct guest *g)
{
	uint64_t start = time_mono_ns();

	(void)loop_turn(g->loop, 50);
	return time_mono_ns() - start >= 45 * NS_PER_MS;
}
