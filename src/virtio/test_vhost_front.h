/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The front end's side of vhost-user, for unit tests: a connection over a socketpair, messages in their wire form, a memfd as
 * guest memory, and a device that records what happens to it. Everything runs in one thread: front_run turns the loop
 * until the back end has nothing left to do.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "virtio/test_driver.h"
#include "virtio/vhost_user.h"
#include "virtio/vhost_user_msg.h"

#define FRONT_UVA UINT64_C(0x7f0000000000) /* where "our" VMM has its guest memory */
#define FRONT_RINGS 3
#define FRONT_SIZE 16
#define FRONT_MEM (1u << 20)
#define FRONT_VERSION_1 (UINT64_C(1) << VIRTIO_BIT_VERSION_1)
#define FRONT_EVENT_IDX (UINT64_C(1) << VIRTIO_BIT_EVENT_IDX)
#define FRONT_PROTOCOL (UINT64_C(1) << VHOST_USER_BIT_PROTOCOL_FEATURES)
#define FRONT_REPLY_ACK (UINT64_C(1) << VHOST_USER_PROTOCOL_F_REPLY_ACK)
#define FRONT_NEED_REPLY 8u

struct front_region {
	uint64_t gpa, size, uva, offset;
};

/* The device: returns every chain at once with length 0, or keeps them. */
struct front_dev {
	struct virtio_dev dev;
	struct virtio_ops ops;
	unsigned activations, resets, notifies[FRONT_RINGS];
	bool started[FRONT_RINGS]; /* at the last activate */
	bool keep;		   /* chains stay in flight */
	bool break_rule;	   /* the next notify answers -EPROTO */
	bool fail_activate;
	uint16_t kept;
	struct chain c;
};

struct front {
	struct loop *loop;
	struct front_dev fd;
	struct vhost_user *vu;
	int sock;
	struct drv_vm vm;
	struct drv_queue dq[FRONT_RINGS];
	int kick[FRONT_RINGS], call[FRONT_RINGS], err[FRONT_RINGS];
	gpa_t buf;
	unsigned closed;
	struct err why;
	bool free_in_closed;
};

/* --- the device --- */

static inline struct front_dev *front_dev_of(struct virtio_dev *dev)
{
	return container_of(dev, struct front_dev, dev);
}

static inline void front_config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	static const uint8_t config[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

	memcpy(dst, config + off, len);
}

static inline int front_activate(struct virtio_dev *dev, struct err *err)
{
	struct front_dev *fd = front_dev_of(dev);

	if (fd->fail_activate)
		return err_set(err, ENOMEM, "no memory for that");
	fd->activations++;
	for (unsigned i = 0; i < FRONT_RINGS; i++)
		fd->started[i] = queue_is_started(&dev->queues[i]);
	return 0;
}

static inline int front_notify(struct virtio_dev *dev, unsigned index)
{
	struct front_dev *fd = front_dev_of(dev);
	int r;

	assert(dev->active);
	fd->notifies[index]++;
	if (fd->break_rule)
		return -EPROTO;
	while ((r = queue_pop(&dev->queues[index], &fd->c)) == 1) {
		fd->kept = fd->c.head;
		if (!fd->keep && queue_push(&dev->queues[index], fd->c.head, 0) < 0)
			return -EPROTO;
	}
	virtio_signal(dev, index);
	return r;
}

static inline void front_reset(struct virtio_dev *dev)
{
	assert(dev->active);
	front_dev_of(dev)->resets++;
}

/* --- the connection --- */

static inline void front_closed(void *ctx, const struct err *why)
{
	struct front *f = ctx;

	f->closed++;
	f->why = *why;
	if (!f->free_in_closed)
		return;
	vhost_user_free(f->vu);
	f->vu = NULL;
}

drv_fn struct front *front_new(void)
{
	struct front *f = calloc(1, sizeof(*f));
	int pair[2];

	assert(f);
	f->fd.ops = (struct virtio_ops){.device_id = 19,
		.name = "test",
		.features = 1 << 3,
		.n_queues = FRONT_RINGS,
		.config_len = 12,
		.config_read = front_config_read,
		.activate = front_activate,
		.notify = front_notify,
		.reset = front_reset};
	f->fd.dev.ops = &f->fd.ops;
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	f->fd.dev.loop = f->loop;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->sock = pair[0];
	assert_int_equal(vhost_user_new(&f->vu, f->loop, &f->fd.dev, pair[1], front_closed, f, NULL), 0);
	assert_int_equal(fd_set_nonblock(f->sock, true, NULL), 0);
	drv_vm_init_shared(&f->vm, FRONT_MEM);
	for (unsigned i = 0; i < FRONT_RINGS; i++) {
		drv_queue_init(&f->dq[i], &f->vm, FRONT_SIZE, FRONT_EVENT_IDX);
		f->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->err[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(f->kick[i] >= 0 && f->call[i] >= 0 && f->err[i] >= 0);
	}
	f->buf = drv_alloc(&f->vm, 4096, 4096);
	return f;
}

drv_fn void front_free(struct front *f)
{
	vhost_user_free(f->vu);
	close_fd(&f->sock);
	for (unsigned i = 0; i < FRONT_RINGS; i++) {
		close_fd(&f->kick[i]);
		close_fd(&f->call[i]);
		close_fd(&f->err[i]);
	}
	drv_vm_fini(&f->vm);
	loop_free(f->loop);
	free(f);
}

/* Until nothing is due: level-triggered sources of the back end are then all quiet. */
drv_fn void front_run(struct front *f)
{
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(loop_turn(f->loop, 0), 0);
}

drv_fn void front_send_fds(struct front *f, const void *bytes, size_t n, const int *fds, unsigned n_fds)
{
	assert_int_equal(fd_send(f->sock, bytes, n, fds, n_fds, NULL), 0);
}

/* One message in its wire form; returns its length. */
drv_fn size_t front_encode(uint8_t *dst, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	const uint32_t hdr[3] = {request, flags | 1, size};

	memcpy(dst, hdr, sizeof(hdr));
	if (size)
		memcpy(dst + sizeof(hdr), payload, size);
	return sizeof(hdr) + size;
}

struct front_msg {
	uint32_t request, flags; /* FRONT_NEED_REPLY or 0 */
	const void *payload;
	uint32_t size;
	const int *fds;
	unsigned n_fds;
};

drv_fn void front_send(struct front *f, const struct front_msg *m)
{
	uint8_t bytes[512];
	size_t n = front_encode(bytes, m->request, m->flags, m->payload, m->size);

	front_send_fds(f, bytes, n, m->fds, m->n_fds);
	front_run(f);
}

/* Reads a reply; returns the bytes of its payload, or -1 if there is none. */
drv_fn int front_reply(struct front *f, uint32_t request, void *payload, size_t size)
{
	uint32_t hdr[3];
	ssize_t n = recv(f->sock, hdr, sizeof(hdr), 0);

	if (n <= 0)
		return -1;
	assert_int_equal(n, sizeof(hdr));
	assert_int_equal(hdr[0], request);
	assert_int_equal(hdr[1], 1 | 4);
	assert_true(hdr[2] <= size);
	if (hdr[2] > 0)
		assert_int_equal(recv(f->sock, payload, hdr[2], 0), hdr[2]);
	return (int)hdr[2];
}

drv_fn void front_u64(struct front *f, uint32_t request, uint64_t v)
{
	front_send(f, &(struct front_msg){.request = request, .payload = &v, .size = 8});
}

drv_fn uint64_t front_get_u64(struct front *f, uint32_t request)
{
	uint64_t v = 0;

	front_send(f, &(struct front_msg){.request = request});
	assert_int_equal(front_reply(f, request, &v, sizeof(v)), 8);
	return v;
}

drv_fn void front_state(struct front *f, uint32_t request, uint32_t index, uint32_t num)
{
	const uint32_t state[2] = {index, num};

	front_send(f, &(struct front_msg){.request = request, .payload = state, .size = 8});
}

drv_fn uint32_t front_stop(struct front *f, uint32_t index)
{
	uint32_t state[2] = {0};

	front_state(f, VHOST_USER_GET_VRING_BASE, index, 0);
	assert_int_equal(front_reply(f, VHOST_USER_GET_VRING_BASE, state, sizeof(state)), 8);
	assert_int_equal(state[0], index);
	return state[1];
}

drv_fn void front_ring_fd(struct front *f, uint32_t request, uint64_t index, int fd)
{
	uint64_t v = index | (fd < 0 ? 1 << 8 : 0);

	front_send(f,
		&(struct front_msg){.request = request, .payload = &v, .size = 8, .fds = &fd, .n_fds = fd < 0 ? 0 : 1});
}

/* The answer to a message that asks for one: 0, or not 0 if it was refused. -1: no answer. */
drv_fn int64_t front_ask(struct front *f, struct front_msg m)
{
	uint64_t v = 0;

	m.flags |= FRONT_NEED_REPLY;
	front_send(f, &m);
	return front_reply(f, m.request, &v, sizeof(v)) == 8 ? (int64_t)v : -1;
}

drv_fn uint32_t front_mem_payload(uint8_t dst[264], const struct front_region *r, uint32_t n)
{
	const uint32_t head[2] = {n, 0};

	memcpy(dst, head, 8);
	memcpy(dst + 8, r, n * sizeof(*r));
	return 8 + n * (uint32_t)sizeof(*r);
}

/* Shares the test's memory as one region. */
drv_fn void front_share(struct front *f)
{
	const struct front_region r = {DRV_GPA, FRONT_MEM, FRONT_UVA, 0};
	uint8_t payload[264];
	uint32_t n = front_mem_payload(payload, &r, 1);

	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_MEM_TABLE,
			      .payload = payload,
			      .size = n,
			      .fds = &f->vm.fd,
			      .n_fds = 1});
}

drv_fn uint64_t front_uva(gpa_t gpa)
{
	return FRONT_UVA + (gpa - DRV_GPA);
}

drv_fn void front_addr(struct front *f, uint32_t index, const struct queue_cfg *cfg)
{
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = {index, 0, front_uva(cfg->desc), front_uva(cfg->used), front_uva(cfg->avail), 0};

	front_send(
		f, &(struct front_msg){.request = VHOST_USER_SET_VRING_ADDR, .payload = &addr, .size = sizeof(addr)});
}

/* What QEMU sends to start a ring, up to the kick. */
drv_fn void front_configure(struct front *f, uint32_t index, uint32_t base)
{
	front_state(f, VHOST_USER_SET_VRING_NUM, index, FRONT_SIZE);
	front_state(f, VHOST_USER_SET_VRING_BASE, index, base);
	front_addr(f, index, &f->dq[index].cfg);
	front_ring_fd(f, VHOST_USER_SET_VRING_KICK, index, f->kick[index]);
	front_ring_fd(f, VHOST_USER_SET_VRING_CALL, index, f->call[index]);
	front_ring_fd(f, VHOST_USER_SET_VRING_ERR, index, f->err[index]);
}

drv_fn void front_enable(struct front *f, unsigned n, uint32_t on)
{
	for (unsigned i = 0; i < n; i++)
		front_state(f, VHOST_USER_SET_VRING_ENABLE, i, on);
}

/* The whole start for rings 0..n-1 with REPLY_ACK and EVENT_IDX, as QEMU does it. */
drv_fn void front_start(struct front *f, unsigned n)
{
	front_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, FRONT_REPLY_ACK);
	front_send(f, &(struct front_msg){.request = VHOST_USER_SET_OWNER});
	front_u64(f, VHOST_USER_SET_FEATURES, FRONT_VERSION_1 | FRONT_EVENT_IDX | FRONT_PROTOCOL);
	front_share(f);
	for (unsigned i = 0; i < n; i++)
		front_configure(f, i, 0);
	front_enable(f, n, 1);
}

/* The event count of an eventfd, 0 if none is there. */
drv_fn uint64_t front_events(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

/* Adds a chain of one buffer to a ring, and kicks if a driver would. */
drv_fn bool front_add(struct front *f, unsigned ring)
{
	const struct drv_buf b = {f->buf, 64, true};
	const uint64_t one = 1;

	if (drv_add(&f->dq[ring], &b, 1) < 0)
		return false;
	if (drv_publish(&f->dq[ring]))
		assert_int_equal(write(f->kick[ring], &one, sizeof(one)), sizeof(one));
	front_run(f);
	return true;
}
