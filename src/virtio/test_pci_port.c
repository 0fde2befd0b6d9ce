/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pci_port.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/bytes.h"

#define WINDOW UINT64_C(0xc0200000)
#define PORT 1
#define AT(reg) ((UINT64_C(31) - PORT) << 15 | (reg))
#define BEHIND(reg) ((UINT64_C(1) + PORT) << 20 | (reg))
#define EXPRESS 0x40u
#define MSI 0x7cu
#define CONTROL (EXPRESS + 0x18)
#define STATUS (EXPRESS + 0x1a)
#define LINK (EXPRESS + 0x12)
#define LINK_UP 0x2000u
#define PRESENT 0x40u
#define BUTTON 0x01u
#define PRESENCE 0x08u
#define LINK_CHANGE 0x100u
/* as Linux sets it for a slot with a button and power: button, link and hot-plug interrupts */
#define ON 0x1021u
#define OFF (ON | 0x400u)

struct rig {
	struct pci_bus bus;
	struct pci_port ports[PORT + 1];
	struct pci_dev card;
	unsigned irqs, released;
	uint64_t addr;
	uint32_t data;
};

static void on_irq(void *ctx, uint64_t addr, uint32_t data)
{
	struct rig *r = ctx;

	r->irqs++;
	r->addr = addr;
	r->data = data;
}

static void on_released(void *ctx, unsigned index)
{
	struct rig *r = ctx;

	assert_int_equal(index, PORT);
	r->released++;
}

static void bar_read(struct pci_dev *pci, uint32_t off, void *dst, unsigned len)
{
	memset(dst, 0x5a, len);
}

static void bar_write(struct pci_dev *pci, uint32_t off, const void *src, unsigned len)
{
}

static const struct pci_port_ops ops = {on_irq, on_released};
static const struct pci_dev_ops card_ops = {.bar_read = bar_read, .bar_write = bar_write};

static uint32_t get(struct rig *r, uint64_t off, unsigned len)
{
	uint8_t v[8] = {0};

	pci_config_read(&r->bus, off, v, len);
	return get_le32(v);
}

static void set(struct rig *r, uint64_t off, unsigned len, uint32_t value)
{
	uint8_t v[4];

	put_le32(v, value);
	pci_config_write(&r->bus, off, v, len);
}

static void open_rig(struct rig *r)
{
	static const struct pci_id id = {0x1af4, 0x1041, 0x1af4, 0x41, 0x02000001};

	*r = (struct rig){0};
	pci_bus_init(&r->bus);
	for (unsigned i = 0; i <= PORT; i++)
		assert_int_equal(
			pci_port_init(&r->ports[i], &r->bus, i, WINDOW + (i - PORT) * 0x100000, &ops, r, NULL), 0);
	pci_dev_init(&r->card, &id, &card_ops);
	pci_dev_bar(&r->card, WINDOW, 0x8000);
	assert_int_equal(pci_bus_add(&r->bus, PCI_SLOTS + PORT, &r->card, NULL), 0);
	assert_int_equal(pci_bus_add(&r->bus, PCI_SLOTS + PORT + 1, &r->card, NULL), -EINVAL);
}

static void close_rig(struct rig *r)
{
	for (unsigned i = 0; i <= PORT; i++)
		pci_dev_fini(&r->ports[i].pci);
	pci_dev_fini(&r->card);
	pci_bus_fini(&r->bus);
}

/* What Linux does with an empty slot. */
static void drive(struct rig *r)
{
	set(r, AT(MSI + 4), 4, 0xfee01000);
	set(r, AT(MSI + 12), 2, 0x4041);
	set(r, AT(MSI + 2), 2, 1);
	set(r, AT(STATUS), 2, 0x11f);
	set(r, AT(CONTROL), 2, OFF);
	set(r, AT(STATUS), 2, 0x11f);
	r->irqs = 0;
}

static void plug(struct rig *r)
{
	pci_port_plug(&r->ports[PORT]);
	set(r, AT(CONTROL), 2, ON);
	set(r, AT(STATUS), 2, 0x11f);
	r->irqs = 0;
}

static void is_a_root_port(void **state)
{
	static struct rig r;

	open_rig(&r);
	assert_int_equal(get(&r, AT(0x0e), 1), 1);
	assert_int_equal(get(&r, AT(0x18), 4) & 0xffffff, 0x020200);
	assert_int_equal(get(&r, AT(0x20), 4), 0xc020c020);
	set(&r, AT(0x18), 4, UINT32_MAX);
	set(&r, AT(0x20), 4, UINT32_MAX);
	set(&r, AT(0x1c), 4, UINT32_MAX);
	set(&r, AT(0x24), 4, UINT32_MAX);
	assert_int_equal(get(&r, AT(0x18), 4) & 0xffffff, 0x020200);
	assert_int_equal(get(&r, AT(0x20), 4), 0xc020c020);
	assert_int_equal(get(&r, AT(0x1c), 4), 0);
	assert_int_equal(get(&r, AT(0x24), 4), 0);
	assert_int_equal(get(&r, AT(0x34), 1), EXPRESS);
	assert_int_equal(get(&r, AT(EXPRESS), 2), MSI << 8 | 0x10);
	assert_int_equal(get(&r, AT(MSI), 2), 0x05);
	assert_int_equal(get(&r, AT(EXPRESS + 0x14), 4), 2u << 19 | 1u << 18 | 0x43);
	close_rig(&r);
}

static void a_card_comes_and_shows_with_power(void **state)
{
	static struct rig r;
	uint8_t v[4];

	open_rig(&r);
	drive(&r);
	assert_int_equal(get(&r, BEHIND(0), 4), UINT32_MAX);
	pci_port_plug(&r.ports[PORT]);
	assert_int_equal(r.irqs, 1);
	assert_true(r.addr == 0xfee01000 && r.data == 0x4041);
	assert_int_equal(get(&r, AT(STATUS), 2), PRESENT | BUTTON | PRESENCE);
	assert_int_equal(get(&r, AT(LINK), 2), 0x11);
	assert_int_equal(get(&r, BEHIND(0), 4), UINT32_MAX);
	set(&r, AT(STATUS), 2, BUTTON | PRESENCE);
	set(&r, AT(CONTROL), 2, ON);
	assert_int_equal(get(&r, AT(STATUS), 2), PRESENT | LINK_CHANGE);
	assert_int_equal(get(&r, AT(LINK), 2), 0x11 | LINK_UP);
	assert_int_equal(get(&r, BEHIND(0), 4), 0x10411af4);
	assert_int_equal(get(&r, BEHIND(1 << 15), 4), UINT32_MAX);
	assert_int_equal(get(&r, UINT64_C(1) << 20, 4), UINT32_MAX);
	set(&r, BEHIND(4), 2, 2);
	assert_true(pci_mmio_read(&r.bus, WINDOW, v, 4));
	set(&r, AT(CONTROL), 2, OFF);
	assert_false(pci_mmio_read(&r.bus, WINDOW, v, 4));
	close_rig(&r);
}

static void a_card_goes_when_the_guest_lets_it(void **state)
{
	static struct rig r;

	open_rig(&r);
	drive(&r);
	plug(&r);
	assert_false(pci_port_unplug(&r.ports[PORT]));
	assert_int_equal(r.irqs, 1);
	assert_int_equal(get(&r, AT(STATUS), 2), PRESENT | BUTTON);
	assert_int_equal(get(&r, BEHIND(0), 4), 0x10411af4);
	assert_int_equal(r.released, 0);
	set(&r, AT(CONTROL), 2, OFF);
	set(&r, AT(CONTROL), 2, OFF);
	assert_int_equal(r.released, 1);
	assert_int_equal(get(&r, BEHIND(0), 4), UINT32_MAX);
	pci_bus_remove(&r.bus, &r.card);
	pci_port_clear(&r.ports[PORT]);
	assert_int_equal(get(&r, AT(STATUS), 2) & PRESENT, 0);
	/* Power without a card is nothing. */
	set(&r, AT(CONTROL), 2, ON);
	assert_int_equal(get(&r, AT(LINK), 2), 0x11);
	close_rig(&r);
}

static void without_power_nobody_is_asked(void **state)
{
	static struct rig r;

	open_rig(&r);
	drive(&r);
	pci_port_plug(&r.ports[PORT]);
	r.irqs = 0;
	assert_true(pci_port_unplug(&r.ports[PORT]));
	assert_int_equal(r.irqs + r.released, 0);
	close_rig(&r);
}

/* A guest that does not drive the slot: nothing is told, and the card shows, because a slot starts with power. */
static void a_guest_without_a_driver(void **state)
{
	static struct rig r;

	open_rig(&r);
	pci_port_plug(&r.ports[PORT]);
	assert_int_equal(r.irqs, 0);
	assert_int_equal(get(&r, BEHIND(0), 4), 0x10411af4);
	close_rig(&r);
}

/* One byte of the status clears only what is in it; zeros clear nothing. */
static void events_are_cleared_by_ones(void **state)
{
	static const struct {
		uint64_t off;
		unsigned len;
		uint32_t value, left;
	} rows[] = {
		{STATUS, 2, 0, BUTTON | PRESENCE | LINK_CHANGE},
		{STATUS, 2, BUTTON, PRESENCE | LINK_CHANGE},
		{STATUS, 1, 0xff, LINK_CHANGE},
		{STATUS + 1, 1, 0xff, BUTTON | PRESENCE},
		{CONTROL, 4, 0x01090000 | ON, 0},
		{CONTROL, 2, 0xffff & ~0x400u, BUTTON | PRESENCE | LINK_CHANGE},
	};
	static struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		open_rig(&r);
		drive(&r);
		pci_port_plug(&r.ports[PORT]);
		set(&r, AT(CONTROL), 2, ON);
		set(&r, AT(rows[i].off), rows[i].len, rows[i].value);
		assert_int_equal(get(&r, AT(STATUS), 2), rows[i].left | PRESENT);
		close_rig(&r);
	}
}

/* Interrupts that were off when something happened come when they are switched on. */
static void interrupts_obey_their_switches(void **state)
{
	static struct rig r;

	open_rig(&r);
	drive(&r);
	set(&r, AT(CONTROL), 2, 0x0400);
	pci_port_plug(&r.ports[PORT]);
	assert_int_equal(r.irqs, 0);
	set(&r, AT(MSI + 2), 2, 0);
	set(&r, AT(CONTROL), 2, OFF);
	assert_int_equal(r.irqs, 0);
	set(&r, AT(MSI + 2), 2, 1);
	set(&r, AT(CONTROL), 2, OFF);
	assert_int_equal(r.irqs, 1);
	close_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_a_root_port),
		cmocka_unit_test(a_card_comes_and_shows_with_power),
		cmocka_unit_test(a_card_goes_when_the_guest_lets_it),
		cmocka_unit_test(without_power_nobody_is_asked),
		cmocka_unit_test(a_guest_without_a_driver),
		cmocka_unit_test(events_are_cleared_by_ones),
		cmocka_unit_test(interrupts_obey_their_switches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
