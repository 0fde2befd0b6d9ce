/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio over PCI (virtio 1.2 §4.1): the modern interface only, MSI-X only. One device a function; BAR 0 holds, each in
 * its own page or two:
 *
 *   0x0000  common configuration
 *   0x1000  ISR status (always there; a driver that uses MSI-X never looks)
 *   0x2000  device configuration
 *   0x3000  notifications, 4 bytes a queue: an ioeventfd can tell queues apart by address alone
 *   0x4000  MSI-X table
 *   0x4800  MSI-X pending bits
 *
 * Vectors: one a queue and one for changes of configuration, whichever way the driver uses them.
 *
 * Threads. Registers are served in the thread that accesses them. What concerns the running device (activation, reset,
 * writes to its configuration) is handed to the thread of dev->loop, and the access waits until it is done there; an
 * access from that thread itself does it at once. The device's side (signal, broken, config_begin/end) never takes a lock
 * that a waiting access holds. virtio_pci_close ends all waiting, for a loop that stops before the vCPUs do.
 *
 * The driver's view of a session:
 *   reset -> ACKNOWLEDGE, DRIVER -> features -> FEATURES_OK (stays clear unless the features were offered and hold
 *   VERSION_1; frozen from here) -> queues (each is frozen once enabled) -> DRIVER_OK: the enabled queues start; a layout
 *   that is not valid, or a device that cannot start, sets DEVICE_NEEDS_RESET. Queues cannot be enabled later.
 * Bits of the status are only ever added; a write that would clear one is dropped, but for 0, the reset.
 */
#include "virtio/device.h"
#include "virtio/pci.h"

#define VIRTIO_PCI_BAR_SIZE 0x8000u

struct virtio_pci;

/* Called from any thread, with a lock held: neither calls back, nor waits for a thread that may access registers. */
struct virtio_pci_ops {
	/* Route the vector: message `data` to `addr`. Told when the vector becomes live, changes while it is, or ends. */
	void (*msix_changed)(void *ctx, unsigned slot, unsigned vector, uint64_t addr, uint32_t data, bool masked);
	/* Raise it; never called while the vector is masked. */
	void (*irq)(void *ctx, unsigned slot, unsigned vector);
};

/*
 * Puts the device on the bus at `slot`, its BAR at bar_gpa (aligned to VIRTIO_PCI_BAR_SIZE). Called in the thread that runs
 * dev->loop. `bus`, `dev` and `mem` are borrowed until virtio_pci_free; dev->transport and dev->mem are set.
 */
int virtio_pci_new(struct virtio_pci **ret, struct pci_bus *bus, unsigned slot, struct virtio_dev *dev,
	const struct guest_mem *mem, gpa_t bar_gpa, const struct virtio_pci_ops *ops, void *ctx,
	struct err *err) must_check;
/* From now on no access waits for the loop; what would be handed over is dropped. On the loop. May be called twice. */
void virtio_pci_close(struct virtio_pci *vp);
/* Resets the device and takes it off the bus. On the loop, when no access can be under way. NULL is fine. */
void virtio_pci_free(struct virtio_pci *vp);

/* Where a kick of the queue is written: 2 bytes (virtio 1.2 §4.1.5.2), of which the value need not be looked at. */
gpa_t virtio_pci_notify_gpa(const struct virtio_pci *vp, unsigned queue);
/* The queue was kicked. On the loop; harmless when the device or the queue does not run. */
void virtio_pci_kick(struct virtio_pci *vp, unsigned queue);
