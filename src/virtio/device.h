/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A virtio device, free of any transport and of KVM. The transport (virtio-pci or vhost-user) owns the queues'
 * configuration and calls the ops; the device calls virtio_signal, virtio_broken and virtio_config_begin/end.
 *
 *   state       what happens
 *   inactive    x_new; the transport may read config space and features
 *   active      activate: features are frozen, the queues that the driver enabled are started; notify, config_read
 *   needs reset notify (or virtio_broken) said -EPROTO: the device does nothing more until reset
 *   inactive    reset: everything of the driver's session is dropped
 *
 * A device runs on one loop in one thread; ops are called there only, but for config_read.
 *
 * Which queues run: activate finds those started that the driver had ready by then; another may start later (notify
 * tells), or never (QEMU keeps the event queue of virtio-vsock for itself), and any may be stopped or held for a
 * while when the VM is paused. On a queue that does not run, queue_pop finds nothing and nothing need be done about
 * it; notify is called for each queue that starts or goes on. An interrupt may be held back for a while; when its queue
 * is stopped it comes at once. While chains are in flight a queue is not stopped
 * before reset has returned. Buffers of a popped chain stay mapped until it is pushed or reset has returned; *mem
 * itself changes with the memory map, so other threads keep to the buffers of their chains.
 */
#include "base/loop.h"
#include "virtio/queue.h"

#define VIRTIO_QUEUES_MAX 16
#define QUEUE_SIZE_DEFAULT 128

struct virtio_dev;

struct virtio_ops {
	uint32_t device_id;  /* virtio 1.2 §5 */
	const char *name;    /* "vsock" */
	uint64_t features;   /* device bits; the transport adds VERSION_1, EVENT_IDX, INDIRECT_DESC */
	unsigned n_queues;   /* <= VIRTIO_QUEUES_MAX */
	uint16_t queue_size; /* entries offered for a queue where the transport decides; 0: QUEUE_SIZE_DEFAULT */
	unsigned n_vectors;  /* MSI-X vectors offered; 0: one for each queue and one for changes of the configuration */
	uint32_t config_len;
	/*
	 * Copies [off, off+len) of config space, checked against config_len by the caller. NULL when config_len is 0.
	 * From any thread, also while the device runs, but never between virtio_config_begin and _end. Calls nothing back.
	 */
	void (*config_read)(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len);
	/* The driver writes [off, off+len), checked likewise. NULL: config space is read-only. */
	void (*config_write)(struct virtio_dev *dev, uint32_t off, const void *src, uint32_t len);
	/* dev->mem, dev->features and the started queues are valid from here to reset. */
	int (*activate)(struct virtio_dev *dev, struct err *err);
	/* The driver kicked queue `index`, or may have, or it just started. 0, or -EPROTO: the driver broke a rule. */
	int (*notify)(struct virtio_dev *dev, unsigned index);
	/* Forget the session. When it returns no other thread touches guest memory on behalf of the device. */
	void (*reset)(struct virtio_dev *dev);
};

/* What the transport gives to the device. */
struct virtio_transport {
	/* Raise the interrupt of queue `index` (the device has already asked queue_should_signal). */
	void (*signal)(struct virtio_transport *t, unsigned index);
	/* A rule was broken outside notify: DEVICE_NEEDS_RESET. */
	void (*broken)(struct virtio_transport *t);
	/* Around a change of what config_read returns; end also tells the driver. NULL: the transport cannot tell. */
	void (*config_begin)(struct virtio_transport *t);
	void (*config_end)(struct virtio_transport *t);
};

struct virtio_dev {
	const struct virtio_ops *ops;
	struct loop *loop;		    /* the loop that the device runs on; borrowed */
	struct virtio_transport *transport; /* set by the transport before activate */
	const struct guest_mem *mem;
	uint64_t features; /* negotiated */
	bool active;
	struct queue queues[VIRTIO_QUEUES_MAX];
};

/* Pushes nothing: raises the interrupt if the driver wants one for what was pushed. */
static inline void virtio_signal(struct virtio_dev *dev, unsigned index)
{
	if (queue_should_signal(&dev->queues[index]))
		dev->transport->signal(dev->transport, index);
}

static inline void virtio_broken(struct virtio_dev *dev)
{
	dev->transport->broken(dev->transport);
}

/* The driver sees all of the changes made in between, or none, and is told. Before activate, too. */
static inline void virtio_config_begin(struct virtio_dev *dev)
{
	if (dev->transport && dev->transport->config_begin)
		dev->transport->config_begin(dev->transport);
}

static inline void virtio_config_end(struct virtio_dev *dev)
{
	if (dev->transport && dev->transport->config_end)
		dev->transport->config_end(dev->transport);
}

/* Bits of virtio 1.2 §6 that transports and queues look at. */
#define VIRTIO_BIT_INDIRECT_DESC 28
#define VIRTIO_BIT_EVENT_IDX 29
#define VIRTIO_BIT_VERSION_1 32
