/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A PCI bus as small as stock kernels accept: bus 0 with a host bridge in slot 0 and up to 31 devices of one function,
 * found through ECAM (PCI Express base spec §7.2.2); bus 1 and those that follow it are each behind a root port, with one slot. A device has a type 0 header, capabilities in the first 256 bytes and
 * at most one memory BAR.
 *
 *   pci_bus_init -> pci_dev_init -> pci_dev_cap, pci_dev_bar -> pci_bus_add -> accesses -> pci_bus_remove -> pci_dev_fini
 *
 * Accesses come from any vCPU thread at any time. Each is served with the lock of its device held and no other lock;
 * devices do not wait for one another. Adding is safe meanwhile; a device is removed only when no access can be under way
 * (vCPUs stopped).
 *
 * The address of a BAR is fixed by whoever builds the machine. The guest may ask for its size (all ones written to it);
 * whatever else it writes changes nothing, and reads back the fixed address, so that it can see that it cannot move.
 * Memory decoding (command bit 1) is obeyed. There is no INTx and no expansion ROM.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"

#define PCI_SLOTS 32
#define PCI_PORTS_MAX 8		 /* root ports (pci_port.h), each with a bus of one slot behind it */
#define PCI_ECAM_SIZE (1u << 20) /* of one bus */
#define PCI_CONFIG_SIZE 256	 /* what a device has; the rest of its 4 KiB reads as zeros */

struct pci_dev;

/* Called with dev->lock held. `len` is 1, 2, 4 or 8 and `off` a multiple of it inside the BAR; bytes are little endian. */
struct pci_dev_ops {
	void (*bar_read)(struct pci_dev *dev, uint32_t off, void *dst, unsigned len);
	void (*bar_write)(struct pci_dev *dev, uint32_t off, const void *src, unsigned len);
	/* [off, off+len) of cfg is about to be read, or was just written where wmask allows it. May be NULL. */
	void (*config_reading)(struct pci_dev *dev, unsigned off, unsigned len);
	void (*config_written)(struct pci_dev *dev, unsigned off, unsigned len);
};

struct pci_dev {
	const struct pci_dev_ops *ops;
	pthread_mutex_t lock;
	uint8_t cfg[PCI_CONFIG_SIZE];
	uint8_t wmask[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	uint8_t cap_last, cap_end;	/* private: the list of capabilities */
	gpa_t bar_gpa;
	uint32_t bar_size; /* 0: no BAR */
	bool sizing[2];	   /* private: halves of the BAR that were written with all ones */
};

struct pci_bus {
	struct pci_dev *slots[PCI_SLOTS + PCI_PORTS_MAX]; /* borrowed; from PCI_SLOTS on: what is behind a port */
	unsigned n_ports;
	bool open[PCI_PORTS_MAX]; /* atomic: what is behind the port shows */
	struct pci_dev bridge;
};

struct pci_id {
	uint16_t vendor, device, subsys_vendor, subsys;
	uint32_t class_rev; /* class << 8 | revision */
};

void pci_bus_init(struct pci_bus *bus);
void pci_bus_fini(struct pci_bus *bus);

/* ops may be NULL when there is no BAR. */
void pci_dev_init(struct pci_dev *dev, const struct pci_id *id, const struct pci_dev_ops *ops);
void pci_dev_fini(struct pci_dev *dev);
/* Appends a capability of `len` bytes (id and next pointer included, filled in here). Returns its offset. */
unsigned pci_dev_cap(struct pci_dev *dev, uint8_t id, unsigned len);
/* BAR 0, 64 bits wide, not prefetchable. `size` is a power of two >= 4096 and divides gpa. */
void pci_dev_bar(struct pci_dev *dev, gpa_t gpa, uint32_t size);

/* `slot`: 0 to 31 on bus 0, PCI_SLOTS + n behind port n. -EEXIST: it is taken; -EINVAL: no such slot, or the BAR overlaps another. The device is borrowed. */
int pci_bus_add(struct pci_bus *bus, unsigned slot, struct pci_dev *dev, struct err *err) must_check;
void pci_bus_remove(struct pci_bus *bus, struct pci_dev *dev);

/*
 * An access at offset `off` of the ECAM window. Nothing there, another bus or function, a length other than 1, 2 or 4, or
 * not aligned: reads are all ones, writes are dropped. `len` <= 8.
 */
void pci_config_read(struct pci_bus *bus, uint64_t off, void *dst, unsigned len);
void pci_config_write(struct pci_bus *bus, uint64_t off, const void *src, unsigned len);

/*
 * An access of memory. False: it hits no BAR that is decoded, and nothing was done. In a BAR, an access that is not
 * aligned or not 1, 2, 4 or 8 bytes long reads all ones, or is dropped.
 */
bool pci_mmio_read(struct pci_bus *bus, gpa_t gpa, void *dst, unsigned len);
bool pci_mmio_write(struct pci_bus *bus, gpa_t gpa, const void *src, unsigned len);
