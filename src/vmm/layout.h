/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where everything is in the guest's physical memory, and on its ports. Below 4 GiB there is room for devices; RAM that does
 * not fit below it goes on at 4 GiB.
 *
 *   0x0000_6000  hvm_start_info and the list of modules (boot.c)
 *   0x0000_7000  memory map
 *   0x0002_0000  command line
 *   0x000a_0000  hole up to 1 MiB; ACPI tables from 0xe0000
 *   0x0010_0000  RAM: kernel where its ELF file says, initramfs behind it
 *   0xc000_0000  BARs of PCI devices, one slot every 32 KiB; from 0xc010_0000 on 1 MiB for each root port
 *   0xe000_0000  PCI config space (ECAM), 1 MiB for each bus
 *   0xfee0_0000  local APICs (in KVM)
 *   0xfffb_d000  three pages that KVM needs on Intel processors
 *   0x1_0000_0000  RAM; then, each at a multiple of 2 GiB, what virtio-mem plugs, and files of virtio-pmem
 */
#include <stdint.h>

#define LAYOUT_START_INFO UINT64_C(0x6000)
#define LAYOUT_MEMMAP UINT64_C(0x7000)
#define LAYOUT_CMDLINE UINT64_C(0x20000)
#define LAYOUT_CMDLINE_MAX 2048u /* with its NUL: COMMAND_LINE_SIZE of Linux on x86 */
#define LAYOUT_HOLE UINT64_C(0xa0000)
#define LAYOUT_ACPI UINT64_C(0xe0000)
#define LAYOUT_ACPI_MAX 0x10000u
#define LAYOUT_KERNEL UINT64_C(0x100000)
#define LAYOUT_LOW_MAX UINT64_C(0xc0000000)
#define LAYOUT_BARS UINT64_C(0xc0000000)
#define LAYOUT_BARS_SIZE UINT64_C(0x20000000)
#define LAYOUT_PORTS UINT64_C(0xc0100000)
#define LAYOUT_PORT_SIZE UINT64_C(0x100000)
#define LAYOUT_ECAM UINT64_C(0xe0000000)
#define LAYOUT_LAPIC UINT64_C(0xfee00000)
#define LAYOUT_TSS UINT64_C(0xfffbd000)
#define LAYOUT_HIGH UINT64_C(0x100000000)
#define LAYOUT_ABOVE_ALIGN UINT64_C(0x80000000) /* the largest unit in which Linux brings memory on line */

/* Ports. Sleep and reset are the registers that the FADT names (ACPI 6.4 §4.8.3.7, §4.8.3.6). */
#define PORT_UART 0x3f8u
#define PORT_UART_LEN 8u
#define PORT_SLEEP_CONTROL 0x600u
#define PORT_SLEEP_STATUS 0x601u
#define PORT_RESET 0x602u
#define RESET_VALUE 0x5au
/* Where a keyboard controller would be: kernels reset by it when all else failed, and wait for it to be ready. */
#define PORT_KEYBOARD 0x64u
#define KEYBOARD_RESET 0xfeu
#define SLEEP_TYPE_S5 5u

#define VCPUS_MAX 32u
#define MEMORY_MIN (UINT64_C(64) << 20)
#define MEMORY_MAX (UINT64_C(64) << 30)
