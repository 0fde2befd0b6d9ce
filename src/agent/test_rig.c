/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/test_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct rig *current; /* whose container_... are called */
static unsigned fds_before;

/* ---- what container.c would do ---- */

void container_ended(struct container *c)
{
	c->state = CONTAINER_ENDED;
	current->ended++;
}

void container_exec_ended(struct process *p)
{
	current->exec_ended++;
}

void container_abandon(struct process *p)
{
	current->abandoned++;
	current->last_abandoned = p;
}

void container_check_oom(struct container *c)
{
	current->oom_checks++;
}

/* ---- calls ---- */

static void wait_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ProcessRequest *req = (const void *)msg;
	struct process *p = process_find(&current->a, req->container_id, req->exec_id);
	struct err err = {0};

	if (p) {
		process_wait(p, rq);
		return;
	}
	(void)err_set(&err, ENOENT, "no such process");
	ttrpc_fail(rq, &err);
}

static void next_events(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__NextEventsRequest *req = (const void *)msg;

	events_poll(&current->a.events, rq, req->after_seq, req->timeout_ms);
}

static const struct ttrpc_method methods[] = {
	{"WaitProcess", &podvm__agent__v1__process_request__descriptor, wait_process},
	{"NextEvents", &podvm__agent__v1__next_events_request__descriptor, next_events},
};
static const struct ttrpc_service service = {.name = "test", .methods = methods, .n_methods = ARRAY_SIZE(methods)};

static void on_done(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct rig_call *call = ctx;

	call->done = true;
	call->code = reply ? 0 : err->code;
	if (reply && reply->descriptor == &podvm__agent__v1__wait_process_response__descriptor) {
		const Podvm__Agent__V1__WaitProcessResponse *w = (const void *)reply;

		call->exit_code = w->exit_code;
		call->oom_killed = w->oom_killed;
	} else if (reply) {
		const Podvm__Agent__V1__NextEventsResponse *e = (const void *)reply;

		call->n_events = (unsigned)e->n_events;
		for (unsigned i = 0; i < e->n_events && i < RIG_EVENTS; i++) {
			call->seq[i] = e->events[i]->seq;
			call->event_exit[i] = e->events[i]->exit_code;
		}
		if (e->n_events)
			(void)str_copy(call->container, sizeof(call->container), e->events[0]->container_id);
	}
}

void rig_wait(struct rig *rig, const char *exec, struct rig_call *call)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	*call = (struct rig_call){0};
	req.container_id = rig->c.id;
	req.exec_id = (char *)(uintptr_t)exec;
	assert_int_equal(
		ttrpc_call(rig->client, "test", "WaitProcess", &req.base,
			&podvm__agent__v1__wait_process_response__descriptor, 0, on_done, call, &call->id, NULL),
		0);
}

void rig_events(struct rig *rig, uint64_t after, uint32_t timeout_ms, struct rig_call *call)
{
	Podvm__Agent__V1__NextEventsRequest req = PODVM__AGENT__V1__NEXT_EVENTS_REQUEST__INIT;

	*call = (struct rig_call){0};
	req.after_seq = after;
	req.timeout_ms = timeout_ms;
	assert_int_equal(
		ttrpc_call(rig->client, "test", "NextEvents", &req.base,
			&podvm__agent__v1__next_events_response__descriptor, 0, on_done, call, &call->id, NULL),
		0);
}

/* ---- the rig ---- */

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void on_closed(void *ctx, const struct err *why)
{
}

struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct agent *a = &rig->a;
	int pair[2];

	assert_non_null(rig);
	current = rig;
	fds_before = count_fds();
	assert_int_equal(loop_new(&a->loop, NULL), 0);
	a->processes = calloc(AGENT_PROCESSES_MAX, sizeof(*a->processes));
	a->waiters = calloc(AGENT_WAITERS_MAX, sizeof(*a->waiters));
	assert_non_null(a->processes);
	assert_non_null(a->waiters);
	events_init(&a->events, a->loop);
	assert_int_equal(streams_new(&a->streams, a, NULL), 0);
	rig->c = (struct container){.agent = a, .id = "box", .state = CONTAINER_RUNNING};
	assert_int_equal(ttrpc_server_new(&rig->server, a->loop, &service, 1, 2, 1024, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(ttrpc_server_add(rig->server, pair[0], NULL), 0);
	assert_int_equal(ttrpc_client_new(&rig->client, a->loop, pair[1], on_closed, NULL, NULL), 0);
	return rig;
}

void rig_free(struct rig *rig)
{
	struct agent *a = &rig->a;

	for (unsigned i = 0; i < AGENT_PROCESSES_MAX; i++)
		if (a->processes[i].state != PROCESS_FREE)
			process_free(&a->processes[i]);
	ttrpc_client_free(rig->client);
	rig_settle(rig);
	streams_free(a->streams);
	ttrpc_server_free(rig->server);
	loop_free(a->loop);
	free(a->processes);
	free(a->waiters);
	free(rig);
	assert_int_equal(count_fds(), fds_before);
}

void rig_until(struct rig *rig, const bool *flag)
{
	uint64_t deadline = time_mono_ns() + RIG_DEADLINE_NS;

	while (!*flag) {
		if (time_mono_ns() > deadline)
			fail_msg("it did not happen in time");
		assert_true(loop_turn(rig->a.loop, 100) >= 0);
	}
}

void rig_settle(struct rig *rig)
{
	for (unsigned i = 0; i < 30; i++)
		assert_true(loop_turn(rig->a.loop, 0) >= 0);
}

struct process *rig_process(struct rig *rig, const char *exec, bool with_stdin, int stdio[3])
{
	struct process *p;
	int theirs[3];

	assert_int_equal(process_new(&p, &rig->c, exec, with_stdin, false, NULL), 0);
	process_stdio(p, theirs);
	for (unsigned i = 0; i < 3; i++)
		stdio[i] = theirs[i] < 0 ? -1 : fcntl(theirs[i], F_DUPFD_CLOEXEC, 0);
	process_handed_over(p);
	p->state = PROCESS_RUNNING;
	p->pid = 4242;
	return p;
}

int rig_stream(
	struct rig *rig, enum stream_kind kind, const char *container, const char *exec, uint8_t fd, uint16_t port)
{
	struct stream_header h = {.kind = kind, .fd = fd, .port = port};
	uint8_t bytes[STREAM_HEADER_MAX];
	int pair[2], n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(streams_add(rig->a.streams, pair[0], NULL), 0);
	if (!kind)
		return pair[1];
	(void)str_copy(h.container, sizeof(h.container), container);
	(void)str_copy(h.exec, sizeof(h.exec), exec);
	n = stream_header_encode(bytes, &h);
	assert_true(n > 0);
	/* In two parts: nobody promises that it comes at once. */
	assert_int_equal(send(pair[1], bytes, 3, 0), 3);
	rig_settle(rig);
	assert_int_equal(send(pair[1], bytes + 3, (size_t)n - 3, 0), n - 3);
	return pair[1];
}

size_t rig_read(struct rig *rig, int fd, char *dst, size_t size)
{
	uint64_t deadline = time_mono_ns() + RIG_DEADLINE_NS;

	for (;;) {
		ssize_t n = read(fd, dst, size - 1);

		if (n >= 0 || errno == ECONNRESET) {
			dst[n > 0 ? n : 0] = '\0';
			return n > 0 ? (size_t)n : 0;
		}
		assert_int_equal(errno, EAGAIN);
		if (time_mono_ns() > deadline)
			fail_msg("nothing came in time");
		assert_true(loop_turn(rig->a.loop, 20) >= 0);
	}
}

int rig_status(struct rig *rig, int fd)
{
	char byte[2];

	assert_int_equal(rig_read(rig, fd, byte, 2), 1);
	return (uint8_t)byte[0];
}
