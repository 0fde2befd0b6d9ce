/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration structure, virtio 1.2 §4.1.4.3, and the driver's steps through the device status. */
#include "base/bytes.h"
#include "virtio/virtio_pci_int.h"

enum {
	/* virtio 1.2 §4.1.4.3 */
	COMMON_DEVICE_FEATURE_SELECT = 0,
	COMMON_DEVICE_FEATURE = 4,
	COMMON_DRIVER_FEATURE_SELECT = 8,
	COMMON_DRIVER_FEATURE = 12,
	COMMON_CONFIG_VECTOR = 16,
	COMMON_NUM_QUEUES = 18,
	COMMON_STATUS = 20,
	COMMON_GENERATION = 21,
	COMMON_QUEUE_SELECT = 22,
	COMMON_QUEUE_SIZE = 24,
	COMMON_QUEUE_VECTOR = 26,
	COMMON_QUEUE_ENABLE = 28,
	COMMON_QUEUE_NOTIFY_OFF = 30,
	COMMON_QUEUE_DESC = 32,
	COMMON_QUEUE_DRIVER = 40,
	COMMON_QUEUE_DEVICE = 48,

	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_DRIVER_BITS = 1 | 2 | STATUS_DRIVER_OK | STATUS_FEATURES_OK | 128,
};

#define BIT(n) (UINT64_C(1) << (n))

uint64_t vp_features(const struct virtio_pci *vp)
{
	return vp->dev->ops->features | BIT(VIRTIO_BIT_VERSION_1) | BIT(VIRTIO_BIT_EVENT_IDX) |
	       BIT(VIRTIO_BIT_INDIRECT_DESC);
}

void vp_reset_registers(struct virtio_pci *vp)
{
	const struct virtio_ops *ops = vp->dev->ops;

	vp->device_feature_select = vp->driver_feature_select = 0;
	vp->driver_features = 0;
	vp->status = 0;
	vp->queue_select = 0;
	__atomic_store_n(&vp->config_vector, MSIX_NO_VECTOR, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < ops->n_queues; i++) {
		struct vp_queue *q = &vp->queues[i];

		q->size = ops->queue_size ? ops->queue_size : QUEUE_SIZE_DEFAULT;
		q->enabled = false;
		q->desc = q->driver = q->device = 0;
		__atomic_store_n(&q->vector, MSIX_NO_VECTOR, __ATOMIC_RELAXED);
	}
}

static void set_status(struct virtio_pci *vp, uint8_t v)
{
	uint8_t added;

	if (v == 0) {
		vp_hand_over(vp, CALL_RESET);
		vp_reset_registers(vp);
		return;
	}
	added = v & STATUS_DRIVER_BITS & (uint8_t)~vp->status;
	if (vp->status & ~v)
		return;
	if (added & STATUS_FEATURES_OK &&
		(vp->driver_features & ~vp_features(vp) || !(vp->driver_features & BIT(VIRTIO_BIT_VERSION_1))))
		added &= (uint8_t)~STATUS_FEATURES_OK;
	if (!((vp->status | added) & STATUS_FEATURES_OK))
		added &= (uint8_t)~STATUS_DRIVER_OK;
	vp->status |= added;
	if (added & STATUS_DRIVER_OK)
		vp_hand_over(vp, CALL_ACTIVATE);
}

static uint8_t get_status(const struct virtio_pci *vp)
{
	return vp->status | (__atomic_load_n(&vp->needs_reset, __ATOMIC_SEQ_CST) ? STATUS_NEEDS_RESET : 0);
}

static struct vp_queue *selected(struct virtio_pci *vp)
{
	return vp->queue_select < vp->dev->ops->n_queues ? &vp->queues[vp->queue_select] : NULL;
}

/* One half of a 64-bit register. */
static uint32_t half_get(uint64_t reg, unsigned off)
{
	return off & 4 ? (uint32_t)(reg >> 32) : (uint32_t)reg;
}

static void half_set(uint64_t *reg, unsigned off, uint32_t v)
{
	*reg = off & 4 ? (*reg & UINT32_MAX) | (uint64_t)v << 32 : (*reg & ~(uint64_t)UINT32_MAX) | v;
}

static uint64_t *queue_addr(struct vp_queue *q, unsigned off)
{
	if (off < COMMON_QUEUE_DRIVER)
		return &q->desc;
	return off < COMMON_QUEUE_DEVICE ? &q->driver : &q->device;
}

/* Registers have one width (virtio 1.2 §4.1.3.1); those of 64 bits are two of 32. */
static bool common_has(unsigned off, unsigned len)
{
	switch (off) {
	case COMMON_STATUS:
	case COMMON_GENERATION:
		return len == 1;
	case COMMON_DEVICE_FEATURE_SELECT:
	case COMMON_DEVICE_FEATURE:
	case COMMON_DRIVER_FEATURE_SELECT:
	case COMMON_DRIVER_FEATURE:
		return len == 4;
	default:
		return off >= COMMON_CONFIG_VECTOR && off < VP_COMMON_LEN && len == (off < COMMON_QUEUE_DESC ? 2 : 4);
	}
}

static uint32_t common_get_queue(const struct virtio_pci *vp, struct vp_queue *q, unsigned off)
{
	if (!q)
		return off == COMMON_QUEUE_VECTOR ? MSIX_NO_VECTOR : 0;
	switch (off) {
	case COMMON_QUEUE_SIZE:
		return q->size;
	case COMMON_QUEUE_VECTOR:
		return q->vector;
	case COMMON_QUEUE_ENABLE:
		return q->enabled;
	case COMMON_QUEUE_NOTIFY_OFF:
		return vp->queue_select;
	default:
		return half_get(*queue_addr(q, off), off);
	}
}

static uint32_t common_get(struct virtio_pci *vp, unsigned off)
{
	uint32_t v;

	switch (off) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return vp->device_feature_select;
	case COMMON_DEVICE_FEATURE:
		return vp->device_feature_select < 2 ? half_get(vp_features(vp), 4 * vp->device_feature_select) : 0;
	case COMMON_DRIVER_FEATURE_SELECT:
		return vp->driver_feature_select;
	case COMMON_DRIVER_FEATURE:
		return vp->driver_feature_select < 2 ? half_get(vp->driver_features, 4 * vp->driver_feature_select) : 0;
	case COMMON_CONFIG_VECTOR:
		return vp->config_vector;
	case COMMON_NUM_QUEUES:
		return vp->dev->ops->n_queues;
	case COMMON_STATUS:
		return get_status(vp);
	case COMMON_GENERATION:
		(void)pthread_mutex_lock(&vp->config_lock);
		v = vp->generation;
		(void)pthread_mutex_unlock(&vp->config_lock);
		return v;
	case COMMON_QUEUE_SELECT:
		return vp->queue_select;
	default:
		return common_get_queue(vp, selected(vp), off);
	}
}

/* A vector that does not exist reads back as none, which tells the driver. */
static void vector_set(struct virtio_pci *vp, uint16_t *vector, uint32_t v)
{
	__atomic_store_n(vector, v < vp->msix.n ? (uint16_t)v : MSIX_NO_VECTOR, __ATOMIC_RELAXED);
}

static void common_set_queue(struct virtio_pci *vp, struct vp_queue *q, unsigned off, uint32_t v)
{
	if (!q)
		return;
	if (off == COMMON_QUEUE_VECTOR) {
		vector_set(vp, &q->vector, v);
		return;
	}
	if (q->enabled || vp->status & STATUS_DRIVER_OK)
		return;
	switch (off) {
	case COMMON_QUEUE_SIZE:
		q->size = (uint16_t)v; /* queue_start judges it */
		break;
	case COMMON_QUEUE_ENABLE:
		q->enabled = v == 1;
		break;
	case COMMON_QUEUE_NOTIFY_OFF:
		break;
	default:
		half_set(queue_addr(q, off), off, v);
	}
}

static void common_set(struct virtio_pci *vp, unsigned off, uint32_t v)
{
	switch (off) {
	case COMMON_DEVICE_FEATURE_SELECT:
		vp->device_feature_select = v;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		vp->driver_feature_select = v;
		break;
	case COMMON_DRIVER_FEATURE:
		if (vp->driver_feature_select < 2 && !(vp->status & STATUS_FEATURES_OK))
			half_set(&vp->driver_features, 4 * vp->driver_feature_select, v);
		break;
	case COMMON_CONFIG_VECTOR:
		vector_set(vp, &vp->config_vector, v);
		break;
	case COMMON_STATUS:
		set_status(vp, (uint8_t)v);
		break;
	case COMMON_QUEUE_SELECT:
		vp->queue_select = (uint16_t)v;
		break;
	case COMMON_DEVICE_FEATURE: /* read-only */
	case COMMON_NUM_QUEUES:
	case COMMON_GENERATION:
		break;
	default:
		common_set_queue(vp, selected(vp), off, v);
	}
}

void vp_common_read(struct virtio_pci *vp, unsigned off, uint8_t *dst, unsigned len)
{
	uint8_t v[4];

	if (len == 8) {
		vp_common_read(vp, off, dst, 4);
		vp_common_read(vp, off + 4, dst + 4, 4);
	} else if (common_has(off, len)) {
		put_le32(v, common_get(vp, off));
		memcpy(dst, v, len);
	}
}

void vp_common_write(struct virtio_pci *vp, unsigned off, const uint8_t *src, unsigned len)
{
	uint8_t v[4] = {0};

	if (len == 8) {
		vp_common_write(vp, off, src, 4);
		vp_common_write(vp, off + 4, src + 4, 4);
	} else if (common_has(off, len)) {
		memcpy(v, src, len);
		common_set(vp, off, get_le32(v));
	}
}
