/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The ACPI tables of a hardware-reduced machine (ACPI 6.4 §4.1): vCPUs, where PCI config space is, one PCI root, and how to power
 * off and reset. There is no PM timer, no SCI, no I/O APIC, no RTC, no keyboard controller, and they say so, so that nobody
 * probes for them.
 */
#include "virtio/guest_mem.h"

/* Writes them at LAYOUT_ACPI. Returns the address of the RSDP. 1 <= vcpus <= VCPUS_MAX;
 * `ports`: root ports, whose hot-plug is then the guest's own (_OSC grants it all that it asks for). */
gpa_t acpi_put(const struct guest_mem *mem, unsigned vcpus, unsigned ports);
