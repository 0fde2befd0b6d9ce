/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pci.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/bytes.h"

#define BAR UINT64_C(0x380000008000)
#define BAR_SIZE 0x8000u
#define SLOT 5

struct fake {
	struct pci_dev pci;
	unsigned reads, writes, off, len;
};

static void bar_read(struct pci_dev *pci, uint32_t off, void *dst, unsigned len)
{
	struct fake *f = container_of(pci, struct fake, pci);

	assert_true(off < BAR_SIZE && len <= BAR_SIZE - off && off % len == 0);
	f->reads++;
	memset(dst, 0x5a, len);
}

static void bar_write(struct pci_dev *pci, uint32_t off, const void *src, unsigned len)
{
	struct fake *f = container_of(pci, struct fake, pci);

	assert_true(off < BAR_SIZE && len <= BAR_SIZE - off && off % len == 0);
	f->writes++;
	f->off = off;
	f->len = len;
}

static const struct pci_dev_ops ops = {.bar_read = bar_read, .bar_write = bar_write};
static const struct pci_id id = {0x1af4, 0x1041, 0x1af4, 0x41, 0x02000001};

static void make(struct pci_bus *bus, struct fake *f)
{
	pci_bus_init(bus);
	*f = (struct fake){0};
	pci_dev_init(&f->pci, &id, &ops);
	pci_dev_bar(&f->pci, BAR, BAR_SIZE);
	assert_int_equal(pci_bus_add(bus, SLOT, &f->pci, NULL), 0);
}

static uint32_t get(struct pci_bus *bus, uint64_t off, unsigned len)
{
	uint8_t v[8] = {0};

	pci_config_read(bus, off, v, len);
	return get_le32(v);
}

static void set(struct pci_bus *bus, uint64_t off, unsigned len, uint32_t value)
{
	uint8_t v[8] = {0};

	put_le32(v, value);
	pci_config_write(bus, off, v, len);
}

#define AT(reg) ((uint64_t)SLOT << 15 | (reg))

static void a_guest_enumerates(void **state)
{
	struct pci_bus bus;
	struct fake f;
	unsigned found = 0;

	make(&bus, &f);
	for (uint64_t slot = 0; slot < 32; slot++)
		for (uint64_t fn = 0; fn < 8; fn++)
			found += get(&bus, slot << 15 | fn << 12, 4) != UINT32_MAX;
	assert_int_equal(found, 2);
	assert_int_equal(get(&bus, 8, 4) >> 16, 0x0600); /* host bridge */
	assert_int_equal(get(&bus, AT(0), 4), 0x10411af4);
	assert_int_equal(get(&bus, AT(0), 2), 0x1af4);
	assert_int_equal(get(&bus, AT(3), 1), 0x10);
	assert_int_equal(get(&bus, AT(8), 4), 0x02000001);
	assert_int_equal(get(&bus, AT(0x2c), 4), 0x00411af4);
	assert_int_equal(get(&bus, AT(0x0e), 1), 0);  /* header type 0, one function */
	assert_int_equal(get(&bus, AT(0x3d), 1), 0);  /* no INTx */
	assert_int_equal(get(&bus, AT(0x100), 4), 0); /* no extended capabilities */
	assert_int_equal(get(&bus, AT(0xffc), 4), 0);
	pci_bus_fini(&bus);
}

static void only_writable_bits_are_written(void **state)
{
	static const struct {
		unsigned off;
		uint32_t after; /* four bytes, all ones written to them */
	} rows[] = {
		{0x00, 0x10411af4},
		{0x04, 0x00000406},
		{0x08, 0x02000001},
		{0x0c, 0},
		{0x18, 0},
		{0x1c, 0},
		{0x20, 0},
		{0x24, 0},
		{0x28, 0},
		{0x2c, 0x00411af4},
		{0x30, 0},
		{0x34, 0},
		{0x38, 0},
		{0x3c, 0xff},
		{0x40, 0},
		{0xfc, 0},
		{0x100, 0},
	};
	struct pci_bus bus;
	struct fake f;

	make(&bus, &f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set(&bus, AT(rows[i].off), 4, UINT32_MAX);
		if (get(&bus, AT(rows[i].off), 4) != rows[i].after)
			fail_msg("0x%x: 0x%x", rows[i].off, get(&bus, AT(rows[i].off), 4));
	}
	set(&bus, AT(5), 1, 0);
	assert_int_equal(get(&bus, AT(4), 4), 6);
	set(&bus, 4, 4, UINT32_MAX); /* of the bridge */
	assert_int_equal(get(&bus, 4, 4), 0x406);
	pci_bus_fini(&bus);
}

static void a_bar_tells_its_size_and_stays(void **state)
{
	struct pci_bus bus;
	struct fake f;

	make(&bus, &f);
	assert_int_equal(get(&bus, AT(0x10), 4), 0x8004);
	assert_int_equal(get(&bus, AT(0x14), 4), 0x3800);
	set(&bus, AT(0x10), 4, UINT32_MAX);
	assert_int_equal(get(&bus, AT(0x10), 4), 0xffff8004);
	assert_int_equal(get(&bus, AT(0x14), 4), 0x3800);
	set(&bus, AT(0x14), 4, UINT32_MAX);
	assert_int_equal(get(&bus, AT(0x14), 4), UINT32_MAX);
	assert_int_equal(get(&bus, AT(0x12), 2), 0xffff);
	set(&bus, AT(0x10), 4, 0xd0000000);
	set(&bus, AT(0x14), 4, 0);
	assert_int_equal(get(&bus, AT(0x10), 4), 0x8004);
	assert_int_equal(get(&bus, AT(0x14), 4), 0x3800);
	set(&bus, AT(0x10), 1, 0xff); /* not a way to ask */
	assert_int_equal(get(&bus, AT(0x10), 4), 0x8004);
	pci_bus_fini(&bus);
}

static void capabilities_are_a_list(void **state)
{
	struct pci_bus bus;
	struct fake f;
	unsigned a, b;

	make(&bus, &f);
	assert_int_equal(get(&bus, AT(6), 2), 0);
	a = pci_dev_cap(&f.pci, 9, 17);
	b = pci_dev_cap(&f.pci, 0x11, 12);
	assert_int_equal(get(&bus, AT(6), 2), 0x10);
	assert_int_equal(get(&bus, AT(0x34), 1), a);
	assert_int_equal(get(&bus, AT(a), 2), 9 | b << 8);
	assert_int_equal(get(&bus, AT(b), 2), 0x11);
	assert_int_equal(b % 4, 0);
	assert_true(b >= a + 17);
	pci_bus_fini(&bus);
}

/* Every offset near the borders, every length, nothing but ones comes of what does not exist. */
static void hostile_config_accesses(void **state)
{
	static const unsigned lens[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
	static const uint64_t outside[] = {PCI_ECAM_SIZE, PCI_ECAM_SIZE + AT(0), UINT64_MAX, UINT64_MAX - 3,
		UINT64_C(1) << 32, AT(0x1000), AT(0x7ffc), UINT64_C(6) << 15};
	struct pci_bus bus;
	struct fake f;
	uint8_t v[8];

	make(&bus, &f);
	for (size_t l = 0; l < ARRAY_SIZE(lens); l++) {
		unsigned len = lens[l];
		bool ok = len == 1 || len == 2 || len == 4;

		for (unsigned off = 0; off < 0x1000; off++) {
			memset(v, 0x11, sizeof(v));
			pci_config_write(&bus, AT(off), v, len);
			pci_config_read(&bus, AT(off), v, len);
			if (!ok || off % len)
				for (unsigned i = 0; i < len; i++)
					assert_int_equal(v[i], 0xff);
			for (unsigned i = len; i < 8; i++)
				assert_int_equal(v[i], 0x11);
		}
		for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
			memset(v, 0, sizeof(v));
			pci_config_write(&bus, outside[i], v, len);
			pci_config_read(&bus, outside[i], v, len);
			for (unsigned k = 0; k < len; k++)
				assert_int_equal(v[k], 0xff);
		}
	}
	assert_int_equal(get(&bus, AT(0), 4), 0x10411af4);
	pci_bus_fini(&bus);
}

static void memory_is_decoded_when_on(void **state)
{
	struct pci_bus bus;
	struct fake f;
	uint8_t v[8] = {0};

	make(&bus, &f);
	assert_false(pci_mmio_read(&bus, BAR, v, 4));
	assert_false(pci_mmio_write(&bus, BAR, v, 4));
	set(&bus, AT(4), 2, 2);
	assert_true(pci_mmio_read(&bus, BAR + 8, v, 8));
	assert_int_equal(get_le64(v), 0x5a5a5a5a5a5a5a5a);
	assert_true(pci_mmio_write(&bus, BAR + BAR_SIZE - 2, v, 2));
	assert_int_equal(f.off, BAR_SIZE - 2);
	assert_int_equal(f.len, 2);
	set(&bus, AT(4), 2, 0);
	assert_false(pci_mmio_read(&bus, BAR, v, 4));
	pci_bus_fini(&bus);
}

static void hostile_memory_accesses(void **state)
{
	static const struct {
		gpa_t gpa;
		unsigned len;
		bool hit, served;
	} rows[] = {
		{BAR - 1, 1, false, false},
		{BAR - 4, 8, false, false},
		{BAR, 1, true, true},
		{BAR, 3, true, false},
		{BAR, 0, true, false},
		{BAR + 1, 2, true, false},
		{BAR + 2, 4, true, false},
		{BAR + 4, 8, true, false},
		{BAR + BAR_SIZE - 1, 1, true, true},
		{BAR + BAR_SIZE - 1, 8, true, false},
		{BAR + BAR_SIZE - 8, 8, true, true},
		{BAR + BAR_SIZE, 1, false, false},
		{0, 4, false, false},
		{UINT64_MAX, 1, false, false},
		{UINT64_MAX - 7, 8, false, false},
		{BAR & 0xffffffff, 4, false, false},
	};
	struct pci_bus bus;
	struct fake f;
	uint8_t v[8] = {0};

	make(&bus, &f);
	set(&bus, AT(4), 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before = f.reads + f.writes;

		if (pci_mmio_read(&bus, rows[i].gpa, v, rows[i].len) != rows[i].hit ||
			pci_mmio_write(&bus, rows[i].gpa, v, rows[i].len) != rows[i].hit)
			fail_msg("row %zu: hit", i);
		if (f.reads + f.writes != before + (rows[i].served ? 2 : 0))
			fail_msg("row %zu: served", i);
	}
	pci_bus_fini(&bus);
}

static void slots_are_checked(void **state)
{
	struct fake f, g;
	struct pci_bus bus;
	struct err err;

	make(&bus, &f);
	g = (struct fake){0};
	pci_dev_init(&g.pci, &id, &ops);
	assert_int_equal(pci_bus_add(&bus, SLOT, &g.pci, &err), -EEXIST);
	assert_int_equal(pci_bus_add(&bus, 0, &g.pci, &err), -EEXIST);
	assert_int_equal(pci_bus_add(&bus, 32, &g.pci, &err), -EINVAL);
	pci_dev_bar(&g.pci, BAR & ~UINT64_C(0xffff), 0x10000);
	assert_int_equal(pci_bus_add(&bus, 6, &g.pci, &err), -EINVAL);
	pci_dev_bar(&g.pci, BAR + BAR_SIZE, BAR_SIZE);
	assert_int_equal(pci_bus_add(&bus, 6, &g.pci, &err), 0);
	pci_bus_remove(&bus, &f.pci);
	assert_int_equal(get(&bus, AT(0), 4), UINT32_MAX);
	pci_dev_fini(&f.pci);
	pci_dev_fini(&g.pci);
	pci_bus_fini(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_enumerates),
		cmocka_unit_test(only_writable_bits_are_written),
		cmocka_unit_test(a_bar_tells_its_size_and_stays),
		cmocka_unit_test(capabilities_are_a_list),
		cmocka_unit_test(hostile_config_accesses),
		cmocka_unit_test(memory_is_decoded_when_on),
		cmocka_unit_test(hostile_memory_accesses),
		cmocka_unit_test(slots_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
