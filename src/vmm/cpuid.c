/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/cpuid.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_FREQUENCY 0x40000010u
#define LAPIC_KHZ 1000000u /* KVM's LAPIC timer counts nanoseconds */

enum { EBX_SMT = 1, EBX_CORE = 2 };

static struct kvm_cpuid_entry2 *find(struct cpuid *c, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == function && c->entries[i].index == index)
			return &c->entries[i];
	return NULL;
}

static int add(struct cpuid *c, const struct kvm_cpuid_entry2 *e, struct err *err)
{
	struct kvm_cpuid_entry2 *old = find(c, e->function, e->index);

	if (!old && c->nent == CPUID_ENTRIES_MAX)
		return err_set(err, E2BIG, "CPUID: more than %d entries", CPUID_ENTRIES_MAX);
	if (!old)
		old = &c->entries[c->nent++];
	*old = *e;
	return 0;
}

static void clear(struct cpuid *c, uint32_t function, uint32_t index, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	struct kvm_cpuid_entry2 *e = find(c, function, index);

	if (!e)
		return;
	e->ebx &= ~ebx;
	e->ecx &= ~ecx;
	e->edx &= ~edx;
}

/* Bits of an APIC id that number the cores of the socket. */
static unsigned core_bits(unsigned vcpus)
{
	unsigned n = 0;

	while (1u << n < vcpus)
		n++;
	return n;
}

static void set_features(struct cpuid *c, unsigned vcpus, bool tsc_deadline)
{
	struct kvm_cpuid_entry2 *e = find(c, 1, 0);

	if (e) {
		e->ecx |= 1u << 31 | 1u << 21;	/* hypervisor; x2APIC, which KVM always has */
		e->ecx &= ~(1u << 5 | 1u << 3); /* VMX, MONITOR */
		if (tsc_deadline)
			e->ecx |= 1u << 24;
		e->ebx = (e->ebx & 0xff00ffff) | vcpus << 16;
		e->edx = vcpus > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28); /* HTT: several ids in the socket */
	}
	clear(c, 0x80000001, 0, 0, 1u << 2, 0); /* SVM */
	e = find(c, 0x8000000a, 0);
	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;
	clear(c, 7, 0, 1u << 14, 0, 0); /* MPX, and its registers: */
	e = find(c, 0xd, 0);
	if (e)
		e->eax &= ~0x18u;
	clear(c, 0xd, 3, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	clear(c, 0xd, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	for (unsigned i = 3; i <= 4; i++) {
		e = find(c, 0xd, i);
		if (e)
			e->eax = 0;
	}
}

/* Level 0: one thread a core; level 1: all cores in one socket. */
static int set_topology(struct cpuid *c, unsigned vcpus, struct err *err)
{
	const struct kvm_cpuid_entry2 smt = {
		.function = 0xb, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ebx = 1, .ecx = EBX_SMT << 8};
	const struct kvm_cpuid_entry2 core = {.function = 0xb,
		.index = 1,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = core_bits(vcpus),
		.ebx = vcpus,
		.ecx = EBX_CORE << 8 | 1};
	struct kvm_cpuid_entry2 *e;
	int r;

	for (uint32_t i = 0; i < c->nent; i++) {
		e = &c->entries[i];
		/* Caches: each core has its own but for the last level. */
		if (e->function == 4 && e->eax & 31)
			e->eax = (e->eax & 0x3fff) | ((1u << core_bits(vcpus)) - 1) << 26 |
				 ((e->eax >> 5 & 7) >= 3 ? (vcpus - 1) << 14 : 0);
		if (e->function == 0x8000001d && e->eax & 31)
			e->eax = (e->eax & 0x3fff) | ((e->eax >> 5 & 7) >= 3 ? (vcpus - 1) << 14 : 0);
		/* The newer leaf that says the same is left out, so the older one counts. */
		if (e->function == 0x1f || (e->function == 0xb && e->index > 1))
			e->eax = e->ebx = e->ecx = 0;
	}
	r = add(c, &smt, err);
	if (r == 0)
		r = add(c, &core, err);
	e = find(c, 0x80000008, 0);
	if (e)
		e->ecx = core_bits(vcpus) << 12 | (vcpus - 1);
	return r;
}

/* The leaves that tell a guest of a hypervisor about the frequencies of its TSC and LAPIC. */
static int set_frequencies(struct cpuid *c, uint32_t tsc_khz, struct err *err)
{
	const struct kvm_cpuid_entry2 freq = {.function = LEAF_FREQUENCY, .eax = tsc_khz, .ebx = LAPIC_KHZ};
	struct kvm_cpuid_entry2 *e = find(c, LEAF_HYPERVISOR, 0);

	if (!e || !tsc_khz)
		return 0;
	if (e->eax < LEAF_FREQUENCY)
		e->eax = LEAF_FREQUENCY;
	return add(c, &freq, err);
}

int cpuid_adjust(struct cpuid *c, unsigned vcpus, uint32_t tsc_khz, bool tsc_deadline, struct err *err)
{
	int r;

	set_features(c, vcpus, tsc_deadline);
	r = set_topology(c, vcpus, err);
	return r < 0 ? r : set_frequencies(c, tsc_khz, err);
}

int cpuid_make(struct cpuid *ret, int kvm_fd, unsigned vcpus, uint32_t tsc_khz, bool tsc_deadline, struct err *err)
{
	*ret = (struct cpuid){.nent = CPUID_ENTRIES_MAX};
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, ret) < 0)
		return err_errno(err, "KVM_GET_SUPPORTED_CPUID");
	if (ret->nent > CPUID_ENTRIES_MAX)
		return err_set(err, E2BIG, "KVM_GET_SUPPORTED_CPUID: %u entries", ret->nent);
	return cpuid_adjust(ret, vcpus, tsc_khz, tsc_deadline, err);
}

void cpuid_set_vcpu(struct cpuid *c, unsigned id)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | id << 24;
		else if (e->function == 0xb)
			e->edx = id;
		else if (e->function == 0x8000001e) {
			e->eax = id;
			e->ebx = (e->ebx & ~0xffffu) | (id & 0xff); /* core id, one thread */
			e->ecx = 0;
		}
	}
}

uint64_t cpuid_xcr0(const struct cpuid *c)
{
	uint64_t xcr0 = 0;
	bool xsave = false;

	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 1)
			xsave = e->ecx & 1u << 26;
		else if (e->function == 0xd && e->index == 0)
			xcr0 = (uint64_t)e->edx << 32 | e->eax;
	}
	return xsave ? xcr0 : 0;
}
