/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The machine: KVM, RAM, the PCI bus, vCPUs and what their exits touch.
 *
 *   vm_init      the VM, its RAM in KVM's slots, the interrupt controllers, vCPUs (slots come first: KVM waits for
 *                other CPUs at every change of them once an interrupt controller exists)
 *   vm_load      kernel, initramfs, tables; vCPU 0 stands at the entry point
 *   vm_add_device  as often as there are devices, each in the thread of its loop
 *   vm_start     vCPU threads run
 *   vm_plug      a device comes; vm_unplug -> vm->released -> vm_take_out: it goes
 *   vm_pause     and vm_resume, from the owner's loop
 *   vm->end      the first reason why the guest cannot go on; end_fd tells
 *
 * Threads. A vCPU thread does nothing but KVM_RUN and the register accesses that it ends with. A device runs on a loop of its
 * owner; its interrupts go out by KVM_SIGNAL_MSI from there: one system call, no route to be set up, and none to change when
 * the guest moves a vector. Kicks come by ioeventfds. Nothing in here is freed before the process ends: exit is the fastest
 * way to give everything back.
 */
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include "base/loop.h"
#include "virtio/msix.h"
#include "virtio/pci_port.h"
#include "virtio/virtio_pci.h"
#include "vmm/boot.h"
#include "vmm/jail.h"
#include "vmm/layout.h"
#include "vmm/uart.h"

#define EXIT_REASONS 64

enum vm_end {
	VM_RUNS,
	VM_POWEROFF, /* the guest asked for S5 */
	VM_RESET,    /* it wrote to the reset register */
	VM_TRIPLE,   /* a triple fault */
	VM_ERROR,    /* KVM cannot go on with it */
};

struct vm_config {
	int kvm_fd;		 /* consumed */
	unsigned vcpus, allowed; /* how many there are, and how many of them may run at first */
	uint64_t memory;	 /* bytes */
	bool huge_pages;
	int kernel_fd, initrd_fd; /* borrowed until vm_load returns; initrd_fd may be -1 */
	const char *cmdline;
	int console_fd; /* borrowed; -1: none */
	bool no_jail;
	enum jail_seccomp seccomp;
	const struct guest_region *more; /* borrowed: memory of devices, added to RAM */
	unsigned n_more;
	unsigned ports; /* root ports, for devices that come and go */
};

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool parked;		      /* under vm->lock */
	uint64_t exits[EXIT_REASONS]; /* by exit reason; written by its thread alone */
	uint64_t kicks;		      /* KVM_RUN was interrupted */
};

/* A message by vector, as the guest programmed it. */
struct vm_msi {
	uint64_t addr;
	uint32_t data;
};

struct vm_device;

struct vm_kick {
	struct loop_fd src;
	struct vm_device *owner;
	unsigned queue;
	int fd;
};

struct vm_device {
	struct virtio_pci *vp; /* NULL: the slot is empty */
	struct virtio_dev *dev;
	struct vm *vm;
	uint64_t irqs, kicks_seen; /* written by the device's loop; irqs also elsewhere, atomically */
	struct vm_msi msi[MSIX_VECTORS_MAX];
	struct vm_kick kicks[VIRTIO_QUEUES_MAX];
};

struct vm {
	struct vm_config cfg;
	int fd;
	struct ram ram;
	struct pci_bus bus;
	struct uart uart;
	struct boot_result boot;
	uint32_t tsc_khz;
	struct vm_device devices[PCI_SLOTS + PCI_PORTS_MAX]; /* by slot of the bus */
	struct pci_port ports[PCI_PORTS_MAX];
	uint32_t released; /* atomic: a bit for each port of which the guest let go */
	int released_fd;   /* eventfd: there are such */
	struct vcpu vcpus[VCPUS_MAX];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool started, paused; /* what vCPUs obey; under lock, paused and allowed also read without */
	unsigned allowed;     /* vCPUs from this number on do not run */
	unsigned n_parked;
	int parked_fd; /* eventfd: all vCPUs stand since vm_pause */
	enum vm_end end;
	char why[160];
	int end_fd;	       /* eventfd: `end` is set */
	uint64_t first_run_ns; /* CLOCK_MONOTONIC, just before the first KVM_RUN; 0: not yet */
};

/* Everything in *vm is set; on failure the process is expected to end. */
int vm_init(struct vm *vm, const struct vm_config *cfg, struct err *err) must_check;
int vm_load(struct vm *vm, struct err *err) must_check;
/* Puts the device into the next free slot. Called in the thread of dev->loop; dev is borrowed for good. */
int vm_add_device(struct vm *vm, struct virtio_dev *dev, struct err *err) must_check;
/*
 * Puts the device into a root port that is free, while the guest runs, and has the guest told. Called on dev->loop. *ret_port
 * says which; -ENOSPC: none is free.
 */
int vm_plug(struct vm *vm, struct virtio_dev *dev, unsigned *ret_port, struct err *err) must_check;
/* Asks the guest to let go; vm->released tells when it has, perhaps at once. */
void vm_unplug(struct vm *vm, unsigned port);
/* Takes the device off the bus, for its owner to free. All vCPUs stand. On its loop. */
void vm_take_out(struct vm *vm, unsigned port);
/* Starts the threads of the vCPUs; they wait until vm_resume. */
int vm_start(struct vm *vm, struct err *err) must_check;

/* Asks all vCPUs to stand; parked_fd becomes readable when they do. Not to be waited for on a loop that devices run on. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
bool vm_is_parked(struct vm *vm);
/* All vCPUs stand: how many of them the guest has on line: they run, or wait for an interrupt that can come. */
unsigned vm_online(const struct vm *vm);
/* All vCPUs stand: only the first n, 1 to all of them, may run from now on. -EBUSY: the guest has one of the others on line. */
int vm_allow(struct vm *vm, unsigned n, struct err *err) must_check;

/* The guest is over. The first call counts. From any thread. */
void vm_end(struct vm *vm, enum vm_end how, const char *fmt, ...) printf_like(3, 4);

/* ---- parts: vcpu.c, machine.c ---- */

int vcpu_init(struct vm *vm, unsigned id, struct err *err) must_check;
/* CPUID and model specific registers. */
int vcpu_setup_all(struct vm *vm, struct err *err) must_check;
int vcpu_set_entry(struct vcpu *vcpu, const struct boot_result *boot, struct err *err) must_check;
int vcpu_start(struct vcpu *vcpu, struct err *err) must_check;
/* Has a vCPU leave KVM_RUN, now or at its next attempt. */
void vcpu_kick(struct vcpu *vcpu);
/* All vCPUs stand: the guest has this one on line, or started it before the last of them stood. Asks KVM: else it would wait for the guest. */
bool vcpu_is_online(const struct vcpu *vcpu);

/* Where the BAR of a slot is. */
gpa_t vm_bar(unsigned slot);

/* Serves the exits that carry a register access. */
void machine_port(struct vm *vm, struct kvm_run *run);
void machine_mmio(struct vm *vm, struct kvm_run *run);
