/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "vmm/layout.h"

#define PHDRS_MAX 64u
#define NOTES_MAX 16384u
#define XEN_ELFNOTE_PHYS32_ENTRY 18u
#define HVM_START_MAGIC 0x336ec578u
#define PAGE UINT64_C(4096)
#define SPARSE (UINT64_C(64) << 10) /* a large page with less than that in it is not worth one */

enum { MAP_RAM = 1, MAP_RESERVED = 2, MAP_ACPI = 3 };

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct module {
	uint64_t paddr, size, cmdline, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* ---- the kernel ---- */

static int read_exactly(int fd, void *dst, size_t n, uint64_t off, const char *what, struct err *err)
{
	ssize_t got = off <= INT64_MAX ? pread(fd, dst, n, (off_t)off) : 0;

	if (got < 0)
		return err_errno(err, "kernel: read its %s", what);
	return (size_t)got == n ? 0 : err_set(err, ENOEXEC, "kernel: the file ends inside its %s", what);
}

static int read_header(int fd, Elf64_Ehdr *eh, struct err *err)
{
	int r = read_exactly(fd, eh, sizeof(*eh), 0, "ELF header", err);

	if (r < 0)
		return r;
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
		eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64)
		return err_set(err, ENOEXEC, "kernel: not an uncompressed 64-bit ELF file for x86");
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > PHDRS_MAX)
		return err_set(err, ENOEXEC, "kernel: %u program headers of %u bytes", eh->e_phnum, eh->e_phentsize);
	return 0;
}

/* The rest of a segment beyond its bytes in the file is zero, as all RAM is at the start. */
static int load_segment(const struct ram *ram, int fd, const Elf64_Phdr *ph, struct boot_result *ret, struct err *err)
{
	uint64_t end;
	int r;

	if (ph->p_memsz == 0)
		return 0;
	if (ph->p_filesz > ph->p_memsz || __builtin_add_overflow(ph->p_paddr, ph->p_memsz, &end))
		return err_set(err, ENOEXEC, "kernel: a segment of %" PRIu64 " bytes with %" PRIu64 " in the file",
			ph->p_memsz, ph->p_filesz);
	if (ph->p_paddr < LAYOUT_KERNEL)
		return err_set(err, ENOEXEC, "kernel: a segment at 0x%" PRIx64 ", below 1 MiB", ph->p_paddr);
	if (!guest_mem_at(&ram->mem, ph->p_paddr, ph->p_memsz))
		return err_set(err, ENOMEM, "kernel: needs memory up to 0x%" PRIx64 ", which the guest has not", end);
	r = ph->p_filesz ? ram_load(ram, ph->p_paddr, fd, ph->p_offset, ph->p_filesz, err) : 0;
	if (r < 0)
		return err_wrap(err, "kernel");
	ret->kernel_start = ret->kernel_end ? MIN_OF(ret->kernel_start, ph->p_paddr) : ph->p_paddr;
	ret->kernel_end = MAX_OF(ret->kernel_end, end);
	return 0;
}

/* True when the notes of `n` bytes hold an entry point. */
static bool find_entry(const uint8_t *notes, size_t n, gpa_t *ret)
{
	size_t at = 0;

	while (n - at >= sizeof(Elf64_Nhdr)) {
		uint64_t name_len = get_le32(notes + at), desc_len = get_le32(notes + at + 4);
		uint64_t name = at + sizeof(Elf64_Nhdr), desc = name + ((name_len + 3) & ~UINT64_C(3));
		uint64_t next = desc + ((desc_len + 3) & ~UINT64_C(3));

		if (desc + desc_len > n)
			return false;
		if (name_len == 4 && memcmp(notes + name, "Xen", 4) == 0 &&
			get_le32(notes + at + 8) == XEN_ELFNOTE_PHYS32_ENTRY && desc_len >= 4) {
			*ret = desc_len >= 8 ? get_le64(notes + desc) : get_le32(notes + desc);
			return true;
		}
		if (next >= n)
			return false;
		at = next;
	}
	return false;
}

static int read_notes(int fd, const Elf64_Phdr *ph, gpa_t *ret_entry, struct err *err)
{
	auto_free uint8_t *notes = NULL;
	int r;

	if (ph->p_filesz == 0 || ph->p_filesz > NOTES_MAX)
		return 1;
	notes = malloc(ph->p_filesz);
	if (!notes)
		return err_set(err, ENOMEM, "kernel: out of memory");
	r = read_exactly(fd, notes, ph->p_filesz, ph->p_offset, "notes", err);
	if (r < 0)
		return r;
	return find_entry(notes, ph->p_filesz, ret_entry) ? 0 : 1;
}

/* How much of the large page around gpa the segments fill. Their bounds are not checked yet. */
static uint64_t filled_around(const Elf64_Phdr *ph, unsigned n, gpa_t gpa)
{
	uint64_t from = gpa & ~(LARGE_PAGE - 1), to = from + LARGE_PAGE, sum = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t end;

		if (ph[i].p_type != PT_LOAD || __builtin_add_overflow(ph[i].p_paddr, ph[i].p_memsz, &end))
			continue;
		if (MAX_OF(ph[i].p_paddr, from) < MIN_OF(end, to))
			sum += MIN_OF(end, to) - MAX_OF(ph[i].p_paddr, from);
	}
	return sum;
}

int boot_load_kernel(const struct ram *ram, int fd, struct boot_result *ret, struct err *err)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	bool found = false;
	int r = read_header(fd, &eh, err);

	if (r == 0)
		r = read_exactly(fd, ph, eh.e_phnum * sizeof(ph[0]), eh.e_phoff, "program headers", err);
	for (unsigned i = 0; r == 0 && i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD) {
			if (filled_around(ph, eh.e_phnum, ph[i].p_paddr) < SPARSE)
				ram_prefer_small(ram, ph[i].p_paddr);
			r = load_segment(ram, fd, &ph[i], ret, err);
		} else if (ph[i].p_type == PT_NOTE && !found) {
			r = read_notes(fd, &ph[i], &ret->entry, err);
			found = r == 0;
			r = r > 0 ? 0 : r;
		}
	}
	if (r < 0)
		return r;
	if (!found)
		return err_set(err, ENOEXEC, "kernel: no PVH entry point (is it built with CONFIG_PVH?)");
	if (ret->entry < ret->kernel_start || ret->entry >= ret->kernel_end || ret->entry > UINT32_MAX)
		return err_set(err, ENOEXEC, "kernel: its entry point 0x%" PRIx64 " is not inside it", ret->entry);
	return 0;
}

/* ---- the rest ---- */

/* Right behind the kernel: they share a large page, and the kernel goes on in the memory that the initramfs leaves. */
static int load_initrd(const struct ram *ram, int fd, struct boot_result *b, struct err *err)
{
	uint64_t top = MIN_OF(ram->size, LAYOUT_LOW_MAX), size;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, "initramfs");
	size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || size == 0)
		return err_set(err, EINVAL, "initramfs: not a file with something in it");
	b->initrd_start = (b->kernel_end + PAGE - 1) & ~(PAGE - 1);
	if (b->initrd_start > top || size > top - b->initrd_start)
		return err_set(
			err, ENOMEM, "initramfs: %" PRIu64 " bytes do not fit into the guest beside its kernel", size);
	b->initrd_end = b->initrd_start + size;
	return ram_load(ram, b->initrd_start, fd, 0, size, err) < 0 ? err_wrap(err, "initramfs") : 0;
}

static uint32_t put_memmap(struct memmap_entry *map, const struct ram *ram, unsigned ports)
{
	uint64_t low = MIN_OF(ram->size, LAYOUT_LOW_MAX);
	uint32_t n = 0;

	map[n++] = (struct memmap_entry){0, LAYOUT_HOLE, MAP_RAM, 0};
	map[n++] = (struct memmap_entry){LAYOUT_ACPI, LAYOUT_ACPI_MAX, MAP_ACPI, 0};
	map[n++] = (struct memmap_entry){LAYOUT_KERNEL, low - LAYOUT_KERNEL, MAP_RAM, 0};
	/* Or Linux does not believe that the ECAM window is one. */
	map[n++] = (struct memmap_entry){LAYOUT_ECAM, (ports + UINT64_C(1)) << 20, MAP_RESERVED, 0};
	if (ram->size > low)
		map[n++] = (struct memmap_entry){LAYOUT_HIGH, ram->size - low, MAP_RAM, 0};
	return n;
}

int boot_load(const struct ram *ram, const struct boot_config *cfg, struct boot_result *ret, struct err *err)
{
	struct boot_result b = {.start_info = LAYOUT_START_INFO};
	/* RAM has at least 64 MiB, so these are there. */
	struct start_info *si = guest_mem_at(&ram->mem, LAYOUT_START_INFO, 4096);
	struct module *mod = (struct module *)(void *)(si + 1);
	struct memmap_entry *map = guest_mem_at(&ram->mem, LAYOUT_MEMMAP, 4096);
	size_t cmdline_len = strlen(cfg->cmdline);
	int r;

	if (cmdline_len >= LAYOUT_CMDLINE_MAX)
		return err_set(err, E2BIG, "the kernel's command line has %zu bytes, more than %u", cmdline_len,
			LAYOUT_CMDLINE_MAX - 1);
	r = boot_load_kernel(ram, cfg->kernel_fd, &b, err);
	if (r == 0 && cfg->initrd_fd >= 0)
		r = load_initrd(ram, cfg->initrd_fd, &b, err);
	if (r < 0)
		return r;
	memcpy(guest_mem_at(&ram->mem, LAYOUT_CMDLINE, LAYOUT_CMDLINE_MAX), cfg->cmdline, cmdline_len + 1);
	*si = (struct start_info){
		.magic = HVM_START_MAGIC,
		.version = 1,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = cfg->rsdp,
		.memmap = LAYOUT_MEMMAP,
		.memmap_entries = put_memmap(map, ram, cfg->ports),
	};
	if (b.initrd_end) {
		si->nr_modules = 1;
		si->modlist = LAYOUT_START_INFO + sizeof(*si);
		*mod = (struct module){.paddr = b.initrd_start, .size = b.initrd_end - b.initrd_start};
	}
	*ret = b;
	return 0;
}
