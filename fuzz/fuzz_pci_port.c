/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at a root port while cards come and go: accesses of any offset and width to the port's config space and to what is
 * behind it. What must hold: the guest sees the card only while it is in and has power, and lets go at most once a request.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio/pci_port.h"

#define WINDOW UINT64_C(0xc0100000)
#define PORT_AT (UINT64_C(31) << 15)
#define BEHIND (UINT64_C(1) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct pci_bus bus;
	struct pci_port port;
	struct pci_dev card;
	bool in;
	unsigned asked, released;
};

static void on_irq(void *ctx, uint64_t addr, uint32_t data)
{
	(void)ctx;
	if (addr & 3 || data > UINT16_MAX)
		abort();
}

static void on_released(void *ctx, unsigned index)
{
	struct world *w = ctx;

	if (index != 0 || !w->in || ++w->released > w->asked)
		abort();
}

static void bar_read(struct pci_dev *pci, uint32_t off, void *dst, unsigned len)
{
	(void)pci;
	(void)off;
	memset(dst, 0, len);
}

static void bar_write(struct pci_dev *pci, uint32_t off, const void *src, unsigned len)
{
	(void)pci;
	(void)off;
	(void)src;
	(void)len;
}

static const struct pci_port_ops ops = {on_irq, on_released};
static const struct pci_dev_ops card_ops = {.bar_read = bar_read, .bar_write = bar_write};

/* The owner's side: 1: a card comes, 2: the guest is asked, 3: the card goes, as it may when the guest let go. */
static void owner(struct world *w, unsigned what)
{
	if (what == 1 && !w->in) {
		if (pci_bus_add(&w->bus, PCI_SLOTS, &w->card, NULL) < 0)
			abort();
		w->in = true;
		pci_port_plug(&w->port);
	} else if (what == 2 && w->in) {
		w->asked++;
		w->released += pci_port_unplug(&w->port);
	} else if (what == 3 && w->released) {
		w->in = false;
		w->asked = w->released = 0;
		pci_bus_remove(&w->bus, &w->card);
		pci_port_clear(&w->port);
	}
}

static void guest(struct world *w, const uint8_t step[8])
{
	uint64_t base = step[0] & 16 ? BEHIND : PORT_AT,
		 off = base + (get_le16(step + 1) & (step[0] & 32 ? 0xffff : 0xff));
	unsigned len = 1u << (step[0] >> 2 & 3);
	uint8_t v[8];

	if (step[0] & 64)
		pci_config_read(&w->bus, off, v, len);
	else
		pci_config_write(&w->bus, off, step + 3, len > 4 ? 4 : len);
	pci_config_read(&w->bus, BEHIND, v, 4);
	if (get_le32(v) != UINT32_MAX && !w->in)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pci_id id = {0x1af4, 0x1041, 0x1af4, 0x41, 0x02000001};
	static struct world w;

	w = (struct world){0};
	pci_bus_init(&w.bus);
	if (pci_port_init(&w.port, &w.bus, 0, WINDOW, &ops, &w, NULL) < 0)
		abort();
	pci_dev_init(&w.card, &id, &card_ops);
	pci_dev_bar(&w.card, WINDOW, 0x8000);
	for (; size >= 8; data += 8, size -= 8) {
		if (data[0] & 3)
			owner(&w, data[0] & 3);
		else
			guest(&w, data);
	}
	pci_dev_fini(&w.card);
	pci_dev_fini(&w.port.pci);
	pci_bus_fini(&w.bus);
	return 0;
}
