/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One device behind vhost-user: its rings, its guest memory and the life of the driver's session, without the socket.
 * Each call carries out one request of the front end; on failure it has changed nothing. vhost_user_dev_update
 * follows every one.
 */
#include "virtio/device.h"
#include "virtio/vhost_user_mem.h"

enum vhost_user_state {
	VHOST_USER_INACTIVE, /* no session */
	VHOST_USER_ACTIVE,   /* the device is activated; rings may be running, held or stopped */
	VHOST_USER_BROKEN,   /* a ring or the device broke a rule: nothing runs until every ring was stopped */
	VHOST_USER_ENDED,    /* the session is over, but the front end has not stopped every ring yet */
};

struct vhost_user_dev;

struct vhost_user_ring {
	struct vhost_user_dev *owner;
	struct loop_fd kick_src; /* watched while the ring runs */
	int kick_fd, call_fd, err_fd;
	uint16_t num;		    /* 0: not set, or not a size that a queue can have */
	uint16_t base;		    /* the next index of the available ring, while the ring is stopped */
	uint64_t desc, used, avail; /* addresses in the front end */
	bool has_num, has_addr, enabled;
	bool ran;	   /* in this session */
	bool call_pending; /* an interrupt that had no call_fd to go to */
	bool notify_due;
};

struct vhost_user_dev {
	struct virtio_dev *dev; /* borrowed */
	struct loop *loop;	/* borrowed */
	struct virtio_transport transport;
	enum vhost_user_state state;
	struct vhost_user_mem mem;
	bool has_features;
	uint64_t features;	       /* negotiated, of virtio only */
	bool rings_start_disabled;     /* PROTOCOL_FEATURES was negotiated */
	struct loop_timer start_timer; /* notifies for rings that have just started */
	struct vhost_user_ring rings[VIRTIO_QUEUES_MAX];
};

void vhost_user_dev_init(struct vhost_user_dev *d, struct loop *loop, struct virtio_dev *dev);
/* Resets the device, closes every descriptor, unmaps guest memory. */
void vhost_user_dev_fini(struct vhost_user_dev *d);

/* What may be negotiated, VHOST_USER_BIT_PROTOCOL_FEATURES included. */
uint64_t vhost_user_dev_features(const struct vhost_user_dev *d);
int vhost_user_dev_set_features(struct vhost_user_dev *d, uint64_t features, struct err *err) must_check;
int vhost_user_dev_set_mem(
	struct vhost_user_dev *d, const struct vhost_user_msg *m, const int *fds, struct err *err) must_check;
/* Forgets the session and stops and disables every ring. */
void vhost_user_dev_reset(struct vhost_user_dev *d);

/* SET_VRING_NUM, _ADDR, _BASE, _ENABLE. */
int vhost_user_dev_set_ring(struct vhost_user_dev *d, const struct vhost_user_msg *m, struct err *err) must_check;
/* SET_VRING_KICK, _CALL, _ERR; *fd is taken on success, unless the message says that there is none. */
int vhost_user_dev_set_ring_fd(
	struct vhost_user_dev *d, const struct vhost_user_msg *m, int *fd, struct err *err) must_check;
/* GET_VRING_BASE: stops the ring. */
int vhost_user_dev_stop_ring(
	struct vhost_user_dev *d, const struct vhost_user_msg *m, uint16_t *ret_base, struct err *err) must_check;

/* Starts, holds and lets go what the last request made ready. Fails only if the device cannot be activated. */
int vhost_user_dev_update(struct vhost_user_dev *d, struct err *err) must_check;
