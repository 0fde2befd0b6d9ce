/* SPDX-License-Identifier: Apache-2.0 */
/* The function that the guest finds: its BAR, its config space, and its life. */
#include "virtio/virtio_pci.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio/virtio_pci_int.h"

enum {
	BAR_COMMON = 0x0000,
	BAR_ISR = 0x1000,
	BAR_CONFIG = 0x2000,
	BAR_NOTIFY = 0x3000,
	BAR_MSIX = 0x4000,
	BAR_PBA = 0x4800,
	BAR_AREA = 0x1000,
	NOTIFY_STEP = 4,

	CAP_MSIX = 0x11,
	CAP_VENDOR = 0x09,
	/* a virtio capability, virtio 1.2 §4.1.4 */
	VCAP_LEN = 2,
	VCAP_TYPE = 3,
	VCAP_BAR = 4,
	VCAP_OFFSET = 8,
	VCAP_LENGTH = 12,
	VCAP_EXTRA = 16, /* notify multiplier, or the data of the window */
	VCAP_COMMON = 1,
	VCAP_NOTIFY = 2,
	VCAP_ISR = 3,
	VCAP_DEVICE = 4,
	VCAP_WINDOW = 5,
};

static struct virtio_pci *from_pci(struct pci_dev *pci)
{
	return container_of(pci, struct virtio_pci, pci);
}

static bool config_has(const struct virtio_pci *vp, uint32_t off, unsigned len)
{
	uint32_t end = vp->dev->ops->config_len;

	return off < end && len <= end - off;
}

static void config_write(struct virtio_pci *vp, uint32_t off, const void *src, unsigned len)
{
	if (!vp->dev->ops->config_write || !config_has(vp, off, len))
		return;
	vp->write_off = off;
	vp->write_len = len;
	memcpy(vp->write_data, src, len);
	vp_hand_over(vp, CALL_CONFIG_WRITE);
}

/* `dst` holds all ones, which is what stays where there is no register. */
static void bar_read(struct pci_dev *pci, uint32_t off, void *dst, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint32_t in = off % BAR_AREA;

	switch (off - in) {
	case BAR_COMMON:
		vp_common_read(vp, in, dst, len);
		break;
	case BAR_ISR:
		if (in == 0 && len == 1)
			*(uint8_t *)dst = __atomic_exchange_n(&vp->isr, 0, __ATOMIC_SEQ_CST);
		break;
	case BAR_CONFIG:
		if (!config_has(vp, in, len))
			break;
		(void)pthread_mutex_lock(&vp->config_lock);
		vp->dev->ops->config_read(vp->dev, in, dst, len);
		(void)pthread_mutex_unlock(&vp->config_lock);
		break;
	case BAR_MSIX:
		if (off < BAR_PBA)
			msix_table_read(&vp->msix, in, dst, len);
		else
			msix_pba_read(&vp->msix, off - BAR_PBA, dst, len);
		break;
	}
}

static void bar_write(struct pci_dev *pci, uint32_t off, const void *src, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint32_t in = off % BAR_AREA;

	switch (off - in) {
	case BAR_COMMON:
		vp_common_write(vp, in, src, len);
		break;
	case BAR_CONFIG:
		config_write(vp, in, src, len);
		break;
	case BAR_NOTIFY:
		if (in % NOTIFY_STEP || in / NOTIFY_STEP >= vp->dev->ops->n_queues)
			break;
		vp_post_kick(vp, in / NOTIFY_STEP);
		break;
	case BAR_MSIX:
		if (off < BAR_PBA)
			msix_table_write(&vp->msix, in, src, len);
		break;
	}
}

/* ---- config space ---- */

/* The window of virtio 1.2 §4.1.4.9, for firmware that cannot map BARs: NULL unless it names an access that can be made. */
static uint8_t *window(struct virtio_pci *vp, unsigned off, unsigned len, uint32_t *ret_off, unsigned *ret_len)
{
	uint8_t *cap = vp->pci.cfg + vp->window_cap;
	unsigned data = vp->window_cap + VCAP_EXTRA;
	uint32_t at = get_le32(cap + VCAP_OFFSET), n = get_le32(cap + VCAP_LENGTH);

	if (off >= data + 4 || off + len <= data || cap[VCAP_BAR] != 0 || (n != 1 && n != 2 && n != 4))
		return NULL;
	if (at >= VIRTIO_PCI_BAR_SIZE || at % n)
		return NULL;
	*ret_off = at;
	*ret_len = n;
	return cap + VCAP_EXTRA;
}

static void config_reading(struct pci_dev *pci, unsigned off, unsigned len)
{
	uint32_t at;
	unsigned n;
	uint8_t *data = window(from_pci(pci), off, len, &at, &n);

	if (!data)
		return;
	memset(data, 0xff, n);
	bar_read(pci, at, data, n);
}

static void config_written(struct pci_dev *pci, unsigned off, unsigned len)
{
	struct virtio_pci *vp = from_pci(pci);
	uint32_t at;
	unsigned n;
	uint8_t *data = window(vp, off, len, &at, &n);

	if (data)
		bar_write(pci, at, data, n);
	if (off < vp->msix_cap + 4 && vp->msix_cap + 2 < off + len)
		msix_control(&vp->msix, get_le16(pci->cfg + vp->msix_cap + 2));
}

static unsigned add_cap(struct virtio_pci *vp, uint8_t type, uint32_t offset, uint32_t length, unsigned extra)
{
	unsigned at = pci_dev_cap(&vp->pci, CAP_VENDOR, VCAP_EXTRA + extra);
	uint8_t *cap = vp->pci.cfg + at;

	cap[VCAP_LEN] = (uint8_t)(VCAP_EXTRA + extra);
	cap[VCAP_TYPE] = type;
	put_le32(cap + VCAP_OFFSET, offset);
	put_le32(cap + VCAP_LENGTH, length);
	return at;
}

static void add_caps(struct virtio_pci *vp)
{
	const struct virtio_ops *ops = vp->dev->ops;
	unsigned at;

	at = vp->msix_cap = pci_dev_cap(&vp->pci, CAP_MSIX, 12);
	put_le16(vp->pci.cfg + at + 2, (uint16_t)(vp->msix.n - 1));
	put_le32(vp->pci.cfg + at + 4, BAR_MSIX);
	put_le32(vp->pci.cfg + at + 8, BAR_PBA);
	vp->pci.wmask[at + 3] = 0xc0;
	(void)add_cap(vp, VCAP_COMMON, BAR_COMMON, VP_COMMON_LEN, 0);
	(void)add_cap(vp, VCAP_ISR, BAR_ISR, 1, 0);
	if (ops->config_len)
		(void)add_cap(vp, VCAP_DEVICE, BAR_CONFIG, ops->config_len, 0);
	at = add_cap(vp, VCAP_NOTIFY, BAR_NOTIFY, NOTIFY_STEP * ops->n_queues, 4);
	put_le32(vp->pci.cfg + at + VCAP_EXTRA, NOTIFY_STEP);
	at = vp->window_cap = add_cap(vp, VCAP_WINDOW, 0, 0, 4);
	vp->pci.wmask[at + VCAP_BAR] = 0xff;
	memset(vp->pci.wmask + at + VCAP_OFFSET, 0xff, 12);
}

/* Drivers go by the device id; the class is for lspci. */
static uint32_t class_of(uint32_t device_id)
{
	switch (device_id) {
	case 1:
		return 0x020000; /* network */
	case 2:
	case 26:
		return 0x018000; /* mass storage */
	case 3:
		return 0x078000; /* communication */
	default:
		return 0x00ff00;
	}
}

/* ---- life ---- */

static void on_msix_changed(void *ctx, unsigned vector, uint64_t addr, uint32_t data, bool masked)
{
	const struct virtio_pci *vp = ctx;

	vp->ops->msix_changed(vp->ctx, vp->slot, vector, addr, data, masked);
}

static void on_irq(void *ctx, unsigned vector)
{
	const struct virtio_pci *vp = ctx;

	vp->ops->irq(vp->ctx, vp->slot, vector);
}

static const struct msix_ops msix_ops = {on_msix_changed, on_irq};
static const struct pci_dev_ops pci_ops = {bar_read, bar_write, config_reading, config_written};

int virtio_pci_new(struct virtio_pci **ret, struct pci_bus *bus, unsigned slot, struct virtio_dev *dev,
	const struct guest_mem *mem, gpa_t bar_gpa, const struct virtio_pci_ops *ops, void *ctx, struct err *err)
{
	const uint16_t id = (uint16_t)dev->ops->device_id;
	const struct pci_id pci_id = {
		0x1af4, (uint16_t)(0x1040 + id), 0x1af4, (uint16_t)(0x40 + id), class_of(id) << 8 | 1};
	struct virtio_pci *vp;
	int r;

	if (bar_gpa % VIRTIO_PCI_BAR_SIZE || bar_gpa > UINT64_MAX - VIRTIO_PCI_BAR_SIZE)
		return err_set(err, EINVAL, "virtio-pci %s: BAR at 0x%llx: not aligned", dev->ops->name,
			(unsigned long long)bar_gpa);
	vp = calloc(1, sizeof(*vp));
	if (!vp)
		return err_set(err, ENOMEM, "virtio-pci %s: out of memory", dev->ops->name);
	vp->bus = bus;
	vp->slot = slot;
	vp->dev = dev;
	vp->ops = ops;
	vp->ctx = ctx;
	pci_dev_init(&vp->pci, &pci_id, &pci_ops);
	pci_dev_bar(&vp->pci, bar_gpa, VIRTIO_PCI_BAR_SIZE);
	msix_init(&vp->msix, dev->ops->n_vectors ? dev->ops->n_vectors : dev->ops->n_queues + 1, &msix_ops, vp);
	add_caps(vp);
	vp_reset_registers(vp);
	dev->mem = mem;
	r = vp_session_init(vp, err);
	if (r == 0)
		r = pci_bus_add(bus, slot, &vp->pci, err);
	if (r < 0) {
		virtio_pci_free(vp);
		return err_wrap(err, "virtio-pci %s", dev->ops->name);
	}
	*ret = vp;
	return 0;
}

void virtio_pci_free(struct virtio_pci *vp)
{
	if (!vp)
		return;
	pci_bus_remove(vp->bus, &vp->pci);
	vp_session_fini(vp);
	msix_fini(&vp->msix);
	pci_dev_fini(&vp->pci);
	free(vp);
}

gpa_t virtio_pci_notify_gpa(const struct virtio_pci *vp, unsigned queue)
{
	return vp->pci.bar_gpa + BAR_NOTIFY + NOTIFY_STEP * (gpa_t)queue;
}
