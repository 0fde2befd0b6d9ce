/* SPDX-License-Identifier: Apache-2.0 */
/* Events on their way to a containerd that is not there, refuses, hangs, dies and comes back: none is lost, none comes before another. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "rpc/ttrpc.h"
#include "shim/events.h"
#include "shim/test_clock.h"

#define RETRY_MAX_NS (5 * NS_PER_S) /* the longest pause between two tries */
#define GIVE_UP_NS (200 * NS_PER_S) /* the tries of one event are over by then */
#define GOT_MAX (2 * EVENTS_QUEUE)

struct rig {
	struct loop *loop;
	struct events *events;
	/* containerd */
	struct ttrpc_server *server; /* NULL: it is not running */
	int listener;
	int answer; /* 0, or an errno */
	int until;  /* that it gives until so many calls came; then it is well */
	bool holds; /* it does not answer, and keeps */
	struct ttrpc_request *held;
	unsigned calls;
	unsigned got[GOT_MAX], n_got; /* the numbers of the events that it took, in order */
	unsigned idle;
	unsigned lines; /* of the log that have `word` */
	const char *word;
};

static char dir[] = "/tmp/podvm-test-events.XXXXXX";
static char address[100];

/* ---- containerd ---- */

static unsigned number_of(const Ctrd__ForwardRequest *req)
{
	const Ctrd__Envelope *e = req->envelope;
	Ctrd__TaskStart *start;
	unsigned n;

	assert_non_null(e);
	assert_string_equal(e->namespace_, "k8s.io");
	assert_string_equal(e->topic, "/tasks/start");
	assert_string_equal(e->event->type_url, "containerd.events.TaskStart");
	start = ctrd__task_start__unpack(NULL, e->event->value.len, e->event->value.data);
	assert_non_null(start);
	n = start->pid;
	ctrd__task_start__free_unpacked(start, NULL);
	return n;
}

static void on_forward(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	Ctrd__Empty reply = CTRD__EMPTY__INIT;
	struct rig *rig = ctx;
	struct err err = {0};

	rig->calls++;
	if (rig->holds) {
		assert_null(rig->held);
		rig->held = rq;
	} else if (rig->answer && rig->calls <= rig->until) {
		(void)err_set(&err, rig->answer, "not now");
		ttrpc_fail(rq, &err);
	} else {
		assert_true(rig->n_got < GOT_MAX);
		rig->got[rig->n_got++] = number_of((const void *)msg);
		ttrpc_reply(rq, &reply.base);
	}
}

static const struct ttrpc_method methods[] = {{"Forward", &ctrd__forward_request__descriptor, on_forward}};
static struct ttrpc_service service = {"containerd.services.events.ttrpc.v1.Events", methods, 1, NULL};

static void listen_only(struct rig *rig)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	assert_true(str_copy(sa.sun_path, sizeof(sa.sun_path), address));
	rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(rig->listener, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(rig->listener, 4), 0);
}

static void containerd_starts(struct rig *rig)
{
	listen_only(rig);
	service.ctx = rig;
	/* For one connection at a time. */
	assert_int_equal(ttrpc_server_new(&rig->server, rig->loop, &service, 1, 1, 4, NULL), 0);
	assert_int_equal(ttrpc_server_listen(rig->server, rig->listener, NULL), 0);
}

static void forget_held(struct rig *rig)
{
	struct err err = {0};

	if (!rig->held)
		return;
	(void)err_set(&err, ECANCELED, "nobody hears this");
	ttrpc_fail(take_ptr(rig->held), &err);
}

/* Its socket stays, as after kill -9. */
static void containerd_dies(struct rig *rig)
{
	ttrpc_server_free(take_ptr(rig->server));
	close_fd(&rig->listener);
	forget_held(rig);
}

static void containerd_comes_back(struct rig *rig)
{
	assert_int_equal(unlink(address), 0);
	containerd_starts(rig);
}

/* ---- the rig ---- */

static void on_idle(void *ctx)
{
	struct rig *rig = ctx;

	assert_true(events_idle(rig->events));
	rig->idle++;
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
	struct rig *rig = ctx;

	rig->lines += rig->word && strstr(line, rig->word);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	*state = rig;
	rig->listener = -1;
	log_set_hook(on_log, rig);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(events_new(&rig->events, rig->loop, address, "k8s.io", NULL), 0);
	events_on_idle(rig->events, on_idle, rig);
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	events_free(rig->events);
	containerd_dies(rig);
	(void)unlink(address);
	loop_free(rig->loop);
	log_set_hook(NULL, NULL);
	free(rig);
	return 0;
}

static int make_folder(void **state)
{
	return mkdtemp(dir) ? str_format(address, sizeof(address), NULL, "%s/events.sock", dir) : -1;
}

static int remove_folder(void **state)
{
	return dir_remove_all(AT_FDCWD, dir, NULL);
}

static void publish(struct rig *rig, unsigned number)
{
	Ctrd__TaskStart ev = CTRD__TASK_START__INIT;

	ev.container_id = (char *)(uintptr_t) "web";
	ev.pid = number;
	events_publish(rig->events, "/tasks/start", "containerd.events.TaskStart", &ev.base);
}

/* Those from `first` on, each once, in order. */
static void assert_got(const struct rig *rig, unsigned first, unsigned n)
{
	assert_int_equal(rig->n_got, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(rig->got[i], first + i);
}

static void all_come(struct rig *rig, uint64_t within_ns)
{
	clock_turn_until(rig->loop, events_idle(rig->events), within_ns);
	assert_true(events_idle(rig->events));
}

/* ---- tests ---- */

static void with_containerd_there_they_come_at_once(void **state)
{
	struct rig *rig = *state;

	containerd_starts(rig);
	for (unsigned i = 0; i < 3; i++)
		publish(rig, i);
	assert_false(events_idle(rig->events));
	all_come(rig, NS_PER_S);
	assert_got(rig, 0, 3);
	assert_int_equal(rig->calls, 3);
	assert_int_equal(rig->idle, 1);
}

static void they_wait_for_containerd(void **state)
{
	struct rig *rig = *state;

	publish(rig, 0);
	publish(rig, 1);
	clock_turn_until(rig->loop, false, 60 * NS_PER_S);
	assert_false(events_idle(rig->events));
	containerd_starts(rig);
	publish(rig, 2); /* goes behind those that wait */
	all_come(rig, RETRY_MAX_NS + NS_PER_S);
	assert_got(rig, 0, 3);
	assert_int_equal(rig->idle, 1);
	/* The pauses do not stay long. */
	containerd_dies(rig);
	publish(rig, 3);
	clock_turn_until(rig->loop, false, 50 * NS_PER_MS);
	containerd_comes_back(rig);
	all_come(rig, NS_PER_S);
	assert_got(rig, 0, 4);
}

static void containerd_dies_with_one_in_its_hands(void **state)
{
	struct rig *rig = *state;

	containerd_starts(rig);
	publish(rig, 0);
	all_come(rig, NS_PER_S);
	rig->holds = true;
	for (unsigned i = 1; i < 4; i++)
		publish(rig, i);
	clock_turn_until(rig->loop, rig->held, NS_PER_S);
	assert_non_null(rig->held);
	containerd_dies(rig);
	clock_turn_until(rig->loop, false, 10 * NS_PER_S);
	assert_false(events_idle(rig->events));
	rig->holds = false;
	containerd_comes_back(rig);
	all_come(rig, RETRY_MAX_NS + NS_PER_S);
	assert_got(rig, 0, 4);
}

/* A connection that went while nothing was under way. */
static void containerd_restarts_between_two(void **state)
{
	struct rig *rig = *state;

	containerd_starts(rig);
	for (unsigned i = 0; i < 4; i++) {
		bool noticed = i % 2 == 0;

		publish(rig, i);
		all_come(rig, i > 0 && !noticed ? 50 * NS_PER_MS : NS_PER_S);
		containerd_dies(rig);
		if (noticed)
			clock_turn_until(rig->loop, false, NS_PER_S);
		containerd_comes_back(rig);
	}
	assert_got(rig, 0, 4);
}

static void a_containerd_that_hangs_is_asked_again(void **state)
{
	struct rig *rig = *state;

	rig->holds = true;
	containerd_starts(rig);
	publish(rig, 0);
	publish(rig, 1);
	clock_turn_until(rig->loop, rig->held, NS_PER_S);
	assert_non_null(rig->held);
	clock_turn_until(rig->loop, false, 4 * NS_PER_S);
	assert_int_equal(rig->calls, 1);
	rig->holds = false; /* with what it has it goes on to hang */
	all_come(rig, 2 * NS_PER_S);
	assert_int_equal(rig->calls, 3);
	assert_got(rig, 0, 2);
}

static void a_connection_without_an_answer_is_given_up(void **state)
{
	struct rig *rig = *state;
	auto_close int fd = -1;
	char bytes[500];

	listen_only(rig);
	publish(rig, 0);
	clock_turn_until(rig->loop, false, 4 * NS_PER_S);
	fd = accept(rig->listener, NULL, NULL);
	assert_true(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	clock_turn_until(rig->loop, false, 2 * NS_PER_S);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 0);
}

static void what_containerd_cannot_take_now_is_tried_again(void **state)
{
	static const int answers[] = {ECONNREFUSED, EIO, ENOBUFS, EBUSY};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct rig *rig = *state;

		rig->answer = answers[i];
		rig->until = 5;
		containerd_starts(rig);
		publish(rig, 0);
		publish(rig, 1);
		all_come(rig, 60 * NS_PER_S);
		assert_int_equal(rig->calls, 7); /* the first, six times */
		assert_got(rig, 0, 2);
		(void)teardown(state);
		(void)setup(state);
	}
}

/* What will never be taken does not hold up the rest. */
static void what_containerd_refuses_is_told_and_left(void **state)
{
	static const int answers[] = {EINVAL, EOPNOTSUPP};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct rig *rig = *state;

		rig->answer = answers[i];
		rig->until = 1;
		rig->word = "an event was refused";
		containerd_starts(rig);
		for (unsigned k = 0; k < 3; k++)
			publish(rig, k);
		all_come(rig, NS_PER_S);
		assert_got(rig, 1, 2);
		assert_int_equal(rig->lines, 1);
		(void)teardown(state);
		(void)setup(state);
	}
}

static void without_containerd_for_long_they_are_given_up_one_by_one(void **state)
{
	struct rig *rig = *state;

	rig->word = "an event was not delivered: connect to";
	publish(rig, 0);
	publish(rig, 1);
	clock_turn_until(rig->loop, rig->lines, GIVE_UP_NS);
	assert_int_equal(rig->lines, 1);
	assert_false(events_idle(rig->events));
	containerd_starts(rig);
	publish(rig, 2);
	all_come(rig, RETRY_MAX_NS + NS_PER_S);
	assert_got(rig, 1, 2);
}

static void given_up_is_idle_too(void **state)
{
	struct rig *rig = *state;

	publish(rig, 0);
	all_come(rig, GIVE_UP_NS);
	clock_turn_until(rig->loop, rig->idle, RETRY_MAX_NS + NS_PER_S);
	assert_int_equal(rig->idle, 1);
}

static void so_many_wait_and_no_more(void **state)
{
	struct rig *rig = *state;

	rig->word = "lost: 1024 wait for containerd";
	for (unsigned i = 0; i < EVENTS_QUEUE + 2; i++)
		publish(rig, i);
	assert_int_equal(rig->lines, 2);
	containerd_starts(rig);
	all_come(rig, 100 * NS_PER_S);
	assert_got(rig, 0, EVENTS_QUEUE);
	publish(rig, EVENTS_QUEUE); /* there is room again */
	all_come(rig, NS_PER_S);
	assert_got(rig, 0, EVENTS_QUEUE + 1);
}

static void without_an_address_there_are_none(void **state)
{
	struct rig *rig = *state;
	struct events *none;

	assert_int_equal(events_new(&none, rig->loop, "", "k8s.io", NULL), 0);
	events_free(rig->events);
	rig->events = none;
	publish(rig, 0);
	assert_true(events_idle(none));
}

static void an_address_as_url(void **state)
{
	struct rig *rig = *state;
	char url[120], longer[200];
	struct err err = {0};

	events_free(take_ptr(rig->events));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(events_new(&rig->events, rig->loop, longer, "k8s.io", &err), -ENAMETOOLONG);
	assert_int_equal(str_format(url, sizeof(url), NULL, "unix://%s", address), 0);
	assert_int_equal(events_new(&rig->events, rig->loop, url, "k8s.io", NULL), 0);
	containerd_starts(rig);
	publish(rig, 7);
	all_come(rig, NS_PER_S);
	assert_got(rig, 7, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(with_containerd_there_they_come_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(they_wait_for_containerd, setup, teardown),
		cmocka_unit_test_setup_teardown(containerd_dies_with_one_in_its_hands, setup, teardown),
		cmocka_unit_test_setup_teardown(containerd_restarts_between_two, setup, teardown),
		cmocka_unit_test_setup_teardown(a_containerd_that_hangs_is_asked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connection_without_an_answer_is_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(what_containerd_cannot_take_now_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(what_containerd_refuses_is_told_and_left, setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_containerd_for_long_they_are_given_up_one_by_one, setup, teardown),
		cmocka_unit_test_setup_teardown(given_up_is_idle_too, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_wait_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_address_there_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_as_url, setup, teardown),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
