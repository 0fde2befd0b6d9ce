/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that takes everything and answers nothing. Each call of containerd's, made through the shim's own socket, ends in its time, with an
 * error that names the step; and none is in another's way.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/shim.h"
#include "shim/test_clock.h"

#define TASK "containerd.task.v2.Task"
#define SANDBOX "containerd.runtime.sandbox.v1.Sandbox"
#define AT_ONCE_NS (200 * NS_PER_MS)
#define SLACK_NS (200 * NS_PER_MS)
#define RUNTIME_SPEC "types.containerd.io/opencontainers/runtime-spec/1/"

struct rig {
	struct loop *loop;
	struct shim sh;
	struct task *task;
	struct ttrpc_client *caller;  /* containerd */
	int listener, agent;	      /* agent: the guest's end of the connection, which nobody reads; -1: none */
	struct ttrpc_server *answers; /* of an agent that answers CreateExec */
};

struct outcome {
	bool done;
	int code; /* 0: it went well */
	uint32_t pid;
	char text[480];
};

static char dir[] = "/tmp/podvm-test-deadlines.XXXXXX";
static struct share_host host;
static struct share share;

/* ---- containerd ---- */

static Ctrd__TaskRequest web = CTRD__TASK_REQUEST__INIT, other = CTRD__TASK_REQUEST__INIT;
static Ctrd__CreateTaskRequest create = CTRD__CREATE_TASK_REQUEST__INIT;
static Ctrd__ExecProcessRequest exec = CTRD__EXEC_PROCESS_REQUEST__INIT;
static Ctrd__KillRequest term = CTRD__KILL_REQUEST__INIT, kill9 = CTRD__KILL_REQUEST__INIT;
static Ctrd__UpdateTaskRequest update = CTRD__UPDATE_TASK_REQUEST__INIT;
static Ctrd__ResizePtyRequest resize = CTRD__RESIZE_PTY_REQUEST__INIT;
static Ctrd__CloseIORequest close_io = CTRD__CLOSE_IOREQUEST__INIT;
static Ctrd__SandboxRequest box = CTRD__SANDBOX_REQUEST__INIT;
static Ctrd__Any process = CTRD__ANY__INIT, resources = CTRD__ANY__INIT;

#define WORD(text) ((char *)(uintptr_t)(text))

static void set_any(Ctrd__Any *any, const char *type, const char *text)
{
	any->type_url = WORD(type);
	any->value = (ProtobufCBinaryData){strlen(text), (uint8_t *)WORD(text)};
}

static void make_requests(void)
{
	static char bundle[60], out[60];

	(void)snprintf(bundle, sizeof(bundle), "%s/bundle", dir);
	(void)snprintf(out, sizeof(out), "%s/out", dir);
	web.id = exec.id = term.id = kill9.id = update.id = resize.id = close_io.id = WORD("web");
	other.id = WORD("other");
	create.id = WORD("new");
	create.bundle = bundle;
	exec.exec_id = WORD("e1");
	exec.stdout = out;
	exec.spec = &process;
	set_any(&process, RUNTIME_SPEC "Process", "{\"args\":[\"true\"]}");
	term.signal = 15;
	kill9.signal = 9;
	update.resources = &resources;
	set_any(&resources, RUNTIME_SPEC "LinuxResources", "{\"cpu\":{\"shares\":512}}");
	resize.width = 80;
	resize.height = 24;
	close_io.stdin = true;
	box.sandbox_id = WORD("0123456789ab");
}

static void on_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct outcome *o = ctx;

	assert_false(o->done);
	o->done = true;
	o->code = err ? err->code : 0;
	(void)str_copy(o->text, sizeof(o->text), err ? err->msg : "");
	if (reply && reply->descriptor == &ctrd__pids_response__descriptor) {
		assert_int_equal(((const Ctrd__PidsResponse *)reply)->n_processes, 1);
		o->pid = ((const Ctrd__PidsResponse *)reply)->processes[0]->pid;
	}
}

/* Without a deadline of the caller's. */
static void begin(struct rig *rig, struct outcome *o, const char *service, const char *method, const void *req,
	const ProtobufCMessageDescriptor *reply)
{
	*o = (struct outcome){0};
	assert_int_equal(ttrpc_call(rig->caller, service, method, req, reply, 0, on_done, o, NULL, NULL), 0);
}

/* ---- the rig ---- */

static void on_closed(void *ctx, const struct err *why)
{
}

static void connect_caller(struct rig *rig)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/shim.sock", dir);
	rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(rig->listener, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(rig->listener, 4), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(unlink(sa.sun_path), 0);
	assert_int_equal(service_new(&rig->sh, rig->listener, NULL), 0);
	assert_int_equal(ttrpc_client_new(&rig->caller, rig->loop, fd, on_closed, NULL, NULL), 0);
}

static struct task *new_task(struct rig *rig, const char *id)
{
	struct task *t = calloc(1, sizeof(*t));

	t->shim = &rig->sh;
	t->kind = SPEC_CONTAINER;
	t->number = rig->sh.n_tasks + 1;
	(void)str_copy(t->id, sizeof(t->id), id);
	(void)str_copy(t->agent_id, sizeof(t->agent_id), id);
	proc_init(&t->init, t, "");
	t->init.state = PROC_RUNNING;
	t->init.started = t->init.terminal = true;
	t->next = rig->sh.tasks;
	rig->sh.tasks = t;
	rig->sh.n_tasks++;
	return t;
}

static struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct shim *sh = &rig->sh;
	int pair[2];

	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	sh->loop = rig->loop;
	sh->vm = VM_UP;
	sh->share = share;
	sh->host = host;
	sh->sb.vcpus = 1;
	(void)str_copy(sh->args.id, sizeof(sh->args.id), box.sandbox_id);
	assert_int_equal(events_new(&sh->events, rig->loop, "", "", NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	rig->agent = pair[0];
	assert_int_equal(ttrpc_client_new(&sh->sb.agent, rig->loop, pair[1], on_closed, NULL, NULL), 0);
	connect_caller(rig);
	rig->task = new_task(rig, "web");
	(void)new_task(rig, "other");
	return rig;
}

static void rig_free(struct rig *rig)
{
	loop_timer_cancel(&rig->sh.quit_timer);
	task_free_all(&rig->sh);
	ttrpc_client_free(rig->sh.sb.agent);
	ttrpc_client_free(rig->caller);
	ttrpc_server_free(rig->sh.server);
	ttrpc_server_free(rig->answers);
	events_free(rig->sh.events);
	close_fd(&rig->listener);
	close_fd(&rig->agent);
	loop_free(rig->loop);
	free(rig);
}

static int write_bundle(void)
{
	static const char spec[] =
		"{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"true\"],\"cwd\":\"/"
		"\"},\"root\":{\"path\":\"rootfs\"},"
		"\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri.sandbox-id\":"
		"\"0123456789ab\"}}";
	char path[80];

	(void)snprintf(path, sizeof(path), "%s/bundle/rootfs", dir);
	if (mkdir(create.bundle, 0755) < 0 || mkdir(path, 0755) < 0 || mkfifo(exec.stdout, 0600) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/bundle/config.json", dir);
	return file_write_atomic(AT_FDCWD, path, spec, sizeof(spec) - 1, 0600, NULL);
}

static int enter(void **state)
{
	char path[60];

	if (!mkdtemp(dir))
		return -1;
	log_init(STDERR_FILENO, LOG_ERROR, "test", NULL);
	(void)setenv("PODVM_RUN", dir, 1);
	(void)setenv("PODVM_STATE", dir, 1);
	(void)snprintf(path, sizeof(path), "%s/shared", dir);
	make_requests();
	if (paths_check(NULL) < 0 || share_enter_from(&host, NULL) < 0)
		return -1;
	return mkdir(path, 0700) < 0 || share_init(&share, path, NULL) < 0 ? -1 : write_bundle();
}

static int leave(void **state)
{
	share_fini(&share);
	share_host_fini(&host);
	return dir_remove_all(AT_FDCWD, dir, NULL);
}

/* ---- tests ---- */

#define REPLY(name) &ctrd__##name##__descriptor

struct row {
	const char *service, *method;
	const void *req;
	const ProtobufCMessageDescriptor *reply;
	enum proc_state state; /* of the container before it */
	unsigned ms;	       /* when it ends; 0: at once */
	const char *error;     /* NULL: it goes well all the same */
};

static const struct row rows[] = {
	{TASK, "Create", &create, REPLY(pid_response), PROC_RUNNING, 60000,
		"CreateContainer: no answer within 60000 ms"},
	{TASK, "Start", &web, REPLY(pid_response), PROC_CREATED, 60000, "StartProcess: no answer within 60000 ms"},
	{TASK, "Exec", &exec, REPLY(empty), PROC_RUNNING, 60000, "CreateExec: no answer within 60000 ms"},
	{TASK, "Kill", &term, REPLY(empty), PROC_RUNNING, 10000, "SignalProcess: no answer within 10000 ms"},
	{TASK, "Kill", &kill9, REPLY(empty), PROC_RUNNING, 10000, NULL}, /* the VM is dead then */
	{TASK, "Pause", &web, REPLY(empty), PROC_RUNNING, 20000, "PauseContainer: no answer within 20000 ms"},
	{TASK, "Resume", &web, REPLY(empty), PROC_PAUSED, 20000, "ResumeContainer: no answer within 20000 ms"},
	{TASK, "Update", &update, REPLY(empty), PROC_RUNNING, 10000, "UpdateContainer: no answer within 10000 ms"},
	{TASK, "ResizePty", &resize, REPLY(empty), PROC_RUNNING, 10000, "ResizePty: no answer within 10000 ms"},
	{TASK, "Stats", &web, REPLY(stats_response), PROC_RUNNING, 5000, "GetStats: no answer within 5000 ms"},
	{TASK, "Pids", &web, REPLY(pids_response), PROC_RUNNING, 5000, NULL}, /* the one that is known */
	{TASK, "Delete", &web, REPLY(delete_response), PROC_STOPPED, 8000, NULL},
	{TASK, "Delete", &web, REPLY(delete_response), PROC_CREATED, 8000, "DeleteProcess: no answer within 8000 ms"},
	{TASK, "CloseIO", &close_io, REPLY(empty), PROC_RUNNING, 0, NULL},
	{TASK, "State", &web, REPLY(state_response), PROC_RUNNING, 0, NULL},
	{TASK, "Connect", &web, REPLY(connect_response), PROC_RUNNING, 0, NULL},
	{SANDBOX, "SandboxMetrics", &box, REPLY(sandbox_metrics_response), PROC_RUNNING, 5000,
		"GetStats: no answer within 5000 ms"},
	{SANDBOX, "PingSandbox", &box, REPLY(empty), PROC_RUNNING, 0, NULL},
	{SANDBOX, "SandboxStatus", &box, REPLY(sandbox_status_response), PROC_RUNNING, 0, NULL},
};

static void others_go_on(struct rig *rig)
{
	struct outcome state;

	begin(rig, &state, TASK, "State", &other, REPLY(state_response));
	clock_turn_until(rig->loop, state.done, AT_ONCE_NS);
	assert_true(state.done);
	assert_int_equal(state.code, 0);
}

static void play(const struct row *row)
{
	struct rig *rig = rig_new();
	uint64_t began = clock_ns;
	struct outcome o;

	rig->task->init.state = row->state;
	rig->task->init.ended = row->state == PROC_STOPPED;
	begin(rig, &o, row->service, row->method, row->req, row->reply);
	if (row->ms) {
		clock_turn_until(rig->loop, false, AT_ONCE_NS);
		others_go_on(rig);
		clock_turn_until(rig->loop, o.done, began + row->ms * NS_PER_MS - clock_ns);
		if (o.done)
			fail_msg("%s: '%s' before its time", row->method, o.text);
	}
	clock_turn_until(rig->loop, o.done, SLACK_NS);
	if (!o.done || (o.code != 0) != (row->error != NULL) || !strstr(o.text, row->error ? row->error : ""))
		fail_msg("%s: %s, '%s'", row->method, o.done ? "ended" : "still under way", o.text);
	assert_true(!row->error || o.code == ETIMEDOUT);
	if (row->reply == REPLY(pids_response))
		assert_int_equal(o.pid, SHIM_PID_BASE + rig->task->number);
	if (row->req == &kill9)
		assert_int_equal(rig->sh.vm, VM_DOWN);
	else
		others_go_on(rig);
	rig_free(rig);
}

static void every_call_ends_and_names_its_step(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		play(&rows[i]);
}

/* A creation that failed has gone from the shim, and can be tried again. */
static void what_was_not_created_is_not_there(void **state)
{
	struct rig *rig = rig_new();
	struct outcome o;

	begin(rig, &o, TASK, "Create", &create, REPLY(pid_response));
	clock_turn_until(rig->loop, o.done, 61 * NS_PER_S);
	assert_int_equal(o.code, ETIMEDOUT);
	assert_null(task_find(&rig->sh, "new"));
	begin(rig, &o, TASK, "Exec", &exec, REPLY(empty));
	clock_turn_until(rig->loop, o.done, 61 * NS_PER_S);
	assert_int_equal(o.code, ETIMEDOUT);
	assert_null(rig->task->execs);
	begin(rig, &o, TASK, "Create", &create, REPLY(pid_response));
	clock_turn_until(rig->loop, false, AT_ONCE_NS);
	assert_non_null(task_find(&rig->sh, "new"));
	assert_false(o.done);
	rig_free(rig);
}

/* What containerd asks of all pods in turn does not wait for the same guest each time. */
static void numbers_that_did_not_come_are_not_waited_for_again(void **state)
{
	struct rig *rig = rig_new();
	struct outcome o;

	begin(rig, &o, TASK, "Stats", &web, REPLY(stats_response));
	clock_turn_until(rig->loop, o.done, 6 * NS_PER_S);
	assert_int_equal(o.code, ETIMEDOUT);
	begin(rig, &o, SANDBOX, "SandboxMetrics", &box, REPLY(sandbox_metrics_response));
	clock_turn_until(rig->loop, o.done, AT_ONCE_NS);
	assert_true(o.done);
	assert_non_null(strstr(o.text, "GetStats: the guest did not answer when it was last asked"));
	rig_free(rig);
}

static void agent_creates_exec(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	reply_empty(rq);
}

/* The guest makes the process, but its streams never come. */
static void streams_that_do_not_come_are_an_error(void **state)
{
	static const struct ttrpc_method methods[] = {
		{"CreateExec", &podvm__agent__v1__create_exec_request__descriptor, agent_creates_exec},
		{"DeleteProcess", &podvm__agent__v1__process_request__descriptor, agent_creates_exec},
	};
	static const struct ttrpc_service service = {AGENT_SERVICE, methods, ARRAY_SIZE(methods), NULL};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int vsock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rig *rig = rig_new();
	struct outcome o;

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/vsock.sock", dir);
	assert_int_equal(bind(vsock, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(vsock, 4), 0);
	assert_true(str_copy(rig->sh.sb.vsock_path, sizeof(rig->sh.sb.vsock_path), sa.sun_path));
	rig->sh.sb.loop = rig->loop;
	assert_int_equal(ttrpc_server_new(&rig->answers, rig->loop, &service, 1, 1, 4, NULL), 0);
	assert_int_equal(ttrpc_server_add(rig->answers, take_fd(&rig->agent), NULL), 0);
	begin(rig, &o, TASK, "Exec", &exec, REPLY(empty));
	clock_turn_until(rig->loop, o.done, 59 * NS_PER_S);
	assert_false(o.done);
	others_go_on(rig);
	clock_turn_until(rig->loop, o.done, 2 * NS_PER_S);
	assert_true(o.done);
	if (o.code != ETIMEDOUT || !strstr(o.text, "attach to stdout: the guest did not answer in time"))
		fail_msg("%d, '%s'", o.code, o.text);
	assert_null(rig->task->execs);
	rig->sh.sb.loop = NULL; /* or the pod's record would be written */
	rig_free(rig);
}

/* Answered without the guest, so it tells what became of it. */
static void a_ping_tells_why_the_pod_has_ended(void **state)
{
	struct rig *rig = rig_new();
	struct outcome o;

	vm_kill(&rig->sh, 137, "the guest's kernel panicked");
	begin(rig, &o, SANDBOX, "PingSandbox", &box, REPLY(empty));
	clock_turn_until(rig->loop, o.done, AT_ONCE_NS);
	assert_true(o.done);
	assert_string_equal(o.text, "sandbox '0123456789ab': the guest's kernel panicked");
	begin(rig, &o, SANDBOX, "SandboxMetrics", &box, REPLY(sandbox_metrics_response));
	clock_turn_until(rig->loop, o.done, AT_ONCE_NS);
	assert_true(o.done);
	assert_int_not_equal(o.code, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_ends_and_names_its_step),
		cmocka_unit_test(what_was_not_created_is_not_there),
		cmocka_unit_test(numbers_that_did_not_come_are_not_waited_for_again),
		cmocka_unit_test(streams_that_do_not_come_are_an_error),
		cmocka_unit_test(a_ping_tells_why_the_pod_has_ended),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
