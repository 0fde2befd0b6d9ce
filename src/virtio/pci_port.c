/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slot has a power controller, an attention button and no lights. The button is how the guest is asked to let go: Linux waits
 * five seconds, in case somebody presses it again, and one more after it took the power off. A card that comes presses the
 * button too, or Linux would not be told: with a button, it waits for that.
 */
#include "virtio/pci_port.h"

#include <string.h>

#include "base/bytes.h"

enum {
	/* type 1 header */
	CFG_HEADER_TYPE = 0x0e,
	CFG_SECONDARY = 0x19,
	CFG_SUBORDINATE = 0x1a,
	CFG_MEMORY = 0x20, /* base and limit, in MiB, each shifted by 4 */
	CFG_SUBSYS = 0x2c, /* of type 0; here the upper half of a window that there is not */
	CFG_BRIDGE_CONTROL = 0x3e,

	/* PCI Express capability */
	CAP_EXPRESS = 0x10,
	EXPRESS_LEN = 0x3c,
	E_FLAGS = 0x02,
	E_DEVICE_CAPS = 0x04,
	E_DEVICE_CONTROL = 0x08,
	E_LINK_CAPS = 0x0c,
	E_LINK_CONTROL = 0x10,
	E_LINK_STATUS = 0x12,
	E_SLOT_CAPS = 0x14,
	E_SLOT_CONTROL = 0x18,
	E_SLOT_STATUS = 0x1a,
	E_ROOT_CONTROL = 0x1c,
	E_LINK_CAPS2 = 0x2c,

	FLAGS_ROOT_PORT_V2 = 0x0142, /* version 2, root port, slot */
	DEVICE_CAPS_ROLE_BASED = 0x8000,
	LINK_X1_2_5G = 0x0011,
	LINK_CAPS_ACTIVE = 1 << 20, /* whether the link is up can be read */
	LINK_UP = 1 << 13,
	SLOT_CAPS_BUTTON = 1 << 0,
	SLOT_CAPS_POWER = 1 << 1,
	SLOT_CAPS_HOTPLUG = 1 << 6,
	SLOT_CAPS_NO_COMPLETION = 1 << 18, /* commands take effect at once */
	SLOT_NUMBER_SHIFT = 19,
	SLOT_CONTROL_MASK = 0x1fff,
	SLOT_POWER_OFF = 1 << 10,
	SLOT_INTERRUPT = 1 << 5,
	SLOT_LINK_ENABLE = 1 << 12,
	EVENT_BUTTON = 1 << 0, /* these two have the same bits in control and status */
	EVENT_PRESENCE = 1 << 3,
	EVENT_LINK = 1 << 8,
	EVENTS = 0x11f,
	SLOT_PRESENT = 1 << 6,

	CAP_MSI = 0x05,
	MSI_LEN = 14,
	MSI_CONTROL = 2,
	MSI_ADDR = 4,
	MSI_DATA = 12,
	MSI_ENABLE = 1,
	MSI_64 = 0x80,
};

static struct pci_port *from_pci(struct pci_dev *pci)
{
	return container_of(pci, struct pci_port, pci);
}

static uint8_t *express(struct pci_port *p, unsigned reg)
{
	return p->pci.cfg + p->express + reg;
}

static bool has_power(struct pci_port *p)
{
	return !(get_le16(express(p, E_SLOT_CONTROL)) & SLOT_POWER_OFF);
}

/* The link follows card and power. */
static void update(struct pci_port *p)
{
	bool up = p->occupied && has_power(p), was = __atomic_load_n(&p->bus->open[p->index], __ATOMIC_RELAXED);

	if (up != was)
		p->events |= EVENT_LINK;
	__atomic_store_n(&p->bus->open[p->index], up, __ATOMIC_RELEASE);
	put_le16(express(p, E_LINK_STATUS), (uint16_t)(LINK_X1_2_5G | (up ? LINK_UP : 0)));
	put_le16(express(p, E_SLOT_STATUS), (uint16_t)(p->events | (p->occupied ? SLOT_PRESENT : 0)));
}

static void interrupt(struct pci_port *p)
{
	const uint8_t *msi = p->pci.cfg + p->msi;
	unsigned control = get_le16(express(p, E_SLOT_CONTROL));
	unsigned wanted = control & (EVENT_BUTTON | EVENT_PRESENCE);

	if (control & SLOT_LINK_ENABLE)
		wanted |= EVENT_LINK;
	if (p->events & wanted && control & SLOT_INTERRUPT && get_le16(msi + MSI_CONTROL) & MSI_ENABLE)
		p->ops->irq(p->ctx, get_le64(msi + MSI_ADDR), get_le16(msi + MSI_DATA));
}

/* Events are cleared by writing ones: what is in the register now, where it was written, came from the guest. */
static uint16_t cleared(struct pci_port *p, unsigned off, unsigned len)
{
	unsigned at = p->express + E_SLOT_STATUS;
	uint16_t bits = 0;

	for (unsigned i = 0; i < 2; i++)
		if (at + i >= off && at + i < off + len)
			bits |= (uint16_t)(p->pci.cfg[at + i] << 8 * i);
	return bits & EVENTS;
}

static void config_written(struct pci_dev *pci, unsigned off, unsigned len)
{
	struct pci_port *p = from_pci(pci);
	unsigned at = p->express + E_SLOT_CONTROL;

	if (off >= at + 4 || off + len <= at)
		return;
	p->events &= (uint16_t)~cleared(p, off, len);
	update(p);
	if (p->leaving && !has_power(p)) {
		p->leaving = false;
		p->ops->released(p->ctx, p->index);
	}
	interrupt(p);
}

static void add_express(struct pci_port *p)
{
	uint8_t *cap, *mask;

	p->express = pci_dev_cap(&p->pci, CAP_EXPRESS, EXPRESS_LEN);
	cap = p->pci.cfg + p->express;
	mask = p->pci.wmask + p->express;
	put_le16(cap + E_FLAGS, FLAGS_ROOT_PORT_V2);
	put_le32(cap + E_DEVICE_CAPS, DEVICE_CAPS_ROLE_BASED);
	put_le32(cap + E_LINK_CAPS, LINK_X1_2_5G | LINK_CAPS_ACTIVE | (p->index + 1) << 24);
	put_le32(cap + E_LINK_CAPS2, 2); /* 2.5 GT/s */
	put_le32(cap + E_SLOT_CAPS, SLOT_CAPS_BUTTON | SLOT_CAPS_POWER | SLOT_CAPS_HOTPLUG | SLOT_CAPS_NO_COMPLETION |
					    (p->index + 1) << SLOT_NUMBER_SHIFT);
	put_le16(mask + E_DEVICE_CONTROL, 0x7fff);
	put_le16(mask + E_LINK_CONTROL, 0x03cb);
	put_le16(mask + E_SLOT_CONTROL, SLOT_CONTROL_MASK);
	put_le16(mask + E_SLOT_STATUS, EVENTS);
	put_le16(mask + E_ROOT_CONTROL, 0x1f);
}

static void add_msi(struct pci_port *p)
{
	uint8_t *mask;

	p->msi = pci_dev_cap(&p->pci, CAP_MSI, MSI_LEN);
	mask = p->pci.wmask + p->msi;
	put_le16(p->pci.cfg + p->msi + MSI_CONTROL, MSI_64);
	put_le16(mask + MSI_CONTROL, MSI_ENABLE);
	put_le64(mask + MSI_ADDR, ~UINT64_C(3));
	put_le16(mask + MSI_DATA, 0xffff);
}

static const struct pci_dev_ops pci_ops = {.config_written = config_written};

int pci_port_init(struct pci_port *p, struct pci_bus *bus, unsigned index, gpa_t window, const struct pci_port_ops *ops,
	void *ctx, struct err *err)
{
	/* The id of QEMU's generic root port: class drivers bind to it. */
	static const struct pci_id id = {0x1b36, 0x000c, 0, 0, 0x06040000};
	uint16_t mib = (uint16_t)(window >> 16 & 0xfff0);

	*p = (struct pci_port){.bus = bus, .index = index, .ops = ops, .ctx = ctx};
	pci_dev_init(&p->pci, &id, &pci_ops);
	p->pci.cfg[CFG_HEADER_TYPE] = 1;
	p->pci.cfg[CFG_SECONDARY] = p->pci.cfg[CFG_SUBORDINATE] = (uint8_t)(index + 1);
	put_le16(p->pci.cfg + CFG_MEMORY, mib);
	put_le16(p->pci.cfg + CFG_MEMORY + 2, mib);
	put_le16(p->pci.wmask + CFG_BRIDGE_CONTROL, 0x0003);
	add_express(p);
	add_msi(p);
	update(p);
	bus->n_ports = index + 1;
	return pci_bus_add(bus, PCI_SLOTS - 1 - index, &p->pci, err);
}

static void tell(struct pci_port *p, unsigned events)
{
	p->events |= (uint16_t)events;
	update(p);
	interrupt(p);
}

void pci_port_plug(struct pci_port *p)
{
	(void)pthread_mutex_lock(&p->pci.lock);
	p->occupied = true;
	p->leaving = false;
	tell(p, EVENT_PRESENCE | EVENT_BUTTON);
	(void)pthread_mutex_unlock(&p->pci.lock);
}

bool pci_port_unplug(struct pci_port *p)
{
	bool free_now;

	(void)pthread_mutex_lock(&p->pci.lock);
	free_now = !has_power(p);
	p->leaving = !free_now;
	if (!free_now)
		tell(p, EVENT_BUTTON);
	(void)pthread_mutex_unlock(&p->pci.lock);
	return free_now;
}

void pci_port_clear(struct pci_port *p)
{
	(void)pthread_mutex_lock(&p->pci.lock);
	p->occupied = p->leaving = false;
	tell(p, EVENT_PRESENCE);
	(void)pthread_mutex_unlock(&p->pci.lock);
}
