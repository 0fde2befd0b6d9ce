/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest finds when it starts: kernel, initramfs, start info, ACPI tables, CPUID. */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/cpuid.h"
#include "vmm/layout.h"

#define MIB (UINT64_C(1) << 20)
#define KERNEL_GPA UINT64_C(0x1000000)

struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	struct {
		uint32_t name_len, desc_len, type;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t text[12000];
};

static void make_image(struct image *im)
{
	memset(im, 0, sizeof(*im));
	memcpy(im->eh.e_ident, ELFMAG, SELFMAG);
	im->eh.e_ident[EI_CLASS] = ELFCLASS64;
	im->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	im->eh.e_machine = EM_X86_64;
	im->eh.e_phoff = offsetof(struct image, ph);
	im->eh.e_phentsize = sizeof(im->ph[0]);
	im->eh.e_phnum = 3;
	im->ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
		.p_offset = 0,
		.p_paddr = KERNEL_GPA,
		.p_filesz = sizeof(*im),
		.p_memsz = sizeof(*im) + 8192};
	im->ph[1] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = offsetof(struct image, note), .p_filesz = sizeof(im->note)};
	im->ph[2] = (Elf64_Phdr){.p_type = PT_NULL};
	im->note.name_len = 4;
	im->note.desc_len = 4;
	im->note.type = 18;
	memcpy(im->note.name, "Xen", 4);
	im->note.entry = (uint32_t)(KERNEL_GPA + offsetof(struct image, text));
	for (size_t i = 0; i < sizeof(im->text); i++)
		im->text[i] = (uint8_t)(i * 7);
}

static int file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	return fd;
}

static void make_ram(struct ram *ram, uint64_t size)
{
	struct err err = {0};

	assert_int_equal(ram_init(ram, size, false, &err), 0);
}

static void free_ram(struct ram *ram)
{
	(void)munmap(ram->base - RAM_GUARD, ram->size + 2 * RAM_GUARD);
}

static void loads_a_kernel(void **state)
{
	static struct image im;
	struct boot_result b;
	struct err err = {0};
	struct ram ram;
	char initrd[5000];
	int kernel, file;
	struct boot_config cfg = {.cmdline = "quiet", .rsdp = 0xe0000};
	const uint8_t *si, *map, *mod;

	make_image(&im);
	memset(initrd, 'i', sizeof(initrd));
	make_ram(&ram, 64 * MIB);
	kernel = cfg.kernel_fd = file_of(&im, sizeof(im));
	file = cfg.initrd_fd = file_of(initrd, sizeof(initrd));
	assert_int_equal(boot_load(&ram, &cfg, &b, &err), 0);
	(void)close(kernel);
	(void)close(file);
	assert_int_equal(b.entry, im.note.entry);
	assert_int_equal(b.kernel_end, KERNEL_GPA + sizeof(im) + 8192);
	assert_memory_equal(guest_mem_at(&ram.mem, KERNEL_GPA, sizeof(im)), &im, sizeof(im));
	for (size_t i = 0; i < 8192; i++)
		assert_int_equal(ram.base[KERNEL_GPA + sizeof(im) + i], 0);
	assert_int_equal(b.initrd_start, (b.kernel_end + 4095) / 4096 * 4096);
	assert_int_equal(b.initrd_end, b.initrd_start + sizeof(initrd));
	assert_memory_equal(ram.base + b.initrd_start, initrd, sizeof(initrd));
	si = ram.base + b.start_info;
	assert_int_equal(get_le32(si), 0x336ec578);
	assert_int_equal(get_le32(si + 12), 1);
	mod = ram.base + get_le64(si + 16);
	assert_int_equal(get_le64(mod), b.initrd_start);
	assert_int_equal(get_le64(mod + 8), sizeof(initrd));
	assert_string_equal((const char *)ram.base + get_le64(si + 24), "quiet");
	assert_int_equal(get_le64(si + 32), 0xe0000);
	map = ram.base + get_le64(si + 40);
	assert_int_equal(get_le32(si + 48), 4);
	assert_int_equal(get_le64(map + 2 * 24), MIB);
	assert_int_equal(get_le64(map + 2 * 24 + 8), 63 * MIB);
	free_ram(&ram);
}

/* 'h' or 'n' as madvise() left the mapping around `at`, '-' for neither. */
static char pages_of(const uint8_t *at)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[400], r = '-';
	unsigned long from, to;
	bool here = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)at && (uintptr_t)at < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			r = strstr(line, " nh") ? 'n' : strstr(line, " hg") ? 'h' : '-';
	}
	(void)fclose(f);
	return r;
}

/* A few pages alone in 2 MiB do not get a large one, many do, and so do a few beside them. */
static void little_gets_small_pages(void **state)
{
	static struct image im;
	struct boot_result b = {0};
	struct err err = {0};
	struct ram ram;
	int fd;

	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) < 0) {
		print_message("this kernel has no large pages\n");
		skip();
	}
	make_image(&im);
	im.ph[0].p_memsz = 4 * MIB;
	im.ph[2] = im.ph[0];
	im.ph[2].p_paddr = KERNEL_GPA + 6 * MIB;
	im.ph[2].p_memsz = sizeof(im);
	fd = file_of(&im, sizeof(im));
	make_ram(&ram, 64 * MIB);
	assert_int_equal(boot_load_kernel(&ram, fd, &b, &err), 0);
	assert_int_equal(pages_of(ram.base + KERNEL_GPA), '-');
	assert_int_equal(pages_of(ram.base + KERNEL_GPA + 6 * MIB), 'n');
	assert_int_equal(pages_of(ram.base + KERNEL_GPA + 8 * MIB - 1), 'n');
	assert_int_equal(pages_of(ram.base + KERNEL_GPA + 8 * MIB), '-');
	free_ram(&ram);
	/* Beside a large segment. */
	im.ph[2].p_paddr = KERNEL_GPA + 3 * MIB;
	(void)close(fd);
	fd = file_of(&im, sizeof(im));
	make_ram(&ram, 64 * MIB);
	assert_int_equal(boot_load_kernel(&ram, fd, &b, &err), 0);
	assert_int_equal(pages_of(ram.base + KERNEL_GPA + 3 * MIB), '-');
	free_ram(&ram);
	(void)close(fd);
}

/* RAM above the hole is announced, and the initramfs stays below it. */
static void large_memory_has_a_hole(void **state)
{
	struct boot_config cfg = {.cmdline = "", .initrd_fd = -1};
	static struct image im;
	struct boot_result b;
	struct err err = {0};
	struct ram ram;
	const uint8_t *map;

	make_image(&im);
	make_ram(&ram, MEMORY_MAX);
	cfg.kernel_fd = cfg.initrd_fd = file_of(&im, sizeof(im));
	assert_int_equal(boot_load(&ram, &cfg, &b, &err), 0);
	(void)close(cfg.kernel_fd);
	assert_true(b.initrd_end <= LAYOUT_LOW_MAX);
	assert_null(guest_mem_at(&ram.mem, LAYOUT_LOW_MAX, 1));
	assert_ptr_equal(guest_mem_at(&ram.mem, LAYOUT_HIGH, 1), ram.base + LAYOUT_LOW_MAX);
	assert_null(guest_mem_at(&ram.mem, LAYOUT_HIGH + MEMORY_MAX - LAYOUT_LOW_MAX, 1));
	map = ram.base + LAYOUT_MEMMAP;
	assert_int_equal(get_le64(map + 4 * 24), LAYOUT_HIGH);
	assert_int_equal(get_le64(map + 4 * 24 + 8), MEMORY_MAX - LAYOUT_LOW_MAX);
	free_ram(&ram);
	assert_int_equal(ram_init(&ram, MEMORY_MAX + 2 * MIB, false, &err), -EINVAL);
	assert_int_equal(ram_init(&ram, 62 * MIB, false, &err), -EINVAL);
	assert_int_equal(ram_init(&ram, 65 * MIB, false, &err), -EINVAL);
}

static void nothing_is_beside_guest_memory(void **state)
{
	struct ram ram;
	int pipe_fds[2];

	make_ram(&ram, 64 * MIB);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], ram.base, 1), 1);
	assert_int_equal(write(pipe_fds[1], ram.base + ram.size - 1, 1), 1);
	assert_int_equal(write(pipe_fds[1], ram.base - 1, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(write(pipe_fds[1], ram.base + ram.size, 1), -1);
	assert_int_equal(errno, EFAULT);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	free_ram(&ram);
}

static void no_elf(struct image *im)
{
	im->eh.e_ident[1] = 'e';
}

static void elf_32(struct image *im)
{
	im->eh.e_ident[EI_CLASS] = ELFCLASS32;
}

static void other_machine(struct image *im)
{
	im->eh.e_machine = EM_AARCH64;
}

static void no_headers(struct image *im)
{
	im->eh.e_phnum = 0;
}

static void many_headers(struct image *im)
{
	im->eh.e_phnum = 65;
}

static void odd_headers(struct image *im)
{
	im->eh.e_phentsize = 57;
}

static void headers_far(struct image *im)
{
	im->eh.e_phoff = UINT64_MAX - 8;
}

static void headers_negative(struct image *im)
{
	im->eh.e_phoff = UINT64_C(1) << 63;
}

static void segment_low(struct image *im)
{
	im->ph[0].p_paddr = 0x6000;
}

static void segment_high(struct image *im)
{
	im->ph[0].p_paddr = 64 * MIB - 4096;
}

static void segment_wraps(struct image *im)
{
	im->ph[0].p_paddr = UINT64_MAX - 100;
}

static void segment_huge(struct image *im)
{
	im->ph[0].p_memsz = UINT64_MAX;
}

static void more_in_file(struct image *im)
{
	im->ph[0].p_filesz = im->ph[0].p_memsz + 1;
}

static void file_short(struct image *im)
{
	im->ph[0].p_filesz += 4096;
}

static void offset_far(struct image *im)
{
	im->ph[0].p_offset = UINT64_MAX - 4095;
}

static void no_note(struct image *im)
{
	im->ph[1].p_type = PT_NULL;
}

static void other_note(struct image *im)
{
	im->note.type = 17;
}

static void other_name(struct image *im)
{
	im->note.name[0] = 'G';
}

static void name_long(struct image *im)
{
	im->note.name_len = UINT32_MAX;
}

static void desc_long(struct image *im)
{
	im->note.desc_len = UINT32_MAX - 2;
}

static void desc_short(struct image *im)
{
	im->note.desc_len = 3;
}

static void notes_huge(struct image *im)
{
	im->ph[1].p_filesz = UINT64_MAX;
}

static void entry_outside(struct image *im)
{
	im->note.entry = 0x7000;
}

static void bad_kernels_are_refused(void **state)
{
	static const struct {
		void (*spoil)(struct image *im);
		const char *say;
	} bad[] = {{no_elf, "not an uncompressed"}, {elf_32, "64-bit"}, {other_machine, "x86"},
		{no_headers, "0 program headers"}, {many_headers, "65 program"}, {odd_headers, "57 bytes"},
		{headers_far, "program headers"}, {headers_negative, "program headers"}, {segment_low, "below 1 MiB"},
		{segment_high, "needs memory"}, {segment_wraps, "segment"}, {segment_huge, "segment"},
		{more_in_file, "segment"}, {file_short, "the file ends at"}, {offset_far, "not inside the file"},
		{no_note, "no PVH"}, {other_note, "no PVH"}, {other_name, "no PVH"}, {name_long, "no PVH"},
		{desc_long, "no PVH"}, {desc_short, "no PVH"}, {notes_huge, "no PVH"}, {entry_outside, "entry point"}};
	static struct image im;
	struct ram ram;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct boot_result b = {0};
		struct err err = {0};
		int fd;

		make_ram(&ram, 64 * MIB);
		make_image(&im);
		bad[i].spoil(&im);
		fd = file_of(&im, sizeof(im));
		if (boot_load_kernel(&ram, fd, &b, &err) >= 0 || !strstr(err.msg, bad[i].say))
			fail_msg("%zu: '%s', which should say '%s'", i, err.msg, bad[i].say);
		(void)close(fd);
		free_ram(&ram);
	}
}

/* ---- ACPI ---- */

static const uint8_t *table(const struct ram *ram, gpa_t at, const char *signature)
{
	const uint8_t *t = guest_mem_at(&ram->mem, at, 36);
	uint8_t sum = 0;

	assert_non_null(t);
	assert_memory_equal(t, signature, 4);
	assert_in_range(at + get_le32(t + 4), LAYOUT_ACPI, LAYOUT_ACPI + LAYOUT_ACPI_MAX);
	for (uint32_t i = 0; i < get_le32(t + 4); i++)
		sum = (uint8_t)(sum + t[i]);
	assert_int_equal(sum, 0);
	return t;
}

/* A generic address (ACPI 6.4 §5.2.3.2): one byte on `port`. */
static void is_port(const uint8_t *at, unsigned port)
{
	static const uint8_t want[] = {1 /* I/O */, 8 /* bits */, 0, 1 /* byte access */};

	assert_memory_equal(at, want, sizeof(want));
	assert_int_equal(get_le64(at + 4), port);
}

/*
 * How Linux powers off and resets: the flag says that there is a reset register (ACPI 6.4 §4.8.3.6), and the monitor answers at the
 * ports that are named. The numbers are fixed here, too: the bare guests have them from guest.inc.
 */
static void the_fadt_says_how_to_end(void **state)
{
	struct ram ram;
	const uint8_t *rsdp, *fadt;

	make_ram(&ram, 64 * MIB);
	rsdp = guest_mem_at(&ram.mem, acpi_put(&ram.mem, 1, 0), 36);
	fadt = table(&ram, get_le64(table(&ram, get_le64(rsdp + 24), "XSDT") + 36), "FACP");
	assert_int_equal(get_le32(fadt + 4), 276);
	assert_true(get_le32(fadt + 112) & 1u << 10); /* RESET_REG_SUP */
	is_port(fadt + 116, 0x602);
	assert_int_equal(fadt[128], 0x5a);
	is_port(fadt + 244, 0x600); /* sleep control and status */
	is_port(fadt + 256, 0x601);
	free_ram(&ram);
}

static void tables_hold_together(void **state)
{
	struct ram ram;
	const uint8_t *rsdp, *xsdt, *madt, *fadt;
	uint8_t sum = 0;

	make_ram(&ram, 64 * MIB);
	rsdp = guest_mem_at(&ram.mem, acpi_put(&ram.mem, VCPUS_MAX, 0), 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	for (unsigned i = 0; i < 36; i++)
		sum = (uint8_t)(sum + rsdp[i]);
	assert_int_equal(sum, 0);
	xsdt = table(&ram, get_le64(rsdp + 24), "XSDT");
	assert_int_equal(get_le32(xsdt + 4), 36 + 3 * 8);
	fadt = table(&ram, get_le64(xsdt + 36), "FACP");
	assert_true(get_le32(fadt + 112) & 1u << 20);
	(void)table(&ram, get_le64(fadt + 140), "DSDT");
	madt = table(&ram, get_le64(xsdt + 44), "APIC");
	assert_int_equal(get_le32(madt + 4), 44 + VCPUS_MAX * 8);
	assert_int_equal(madt[44 + 31 * 8 + 3], 31);
	(void)table(&ram, get_le64(xsdt + 52), "MCFG");
	free_ram(&ram);
}

/* ---- CPUID ---- */

static const struct kvm_cpuid_entry2 *leaf(const struct cpuid *c, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == function && c->entries[i].index == index)
			return &c->entries[i];
	fail_msg("no leaf 0x%x/%u", function, index);
	return NULL;
}

static void cpuid_tells_the_topology(void **state)
{
	static struct cpuid c;
	struct err err = {0};

	c.nent = 6;
	c.entries[0] = (struct kvm_cpuid_entry2){.function = 1, .ecx = 1u << 5 | 1u << 26, .ebx = 0xffffffff};
	c.entries[1] = (struct kvm_cpuid_entry2){.function = 0xd, .eax = 0x1f, .flags = 1};
	c.entries[2] = (struct kvm_cpuid_entry2){.function = 0x40000000, .eax = 0x40000001};
	c.entries[3] = (struct kvm_cpuid_entry2){.function = 0x80000001, .ecx = 1u << 2};
	c.entries[4] = (struct kvm_cpuid_entry2){.function = 0x1f, .eax = 7, .ebx = 7, .ecx = 7};
	c.entries[5] = (struct kvm_cpuid_entry2){.function = 0x80000008};
	assert_int_equal(cpuid_adjust(&c, 6, 2500000, true, &err), 0);
	cpuid_set_vcpu(&c, 5);
	assert_int_equal(leaf(&c, 1, 0)->ebx >> 16, 0x506);
	assert_int_equal(leaf(&c, 1, 0)->ecx, 1u << 31 | 1u << 26 | 1u << 24 | 1u << 21);
	assert_int_equal(leaf(&c, 0xb, 1)->eax, 3);
	assert_int_equal(leaf(&c, 0xb, 1)->ebx, 6);
	assert_int_equal(leaf(&c, 0xb, 0)->edx, 5);
	assert_int_equal(leaf(&c, 0x1f, 0)->ebx, 0);
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx, 0);
	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 3u << 12 | 5);
	assert_int_equal(leaf(&c, 0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(leaf(&c, 0x40000010, 0)->eax, 2500000);
	assert_int_equal(cpuid_xcr0(&c), 7);
	c.nent = CPUID_ENTRIES_MAX;
	for (uint32_t i = 9; i < c.nent; i++)
		c.entries[i] = (struct kvm_cpuid_entry2){.function = 0x2000 + i};
	c.entries[0].ecx = 0;
	assert_int_equal(cpuid_xcr0(&c), 0);
	c.entries[6].function = c.entries[7].function = c.entries[8].function = 0x3000;
	assert_int_equal(cpuid_adjust(&c, 6, 2500000, true, &err), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_beside_guest_memory),
		cmocka_unit_test(loads_a_kernel),
		cmocka_unit_test(little_gets_small_pages),
		cmocka_unit_test(large_memory_has_a_hole),
		cmocka_unit_test(bad_kernels_are_refused),
		cmocka_unit_test(tables_hold_together),
		cmocka_unit_test(the_fadt_says_how_to_end),
		cmocka_unit_test(cpuid_tells_the_topology),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
