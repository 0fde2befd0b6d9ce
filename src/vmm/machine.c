/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a register access reaches: PCI config space and BARs in memory; the UART, sleep and reset on ports. Everywhere else there
 * is nothing, which reads as all ones.
 */
#include <string.h>

#include "base/bytes.h"
#include "vmm/vm.h"

static uint8_t port_read(struct vm *vm, unsigned port)
{
	if (port - PORT_UART < PORT_UART_LEN)
		return uart_read(&vm->uart, port - PORT_UART);
	return port == PORT_SLEEP_STATUS || port == PORT_KEYBOARD ? 0 : 0xff;
}

static void port_write(struct vm *vm, unsigned port, uint8_t value)
{
	enum { SLEEP_ENABLE = 1 << 5, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7 };

	if (port - PORT_UART < PORT_UART_LEN)
		uart_write(&vm->uart, port - PORT_UART, value);
	else if ((port == PORT_RESET && value == RESET_VALUE) || (port == PORT_KEYBOARD && value == KEYBOARD_RESET))
		vm_end(vm, VM_RESET, "the guest reset itself");
	else if (port == PORT_SLEEP_CONTROL && value & SLEEP_ENABLE &&
		 (value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == SLEEP_TYPE_S5)
		vm_end(vm, VM_POWEROFF, "the guest powered off");
}

/* KVM has bounded count and size; a wider access is one of several registers. */
void machine_port(struct vm *vm, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++)
		for (unsigned j = 0; j < run->io.size; j++, data++) {
			if (run->io.direction == KVM_EXIT_IO_OUT)
				port_write(vm, run->io.port + j, *data);
			else
				*data = port_read(vm, run->io.port + j);
		}
}

void machine_mmio(struct vm *vm, struct kvm_run *run)
{
	const gpa_t gpa = run->mmio.phys_addr;
	unsigned len = MIN_OF(run->mmio.len, 8u);

	if (gpa - LAYOUT_ECAM < (vm->cfg.ports + 1) * (uint64_t)PCI_ECAM_SIZE) {
		if (run->mmio.is_write)
			pci_config_write(&vm->bus, gpa - LAYOUT_ECAM, run->mmio.data, len);
		else
			pci_config_read(&vm->bus, gpa - LAYOUT_ECAM, run->mmio.data, len);
	} else if (run->mmio.is_write) {
		(void)pci_mmio_write(&vm->bus, gpa, run->mmio.data, len);
	} else if (!pci_mmio_read(&vm->bus, gpa, run->mmio.data, len)) {
		memset(run->mmio.data, 0xff, len);
	}
}
