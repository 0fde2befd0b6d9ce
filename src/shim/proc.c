/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process from its creation to its end:
 *
 *   NEW -> CREATED -> STARTING -> RUNNING <-> PAUSED
 *     (any)                          |
 *             agent says "ended"  ---+--> output in containerd's pipes --> STOPPED (exit event, waiters)
 *
 * WaitProcess is asked as soon as the process exists, because it may be killed before it is started. The agent answers when it
 * has handed over the last byte of the output; who does not read his pipe delays that, so an exit that the agent reported as an event
 * counts DRAIN_NS later in any case.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/shim.h"

#define DRAIN_NS (10 * NS_PER_S)
#define KILL_TIMEOUT_MS 10000
#define TYPE_PROCESS "types.containerd.io/opencontainers/runtime-spec/1/Process"

void reply_empty(struct ttrpc_request *rq)
{
	Ctrd__Empty reply = CTRD__EMPTY__INIT;

	ttrpc_reply(rq, &reply.base);
}

void refuse(struct ttrpc_request *rq, int code, const char *fmt, ...)
{
	struct err err = {.code = code};
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	ttrpc_fail(rq, &err);
}

static void on_drained(struct pipes *io);
static void on_attached(struct pipes *io, const struct err *err);

void proc_init(struct proc *p, struct task *t, const char *exec_id)
{
	*p = (struct proc){.task = t};
	(void)str_copy(p->exec_id, sizeof(p->exec_id), exec_id);
	pipes_init(&p->io, t->shim->loop);
	p->io.attached = on_attached;
	p->io.drained = on_drained;
}

void proc_fini(struct proc *p)
{
	struct sandbox *sb = &p->task->shim->sb;

	sandbox_cancel(sb, p->call_id);
	sandbox_cancel(sb, p->wait_id);
	loop_timer_cancel(&p->drain);
	loop_timer_cancel(&p->kill);
	pipes_close(&p->io);
	while (p->waiters) {
		struct waiter *w = p->waiters;

		p->waiters = w->next;
		refuse(w->rq, ENOENT, "process '%s' of task '%s' was deleted", p->exec_id, p->task->id);
		free(w);
	}
	if (p->rq)
		refuse(take_ptr(p->rq), ENOENT, "process '%s' of task '%s' was deleted", p->exec_id, p->task->id);
	free(p->in);
	free(p->out);
	free(p->errout);
	p->in = p->out = p->errout = NULL;
}

int proc_paths(struct proc *p, const char *in, const char *out, const char *errout, bool terminal, struct err *err)
{
	p->terminal = terminal;
	p->in = strdup(in);
	p->out = strdup(out);
	p->errout = strdup(errout);
	if (!p->in || !p->out || !p->errout)
		return err_set(err, ENOMEM, "out of memory");
	if (p->task->kind == SPEC_SANDBOX)
		return 0;
	return pipes_open(&p->io, in, out, errout, terminal, err);
}

uint32_t proc_pid(const struct proc *p)
{
	const struct task *t = p->task;

	if (p->state == PROC_STOPPED)
		return 0;
	return t->kind == SPEC_CONTAINER && !*p->exec_id ? SHIM_PID_BASE + t->number : vm_pid(t->shim);
}

Ctrd__Status proc_status(const struct proc *p)
{
	switch (p->state) {
	case PROC_NEW:
	case PROC_CREATED:
	case PROC_STARTING:
		return CTRD__STATUS__CREATED;
	case PROC_RUNNING:
		return CTRD__STATUS__RUNNING;
	case PROC_PAUSED:
		return CTRD__STATUS__PAUSED;
	case PROC_STOPPED:
		return CTRD__STATUS__STOPPED;
	}
	return CTRD__STATUS__UNKNOWN;
}

static void fill_request(Podvm__Agent__V1__ProcessRequest *req, struct proc *p)
{
	req->container_id = p->task->agent_id;
	req->exec_id = p->agent_exec;
}

static void publish(struct proc *p, const char *topic, const char *type)
{
	Ctrd__TaskNotice ev = CTRD__TASK_NOTICE__INIT;

	ev.container_id = p->task->id;
	ev.exec_id = p->exec_id;
	ev.pid = proc_pid(p);
	events_publish(p->task->shim->events, topic, type, &ev.base);
}

/* ---- the end ---- */

void proc_oom(struct proc *p)
{
	Ctrd__TaskNotice ev = CTRD__TASK_NOTICE__INIT;

	if (p->oom)
		return;
	p->oom = true;
	ev.container_id = p->task->id;
	events_publish(p->task->shim->events, "/tasks/oom", "containerd.events.TaskOOM", &ev.base);
}

static void answer_wait(struct proc *p, struct ttrpc_request *rq)
{
	Ctrd__WaitResponse reply = CTRD__WAIT_RESPONSE__INIT;
	Ctrd__Timestamp at = events_time(p->exited_at);

	reply.exit_status = p->exit_status;
	reply.exited_at = &at;
	ttrpc_reply(rq, &reply.base);
}

void proc_exited(struct proc *p, uint32_t status)
{
	Ctrd__TaskExit ev = CTRD__TASK_EXIT__INIT;
	Ctrd__Timestamp at;
	uint32_t pid = proc_pid(p);

	if (p->state == PROC_STOPPED)
		return;
	loop_timer_cancel(&p->drain);
	loop_timer_cancel(&p->kill);
	p->ended = true;
	p->exit_status = status;
	p->exited_at = p->exited_at ? p->exited_at : time_real_ns();
	at = events_time(p->exited_at);
	ev.container_id = p->task->id;
	ev.id = *p->exec_id ? p->exec_id : p->task->id;
	ev.pid = pid;
	ev.exit_status = status;
	ev.exited_at = &at;
	p->state = PROC_STOPPED;
	events_publish(p->task->shim->events, "/tasks/exit", "containerd.events.TaskExit", &ev.base);
	sandbox_note(&p->task->shim->sb, "task %.12s%s%.12s: ended with exit code %u", p->task->id,
		*p->exec_id ? " exec " : "", p->exec_id, status);
	while (p->waiters) {
		struct waiter *w = p->waiters;

		p->waiters = w->next;
		answer_wait(p, w->rq);
		free(w);
	}
	p->n_waiters = 0;
	if (!*p->exec_id)
		vm_record(p->task->shim);
}

static void on_drained(struct pipes *io)
{
	struct proc *p = container_of(io, struct proc, io);

	if (p->ended)
		proc_exited(p, p->exit_status);
}

static void on_drain_timeout(struct loop_timer *t)
{
	struct proc *p = container_of(t, struct proc, drain);

	log_warn("task %s: nobody takes its output; its exit is reported before the end of it", p->task->id);
	proc_exited(p, p->exit_status);
}

void proc_ended(struct proc *p, uint32_t status)
{
	if (p->state == PROC_STOPPED || p->ended)
		return;
	p->ended = true;
	p->exit_status = status & 255;
	p->exited_at = time_real_ns();
	loop_timer_cancel(&p->kill); /* the drain bounds the rest */
	loop_timer_set(p->task->shim->loop, &p->drain, DRAIN_NS, on_drain_timeout);
}

static void on_waited(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__WaitProcessResponse *r = (const void *)reply;
	struct proc *p = ctx;

	p->wait_id = 0;
	if (err) {
		/* The connection: vm.c reports the end. Anything else is an agent that does not know its own process. */
		if (err->code != ECONNRESET && p->state != PROC_STOPPED && p->state != PROC_STARTING) {
			log_error("task %s: wait: %s", p->task->id, err->msg);
			proc_exited(p, 255);
		}
		return;
	}
	if (r->oom_killed)
		proc_oom(p);
	proc_ended(p, r->exit_code);
	if (pipes_is_drained(&p->io))
		proc_exited(p, p->exit_status);
}

static int ask_wait(struct proc *p, struct err *err)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	fill_request(&req, p);
	return sandbox_call(&p->task->shim->sb, "WaitProcess", &req.base,
		&podvm__agent__v1__wait_process_response__descriptor, 0, on_waited, p, &p->wait_id, err);
}

/* ---- creation ---- */

static void on_attached(struct pipes *io, const struct err *why)
{
	struct proc *p = container_of(io, struct proc, io);
	struct err err = {0};

	if (!why && ask_wait(p, &err) < 0)
		why = &err;
	if (why) {
		task_create_failed(p, why);
		return;
	}
	p->state = PROC_CREATED;
	if (*p->exec_id) {
		publish(p, "/tasks/exec-added", "containerd.events.TaskExecAdded");
		reply_empty(take_ptr(p->rq));
	} else {
		task_created(p->task);
	}
}

void proc_created(struct proc *p)
{
	struct err err = {0};

	if (pipes_attach(&p->io, &p->task->shim->sb, p->task->agent_id, p->agent_exec, &err) < 0)
		task_create_failed(p, &err);
	else if (p->io.dials == 0)
		on_attached(&p->io, NULL);
}

static void on_exec_created(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct proc *p = ctx;

	p->call_id = 0;
	if (err)
		task_create_failed(p, err);
	else
		proc_created(p);
}

static int call_exec(struct proc *p, const Ctrd__ExecProcessRequest *req, struct err *err)
{
	Podvm__Agent__V1__CreateExecRequest call = PODVM__AGENT__V1__CREATE_EXEC_REQUEST__INIT;

	if (!req->spec || !str_has_suffix(req->spec->type_url, TYPE_PROCESS))
		return err_set(
			err, EINVAL, "exec: the spec is '%.100s', not a process", req->spec ? req->spec->type_url : "");
	call.container_id = p->task->agent_id;
	call.exec_id = p->agent_exec;
	call.process = req->spec->value;
	call.stdin = *req->stdin != '\0';
	call.terminal = req->terminal;
	return sandbox_call(&p->task->shim->sb, "CreateExec", &call.base, &podvm__agent__v1__empty__descriptor,
		CALL_TIMEOUT_MS, on_exec_created, p, &p->call_id, err);
}

void proc_exec(struct task *t, struct ttrpc_request *rq, const Ctrd__ExecProcessRequest *req)
{
	struct err err = {0};
	struct proc *p = NULL;
	int r;

	if (t->kind == SPEC_SANDBOX)
		r = err_set(&err, EINVAL, "'%s' is the pod itself, there is nothing in it to run '%.60s'", t->id,
			req->exec_id);
	else if (!task_id_valid(req->exec_id))
		r = err_set(&err, EINVAL, "exec id '%.80s' is not valid", req->exec_id);
	else if (task_proc(t, req->exec_id))
		r = err_set(&err, EEXIST, "exec '%s' exists", req->exec_id);
	else if (t->init.state != PROC_RUNNING)
		r = err_set(&err, EBUSY, "task '%s' is not running", t->id);
	else if (t->n_execs == SHIM_EXECS_MAX)
		r = err_set(&err, ENOBUFS, "task '%s' has %d execs", t->id, SHIM_EXECS_MAX);
	else
		r = (p = calloc(1, sizeof(*p))) ? 0 : err_set(&err, ENOMEM, "exec: out of memory");
	if (r < 0 || !p) {
		ttrpc_fail(rq, &err);
		return;
	}
	proc_init(p, t, req->exec_id);
	task_agent_id(p->agent_exec, req->exec_id);
	p->next = t->execs;
	t->execs = p;
	t->n_execs++;
	p->rq = rq;
	r = proc_paths(p, req->stdin, req->stdout, req->stderr, req->terminal, &err);
	if (r == 0)
		r = call_exec(p, req, &err);
	if (r < 0)
		task_create_failed(p, &err);
}

/* ---- terminal ---- */

static void on_resized(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	if (!ctx)
		return; /* the size from before the start: as good as it gets */
	if (err)
		ttrpc_fail(ctx, err);
	else
		reply_empty(ctx);
}

static int resize(struct proc *p, struct ttrpc_request *rq, struct err *err)
{
	Podvm__Agent__V1__ResizePtyRequest req = PODVM__AGENT__V1__RESIZE_PTY_REQUEST__INIT;

	req.container_id = p->task->agent_id;
	req.exec_id = p->agent_exec;
	req.rows = p->rows;
	req.columns = p->columns;
	return sandbox_call(&p->task->shim->sb, "ResizePty", &req.base, &podvm__agent__v1__empty__descriptor,
		KILL_TIMEOUT_MS, on_resized, rq, NULL, err);
}

void proc_resize(struct proc *p, struct ttrpc_request *rq, uint32_t rows, uint32_t columns)
{
	struct err err = {0};

	p->rows = rows;
	p->columns = columns;
	if (!p->started)
		reply_empty(rq); /* done at the start */
	else if (resize(p, rq, &err) < 0)
		ttrpc_fail(rq, &err);
}

/* ---- start, wait, signals ---- */

static void on_started(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	Ctrd__PidResponse answer = CTRD__PID_RESPONSE__INIT;
	struct proc *p = ctx;
	struct ttrpc_request *rq = take_ptr(p->rq);
	struct err early = {0};

	p->call_id = 0;
	if (err) {
		/* It never ran. For an exec the agent has ended it; a container stays created and can be deleted. */
		if (p->state == PROC_STARTING)
			p->state = PROC_CREATED;
		if (*p->exec_id && err->code != ECONNRESET)
			proc_exited(p, 255);
		if (rq)
			ttrpc_fail(rq, err);
		return;
	}
	p->started = true;
	if (p->terminal && p->rows && resize(p, NULL, &early) < 0)
		log_debug("task %s: %s, ignoring", p->task->id, early.msg);
	answer.pid = proc_pid(p);
	if (p->state == PROC_STARTING)
		p->state = PROC_RUNNING;
	if (*p->exec_id)
		publish(p, "/tasks/exec-started", "containerd.events.TaskExecStarted");
	else
		task_started(p->task);
	if (rq)
		ttrpc_reply(rq, &answer.base);
	if (p->ended && pipes_is_drained(&p->io))
		proc_exited(p, p->exit_status);
}

void proc_start(struct proc *p, struct ttrpc_request *rq)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	struct err err = {0};

	if (p->state != PROC_CREATED || p->rq) {
		refuse(rq, EBUSY, "task '%s': %s", p->task->id,
			p->state == PROC_STOPPED  ? "has ended"
			: p->state < PROC_CREATED ? "is being created"
						  : "was started already");
		return;
	}
	fill_request(&req, p);
	p->rq = rq;
	p->state = PROC_STARTING;
	if (sandbox_call(&p->task->shim->sb, "StartProcess", &req.base,
		    &podvm__agent__v1__start_process_response__descriptor, CALL_TIMEOUT_MS, on_started, p, &p->call_id,
		    &err) < 0)
		on_started(p, NULL, &err);
}

static void on_waiter_gone(void *ctx)
{
	struct waiter *w = ctx;

	w->gone = true;
}

void waiters_sweep(struct waiter **list, unsigned *n)
{
	for (struct waiter **at = list; *at;) {
		struct waiter *w = *at;

		if (!w->gone) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		refuse(w->rq, ECANCELED, "the caller is gone");
		free(w);
		--*n;
	}
}

struct waiter *waiter_add(struct waiter **list, struct ttrpc_request *rq)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->rq = rq;
	w->next = *list;
	*list = w;
	ttrpc_on_gone(rq, on_waiter_gone, w);
	return w;
}

static void add_waiter(struct proc *p, struct ttrpc_request *rq)
{
	waiters_sweep(&p->waiters, &p->n_waiters);
	if (p->n_waiters == SHIM_WAITERS_MAX || !waiter_add(&p->waiters, rq))
		refuse(rq, ENOBUFS, "task '%s': %u callers wait already", p->task->id, p->n_waiters);
	else
		p->n_waiters++;
}

void proc_wait(struct proc *p, struct ttrpc_request *rq)
{
	if (p->state == PROC_STOPPED) {
		answer_wait(p, rq);
		return;
	}
	add_waiter(p, rq);
}

bool proc_await_deletion(struct proc *p, struct ttrpc_request *rq)
{
	if (p->going)
		add_waiter(p, rq); /* for proc_fini to answer */
	return p->going;
}

static void on_killed(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct ttrpc_request *rq = ctx;

	if (!err)
		reply_empty(rq);
	else if (err->code == ESRCH || err->code == ENOENT)
		refuse(rq, ENOENT, "process already finished");
	else
		ttrpc_fail(rq, err);
}

struct hard_kill {
	struct shim *shim;
	struct ttrpc_request *rq;
};

/*
 * A guest that does not even carry out SIGKILL hangs or is hostile: the pod must be removable all the same. What the agent answers
 * is no proof; only the end of the process is.
 */
static void on_kill_timeout(struct loop_timer *timer)
{
	struct proc *p = container_of(timer, struct proc, kill);

	vm_kill(p->task->shim, 137, "the guest did not carry out SIGKILL");
}

static void on_killed_hard(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	auto_free struct hard_kill *k = ctx;

	if (err && err->code == ETIMEDOUT)
		vm_kill(k->shim, 137, "the guest did not carry out SIGKILL: it hangs");
	/* The connection: what is in the VM dies with it, a second from now at the latest. */
	if (err && (k->shim->vm == VM_DOWN || err->code == ECONNRESET))
		reply_empty(k->rq);
	else
		on_killed(k->rq, reply, err);
}

static void kill_hard(struct proc *p, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct hard_kill *k = malloc(sizeof(*k));
	struct err err = {0};

	if (!k) {
		refuse(rq, ENOMEM, "kill: out of memory");
		return;
	}
	*k = (struct hard_kill){.shim = p->task->shim, .rq = rq};
	/* From the first SIGKILL on: further ones do not put it off. */
	if (p->state >= PROC_CREATED && !p->ended && !p->kill.loop)
		loop_timer_set(k->shim->loop, &p->kill, KILL_TIMEOUT_MS * NS_PER_MS, on_kill_timeout);
	if (sandbox_call(&k->shim->sb, "SignalProcess", req, &podvm__agent__v1__empty__descriptor, KILL_TIMEOUT_MS,
		    on_killed_hard, k, NULL, &err) < 0)
		on_killed_hard(k, NULL, &err);
}

/* containerd that was restarted meanwhile finds a task, kills it, and waits for its end: nothing else would bring that about. */
static void kill_new(struct proc *p, struct ttrpc_request *rq, uint32_t signal)
{
	if (signal == SIGKILL) {
		reply_empty(rq);
		task_cancel(p);
	} else {
		refuse(rq, EBUSY, "task '%s': it is being created", p->task->id);
	}
}

void proc_kill(struct proc *p, struct ttrpc_request *rq, uint32_t signal, bool all)
{
	Podvm__Agent__V1__SignalProcessRequest req = PODVM__AGENT__V1__SIGNAL_PROCESS_REQUEST__INIT;
	struct err err = {0};

	if (p->state == PROC_STOPPED || (p->ended && !all)) {
		refuse(rq, ENOENT, "process already finished");
		return;
	}
	if (p->state == PROC_NEW) {
		kill_new(p, rq, signal);
		return;
	}
	req.container_id = p->task->agent_id;
	req.exec_id = p->agent_exec;
	req.signal = signal;
	req.all = all && !*p->exec_id;
	if (signal == SIGKILL && !*p->exec_id)
		kill_hard(p, rq, &req.base);
	else if (sandbox_call(&p->task->shim->sb, "SignalProcess", &req.base, &podvm__agent__v1__empty__descriptor,
			 KILL_TIMEOUT_MS, on_killed, rq, NULL, &err) < 0)
		ttrpc_fail(rq, &err);
}
