/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's VM under QEMU: two children, qemu-system-x86_64 and podvm-vmm (the devices, over vhost-user), tied to this process
 * and to each other by socket pairs that both inherit. Nothing can be found or connected to by others but the vsock socket.
 *
 *   starting  vm_start makes everything; it waits for nothing but the two execve
 *   running   console lines, log lines, QMP events and dials are served by the loop
 *   ending    the first cause is kept: a QMP event (SHUTDOWN tells power-off from reset), the end of a child (pidfd), a
 *             broken protocol. QEMU has EXIT_WAIT_NS to leave after SHUTDOWN; then `ended` runs from a timer
 *   ended     both children are dead and reaped, what they wrote has been delivered
 *
 * When a child ends, its partner ends too, and either may be noticed first. So a cause that may be a mere consequence
 * (podvm-vmm left with status 0 because its front end hung up) waits a moment for a better one. QEMU runs under an id of its own, derived from the pod's, without
 * privileges, in its own PID, network, IPC and UTS namespace and with its own system call filter. A mount namespace would
 * hide nothing without a new root, and would keep the pod's mounts busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "pod/driver.h"
#include "pod/driver_parts.h"
#include "pod/lines.h"
#include "pod/qemu_args.h"
#include "pod/qmp.h"
#include "pod/tsc.h"
#include "pod/vm_broker.h"

#define EXIT_WAIT_NS (2 * NS_PER_S)
#define PARTNER_WAIT_NS (500 * NS_PER_MS)
#define QMP_RUN_TIMEOUT_MS 60000 /* QEMU may still be starting */
#define QEMU_PROGRAM "qemu-system-x86_64"
/* Above the ids that systemd gives to containers (0x6fffffff), below the sign bit. */
#define UID_BASE 0x70000000u
#define UID_MASK 0x000fffffu

enum { FD_VMM_FS = 3, FD_VMM_VSOCK, FD_VMM_LISTEN, FD_VMM_BROKER };

struct qemu_vm {
	struct vm vm; /* first */
	struct loop *loop;
	struct vm_callbacks cb;
	struct driver_child qemu, vmm;
	struct lines console;
	struct qmp *qmp;
	struct vm_broker broker;
	char vsock_path[PATH_LEN];
	bool bound; /* the vsock socket exists in the file system */
	char panic[160];
	bool ending, vague, told; /* vague: the cause may be replaced by a better one */
	enum vm_end how;
	char why[400];
	struct loop_timer end_timer;
};

/* Ends of the pairs that the children inherit, and of those that stay here. */
struct wiring {
	int qmp[2], console[2], fs[2], vsock[2], broker[2]; /* [0] is ours, or podvm-vmm's for fs and vsock */
	int qemu_log[2], vmm_log[2];			    /* pipes: [0] to read */
	int listen, kernel, initrd;
};

/* ---- the end ---- */

static void stop_children(struct qemu_vm *vm)
{
	loop_remove_fd(&vm->qemu.src);
	loop_remove_fd(&vm->vmm.src);
	/* Both at once: for either the kernel takes 10 ms to take it apart. */
	if (vm->vmm.pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, vm->vmm.pidfd, SIGKILL, NULL, 0u);
	spawn_kill(&vm->qemu.pidfd);
	spawn_kill(&vm->vmm.pidfd);
}

static void on_end(struct loop_timer *t)
{
	struct qemu_vm *vm = container_of(t, struct qemu_vm, end_timer);

	if (vm->told)
		return;
	vm->told = true;
	stop_children(vm);
	lines_drain(&vm->console);
	lines_drain(&vm->qemu.log);
	lines_drain(&vm->vmm.log);
	if (vm->how == VM_END_PANIC && *vm->panic)
		(void)snprintf(vm->why, sizeof(vm->why), "the guest's kernel panicked: %s", vm->panic);
	vm->cb.ended(vm->cb.ctx, vm->how, vm->why);
	/* vm may be gone. */
}

static void end_v(struct qemu_vm *vm, uint64_t wait_ns, enum vm_end how, const char *fmt, va_list ap) printf_like(4, 0);

static void end_v(struct qemu_vm *vm, uint64_t wait_ns, enum vm_end how, const char *fmt, va_list ap)
{
	vm->ending = true;
	vm->how = how;
	(void)vsnprintf(vm->why, sizeof(vm->why), fmt, ap);
	loop_timer_set(vm->loop, &vm->end_timer, wait_ns, on_end);
}

/* The first real cause is kept; a later one only brings the end nearer. */
static void end_vm(struct qemu_vm *vm, uint64_t wait_ns, enum vm_end how, const char *fmt, ...) printf_like(4, 5);

static void end_vm(struct qemu_vm *vm, uint64_t wait_ns, enum vm_end how, const char *fmt, ...)
{
	va_list ap;

	if (vm->told)
		return;
	if (vm->ending && !vm->vague) {
		loop_timer_set(vm->loop, &vm->end_timer, wait_ns, on_end);
		return;
	}
	vm->vague = false;
	va_start(ap, fmt);
	end_v(vm, wait_ns, how, fmt, ap);
	va_end(ap);
}

/* Something hung up: a consequence of what will be noticed in a moment, or else a failure by itself. */
static void end_vaguely(struct qemu_vm *vm, const char *fmt, ...) printf_like(2, 3);

static void end_vaguely(struct qemu_vm *vm, const char *fmt, ...)
{
	va_list ap;

	if (vm->told || vm->ending)
		return;
	vm->vague = true;
	va_start(ap, fmt);
	end_v(vm, PARTNER_WAIT_NS, VM_END_FAILED, fmt, ap);
	va_end(ap);
}

static void on_qemu_end(struct loop_fd *src, uint32_t events)
{
	struct qemu_vm *vm = container_of(src, struct qemu_vm, qemu.src);
	const struct driver_child *c = &vm->qemu;
	char text[64];
	int status = driver_child_reap(&vm->qemu);

	/* Its last words first: they may tell the cause. */
	lines_drain(&vm->console);
	qmp_drain(vm->qmp);
	driver_describe_status(text, status);
	end_vm(vm, 0, VM_END_FAILED, "%s %s%s%s", QEMU_PROGRAM, text, *c->last ? ": " : "", c->last);
}

static void on_vmm_end(struct loop_fd *src, uint32_t events)
{
	struct qemu_vm *vm = container_of(src, struct qemu_vm, vmm.src);
	const struct driver_child *c = &vm->vmm;
	struct pollfd qemu = {.fd = vm->qemu.pidfd, .events = POLLIN};
	char text[64];
	int status = driver_child_reap(&vm->vmm);

	qmp_drain(vm->qmp);
	driver_describe_status(text, status);
	/* Status 0: QEMU hung up first. If it is dead already its own end, in this turn or the next, tells why. */
	if (status == 0 || (vm->qemu.pidfd >= 0 && poll(&qemu, 1, 0) > 0))
		end_vaguely(vm, "podvm-vmm %s%s%s", text, *c->last ? ": " : "", c->last);
	else
		end_vm(vm, 0, VM_END_FAILED, "podvm-vmm %s%s%s", text, *c->last ? ": " : "", c->last);
}

/* ---- QMP ---- */

static void on_shutdown(struct qemu_vm *vm, const struct qmp_message *ev)
{
	if (str_eq(ev->text, "guest-shutdown"))
		end_vm(vm, EXIT_WAIT_NS, VM_END_POWEROFF, "the guest powered off");
	else if (str_eq(ev->text, "guest-reset"))
		end_vm(vm, EXIT_WAIT_NS, VM_END_PANIC, "the guest reset itself");
	else if (str_eq(ev->text, "guest-panic"))
		end_vm(vm, EXIT_WAIT_NS, VM_END_PANIC, "the guest's kernel panicked");
	else
		end_vm(vm, EXIT_WAIT_NS, VM_END_FAILED, "%s shut down: %s", QEMU_PROGRAM, ev->text);
}

static void on_qmp_event(void *ctx, const struct qmp_message *ev)
{
	struct qemu_vm *vm = ctx;

	if (str_eq(ev->name, "SHUTDOWN"))
		on_shutdown(vm, ev);
	else if (str_eq(ev->name, "GUEST_PANICKED"))
		end_vm(vm, EXIT_WAIT_NS, VM_END_PANIC, "the guest's kernel panicked");
	else if (str_eq(ev->name, "RESET") && ev->guest)
		end_vm(vm, EXIT_WAIT_NS, VM_END_PANIC, "the guest reset itself");
}

static void on_qmp_closed(void *ctx, const struct err *why)
{
	struct qemu_vm *vm = ctx;

	if (why->code)
		end_vm(vm, 0, VM_END_FAILED, "%s", why->msg);
	else
		end_vaguely(vm, "%s closed its control connection", QEMU_PROGRAM);
}

/* ---- what the children write ---- */

static void on_console(void *ctx, const char *line, size_t len)
{
	struct qemu_vm *vm = ctx;

	driver_find_panic(vm->panic, sizeof(vm->panic), line, len);
	vm->cb.console(vm->cb.ctx, line, len);
}

static void on_broker_failed(void *ctx, const struct err *why)
{
	end_vm(ctx, 0, VM_END_FAILED, "podvm-vmm: %s", why->msg);
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
_Static_assert(sizeof(struct wiring) == 17 * sizeof(int), "wiring holds descriptors only");

static int make_pairs(struct wiring *w, struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->qmp) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->console) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->fs) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->vsock) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->broker) < 0 ||
		pipe2(w->qemu_log, O_CLOEXEC) < 0 || pipe2(w->vmm_log, O_CLOEXEC) < 0)
		return err_errno(err, "make socket pairs");
	return 0;
}

static uint32_t pod_uid(const char *id)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * 16777619u;
	return UID_BASE + (h & UID_MASK);
}

/* /dev/kvm must open for QEMU's own id: by its group, or because everybody may. */
static int kvm_access(struct spawn *sp, struct err *err)
{
	struct stat st;

	if (stat("/dev/kvm", &st) < 0)
		return err_errno(err, "/dev/kvm");
	if ((st.st_mode & 0006) == 0006)
		return 0;
	if ((st.st_mode & 0060) == 0060 && st.st_gid != 0) {
		sp->extra_gid = st.st_gid;
		return 0;
	}
	return err_set(err, EACCES,
		"/dev/kvm opens for root only, and QEMU never runs as root: chgrp kvm /dev/kvm && chmod 660 /dev/kvm, "
		"or use "
		"the driver vmm");
}

static int start_vmm(struct qemu_vm *vm, const struct wiring *w, const struct vm_config *cfg, struct err *err)
{
	char program[PATH_LEN], cid[24], numbers[4][12];
	const char *argv[] = {"podvm-vmm", "--vhost-user", "--id", cfg->id, "--cid", cid, "--fs-root", cfg->share_dir,
		"--fs-sock", numbers[0], "--vsock-sock", numbers[1], "--vsock-listen", numbers[2], "--broker",
		numbers[3], NULL};
	struct spawn sp = {
		.file = program,
		.argv = argv,
		.clone_flags = CLONE_NEWPID,
		.no_new_privs = true,
		.fds = {{w->fs[0], FD_VMM_FS}, {w->vsock[0], FD_VMM_VSOCK}, {w->listen, FD_VMM_LISTEN},
			{w->broker[1], FD_VMM_BROKER}},
		.n_fds = 4,
	};
	int r = path_helper(program, "podvm-vmm", err);

	if (r < 0)
		return r;
	(void)snprintf(cid, sizeof(cid), "%" PRIu64, cfg->cid);
	for (int i = 0; i < 4; i++)
		(void)snprintf(numbers[i], sizeof(numbers[i]), "%d", FD_VMM_FS + i);
	return driver_child_start(&vm->vmm, &sp, w->vmm_log[1], err);
}

static int start_qemu(
	struct qemu_vm *vm, const struct wiring *w, const struct vm_config *cfg, uint32_t tsc, struct err *err)
{
	struct qemu_args args;
	uid_t uid = pod_uid(cfg->id);
	struct spawn sp = {
		.file = QEMU_PROGRAM,
		.argv = args.v,
		.search_path = true,
		.clone_flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
		.drop_ids = true,
		.uid = uid,
		.gid = uid,
		.no_new_privs = true,
		.fds = {{w->qmp[1], QEMU_FD_QMP}, {w->console[1], QEMU_FD_CONSOLE}, {w->fs[1], QEMU_FD_FS},
			{w->vsock[1], QEMU_FD_VSOCK}, {w->kernel, QEMU_FD_KERNEL}, {w->initrd, QEMU_FD_INITRD}},
		.n_fds = 6,
	};
	int r = qemu_args_fill(&args, QEMU_PROGRAM, cfg, tsc, err);

	if (r == 0 && cfg->kvm)
		r = kvm_access(&sp, err);
	for (unsigned i = 0; r == 0 && i < cfg->n_nics; i++)
		sp.fds[sp.n_fds++] = (struct spawn_fd){cfg->nics[i].tap_fd, QEMU_FD_TAP + (int)i};
	if (r == 0)
		r = driver_child_start(&vm->qemu, &sp, w->qemu_log[1], err);
	return r;
}

static int watch(struct qemu_vm *vm, struct wiring *w, struct err *err)
{
	struct qmp_callbacks qcb = {.event = on_qmp_event, .closed = on_qmp_closed, .ctx = vm};
	int r = driver_child_watch(&vm->vmm, vm->loop, take_fd(&w->vmm_log[0]), on_vmm_end, err);

	if (r == 0)
		r = driver_child_watch(&vm->qemu, vm->loop, take_fd(&w->qemu_log[0]), on_qemu_end, err);
	if (r == 0)
		r = lines_init(&vm->console, vm->loop, take_fd(&w->console[0]), on_console, vm, err);
	if (r == 0)
		r = qmp_new(&vm->qmp, vm->loop, take_fd(&w->qmp[0]), &qcb, err);
	if (r == 0)
		r = vm_broker_init(
			&vm->broker, vm->loop, take_fd(&w->broker[0]), vm->vsock_path, on_broker_failed, vm, err);
	return r;
}

static int start_all(struct qemu_vm *vm, const struct vm_config *cfg, struct wiring *w, struct err *err)
{
	struct tsc_sample before = {0};
	int r;

	tsc_sample(&before);
	r = make_pairs(w, err);
	if (r == 0)
		r = driver_open_file(&w->kernel, "kernel", cfg->kernel, err);
	if (r == 0)
		r = driver_open_file(&w->initrd, "initramfs", cfg->initrd, err);
	if (r == 0)
		r = driver_listen(vm->vsock_path, &vm->bound, &w->listen, err);
	if (r == 0)
		r = start_vmm(vm, w, cfg, err);
	if (r == 0)
		r = start_qemu(vm, w, cfg, cfg->kvm ? 0 : tsc_khz_since(&before), err);
	/* From here on the children's ends are theirs alone, or their deaths would not show. */
	return r < 0 ? r : watch(vm, w, err);
}

static void qemu_free(struct vm *base)
{
	struct qemu_vm *vm = container_of(base, struct qemu_vm, vm);

	if (!base)
		return;
	loop_timer_cancel(&vm->end_timer);
	stop_children(vm);
	qmp_free(vm->qmp);
	vm_broker_fini(&vm->broker);
	lines_fini(&vm->console);
	driver_child_fini(&vm->qemu);
	driver_child_fini(&vm->vmm);
	if (vm->bound)
		(void)unlink(vm->vsock_path);
	free(vm);
}

static int qemu_start(
	struct vm **ret, struct loop *loop, const struct vm_config *cfg, const struct vm_callbacks *cb, struct err *err)
{
	struct qemu_vm *vm = calloc(1, sizeof(*vm));
	struct wiring w;
	int r;

	if (!vm)
		return err_set(err, ENOMEM, "start the VM: out of memory");
	wiring_init(&w);
	vm->vm.driver = &vm_driver_qemu;
	vm->loop = loop;
	vm->cb = *cb;
	driver_child_init(&vm->qemu, "qemu", &vm->cb);
	driver_child_init(&vm->vmm, "vmm", &vm->cb);
	r = str_copy(vm->vsock_path, sizeof(vm->vsock_path), cfg->vsock_path)
		    ? start_all(vm, cfg, &w, err)
		    : err_set(err, ENAMETOOLONG, "vsock socket '%s'", cfg->vsock_path);
	wiring_fini(&w);
	if (r < 0) {
		qemu_free(&vm->vm);
		return r;
	}
	*ret = &vm->vm;
	return 0;
}

static unsigned qemu_processes(const struct vm *base, struct vm_process *ret, unsigned max)
{
	const struct qemu_vm *vm = (const struct qemu_vm *)base;
	const struct driver_child *const all[] = {&vm->qemu, &vm->vmm};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->pidfd >= 0 && n < max)
			ret[n++] = (struct vm_process){.name = all[i]->name, .pid = all[i]->pid};
	return n;
}

static void on_run(void *ctx, const struct qmp_message *answer unused_arg, const struct err *err)
{
	if (err && err->code != EPIPE)
		end_vm(ctx, 0, VM_END_FAILED, "%s does not start the guest: %s", QEMU_PROGRAM, err->msg);
}

static int qemu_run(struct vm *base, struct err *err)
{
	struct qemu_vm *vm = container_of(base, struct qemu_vm, vm);

	return qmp_call(vm->qmp, "cont", QMP_RUN_TIMEOUT_MS, on_run, vm, err);
}

const struct vm_driver vm_driver_qemu = {
	.name = "qemu",
	.start = qemu_start,
	.free = qemu_free,
	.processes = qemu_processes,
	.run = qemu_run,
};
