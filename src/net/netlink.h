/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Route netlink (rtnetlink(7)): building requests, asking, reading answers. Debian's libmnl has no static library, and ours are
 * static programs; this is the little of it that we need.
 *
 * Reading does no I/O and believes nothing: every length is checked against the message that holds it, and an attribute that
 * is shorter than what is asked of it counts as missing.
 */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* ---- requests ---- */

#define NL_REQUEST_MAX 1024

struct nl_request {
	union {
		struct nlmsghdr h;
		uint8_t bytes[NL_REQUEST_MAX];
	};
	bool full; /* something did not fit; nl_ask then refuses */
};

/* Starts a request of `type` (RTM_*) with `flags` besides NLM_F_REQUEST; `fixed` is the family's header of n <= 64 bytes. */
void nl_start(struct nl_request *rq, uint16_t type, uint16_t flags, const void *fixed, size_t n);
void nl_put(struct nl_request *rq, uint16_t type, const void *value, size_t n);
void nl_put_u32(struct nl_request *rq, uint16_t type, uint32_t v);
/* With its NUL. */
void nl_put_str(struct nl_request *rq, uint16_t type, const char *text);
/* Attributes put between the two are inside of `type`. */
size_t nl_nest(struct nl_request *rq, uint16_t type);
void nl_nest_end(struct nl_request *rq, size_t nest);

/* ---- answers ---- */

/* Bytes that hold attributes; iteration consumes it. */
struct nl_attrs {
	const uint8_t *at;
	size_t n;
};

struct nl_attr {
	uint16_t type; /* without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER */
	const uint8_t *value;
	size_t n;
};

/* The attributes behind the fixed header of `fixed` bytes; NULL via false when the message is too short for that header. */
bool nl_payload(const struct nlmsghdr *h, const void **ret_fixed, size_t fixed, struct nl_attrs *ret);
/* The next attribute; false at the end or at the first that is malformed. */
bool nl_next(struct nl_attrs *list, struct nl_attr *ret);
static inline struct nl_attrs nl_inside(const struct nl_attr *a)
{
	return (struct nl_attrs){.at = a->value, .n = a->n};
}
/* False when the attribute is shorter. */
bool nl_u32(const struct nl_attr *a, uint32_t *ret);
/* Copies a text of at most size - 1 bytes; false when it is longer or holds a NUL before its end. */
bool nl_text(const struct nl_attr *a, char *dst, size_t size);

/* Visits the messages of what one recv(2) gave, or any bytes. fn returns 0 to go on. 0, or what fn returned. */
int nl_walk(const void *bytes, size_t n, int (*fn)(const struct nlmsghdr *h, void *ctx), void *ctx);

/* ---- the socket ---- */

struct nl {
	int fd; /* -1: closed */
	uint32_t seq;
};

#define NL_CLOSED                                                                                                      \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

/* A socket in the network namespace of the calling thread; it stays there wherever the thread goes. */
int nl_open(struct nl *ret, struct err *err) must_check;
void nl_close(struct nl *nl);
/* Asks for a change and waits for the kernel's answer. A refusal is -errno with the kernel's own words; err names no step. */
int nl_ask(struct nl *nl, struct nl_request *rq, struct err *err);
/*
 * Asks for a list (RTM_GET*) and visits its messages. fn returns 0 to go on, or -errno with err filled by it. At most
 * NL_DUMP_MAX messages are visited (-E2BIG). -EINTR: the list changed meanwhile, ask again.
 */
#define NL_DUMP_MAX 65536
int nl_dump(struct nl *nl, struct nl_request *rq, int (*fn)(const struct nlmsghdr *h, void *ctx, struct err *err),
	void *ctx, struct err *err) must_check;
