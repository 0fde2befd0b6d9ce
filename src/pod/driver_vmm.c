/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's VM under podvm-vmm --vm: one child, which owns everything of the guest. It inherits what it needs as descriptors, and
 * the control socket's end is its own (docs/vmm-api.md). How the guest ended is its exit status; why, its last words, or the
 * kernel's if it panicked.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "pod/driver.h"
#include "pod/driver_parts.h"
#include "pod/lines.h"
#include "pod/vm_broker.h"
#include "pod/vm_control.h"
#include "vmm/status.h"

#define MIB (UINT64_C(1) << 20)

enum { FD_KERNEL = 3, FD_INITRD, FD_CONSOLE, FD_CONTROL, FD_LISTEN, FD_BROKER, FD_TAP };

#define ARGS_MAX 64
#define NIC_TEXT 40

struct args {
	const char *v[ARGS_MAX];
	char cmdline[2048], cid[24], vcpus[12], memory[24], slots[12], nics[VM_NICS_MAX][NIC_TEXT];
};

struct vmm_vm {
	struct vm vm; /* first */
	struct loop *loop;
	struct vm_callbacks cb;
	struct driver_child child;
	struct vm_control control;
	struct lines console;
	struct vm_broker broker;
	char vsock_path[PATH_LEN];
	bool bound;	  /* the vsock socket exists in the file system */
	char panic[160];  /* what the kernel did; printable */
	char broken[160]; /* the broker's protocol; then the child is killed */
};

/* Ends of the pairs: [0] stays here, [1] is the child's. */
struct wiring {
	int console[2], control[2], broker[2];
	int log[2]; /* a pipe */
	int listen, kernel, initrd;
};

/* ---- the end ---- */

static enum vm_end judge(const struct vmm_vm *vm, int status, char why[400])
{
	char text[64];

	if (*vm->broken) {
		(void)snprintf(why, 400, "podvm-vmm: %s", vm->broken);
		return VM_END_FAILED;
	}
	switch (status) {
	case VMM_POWEROFF:
		(void)snprintf(why, 400, "the guest powered off");
		return VM_END_POWEROFF;
	case VMM_RESET:
	case VMM_TRIPLE:
		if (*vm->panic)
			(void)snprintf(why, 400, "the guest's kernel panicked: %s", vm->panic);
		else
			(void)snprintf(
				why, 400, "the guest reset itself%s", status == VMM_TRIPLE ? " by a triple fault" : "");
		return VM_END_PANIC;
	case VMM_KVM:
		(void)snprintf(why, 400, "KVM cannot go on with the guest: %s", vm->child.last);
		return VM_END_FAILED;
	default:
		driver_describe_status(text, status);
		(void)snprintf(why, 400, "podvm-vmm %s%s%s", text, *vm->child.last ? ": " : "", vm->child.last);
		return VM_END_FAILED;
	}
}

static void on_child_end(struct loop_fd *src, uint32_t events)
{
	struct vmm_vm *vm = container_of(src, struct vmm_vm, child.src);
	enum vm_end how;
	char why[400];
	int status = driver_child_reap(&vm->child);

	lines_drain(&vm->console);
	how = judge(vm, status, why);
	vm->cb.ended(vm->cb.ctx, how, why);
	/* vm may be gone. */
}

static void on_broker_failed(void *ctx, const struct err *why)
{
	struct vmm_vm *vm = ctx;

	(void)str_copy(vm->broken, sizeof(vm->broken), why->msg);
	if (vm->child.pidfd >= 0)
		(void)kill(vm->child.pid, SIGKILL); /* not reaped, so the number is still its own */
}

/* ---- what the child writes ---- */

static void on_console(void *ctx, const char *line, size_t len)
{
	struct vmm_vm *vm = ctx;

	driver_find_panic(vm->panic, sizeof(vm->panic), line, len);
	vm->cb.console(vm->cb.ctx, line, len);
}

static void on_removed(void *ctx, const char *name)
{
	struct vmm_vm *vm = ctx;

	if (vm->cb.disk_removed)
		vm->cb.disk_removed(vm->cb.ctx, name);
}

/* ---- start ---- */

static void wiring_init(struct wiring *w)
{
	int *fd = (int *)w;

	for (size_t i = 0; i < sizeof(*w) / sizeof(int); i++)
		fd[i] = -1;
}

static void wiring_fini(struct wiring *w)
{
	int *fd = (int *)w;

	for (size_t i = 0; i < sizeof(*w) / sizeof(int); i++)
		close_fd(&fd[i]);
}
_Static_assert(sizeof(struct wiring) == 11 * sizeof(int), "wiring holds descriptors only");

static int make_pairs(struct wiring *w, struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->console) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->control) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->broker) < 0 || pipe2(w->log, O_CLOEXEC) < 0)
		return err_errno(err, "make socket pairs");
	return 0;
}

/*
 * earlycon, kept, is the only console: it needs neither interrupt nor timer, so it costs nothing when it is quiet; the agent
 * writes to the kernel's log. reboot=t: left to itself Linux 6.1 resets this machine by the BIOS that it has not, and runs wild.
 * noreplace-smp: on one CPU a kernel patches its lock prefixes away, some 10,000 places one by one: 5 ms of lab time in each boot.
 * Kept, they cost what they cost every guest with two CPUs. tsc=nowatchdog: else the guest wakes twice a second to compare its TSC
 * with KVM's clock, which is made of the same TSC. loglevel=3: until the agent is up, what is missing on purpose (I/O APIC, ports of
 * PCI) is not complained of; a panic is still printed. pci=noearly: those ports are not asked for each of 32 devices, too. The rest as
 * for QEMU (qemu_args.c).
 */
static int fill_cmdline(char dst[2048], const struct vm_config *cfg, struct err *err)
{
	return str_format(dst, 2048, err,
		"quiet loglevel=3 earlycon=uart8250,io,0x3f8 keep_bootcon rootfstype=ramfs reboot=t panic=-1 "
		"oops=panic "
		"pci=noearly "
		"8250.nr_uarts=0 "
		"cryptomgr.notests "
		"random.trust_cpu=on rcupdate.rcu_expedited=1 tsc=nowatchdog printk.devkmsg=on "
		"podvm.console=kmsg%s%s%s",
		cfg->vcpus == 1 ? " noreplace-smp" : "", *cfg->cmdline_extra ? " " : "", cfg->cmdline_extra);
}

static int fill_args(struct args *a, const struct vm_config *cfg, struct err *err)
{
	const char *const fixed[] = {"podvm-vmm", "--vm", "--id", cfg->id, "--kernel", "3", "--initrd", "4",
		"--console", "5", "--control", "6", "--vsock-listen", "7", "--broker", "8", "--cid", a->cid, "--vcpus",
		a->vcpus, "--memory", a->memory, "--fs-root", cfg->share_dir, "--cmdline", a->cmdline};
	unsigned n = ARRAY_SIZE(fixed);

	memcpy(a->v, fixed, sizeof(fixed));
	(void)snprintf(a->cid, sizeof(a->cid), "%" PRIu64, cfg->cid);
	(void)snprintf(a->vcpus, sizeof(a->vcpus), "%u", cfg->vcpus);
	(void)snprintf(a->memory, sizeof(a->memory), "%" PRIu64, cfg->memory / MIB);
	for (unsigned i = 0; i < cfg->n_nics; i++) {
		const uint8_t *mac = cfg->nics[i].mac;

		(void)snprintf(a->nics[i], NIC_TEXT, "%u,%02x:%02x:%02x:%02x:%02x:%02x,%u", FD_TAP + i, mac[0], mac[1],
			mac[2], mac[3], mac[4], mac[5], cfg->nics[i].mtu);
		a->v[n++] = "--nic";
		a->v[n++] = a->nics[i];
	}
	if (cfg->disk_slots) {
		(void)snprintf(a->slots, sizeof(a->slots), "%u", cfg->disk_slots);
		a->v[n++] = "--hotplug-ports";
		a->v[n++] = a->slots;
	}
	a->v[n] = NULL;
	return fill_cmdline(a->cmdline, cfg, err);
}
_Static_assert(ARGS_MAX > 28 + 2 * VM_NICS_MAX, "room for every argument");

static int start_child(struct vmm_vm *vm, const struct wiring *w, const struct vm_config *cfg, struct err *err)
{
	char program[PATH_LEN];
	struct args args;
	struct spawn sp = {
		.file = program,
		.argv = args.v,
		.clone_flags = CLONE_NEWPID,
		.no_new_privs = true,
		.fds = {{w->kernel, FD_KERNEL}, {w->initrd, FD_INITRD}, {w->console[1], FD_CONSOLE},
			{w->control[1], FD_CONTROL}, {w->listen, FD_LISTEN}, {w->broker[1], FD_BROKER}},
		.n_fds = 6,
	};
	int r = path_helper(program, "podvm-vmm", err);

	if (r == 0 && cfg->n_nics > VM_NICS_MAX)
		r = err_set(err, EINVAL, "VM of %u network interfaces", cfg->n_nics);
	for (unsigned i = 0; r == 0 && i < cfg->n_nics; i++)
		sp.fds[sp.n_fds++] = (struct spawn_fd){cfg->nics[i].tap_fd, FD_TAP + (int)i};
	if (r == 0)
		r = fill_args(&args, cfg, err);
	return r < 0 ? r : driver_child_start(&vm->child, &sp, w->log[1], err);
}

static int watch(struct vmm_vm *vm, struct wiring *w, struct err *err)
{
	int r = driver_child_watch(&vm->child, vm->loop, take_fd(&w->log[0]), on_child_end, err);

	if (r == 0)
		r = lines_init(&vm->console, vm->loop, take_fd(&w->console[0]), on_console, vm, err);
	if (r == 0)
		r = vm_broker_init(
			&vm->broker, vm->loop, take_fd(&w->broker[0]), vm->vsock_path, on_broker_failed, vm, err);
	return r < 0 ? r : vm_control_init(&vm->control, vm->loop, take_fd(&w->control[0]), on_removed, vm, err);
}

static int start_all(struct vmm_vm *vm, const struct vm_config *cfg, struct wiring *w, struct err *err)
{
	int r = make_pairs(w, err);

	if (r == 0)
		r = driver_open_file(&w->kernel, "kernel", cfg->kernel, err);
	if (r == 0)
		r = driver_open_file(&w->initrd, "initramfs", cfg->initrd, err);
	if (r == 0)
		r = driver_listen(vm->vsock_path, &vm->bound, &w->listen, err);
	if (r == 0)
		r = start_child(vm, w, cfg, err);
	/* From here on the child's ends are its alone, or its death would not show. */
	return r < 0 ? r : watch(vm, w, err);
}

static void vmm_free(struct vm *base)
{
	struct vmm_vm *vm = container_of(base, struct vmm_vm, vm);

	if (!base)
		return;
	driver_child_kill(&vm->child);
	vm_control_fini(&vm->control);
	vm_broker_fini(&vm->broker);
	lines_fini(&vm->console);
	driver_child_fini(&vm->child);
	if (vm->bound)
		(void)unlink(vm->vsock_path);
	free(vm);
}

static int vmm_start(
	struct vm **ret, struct loop *loop, const struct vm_config *cfg, const struct vm_callbacks *cb, struct err *err)
{
	struct vmm_vm *vm = calloc(1, sizeof(*vm));
	struct wiring w;
	int r;

	if (!vm)
		return err_set(err, ENOMEM, "start the VM: out of memory");
	wiring_init(&w);
	vm->vm.driver = &vm_driver_vmm;
	vm->loop = loop;
	vm->cb = *cb;
	driver_child_init(&vm->child, "vmm", &vm->cb);
	r = str_copy(vm->vsock_path, sizeof(vm->vsock_path), cfg->vsock_path)
		    ? start_all(vm, cfg, &w, err)
		    : err_set(err, ENAMETOOLONG, "vsock socket '%s'", cfg->vsock_path);
	wiring_fini(&w);
	if (r < 0) {
		vmm_free(&vm->vm);
		return r;
	}
	*ret = &vm->vm;
	return 0;
}

static unsigned vmm_processes(const struct vm *base, struct vm_process *ret, unsigned max)
{
	const struct vmm_vm *vm = (const struct vmm_vm *)base;

	if (vm->child.pidfd < 0 || max == 0)
		return 0;
	ret[0] = (struct vm_process){.name = "vmm", .pid = vm->child.pid};
	return 1;
}

static int vmm_add_disk(struct vm *base, const struct vm_disk *disk, vm_disk_done *done, void *ctx, struct err *err)
{
	struct vmm_vm *vm = container_of(base, struct vmm_vm, vm);

	return vm_control_add_disk(&vm->control, disk->name, disk->fd, disk->read_only, done, ctx, err);
}

static int vmm_remove_disk(struct vm *base, const char *name, struct err *err)
{
	return vm_control_remove(&container_of(base, struct vmm_vm, vm)->control, name, err);
}

const struct vm_driver vm_driver_vmm = {
	.name = "vmm",
	.start = vmm_start,
	.free = vmm_free,
	.processes = vmm_processes,
	.add_disk = vmm_add_disk,
	.remove_disk = vmm_remove_disk,
};
