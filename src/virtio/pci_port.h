/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A PCI Express root port with a slot (PCI Express base spec §7.5.3, §6.7), into which a device can be put, and from which it
 * can be taken, while the guest runs. Stock kernels serve it with their own driver (Linux: pciehp) and its message-signalled
 * interrupt; no firmware, no interrupt pin.
 *
 *   empty -> pci_port_plug -> the guest powers the slot and finds the device -> pci_port_unplug: the guest is asked
 *         -> it lets go and takes the power off: ops->released -> pci_port_clear -> empty
 *
 * What is behind the port shows in config space and memory while the slot holds a card and has power. The port sits on bus 0
 * at slot PCI_SLOTS - 1 - index; bus numbers and the memory window are fixed, as BARs are.
 *
 * Threads: the guest's accesses come as for any pci_dev; plug, unplug and clear from one thread, which no access waits for.
 */
#include "virtio/pci.h"

struct pci_port;

/* Called with the port's lock held, from any thread: neither calls back. */
struct pci_port_ops {
	/* Send the message `data` to `addr`. */
	void (*irq)(void *ctx, uint64_t addr, uint32_t data);
	/* The guest has let go of the device after pci_port_unplug. */
	void (*released)(void *ctx, unsigned index);
};

struct pci_port {
	struct pci_dev pci;
	struct pci_bus *bus; /* borrowed */
	unsigned index;
	const struct pci_port_ops *ops;
	void *ctx;
	unsigned express, msi; /* offsets of capabilities */
	uint16_t events;       /* of the slot's status */
	bool occupied, leaving;
};

/* Ports are made in the order of their index, before the guest runs. `window` is where the BAR of the device will be: 1 MiB. */
int pci_port_init(struct pci_port *p, struct pci_bus *bus, unsigned index, gpa_t window, const struct pci_port_ops *ops,
	void *ctx, struct err *err) must_check;
/* The device is on the bus, at slot PCI_SLOTS + index: the guest is told. */
void pci_port_plug(struct pci_port *p);
/* Asks the guest to let go. True: it need not, the slot has no power; ops->released is not called. Again: asks again. */
bool pci_port_unplug(struct pci_port *p);
/* The slot is empty; the device was taken off the bus or never showed. */
void pci_port_clear(struct pci_port *p);
