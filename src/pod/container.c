/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One container of a pod, as a state machine driven by the agent's answers:
 *
 *   WAITING -> CREATING -> RUNNING -> DRAINING -> ENDED
 *      ^                                            |
 *      +---------------- back-off ------------------+   (a new instance with a new id and a fresh root filesystem)
 *
 * The back-off is the kubelet's: the first restart comes at once, the second after 10 s, and each further one after twice the time,
 * up to 5 minutes; all of that is forgotten after 10 minutes of running.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "oci/seccomp_bpf.h"
#include "oci/spec.h"
#include "pod/pod_impl.h"

#define BACKOFF_FIRST (10 * NS_PER_S)
#define BACKOFF_MAX (300 * NS_PER_S)
#define BACKOFF_FORGET (600 * NS_PER_S)
#define DRAIN_NS (10 * NS_PER_S)

const char *container_state_name(enum container_state s)
{
	switch (s) {
	case CONTAINER_WAITING:
	case CONTAINER_CREATING:
		return "Waiting";
	case CONTAINER_RUNNING:
	case CONTAINER_DRAINING:
		return "Running";
	case CONTAINER_ENDED:
		return "Terminated";
	}
	return "Unknown";
}

static void new_id(struct pod_container *c)
{
	/* A DNS label is at most 63 bytes, an id 64: long names give way to the container's number. */
	if (strlen(c->spec->name) <= 56)
		(void)snprintf(c->id, sizeof(c->id), "%s-%u", c->spec->name, c->attempt);
	else
		(void)snprintf(c->id, sizeof(c->id), "c%zu-%u", c->index, c->attempt);
}

void container_init(struct pod_container *c, struct pod *pod, size_t index)
{
	c->pod = pod;
	c->spec = &pod->spec->containers[index];
	c->image = &pod->opts.images[index];
	c->index = index;
	c->timing = -1;
	new_id(c);
}

static void forget_instance(struct pod_container *c)
{
	output_close(c);
	if (c->stored)
		storage_container_remove(&c->pod->storage, c->id);
	c->stored = false;
}

void container_fini(struct pod_container *c)
{
	loop_timer_cancel(&c->timer);
	if (c->pod)
		forget_instance(c);
}

bool container_done(const struct pod_container *c)
{
	return c->state == CONTAINER_ENDED;
}

/* ---- the end of an instance ---- */

static void on_deleted(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	/* What matters follows from the container's own state; a guest that cannot delete is found out by the next step. */
}

static void delete_instance(struct pod_container *c)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	req.container_id = c->id;
	req.exec_id = (char *)(uintptr_t) "";
	if (c->pod->sb.agent && !c->pod->ending)
		if (sandbox_call(&c->pod->sb, "DeleteProcess", &req.base, &podvm__agent__v1__empty__descriptor,
			    CALL_TIMEOUT_MS, on_deleted, NULL, NULL, NULL) < 0)
			sandbox_note(&c->pod->sb, "container %s: not deleted in the guest, ignoring", c->spec->name);
}

static bool wants_restart(const struct pod_container *c)
{
	if (pod_stopping(c->pod))
		return false;
	if (c->spec->sidecar)
		return true;
	if (c->spec->init)
		return c->exit_code != 0 && c->pod->spec->restart != KUBE_RESTART_NEVER;
	switch (c->pod->spec->restart) {
	case KUBE_RESTART_ALWAYS:
		return true;
	case KUBE_RESTART_ON_FAILURE:
		return c->exit_code != 0;
	case KUBE_RESTART_NEVER:
		return false;
	}
	return false;
}

static void on_backoff(struct loop_timer *t)
{
	struct pod_container *c = container_of(t, struct pod_container, timer);

	if (c->state == CONTAINER_WAITING)
		container_start(c);
}

/* How long the next start has to wait. */
static uint64_t next_backoff(struct pod_container *c)
{
	uint64_t wait;

	if (c->started_mono && time_mono_ns() - c->started_mono > BACKOFF_FORGET)
		c->backoff_ns = 0;
	wait = c->backoff_ns;
	c->backoff_ns = wait ? MIN_OF(wait * 2, BACKOFF_MAX) : BACKOFF_FIRST;
	return wait;
}

static void schedule_restart(struct pod_container *c, uint64_t wait)
{
	c->last = (struct ending){.reason = c->reason,
		.exit_code = c->exit_code,
		.started_ns = *c->message ? 0 : c->started_ns,
		.finished_ns = c->finished_ns};
	memcpy(c->last.message, c->message, sizeof(c->last.message));
	c->message[0] = '\0';
	forget_instance(c);
	c->restarts++;
	c->attempt++;
	new_id(c);
	c->state = CONTAINER_WAITING;
	c->reason = wait ? "CrashLoopBackOff" : "ContainerCreating";
	sandbox_note(&c->pod->sb, "container %s: restarts in %u s (restart %u)", c->spec->name,
		(unsigned)(wait / NS_PER_S), c->restarts);
	loop_timer_set(c->pod->loop, &c->timer, wait, on_backoff);
}

static void note_termination_message(struct pod_container *c)
{
	char *text = storage_termination_message(&c->pod->storage, c->id);

	if (text)
		sandbox_note(&c->pod->sb, "container %s: termination message: %s", c->spec->name, text);
	free(text);
}

void container_ending(const struct pod_container *c, char dst[480])
{
	if (*c->message)
		(void)snprintf(dst, 480, "container %s: %s", c->spec->name, c->message);
	else
		(void)snprintf(
			dst, 480, "container %s: ended with exit code %d (%s)", c->spec->name, c->exit_code, c->reason);
}

/* Who looks on is told what the output does not show: a start that failed, an end for lack of memory, a restart. */
static void tell_end(struct pod_container *c, bool restarts, uint64_t wait)
{
	/* The last one is a surprise for who has a job in mind. */
	const char *why = c->exit_code || *c->message ? "" : " (restartPolicy: Always)";
	char text[560], ending[480], when[64] = "";

	if (!c->pod->opts.notice || !(*c->message || restarts || str_eq(c->reason, "OOMKilled")))
		return;
	if (restarts && wait)
		(void)snprintf(when, sizeof(when), "; restarts in %u s%s", (unsigned)(wait / NS_PER_S), why);
	else if (restarts)
		(void)snprintf(when, sizeof(when), "; restarts at once%s", why);
	container_ending(c, ending);
	(void)snprintf(text, sizeof(text), "%s%s", ending, when);
	c->pod->opts.notice(c->pod->opts.ctx, text);
}

static void instance_ended(struct pod_container *c)
{
	bool restarts = wants_restart(c);
	uint64_t wait = restarts ? next_backoff(c) : 0;

	loop_timer_cancel(&c->timer);
	timing_end(&c->pod->sb, c->timing);
	c->state = CONTAINER_ENDED;
	c->finished_ns = time_real_ns();
	sandbox_note(&c->pod->sb, "container %s: ended with exit code %d (%s)", c->spec->name, c->exit_code, c->reason);
	if (c->stored)
		note_termination_message(c);
	tell_end(c, restarts, wait);
	if (restarts) {
		pod_restarts(c->pod);
		delete_instance(c);
		schedule_restart(c, wait);
	}
	record_write(c->pod);
	pod_advance(c->pod);
}

void container_failed(struct pod_container *c, const struct err *err)
{
	/* A lost connection is the end of the pod, not of this container: pod.c reports it. */
	if (c->pod->ending || c->state == CONTAINER_ENDED || err->code == ECONNRESET)
		return;
	sandbox_note(&c->pod->sb, "container %s: %s", c->spec->name, err->msg);
	(void)snprintf(c->message, sizeof(c->message), "%.*s", (int)sizeof(c->message) - 1,
		*err->msg ? err->msg : "it could not be started");
	output_close(c);
	/* 128 is what runc and the kubelet report for a container that could not be started. */
	c->exit_code = 128;
	c->reason = "StartError";
	instance_ended(c);
}

void container_drained(struct pod_container *c)
{
	if (c->state == CONTAINER_DRAINING && output_drained(c))
		instance_ended(c);
}

static void on_drain_timeout(struct loop_timer *t)
{
	struct pod_container *c = container_of(t, struct pod_container, timer);

	if (pod_held(c->pod) || c->output_came) {
		c->output_came = false;
		loop_timer_set(c->pod->loop, &c->timer, DRAIN_NS, on_drain_timeout);
		return;
	}
	sandbox_note(&c->pod->sb, "container %s: its output does not end, and nothing came for %u s", c->spec->name,
		(unsigned)(DRAIN_NS / NS_PER_S));
	output_close(c);
	container_drained(c);
}

static void on_waited(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__WaitProcessResponse *r = (const void *)reply;
	struct pod_container *c = ctx;

	if (err) {
		container_failed(c, err);
		return;
	}
	c->exit_code = (int)(r->exit_code & 255);
	c->reason = r->oom_killed ? "OOMKilled" : c->exit_code ? "Error" : "Completed";
	c->state = CONTAINER_DRAINING;
	if (output_drained(c))
		instance_ended(c);
	else
		loop_timer_set(c->pod->loop, &c->timer, DRAIN_NS, on_drain_timeout);
}

/* ---- the start of an instance ---- */

/*
 * Made and started with one call; its output waits for us in the pipes of the guest. Not with a terminal, which is given its size
 * first, nor with an input, whose stream is refused once the process has ended.
 */
static bool starts_at_once(const struct pod_container *c)
{
	return !c->spec->tty && !c->spec->stdin_open;
}

static void on_started(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct pod_container *c = ctx;

	if (err) {
		container_failed(c, err);
		return;
	}
	if (c->state != CONTAINER_CREATING)
		return;
	timing_end(&c->pod->sb, c->timing);
	c->timing = timing_start(&c->pod->sb, "run %s", c->spec->name);
	c->state = CONTAINER_RUNNING;
	c->reason = NULL;
	c->started_ns = time_real_ns();
	c->started_mono = time_mono_ns();
	sandbox_note(&c->pod->sb, "container %s: started", c->spec->name);
	if (pod_stopping(c->pod))
		container_stop(c, c->pod->stop_kill);
	record_write(c->pod);
	pod_advance(c->pod);
}

void container_attached(struct pod_container *c)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct err err = {0};
	int r;

	if (c->state != CONTAINER_CREATING)
		return;
	req.container_id = c->id;
	req.exec_id = (char *)(uintptr_t) "";
	if (starts_at_once(c)) {
		r = sandbox_call(&c->pod->sb, "WaitProcess", &req.base,
			&podvm__agent__v1__wait_process_response__descriptor, 0, on_waited, c, NULL, &err);
		if (r < 0)
			container_failed(c, &err);
		else
			on_started(c, NULL, NULL);
		return;
	}
	timing_end(&c->pod->sb, c->timing);
	c->timing = timing_start(&c->pod->sb, "start %s", c->spec->name);
	container_resize(c); /* the program shall see the right size from its first look */
	r = sandbox_call(&c->pod->sb, "StartProcess", &req.base, &podvm__agent__v1__start_process_response__descriptor,
		CALL_TIMEOUT_MS, on_started, c, NULL, &err);
	/* The answer to WaitProcess may come right behind the one to StartProcess: ask now and save a round trip. */
	if (r == 0)
		r = sandbox_call(&c->pod->sb, "WaitProcess", &req.base,
			&podvm__agent__v1__wait_process_response__descriptor, 0, on_waited, c, NULL, &err);
	if (r < 0)
		container_failed(c, &err);
}

static void on_created(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct pod_container *c = ctx;
	struct err attach = {0};

	if (c->state != CONTAINER_CREATING)
		return;
	if (err) {
		container_failed(c, err);
		return;
	}
	if (output_attach(c, &attach) < 0)
		container_failed(c, &attach);
}

static int make_spec(
	struct pod_container *c, const struct storage_paths *paths, char **ret, size_t *len, struct err *err)
{
	struct kube_spec_paths kp = {
		.rootfs = paths->rootfs,
		.mount_sources = (const char *const *)paths->mounts,
		.hosts = GUEST_SHARE "/pod/hosts",
		.resolv_conf = GUEST_SHARE "/pod/resolv.conf",
		.hostname_file = GUEST_SHARE "/pod/hostname",
		.termination_log = paths->termination_log,
		.shm = "/run/podvm/shm",
	};
	const char *profile = c->pod->opts.seccomp ? c->pod->opts.seccomp[c->index] : NULL;
	auto_oci_spec struct oci_spec spec = {0};
	int r = kube_container_spec(
		&spec, c->pod->spec, c->spec, &c->image->config, paths->rootfs_fd, &kp, profile, err);

	if (r == 0)
		r = oci_compile_seccomp(&spec, path_run(), err);
	return r < 0 ? r : oci_spec_write(&spec, ret, len, err);
}

static int create(struct pod_container *c, struct err *err)
{
	Podvm__Agent__V1__CreateContainerRequest req = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	struct storage_paths paths = {.rootfs_fd = -1};
	auto_free char *json = NULL;
	int r = storage_container(&c->pod->storage, c->spec, c->id, c->image->rootfs, &paths, err);

	if (r < 0)
		return r;
	c->stored = true;
	r = make_spec(c, &paths, &json, &req.oci_spec.len, err);
	storage_paths_fini(&paths);
	if (r < 0)
		return r;
	req.container_id = c->id;
	req.oci_spec.data = (uint8_t *)json;
	req.stdin = c->spec->stdin_open;
	req.terminal = c->spec->tty;
	req.start = starts_at_once(c);
	return sandbox_call(&c->pod->sb, "CreateContainer", &req.base,
		&podvm__agent__v1__create_container_response__descriptor, CALL_TIMEOUT_MS, on_created, c, NULL, err);
}

void container_start(struct pod_container *c)
{
	struct err err = {0};

	c->state = CONTAINER_CREATING;
	c->reason = "ContainerCreating";
	c->timing = timing_start(&c->pod->sb, "create %s", c->spec->name);
	if (create(c, &err) < 0)
		container_failed(c, &err);
}

/* ---- signals ---- */

/* lifecycle.stopSignal, or the image's STOPSIGNAL ("SIGQUIT", "QUIT", "3", "RTMIN+3"), or SIGTERM. */
static int stop_signal(const struct pod_container *c)
{
	const char *name = *c->spec->stop_signal ? c->spec->stop_signal : c->image->config.stop_signal;
	uint64_t number;

	if (!name || !*name)
		return SIGTERM;
	if (str_to_u64(name, 64, &number, NULL) == 0)
		return number ? (int)number : SIGTERM;
	if (str_has_prefix(name, "SIG"))
		name += 3;
	for (int signo = 1; signo < 32; signo++)
		if (sigabbrev_np(signo) && str_eq(name, sigabbrev_np(signo)))
			return signo;
	/* 34 and 64 are SIGRTMIN and SIGRTMAX as glibc in a container counts them. */
	if (str_has_prefix(name, "RTMIN") &&
		(name[5] == '\0' || (name[5] == '+' && str_to_u64(name + 6, 30, &number, NULL) == 0)))
		return 34 + (name[5] ? (int)number : 0);
	if (str_has_prefix(name, "RTMAX") &&
		(name[5] == '\0' || (name[5] == '-' && str_to_u64(name + 6, 30, &number, NULL) == 0)))
		return 64 - (name[5] ? (int)number : 0);
	return SIGTERM;
}

void container_stop(struct pod_container *c, bool kill)
{
	Podvm__Agent__V1__SignalProcessRequest req = PODVM__AGENT__V1__SIGNAL_PROCESS_REQUEST__INIT;

	if (c->state == CONTAINER_WAITING) {
		/* Never started, or between two instances: what became of the last one stands. */
		loop_timer_cancel(&c->timer);
		c->state = CONTAINER_ENDED;
		c->reason = c->restarts ? c->last.reason : "NotStarted";
		memcpy(c->message, c->last.message, sizeof(c->message));
		return;
	}
	if (c->state != CONTAINER_RUNNING)
		return;
	if (c->asked_to_stop && !kill)
		return;
	c->asked_to_stop = true;
	req.container_id = c->id;
	req.exec_id = (char *)(uintptr_t) "";
	req.signal = kill ? SIGKILL : (uint32_t)stop_signal(c);
	req.all = kill;
	if (sandbox_call(&c->pod->sb, "SignalProcess", &req.base, &podvm__agent__v1__empty__descriptor, CALL_TIMEOUT_MS,
		    on_deleted, NULL, NULL, NULL) < 0)
		sandbox_note(&c->pod->sb, "container %s: could not be signalled", c->spec->name);
}

/* ---- the terminal ---- */

void container_resize(struct pod_container *c)
{
	Podvm__Agent__V1__ResizePtyRequest req = PODVM__AGENT__V1__RESIZE_PTY_REQUEST__INIT;
	/* Between these the terminal is there; before and after, the next start tells. */
	bool there = (c->state == CONTAINER_CREATING && !c->dials && c->out[0].open) || c->state == CONTAINER_RUNNING;

	if (!there || !c->spec->tty || !c->rows || !c->columns)
		return;
	req.container_id = c->id;
	req.exec_id = (char *)(uintptr_t) "";
	req.rows = c->rows;
	req.columns = c->columns;
	/* A process that has just ended needs no size. */
	(void)!sandbox_call(&c->pod->sb, "ResizePty", &req.base, &podvm__agent__v1__empty__descriptor, CALL_TIMEOUT_MS,
		on_deleted, NULL, NULL, NULL);
}
