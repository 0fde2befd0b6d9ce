/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's VM under containerd. It goes down once, by whatever cause: vm_down is the one door. It ends pending calls and tasks
 * before the VM's processes are gone, so containerd has its exits at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "oci/json.h"
#include "pod/host_cgroup.h"
#include "shim/disks.h"
#include "shim/live.h"
#include "shim/shim.h"

#define QUIT_WAIT_NS (3 * NS_PER_S)
#define UNNEEDED_NS (5 * NS_PER_S)
/* containerd's client takes the end of the connection for a failed call when it sees both at once. */
#define QUIT_DELAY_NS (100 * NS_PER_MS)
#define EVENTS_POLL_MS 300000
#define EVENTS_GAP_NS (100 * NS_PER_MS)

/* ---- the record ---- */

static const char *state_name(const struct proc *p)
{
	return p->state == PROC_STOPPED ? "Terminated" : p->started ? "Running" : "Waiting";
}

static json_t *tasks_json(const struct shim *sh)
{
	json_t *list = json_array();

	for (const struct task *t = sh->tasks; t; t = t->next)
		if (t->kind != SPEC_SANDBOX)
			(void)json_array_insert_new(list, 0,
				json_pack("{s:s s:s s:s s:s s:b s:b s:b s:s s:s s:i s:I s:I s:i}", "name", t->name,
					"id", t->agent_id, "image", t->image, "digest", "", "init", 0, "sidecar", 0,
					"tty", t->init.terminal, "state", state_name(&t->init), "reason",
					t->init.oom ? "OOMKilled" : "", "restarts", 0, "startedNs", (json_int_t)0,
					"finishedNs", (json_int_t)t->init.exited_at, "exitCode",
					(int)t->init.exit_status));
	return list;
}

void vm_record(struct shim *sh)
{
	static const char *const phases[] = {
		[VM_NONE] = "Starting", [VM_STARTING] = "Starting", [VM_UP] = "Running", [VM_DOWN] = "Stopping"};
	json_t *state;

	if (!sh->sb.loop)
		return;
	state = json_pack("{s:i s:s s:s s:s s:s s:b s:s s:o s:i s:I s:I s:s s:o s:o s:o s:o s:o s:{s:s s:s} s:o}",
		"version", 1, "id", sh->sb.home.id, "name", sh->pod_name, "namespace", sh->pod_ns, "uid", sh->pod_uid,
		"detached", 1, "phase", phases[sh->vm], "message", json_lossy(sh->down_why), "exitCode",
		(int)sh->exit_status, "createdNs", (json_int_t)sh->created_ns, "finishedNs", (json_int_t)sh->ended_ns,
		"source", "containerd", "vm", sandbox_vm_json(&sh->sb), "containers", tasks_json(sh), "ports",
		json_array(), "volumes", json_array(), "timings", sandbox_timings_json(&sh->sb), "containerd",
		"namespace", sh->args.ns, "id", sh->args.id, "cgroups", host_cgroup_json(sh->cgroup));
	pod_home_record(&sh->sb.home, state);
}

uint32_t vm_pid(const struct shim *sh)
{
	struct vm_process list[8];
	unsigned n = sh->sb.vm ? sh->sb.driver->processes(sh->sb.vm, list, ARRAY_SIZE(list)) : 0;

	for (unsigned i = 0; i < n; i++)
		if (str_eq(list[i].name, sh->sb.driver->name))
			return (uint32_t)list[i].pid;
	return n ? (uint32_t)list[0].pid : 0;
}

/* ---- the end ---- */

static void vm_down(struct shim *sh, uint32_t status, const char *why)
{
	if (sh->vm == VM_DOWN)
		return;
	sh->vm = VM_DOWN;
	sh->exit_status = status;
	sh->ended_ns = time_real_ns();
	(void)str_copy(sh->down_why, sizeof(sh->down_why), why);
	loop_timer_cancel(&sh->events_timer);
	sandbox_note(&sh->sb, "the pod ends: %s", why);
	sandbox_fail_calls(&sh->sb, why);
	task_vm_down(sh, why);
	sandbox_api_down(sh);
	sandbox_stop(&sh->sb);
	vm_record(sh);
}

void vm_kill(struct shim *sh, uint32_t status, const char *why)
{
	if (sh->vm != VM_NONE)
		vm_down(sh, status, why);
}

static void on_down(void *ctx, const char *why, bool vm_ended)
{
	struct shim *sh = ctx;
	const char *line;

	log_error("%s", why);
	for (unsigned i = 0; vm_ended && (line = sandbox_console_line(&sh->sb, i)); i++)
		log_error("console: %s", line);
	vm_down(sh, 137, why);
}

/* ---- events of the guest ---- */

static void poll_later(struct shim *sh);

static void take_event(struct shim *sh, const Podvm__Agent__V1__Event *e)
{
	for (struct task *t = sh->tasks; t; t = t->next) {
		if (!str_eq(t->agent_id, e->container_id))
			continue;
		if (e->kind == PODVM__AGENT__V1__EVENT_KIND__EVENT_OOM)
			proc_oom(&t->init);
		if (e->kind != PODVM__AGENT__V1__EVENT_KIND__EVENT_EXIT)
			return;
		if (!*e->exec_id && t->init.state >= PROC_CREATED)
			proc_ended(&t->init, e->exit_code);
		for (struct proc *p = t->execs; *e->exec_id && p; p = p->next)
			if (str_eq(p->agent_exec, e->exec_id) && p->state >= PROC_CREATED)
				proc_ended(p, e->exit_code);
		return;
	}
}

static void on_events(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__NextEventsResponse *r = (const void *)reply;
	struct shim *sh = ctx;

	if (err) {
		if (err->code != ECONNRESET)
			log_warn("events of the guest: %s; memory kills of running containers will not be told",
				err->msg);
		return;
	}
	for (size_t i = 0; i < r->n_events; i++) {
		take_event(sh, r->events[i]);
		if (r->events[i]->seq > sh->events_seq)
			sh->events_seq = r->events[i]->seq;
	}
	if (sh->vm == VM_UP)
		poll_later(sh);
}

void vm_poll_events(struct shim *sh)
{
	Podvm__Agent__V1__NextEventsRequest req = PODVM__AGENT__V1__NEXT_EVENTS_REQUEST__INIT;
	struct err err = {0};

	req.after_seq = sh->events_seq;
	req.timeout_ms = EVENTS_POLL_MS;
	sh->events_polled_ns = time_mono_ns();
	if (sandbox_call(&sh->sb, "NextEvents", &req.base, &podvm__agent__v1__next_events_response__descriptor, 0,
		    on_events, sh, NULL, &err) < 0)
		log_warn("events of the guest: %s", err.msg);
}

static void on_poll_timer(struct loop_timer *t)
{
	vm_poll_events(container_of(t, struct shim, events_timer));
}

/* An agent that always answers at once, with nothing or with invented events, does not get more of our time than this. */
static void poll_later(struct shim *sh)
{
	uint64_t next = sh->events_polled_ns + EVENTS_GAP_NS, now = time_mono_ns();

	if (now >= next)
		vm_poll_events(sh);
	else
		loop_timer_set(sh->loop, &sh->events_timer, next - now, on_poll_timer);
}

/* ---- the start ---- */

static void on_up(void *ctx)
{
	struct shim *sh = ctx;

	sh->vm = VM_UP;
	vm_record(sh);
	vm_poll_events(sh);
	task_vm_up(sh);
	sandbox_api_up(sh);
}

static int configure(struct shim *sh, struct err *err)
{
	Podvm__Agent__V1__ConfigureRequest req = PODVM__AGENT__V1__CONFIGURE_REQUEST__INIT;
	size_t n = json_object_size(sh->sysctls), i = 0;
	auto_free Podvm__Agent__V1__ConfigureRequest__SysctlsEntry *list = calloc(n + 1, sizeof(*list));
	auto_free Podvm__Agent__V1__ConfigureRequest__SysctlsEntry **ptrs = calloc(n + 1, sizeof(*ptrs));
	const char *key;
	json_t *v;

	if (!list || !ptrs)
		return err_set(err, ENOMEM, "out of memory");
	json_object_foreach (sh->sysctls, key, v) {
		podvm__agent__v1__configure_request__sysctls_entry__init(&list[i]);
		list[i].key = (char *)(uintptr_t)key;
		list[i].value = (char *)(uintptr_t)json_string_value(v);
		ptrs[i] = &list[i];
		i += list[i].value != NULL;
	}
	req.hostname = sh->hostname;
	req.n_sysctls = i;
	req.sysctls = ptrs;
	return sandbox_configure(&sh->sb, &req, err);
}

static void on_connected(void *ctx)
{
	struct shim *sh = ctx;
	struct err err = {0};

	if (configure(sh, &err) < 0)
		vm_down(sh, 137, err.msg);
}

static int host_name(struct shim *sh, const char *wanted, struct err *err)
{
	struct utsname un;

	if (*wanted && !str_copy(sh->hostname, sizeof(sh->hostname), wanted))
		return err_set(err, EINVAL, "hostname '%.80s' is longer than 64 bytes", wanted);
	if (!*wanted) /* as a container without UTS namespace or with a copy of the host's has it */
		(void)str_copy(sh->hostname, sizeof(sh->hostname), uname(&un) == 0 ? un.nodename : "localhost");
	return 0;
}

int vm_start(struct shim *sh, const struct vm_wish *w, struct err *err)
{
	struct sandbox_config cfg = {.driver = sh->options.driver,
		.vcpus = w->vcpus ? w->vcpus : sh->options.vcpus,
		.memory = w->memory ? w->memory : sh->options.memory,
		.disk_slots = sh->options.disks,
		.share_dir = sh->share.path};
	int r = host_name(sh, w->hostname, err);

	if (r == 0 && *w->cgroups_path)
		r = host_cgroup_join(&sh->cgroup, w->cgroups_path, err);
	if (r < 0)
		return r;
	sh->disk_slots = cfg.disk_slots;
	sh->sysctls = json_incref(w->sysctls);
	if (!*sh->pod_name)
		(void)str_copy(sh->pod_name, sizeof(sh->pod_name), sh->args.id);
	if (!*sh->pod_ns)
		(void)str_copy(sh->pod_ns, sizeof(sh->pod_ns), sh->args.ns);
	/* containerd may kill us when the VM does not start: who buries the pod must know of the cgroups. */
	vm_record(sh);
	if (w->netns)
		r = sandbox_network(&sh->sb, w->netns, err);
	if (r == 0)
		r = sandbox_start(&sh->sb, &cfg, err);
	if (r < 0)
		return r;
	sh->vm = VM_STARTING;
	vm_record(sh);
	return 0;
}

static void on_disk_removed(void *ctx, const char *name)
{
	disks_removed(ctx, name);
}

static void on_restarted(void *ctx)
{
	vm_record(ctx);
}

int vm_init(
	struct shim *sh, struct loop *loop, const struct shim_args *args, const struct pod_home *home, struct err *err)
{
	struct sandbox_callbacks cb = {.connected = on_connected,
		.up = on_up,
		.down = on_down,
		.restarted = on_restarted,
		.disk_removed = on_disk_removed,
		.fails_calls = true,
		.ctx = sh};
	char path[PATH_LEN];
	int r;

	sh->loop = loop;
	sh->args = *args;
	sh->share.fd = -1;
	sh->created_ns = time_real_ns();
	r = sandbox_init(&sh->sb, loop, home, &cb, err);
	if (r == 0)
		r = events_new(&sh->events, loop, args->ttrpc_address, args->ns, err);
	if (r == 0)
		r = pod_run_path(path, home->id, "shared", err);
	return r == 0 ? share_init(&sh->share, path, err) : r;
}

void vm_fini(struct shim *sh)
{
	loop_timer_cancel(&sh->quit_timer);
	loop_timer_cancel(&sh->events_timer);
	sh->vm = VM_DOWN;
	sh->quits = false;
	task_free_all(sh);
	disks_fini(sh);
	live_fini(sh);
	sandbox_stop(&sh->sb);
	share_fini(&sh->share);
	share_host_fini(&sh->host);
	events_free(sh->events);
	host_cgroup_leave(sh->cgroup);
	json_decref(sh->sysctls);
	sandbox_fini(&sh->sb, false);
}

static void on_quit(struct loop_timer *t)
{
	loop_stop(container_of(t, struct shim, quit_timer)->loop, 0);
}

static void on_idle(void *ctx)
{
	struct shim *sh = ctx;

	loop_timer_set(sh->loop, &sh->quit_timer, QUIT_DELAY_NS, on_quit);
}

static void on_unneeded(struct loop_timer *t)
{
	shim_quit(container_of(t, struct shim, quit_timer));
}

void shim_unneeded(struct shim *sh)
{
	if (sh->quits)
		shim_quit(sh);
	else
		loop_timer_set(sh->loop, &sh->quit_timer, UNNEEDED_NS, on_unneeded);
}

void shim_quit(struct shim *sh)
{
	events_on_idle(sh->events, on_idle, sh);
	loop_timer_set(sh->loop, &sh->quit_timer, events_idle(sh->events) ? QUIT_DELAY_NS : QUIT_WAIT_NS, on_quit);
}
