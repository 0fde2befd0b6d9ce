/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe: a VM of 128 KiB and one vCPU that starts in 64-bit mode and runs probe_guest.S. It ends at an `out`; whatever else
 * ends it is the reason why KVM is of no use here.
 *
 * Time is bounded twice. A timer signal breaks KVM_RUN and sets immediate_exit, so a tick that comes just before the ioctl is not
 * lost, and goes on ticking. And the probe is a process of its own: whoever started it kills it in the end, should
 * the kernel not come back at all.
 */
#include "vmm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fd.h"
#include "vmm/probe_guest.h"

#define CPUID_MAX 256
#define PTE_TABLE 7u /* present, writable, for ring 3 */
#define PTE_KERNEL 3u
#define TSS_ADDR 0xfffbd000u
#define TICK_US 5000

extern const uint8_t probe_text[], probe_text_end[], probe_traps[], probe_fault[], probe_user[], probe_user_end[];

struct machine {
	int kvm, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_size;
};

/* For the signal handler. */
static struct kvm_run *volatile running;
static volatile sig_atomic_t ticked;

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "USER_MEMORY"},
	{KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP"},
	{KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING"},
	{KVM_CAP_IRQFD, "IRQFD"},
	{KVM_CAP_IOEVENTFD, "IOEVENTFD"},
	{KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI"},
	{KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"},
	{KVM_CAP_EXT_CPUID, "EXT_CPUID"},
	{KVM_CAP_MP_STATE, "MP_STATE"},
	{KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS"},
	{KVM_CAP_DEBUGREGS, "DEBUGREGS"},
	{KVM_CAP_XSAVE, "XSAVE"},
	{KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK"},
	{KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER"},
	{KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ"},
	{KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
};

static const char *const step_names[] = {
	[0] = "its first instruction",
	[STEP_START] = "its first instructions",
	[STEP_CMPXCHG16B] = "lock cmpxchg16b",
	[STEP_XSAVE] = "xsave and xrstor",
	[STEP_SYSCALL] = "sysret to ring 3 and syscall back",
	[STEP_FAULT] = "a page fault",
	[STEP_LOOP] = "a loop of a million instructions",
	[STEP_DONE] = "its end",
};

static void put64(uint8_t *mem, size_t at, uint64_t v)
{
	memcpy(mem + at, &v, sizeof(v));
}

static uint64_t peek64(const uint8_t *mem, size_t at)
{
	uint64_t v;

	memcpy(&v, mem + at, sizeof(v));
	return v;
}

/* ---- the guest's memory ---- */

static void put_tables(uint8_t *mem)
{
	put64(mem, PG_PML4, PG_PDPT | PTE_TABLE);
	put64(mem, PG_PDPT, PG_PD | PTE_TABLE);
	put64(mem, PG_PD, PG_PT | PTE_TABLE);
	for (uint64_t page = 0; page < PG_SIZE; page += 4096)
		if (page != PG_ABSENT)
			put64(mem, PG_PT + page / 4096 * 8, page | (page == PG_USER ? PTE_TABLE : PTE_KERNEL));
}

static void put_gate(uint8_t *mem, unsigned vector, uint64_t handler)
{
	/* 64-bit interrupt gate, present, ring 0; handlers are below 64 KiB + one page, so the upper halves are small. */
	put64(mem, PG_IDT + vector * 16,
		(handler & 0xffff) | (uint64_t)SEL_CODE << 16 | UINT64_C(0x8e00) << 32 |
			(handler >> 16 & 0xffff) << 48);
	put64(mem, PG_IDT + vector * 16 + 8, handler >> 32);
}

static void put_descriptors(uint8_t *mem)
{
	put64(mem, PG_GDT + SEL_CODE, UINT64_C(0x00af9b000000ffff));	    /* 64-bit code, ring 0 */
	put64(mem, PG_GDT + SEL_DATA, UINT64_C(0x00cf93000000ffff));	    /* data, ring 0 */
	put64(mem, PG_GDT + SEL_SYSRET + 8, UINT64_C(0x00cff3000000ffff));  /* data, ring 3 */
	put64(mem, PG_GDT + SEL_SYSRET + 16, UINT64_C(0x00affb000000ffff)); /* 64-bit code, ring 3 */
	put64(mem, PG_GDT + SEL_TSS, UINT64_C(0x00008b0000000067) | (uint64_t)PG_TSS << 16);
	put64(mem, PG_TSS + 4, PG_STACK); /* RSP0 */
	for (unsigned v = 0; v < VECTORS; v++)
		put_gate(mem, v, PG_CODE + (uint64_t)(probe_traps - probe_text) + v * GATE_SIZE);
	put_gate(mem, 14, PG_CODE + (uint64_t)(probe_fault - probe_text));
}

static int make_memory(struct machine *m, struct err *err)
{
	size_t text = (size_t)(probe_text_end - probe_text), user = (size_t)(probe_user_end - probe_user);
	struct kvm_userspace_memory_region region = {.memory_size = PG_SIZE};
	void *mem = mmap(NULL, PG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return err_errno(err, "memory of the probing guest");
	m->mem = mem;
	if (text > 4096 || user > 4096)
		return err_set(err, E2BIG, "the probing guest is larger than a page");
	put_tables(m->mem);
	put_descriptors(m->mem);
	memcpy(m->mem + PG_CODE, probe_text, text);
	memcpy(m->mem + PG_USER, probe_user, user);
	region.userspace_addr = (uintptr_t)mem;
	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return err_errno(err, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

/* ---- the vCPU ---- */

static bool has_xsave(const struct kvm_cpuid2 *c)
{
	for (uint32_t i = 0; i < c->nent && i < CPUID_MAX; i++)
		if (c->entries[i].function == 1)
			return c->entries[i].ecx & (1u << 26);
	return false;
}

/*
 * XCR0 is set for the guest, which will set it to the same: there are hypervisors below us (QEMU's TCG before 8.2) that
 * do not tell KVM when a guest changes it, and KVM then takes the change back at the next exit.
 */
static int set_xcr0(const struct machine *m, struct err *err)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = 3}}};

	put64(m->mem, PG_DATA + PD_XSAVE, 1);
	return ioctl(m->vcpu, KVM_SET_XCRS, &x) < 0 ? err_errno(err, "KVM_SET_XCRS") : 0;
}

static int set_cpuid(const struct machine *m, struct err *err)
{
	auto_free struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));

	if (!c)
		return err_set(err, ENOMEM, "out of memory");
	c->nent = CPUID_MAX;
	if (ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_errno(err, "KVM_GET_SUPPORTED_CPUID");
	if (ioctl(m->vcpu, KVM_SET_CPUID2, c) < 0)
		return err_errno(err, "KVM_SET_CPUID2");
	return has_xsave(c) ? set_xcr0(m, err) : 0;
}

static struct kvm_segment segment(unsigned selector, unsigned type)
{
	return (struct kvm_segment){.limit = UINT32_MAX,
		.selector = (uint16_t)selector,
		.type = (uint8_t)type,
		.present = 1,
		.s = 1,
		.g = 1};
}

static int set_registers(const struct machine *m, struct err *err)
{
	struct kvm_regs regs = {.rip = PG_CODE, .rsp = PG_STACK, .rflags = 2};
	struct kvm_segment data = segment(SEL_DATA, 3);
	struct kvm_sregs s;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &s) < 0)
		return err_errno(err, "KVM_GET_SREGS");
	s.cs = segment(SEL_CODE, 11);
	s.cs.l = 1;
	data.db = 1;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){.base = PG_TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1};
	s.ldt = (struct kvm_segment){.unusable = 1};
	s.gdt = (struct kvm_dtable){.base = PG_GDT, .limit = SEL_TSS + 15};
	s.idt = (struct kvm_dtable){.base = PG_IDT, .limit = VECTORS * 16 - 1};
	s.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	s.cr3 = PG_PML4;
	s.cr4 = 0x620;	/* PAE, OSFXSR, OSXMMEXCPT */
	s.efer = 0x500; /* LME, LMA */
	if (ioctl(m->vcpu, KVM_SET_SREGS, &s) < 0)
		return err_errno(err, "KVM_SET_SREGS");
	if (ioctl(m->vcpu, KVM_SET_REGS, &regs) < 0)
		return err_errno(err, "KVM_SET_REGS");
	return 0;
}

static int make_vcpu(struct machine *m, struct err *err)
{
	int size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, EIO, "KVM_GET_VCPU_MMAP_SIZE says %d", size);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0)
		return err_errno(err, "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (run == MAP_FAILED)
		return err_errno(err, "map the vCPU");
	m->run = run;
	m->run_size = (size_t)size;
	return 0;
}

/* ---- the run ---- */

static void on_tick(int signo)
{
	struct kvm_run *run = running;

	ticked = 1;
	if (run)
		run->immediate_exit = 1;
}

/* First after PROBE_LIMIT_MS, then again and again: one tick may fall between two calls. */
static void set_timer(bool on)
{
	struct itimerval t = {{0}};

	if (on) {
		t.it_value.tv_usec = PROBE_LIMIT_MS * 1000;
		t.it_interval.tv_usec = TICK_US;
	}
	(void)setitimer(ITIMER_REAL, &t, NULL);
}

static const char *step_name(const struct machine *m)
{
	uint64_t step = peek64(m->mem, PG_DATA + PD_STEP);

	return step < ARRAY_SIZE(step_names) ? step_names[step] : "a step that does not exist";
}

static int judge_io(const struct machine *m, struct err *err)
{
	uint64_t vector = peek64(m->mem, PG_DATA + PD_VECTOR);

	if (m->run->io.port == PORT_END && peek64(m->mem, PG_DATA + PD_STEP) == STEP_DONE)
		return 0;
	if (m->run->io.port == PORT_TRAP && vector < VECTORS)
		return err_set(err, EIO, "a 64-bit guest got exception %u at %s", (unsigned)vector, step_name(m));
	return err_set(err, EIO, "a 64-bit guest computed something wrong at %s", step_name(m));
}

static int judge(const struct machine *m, struct err *err)
{
	switch (m->run->exit_reason) {
	case KVM_EXIT_IO:
		return judge_io(m, err);
	case KVM_EXIT_INTERNAL_ERROR:
		return err_set(err, EIO, "a 64-bit guest cannot be run: KVM gave up at %s (internal error %u)",
			step_name(m), m->run->internal.suberror);
	case KVM_EXIT_SHUTDOWN:
		return err_set(err, EIO, "a 64-bit guest triple-faulted at %s", step_name(m));
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(err, EIO, "a 64-bit guest was not entered (hardware reason %llx)",
			(unsigned long long)m->run->fail_entry.hardware_entry_failure_reason);
	}
	return err_set(err, EIO, "a 64-bit guest stopped at %s (exit reason %u)", step_name(m), m->run->exit_reason);
}

static int run_guest(struct machine *m, struct err *err)
{
	struct sigaction old, sa = {.sa_handler = on_tick};
	int r, code;

	running = m->run;
	ticked = 0;
	(void)sigaction(SIGALRM, &sa, &old);
	set_timer(true);
	do
		r = ioctl(m->vcpu, KVM_RUN, 0);
	while (r < 0 && errno == EINTR && !ticked);
	code = errno;
	set_timer(false);
	(void)sigaction(SIGALRM, &old, NULL);
	running = NULL;
	if (r == 0)
		return judge(m, err);
	errno = code;
	if (code != EINTR)
		return err_errno(err, "KVM_RUN at %s", step_name(m));
	return err_set(err, ETIMEDOUT,
		"a 64-bit guest was not through after %d ms, %d times: it was at %s (ring 0 is emulated?)",
		PROBE_LIMIT_MS, PROBE_TRIES, step_name(m));
}

/* ---- all of it ---- */

static int open_kvm(struct machine *m, struct err *err)
{
	int version;

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return err_errno(err, "open /dev/kvm");
	version = ioctl(m->kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(err, ENOTSUP, "KVM has API version %d, not %d", version, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(m->kvm, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(err, ENOTSUP, "KVM lacks the capability %s", needed[i].name);
	do
		m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	while (m->vm < 0 && errno == EINTR);
	return m->vm < 0 ? err_errno(err, "KVM_CREATE_VM") : 0;
}

/* In the order that the VMM uses: memory, interrupt controller, vCPU. */
static int make_machine(struct machine *m, struct err *err)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	int r = open_kvm(m, err);

	if (r == 0 && ioctl(m->vm, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		r = err_errno(err, "KVM_SET_TSS_ADDR");
	if (r == 0)
		r = make_memory(m, err);
	if (r == 0 && ioctl(m->vm, KVM_ENABLE_CAP, &split) < 0)
		r = err_errno(err, "KVM_ENABLE_CAP(SPLIT_IRQCHIP)");
	if (r == 0)
		r = make_vcpu(m, err);
	if (r == 0)
		r = set_cpuid(m, err);
	return r < 0 ? r : set_registers(m, err);
}

static void machine_fini(struct machine *m)
{
	if (m->run)
		(void)munmap(m->run, m->run_size);
	close_fd(&m->vcpu);
	close_fd(&m->vm);
	close_fd(&m->kvm);
	if (m->mem)
		(void)munmap(m->mem, PG_SIZE);
}

static int try_once(uint64_t *ran_ns, struct err *err)
{
	struct machine m = {.kvm = -1, .vm = -1, .vcpu = -1};
	int r = make_machine(&m, err);

	if (r == 0) {
		uint64_t start = time_mono_ns();

		r = run_guest(&m, err);
		*ran_ns = time_mono_ns() - start;
	}
	machine_fini(&m);
	return r;
}

void kvm_probe(struct kvm_probe_result *ret)
{
	uint64_t start = time_mono_ns(), ran = 0;
	struct err e = {0};
	int r = -ETIMEDOUT;

	for (unsigned i = 0; i < PROBE_TRIES && r == -ETIMEDOUT; i++)
		r = try_once(&ran, &e);
	ret->usable = r == 0;
	if (r == 0)
		(void)snprintf(ret->reason, sizeof(ret->reason),
			"a 64-bit guest did all that a kernel does and a million instructions in %u us",
			(unsigned)(ran / 1000));
	else
		(void)snprintf(ret->reason, sizeof(ret->reason), "%.150s", e.msg);
	for (char *p = ret->reason; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20)
			*p = '\'';
	ret->took_us = (unsigned)((time_mono_ns() - start) / 1000);
}

int probe_main(void)
{
	struct kvm_probe_result res;

	kvm_probe(&res);
	(void)printf("{\"kvm\":%s,\"reason\":\"%s\",\"took_us\":%u}\n", res.usable ? "true" : "false", res.reason,
		res.took_us);
	return fflush(stdout) == 0 ? 0 : 1;
}
