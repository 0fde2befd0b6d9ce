/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/libc.h"
#include "vmm/cpuid.h"
#include "vmm/vm.h"

#define KICK_SIGNAL SIGUSR2
#define STACK_BYTES (128u * 1024u)
#define MSR_MISC_ENABLE 0x1a0u
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MTRR_DEF_WRITE_BACK 0x806u /* MTRRs on, everything is write-back */

/* The vCPU of this thread, for the signal handler. */
static __thread struct kvm_run *running;

int vcpu_init(struct vm *vm, unsigned id, struct err *err)
{
	struct vcpu *v = &vm->vcpus[id];
	int size = ioctl(vm->cfg.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, EIO, "KVM_GET_VCPU_MMAP_SIZE says %d", size);
	*v = (struct vcpu){.vm = vm, .id = id, .fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id)};
	if (v->fd < 0)
		return err_errno(err, "KVM_CREATE_VCPU %u", id);
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return err_errno(err, "map vCPU %u", id);
	v->run = run;
	return 0;
}

static int set_msr(const struct vcpu *v, uint32_t index, uint64_t value, struct err *err)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} m = {.msrs.nmsrs = 1};

	m.msrs.entries[0] = (struct kvm_msr_entry){.index = index, .data = value};
	return ioctl(v->fd, KVM_SET_MSRS, &m) == 1 ? 0 : err_errno(err, "vCPU %u: set MSR 0x%" PRIx32, v->id, index);
}

/*
 * XCR0 starts as what the guest will set it to: there are hypervisors below us (QEMU's TCG before 8.2) that do not tell KVM when
 * a guest changes it, and KVM then takes the change back at the next exit. Guests that know XSAVE set it first thing.
 */
static int set_xcr0(const struct vcpu *v, uint64_t xcr0, struct err *err)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = xcr0}}};

	if (!xcr0)
		return 0;
	return ioctl(v->fd, KVM_SET_XCRS, &x) < 0 ? err_errno(err, "vCPU %u: KVM_SET_XCRS", v->id) : 0;
}

int vcpu_setup_all(struct vm *vm, struct err *err)
{
	struct cpuid c;
	int khz = ioctl(vm->vcpus[0].fd, KVM_GET_TSC_KHZ, 0), r;

	vm->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	r = cpuid_make(&c, vm->cfg.kvm_fd, vm->cfg.vcpus, vm->tsc_khz,
		ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0, err);
	for (unsigned i = 0; i < vm->cfg.vcpus && r == 0; i++) {
		const struct vcpu *v = &vm->vcpus[i];

		cpuid_set_vcpu(&c, i);
		if (ioctl(v->fd, KVM_SET_CPUID2, &c) < 0)
			return err_errno(err, "vCPU %u: KVM_SET_CPUID2", i);
		r = set_xcr0(v, cpuid_xcr0(&c), err);
		if (r == 0)
			r = set_msr(v, MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING, err);
		if (r == 0)
			r = set_msr(v, MSR_MTRR_DEF_TYPE, MTRR_DEF_WRITE_BACK, err);
	}
	return r;
}

static struct kvm_segment segment(unsigned selector, unsigned type)
{
	return (struct kvm_segment){.limit = UINT32_MAX,
		.selector = (uint16_t)selector,
		.type = (uint8_t)type,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1};
}

/* What PVH asks for: protected mode, flat segments, paging and interrupts off, EBX = start info. */
int vcpu_set_entry(struct vcpu *v, const struct boot_result *boot, struct err *err)
{
	struct kvm_regs regs = {.rip = boot->entry, .rbx = boot->start_info, .rflags = 2};
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_errno(err, "KVM_GET_SREGS");
	s.cs = segment(0x08, 11);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x10, 3);
	s.tr = (struct kvm_segment){.limit = 0x67, .selector = 0x18, .type = 11, .present = 1};
	s.ldt = (struct kvm_segment){.unusable = 1};
	s.gdt = s.idt = (struct kvm_dtable){0};
	s.cr0 = 0x11; /* protection, x87 */
	s.cr3 = s.cr4 = s.efer = 0;
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return err_errno(err, "KVM_SET_SREGS");
	return ioctl(v->fd, KVM_SET_REGS, &regs) < 0 ? err_errno(err, "KVM_SET_REGS") : 0;
}

/* ---- the thread ---- */

static void on_kick(int signo)
{
	if (running)
		__atomic_store_n(&running->immediate_exit, 1, __ATOMIC_RELAXED);
}

static bool must_stand(const struct vcpu *v)
{
	return __atomic_load_n(&v->vm->paused, __ATOMIC_ACQUIRE) ||
	       v->id >= __atomic_load_n(&v->vm->allowed, __ATOMIC_ACQUIRE);
}

/* Stands while the VM does, or it may not run; leaves when it runs. A VM that ended never runs again. */
static void park(struct vcpu *v)
{
	struct vm *vm = v->vm;
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&vm->lock);
	while (must_stand(v)) {
		if (!v->parked) {
			v->parked = true;
			if (++vm->n_parked == vm->cfg.vcpus)
				(void)!write(vm->parked_fd, &one, sizeof(one));
		}
		(void)pthread_cond_wait(&vm->changed, &vm->lock);
	}
	if (v->parked)
		vm->n_parked--;
	v->parked = false;
	(void)pthread_mutex_unlock(&vm->lock);
}

static void on_internal_error(struct vcpu *v)
{
	struct kvm_regs regs = {0};

	(void)ioctl(v->fd, KVM_GET_REGS, &regs);
	vm_end(v->vm, VM_ERROR, "vCPU %u: KVM cannot execute the instruction at 0x%llx (internal error %u)", v->id,
		(unsigned long long)regs.rip, v->run->internal.suberror);
}

static void serve_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		machine_port(v->vm, run);
		return;
	case KVM_EXIT_MMIO:
		machine_mmio(v->vm, run);
		return;
	case KVM_EXIT_HLT: /* only without interrupt controller in KVM */
	case KVM_EXIT_INTR:
	case KVM_EXIT_IOAPIC_EOI: /* there is none */
		return;
	case KVM_EXIT_SHUTDOWN:
		vm_end(v->vm, VM_TRIPLE, "vCPU %u: triple fault", v->id);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		on_internal_error(v);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		vm_end(v->vm, VM_ERROR, "vCPU %u: the processor refused to enter the guest (0x%llx)", v->id,
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return;
	default:
		vm_end(v->vm, VM_ERROR, "vCPU %u: KVM exit reason %u", v->id, run->exit_reason);
	}
}

static void run_guest(struct vcpu *v)
{
	struct vm *vm = v->vm;

	for (;;) {
		if (must_stand(v))
			park(v);
		if (ioctl(v->fd, KVM_RUN, 0) == 0) {
			v->exits[MIN_OF(v->run->exit_reason, EXIT_REASONS - 1u)]++;
			serve_exit(v);
			continue;
		}
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
		/* EAGAIN: a vCPU that was not started by another has got a signal. */
		if (errno != EINTR && errno != EAGAIN)
			vm_end(vm, VM_ERROR, "vCPU %u: KVM_RUN: %s", v->id, strerrordesc_np(errno));
		v->kicks++;
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct vm *vm = v->vm;
	struct err err = {0};
	bool landlock = true;
	char name[16] = "";
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, KICK_SIGNAL);
	running = v->run;
	(void)snprintf(name, sizeof(name), "vcpu%u", v->id);
	(void)prctl(PR_SET_NAME, name);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (!vm->cfg.no_jail && jail_thread(JAIL_VCPU, vm->cfg.seccomp, &landlock, &err) < 0)
		vm_end(vm, VM_ERROR, "vCPU %u: %s", v->id, err.msg);
	park(v);
	if (v->id == 0)
		__atomic_store_n(&vm->first_run_ns, time_mono_ns(), __ATOMIC_RELAXED);
	run_guest(v);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct err *err)
{
	struct sigaction sa = {.sa_handler = on_kick};
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	if (sigaction(KICK_SIGNAL, &sa, NULL) < 0)
		return err_errno(err, "vCPU %u: signal", v->id);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_attr_init(&attr);
	if (r == 0)
		r = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (r == 0)
		r = pthread_create(&v->thread, &attr, vcpu_main, v);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r == 0 ? 0 : err_set(err, r, "vCPU %u: start a thread: %s", v->id, strerror(r));
}

void vcpu_kick(struct vcpu *v)
{
	(void)pthread_kill(v->thread, KICK_SIGNAL);
}

/*
 * A vCPU that the guest never started waits for that; one that it took off line again waits as Linux has it wait, halted with interrupts off:
 * only the others are on line. What it was when it stopped would not do: until the last vCPU stands, the guest may start this one. KVM keeps
 * that for it (INIT, startup) and acts on it in this call, so a vCPU that is to start at its next turn is RUNNABLE here.
 */
bool vcpu_is_online(const struct vcpu *v)
{
	struct kvm_mp_state s = {0};

	if (ioctl(v->fd, KVM_GET_MP_STATE, &s) < 0)
		return true; /* it cannot be taken away then */
	return s.mp_state == KVM_MP_STATE_HALTED ? v->run->if_flag : s.mp_state == KVM_MP_STATE_RUNNABLE;
}
