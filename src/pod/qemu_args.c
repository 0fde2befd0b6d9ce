/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine is `microvm`: no firmware tables but a little ACPI, no PCI, virtio-mmio devices. Its memory is a memfd that
 * podvm-vmm maps too. PIC and PIT stay: a kernel under TCG calibrates its LAPIC timer with the PIT. The RTC stays: without it a
 * stock kernel waits two seconds for a clock that does not answer.
 *
 * Under TCG the guest sees the time stamp counter of this machine. Stock kernels calibrate it against the PIT, which fails at
 * random on a busy machine, and then hang for ever: 5 of 20 boots did, none of 25 with the frequency given. So we measure
 * it and say so on the command line.
 *
 * Under TCG all vCPUs share one thread. With a thread each, QEMU before 8.1 may keep a translation of code that another vCPU
 * is just changing. Linux changes its code while it runs (a breakpoint is written, all CPUs told, the breakpoint replaced): a
 * vCPU that keeps the breakpoint takes it for ever, and the one that changes the code waits for it. Seen in 1 of 10 starts of 4
 * vCPUs on one busy core: three vCPUs in exc_int3. Of starts in one thread none hung, and they are no slower (4 vCPUs to /init:
 * 2.3 s, not 3.6 s); what is lost is that a guest's CPUs run at the same time.
 *
 * What was measured: Debian's 6.1 cloud kernel to /init on a quiet 2.6 GHz core, median of 9: 1.64 s with plain options,
 * 1.07 s with these.
 */
#include "pod/qemu_args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define MIB (UINT64_C(1) << 20)

static void add(struct qemu_args *a, const char *text)
{
	if (a->n + 1 >= ARRAY_SIZE(a->v)) {
		a->failed = -E2BIG;
		return;
	}
	a->v[a->n++] = text;
	a->v[a->n] = NULL;
}

static void addf(struct qemu_args *a, const char *fmt, ...) printf_like(2, 3);

static void addf(struct qemu_args *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->used;
	char *start = a->text + a->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(start, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) {
		a->failed = -E2BIG;
		return;
	}
	a->used += (size_t)n + 1;
	add(a, start);
}

static void add_machine(struct qemu_args *a, const struct vm_config *cfg)
{
	unsigned slots;

	add(a, "-M");
	/* Devices sit on virtio-mmio transports: 8, of which two are taken, or 24 with a second IOAPIC. */
	addf(a, "microvm,rtc=on,isa-serial=on,pcie=off,ioapic2=%s,memory-backend=mem", cfg->n_nics > 6 ? "on" : "off");
	/* Debian's kernels speak virtio 1.0, and only that has the feature bits which our devices need. */
	add(a, "-global");
	add(a, "virtio-mmio.force-legacy=false");
	add(a, "-object");
	addf(a, "memory-backend-memfd,id=mem,size=%" PRIu64 "M,share=on", cfg->memory / MIB);
	add(a, "-m");
	addf(a, "%" PRIu64 "M", cfg->memory / MIB);
	add(a, "-smp");
	/*
	 * One socket: a kernel checks the TSC once for each. Room for a second CPU even if there is one: without it TCG leaves out
	 * the guest's memory barriers, as if nobody else looked at its memory. Our devices do, from another process: the driver's
	 * store to a ring and its look at the event index may change places, and then a kick or an interrupt is lost.
	 */
	slots = !cfg->kvm && cfg->vcpus == 1 ? 2 : cfg->vcpus;
	addf(a, "cpus=%u,maxcpus=%u,sockets=1,cores=%u,threads=1", cfg->vcpus, slots, slots);
	add(a, "-accel");
	add(a, cfg->kvm ? "kvm" : cfg->vcpus > 1 ? "tcg,thread=single" : "tcg");
	add(a, "-cpu");
	/*
	 * TCG runs `rep movsb` and `rep stosb` byte by byte, so a kernel that trusts "enhanced rep movsb" copies and clears
	 * slowly; five-level page tables make every TLB miss longer. Without the two, page faults take half of the time and
	 * file reads and writes a third (32 MiB touched: 58 ms, not 107; 16 MiB written and read: 48 ms, not 138).
	 * "Fast short rep movsb" implies it: Linux then leaves the length check out of memmove, and without erms puts nothing in
	 * its place, so the boot never ends. QEMU 7.2's `max` has no fsrm, 10.0's has.
	 */
	add(a, cfg->kvm ? "host" : "max,erms=off,fsrm=off,la57=off");
}

static void add_devices(struct qemu_args *a)
{
	add(a, "-chardev");
	addf(a, "socket,id=qmp,fd=%d", QEMU_FD_QMP);
	add(a, "-mon");
	add(a, "chardev=qmp,mode=control");
	add(a, "-chardev");
	addf(a, "socket,id=console,fd=%d", QEMU_FD_CONSOLE);
	add(a, "-serial");
	add(a, "chardev:console");
	add(a, "-chardev");
	addf(a, "socket,id=fs,fd=%d", QEMU_FD_FS);
	add(a, "-device");
	add(a, "vhost-user-fs-device,chardev=fs,tag=podvm");
	add(a, "-chardev");
	addf(a, "socket,id=vsock,fd=%d", QEMU_FD_VSOCK);
	add(a, "-device");
	add(a, "vhost-user-vsock-device,chardev=vsock");
}

/* Features are the defaults: checksums and segmentation offloaded both ways, mergeable receive buffers. */
static void add_nics(struct qemu_args *a, const struct vm_config *cfg)
{
	for (unsigned i = 0; i < cfg->n_nics; i++) {
		const struct vm_nic *nic = &cfg->nics[i];

		add(a, "-netdev");
		addf(a, "tap,id=net%u,fd=%u", i, QEMU_FD_TAP + i);
		add(a, "-device");
		addf(a, "virtio-net-device,netdev=net%u,mac=%02x:%02x:%02x:%02x:%02x:%02x,host_mtu=%u", i, nic->mac[0],
			nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5], nic->mtu);
	}
}

static void add_kernel(struct qemu_args *a, const struct vm_config *cfg, uint32_t tsc_khz)
{
	char tcg[320] = "";

	/*
	 * noreplace-smp        0.13 s of patching lock prefixes away, which cost nothing on one emulated CPU
	 * clearcpuid=rep_good  `rep stosq` is a loop of its own for every 8 bytes; plain stores clear pages 6 to 10 % faster
	 * Tried, and no gain: mitigations=off, lsm=, pci=off, smap and smep off, init_on_alloc=0 (5 %, not worth the hardening),
	 * another tb-size, qboot. nolapic_timer saves the 0.1 s of calibrating it, but then no timer comes.
	 */
	if (!cfg->kvm)
		(void)snprintf(tcg, sizeof(tcg),
			" tsc_early_khz=%" PRIu32 " tsc=reliable no_timer_check%s clearcpuid=rep_good", tsc_khz,
			cfg->vcpus == 1 ? " noreplace-smp" : "");
	add(a, "-kernel");
	addf(a, "/proc/self/fd/%d", QEMU_FD_KERNEL);
	add(a, "-initrd");
	addf(a, "/proc/self/fd/%d", QEMU_FD_INITRD);
	add(a, "-append");
	/*
	 * loglevel=3: as for our own monitor (driver_vmm.c), no complaints about PCI that the machine has not, until the agent is up.
	 * A panic resets at once, and a reset ends QEMU (-no-reboot). An oops is one too: it leaves a process that never ends and locks
	 * that nobody gives back, and a pod that stands still without a word. cryptomgr.notests: 0.26 s of self-tests. Expedited RCU:
	 * mounts, cgroups and namespaces are made and removed all the time, and each waits for a grace period, 10 ms and more
	 * otherwise. No preemption inside the kernel, as the tuned kernel is built: else a reader of vsock takes the processor from
	 * the worker that feeds it after every few packets, drains the socket and tells us its credit each time. With it a
	 * MiB to the guest is 1.6 million instructions, not 2.2.
	 */
	addf(a,
		"console=ttyS0 quiet loglevel=3 rootfstype=ramfs reboot=t panic=-1 oops=panic 8250.nr_uarts=1 "
		"cryptomgr.notests "
		"random.trust_cpu=on "
		"rcupdate.rcu_expedited=1 preempt=none%s%s%s",
		tcg, *cfg->cmdline_extra ? " " : "", cfg->cmdline_extra);
}

int qemu_args_fill(
	struct qemu_args *a, const char *qemu, const struct vm_config *cfg, uint32_t tsc_khz, struct err *err)
{
	if (cfg->vcpus < 1 || cfg->vcpus > 32 || cfg->memory < 64 * MIB || cfg->memory % (2 * MIB))
		return err_set(err, EINVAL, "VM of %u vCPUs and %" PRIu64 " bytes", cfg->vcpus, cfg->memory);
	if (cfg->n_nics > VM_NICS_MAX)
		return err_set(err, EINVAL, "VM of %u network interfaces", cfg->n_nics);
	if (!cfg->kvm && !tsc_khz)
		return err_set(err, EINVAL, "the frequency of this machine's time stamp counter is unknown");
	a->n = 0;
	a->used = 0;
	a->failed = 0;
	add(a, qemu);
	add(a, "-name");
	addf(a, "%s", cfg->id);
	add(a, "-nodefaults");
	add(a, "-no-user-config");
	add(a, "-display");
	add(a, "none");
	add(a, "-no-reboot");
	if (cfg->held)
		add(a, "-S");
	add(a, "-sandbox");
	add(a, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add_machine(a, cfg);
	add_kernel(a, cfg, tsc_khz);
	add_devices(a);
	add_nics(a, cfg);
	return a->failed ? err_set(err, -a->failed, "QEMU's command line is too long") : 0;
}
