/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/acpi.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "vmm/layout.h"

#define HEADER_LEN 36u

/* Fields of the FADT (ACPI 6.4 table 5.9). */
enum {
	FADT_LEN = 276,
	FADT_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_MINOR = 131,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL = 244,
	FADT_SLEEP_STATUS = 256,

	ARCH_NO_VGA = 1 << 2,
	ARCH_NO_RTC = 1 << 5,
	FLAG_WBINVD = 1 << 0,
	FLAG_NO_POWER_BUTTON = 1 << 4,
	FLAG_NO_SLEEP_BUTTON = 1 << 5,
	FLAG_RESET_REG = 1 << 10,
	FLAG_HW_REDUCED = 1 << 20,
};

/* AML (ACPI 6.4 §20.2). */
enum {
	AML_ZERO = 0x00,
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_DWORD = 0x0c,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_METHOD = 0x14,
	AML_ARG3 = 0x6b,
	AML_RETURN = 0xa4,
	AML_EXT = 0x5b,
	AML_EXT_DEVICE = 0x82,
};

/* Tables one after the other. */
struct writer {
	uint8_t *mem;
	uint32_t len;
};

static uint8_t *put(struct writer *w, const void *bytes, uint32_t n)
{
	uint8_t *at = w->mem + w->len;

	assert(n <= LAYOUT_ACPI_MAX - w->len);
	if (bytes)
		memcpy(at, bytes, n);
	else
		memset(at, 0, n);
	w->len += n;
	return at;
}

static void put8(struct writer *w, unsigned v)
{
	*put(w, NULL, 1) = (uint8_t)v;
}

static void put16(struct writer *w, unsigned v)
{
	put_le16(put(w, NULL, 2), (uint16_t)v);
}

static void put32(struct writer *w, uint64_t v)
{
	put_le32(put(w, NULL, 4), (uint32_t)v);
}

static void set_checksum(uint8_t *p, uint32_t n, unsigned at)
{
	uint8_t sum = 0;

	p[at] = 0;
	for (uint32_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
	p[at] = (uint8_t)-sum;
}

static uint32_t table_begin(struct writer *w, const char *signature, unsigned revision)
{
	uint32_t start = (w->len + 15) & ~15u;
	uint8_t *h;

	(void)put(w, NULL, start - w->len);
	h = put(w, NULL, HEADER_LEN);
	memcpy(h, signature, 4);
	h[8] = (uint8_t)revision;
	memcpy(h + 10, "PODVM ", 6);
	memcpy(h + 16, "PODVMVMM", 8);
	put_le32(h + 24, 1);
	memcpy(h + 28, "PDVM", 4);
	put_le32(h + 32, 1);
	return start;
}

static gpa_t table_end(struct writer *w, uint32_t start)
{
	put_le32(w->mem + start + 4, w->len - start);
	set_checksum(w->mem + start, w->len - start, 9);
	return LAYOUT_ACPI + start;
}

/* ---- DSDT ---- */

/* Something with a length in front: returns where, for aml_close. Always the two-byte form, good for 4095 bytes. */
static uint32_t aml_open(struct writer *w, unsigned op)
{
	put8(w, op);
	put16(w, 0);
	return w->len - 2;
}

static void aml_close(struct writer *w, uint32_t at)
{
	uint32_t len = w->len - at;

	assert(len < 4096);
	w->mem[at] = (uint8_t)(0x40 | (len & 15));
	w->mem[at + 1] = (uint8_t)(len >> 4);
}

static void aml_name(struct writer *w, const char *name)
{
	put8(w, AML_NAME);
	(void)put(w, name, 4);
}

/* A plug-and-play id PNPxxxx: three letters in 15 bits, then the number, big endian. */
static void aml_pnp_id(struct writer *w, const char *name, unsigned number)
{
	aml_name(w, name);
	put8(w, AML_DWORD);
	put8(w, 0x41);
	put8(w, 0xd0);
	put8(w, number >> 8);
	put8(w, number & 0xff);
}

/* What the root passes on (ACPI 6.4 §6.4.3.5): bus 0, and the window of the BARs. */
static void put_root_resources(struct writer *w, unsigned ports)
{
	enum { LEN = 16 + 26 + 2, FIXED = 0x0c };
	uint32_t buffer;

	aml_name(w, "_CRS");
	buffer = aml_open(w, AML_BUFFER);
	put8(w, AML_BYTE);
	put8(w, LEN);
	put8(w, 0x88); /* word address space */
	put16(w, 13);
	put8(w, 2); /* bus numbers */
	put8(w, FIXED);
	put8(w, 0);
	put16(w, 0); /* granularity */
	put16(w, 0);
	put16(w, ports); /* the last */
	put16(w, 0);	 /* translation */
	put16(w, ports + 1);
	put8(w, 0x87); /* double word address space */
	put16(w, 23);
	put8(w, 0); /* memory */
	put8(w, FIXED);
	put8(w, 1); /* writable, not cacheable */
	put32(w, 0);
	put32(w, LAYOUT_BARS);
	put32(w, LAYOUT_BARS + LAYOUT_BARS_SIZE - 1);
	put32(w, 0);
	put32(w, LAYOUT_BARS_SIZE);
	put8(w, 0x79); /* end */
	put8(w, 0);
	aml_close(w, buffer);
}

/* Mainboard resources: Linux uses an ECAM window only if somebody owns it (ACPI 6.4 §6.4.3.4: 32-bit fixed memory). */
static void put_mainboard(struct writer *w, unsigned ports)
{
	enum { LEN = 12 + 2 };
	uint32_t device, buffer;

	put8(w, AML_EXT);
	device = aml_open(w, AML_EXT_DEVICE);
	(void)put(w, "MB00", 4);
	aml_pnp_id(w, "_HID", 0x0c02);
	aml_name(w, "_CRS");
	buffer = aml_open(w, AML_BUFFER);
	put8(w, AML_BYTE);
	put8(w, LEN);
	put8(w, 0x86);
	put16(w, 9);
	put8(w, 1); /* writable */
	put32(w, LAYOUT_ECAM);
	put32(w, (ports + UINT64_C(1)) << 20);
	put8(w, 0x79);
	put8(w, 0);
	aml_close(w, buffer);
	aml_close(w, device);
}

/* Who serves what of PCI Express (PCI firmware spec §4.5.1): the guest, all that it asks for. Without it, it asks nobody. */
static void put_osc(struct writer *w)
{
	uint32_t method = aml_open(w, AML_METHOD);

	(void)put(w, "_OSC", 4);
	put8(w, 4); /* arguments */
	put8(w, AML_RETURN);
	put8(w, AML_ARG3);
	aml_close(w, method);
}

static gpa_t put_dsdt(struct writer *w, unsigned ports)
{
	uint32_t table = table_begin(w, "DSDT", 2), scope, device, package;

	scope = aml_open(w, AML_SCOPE);
	(void)put(w, "_SB_", 4);
	put8(w, AML_EXT);
	device = aml_open(w, AML_EXT_DEVICE);
	(void)put(w, "PCI0", 4);
	aml_pnp_id(w, "_HID", 0x0a08);
	aml_pnp_id(w, "_CID", 0x0a03);
	aml_name(w, "_UID");
	put8(w, AML_ZERO);
	aml_name(w, "_SEG");
	put8(w, AML_ZERO);
	aml_name(w, "_BBN");
	put8(w, AML_ZERO);
	put_root_resources(w, ports);
	if (ports)
		put_osc(w);
	aml_close(w, device);
	put_mainboard(w, ports);
	aml_close(w, scope);
	aml_name(w, "_S5_");
	package = aml_open(w, AML_PACKAGE);
	put8(w, 2);
	put8(w, AML_BYTE);
	put8(w, SLEEP_TYPE_S5);
	put8(w, AML_ZERO);
	aml_close(w, package);
	return table_end(w, table);
}

/* ---- the others ---- */

/* A generic address: one byte on a port. */
static void set_port(uint8_t *at, unsigned port)
{
	at[0] = 1;
	at[1] = 8;
	at[3] = 1;
	put_le64(at + 4, port);
}

static gpa_t put_fadt(struct writer *w, gpa_t dsdt)
{
	uint32_t start = table_begin(w, "FACP", 6);
	uint8_t *t = w->mem + start;

	(void)put(w, NULL, FADT_LEN - HEADER_LEN);
	put_le16(t + FADT_BOOT_ARCH, ARCH_NO_VGA | ARCH_NO_RTC);
	put_le32(t + FADT_FLAGS,
		FLAG_WBINVD | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_RESET_REG | FLAG_HW_REDUCED);
	set_port(t + FADT_RESET_REG, PORT_RESET);
	t[FADT_RESET_VALUE] = RESET_VALUE;
	t[FADT_MINOR] = 4;
	put_le64(t + FADT_X_DSDT, dsdt);
	set_port(t + FADT_SLEEP_CONTROL, PORT_SLEEP_CONTROL);
	set_port(t + FADT_SLEEP_STATUS, PORT_SLEEP_STATUS);
	return table_end(w, start);
}

static gpa_t put_madt(struct writer *w, unsigned vcpus)
{
	uint32_t start = table_begin(w, "APIC", 5);

	put32(w, LAYOUT_LAPIC);
	put32(w, 0); /* no 8259s */
	for (unsigned i = 0; i < vcpus; i++) {
		put8(w, 0); /* local APIC */
		put8(w, 8);
		put8(w, i);
		put8(w, i);
		put32(w, 1); /* enabled */
	}
	return table_end(w, start);
}

static gpa_t put_mcfg(struct writer *w, unsigned ports)
{
	uint32_t start = table_begin(w, "MCFG", 1);

	(void)put(w, NULL, 8);
	put32(w, LAYOUT_ECAM);
	put32(w, 0);
	put16(w, 0); /* segment */
	put8(w, 0);  /* first bus */
	put8(w, ports);
	put32(w, 0);
	return table_end(w, start);
}

gpa_t acpi_put(const struct guest_mem *mem, unsigned vcpus, unsigned ports)
{
	struct writer w = {.mem = guest_mem_at(mem, LAYOUT_ACPI, LAYOUT_ACPI_MAX)};
	uint8_t *rsdp = put(&w, NULL, HEADER_LEN);
	gpa_t tables[3];
	uint32_t xsdt;

	tables[0] = put_fadt(&w, put_dsdt(&w, ports));
	tables[1] = put_madt(&w, vcpus);
	tables[2] = put_mcfg(&w, ports);
	xsdt = table_begin(&w, "XSDT", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		put_le64(put(&w, NULL, 8), tables[i]);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "PODVM ", 6);
	rsdp[15] = 2; /* ACPI 2.0 and later */
	put_le32(rsdp + 20, HEADER_LEN);
	put_le64(rsdp + 24, table_end(&w, xsdt));
	set_checksum(rsdp, 20, 8);
	set_checksum(rsdp, HEADER_LEN, 32);
	return LAYOUT_ACPI;
}
