/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Loading the guest: an uncompressed ELF kernel that is entered by PVH (its note XEN_ELFNOTE_PHYS32_ENTRY gives a 32-bit entry
 * point), an initramfs, and the structures that the entry point is handed (xen/include/public/arch-x86/hvm/start_info.h).
 * The files are hostile input: nothing in them reaches beyond guest memory.
 */
#include "vmm/ram.h"

struct boot_config {
	int kernel_fd;	     /* borrowed */
	int initrd_fd;	     /* borrowed; -1: none */
	const char *cmdline; /* shorter than LAYOUT_CMDLINE_MAX */
	gpa_t rsdp;
	unsigned ports; /* root ports: each has a bus, and so more of PCI config space */
};

struct boot_result {
	gpa_t entry;	  /* 32-bit, paging off */
	gpa_t start_info; /* for EBX */
	gpa_t kernel_start, kernel_end, initrd_start, initrd_end;
};

int boot_load(
	const struct ram *ram, const struct boot_config *cfg, struct boot_result *ret, struct err *err) must_check;

/* The kernel alone, for tests and fuzzing: fills entry, kernel_start, kernel_end. */
int boot_load_kernel(const struct ram *ram, int fd, struct boot_result *ret, struct err *err) must_check;
