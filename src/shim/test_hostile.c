/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile agent: answers what it likes, and does nothing. The host's side of the pod must come to an end all the same. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "shim/shim.h"

#define DEADLINE_NS (60 * NS_PER_S)

struct rig {
	struct loop *loop;
	struct shim sh;
	struct task *task;
	struct ttrpc_server *agent, *front;
	struct ttrpc_client *caller; /* containerd */
	int answer;		     /* the agent's: 0, or an errno */
	bool holds;		     /* it does not answer at all, and */
	struct ttrpc_request *held;  /* keeps this */
	unsigned invents;	     /* events in each answer to NextEvents */
	unsigned asked;		     /* calls that the agent got */
	unsigned done, failed;	     /* what the caller got */
};

static char run_dir[] = "/tmp/podvm-test-hostile.XXXXXX";

#define turn_until(rig, cond)                                                                                          \
	do {                                                                                                           \
		uint64_t end_ = time_mono_ns() + DEADLINE_NS;                                                          \
		while (!(cond) && time_mono_ns() < end_)                                                               \
			assert_int_equal(loop_turn((rig)->loop, 100), 0);                                              \
		assert_true(cond);                                                                                     \
	} while (0)

/* ---- the agent ---- */

static void agent_answers(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct rig *rig = ctx;

	rig->asked++;
	if (rig->holds)
		rig->held = rq;
	else if (rig->answer)
		refuse(rq, rig->answer, "no");
	else
		reply_empty(rq);
}

/* At once, with nothing, or with an event that nobody knows. */
static void agent_events(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__NextEventsRequest *req = (const void *)msg;
	Podvm__Agent__V1__NextEventsResponse reply = PODVM__AGENT__V1__NEXT_EVENTS_RESPONSE__INIT;
	Podvm__Agent__V1__Event e = PODVM__AGENT__V1__EVENT__INIT, *list = &e;
	struct rig *rig = ctx;

	rig->asked++;
	e.seq = req->after_seq + 1;
	reply.n_events = rig->invents;
	reply.events = &list;
	ttrpc_reply(rq, &reply.base);
}

static const struct ttrpc_method agent_methods[] = {
	{"NextEvents", &podvm__agent__v1__next_events_request__descriptor, agent_events},
	{"SignalProcess", &podvm__agent__v1__signal_process_request__descriptor, agent_answers},
	{"DeleteProcess", &podvm__agent__v1__process_request__descriptor, agent_answers},
};

/* ---- containerd ---- */

static void front_kill(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct rig *rig = ctx;

	proc_kill(&rig->task->init, rq, SIGKILL, true);
}

static void front_delete(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct rig *rig = ctx;

	task_delete(&rig->task->init, rq);
}

static void front_state(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct rig *rig = ctx;

	if (!proc_await_deletion(&rig->task->init, rq))
		reply_empty(rq);
}

static const struct ttrpc_method front_methods[] = {
	{"Kill", &ctrd__kill_request__descriptor, front_kill},
	{"State", &ctrd__task_request__descriptor, front_state},
	{"Delete", &ctrd__task_request__descriptor, front_delete},
};

static void on_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct rig *rig = ctx;

	rig->done++;
	rig->failed += err != NULL;
}

static void front_call(struct rig *rig, const char *method)
{
	Ctrd__KillRequest kill = CTRD__KILL_REQUEST__INIT;
	Ctrd__TaskRequest del = CTRD__TASK_REQUEST__INIT;
	bool is_kill = str_eq(method, "Kill");

	assert_int_equal(ttrpc_call(rig->caller, "front", method, is_kill ? &kill.base : &del.base,
				 is_kill ? &ctrd__empty__descriptor : &ctrd__delete_response__descriptor, 0, on_done,
				 rig, NULL, NULL),
		0);
}

static void call(struct rig *rig, const char *method)
{
	unsigned before = rig->done;

	front_call(rig, method);
	turn_until(rig, rig->done > before);
}

/* ---- the rig ---- */

static void on_closed(void *ctx, const struct err *why)
{
}

static void connect_to(
	struct rig *rig, struct ttrpc_server **server, struct ttrpc_client **client, struct ttrpc_service *service)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ttrpc_server_new(server, rig->loop, service, 1, 4, 16, NULL), 0);
	assert_int_equal(ttrpc_server_add(*server, pair[0], NULL), 0);
	assert_int_equal(ttrpc_client_new(client, rig->loop, pair[1], on_closed, NULL, NULL), 0);
}

static struct ttrpc_service services[2];

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct shim *sh = &rig->sh;

	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	services[0] = (struct ttrpc_service){AGENT_SERVICE, agent_methods, ARRAY_SIZE(agent_methods), rig};
	services[1] = (struct ttrpc_service){"front", front_methods, ARRAY_SIZE(front_methods), rig};
	sh->loop = rig->loop;
	sh->vm = VM_UP;
	(void)str_copy(sh->args.id, sizeof(sh->args.id), "0123456789ab");
	assert_int_equal(events_new(&sh->events, rig->loop, "", "", NULL), 0);
	connect_to(rig, &rig->agent, &sh->sb.agent, &services[0]);
	connect_to(rig, &rig->front, &rig->caller, &services[1]);
	rig->task = calloc(1, sizeof(*rig->task));
	rig->task->shim = sh;
	rig->task->kind = SPEC_CONTAINER;
	(void)str_copy(rig->task->id, sizeof(rig->task->id), "web");
	(void)str_copy(rig->task->agent_id, sizeof(rig->task->agent_id), "web");
	proc_init(&rig->task->init, rig->task, "");
	rig->task->init.state = PROC_RUNNING;
	sh->tasks = rig->task;
	sh->n_tasks = 1;
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	task_free_all(&rig->sh);
	ttrpc_client_free(rig->sh.sb.agent);
	ttrpc_client_free(rig->caller);
	ttrpc_server_free(rig->agent);
	ttrpc_server_free(rig->front);
	events_free(rig->sh.events);
	loop_free(rig->loop);
	free(rig);
	return 0;
}

static int make_folder(void **state)
{
	if (!mkdtemp(run_dir))
		return -1;
	(void)setenv("PODVM_RUN", run_dir, 1);
	(void)setenv("PODVM_STATE", run_dir, 1);
	return paths_check(NULL);
}

static int remove_folder(void **state)
{
	return dir_remove_all(AT_FDCWD, run_dir, NULL);
}

/* ---- tests ---- */

static void sigkill_ends_it_whatever_the_agent_says(void **state)
{
	static const int answers[] = {0, ENOENT, EBUSY};
	struct rig *rig = *state;
	struct proc *p = &rig->task->init;
	uint64_t deadline = 0;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		rig->answer = answers[i];
		call(rig, "Kill");
		assert_int_equal(p->state, PROC_RUNNING);
		assert_non_null(p->kill.loop);
		if (i == 0)
			deadline = p->kill.deadline_ns;
		assert_int_equal(p->kill.deadline_ns, deadline); /* repeated kills do not put it off */
	}
	loop_timer_set(rig->loop, &p->kill, 0, p->kill.fn);
	turn_until(rig, p->state == PROC_STOPPED);
	assert_int_equal(p->exit_status, 137);
	assert_int_equal(rig->sh.vm, VM_DOWN);
	call(rig, "Delete");
	assert_int_equal(rig->sh.n_tasks, 0);
}

static void an_end_disarms_the_kill(void **state)
{
	struct rig *rig = *state;
	struct proc *p = &rig->task->init;

	call(rig, "Kill");
	assert_non_null(p->kill.loop);
	proc_ended(p, 137);
	assert_null(p->kill.loop); /* who reads his output slowly does not lose his pod */
	assert_non_null(p->drain.loop);
	proc_exited(p, 137);
	assert_int_equal(p->state, PROC_STOPPED);
	assert_int_equal(rig->sh.vm, VM_UP);
}

static void what_has_ended_can_be_deleted_whatever_the_agent_says(void **state)
{
	struct rig *rig = *state;

	rig->answer = EBUSY;
	proc_exited(&rig->task->init, 3);
	call(rig, "Delete");
	assert_int_equal(rig->asked, 1);
	assert_int_equal(rig->failed, 0);
	assert_int_equal(rig->sh.n_tasks, 0);
}

static void the_state_of_what_is_being_deleted_is_that_it_is_gone(void **state)
{
	struct rig *rig = *state;

	call(rig, "State");
	proc_exited(&rig->task->init, 3);
	call(rig, "State");
	assert_int_equal(rig->failed, 0);
	rig->holds = true;
	front_call(rig, "Delete");
	turn_until(rig, rig->held);
	front_call(rig, "State");
	front_call(rig, "State");
	turn_until(rig, rig->task->init.n_waiters == 2);
	assert_int_equal(rig->done, 2);
	reply_empty(rig->held);
	turn_until(rig, rig->done == 5);
	assert_int_equal(rig->failed, 2);
	assert_int_equal(rig->sh.n_tasks, 0);
}

/* containerd 1.6 that was killed after it never asks for it. */
static void a_shim_without_a_pod_ends_by_itself(void **state)
{
	struct rig *rig = *state;

	vm_kill(&rig->sh, 137, "the sandbox was deleted");
	call(rig, "Delete");
	assert_int_equal(rig->sh.n_tasks, 0);
	assert_non_null(rig->sh.quit_timer.loop);
	loop_timer_cancel(&rig->sh.quit_timer);
}

static void a_shim_whose_only_creation_was_cancelled_ends_by_itself(void **state)
{
	struct rig *rig = *state;

	rig->task->kind = SPEC_SINGLE;
	rig->task->init.state = PROC_NEW;
	call(rig, "Delete");
	assert_int_equal(rig->sh.n_tasks, 0);
	assert_int_equal(rig->sh.vm, VM_DOWN);
	assert_non_null(rig->sh.quit_timer.loop);
	loop_timer_cancel(&rig->sh.quit_timer);
}

/* containerd 2 asked it to end before it had deleted all containers. */
static void the_last_deletion_ends_a_shim_that_is_to_quit(void **state)
{
	struct rig *rig = *state;

	rig->sh.quits = true;
	vm_kill(&rig->sh, 137, "the sandbox was deleted");
	assert_int_equal(rig->task->init.state, PROC_STOPPED);
	assert_null(rig->sh.quit_timer.loop);
	call(rig, "Delete");
	assert_non_null(rig->sh.quit_timer.loop);
	loop_timer_cancel(&rig->sh.quit_timer);
}

static void what_was_not_started_is_deleted_with_the_agent_or_not(void **state)
{
	struct rig *rig = *state;

	rig->answer = EBUSY;
	rig->task->init.state = PROC_CREATED;
	call(rig, "Delete");
	assert_int_equal(rig->failed, 1);
	assert_int_equal(rig->sh.n_tasks, 1);
}

/* containerd that started again kills what its predecessor was creating, and waits for its end. */
static void what_is_being_created_can_be_killed(void **state)
{
	struct rig *rig = *state;

	rig->task->init.state = PROC_NEW;
	rig->task->in_guest = true;
	call(rig, "Kill");
	assert_int_equal(rig->failed, 0);
	assert_int_equal(rig->sh.n_tasks, 0);
	turn_until(rig, rig->asked == 1); /* DeleteProcess */
}

static void what_is_being_created_can_be_deleted(void **state)
{
	struct rig *rig = *state;

	rig->task->init.state = PROC_NEW;
	rig->task->in_guest = true;
	call(rig, "Delete");
	assert_int_equal(rig->failed, 0);
	assert_int_equal(rig->sh.n_tasks, 0);
	turn_until(rig, rig->asked == 1);
}

/* Without its agent a pod ends, so what was to be killed dies. */
static void sigkill_is_good_when_the_connection_goes(void **state)
{
	struct rig *rig = *state;

	rig->holds = true;
	front_call(rig, "Kill");
	turn_until(rig, rig->asked == 1);
	ttrpc_server_free(take_ptr(rig->agent));
	turn_until(rig, rig->done == 1);
	assert_int_equal(rig->failed, 0);
	refuse(rig->held, ECANCELED, "over");
}

static void poll(struct rig *rig)
{
	uint64_t begin = time_mono_ns();

	vm_poll_events(&rig->sh);
	turn_until(rig, rig->asked >= 4);
	assert_true(rig->asked <= 1 + (time_mono_ns() - begin) / NS_PER_MS / 100);
	vm_kill(&rig->sh, 137, "enough");
	assert_null(rig->sh.events_timer.loop);
}

static void no_events_at_once_do_not_make_us_spin(void **state)
{
	poll(*state);
}

static void invented_events_do_not_make_us_spin(void **state)
{
	struct rig *rig = *state;

	rig->invents = 1;
	poll(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sigkill_ends_it_whatever_the_agent_says, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_disarms_the_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_ended_can_be_deleted_whatever_the_agent_says, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shim_without_a_pod_ends_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_shim_whose_only_creation_was_cancelled_ends_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(the_state_of_what_is_being_deleted_is_that_it_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_deletion_ends_a_shim_that_is_to_quit, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_not_started_is_deleted_with_the_agent_or_not, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_being_created_can_be_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_being_created_can_be_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(sigkill_is_good_when_the_connection_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(no_events_at_once_do_not_make_us_spin, setup, teardown),
		cmocka_unit_test_setup_teardown(invented_events_do_not_make_us_spin, setup, teardown),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
