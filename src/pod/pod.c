/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a pod (see pod.h for its phases). Set-up is a straight line in pod_new: folders, log, ports, mounts, VM. From
 * there the loop drives: the agent answers -> Configure -> init containers -> containers -> the end. pod_end is the one door
 * out: it kills the VM at once (the guest holds nothing that a kill could lose: virtio-fs writes through) and reports
 * at the next turn, so no callback frees what its caller still uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "pod/pod_impl.h"

#define BOOT_TIMEOUT_MS 120000
#define LOST_WAIT_NS NS_PER_S
#define KILL_WAIT_NS (5 * NS_PER_S)
#define USAGE_EVERY_NS (10 * NS_PER_S)
#define MIB (UINT64_C(1) << 20)
#define MEMORY_DEFAULT (512 * MIB)
#define MEMORY_OVERHEAD (128 * MIB) /* guest kernel, initramfs and agent, measured: docs/performance.md */
#define MEMORY_STEP (64 * MIB)
#define MEMORY_MAX (UINT64_C(65536) * MIB)
#define VCPUS_MAX 32
#define HOST_FILE_MAX 65536

const char *pod_id(const struct pod *pod)
{
	return pod->home.id;
}

bool pod_stopping(const struct pod *pod)
{
	return pod->phase >= PHASE_STOPPING || pod->ending;
}

void pod_note(struct pod *pod, const char *fmt, ...)
{
	char text[800];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (pod->log)
		podlog_write(pod->log, "podvm", "-", text, strlen(text));
}

static void set_phase(struct pod *pod, enum pod_phase phase)
{
	if (pod->phase == phase)
		return;
	pod->phase = phase;
	pod_note(pod, "phase %s%s%s", phase_name(phase), *pod->message ? ": " : "", pod->message);
	record_write(pod);
}

/* ---- the end ---- */

static void close_agent(struct pod *pod)
{
	hvsock_dial_cancel(&pod->agent_dial);
	ttrpc_client_free(take_ptr(pod->agent));
}

static void stop_vm(struct pod *pod)
{
	ports_free(take_ptr(pod->ports));
	for (size_t i = 0; pod->containers && i < pod->spec->n_containers; i++)
		output_close(&pod->containers[i]);
	close_agent(pod);
	if (pod->vm)
		pod->driver->free(take_ptr(pod->vm));
}

static void on_end(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, end_timer);

	stop_vm(pod);
	record_write(pod);
	pod->opts.ended(pod->opts.ctx, pod->exit_code, pod->message);
}

void pod_end(struct pod *pod, int exit_code, const char *fmt, ...)
{
	va_list ap;

	if (pod->ending)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(pod->message, sizeof(pod->message), fmt, ap);
	va_end(ap);
	pod->exit_code = exit_code;
	pod->finished_ns = time_real_ns();
	set_phase(pod, exit_code || *pod->message ? PHASE_FAILED : PHASE_SUCCEEDED);
	pod->ending = true;
	loop_timer_cancel(&pod->boot_timer);
	loop_timer_cancel(&pod->stop_timer);
	loop_timer_cancel(&pod->deadline_timer);
	loop_timer_cancel(&pod->usage_timer);
	loop_timer_set(pod->loop, &pod->end_timer, 0, on_end);
}

/* ---- stopping ---- */

static bool is_app(const struct pod_container *c)
{
	return !c->spec->init;
}

static bool apps_done(const struct pod *pod)
{
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		if (!pod->containers[i].spec->sidecar && !container_done(&pod->containers[i]))
			return false;
	return true;
}

static void finish(struct pod *pod)
{
	int code = 0;

	for (size_t i = 0; i < pod->spec->n_containers && !code; i++)
		if (!pod->containers[i].spec->sidecar)
			code = pod->containers[i].exit_code;
	pod_end(pod, code, "%s", pod->message);
}

/* The last sidecar that still runs gets its signal; when none is left the pod is at its end. */
static void stop_sidecars(struct pod *pod)
{
	for (size_t i = pod->spec->n_containers; i-- > 0;) {
		struct pod_container *c = &pod->containers[i];

		if (!c->spec->sidecar || container_done(c))
			continue;
		container_stop(c, pod->stop_kill);
		if (!container_done(c))
			return;
	}
	finish(pod);
}

static void on_kill_wait(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, stop_timer);

	pod_note(pod, "containers did not end after SIGKILL; the VM is killed");
	pod_end(pod, 137, "%s", pod->message);
}

static void on_grace_over(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, stop_timer);

	pod_note(pod, "grace period of %u s is over: SIGKILL", pod->spec->grace_seconds);
	pod->stop_kill = true;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		container_stop(&pod->containers[i], true);
	loop_timer_set(pod->loop, &pod->stop_timer, KILL_WAIT_NS, on_kill_wait);
	pod_advance(pod);
}

static void begin_stop(struct pod *pod)
{
	set_phase(pod, PHASE_STOPPING);
	loop_timer_set(pod->loop, &pod->stop_timer, pod->spec->grace_seconds * NS_PER_S, on_grace_over);
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		if (!pod->containers[i].spec->sidecar)
			container_stop(&pod->containers[i], false);
	pod_advance(pod);
}

void pod_stop(struct pod *pod, const char *why)
{
	if (pod->ending)
		return;
	pod_note(pod, "stop: %s", why);
	if (pod->phase == PHASE_STOPPING || !pod->agent) {
		pod_end(pod, 137, "%s", pod->message);
		return;
	}
	begin_stop(pod);
}

/* ---- what comes next ---- */

static void all_running(struct pod *pod)
{
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		if (is_app(&pod->containers[i]) && !pod->containers[i].started_ns &&
			!container_done(&pod->containers[i]))
			return;
	if (!pod->told_running && pod->opts.running)
		pod->opts.running(pod->opts.ctx);
	pod->told_running = true;
}

/* Starts init containers in order. Returns true when all of them are through (sidecars: started). */
static bool run_inits(struct pod *pod)
{
	while (pod->next_init < pod->spec->n_init) {
		struct pod_container *c = &pod->containers[pod->next_init];

		if (c->spec->sidecar ? c->state == CONTAINER_RUNNING : container_done(c) && c->exit_code == 0) {
			pod->next_init++;
			continue;
		}
		if (container_done(c)) {
			pod_end(pod, c->exit_code, "init container %s ended with exit code %d", c->spec->name,
				c->exit_code);
			return false;
		}
		if (c->state == CONTAINER_WAITING && !c->timer.loop)
			container_start(c);
		return false;
	}
	return true;
}

static void start_apps(struct pod *pod)
{
	for (size_t i = pod->spec->n_init; i < pod->spec->n_containers && !pod->ending; i++)
		if (pod->containers[i].state == CONTAINER_WAITING && !pod->containers[i].timer.loop)
			container_start(&pod->containers[i]);
}

void pod_advance(struct pod *pod)
{
	if (pod->ending)
		return;
	if (pod->phase == PHASE_STOPPING) {
		if (apps_done(pod))
			stop_sidecars(pod);
		return;
	}
	if (pod->phase == PHASE_INITIALIZING) {
		if (!run_inits(pod) || pod->phase != PHASE_INITIALIZING)
			return;
		set_phase(pod, PHASE_RUNNING);
		start_apps(pod);
	}
	if (pod->phase != PHASE_RUNNING)
		return;
	all_running(pod);
	if (apps_done(pod))
		begin_stop(pod); /* only sidecars are left */
}

/* ---- limits of the pod as a whole ---- */

static void on_deadline(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, deadline_timer);

	(void)snprintf(pod->message, sizeof(pod->message), "DeadlineExceeded: activeDeadlineSeconds (%llu) passed",
		(unsigned long long)pod->spec->active_deadline_seconds);
	pod_stop(pod, pod->message);
}

static void on_usage(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, usage_timer);

	for (size_t i = 0; i < pod->spec->n_volumes; i++) {
		const struct kube_volume *v = &pod->spec->volumes[i];

		if (v->kind != KUBE_VOLUME_EMPTY_DIR || v->memory || !v->size_limit ||
			storage_volume_usage(&pod->storage, i) <= v->size_limit)
			continue;
		(void)snprintf(pod->message, sizeof(pod->message),
			"Evicted: emptyDir '%s' is larger than its sizeLimit", v->name);
		pod_stop(pod, pod->message);
		return;
	}
	loop_timer_set(pod->loop, &pod->usage_timer, USAGE_EVERY_NS, on_usage);
}

static void watch_limits(struct pod *pod)
{
	if (pod->spec->active_deadline_seconds)
		loop_timer_set(pod->loop, &pod->deadline_timer,
			MIN_OF(pod->spec->active_deadline_seconds, UINT64_C(1) << 32) * NS_PER_S, on_deadline);
	for (size_t i = 0; i < pod->spec->n_volumes; i++)
		if (pod->spec->volumes[i].size_limit && !pod->spec->volumes[i].memory) {
			loop_timer_set(pod->loop, &pod->usage_timer, USAGE_EVERY_NS, on_usage);
			break;
		}
}

/* ---- the agent ---- */

static void on_configured(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__ConfigureResponse *r = (const void *)reply;
	struct pod *pod = ctx;

	if (err && err->code == ECONNRESET)
		return; /* on_agent_closed follows */
	loop_timer_cancel(&pod->boot_timer);
	if (err) {
		pod_end(pod, 1, "configure the guest: %s", err->msg);
		return;
	}
	for (unsigned i = 0; i < pod->n_timings; i++)
		if (str_eq(pod->timings[i].name, "configure"))
			timing_end(pod, (int)i);
	if (r->info && r->info->kernel_release) {
		(void)str_copy(pod->kernel, sizeof(pod->kernel), r->info->kernel_release);
		/* Untrusted text that others will print. */
		for (char *p = pod->kernel; *p; p++)
			if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
				*p = '?';
	}
	pod_note(pod, "guest is up: kernel %s", pod->kernel);
	watch_limits(pod);
	set_phase(pod, PHASE_INITIALIZING);
	pod_advance(pod);
}

static void on_lost(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, boot_timer);

	pod_end(pod, 1, "%s", pod->lost);
}

/* A VM that has died reports itself, with a better reason, in the same moment: give it that moment. */
static void agent_lost(struct pod *pod, const char *why)
{
	if (pod->ending)
		return;
	(void)str_copy(pod->lost, sizeof(pod->lost), why);
	loop_timer_set(pod->loop, &pod->boot_timer, LOST_WAIT_NS, on_lost);
}

static void on_agent_closed(void *ctx, const struct err *why)
{
	struct pod *pod = ctx;

	pod_note(pod, "connection to the agent ended: %s", why && *why->msg ? why->msg : "closed");
	agent_lost(pod, "the agent in the guest is gone");
}

static size_t fill_tmpfs(const struct pod *pod, Podvm__Agent__V1__Tmpfs *list, Podvm__Agent__V1__Tmpfs **ptrs)
{
	size_t n = 0;

	for (size_t i = 0; i < pod->spec->n_volumes; i++) {
		const struct kube_volume *v = &pod->spec->volumes[i];

		if (v->kind != KUBE_VOLUME_EMPTY_DIR || !v->memory)
			continue;
		podvm__agent__v1__tmpfs__init(&list[n]);
		list[n].name = v->name;
		list[n].size = v->size_limit;
		list[n].mode = pod->spec->fs_group.set ? 02777 : 0777;
		list[n].gid = pod->spec->fs_group.set ? pod->spec->fs_group.v : 0;
		ptrs[n] = &list[n];
		n++;
	}
	return n;
}

static int call_configure(struct pod *pod, struct err *err)
{
	Podvm__Agent__V1__ConfigureRequest req = PODVM__AGENT__V1__CONFIGURE_REQUEST__INIT;
	size_t n_sysctls = pod->spec->n_sysctls, n_volumes = pod->spec->n_volumes, i;
	auto_free Podvm__Agent__V1__ConfigureRequest__SysctlsEntry *sysctls = calloc(n_sysctls + 1, sizeof(*sysctls));
	auto_free Podvm__Agent__V1__ConfigureRequest__SysctlsEntry **sysctl_ptrs = calloc(
		n_sysctls + 1, sizeof(*sysctl_ptrs));
	auto_free Podvm__Agent__V1__Tmpfs *tmpfs = calloc(n_volumes + 1, sizeof(*tmpfs));
	auto_free Podvm__Agent__V1__Tmpfs **tmpfs_ptrs = calloc(n_volumes + 1, sizeof(*tmpfs_ptrs));
	uint8_t entropy[64];

	if (!sysctls || !sysctl_ptrs || !tmpfs || !tmpfs_ptrs)
		return err_set(err, ENOMEM, "out of memory");
	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		/* cppcheck-suppress memleak ; auto_free frees them */
		return err_errno(err, "getrandom");
	for (i = 0; i < n_sysctls; i++) {
		podvm__agent__v1__configure_request__sysctls_entry__init(&sysctls[i]);
		sysctls[i].key = pod->spec->sysctls[i].key;
		sysctls[i].value = pod->spec->sysctls[i].value;
		sysctl_ptrs[i] = &sysctls[i];
	}
	req.entropy.data = entropy;
	req.entropy.len = sizeof(entropy);
	req.realtime_ns = time_real_ns();
	req.hostname = pod->spec->hostname;
	req.share_tag = (char *)(uintptr_t) "podvm";
	req.n_sysctls = n_sysctls;
	req.sysctls = sysctl_ptrs;
	req.share_pid_namespace = pod->spec->share_pid;
	req.n_tmpfs = fill_tmpfs(pod, tmpfs, tmpfs_ptrs);
	req.tmpfs = tmpfs_ptrs;
	return ttrpc_call(pod->agent, AGENT_SERVICE, "Configure", &req.base,
		&podvm__agent__v1__configure_response__descriptor, CALL_TIMEOUT_MS, on_configured, pod, NULL, err);
}

static void on_agent_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct pod *pod = container_of(d, struct pod, agent_dial);
	struct err e = {0};

	if (err) {
		agent_lost(pod, err->msg);
		return;
	}
	for (unsigned i = 0; i < pod->n_timings; i++)
		if (str_eq(pod->timings[i].name, "boot"))
			timing_end(pod, (int)i);
	(void)timing_start(pod, "configure");
	if (ttrpc_client_new(&pod->agent, pod->loop, fd, on_agent_closed, pod, &e) < 0 || call_configure(pod, &e) < 0)
		pod_end(pod, 1, "configure the guest: %s", e.msg);
}

static void on_boot_timeout(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, boot_timer);

	pod_end(pod, 1, "the guest did not come up within %u s", BOOT_TIMEOUT_MS / 1000);
}

/* ---- the VM ---- */

static void on_console(void *ctx, const char *line, size_t len)
{
	struct pod *pod = ctx;
	char text[CONSOLE_LINE];
	size_t n = MIN_OF(len, sizeof(text) - 1);
	bool agent = memmem(line, MIN_OF(len, (size_t)64), " agent", 6) != NULL;

	podlog_write(pod->log, agent ? "agent" : "console", "-", line, len);
	for (size_t i = 0; i < n; i++)
		text[i] = (unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f ? '?' : line[i];
	text[n] = '\0';
	memcpy(pod->console[pod->n_console++ % CONSOLE_TAIL], text, n + 1);
}

static void on_vm_log(void *ctx, const char *source, const char *line, size_t len)
{
	struct pod *pod = ctx;

	podlog_write(pod->log, source, "-", line, len);
}

static void on_vm_ended(void *ctx, enum vm_end how, const char *why)
{
	struct pod *pod = ctx;
	unsigned first = pod->n_console > CONSOLE_TAIL ? pod->n_console - CONSOLE_TAIL : 0;

	if (pod->ending)
		return;
	if (pod->opts.notice)
		for (unsigned i = first; i < pod->n_console; i++)
			pod->opts.notice(pod->opts.ctx, pod->console[i % CONSOLE_TAIL]);
	pod_end(pod, 1, "the VM ended: %s", why);
}

static int choose_size(struct pod *pod, struct err *err)
{
	unsigned cpus;
	uint64_t memory;

	kube_pod_size(pod->spec, &cpus, &memory);
	pod->vcpus = cpus ? MIN_OF(cpus, VCPUS_MAX) : 1;
	if (memory > MEMORY_MAX - MEMORY_OVERHEAD)
		return err_set(err, EINVAL,
			"the containers' memory limits add up to more than a VM can have (%llu MiB); lower them",
			(unsigned long long)((MEMORY_MAX - MEMORY_OVERHEAD) / MIB));
	memory = memory ? memory + MEMORY_OVERHEAD : MEMORY_DEFAULT;
	pod->memory = (memory + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
	return 0;
}

static int guest_file(char dst[PATH_LEN], const char *name, struct err *err)
{
	int r = str_format(dst, PATH_LEN, err, "%s/guest/current/%s", path_state(), name);

	if (r == 0 && access(dst, R_OK) < 0)
		r = err_errno(err, "guest image '%s' (make it with 'podvm image build')", dst);
	return r;
}

static int start_vm(struct pod *pod, struct err *err)
{
	struct vm_callbacks cb = {.console = on_console, .log = on_vm_log, .ended = on_vm_ended, .ctx = pod};
	struct vm_config cfg = {.id = pod->home.id, .cmdline_extra = "", .share_dir = pod->storage.share};
	char kernel[PATH_LEN], initrd[PATH_LEN];
	struct driver_probe probe;
	int r = guest_file(kernel, "vmlinux", err);

	if (r == 0)
		r = guest_file(initrd, "initramfs", err);
	if (r == 0)
		r = driver_probe(&probe, false, err);
	if (r == 0)
		r = driver_choose(&pod->driver, pod->opts.driver, &probe, pod->driver_reason, err);
	if (r < 0)
		return r;
	r = choose_size(pod, err);
	if (r < 0)
		return r;
	pod->cid = 3;
	cfg.kernel = kernel;
	cfg.initrd = initrd;
	cfg.vcpus = pod->vcpus;
	cfg.memory = pod->memory;
	cfg.run_dir = pod->home.run_dir;
	cfg.vsock_path = pod->vsock_path;
	cfg.cid = pod->cid;
	cfg.kvm = probe.kvm_usable;
	pod_note(pod, "driver %s: %s", pod->driver->name, pod->driver_reason);
	pod_note(pod, "VM: %u vCPU, %llu MiB", pod->vcpus, (unsigned long long)(pod->memory / MIB));
	return pod->driver->start(&pod->vm, pod->loop, &cfg, &cb, err);
}

/* The driver listens before it returns and the VMM holds the connection until the guest is up: no polling. */
static int dial_agent(struct pod *pod, struct err *err)
{
	pod->agent_dial.done = on_agent_dialled;
	loop_timer_set(pod->loop, &pod->boot_timer, BOOT_TIMEOUT_MS * NS_PER_MS, on_boot_timeout);
	return hvsock_dial_start(&pod->agent_dial, pod->loop, pod->vsock_path, AGENT_PORT, NULL, err);
}

/* ---- set-up ---- */

static int write_pod_files(struct pod *pod, struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(1 << 20), resolv = BUF_INIT(1 << 20), name = BUF_INIT(4096);
	auto_free char *host_resolv = NULL;
	int r;

	if (file_read(AT_FDCWD, "/etc/resolv.conf", HOST_FILE_MAX, &host_resolv, NULL, NULL) < 0)
		host_resolv = NULL;
	r = kube_hosts_text(pod->spec, "127.0.0.1", &hosts);
	if (r == 0)
		r = kube_resolv_conf_text(pod->spec, host_resolv ? host_resolv : "", &resolv);
	if (r == 0)
		r = buf_printf(&name, "%s\n", pod->spec->hostname);
	if (r < 0)
		return err_set(err, -r, "make the pod's hosts and resolv.conf: %s", strerrordesc_np(-r));
	r = storage_pod_file(&pod->storage, "hosts", buf_data(&hosts), hosts.len, err);
	if (r == 0)
		r = storage_pod_file(&pod->storage, "resolv.conf", buf_data(&resolv), resolv.len, err);
	return r < 0 ? r : storage_pod_file(&pod->storage, "hostname", buf_data(&name), name.len, err);
}

static int set_up(struct pod *pod, struct err *err)
{
	int timing = timing_start(pod, "storage");
	int r = podlog_open(&pod->log, pod->home.state_dir, err);

	for (size_t i = 0; r == 0 && i < pod->spec->notes.n; i++)
		pod_note(pod, "%s", pod->spec->notes.v[i]);
	if (r == 0)
		r = ports_open(&pod->ports, pod, err);
	if (r == 0)
		r = storage_init(&pod->storage, pod->spec, &pod->home, err);
	if (r == 0)
		r = write_pod_files(pod, err);
	if (r == 0)
		r = pod_run_path(pod->vsock_path, pod->home.id, "vsock.sock", err);
	timing_end(pod, timing);
	if (r < 0)
		return r;
	timing = timing_start(pod, "vm processes");
	r = start_vm(pod, err);
	timing_end(pod, timing);
	if (r < 0)
		return r;
	(void)timing_start(pod, "boot");
	record_write(pod);
	return dial_agent(pod, err);
}

int pod_new(struct pod **ret, struct loop *loop, const struct pod_options *opts, struct err *err)
{
	struct pod *pod = calloc(1, sizeof(*pod));
	int r;

	if (!pod)
		return err_set(err, ENOMEM, "start the pod: out of memory");
	pod->loop = loop;
	pod->opts = *opts;
	pod->spec = opts->spec;
	pod->home.lock_fd = -1;
	pod->storage.share_fd = -1;
	pod->created_ns = time_real_ns();
	pod->containers = calloc(opts->spec->n_containers, sizeof(*pod->containers));
	r = pod->containers ? pod_home_new(&pod->home, opts->spec->ns, opts->spec->name, err)
			    : err_set(err, ENOMEM, "start the pod: out of memory");
	if (r == 0) {
		for (size_t i = 0; i < opts->spec->n_containers; i++)
			container_init(&pod->containers[i], pod, i);
		r = set_up(pod, err);
	}
	if (r < 0) {
		pod->opts.detached = false; /* nothing to keep */
		pod_free(pod);
		return r;
	}
	*ret = pod;
	return 0;
}

void pod_free(struct pod *pod)
{
	if (!pod)
		return;
	stop_vm(pod);
	for (size_t i = 0; pod->containers && i < pod->spec->n_containers; i++)
		container_fini(&pod->containers[i]);
	loop_timer_cancel(&pod->boot_timer);
	loop_timer_cancel(&pod->stop_timer);
	loop_timer_cancel(&pod->deadline_timer);
	loop_timer_cancel(&pod->usage_timer);
	loop_timer_cancel(&pod->end_timer);
	storage_fini(&pod->storage);
	podlog_close(pod->log);
	pod_home_free(&pod->home, pod->opts.detached && pod->told_running);
	free(pod->containers);
	free(pod);
}

static struct pod_container *stdin_container(struct pod *pod)
{
	for (size_t i = pod->spec->n_init; i < pod->spec->n_containers; i++)
		if (pod->spec->containers[i].stdin_open)
			return &pod->containers[i];
	return NULL;
}

size_t pod_stdin(struct pod *pod, const char *bytes, size_t n)
{
	struct pod_container *c = stdin_container(pod);

	return c ? input_write(c, bytes, n) : 0;
}

void pod_stdin_close(struct pod *pod)
{
	struct pod_container *c = stdin_container(pod);

	if (c)
		input_close(c);
}
