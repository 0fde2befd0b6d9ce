/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says for every request what its payload is and how many descriptors go with it. A payload has exactly the
 * size of its kind: a front end that sends another one means something else than we would read.
 */
#include "virtio/vhost_user_msg.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	HDR_VERSION_MASK = 3,
	HDR_VERSION = 1,
	HDR_REPLY = 1 << 2,
	HDR_NEED_REPLY = 1 << 3,

	STATE_BYTES = 8,
	ADDR_BYTES = 40,
	MEM_HDR_BYTES = 8,
	REGION_BYTES = 32,
	CONFIG_HDR_BYTES = 12,

	VRING_INDEX_MASK = 0xff,
	VRING_NO_FD = 1 << 8,
};

static_assert(
	MEM_HDR_BYTES + GUEST_MEM_REGIONS_MAX * REGION_BYTES <= VHOST_USER_PAYLOAD_MAX, "a full memory table fits");

enum kind { KIND_UNKNOWN, KIND_EMPTY, KIND_U64, KIND_STATE, KIND_ADDR, KIND_MEM, KIND_VRING_FD, KIND_CONFIG };

static const struct {
	const char *name;
	enum kind kind;
} requests[VHOST_USER_REQUESTS] = {
	[VHOST_USER_GET_FEATURES] = {"GET_FEATURES", KIND_EMPTY},
	[VHOST_USER_SET_FEATURES] = {"SET_FEATURES", KIND_U64},
	[VHOST_USER_SET_OWNER] = {"SET_OWNER", KIND_EMPTY},
	[VHOST_USER_RESET_OWNER] = {"RESET_OWNER", KIND_EMPTY},
	[VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", KIND_MEM},
	[VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", KIND_STATE},
	[VHOST_USER_SET_VRING_ADDR] = {"SET_VRING_ADDR", KIND_ADDR},
	[VHOST_USER_SET_VRING_BASE] = {"SET_VRING_BASE", KIND_STATE},
	[VHOST_USER_GET_VRING_BASE] = {"GET_VRING_BASE", KIND_STATE},
	[VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", KIND_VRING_FD},
	[VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", KIND_VRING_FD},
	[VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", KIND_VRING_FD},
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", KIND_EMPTY},
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", KIND_U64},
	[VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", KIND_EMPTY},
	[VHOST_USER_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", KIND_STATE},
	[VHOST_USER_GET_CONFIG] = {"GET_CONFIG", KIND_CONFIG},
	[VHOST_USER_SET_CONFIG] = {"SET_CONFIG", KIND_CONFIG},
	[VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", KIND_EMPTY},
};

/* Payload bytes of the kinds that have one size; the others are judged by their contents. */
static const uint32_t kind_bytes[] = {
	[KIND_EMPTY] = 0,
	[KIND_U64] = 8,
	[KIND_STATE] = STATE_BYTES,
	[KIND_ADDR] = ADDR_BYTES,
	[KIND_VRING_FD] = 8,
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

const char *vhost_user_msg_name(uint32_t request)
{
	return request < VHOST_USER_REQUESTS && requests[request].name ? requests[request].name : "request";
}

int vhost_user_msg_header(struct vhost_user_hdr *ret, const uint8_t bytes[VHOST_USER_HDR_BYTES], struct err *err)
{
	uint32_t request = get32(bytes), flags = get32(bytes + 4), size = get32(bytes + 8);

	if ((flags & HDR_VERSION_MASK) != HDR_VERSION || flags & HDR_REPLY)
		return err_set(err, EPROTO,
			"%s %" PRIu32 ": flags 0x%" PRIx32 " are not those of a request of version 1",
			vhost_user_msg_name(request), request, flags);
	if (size > VHOST_USER_PAYLOAD_MAX)
		return err_set(err, EPROTO, "%s %" PRIu32 ": payload of %" PRIu32 " bytes, at most %d are known",
			vhost_user_msg_name(request), request, size, VHOST_USER_PAYLOAD_MAX);
	*ret = (struct vhost_user_hdr){.request = request, .need_reply = flags & HDR_NEED_REPLY, .size = size};
	return 0;
}

static int bad_size(const struct vhost_user_hdr *hdr, struct err *err)
{
	return err_set(err, EINVAL, "%s: payload of %" PRIu32 " bytes does not fit it",
		vhost_user_msg_name(hdr->request), hdr->size);
}

static int parse_mem(struct vhost_user_msg *m, const uint8_t *p, struct err *err)
{
	if (m->hdr.size < MEM_HDR_BYTES)
		return bad_size(&m->hdr, err);
	m->mem.n = get32(p);
	if (m->mem.n == 0 || m->mem.n > GUEST_MEM_REGIONS_MAX)
		return err_set(err, EINVAL, "SET_MEM_TABLE: %" PRIu32 " regions, not 1 to %d", m->mem.n,
			GUEST_MEM_REGIONS_MAX);
	if (m->hdr.size != MEM_HDR_BYTES + m->mem.n * REGION_BYTES)
		return bad_size(&m->hdr, err);
	p += MEM_HDR_BYTES;
	for (uint32_t i = 0; i < m->mem.n; i++, p += REGION_BYTES)
		m->mem.regions[i] = (struct vhost_user_region){
			.gpa = get64(p), .size = get64(p + 8), .uva = get64(p + 16), .offset = get64(p + 24)};
	m->n_fds = m->mem.n;
	return 0;
}

static int parse_vring_fd(struct vhost_user_msg *m, const uint8_t *p, struct err *err)
{
	uint64_t v = get64(p);

	if (v & ~(uint64_t)(VRING_INDEX_MASK | VRING_NO_FD))
		return err_set(
			err, EINVAL, "%s: 0x%" PRIx64 " has unknown bits", vhost_user_msg_name(m->hdr.request), v);
	m->vring_fd.index = v & VRING_INDEX_MASK;
	m->vring_fd.no_fd = v & VRING_NO_FD;
	m->n_fds = m->vring_fd.no_fd ? 0 : 1;
	return 0;
}

static int parse_config(struct vhost_user_msg *m, const uint8_t *p, struct err *err)
{
	if (m->hdr.size < CONFIG_HDR_BYTES)
		return bad_size(&m->hdr, err);
	m->config.offset = get32(p);
	m->config.size = get32(p + 4);
	m->config.flags = get32(p + 8);
	if (m->hdr.size - CONFIG_HDR_BYTES != m->config.size)
		return bad_size(&m->hdr, err);
	return 0;
}

int vhost_user_msg_parse(struct vhost_user_msg *ret, const struct vhost_user_hdr *hdr, const uint8_t *payload,
	unsigned n_fds, struct err *err)
{
	struct vhost_user_msg m = {.hdr = *hdr};
	enum kind kind = hdr->request < VHOST_USER_REQUESTS ? requests[hdr->request].kind : KIND_UNKNOWN;
	int r = 0;

	if (kind == KIND_UNKNOWN)
		return err_set(err, EINVAL, "request %" PRIu32 " is not known here", hdr->request);
	if (kind != KIND_MEM && kind != KIND_CONFIG && hdr->size != kind_bytes[kind])
		return bad_size(hdr, err);
	if (kind == KIND_U64) {
		m.u64 = get64(payload);
	} else if (kind == KIND_STATE) {
		m.state.index = get32(payload);
		m.state.num = get32(payload + 4);
	} else if (kind == KIND_ADDR) {
		m.addr.index = get32(payload);
		m.addr.flags = get32(payload + 4);
		m.addr.desc = get64(payload + 8);
		m.addr.used = get64(payload + 16);
		m.addr.avail = get64(payload + 24); /* the last 8 bytes are for logging, which we do not offer */
	} else if (kind == KIND_MEM) {
		r = parse_mem(&m, payload, err);
	} else if (kind == KIND_VRING_FD) {
		r = parse_vring_fd(&m, payload, err);
	} else if (kind == KIND_CONFIG) {
		r = parse_config(&m, payload, err);
	}
	if (r < 0)
		return r;
	if (n_fds < m.n_fds)
		return err_set(err, EINVAL, "%s: %u descriptors came, %u are needed", vhost_user_msg_name(hdr->request),
			n_fds, m.n_fds);
	*ret = m;
	return 0;
}

static void put_header(uint8_t *dst, uint32_t request, uint32_t size)
{
	put32(dst, request);
	put32(dst + 4, HDR_VERSION | HDR_REPLY);
	put32(dst + 8, size);
}

size_t vhost_user_msg_reply_u64(uint8_t *dst, uint32_t request, uint64_t value)
{
	put_header(dst, request, sizeof(value));
	memcpy(dst + VHOST_USER_HDR_BYTES, &value, sizeof(value));
	return VHOST_USER_HDR_BYTES + sizeof(value);
}

size_t vhost_user_msg_reply_state(uint8_t *dst, uint32_t request, uint32_t index, uint32_t num)
{
	put_header(dst, request, STATE_BYTES);
	put32(dst + VHOST_USER_HDR_BYTES, index);
	put32(dst + VHOST_USER_HDR_BYTES + 4, num);
	return VHOST_USER_HDR_BYTES + STATE_BYTES;
}

size_t vhost_user_msg_reply_config(uint8_t *dst, const struct vhost_user_msg *m, uint8_t **ret_region)
{
	uint8_t *p = dst + VHOST_USER_HDR_BYTES;

	if (!m) {
		put_header(dst, VHOST_USER_GET_CONFIG, 0);
		return VHOST_USER_HDR_BYTES;
	}
	put_header(dst, VHOST_USER_GET_CONFIG, CONFIG_HDR_BYTES + m->config.size);
	put32(p, m->config.offset);
	put32(p + 4, m->config.size);
	put32(p + 8, m->config.flags);
	*ret_region = p + CONFIG_HDR_BYTES;
	return VHOST_USER_HDR_BYTES + CONFIG_HDR_BYTES + m->config.size;
}
