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
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "pod/pod_impl.h"

#define KILL_WAIT_NS (5 * NS_PER_S)
#define USAGE_EVERY_NS (10 * NS_PER_S)
#define USAGE_PER_TURN 500 /* files: a millisecond or so */
#define HOST_FILE_MAX 65536

const char *pod_id(const struct pod *pod)
{
	return pod->sb.home.id;
}

bool pod_stopping(const struct pod *pod)
{
	return pod->phase >= PHASE_STOPPING || pod->ending;
}

bool pod_held(const struct pod *pod)
{
	return pod->held[0] || pod->held[1];
}

static void set_phase(struct pod *pod, enum pod_phase phase)
{
	if (pod->phase == phase)
		return;
	pod->phase = phase;
	sandbox_note(&pod->sb, "phase %s%s%s", phase_name(phase), *pod->message ? ": " : "", pod->message);
	record_write(pod);
}

/* ---- the end ---- */

static void stop_vm(struct pod *pod)
{
	ports_free(take_ptr(pod->ports));
	for (size_t i = 0; pod->containers && i < pod->spec->n_containers; i++)
		output_close(&pod->containers[i]);
	sandbox_stop(&pod->sb);
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
	char text[sizeof(pod->message)];
	va_list ap;

	if (pod->ending)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* the arguments may be pod->message itself */
	va_end(ap);
	memcpy(pod->message, text, sizeof(text));
	pod->exit_code = exit_code;
	pod->finished_ns = time_real_ns();
	set_phase(pod, exit_code || *pod->message ? PHASE_FAILED : PHASE_SUCCEEDED);
	pod->ending = true;
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

/* What podvm run ends with because of this container. Its record has the kubelet's 128 when it could not be started. */
static int status_of(const struct pod_container *c)
{
	return c->reason && str_eq(c->reason, "StartError") ? 1 : c->exit_code;
}

static void finish(struct pod *pod)
{
	int code = 0;

	for (size_t i = 0; i < pod->spec->n_containers && !code; i++)
		if (!pod->containers[i].spec->sidecar)
			code = status_of(&pod->containers[i]);
	/* A reason without a failed container (deadline, eviction) is a failure all the same. */
	pod_end(pod, code ? code : *pod->message != '\0', "%s", pod->message);
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

	/* They may well have: the end of a process is told behind its output. A reader that takes none is not waited for. */
	if (pod->reader_moves) {
		pod->reader_moves = false;
		loop_timer_set(pod->loop, &pod->stop_timer, KILL_WAIT_NS, on_kill_wait);
		return;
	}
	sandbox_note(&pod->sb,
		pod_held(pod) ? "the reader of the containers' output takes nothing after SIGKILL; the VM is killed"
			      : "containers did not end after SIGKILL; the VM is killed");
	pod_end(pod, 137, "%s", pod->message);
}

static void on_grace_over(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, stop_timer);

	sandbox_note(&pod->sb, "grace period of %u s is over: SIGKILL", pod->spec->grace_seconds);
	pod->stop_kill = true;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		container_stop(&pod->containers[i], true);
	pod->reader_moves = false;
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
	sandbox_note(&pod->sb, "stop: %s", why);
	if (pod->phase == PHASE_STOPPING || !pod->sb.agent) {
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

void pod_restarts(struct pod *pod)
{
	if (pod->told_running || !pod->opts.detached)
		return;
	pod->told_running = true;
	if (pod->opts.running)
		pod->opts.running(pod->opts.ctx);
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
			pod_end(pod, status_of(c), "init container %s ended with exit code %d", c->spec->name,
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

/* One volume after the other, some files a turn; when all were counted, again after a while. */
static void on_usage(struct loop_timer *t)
{
	struct pod *pod = container_of(t, struct pod, usage_timer);
	const struct kube_volume *v = &pod->spec->volumes[pod->usage_volume];
	bool limited = v->kind == KUBE_VOLUME_EMPTY_DIR && !v->memory && v->size_limit;

	if (limited && pod->usage.depth == 0)
		usage_begin(&pod->usage, storage_volume_open(&pod->storage, pod->usage_volume));
	if (limited && !usage_step(&pod->usage, USAGE_PER_TURN)) {
		loop_timer_set(pod->loop, &pod->usage_timer, 0, on_usage);
		return;
	}
	if (limited && pod->usage.bytes > v->size_limit) {
		(void)snprintf(pod->message, sizeof(pod->message),
			"Evicted: emptyDir '%s' is larger than its sizeLimit", v->name);
		pod_stop(pod, pod->message);
		return;
	}
	pod->usage_volume = (pod->usage_volume + 1) % pod->spec->n_volumes;
	loop_timer_set(pod->loop, &pod->usage_timer, pod->usage_volume ? 0 : USAGE_EVERY_NS, on_usage);
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

static void on_up(void *ctx)
{
	struct pod *pod = ctx;

	watch_limits(pod);
	set_phase(pod, PHASE_INITIALIZING);
	pod_advance(pod);
}

static void on_down(void *ctx, const char *why, bool vm_ended)
{
	struct pod *pod = ctx;
	const char *line;

	for (unsigned i = 0; vm_ended && pod->opts.notice && (line = sandbox_console_line(&pod->sb, i)); i++)
		pod->opts.notice(pod->opts.ctx, line);
	pod_end(pod, 1, "%s", why);
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

	if (!sysctls || !sysctl_ptrs || !tmpfs || !tmpfs_ptrs)
		return err_set(err, ENOMEM, "out of memory");
	for (i = 0; i < n_sysctls; i++) {
		podvm__agent__v1__configure_request__sysctls_entry__init(&sysctls[i]);
		sysctls[i].key = pod->spec->sysctls[i].key;
		sysctls[i].value = pod->spec->sysctls[i].value;
		sysctl_ptrs[i] = &sysctls[i];
	}
	req.hostname = pod->spec->hostname;
	req.n_sysctls = n_sysctls;
	req.sysctls = sysctl_ptrs;
	req.share_pid_namespace = pod->spec->share_pid;
	req.n_tmpfs = fill_tmpfs(pod, tmpfs, tmpfs_ptrs);
	req.tmpfs = tmpfs_ptrs;
	return sandbox_configure(&pod->sb, &req, err);
}

static void on_connected(void *ctx)
{
	struct pod *pod = ctx;
	struct err err = {0};

	if (call_configure(pod, &err) < 0)
		pod_end(pod, 1, "configure the guest: %s", err.msg);
}

/* ---- set-up ---- */

static int write_pod_files(struct pod *pod, struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(1 << 20), resolv = BUF_INIT(1 << 20), name = BUF_INIT(4096);
	const char *ip = pod->sb.net && *pod_net_ip(pod->sb.net) ? pod_net_ip(pod->sb.net) : "127.0.0.1";
	auto_free char *host_resolv = NULL;
	int r;

	if (file_read(AT_FDCWD, "/etc/resolv.conf", HOST_FILE_MAX, &host_resolv, NULL, NULL) < 0)
		host_resolv = NULL;
	r = kube_hosts_text(pod->spec, ip, &hosts);
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
	struct sandbox_config cfg = {.driver = pod->opts.driver, .share_dir = pod->storage.share.path};
	int timing = timing_start(&pod->sb, "storage");
	int r = 0;

	for (size_t i = 0; i < pod->spec->notes.n; i++)
		sandbox_note(&pod->sb, "%s", pod->spec->notes.v[i]);
	if (pod->opts.netns)
		r = sandbox_network(&pod->sb, pod->opts.netns, err);
	if (r == 0)
		r = ports_open(&pod->ports, pod, err);
	if (r == 0)
		r = storage_init(&pod->storage, pod->spec, &pod->sb.home, err);
	if (r == 0)
		r = write_pod_files(pod, err);
	timing_end(&pod->sb, timing);
	if (r < 0)
		return r;
	kube_pod_size(pod->spec, &cfg.vcpus, &cfg.memory);
	r = sandbox_start(&pod->sb, &cfg, err);
	if (r == 0)
		record_write(pod);
	return r;
}

static void on_restarted(void *ctx)
{
	record_write(ctx);
}

static int make_home(struct pod *pod, struct err *err)
{
	struct sandbox_callbacks cb = {
		.connected = on_connected, .up = on_up, .down = on_down, .restarted = on_restarted, .ctx = pod};
	struct pod_home home;
	int r = pod_home_new(&home, pod->spec->ns, pod->spec->name, err);

	return r < 0 ? r : sandbox_init(&pod->sb, pod->loop, &home, &cb, err);
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
	pod->storage.share.fd = pod->storage.pod_fd = -1;
	pod->created_ns = time_real_ns();
	pod->containers = calloc(opts->spec->n_containers, sizeof(*pod->containers));
	r = pod->containers ? make_home(pod, err) : err_set(err, ENOMEM, "start the pod: out of memory");
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
	loop_timer_cancel(&pod->stop_timer);
	loop_timer_cancel(&pod->deadline_timer);
	loop_timer_cancel(&pod->usage_timer);
	loop_timer_cancel(&pod->end_timer);
	usage_end(&pod->usage);
	storage_fini(&pod->storage);
	sandbox_fini(&pod->sb, pod->opts.detached && pod->told_running);
	free(pod->containers);
	free(pod);
}

void pod_hold_output(struct pod *pod, enum pod_stream stream, bool hold)
{
	unsigned i = stream - POD_STDOUT;

	pod->reader_moves = pod->reader_moves || !hold;
	if (pod->held[i] == hold)
		return;
	pod->held[i] = hold;
	/* Going on may fill the reader's place at once, and hold it again. */
	for (size_t j = 0; j < pod->spec->n_containers && pod->held[i] == hold; j++)
		output_hold(&pod->containers[j].out[i]);
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

void pod_resize(struct pod *pod, unsigned rows, unsigned columns)
{
	struct pod_container *c = stdin_container(pod);

	if (!c || !c->spec->tty)
		return;
	c->rows = rows;
	c->columns = columns;
	container_resize(c);
}
