/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A driver of virtio-pci for unit tests and fuzz targets: it finds everything through the capabilities, as a guest does,
 * and the machine's side counts interrupts. With it a toy device that echoes: what a chain reads is what it writes.
 *
 *   toy_init / any device -> pd_init -> pd_probe -> pd_negotiate -> pd_queue ... -> pd_driver_ok -> drv_add, pd_kick
 */
#include "virtio/test_driver.h"
#include "virtio/virtio_pci.h"

#define PD_SLOT 3
#define PD_BAR UINT64_C(0xe0008000)
#define PD_VECTORS 17

/* status bits */
#define PD_ACK 1
#define PD_DRIVER 2
#define PD_DRIVER_OK 4
#define PD_FEATURES_OK 8
#define PD_NEEDS_RESET 64

/* common configuration */
enum {
	PD_DEV_FEAT_SEL = 0,
	PD_DEV_FEAT = 4,
	PD_DRV_FEAT_SEL = 8,
	PD_DRV_FEAT = 12,
	PD_CONFIG_VECTOR = 16,
	PD_N_QUEUES = 18,
	PD_STATUS = 20,
	PD_GENERATION = 21,
	PD_Q_SELECT = 22,
	PD_Q_SIZE = 24,
	PD_Q_VECTOR = 26,
	PD_Q_ENABLE = 28,
	PD_Q_NOTIFY_OFF = 30,
	PD_Q_DESC = 32,
	PD_Q_DRIVER = 40,
	PD_Q_DEVICE = 48,
};

struct pd {
	struct drv_vm *vm;
	struct pci_bus bus;
	struct virtio_pci *vp;
	struct virtio_dev *dev;
	/* found in the capabilities; offsets in the BAR */
	unsigned msix_cap, window_cap;
	uint32_t common, notify, isr, config, msix, pba, notify_step;
	/* the machine's side */
	unsigned irqs[PD_VECTORS]; /* atomic */
	unsigned changes;
	struct {
		uint64_t addr;
		uint32_t data;
		bool live;
	} routes[PD_VECTORS];
};

drv_fn void pd_on_msix(void *ctx, unsigned slot, unsigned vector, uint64_t addr, uint32_t data, bool masked)
{
	struct pd *pd = ctx;

	assert(slot == PD_SLOT && vector < PD_VECTORS);
	pd->changes++;
	pd->routes[vector].addr = addr;
	pd->routes[vector].data = data;
	pd->routes[vector].live = !masked;
}

drv_fn void pd_on_irq(void *ctx, unsigned slot, unsigned vector)
{
	struct pd *pd = ctx;

	assert(slot == PD_SLOT && vector < PD_VECTORS && pd->routes[vector].live);
	__atomic_fetch_add(&pd->irqs[vector], 1, __ATOMIC_SEQ_CST);
}

drv_fn uint32_t pd_cfg_get(struct pd *pd, unsigned off, unsigned len)
{
	uint8_t v[4] = {0};

	pci_config_read(&pd->bus, PD_SLOT << 15 | off, v, len);
	return get_le32(v);
}

drv_fn void pd_cfg_set(struct pd *pd, unsigned off, unsigned len, uint32_t value)
{
	uint8_t v[4];

	put_le32(v, value);
	pci_config_write(&pd->bus, PD_SLOT << 15 | off, v, len);
}

drv_fn uint64_t pd_get(struct pd *pd, uint32_t off, unsigned len)
{
	uint8_t v[8] = {0};
	bool hit = pci_mmio_read(&pd->bus, PD_BAR + off, v, len);

	assert(hit);
	(void)hit;
	return get_le64(v);
}

drv_fn void pd_set(struct pd *pd, uint32_t off, unsigned len, uint64_t value)
{
	uint8_t v[8];
	bool hit;

	put_le64(v, value);
	hit = pci_mmio_write(&pd->bus, PD_BAR + off, v, len);
	assert(hit);
	(void)hit;
}

/* Puts `dev` on a bus of its own; memory decoding is on. */
drv_fn void pd_init(struct pd *pd, struct drv_vm *vm, struct virtio_dev *dev)
{
	static const struct virtio_pci_ops ops = {pd_on_msix, pd_on_irq};
	int r;

	*pd = (struct pd){.vm = vm, .dev = dev};
	pci_bus_init(&pd->bus);
	r = virtio_pci_new(&pd->vp, &pd->bus, PD_SLOT, dev, &vm->gm, PD_BAR, &ops, pd, NULL);
	assert(r == 0);
	(void)r;
	pd_cfg_set(pd, 4, 2, 6);
}

drv_fn void pd_fini(struct pd *pd)
{
	virtio_pci_free(pd->vp);
	pci_bus_fini(&pd->bus);
}

/* Reads the capabilities. */
drv_fn void pd_probe(struct pd *pd)
{
	unsigned guard = 0;

	for (unsigned at = pd_cfg_get(pd, 0x34, 1); at; at = pd_cfg_get(pd, at + 1, 1)) {
		uint32_t offset = pd_cfg_get(pd, at + 8, 4);

		assert(guard++ < 16 && at >= 0x40);
		if (pd_cfg_get(pd, at, 1) == 0x11) {
			pd->msix_cap = at;
			pd->msix = pd_cfg_get(pd, at + 4, 4);
			pd->pba = pd_cfg_get(pd, at + 8, 4);
			continue;
		}
		switch (pd_cfg_get(pd, at + 3, 1)) {
		case 1:
			pd->common = offset;
			break;
		case 2:
			pd->notify = offset;
			pd->notify_step = pd_cfg_get(pd, at + 16, 4);
			break;
		case 3:
			pd->isr = offset;
			break;
		case 4:
			pd->config = offset;
			break;
		case 5:
			pd->window_cap = at;
			break;
		}
	}
}

drv_fn uint8_t pd_status(struct pd *pd)
{
	return (uint8_t)pd_get(pd, pd->common + PD_STATUS, 1);
}

drv_fn void pd_set_status(struct pd *pd, uint8_t v)
{
	pd_set(pd, pd->common + PD_STATUS, 1, v);
}

drv_fn uint64_t pd_features(struct pd *pd)
{
	uint64_t v;

	pd_set(pd, pd->common + PD_DEV_FEAT_SEL, 4, 0);
	v = pd_get(pd, pd->common + PD_DEV_FEAT, 4);
	pd_set(pd, pd->common + PD_DEV_FEAT_SEL, 4, 1);
	return v | pd_get(pd, pd->common + PD_DEV_FEAT, 4) << 32;
}

/* True if the device accepted the features. */
drv_fn bool pd_negotiate(struct pd *pd, uint64_t features)
{
	pd_set_status(pd, 0);
	pd_set_status(pd, PD_ACK);
	pd_set_status(pd, PD_ACK | PD_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		pd_set(pd, pd->common + PD_DRV_FEAT_SEL, 4, i);
		pd_set(pd, pd->common + PD_DRV_FEAT, 4, features >> 32 * i & UINT32_MAX);
	}
	pd_set_status(pd, PD_ACK | PD_DRIVER | PD_FEATURES_OK);
	return pd_status(pd) & PD_FEATURES_OK;
}

/* Lays out queue i with `size` entries, gives it vector i and enables it. */
drv_fn void pd_queue(struct pd *pd, struct drv_queue *dq, unsigned i, uint16_t size, uint64_t features)
{
	drv_queue_init(dq, pd->vm, size, features);
	pd_set(pd, pd->common + PD_Q_SELECT, 2, i);
	pd_set(pd, pd->common + PD_Q_SIZE, 2, size);
	pd_set(pd, pd->common + PD_Q_VECTOR, 2, i);
	pd_set(pd, pd->common + PD_Q_DESC, 8, dq->cfg.desc);
	pd_set(pd, pd->common + PD_Q_DRIVER, 4, (uint32_t)dq->cfg.avail);
	pd_set(pd, pd->common + PD_Q_DRIVER + 4, 4, dq->cfg.avail >> 32);
	pd_set(pd, pd->common + PD_Q_DEVICE, 8, dq->cfg.used);
	pd_set(pd, pd->common + PD_Q_ENABLE, 2, 1);
}

/* Routes and unmasks a vector. */
drv_fn void pd_unmask(struct pd *pd, unsigned vector)
{
	uint32_t at = pd->msix + 16 * vector;

	pd_set(pd, at, 4, 0xfee00000 + vector * 0x1000);
	pd_set(pd, at + 4, 4, 0);
	pd_set(pd, at + 8, 4, 0x40 + vector);
	pd_set(pd, at + 12, 4, 0);
}

drv_fn void pd_msix_enable(struct pd *pd, bool on)
{
	pd_cfg_set(pd, pd->msix_cap + 2, 2, on ? 0x8000 : 0);
}

drv_fn void pd_driver_ok(struct pd *pd)
{
	pd_set_status(pd, pd_status(pd) | PD_DRIVER_OK);
}

drv_fn void pd_kick(struct pd *pd, unsigned queue)
{
	pd_set(pd, pd->notify + queue * pd->notify_step, 2, queue);
}

/* ---- the toy ---- */

#define TOY_QUEUES 2

struct toy {
	struct virtio_dev dev;
	struct chain chain;
	uint8_t config[12];
	unsigned activations, resets, notifies[TOY_QUEUES];
	bool refuse; /* activate fails */
};

drv_fn struct toy *toy_of(struct virtio_dev *dev)
{
	return container_of(dev, struct toy, dev);
}

drv_fn void toy_config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	assert(off < 12 && len <= 12 - off);
	memcpy(dst, toy_of(dev)->config + off, len);
}

/* Only the second half may be written. */
drv_fn void toy_config_write(struct virtio_dev *dev, uint32_t off, const void *src, uint32_t len)
{
	assert(off < 12 && len <= 12 - off);
	virtio_config_begin(dev);
	for (uint32_t i = 0; i < len; i++)
		if (off + i >= 6)
			toy_of(dev)->config[off + i] = ((const uint8_t *)src)[i];
	virtio_config_end(dev);
}

drv_fn int toy_activate(struct virtio_dev *dev, struct err *err)
{
	assert(!toy_of(dev)->refuse || dev->active);
	if (toy_of(dev)->refuse)
		return err_set(err, 5, "refused");
	toy_of(dev)->activations++;
	return 0;
}

drv_fn int toy_notify(struct virtio_dev *dev, unsigned index)
{
	struct toy *toy = toy_of(dev);
	struct chain *c = &toy->chain;
	int r = 1;

	assert(dev->active);
	toy->notifies[index]++;
	while ((r = queue_pop(&dev->queues[index], c)) > 0) {
		uint8_t buf[64];
		size_t n = iov_read(chain_out(c), c->n_out, 0, buf, sizeof(buf));

		n = iov_write(chain_in(c), c->n_in, 0, buf, n);
		r = queue_push(&dev->queues[index], c->head, (uint32_t)n);
		assert(r == 0);
	}
	virtio_signal(dev, index);
	return r;
}

drv_fn void toy_reset(struct virtio_dev *dev)
{
	toy_of(dev)->resets++;
}

drv_fn void toy_init(struct toy *toy, struct loop *loop)
{
	static const struct virtio_ops ops = {
		.device_id = 63,
		.name = "toy",
		.features = UINT64_C(1) << 3 | UINT64_C(1) << 40,
		.n_queues = TOY_QUEUES,
		.queue_size = 64,
		.config_len = 12,
		.config_read = toy_config_read,
		.config_write = toy_config_write,
		.activate = toy_activate,
		.notify = toy_notify,
		.reset = toy_reset,
	};

	*toy = (struct toy){.dev = {.ops = &ops, .loop = loop}};
	for (uint8_t i = 0; i < 12; i++)
		toy->config[i] = 0xa0 + i;
}
