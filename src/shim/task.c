/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: what containerd calls a container that has a process. What the host has to do for one (mounts, the spec) is done at once,
 * while the VM may still be booting; what the guest has to do follows when it is up.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/disks.h"
#include "shim/live.h"
#include "shim/rootfs.h"
#include "shim/shim.h"

bool task_id_valid(const char *id)
{
	size_t n = strlen(id);

	return n >= 1 && n <= SHIM_ID_MAX && *id != '.' && *id != '-' && *id != '_' &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

void task_agent_id(char dst[STREAM_ID_MAX + 1], const char *id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	if (str_copy(dst, STREAM_ID_MAX + 1, id))
		return;
	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	(void)snprintf(dst, STREAM_ID_MAX + 1, "%.47s-%016llx", id, (unsigned long long)h);
}

struct task *task_find(struct shim *sh, const char *id)
{
	for (struct task *t = sh->tasks; t; t = t->next)
		if (str_eq(t->id, id))
			return t;
	return NULL;
}

struct proc *task_proc(struct task *t, const char *exec_id)
{
	if (!*exec_id)
		return &t->init;
	for (struct proc *p = t->execs; p; p = p->next)
		if (str_eq(p->exec_id, exec_id))
			return p;
	return NULL;
}

static void free_exec(struct proc *p)
{
	struct task *t = p->task;

	for (struct proc **at = &t->execs; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	t->n_execs--;
	proc_fini(p);
	free(p);
}

static void task_free(struct task *t)
{
	struct shim *sh = t->shim;

	for (struct task **at = &sh->tasks; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			sh->n_tasks--;
			break;
		}
	while (t->execs)
		free_exec(t->execs);
	proc_fini(&t->init);
	live_free(t);
	disks_release(t);
	if (t->mounted)
		rootfs_remove(&sh->share, t->agent_id, t->n_mounts);
	free(t->json);
	free(t);
	vm_record(sh);
}

void task_free_all(struct shim *sh)
{
	while (sh->tasks)
		task_free(sh->tasks);
}

/* ---- create ---- */

static void on_discarded(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
}

/* Removes from the guest what a failed creation left there; nobody waits for it. */
static void discard(struct proc *p)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct shim *sh = p->task->shim;

	req.container_id = p->task->agent_id;
	req.exec_id = p->agent_exec;
	if (sandbox_call(&sh->sb, "DeleteProcess", &req.base, &podvm__agent__v1__empty__descriptor, DELETE_TIMEOUT_MS,
		    on_discarded, NULL, NULL, NULL) < 0)
		log_debug("task %s: not removed from the guest, ignoring", p->task->id);
}

/* Without tasks the shim has nothing left to do; with the sandbox API it is told so. */
static void task_gone(struct shim *sh)
{
	if (!sh->tasks && sh->vm == VM_DOWN && !sh->by_sandbox_api)
		shim_unneeded(sh);
}

void task_create_failed(struct proc *p, const struct err *why)
{
	struct task *t = p->task;
	struct shim *sh = t->shim;
	struct ttrpc_request *rq = take_ptr(p->rq);
	bool single = t->kind == SPEC_SINGLE && !*p->exec_id;
	struct err err = *why;

	log_error("%s %s: %s", *p->exec_id ? "exec" : "create", *p->exec_id ? p->exec_id : t->id, err.msg);
	sandbox_note(&sh->sb, "task %.12s: create failed: %s", t->id, err.msg);
	if (*p->exec_id) {
		discard(p);
		free_exec(p);
	} else {
		if (t->in_guest)
			discard(p);
		task_free(t);
	}
	if (rq)
		ttrpc_fail(rq, &err);
	if (single)
		vm_kill(sh, 137, "its container could not be created");
	task_gone(sh);
}

void task_cancel(struct proc *p)
{
	struct err err = {0};

	(void)err_set(&err, ECANCELED, "it was killed or deleted while it was being created");
	task_create_failed(p, &err);
}

static void publish_create(struct task *t)
{
	Ctrd__TaskCreate ev = CTRD__TASK_CREATE__INIT;
	Ctrd__TaskIO io = CTRD__TASK_IO__INIT;

	io.stdin = t->init.in;
	io.stdout = t->init.out;
	io.stderr = t->init.errout;
	io.terminal = t->init.terminal;
	ev.container_id = t->id;
	ev.bundle = t->bundle;
	ev.io = &io;
	ev.pid = proc_pid(&t->init);
	events_publish(t->shim->events, "/tasks/create", "containerd.events.TaskCreate", &ev.base);
}

void task_created(struct task *t)
{
	Ctrd__PidResponse reply = CTRD__PID_RESPONSE__INIT;
	struct ttrpc_request *rq = take_ptr(t->init.rq);

	t->init.state = PROC_CREATED;
	publish_create(t);
	reply.pid = proc_pid(&t->init);
	if (rq)
		ttrpc_reply(rq, &reply.base);
	vm_record(t->shim);
}

void task_started(struct task *t)
{
	Ctrd__TaskStart ev = CTRD__TASK_START__INIT;

	ev.container_id = t->id;
	ev.pid = proc_pid(&t->init);
	events_publish(t->shim->events, "/tasks/start", "containerd.events.TaskStart", &ev.base);
	sandbox_note(&t->shim->sb, "task %.12s (%s): started", t->id, t->name);
	vm_record(t->shim);
}

static void on_created(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct task *t = ctx;

	t->init.call_id = 0;
	if (err)
		task_create_failed(&t->init, err);
	else
		proc_created(&t->init);
}

/* The name of the PID namespace for the agent: that of another container, or the one that all containers share. */
static int pid_namespace(const struct task *t, const char **ret, struct err *err)
{
	*ret = t->joins_pid ? "*" : "";
	if (t->joins_pid <= SHIM_PID_BASE)
		return 0;
	for (const struct task *o = t->shim->tasks; o; o = o->next) {
		if (o == t || o->kind != SPEC_CONTAINER || SHIM_PID_BASE + o->number != t->joins_pid)
			continue;
		if (o->init.state != PROC_RUNNING)
			return err_set(err, EBUSY, "the PID namespace of container '%s': it is not running", o->id);
		*ret = o->agent_id;
		return 0;
	}
	return err_set(
		err, ENOENT, "the PID namespace of another container: the pod has none with the pid %u", t->joins_pid);
}

void task_send_create(struct task *t)
{
	const char *pid_ns = "";
	Podvm__Agent__V1__CreateContainerRequest req = PODVM__AGENT__V1__CREATE_CONTAINER_REQUEST__INIT;
	struct err err = {0};

	/* All that is missing is begun at once; either may end the task. */
	if (!live_ready(t) || !disks_ready(t))
		return;
	req.container_id = t->agent_id;
	req.oci_spec.data = (uint8_t *)t->json;
	req.oci_spec.len = t->json_len;
	req.stdin = *t->init.in != '\0';
	req.terminal = t->init.terminal;
	if (pid_namespace(t, &pid_ns, &err) < 0) {
		task_create_failed(&t->init, &err);
		return;
	}
	req.pid_namespace = (char *)(uintptr_t)pid_ns;
	t->in_guest = true;
	if (sandbox_call(&t->shim->sb, "CreateContainer", &req.base,
		    &podvm__agent__v1__create_container_response__descriptor, CALL_TIMEOUT_MS, on_created, t,
		    &t->init.call_id, &err) < 0)
		task_create_failed(&t->init, &err);
	else
		free(take_ptr(t->json));
}

static int bind_mount(void *ctx, size_t i, struct spec_mount *m, char ret_guest[PATH_LEN], struct err *err)
{
	struct task *t = ctx;
	int r;

	t->n_mounts = i + 1;
	r = rootfs_bind(&t->shim->share, &t->shim->host, t->agent_id, i, m, ret_guest, err);
	/* What changes below it, or is written to, has to be the folder itself. */
	if (r < 0 || m->huge_page || !(m->read_only || m->recursive) || m->follow || m->guest_writable)
		return r;
	r = live_take(t, i, ret_guest + strlen(GUEST_SHARE "/"), ret_guest, err);
	return r < 0 ? r : 0;
}

static int take_disk(void *ctx, const struct spec_disk *disk, struct err *err)
{
	return disks_take(ctx, disk, err);
}

static void note(void *ctx, const char *text)
{
	struct task *t = ctx;

	log_info("task %s: %s", t->id, text);
	sandbox_note(&t->shim->sb, "task %.12s: %s", t->id, text);
}

/* The folder of a root filesystem that is not mounted by us: root.path, absolute or in the bundle. */
static int root_folder(const struct task *t, const struct oci_spec *spec, char dst[PATH_LEN * 3], struct err *err)
{
	const char *path = oci_root_path(spec);

	if (!path || !*path)
		path = "rootfs";
	return *path == '/' ? str_format(dst, PATH_LEN * 3, err, "%s", path)
			    : str_format(dst, PATH_LEN * 3, err, "%s/%s", t->bundle, path);
}

static int prepare(struct task *t, struct oci_spec *spec, const Ctrd__CreateTaskRequest *req, struct err *err)
{
	char guest[PATH_LEN], folder[PATH_LEN * 3];
	const char *sandbox = *spec_text(spec, ANNOTATION_SANDBOX) ? spec_text(spec, ANNOTATION_SANDBOX) : t->id;
	struct spec_guest g = {.rootfs = guest,
		.sandbox_id = sandbox,
		.pod_files = t->shim->by_sandbox_api ? GUEST_SHARE "/pod" : NULL,
		.bind = bind_mount,
		.disk = take_disk,
		.note = note,
		.ctx = t,
		.limits = &t->limits};
	int r;

	r = spec_pid_namespace(spec, &t->joins_pid, err);
	if (r == 0 && t->joins_pid && t->kind == SPEC_SINGLE)
		r = err_set(err, EINVAL, "the PID namespace of another process: the container has a VM of its own");
	if (r < 0)
		return r;
	t->mounted = true;
	r = rootfs_prepare(&t->shim->share, t->agent_id, err);
	if (r == 0)
		r = root_folder(t, spec, folder, err);
	if (r == 0)
		r = rootfs_mount(&t->shim->share, &t->shim->host, t->agent_id, req->rootfs, req->n_rootfs, folder, err);
	if (r == 0)
		r = rootfs_guest_path(guest, t->agent_id, err);
	if (r == 0)
		r = spec_adjust(spec, &g, err);
	if (r == 0 && oci_terminal(spec) != req->terminal)
		r = err_set(err, EINVAL, "process.terminal of the spec and the request do not agree");
	return r < 0 ? r : oci_spec_write(spec, &t->json, &t->json_len, err);
}

static int start_pod(struct task *t, const struct oci_spec *spec, struct err *err)
{
	struct shim *sh = t->shim;
	struct vm_wish w = {.hostname = json_string_value(json_object_get(spec->root, "hostname")),
		.netns = spec_namespace_path(spec, "network"),
		.cgroups_path = spec_cgroups_path(spec),
		.sysctls = json_object_get(json_object_get(spec->root, "linux"), "sysctl")};
	int r;

	if (sh->vm != VM_NONE)
		return err_set(err, EEXIST, "this shim has a pod already");
	r = spec_check_namespaces(spec, err);
	if (r == 0)
		r = spec_size(spec, &w.vcpus, &w.memory, err);
	if (r < 0)
		return r;
	(void)str_copy(sh->pod_name, sizeof(sh->pod_name), spec_text(spec, ANNOTATION_SANDBOX_NAME));
	(void)str_copy(sh->pod_ns, sizeof(sh->pod_ns), spec_text(spec, ANNOTATION_SANDBOX_NAMESPACE));
	(void)str_copy(sh->pod_uid, sizeof(sh->pod_uid), spec_text(spec, ANNOTATION_SANDBOX_UID));
	w.hostname = w.hostname ? w.hostname : "";
	return vm_start(sh, &w, err);
}

static int begin(struct task *t, const Ctrd__CreateTaskRequest *req, struct err *err)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct shim *sh = t->shim;
	int r = spec_read(&spec, t->bundle, err);

	if (r == 0)
		r = spec_kind(&spec, &t->kind, err);
	if (r < 0)
		return r;
	(void)str_copy(t->name, sizeof(t->name), spec_text(&spec, ANNOTATION_CONTAINER));
	(void)str_copy(t->image, sizeof(t->image), spec_text(&spec, ANNOTATION_IMAGE));
	if (!*t->name)
		(void)str_copy(t->name, sizeof(t->name), t->kind == SPEC_SANDBOX ? "POD" : t->id);
	if (*req->checkpoint)
		return err_set(err, EINVAL, "a container cannot be restored from a checkpoint");
	if (t->kind == SPEC_CONTAINER && (sh->vm == VM_NONE || sh->vm == VM_DOWN))
		return err_set(err, EBUSY, "its pod %s", sh->vm == VM_NONE ? "was not started" : sh->down_why);
	r = proc_paths(&t->init, req->stdin, req->stdout, req->stderr, req->terminal, err);
	if (r == 0 && t->kind != SPEC_CONTAINER)
		r = start_pod(t, &spec, err);
	if (r == 0 && t->kind != SPEC_SANDBOX)
		r = prepare(t, &spec, req, err);
	return r;
}

void task_create(struct shim *sh, struct ttrpc_request *rq, const Ctrd__CreateTaskRequest *req)
{
	struct err err = {0};
	struct task *t = NULL;
	int r = 0;

	if (!task_id_valid(req->id))
		r = err_set(&err, EINVAL, "task id '%.80s' is not valid", req->id);
	else if (task_find(sh, req->id))
		r = err_set(&err, EEXIST, "task '%s' exists", req->id);
	else if (sh->n_tasks == SHIM_TASKS_MAX)
		r = err_set(&err, ENOBUFS, "the pod has %d tasks", SHIM_TASKS_MAX);
	else if (!(t = calloc(1, sizeof(*t))))
		r = err_set(&err, ENOMEM, "create '%s': out of memory", req->id);
	if (r < 0) {
		ttrpc_fail(rq, &err);
		return;
	}
	t->shim = sh;
	t->number = sh->last_number = sh->last_number % SHIM_PID_NUMBERS + 1;
	(void)str_copy(t->id, sizeof(t->id), req->id);
	task_agent_id(t->agent_id, req->id);
	proc_init(&t->init, t, "");
	t->init.rq = rq;
	t->next = sh->tasks;
	sh->tasks = t;
	sh->n_tasks++;
	r = str_copy(t->bundle, sizeof(t->bundle), req->bundle)
		    ? begin(t, req, &err)
		    : err_set(&err, ENAMETOOLONG, "bundle '%.100s...' is too long", req->bundle);
	if (r < 0)
		task_create_failed(&t->init, &err);
	else if (t->kind == SPEC_SANDBOX)
		task_created(t);
	else if (sh->vm == VM_UP)
		task_send_create(t);
}

/* ---- the VM ---- */

static void sandbox_task_started(struct task *t)
{
	Ctrd__PidResponse reply = CTRD__PID_RESPONSE__INIT;
	struct ttrpc_request *rq = take_ptr(t->init.rq);

	t->init.state = PROC_RUNNING;
	t->init.started = true;
	task_started(t);
	reply.pid = proc_pid(&t->init);
	if (rq)
		ttrpc_reply(rq, &reply.base);
}

void task_start_sandbox(struct task *t, struct ttrpc_request *rq)
{
	if (t->init.state != PROC_CREATED) {
		refuse(rq, EBUSY, "sandbox '%s' %s", t->id,
			t->init.state == PROC_STOPPED ? t->shim->down_why : "was started already");
		return;
	}
	t->init.state = PROC_STARTING;
	t->init.rq = rq;
	if (t->shim->vm == VM_UP)
		sandbox_task_started(t);
}

void task_vm_up(struct shim *sh)
{
	for (struct task *t = sh->tasks, *next; t; t = next) {
		next = t->next;
		if (t->kind == SPEC_SANDBOX) {
			if (t->init.state == PROC_STARTING)
				sandbox_task_started(t);
		} else if (t->json && t->init.state == PROC_NEW) {
			task_send_create(t);
		}
	}
}

static void end_execs(struct task *t)
{
	for (struct proc *p = t->execs, *next; p; p = next) {
		next = p->next;
		if (p->state == PROC_NEW) {
			struct err err = {0};

			(void)err_set(&err, ECONNRESET, "exec '%s': %s", p->exec_id, t->shim->down_why);
			if (p->rq)
				ttrpc_fail(take_ptr(p->rq), &err);
			free_exec(p);
		} else {
			proc_exited(p, 137);
		}
	}
}

void task_vm_down(struct shim *sh, const char *why)
{
	for (struct task *t = sh->tasks, *next; t; t = next) {
		struct err err = {0};

		next = t->next;
		(void)err_set(&err, ECONNRESET, "task '%s': %s", t->id, why);
		end_execs(t);
		if (t->init.state == PROC_NEW) {
			task_create_failed(&t->init, &err);
			continue;
		}
		if (t->init.state == PROC_STARTING && t->init.rq)
			ttrpc_fail(take_ptr(t->init.rq), &err);
		proc_exited(&t->init, t->kind == SPEC_SANDBOX ? sh->exit_status : 137);
	}
}

/* ---- delete ---- */

static void deleted(struct proc *p)
{
	Ctrd__DeleteResponse reply = CTRD__DELETE_RESPONSE__INIT;
	Ctrd__TaskDelete ev = CTRD__TASK_DELETE__INIT;
	struct ttrpc_request *rq = take_ptr(p->rq);
	struct task *t = p->task;
	struct shim *sh = t->shim;
	bool single = t->kind == SPEC_SINGLE && !*p->exec_id;
	Ctrd__Timestamp at;

	if (p->state != PROC_STOPPED)
		proc_exited(p, p->ended ? p->exit_status : 137);
	at = events_time(p->exited_at);
	reply.exit_status = ev.exit_status = p->exit_status;
	reply.exited_at = ev.exited_at = &at;
	ev.container_id = t->id;
	ev.id = p->exec_id;
	/* containerd tells the deletion of execs to nobody else but the caller. */
	if (!*p->exec_id)
		events_publish(sh->events, "/tasks/delete", "containerd.events.TaskDelete", &ev.base);
	if (rq)
		ttrpc_reply(rq, &reply.base);
	if (*p->exec_id)
		free_exec(p);
	else
		task_free(t);
	if (single)
		vm_kill(sh, 137, "its container was deleted");
	task_gone(sh);
}

static void on_deleted(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct proc *p = ctx;

	p->call_id = 0;
	/* What the guest does not know (any more), or the guest itself being gone, is what was wanted. */
	if (err && p->state == PROC_STOPPED && err->code != ENOENT && err->code != ECONNRESET) {
		/* It has ended, so the guest has no say in whether the host forgets it. */
		log_error("task %s: not removed from the guest: %s", p->task->id, err->msg);
	} else if (err && err->code != ENOENT && err->code != ECONNRESET) {
		ttrpc_fail(take_ptr(p->rq), err);
		return;
	}
	deleted(p);
}

/* containerd does that when the one who wanted the task is gone. */
static void delete_new(struct proc *p, struct ttrpc_request *rq)
{
	Ctrd__DeleteResponse reply = CTRD__DELETE_RESPONSE__INIT;
	Ctrd__Timestamp at = events_time(time_real_ns());

	task_cancel(p);
	reply.exit_status = 137;
	reply.exited_at = &at;
	ttrpc_reply(rq, &reply.base);
}

void task_delete(struct proc *p, struct ttrpc_request *rq)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct task *t = p->task;
	struct err err = {0};

	if (p->state == PROC_NEW) {
		delete_new(p, rq);
		return;
	}
	if (p->rq) {
		refuse(rq, EBUSY, "task '%s': something else is under way", t->id);
		return;
	}
	if (p->state == PROC_RUNNING || p->state == PROC_PAUSED) {
		refuse(rq, EBUSY, "task '%s' is running; stop it first", t->id);
		return;
	}
	p->rq = rq;
	if (t->kind == SPEC_SANDBOX || t->shim->vm != VM_UP) {
		if (t->kind == SPEC_SANDBOX)
			vm_kill(t->shim, 137, "the sandbox was deleted");
		deleted(p);
		return;
	}
	req.container_id = t->agent_id;
	req.exec_id = p->agent_exec;
	p->going = p->state == PROC_STOPPED;
	if (sandbox_call(&t->shim->sb, "DeleteProcess", &req.base, &podvm__agent__v1__empty__descriptor,
		    DELETE_TIMEOUT_MS, on_deleted, p, &p->call_id, &err) < 0)
		on_deleted(p, NULL, &err);
}
