/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The messages of the vhost-user protocol (QEMU docs/interop/vhost-user.rst) as bytes: no I/O, no state. A message is
 * a header of VHOST_USER_HDR_BYTES, then hdr.size bytes of payload. Numbers are in the machine's byte order.
 */
#include <stdbool.h>
#include <stdint.h>

#include "virtio/guest_mem.h"

#define VHOST_USER_HDR_BYTES 12
#define VHOST_USER_CONFIG_MAX 256
#define VHOST_USER_PAYLOAD_MAX (12 + VHOST_USER_CONFIG_MAX) /* the largest that we take; a full memory table is 264 */
#define VHOST_USER_MSG_MAX (VHOST_USER_HDR_BYTES + VHOST_USER_PAYLOAD_MAX)

/* Requests of the front end that this back end knows; every other number is refused. */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_REQUESTS, /* one more than the last that is known */
};

/* Bits of the protocol features. */
enum {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
};
/* The bit of GET_FEATURES that says that there are protocol features. Never seen by a driver. */
#define VHOST_USER_BIT_PROTOCOL_FEATURES 30

struct vhost_user_hdr {
	uint32_t request;
	bool need_reply;
	uint32_t size; /* of the payload, <= VHOST_USER_PAYLOAD_MAX */
};

struct vhost_user_region {
	gpa_t gpa;
	uint64_t size;	 /* bytes */
	uint64_t uva;	 /* the address in the front end, by which it names rings */
	uint64_t offset; /* of the region in the file behind its descriptor */
};

/* A checked message; which member of the union counts follows from hdr.request. */
struct vhost_user_msg {
	struct vhost_user_hdr hdr;
	unsigned n_fds; /* descriptors that belong to it: they must have come with it, further ones are closed */
	union {
		uint64_t u64; /* *_FEATURES */
		struct {
			uint32_t index, num;
		} state; /* SET_VRING_NUM, _BASE, _ENABLE, GET_VRING_BASE */
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail; /* addresses in the front end */
		} addr;				    /* SET_VRING_ADDR */
		struct {
			uint32_t n; /* 1..GUEST_MEM_REGIONS_MAX */
			struct vhost_user_region regions[GUEST_MEM_REGIONS_MAX];
		} mem; /* SET_MEM_TABLE */
		struct {
			uint32_t index;
			bool no_fd;
		} vring_fd; /* SET_VRING_KICK, _CALL, _ERR */
		struct {
			uint32_t offset, size, flags; /* size <= VHOST_USER_CONFIG_MAX */
		} config;			      /* GET_CONFIG, SET_CONFIG (its contents are not kept) */
	};
};

/* The name of a request for messages to people; "request" if it is not known. */
const char *vhost_user_msg_name(uint32_t request);

/*
 * Reads a header. -EPROTO: another protocol version, a reply, or a payload that is larger than any known one; nothing
 * that follows in the stream can be understood.
 */
int vhost_user_msg_header(
	struct vhost_user_hdr *ret, const uint8_t bytes[VHOST_USER_HDR_BYTES], struct err *err) must_check;

/*
 * Checks a message: `payload` has hdr->size bytes, n_fds descriptors came along. -EINVAL: a request that is not known
 * or not well-formed, in a stream that is still in step. Indices of rings and guest addresses are not judged here.
 */
int vhost_user_msg_parse(struct vhost_user_msg *ret, const struct vhost_user_hdr *hdr, const uint8_t *payload,
	unsigned n_fds, struct err *err) must_check;

/* Build a reply to `request` in dst (room for VHOST_USER_MSG_MAX). Return its bytes. */
size_t vhost_user_msg_reply_u64(uint8_t *dst, uint32_t request, uint64_t value);
size_t vhost_user_msg_reply_state(uint8_t *dst, uint32_t request, uint32_t index, uint32_t num);
/* The reply to GET_CONFIG with room for m->config.size bytes at *ret_region; a NULL m is the refusal (no payload). */
size_t vhost_user_msg_reply_config(uint8_t *dst, const struct vhost_user_msg *m, uint8_t **ret_region);
