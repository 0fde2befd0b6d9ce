/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the guest's CPUs say they are: what KVM offers, with the topology of this VM (one socket, a core per vCPU), the
 * frequencies that a guest would otherwise measure, and without what a pod's guest has no use for: virtualisation of its
 * own, MPX.
 */
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CPUID_ENTRIES_MAX 256

struct cpuid {
	uint32_t nent, padding; /* the layout of struct kvm_cpuid2 */
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/* tsc_khz 0: unknown. `tsc_deadline`: KVM has that timer. */
int cpuid_make(
	struct cpuid *ret, int kvm_fd, unsigned vcpus, uint32_t tsc_khz, bool tsc_deadline, struct err *err) must_check;
/* Sets the parts that differ from vCPU to vCPU. */
void cpuid_set_vcpu(struct cpuid *c, unsigned id);
/* The bits of XCR0 that the guest may set; 0: no XSAVE. */
uint64_t cpuid_xcr0(const struct cpuid *c);

/* The changes alone, for tests. */
int cpuid_adjust(struct cpuid *c, unsigned vcpus, uint32_t tsc_khz, bool tsc_deadline, struct err *err) must_check;
