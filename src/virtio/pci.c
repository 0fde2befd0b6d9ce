/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pci.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

enum {
	CFG_VENDOR = 0x00,
	CFG_DEVICE = 0x02,
	CFG_COMMAND = 0x04,
	CFG_STATUS = 0x06,
	CFG_CLASS_REV = 0x08,
	CFG_BAR0 = 0x10,
	CFG_SUBSYS_VENDOR = 0x2c,
	CFG_SUBSYS = 0x2e,
	CFG_CAP_PTR = 0x34,
	CFG_IRQ_LINE = 0x3c,
	CFG_CAPS = 0x40,

	COMMAND_MEMORY = 1 << 1,
	COMMAND_MASTER = 1 << 2,
	COMMAND_NO_INTX = 1 << 10,
	STATUS_CAPS = 1 << 4,
	BAR_MEM_64 = 4,
};

void pci_dev_init(struct pci_dev *dev, const struct pci_id *id, const struct pci_dev_ops *ops)
{
	*dev = (struct pci_dev){.ops = ops, .cap_end = CFG_CAPS};
	(void)pthread_mutex_init(&dev->lock, NULL);
	put_le16(dev->cfg + CFG_VENDOR, id->vendor);
	put_le16(dev->cfg + CFG_DEVICE, id->device);
	put_le32(dev->cfg + CFG_CLASS_REV, id->class_rev);
	put_le16(dev->cfg + CFG_SUBSYS_VENDOR, id->subsys_vendor);
	put_le16(dev->cfg + CFG_SUBSYS, id->subsys);
	put_le16(dev->wmask + CFG_COMMAND, COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX);
	dev->wmask[CFG_IRQ_LINE] = 0xff;
}

void pci_dev_fini(struct pci_dev *dev)
{
	(void)pthread_mutex_destroy(&dev->lock);
}

unsigned pci_dev_cap(struct pci_dev *dev, uint8_t id, unsigned len)
{
	uint8_t at = dev->cap_end;

	assert(len >= 2 && at + len <= PCI_CONFIG_SIZE);
	dev->cfg[at] = id;
	dev->cfg[dev->cap_last ? dev->cap_last + 1 : CFG_CAP_PTR] = at;
	dev->cfg[CFG_STATUS] |= STATUS_CAPS;
	dev->cap_last = at;
	dev->cap_end = (uint8_t)((at + len + 3) & ~3u);
	return at;
}

void pci_dev_bar(struct pci_dev *dev, gpa_t gpa, uint32_t size)
{
	assert(size >= 4096 && (size & (size - 1)) == 0 && gpa % size == 0 && gpa <= UINT64_MAX - size);
	dev->bar_gpa = gpa;
	dev->bar_size = size;
}

void pci_bus_init(struct pci_bus *bus)
{
	/* The generic host bridge that drivers know from QEMU; nothing binds to it. */
	static const struct pci_id id = {0x1b36, 0x0008, 0x1af4, 0x1100, 0x06000000};

	*bus = (struct pci_bus){0};
	pci_dev_init(&bus->bridge, &id, NULL);
	bus->slots[0] = &bus->bridge;
}

void pci_bus_fini(struct pci_bus *bus)
{
	pci_dev_fini(&bus->bridge);
}

static struct pci_dev *slot_get(const struct pci_bus *bus, unsigned slot)
{
	return __atomic_load_n(&bus->slots[slot], __ATOMIC_ACQUIRE);
}

static unsigned n_slots(const struct pci_bus *bus)
{
	return PCI_SLOTS + bus->n_ports;
}

static bool shows(const struct pci_bus *bus, unsigned slot)
{
	return slot < PCI_SLOTS || __atomic_load_n(&bus->open[slot - PCI_SLOTS], __ATOMIC_ACQUIRE);
}

int pci_bus_add(struct pci_bus *bus, unsigned slot, struct pci_dev *dev, struct err *err)
{
	if (slot >= n_slots(bus))
		return err_set(err, EINVAL, "PCI slot %u: there are %u", slot, n_slots(bus));
	if (slot_get(bus, slot))
		return err_set(err, EEXIST, "PCI slot %u is taken", slot);
	for (unsigned i = 0; i < n_slots(bus); i++) {
		const struct pci_dev *d = slot_get(bus, i);

		if (d && d->bar_size && dev->bar_size && dev->bar_gpa < d->bar_gpa + d->bar_size &&
			d->bar_gpa < dev->bar_gpa + dev->bar_size)
			return err_set(err, EINVAL, "PCI slot %u: BAR at 0x%" PRIx64 " overlaps that of slot %u", slot,
				dev->bar_gpa, i);
	}
	__atomic_store_n(&bus->slots[slot], dev, __ATOMIC_RELEASE);
	return 0;
}

void pci_bus_remove(struct pci_bus *bus, struct pci_dev *dev)
{
	for (unsigned i = 1; i < n_slots(bus); i++)
		if (slot_get(bus, i) == dev)
			__atomic_store_n(&bus->slots[i], NULL, __ATOMIC_RELEASE);
}

/* ---- config space ---- */

/* The device that an offset of ECAM names, or NULL: bus 27:20, slot 19:15, function 14:12, register 11:0. */
static struct pci_dev *decode(const struct pci_bus *bus, uint64_t off, unsigned len)
{
	uint64_t number = off >> 20;
	unsigned slot = off >> 15 & 31;

	if (number > bus->n_ports || off >> 12 & 7 || (len != 1 && len != 2 && len != 4) || off % len)
		return NULL;
	if (number) {
		if (slot != 0)
			return NULL;
		slot = PCI_SLOTS + (unsigned)number - 1;
	}
	return shows(bus, slot) ? slot_get(bus, slot) : NULL;
}

static bool overlaps(unsigned off, unsigned len, unsigned at, unsigned n)
{
	return off < at + n && at < off + len;
}

static uint32_t bar_value(const struct pci_dev *dev, unsigned half)
{
	uint64_t v = dev->bar_gpa;

	if (!dev->bar_size)
		return 0;
	if (dev->sizing[half])
		v = ~((uint64_t)dev->bar_size - 1);
	return half ? (uint32_t)(v >> 32) : (uint32_t)v | BAR_MEM_64;
}

void pci_config_read(struct pci_bus *bus, uint64_t off, void *dst, unsigned len)
{
	struct pci_dev *dev = decode(bus, off, len);
	unsigned reg = off & 0xfff;

	memset(dst, dev ? 0 : 0xff, len);
	if (!dev || reg >= PCI_CONFIG_SIZE)
		return;
	(void)pthread_mutex_lock(&dev->lock);
	if (overlaps(reg, len, CFG_BAR0, 8)) {
		put_le32(dev->cfg + CFG_BAR0, bar_value(dev, 0));
		put_le32(dev->cfg + CFG_BAR0 + 4, bar_value(dev, 1));
	}
	if (dev->ops && dev->ops->config_reading)
		dev->ops->config_reading(dev, reg, len);
	memcpy(dst, dev->cfg + reg, len);
	(void)pthread_mutex_unlock(&dev->lock);
}

void pci_config_write(struct pci_bus *bus, uint64_t off, const void *src, unsigned len)
{
	struct pci_dev *dev = decode(bus, off, len);
	unsigned reg = off & 0xfff;
	const uint8_t *p = src;

	if (!dev || reg >= PCI_CONFIG_SIZE)
		return;
	(void)pthread_mutex_lock(&dev->lock);
	if (len == 4 && (reg == CFG_BAR0 || reg == CFG_BAR0 + 4))
		dev->sizing[(reg - CFG_BAR0) / 4] = get_le32(p) == UINT32_MAX;
	for (unsigned i = 0; i < len; i++) {
		uint8_t mask = dev->wmask[reg + i];

		dev->cfg[reg + i] = (uint8_t)((dev->cfg[reg + i] & ~mask) | (p[i] & mask));
	}
	if (dev->ops && dev->ops->config_written)
		dev->ops->config_written(dev, reg, len);
	(void)pthread_mutex_unlock(&dev->lock);
}

/* ---- memory ---- */

/* The device whose BAR holds gpa, locked, if it decodes memory. */
static struct pci_dev *bar_lock(struct pci_bus *bus, gpa_t gpa)
{
	for (unsigned i = 0; i < n_slots(bus); i++) {
		struct pci_dev *dev = shows(bus, i) ? slot_get(bus, i) : NULL;

		if (!dev || gpa - dev->bar_gpa >= dev->bar_size)
			continue;
		(void)pthread_mutex_lock(&dev->lock);
		if (dev->cfg[CFG_COMMAND] & COMMAND_MEMORY)
			return dev;
		(void)pthread_mutex_unlock(&dev->lock);
		return NULL;
	}
	return NULL;
}

/* An aligned access cannot reach over the end of a BAR. */
static bool natural(gpa_t gpa, unsigned len)
{
	return (len == 1 || len == 2 || len == 4 || len == 8) && gpa % len == 0;
}

bool pci_mmio_read(struct pci_bus *bus, gpa_t gpa, void *dst, unsigned len)
{
	struct pci_dev *dev = bar_lock(bus, gpa);

	if (!dev)
		return false;
	memset(dst, 0xff, len);
	if (natural(gpa, len))
		dev->ops->bar_read(dev, (uint32_t)(gpa - dev->bar_gpa), dst, len);
	(void)pthread_mutex_unlock(&dev->lock);
	return true;
}

bool pci_mmio_write(struct pci_bus *bus, gpa_t gpa, const void *src, unsigned len)
{
	struct pci_dev *dev = bar_lock(bus, gpa);

	if (!dev)
		return false;
	if (natural(gpa, len))
		dev->ops->bar_write(dev, (uint32_t)(gpa - dev->bar_gpa), src, len);
	(void)pthread_mutex_unlock(&dev->lock);
	return true;
}
