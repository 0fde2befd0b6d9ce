/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-pci between its files. What is guarded by what:
 *   pci.lock    the registers that the driver sees (struct vp_queue, status, selects); held by every access, also while
 *               it waits for the loop
 *   call_lock   the hand-over between an access and the loop
 *   config_lock the device's configuration and its generation; a leaf
 *   atomics     what the loop changes while an access may wait for it: needs_reset, isr, kicks; and the vectors, which the
 *               loop reads
 * The loop therefore never takes pci.lock. A session's queues belong to the loop: an access fills vp->queues, and activate,
 * on the loop, copies them into the device's.
 */
#include "virtio/msix.h"
#include "virtio/virtio_pci.h"

#define VP_COMMON_LEN 56 /* bytes of the common configuration, virtio 1.2 §4.1.4.3 */

enum vp_call { CALL_NONE, CALL_ACTIVATE, CALL_RESET, CALL_CONFIG_WRITE };

struct vp_queue {
	uint16_t size;
	uint16_t vector; /* atomic */
	bool enabled;
	uint64_t desc, driver, device;
};

struct virtio_pci {
	struct pci_dev pci;
	struct pci_bus *bus;
	unsigned slot;
	struct virtio_dev *dev;
	struct virtio_transport transport;
	const struct virtio_pci_ops *ops;
	void *ctx;
	struct msix msix;
	unsigned msix_cap, window_cap; /* offsets in config space */

	/* registers */
	uint32_t device_feature_select, driver_feature_select;
	uint64_t driver_features;
	uint8_t status;
	uint16_t queue_select;
	struct vp_queue queues[VIRTIO_QUEUES_MAX];

	/* atomic */
	uint16_t config_vector;
	uint8_t isr;
	bool needs_reset;
	uint32_t kicks; /* queues to notify */

	pthread_mutex_t config_lock;
	uint8_t generation;

	/* the hand-over */
	pthread_t loop_thread;
	pthread_mutex_t call_lock;
	pthread_cond_t called;
	enum vp_call call;
	bool closed;
	uint32_t write_off, write_len; /* of CALL_CONFIG_WRITE */
	uint8_t write_data[8];
	int wake_fd;
	struct loop_fd wake_src;
};

/* virtio_pci_common.c; with pci.lock held. `len` 1, 2, 4 or 8, off < 4096; dst stays as it is where there is no register. */
void vp_common_read(struct virtio_pci *vp, unsigned off, uint8_t *dst, unsigned len);
void vp_common_write(struct virtio_pci *vp, unsigned off, const uint8_t *src, unsigned len);
void vp_reset_registers(struct virtio_pci *vp);
/* What is offered to the driver. */
uint64_t vp_features(const struct virtio_pci *vp);

/* virtio_pci_session.c */
int vp_session_init(struct virtio_pci *vp, struct err *err) must_check;
/* Resets the device too. */
void vp_session_fini(struct virtio_pci *vp);
/* Has the loop do it and waits, with pci.lock held. */
void vp_hand_over(struct virtio_pci *vp, enum vp_call call);
/* The driver kicked, in any thread: the loop will notify. */
void vp_post_kick(struct virtio_pci *vp, unsigned queue);
