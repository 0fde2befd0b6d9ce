/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and sessions. The front end sets a ring up piece by piece in any order; a ring is
 *
 *   configured   it has a size, addresses and a kick descriptor
 *   ready        configured and enabled (at once if the front end did not negotiate PROTOCOL_FEATURES)
 *   running      ready, features and memory are known, and the device is active
 *   held         running, then disabled: chains in flight may end, new ones wait
 *   stopped      after GET_VRING_BASE: its kick descriptor is closed, it must be configured again
 *
 * Activation: when at least one ring is ready and no configured ring is still disabled. QEMU configures all rings
 * before it enables the first, so a device finds all of them at activate; a front end that brings up ring after ring
 * activates the device with the first, and the others start later. Waiting for ops->n_queues would be wrong: QEMU
 * never passes on the event queue of virtio-vsock.
 *
 * End of a session: the protocol has no message for "the driver reset the device" in QEMU 7.2; it looks like the stop
 * of a VM that will go on: disable and GET_VRING_BASE for every ring. So a stop keeps the session if nothing is in
 * flight, and what comes next decides: rings that go on from where they stopped (SET_VRING_BASE says so) continue it;
 * a ring that restarts elsewhere (a new driver begins at 0), other features, RESET_DEVICE (QEMU 8.2 and later) or
 * RESET_OWNER end it. A driver that is replaced after exactly 65536 * n chains on every ring is taken for the old
 * one; fs sees the new FUSE_INIT then, and vsock peers' connections are refused by the guest one by one. A ring that
 * is stopped with chains in flight ends the session at once: the memory may belong to another driver right after the
 * reply, and only ops->reset is sure to leave no thread behind that writes there. For the same reason
 * VHOST_USER_PROTOCOL_F_STATUS is not offered: QEMU sends status 0 for a pause as well, so that it could mean nothing
 * but a reset.
 *
 * A ring that breaks a rule (bad addresses or size at start, -EPROTO from the device later): its err descriptor is
 * signalled, nothing of the device runs any more, the connection and the process go on.
 *
 * Descriptors come from the front end and may be anything. They are made non-blocking, so a full pipe cannot stop the
 * loop. The process must ignore SIGPIPE.
 */
#include "virtio/vhost_user_dev.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#define BIT(n) (UINT64_C(1) << (n))

static unsigned ring_index(const struct vhost_user_ring *ring)
{
	return (unsigned)(ring - ring->owner->rings);
}

static struct queue *ring_queue(const struct vhost_user_ring *ring)
{
	return &ring->owner->dev->queues[ring_index(ring)];
}

static bool ring_configured(const struct vhost_user_ring *ring)
{
	return ring->has_num && ring->has_addr && ring->kick_fd >= 0;
}

static bool ring_enabled(const struct vhost_user_ring *ring)
{
	return ring->enabled || !ring->owner->rings_start_disabled;
}

static unsigned in_flight(const struct vhost_user_dev *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->dev->ops->n_queues; i++)
		n += queue_in_flight(&d->dev->queues[i]);
	return n;
}

/* A full eventfd or pipe is as good as one more event. */
static void raise_event(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

/* The device can do no more: hold everything, tell the front end by the rings' err descriptors (NULL: all of them). */
static void set_broken(struct vhost_user_dev *d, const struct vhost_user_ring *culprit)
{
	if (d->state == VHOST_USER_BROKEN)
		return;
	d->state = VHOST_USER_BROKEN;
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++) {
		struct vhost_user_ring *ring = &d->rings[i];

		loop_remove_fd(&ring->kick_src);
		queue_hold(ring_queue(ring), true);
		ring->notify_due = false;
		if (ring->err_fd >= 0 && (!culprit || culprit == ring))
			raise_event(ring->err_fd);
	}
	log_debug("vhost-user %s: broken, waits for a reset", d->dev->ops->name);
}

static void ring_notify(struct vhost_user_ring *ring)
{
	struct vhost_user_dev *d = ring->owner;

	if (d->dev->ops->notify(d->dev, ring_index(ring)) < 0)
		set_broken(d, ring);
}

static void on_kick(struct loop_fd *src, uint32_t events)
{
	struct vhost_user_ring *ring = container_of(src, struct vhost_user_ring, kick_src);
	uint64_t count;
	ssize_t n = read(src->fd, &count, sizeof(count));

	if (n < 0 && (errno == EAGAIN || errno == EINTR) && events & EPOLLIN)
		return;
	if (n <= 0)
		set_broken(ring->owner, ring);
	else
		ring_notify(ring);
}

static void on_start_timer(struct loop_timer *t)
{
	struct vhost_user_dev *d = container_of(t, struct vhost_user_dev, start_timer);

	for (unsigned i = 0; i < d->dev->ops->n_queues; i++) {
		struct vhost_user_ring *ring = &d->rings[i];

		if (!ring->notify_due)
			continue;
		ring->notify_due = false;
		ring_notify(ring);
	}
}

static void on_signal(struct virtio_transport *t, unsigned index)
{
	struct vhost_user_ring *ring = &container_of(t, struct vhost_user_dev, transport)->rings[index];

	if (ring->call_fd >= 0)
		raise_event(ring->call_fd);
	else
		ring->call_pending = true;
}

static void on_broken(struct virtio_transport *t)
{
	set_broken(container_of(t, struct vhost_user_dev, transport), NULL);
}

void vhost_user_dev_init(struct vhost_user_dev *d, struct loop *loop, struct virtio_dev *dev)
{
	*d = (struct vhost_user_dev){.dev = dev, .loop = loop, .transport = {on_signal, on_broken}};
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		d->rings[i].owner = d;
		d->rings[i].kick_fd = d->rings[i].call_fd = d->rings[i].err_fd = -1;
	}
	dev->transport = &d->transport;
	dev->mem = &d->mem.gm;
}

/* Resets the device and stops all queues; where each stood is kept. */
static void end_session(struct vhost_user_dev *d, enum vhost_user_state next)
{
	if (d->dev->active)
		d->dev->ops->reset(d->dev);
	d->dev->active = false;
	loop_timer_cancel(&d->start_timer);
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++) {
		struct vhost_user_ring *ring = &d->rings[i];
		struct queue *q = ring_queue(ring);

		loop_remove_fd(&ring->kick_src);
		if (queue_is_started(q))
			ring->base = queue_stop(q);
		ring->ran = ring->notify_due = ring->call_pending = false;
	}
	vhost_user_mem_release(&d->mem);
	d->state = next;
}

/* After a session that is over the device stays idle until the front end has stopped the last ring. */
static void settle(struct vhost_user_dev *d)
{
	if (d->state != VHOST_USER_BROKEN && d->state != VHOST_USER_ENDED)
		return;
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++)
		if (d->rings[i].kick_fd >= 0)
			return;
	end_session(d, VHOST_USER_INACTIVE);
}

void vhost_user_dev_reset(struct vhost_user_dev *d)
{
	end_session(d, VHOST_USER_INACTIVE);
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++) {
		close_fd(&d->rings[i].kick_fd);
		d->rings[i].enabled = false;
	}
}

void vhost_user_dev_fini(struct vhost_user_dev *d)
{
	vhost_user_dev_reset(d);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		close_fd(&d->rings[i].call_fd);
		close_fd(&d->rings[i].err_fd);
	}
	vhost_user_mem_fini(&d->mem);
	d->dev->transport = NULL;
	d->dev->mem = NULL;
}

uint64_t vhost_user_dev_features(const struct vhost_user_dev *d)
{
	return d->dev->ops->features | BIT(VIRTIO_BIT_VERSION_1) | BIT(VIRTIO_BIT_EVENT_IDX) |
	       BIT(VIRTIO_BIT_INDIRECT_DESC) | BIT(VHOST_USER_BIT_PROTOCOL_FEATURES);
}

int vhost_user_dev_set_features(struct vhost_user_dev *d, uint64_t features, struct err *err)
{
	uint64_t unknown = features & ~vhost_user_dev_features(d);
	uint64_t virtio = features & ~BIT(VHOST_USER_BIT_PROTOCOL_FEATURES);

	if (unknown)
		return err_set(err, EINVAL, "SET_FEATURES: 0x%" PRIx64 " was not offered", unknown);
	if (!(features & BIT(VIRTIO_BIT_VERSION_1)))
		return err_set(err, EPROTO,
			"SET_FEATURES: the driver does not accept VIRTIO_F_VERSION_1 (a legacy transport?)");
	if (d->dev->active && virtio != d->features) {
		for (unsigned i = 0; i < d->dev->ops->n_queues; i++)
			if (queue_is_started(&d->dev->queues[i]))
				return err_set(err, EBUSY, "SET_FEATURES: other features while ring %u runs", i);
		end_session(d, VHOST_USER_INACTIVE);
	}
	d->features = virtio;
	d->rings_start_disabled = features & BIT(VHOST_USER_BIT_PROTOCOL_FEATURES);
	d->has_features = true;
	return 0;
}

int vhost_user_dev_set_mem(struct vhost_user_dev *d, const struct vhost_user_msg *m, const int *fds, struct err *err)
{
	int r;

	if (in_flight(d) == 0)
		vhost_user_mem_release(&d->mem);
	else if (d->mem.n_retired > 0)
		return err_set(err, EBUSY, "SET_MEM_TABLE: requests of the table before the last are still in flight");
	r = vhost_user_mem_set(&d->mem, m->mem.regions, m->mem.n, fds, err);
	if (r < 0)
		return err_wrap(err, "SET_MEM_TABLE");
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++)
		if (queue_remap(&d->dev->queues[i], &d->mem.gm, NULL) < 0)
			set_broken(d, &d->rings[i]);
	if (in_flight(d) == 0)
		vhost_user_mem_release(&d->mem);
	return 0;
}

static struct vhost_user_ring *find_ring(
	struct vhost_user_dev *d, const struct vhost_user_msg *m, uint32_t index, struct err *err)
{
	if (index < d->dev->ops->n_queues)
		return &d->rings[index];
	(void)err_set(err, EINVAL, "%s: ring %" PRIu32 " of a device with %u", vhost_user_msg_name(m->hdr.request),
		index, d->dev->ops->n_queues);
	return NULL;
}

static int set_base(struct vhost_user_dev *d, struct vhost_user_ring *ring, uint32_t base, struct err *err)
{
	if (base > UINT16_MAX)
		return err_set(err, EINVAL, "SET_VRING_BASE: %" PRIu32 " is not an index of a split ring", base);
	if (queue_is_started(ring_queue(ring)))
		return err_set(err, EBUSY, "SET_VRING_BASE: ring %u runs", ring_index(ring));
	/* Not where the ring stopped: this is another driver, or the same one after a reset. */
	if (d->dev->active && ring->ran && base != ring->base)
		end_session(d, VHOST_USER_INACTIVE);
	ring->base = (uint16_t)base;
	return 0;
}

int vhost_user_dev_set_ring(struct vhost_user_dev *d, const struct vhost_user_msg *m, struct err *err)
{
	uint32_t index = m->hdr.request == VHOST_USER_SET_VRING_ADDR ? m->addr.index : m->state.index;
	struct vhost_user_ring *ring = find_ring(d, m, index, err);

	if (!ring)
		return -EINVAL;
	switch (m->hdr.request) {
	case VHOST_USER_SET_VRING_NUM:
		/* The size may come from the driver: a bad one breaks the ring when it starts, not the connection. */
		ring->num = m->state.num <= QUEUE_SIZE_MAX ? (uint16_t)m->state.num : 0;
		ring->has_num = true;
		return 0;
	case VHOST_USER_SET_VRING_ADDR:
		if (m->addr.flags)
			return err_set(err, ENOTSUP, "SET_VRING_ADDR: flags 0x%" PRIx32 " (logging) are not supported",
				m->addr.flags);
		ring->desc = m->addr.desc;
		ring->used = m->addr.used;
		ring->avail = m->addr.avail;
		ring->has_addr = true;
		return 0;
	case VHOST_USER_SET_VRING_BASE:
		return set_base(d, ring, m->state.num, err);
	default:
		if (m->state.num > 1)
			return err_set(
				err, EINVAL, "SET_VRING_ENABLE: %" PRIu32 " is neither on nor off", m->state.num);
		ring->enabled = m->state.num;
		return 0;
	}
}

int vhost_user_dev_set_ring_fd(struct vhost_user_dev *d, const struct vhost_user_msg *m, int *fd, struct err *err)
{
	const char *name = vhost_user_msg_name(m->hdr.request);
	struct vhost_user_ring *ring = find_ring(d, m, m->vring_fd.index, err);
	int *slot;

	if (!ring)
		return -EINVAL;
	if (!m->vring_fd.no_fd && fd_set_nonblock(*fd, true, err) < 0)
		return err_wrap(err, "%s", name);
	if (m->hdr.request == VHOST_USER_SET_VRING_KICK) {
		if (m->vring_fd.no_fd)
			return err_set(err, ENOTSUP, "%s: a ring without kicks (polling) is not supported", name);
		loop_remove_fd(&ring->kick_src); /* vhost_user_dev_update watches the new one */
		slot = &ring->kick_fd;
	} else {
		slot = m->hdr.request == VHOST_USER_SET_VRING_CALL ? &ring->call_fd : &ring->err_fd;
	}
	close_fd(slot);
	if (!m->vring_fd.no_fd)
		*slot = take_fd(fd);
	if (ring->call_pending && ring->call_fd >= 0) {
		ring->call_pending = false;
		raise_event(ring->call_fd);
	}
	return 0;
}

int vhost_user_dev_stop_ring(
	struct vhost_user_dev *d, const struct vhost_user_msg *m, uint16_t *ret_base, struct err *err)
{
	struct vhost_user_ring *ring = find_ring(d, m, m->state.index, err);
	struct queue *q;

	if (!ring)
		return -EINVAL;
	q = ring_queue(ring);
	if (queue_in_flight(q) > 0 || (d->state == VHOST_USER_BROKEN && d->dev->active))
		end_session(d, VHOST_USER_ENDED);
	/* The device may have held an interrupt back; whoever goes on with the ring would wait for it for ever. */
	if (d->dev->active)
		virtio_signal(d->dev, ring_index(ring));
	loop_remove_fd(&ring->kick_src);
	ring->notify_due = false;
	if (queue_is_started(q))
		ring->base = queue_stop(q);
	close_fd(&ring->kick_fd);
	settle(d);
	*ret_base = ring->base;
	return 0;
}

static int start_ring(struct vhost_user_ring *ring, struct err *err)
{
	struct vhost_user_dev *d = ring->owner;
	struct queue *q = ring_queue(ring);
	struct queue_cfg cfg = {.size = ring->num};

	if (!vhost_user_mem_gpa(&d->mem, ring->desc, &cfg.desc) ||
		!vhost_user_mem_gpa(&d->mem, ring->avail, &cfg.avail) ||
		!vhost_user_mem_gpa(&d->mem, ring->used, &cfg.used))
		return err_set(err, EINVAL, "outside the memory table");
	q->cfg = cfg;
	return queue_start(q, &d->mem.gm, d->features, ring->base, err);
}

static bool may_start(const struct vhost_user_dev *d)
{
	if (d->state == VHOST_USER_ACTIVE)
		return true;
	if (d->state != VHOST_USER_INACTIVE || !d->has_features || d->mem.n == 0)
		return false;
	for (unsigned i = 0; i < d->dev->ops->n_queues; i++)
		if (ring_configured(&d->rings[i]) && !ring_enabled(&d->rings[i]))
			return false;
	return true;
}

/* Returns how many rings were started, or -errno: the culprit has been dealt with. */
static int start_rings(struct vhost_user_dev *d)
{
	struct err err;
	int n = 0;

	for (unsigned i = 0; i < d->dev->ops->n_queues; i++) {
		struct vhost_user_ring *ring = &d->rings[i];
		int r;

		if (queue_is_started(ring_queue(ring)) || !ring_configured(ring) || !ring_enabled(ring))
			continue;
		r = start_ring(ring, &err);
		if (r < 0) {
			log_debug("vhost-user %s: ring %u: %s", d->dev->ops->name, i, err.msg);
			set_broken(d, ring);
			return r;
		}
		n++;
	}
	return n;
}

/* Brings hold and watch of a started ring in line with `enabled`. */
static int follow_enable(struct vhost_user_ring *ring, struct err *err)
{
	struct vhost_user_dev *d = ring->owner;
	bool run = ring_enabled(ring);

	queue_hold(ring_queue(ring), !run);
	if (run == (ring->kick_src.loop != NULL))
		return 0;
	ring->notify_due = run;
	if (!run) {
		loop_remove_fd(&ring->kick_src);
		return 0;
	}
	ring->ran = true;
	loop_timer_set(d->loop, &d->start_timer, 0, on_start_timer);
	return loop_add_fd(d->loop, &ring->kick_src, ring->kick_fd, EPOLLIN, on_kick, err);
}

/* The device may break already in activate, so the state is set before. */
static int activate(struct vhost_user_dev *d, struct err *err)
{
	int r;

	d->dev->features = d->features;
	d->dev->active = true;
	d->state = VHOST_USER_ACTIVE;
	r = d->dev->ops->activate(d->dev, err);
	if (r == 0)
		return 0;
	d->dev->active = false;
	end_session(d, VHOST_USER_ENDED);
	return err_wrap(err, "activate %s", d->dev->ops->name);
}

int vhost_user_dev_update(struct vhost_user_dev *d, struct err *err)
{
	int r;

	if (may_start(d)) {
		r = start_rings(d);
		if (r > 0 && !d->dev->active)
			r = activate(d, err);
		else if (r < 0)
			r = 0;
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < d->dev->ops->n_queues && d->state == VHOST_USER_ACTIVE; i++) {
		struct vhost_user_ring *ring = &d->rings[i];

		if (queue_is_started(ring_queue(ring)) && follow_enable(ring, err) < 0)
			return err_wrap(err, "ring %u: kick", i);
	}
	return 0;
}
