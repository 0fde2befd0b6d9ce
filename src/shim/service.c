/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Task API. Versions 2 and 3 differ in the name of the service only; containerd 1.6 and 1.7 speak the first, 2.x either.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "oci/json.h"
#include "shim/shim.h"

#define AGENT_MS 10000
#define TYPE_RESOURCES "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
#define RESOURCES_MAX (64u << 10)

/* The task, or an answer to the caller and NULL. */
static struct task *get_task(struct shim *sh, struct ttrpc_request *rq, const char *id)
{
	struct task *t = task_find(sh, id);

	if (!t)
		refuse(rq, ENOENT, "no task '%.80s'", id);
	return t;
}

static struct proc *get_proc(struct shim *sh, struct ttrpc_request *rq, const char *id, const char *exec_id)
{
	struct task *t = get_task(sh, rq, id);
	struct proc *p = t ? task_proc(t, exec_id) : NULL;

	if (t && !p)
		refuse(rq, ENOENT, "no exec '%.80s' in task '%.80s'", exec_id, id);
	return p;
}

static void forward_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	if (err)
		ttrpc_fail(ctx, err);
	else
		reply_empty(ctx);
}

/* A call to the agent that is answered by nothing. */
static void forward(struct shim *sh, struct ttrpc_request *rq, const char *method, const ProtobufCMessage *req)
{
	struct err err = {0};

	if (sandbox_call(&sh->sb, method, req, &podvm__agent__v1__empty__descriptor, AGENT_MS, forward_done, rq, NULL,
		    &err) < 0)
		ttrpc_fail(rq, &err);
}

static void on_create(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	task_create(ctx, rq, (const Ctrd__CreateTaskRequest *)msg);
}

static void on_start(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__TaskRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (p && p->task->kind == SPEC_SANDBOX)
		task_start_sandbox(p->task, rq);
	else if (p)
		proc_start(p, rq);
}

static void on_delete(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__TaskRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (p)
		task_delete(p, rq);
}

static void on_exec(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__ExecProcessRequest *req = (const void *)msg;
	struct task *t = get_task(ctx, rq, req->id);

	if (t)
		proc_exec(t, rq, req);
}

static void on_wait(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__TaskRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (p)
		proc_wait(p, rq);
}

/* What the pause program does with a signal. */
static void kill_sandbox(struct task *t, struct ttrpc_request *rq, uint32_t signal)
{
	if (t->init.state == PROC_STOPPED) {
		refuse(rq, ENOENT, "process already finished");
		return;
	}
	reply_empty(rq);
	if (signal == 9)
		vm_kill(t->shim, 137, "containerd killed it");
	else if (signal == 15 || signal == 2)
		vm_kill(t->shim, 0, "containerd stopped it");
}

static void on_kill(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__KillRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (!p)
		return;
	if (req->signal < 1 || req->signal > 64)
		refuse(rq, EINVAL, "signal %u does not exist", req->signal);
	else if (p->task->kind == SPEC_SANDBOX)
		kill_sandbox(p->task, rq, req->signal);
	else
		proc_kill(p, rq, req->signal, req->all);
}

static void on_state(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__TaskRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);
	Ctrd__StateResponse reply = CTRD__STATE_RESPONSE__INIT;
	Ctrd__Timestamp at;

	if (!p || proc_await_deletion(p, rq))
		return;
	reply.id = p->task->id;
	reply.exec_id = p->exec_id;
	reply.bundle = p->task->bundle;
	reply.pid = proc_pid(p);
	reply.status = proc_status(p);
	reply.stdin = p->in ? p->in : reply.stdin;
	reply.stdout = p->out ? p->out : reply.stdout;
	reply.stderr = p->errout ? p->errout : reply.stderr;
	reply.terminal = p->terminal;
	if (p->state == PROC_STOPPED) {
		at = events_time(p->exited_at);
		reply.exited_at = &at;
		reply.exit_status = p->exit_status;
	}
	ttrpc_reply(rq, &reply.base);
}

static void answer_pids(struct ttrpc_request *rq, const uint32_t *pids, size_t n)
{
	Ctrd__PidsResponse reply = CTRD__PIDS_RESPONSE__INIT;
	auto_free Ctrd__ProcessInfo *list = calloc(n + 1, sizeof(*list));
	auto_free Ctrd__ProcessInfo **ptrs = calloc(n + 1, sizeof(*ptrs));

	for (size_t i = 0; list && ptrs && i < n; i++) {
		ctrd__process_info__init(&list[i]);
		list[i].pid = pids[i];
		ptrs[i] = &list[i];
	}
	reply.n_processes = n;
	reply.processes = ptrs;
	if (list && ptrs)
		ttrpc_reply(rq, &reply.base);
	else
		refuse(rq, ENOMEM, "pids: out of memory");
}

struct pids_call {
	struct ttrpc_request *rq;
	uint32_t known; /* the pid that containerd knows */
};

/*
 * When it starts, containerd 2 asks every task, one after the other, and throws away those that answer with an error. A guest that hangs is
 * no reason for that: the task is there, and its first process is known.
 */
static void on_pids_listed(void *ctx, const ProtobufCMessage *msg, const struct err *err)
{
	const Podvm__Agent__V1__ListProcessesResponse *r = (const void *)msg;
	auto_free struct pids_call *call = ctx;

	if (err && err->code == ETIMEDOUT) {
		log_warn("%s; only the first process is listed", err->msg);
		answer_pids(call->rq, &call->known, 1);
	} else if (err) {
		ttrpc_fail(call->rq, err);
	} else {
		answer_pids(call->rq, r->pids, MIN_OF(r->n_pids, (size_t)65536));
	}
}

static void on_pids(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct task *t = get_task(ctx, rq, ((const Ctrd__TaskRequest *)msg)->id);
	Podvm__Agent__V1__ContainerRequest req = PODVM__AGENT__V1__CONTAINER_REQUEST__INIT;
	struct pids_call *call;
	struct err err = {0};

	if (!t)
		return;
	if (t->kind == SPEC_SANDBOX || t->init.state == PROC_NEW || t->init.state == PROC_STOPPED) {
		answer_pids(rq, NULL, 0);
		return;
	}
	call = malloc(sizeof(*call));
	if (!call) {
		refuse(rq, ENOMEM, "pids: out of memory");
		return;
	}
	*call = (struct pids_call){.rq = rq, .known = proc_pid(&t->init)};
	req.container_id = t->agent_id;
	if (sandbox_poll(&t->shim->sb, "ListProcesses", &req.base,
		    &podvm__agent__v1__list_processes_response__descriptor, on_pids_listed, call, &err) < 0)
		on_pids_listed(call, NULL, &err);
}

/* ---- pause and resume ---- */

static void freeze_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct proc *p = ctx;
	struct ttrpc_request *rq = take_ptr(p->rq);
	bool pausing = p->state == PROC_RUNNING;
	Ctrd__TaskNotice ev = CTRD__TASK_NOTICE__INIT;

	p->call_id = 0;
	if (!rq)
		return;
	if (err) {
		ttrpc_fail(rq, err);
		return;
	}
	if (p->state == PROC_RUNNING || p->state == PROC_PAUSED) {
		p->state = pausing ? PROC_PAUSED : PROC_RUNNING;
		ev.container_id = p->task->id;
		events_publish(p->task->shim->events, pausing ? "/tasks/paused" : "/tasks/resumed",
			pausing ? "containerd.events.TaskPaused" : "containerd.events.TaskResumed", &ev.base);
	}
	reply_empty(rq);
}

static void freeze(struct shim *sh, struct ttrpc_request *rq, const char *id, bool on)
{
	struct task *t = get_task(sh, rq, id);
	Podvm__Agent__V1__ContainerRequest call = PODVM__AGENT__V1__CONTAINER_REQUEST__INIT;
	struct err err = {0};

	if (!t)
		return;
	if (t->kind == SPEC_SANDBOX) {
		refuse(rq, EINVAL, "'%s' is the pod itself; pause its containers", id);
		return;
	}
	if (t->init.state != (on ? PROC_RUNNING : PROC_PAUSED) || t->init.rq) {
		refuse(rq, EBUSY, "task '%s' is not %s", id, on ? "running" : "paused");
		return;
	}
	t->init.rq = rq;
	call.container_id = t->agent_id;
	if (sandbox_call(&sh->sb, on ? "PauseContainer" : "ResumeContainer", &call.base,
		    &podvm__agent__v1__empty__descriptor, 2 * AGENT_MS, freeze_done, &t->init, &t->init.call_id,
		    &err) < 0)
		freeze_done(&t->init, NULL, &err);
}

static void on_pause(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	freeze(ctx, rq, ((const Ctrd__TaskRequest *)msg)->id, true);
}

static void on_resume(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	freeze(ctx, rq, ((const Ctrd__TaskRequest *)msg)->id, false);
}

/* ---- the rest ---- */

static void on_checkpoint(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	refuse(rq, EOPNOTSUPP, "podvm cannot checkpoint a container: a process in a VM is not in reach of CRIU");
}

static void on_resize_pty(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__ResizePtyRequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (!p)
		return;
	if (p->task->kind == SPEC_SANDBOX || !p->terminal)
		refuse(rq, EINVAL, "task '%s' has no terminal", req->id);
	else
		proc_resize(p, rq, req->height, req->width);
}

static void on_close_io(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__CloseIORequest *req = (const void *)msg;
	struct proc *p = get_proc(ctx, rq, req->id, req->exec_id);

	if (!p)
		return;
	if (req->stdin)
		pipes_close_stdin(&p->io);
	reply_empty(rq);
}

static int resources_json(const struct task *t, const Ctrd__Any *any, char **ret, size_t *len, struct err *err)
{
	const struct resize_vm vm = {.vcpus = t->shim->sb.vcpus, .memory = t->shim->sb.memory};
	json_t *root = NULL;
	int r;

	if (!any || !str_has_suffix(any->type_url, TYPE_RESOURCES))
		return err_set(err, EINVAL, "update: '%.100s' is not the resources of a Linux container",
			any ? any->type_url : "");
	r = json_text_parse(&root, (const char *)any->value.data, any->value.len, RESOURCES_MAX, OCI_DEPTH_MAX, err);
	if (r < 0)
		return err_wrap(err, "update");
	spec_adjust_resources(root);
	/* Rules for devices are made once, at creation; they are part of every update all the same. */
	(void)json_object_del(root, "devices");
	r = resize_check(root, &t->limits, &vm, err);
	if (r == 0)
		r = json_text_write(root, ret, len, err);
	json_decref(root);
	return r < 0 ? err_wrap(err, "update") : 0;
}

static void on_update(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__UpdateTaskRequest *req = (const void *)msg;
	struct task *t = get_task(ctx, rq, req->id);
	Podvm__Agent__V1__UpdateContainerRequest call = PODVM__AGENT__V1__UPDATE_CONTAINER_REQUEST__INIT;
	auto_free char *json = NULL;
	struct err err = {0};

	if (!t)
		return;
	if (t->kind == SPEC_SANDBOX) {
		refuse(rq, EINVAL, "the size of a VM cannot be changed while it runs");
		return;
	}
	if (resources_json(t, req->resources, &json, &call.resources.len, &err) < 0) {
		ttrpc_fail(rq, &err);
		return;
	}
	call.container_id = t->agent_id;
	call.resources.data = (uint8_t *)json;
	forward(ctx, rq, "UpdateContainer", &call.base);
}

static void on_stats(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct task *t = get_task(ctx, rq, ((const Ctrd__TaskRequest *)msg)->id);

	if (t && t->init.state == PROC_STOPPED)
		refuse(rq, ENOENT, "task '%s' has ended", t->id);
	else if (t)
		metrics_task(t, rq);
}

static void on_connect(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__TaskRequest *req = (const void *)msg;
	Ctrd__ConnectResponse reply = CTRD__CONNECT_RESPONSE__INIT;
	struct task *t = task_find(ctx, req->id);

	reply.shim_pid = (uint32_t)getpid();
	reply.task_pid = t ? proc_pid(&t->init) : vm_pid(ctx);
	reply.version = (char *)(uintptr_t)PODVM_VERSION;
	ttrpc_reply(rq, &reply.base);
}

/*
 * containerd sends it after every deletion of a task: the shim stays while it has others, or the pod itself. containerd 2 sends it for the pod
 * only, and may still be busy with the containers then: the last of them that is deleted ends the shim, for which "delete" waits.
 */
static void on_shutdown(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__ShutdownRequest *req = (const void *)msg;
	struct shim *sh = ctx;

	reply_empty(rq);
	sh->quits |= str_eq(req->id, sh->args.id);
	if (req->now || (!sh->tasks && !sh->by_sandbox_api))
		shim_quit(sh);
}

#define REQUEST(name) &ctrd__##name##__descriptor

static const struct ttrpc_method methods[] = {
	{"State", REQUEST(task_request), on_state},
	{"Create", REQUEST(create_task_request), on_create},
	{"Start", REQUEST(task_request), on_start},
	{"Delete", REQUEST(task_request), on_delete},
	{"Pids", REQUEST(task_request), on_pids},
	{"Pause", REQUEST(task_request), on_pause},
	{"Resume", REQUEST(task_request), on_resume},
	{"Checkpoint", REQUEST(task_request), on_checkpoint},
	{"Kill", REQUEST(kill_request), on_kill},
	{"Exec", REQUEST(exec_process_request), on_exec},
	{"ResizePty", REQUEST(resize_pty_request), on_resize_pty},
	{"CloseIO", REQUEST(close_iorequest), on_close_io},
	{"Update", REQUEST(update_task_request), on_update},
	{"Wait", REQUEST(task_request), on_wait},
	{"Stats", REQUEST(task_request), on_stats},
	{"Connect", REQUEST(task_request), on_connect},
	{"Shutdown", REQUEST(shutdown_request), on_shutdown},
};

int service_new(struct shim *sh, int listen_fd, struct err *err)
{
	int r;

	sh->services[0] = (struct ttrpc_service){"containerd.task.v2.Task", methods, ARRAY_SIZE(methods), sh};
	sh->services[1] = (struct ttrpc_service){"containerd.task.v3.Task", methods, ARRAY_SIZE(methods), sh};
	sh->services[2] = (struct ttrpc_service){
		"containerd.runtime.sandbox.v1.Sandbox", sandbox_methods, sandbox_n_methods, sh};
	r = ttrpc_server_new(
		&sh->server, sh->loop, sh->services, ARRAY_SIZE(sh->services), SHIM_CONNS_MAX, SHIM_CALLS_MAX, err);
	return r < 0 ? r : ttrpc_server_listen(sh->server, listen_fd, err);
}
