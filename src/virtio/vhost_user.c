/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user connection: cuts the stream into messages, carries them out (vhost_user_dev.c) and answers.
 *
 * Header and payload are read separately and never beyond, so the descriptors that arrive while the bytes of a message
 * are read are those of that message; the ones that it does not use are closed.
 *
 * A request that is refused changes nothing. The front end learns of it by a non-zero reply if it asked for one
 * (REPLY_ACK); if it did not, it would go on with a wrong idea of this device, so the connection ends. Requests that
 * are not known, or belong to protocol features that are not offered (logging, postcopy, IOTLB, in-flight buffers,
 * memory slots, status), are refused like that too. A front end that does not read its replies is cut off: they never
 * fill a socket buffer otherwise, and waiting would stop the loop.
 *
 * Offered protocol features: MQ, REPLY_ACK, RESET_DEVICE, and CONFIG where the back end owns the config space (for
 * virtio-fs, QEMU keeps it and warns about a back end that offers it).
 */
#include "virtio/vhost_user.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "virtio/vhost_user_dev.h"

#define BIT(n) (UINT64_C(1) << (n))
#define TURN_MESSAGES 16 /* handled before other sources get their turn */
#define DEVICE_ID_FS 26	 /* virtio 1.2 §5 */

struct vhost_user {
	struct vhost_user_dev d;
	int sock;
	struct loop_fd src;
	uint64_t protocol_features; /* negotiated */
	uint8_t in[VHOST_USER_MSG_MAX];
	size_t have; /* bytes of the message being read */
	bool have_hdr;
	struct vhost_user_hdr hdr;
	int fds[GUEST_MEM_REGIONS_MAX]; /* that came with it */
	unsigned n_fds;
	uint8_t out[VHOST_USER_MSG_MAX];
	void (*closed)(void *ctx, const struct err *why);
	void *ctx;
};

static void close_fds(struct vhost_user *vu)
{
	while (vu->n_fds > 0)
		close_fd(&vu->fds[--vu->n_fds]);
}

static void disconnect(struct vhost_user *vu)
{
	loop_remove_fd(&vu->src);
	close_fd(&vu->sock);
	close_fds(vu);
	vhost_user_dev_fini(&vu->d);
}

/* The owner may free vu in the callback: the caller touches it no more. */
static void end_connection(struct vhost_user *vu, const struct err *why)
{
	disconnect(vu);
	vu->closed(vu->ctx, why);
}

static uint64_t offered_protocol_features(const struct vhost_user *vu)
{
	const struct virtio_ops *ops = vu->d.dev->ops;
	uint64_t bits = BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
			BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE);

	return ops->config_len > 0 && ops->device_id != DEVICE_ID_FS ? bits | BIT(VHOST_USER_PROTOCOL_F_CONFIG) : bits;
}

static size_t get_config(struct vhost_user *vu, const struct vhost_user_msg *m)
{
	const struct virtio_ops *ops = vu->d.dev->ops;
	uint8_t *region;
	size_t n;

	if (m->config.offset > ops->config_len || m->config.size > ops->config_len - m->config.offset)
		return vhost_user_msg_reply_config(vu->out, NULL, NULL);
	n = vhost_user_msg_reply_config(vu->out, m, &region);
	if (m->config.size > 0)
		ops->config_read(vu->d.dev, m->config.offset, region, m->config.size);
	return n;
}

/* Requests that have a reply of their own. Returns its bytes in vu->out, 0 if this is no such request, or -errno. */
static int handle_get(struct vhost_user *vu, const struct vhost_user_msg *m, struct err *err)
{
	uint16_t base;
	int r;

	switch (m->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		return (int)vhost_user_msg_reply_u64(vu->out, m->hdr.request, vhost_user_dev_features(&vu->d));
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return (int)vhost_user_msg_reply_u64(vu->out, m->hdr.request, offered_protocol_features(vu));
	case VHOST_USER_GET_QUEUE_NUM:
		return (int)vhost_user_msg_reply_u64(vu->out, m->hdr.request, vu->d.dev->ops->n_queues);
	case VHOST_USER_GET_CONFIG:
		return (int)get_config(vu, m);
	case VHOST_USER_GET_VRING_BASE:
		r = vhost_user_dev_stop_ring(&vu->d, m, &base, err);
		return r < 0 ? r : (int)vhost_user_msg_reply_state(vu->out, m->hdr.request, m->state.index, base);
	default:
		return 0;
	}
}

static int handle_set(struct vhost_user *vu, const struct vhost_user_msg *m, struct err *err)
{
	switch (m->hdr.request) {
	case VHOST_USER_SET_OWNER:
		return 0;
	case VHOST_USER_SET_FEATURES:
		return vhost_user_dev_set_features(&vu->d, m->u64, err);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		if (m->u64 & ~offered_protocol_features(vu))
			return err_set(err, EINVAL, "SET_PROTOCOL_FEATURES: 0x%" PRIx64 " was not offered",
				m->u64 & ~offered_protocol_features(vu));
		vu->protocol_features = m->u64;
		return 0;
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_RESET_DEVICE:
		vhost_user_dev_reset(&vu->d);
		return 0;
	case VHOST_USER_SET_MEM_TABLE:
		return vhost_user_dev_set_mem(&vu->d, m, vu->fds, err);
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_ADDR:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		return vhost_user_dev_set_ring(&vu->d, m, err);
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return vhost_user_dev_set_ring_fd(&vu->d, m, &vu->fds[0], err);
	default: /* SET_CONFIG: no device here has fields that the driver writes */
		return err_set(err, ENOTSUP, "%s is not supported", vhost_user_msg_name(m->hdr.request));
	}
}

static int send_reply(struct vhost_user *vu, size_t n, struct err *err)
{
	ssize_t sent = send(vu->sock, vu->out, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return err_errno(err, "reply");
	return (size_t)sent == n ? 0 : err_set(err, EPROTO, "the front end does not read its replies");
}

/* One whole message is in vu->in. < 0: the connection cannot go on. */
static int handle_message(struct vhost_user *vu, struct err *err)
{
	bool ack = vu->hdr.need_reply && vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	const char *name = vhost_user_msg_name(vu->hdr.request), *dev = vu->d.dev->ops->name;
	struct err refusal = {0};
	struct vhost_user_msg m;
	int r, reply = 0;

	r = vhost_user_msg_parse(&m, &vu->hdr, vu->in + VHOST_USER_HDR_BYTES, vu->n_fds, &refusal);
	if (r == 0)
		r = reply = handle_get(vu, &m, &refusal);
	if (r == 0)
		r = handle_set(vu, &m, &refusal);
	log_debug("vhost-user %s: %s (%" PRIu32 "), %" PRIu32 " bytes, %u fds%s%s", dev, name, vu->hdr.request,
		vu->hdr.size, vu->n_fds, r < 0 ? ": " : "", refusal.msg);
	close_fds(vu);
	if (r < 0 && !ack)
		return err_set(err, refusal.code, "%s", refusal.msg);
	if (vhost_user_dev_update(&vu->d, err) < 0)
		return -err->code;
	if (reply > 0)
		return send_reply(vu, (size_t)reply, err);
	return ack ? send_reply(vu, vhost_user_msg_reply_u64(vu->out, vu->hdr.request, r < 0), err) : 0;
}

/* Reads on. 1: a message is complete. 0: nothing more for now. 2: end of the stream. */
static int read_message(struct vhost_user *vu, struct err *err)
{
	for (;;) {
		size_t want = VHOST_USER_HDR_BYTES + (vu->have_hdr ? vu->hdr.size : 0), n;
		int fds[FD_PASS_MAX], r;
		unsigned n_fds;

		if (vu->have == want && vu->have_hdr)
			return 1;
		if (vu->have == want) {
			r = vhost_user_msg_header(&vu->hdr, vu->in, err);
			if (r < 0)
				return r;
			vu->have_hdr = true;
			continue;
		}
		r = fd_recv(vu->sock, vu->in + vu->have, want - vu->have, &n, fds, &n_fds, err);
		if (r == -EAGAIN)
			return 0;
		if (r == -ECONNRESET)
			return 2;
		if (r < 0)
			return r;
		for (unsigned i = 0; i < n_fds; i++) {
			if (vu->n_fds < ARRAY_SIZE(vu->fds))
				vu->fds[vu->n_fds++] = fds[i];
			else
				close_fd(&fds[i]);
		}
		if (n == 0)
			return vu->have == 0 ? 2 : err_set(err, EPROTO, "the connection ended within a message");
		vu->have += n;
	}
}

static void on_socket(struct loop_fd *src, uint32_t events)
{
	struct vhost_user *vu = container_of(src, struct vhost_user, src);
	struct err err = {0};

	for (unsigned i = 0; i < TURN_MESSAGES; i++) {
		int r = read_message(vu, &err);

		if (r == 0)
			return;
		if (r == 2) {
			err = (struct err){0};
			end_connection(vu, &err);
			return;
		}
		if (r == 1) {
			r = handle_message(vu, &err);
			vu->have = 0;
			vu->have_hdr = false;
		}
		if (r < 0) {
			(void)err_wrap(&err, "vhost-user %s", vu->d.dev->ops->name);
			end_connection(vu, &err);
			return;
		}
	}
}

int vhost_user_new(struct vhost_user **ret, struct loop *loop, struct virtio_dev *dev, int sock,
	void (*closed)(void *ctx, const struct err *why), void *ctx, struct err *err)
{
	struct vhost_user *vu;
	int r;

	if (dev->transport) {
		close_fd(&sock);
		return err_set(err, EBUSY, "vhost-user %s: it has a front end already", dev->ops->name);
	}
	vu = calloc(1, sizeof(*vu));
	if (!vu) {
		close_fd(&sock);
		return err_set(err, ENOMEM, "vhost-user %s: out of memory", dev->ops->name);
	}
	vu->sock = sock;
	vu->closed = closed;
	vu->ctx = ctx;
	vhost_user_dev_init(&vu->d, loop, dev);
	r = fd_set_nonblock(sock, true, err);
	if (r == 0)
		r = loop_add_fd(loop, &vu->src, sock, EPOLLIN, on_socket, err);
	if (r < 0) {
		r = err_wrap(err, "vhost-user %s", dev->ops->name);
		vhost_user_free(vu);
		return r;
	}
	*ret = vu;
	return 0;
}

void vhost_user_free(struct vhost_user *vu)
{
	if (!vu)
		return;
	if (vu->sock >= 0)
		disconnect(vu);
	free(vu);
}

void vhost_user_drop_rss(struct vhost_user *vu)
{
	vhost_user_mem_drop_rss(&vu->d.mem);
}
