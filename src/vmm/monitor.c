/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/monitor.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/vsock.h"

static void phase(struct monitor *m, enum monitor_phase p)
{
	m->phases[p] = time_mono_ns();
}

static void end(struct monitor *m, enum vmm_status status)
{
	m->status = status;
	loop_stop(m->loop, 0);
}

void monitor_fail(struct monitor *m, const struct err *why)
{
	m->why = *why;
	end(m, VMM_FAILED);
}

/* why->code 0: the parent hung up. */
static void on_failed(void *ctx, const struct err *why)
{
	struct monitor *m = ctx;

	if (why->code)
		monitor_fail(m, why);
	else
		monitor_stop(m);
}

static void on_fs_end(struct loop_fd *src, uint32_t events unused_arg)
{
	struct monitor *m = container_of(src, struct monitor, fs_src);

	on_failed(m, &m->fs.why);
}

static void on_vm_end(struct loop_fd *src, uint32_t events unused_arg)
{
	static const enum vmm_status status[] = {
		[VM_RUNS] = VMM_FAILED,
		[VM_POWEROFF] = VMM_POWEROFF,
		[VM_RESET] = VMM_RESET,
		[VM_TRIPLE] = VMM_TRIPLE,
		[VM_ERROR] = VMM_KVM,
	};
	struct monitor *m = container_of(src, struct monitor, end_src);

	end(m, status[m->vm.end]);
}

static int attach(void *ctx, struct virtio_dev *dev, struct err *err)
{
	return vm_add_device(ctx, dev, err);
}

static int start_fs(struct monitor *m, struct jail *jail, struct err *err)
{
	int r;

	if (!m->opts->fs_root)
		return 0;
	m->fs = (struct fs_thread){.attach = attach, .ctx = &m->vm};
	r = fs_thread_start(&m->fs, m->opts, take_fd(&jail->root_fd), take_fd(&jail->proc_fd), err);
	return r < 0 ? r : loop_add_fd(m->loop, &m->fs_src, m->fs.end_fd, EPOLLIN, on_fs_end, err);
}

static int start_vsock(struct monitor *m, struct err *err)
{
	const struct options *o = m->opts;
	struct vsock_options vo = {.cid = o->cid, .listen_fd = o->vsock_listen, .dial = dial_request, .ctx = &m->dial};
	int r = 0;

	m->dial.fd = -1;
	if (o->broker >= 0)
		r = dial_start(&m->dial, m->loop, o->broker, on_failed, m, err);
	if (r < 0 || !o->cid)
		return r;
	r = vsock_new(&m->vsock, m->loop, &vo, err);
	if (r < 0)
		return r;
	m->dial.vs = m->vsock;
	return vm_add_device(&m->vm, vsock_dev(m->vsock), err);
}

static int make_vm(struct monitor *m, int kvm_fd, struct err *err)
{
	const struct options *o = m->opts;
	struct vm_config vc = {
		.kvm_fd = kvm_fd,
		.vcpus = (unsigned)(o->vcpus_max ? o->vcpus_max : o->vcpus),
		.allowed = (unsigned)o->vcpus,
		.memory = o->memory_mib << 20,
		.huge_pages = o->huge_pages,
		.kernel_fd = o->kernel,
		.initrd_fd = o->initrd,
		.cmdline = o->cmdline,
		.console_fd = o->console,
		.no_jail = o->no_jail,
		.seccomp = o->seccomp,
		.more = m->devices.regions,
		.ports = (unsigned)o->ports,
	};
	int r = o->console >= 0 ? fd_set_nonblock(o->console, true, err) : 0;

	if (r == 0)
		r = devices_map(&m->devices, m->loop, o, err);
	vc.n_more = m->devices.n_regions;
	if (r == 0)
		r = vm_init(&m->vm, &vc, err);
	phase(m, PHASE_VM);
	if (r == 0)
		r = vm_load(&m->vm, err);
	phase(m, PHASE_LOAD);
	return r;
}

int monitor_start(struct monitor *m, const struct options *opts, struct loop *loop, int kvm_fd, struct jail *jail,
	struct err *err)
{
	bool landlock = true;
	int r;

	m->opts = opts;
	m->loop = loop;
	phase(m, PHASE_JAIL);
	r = make_vm(m, kvm_fd, err);
	if (r == 0)
		r = start_fs(m, jail, err);
	if (r == 0)
		r = start_vsock(m, err);
	if (r == 0)
		r = devices_add(&m->devices, &m->vm, opts, err);
	phase(m, PHASE_DEVICES);
	if (r == 0)
		r = loop_add_fd(loop, &m->end_src, m->vm.end_fd, EPOLLIN, on_vm_end, err);
	if (r == 0)
		r = vm_start(&m->vm, err);
	if (r == 0 && opts->control >= 0) {
		m->hotplug = (struct hotplug){
			.on_released = control_on_released, .on_removed = control_on_removed, .ctx = &m->control};
		r = hotplug_start(&m->hotplug, &m->vm, loop, err);
	}
	if (r == 0 && !opts->no_jail)
		r = jail_thread(JAIL_DEVICES, opts->seccomp, &landlock, err);
	if (r == 0 && !landlock)
		log_debug("no Landlock on this kernel, going on without");
	idle_start(&m->idle, loop, NULL, NULL);
	phase(m, PHASE_START);
	if (r == 0 && opts->control >= 0)
		r = control_attach(&m->control, m, opts->paused, err);
	if (r == 0 && !opts->paused && !m->control.paused) /* a "pause" may have come behind the "start" */
		vm_resume(&m->vm);
	return r;
}

void monitor_stop(struct monitor *m)
{
	vm_end(&m->vm, VM_POWEROFF, "stopped by its owner");
}

void monitor_explain(struct monitor *m)
{
	counters_explain(m);
}

enum vmm_status monitor_finish(struct monitor *m)
{
	static const char *const names[] = {
		[VMM_POWEROFF] = "poweroff",
		[VMM_FAILED] = "failed",
		[VMM_RESET] = "reset",
		[VMM_TRIPLE] = "triple-fault",
		[VMM_KVM] = "kvm-error",
	};
	const char *why = m->status == VMM_FAILED ? m->why.msg : m->vm.why;

	uart_flush(&m->vm.uart);
	if (m->opts->explain)
		monitor_explain(m);
	control_ended(&m->control, names[m->status], why);
	log_write(m->status == VMM_FAILED || m->status == VMM_KVM ? LOG_ERROR : LOG_INFO, "%s", why);
	return m->status;
}
