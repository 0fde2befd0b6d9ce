/* SPDX-License-Identifier: Apache-2.0 */
/* NextEvents: the ring, and who waits for it. */
#include <errno.h>

#include "agent/test_rig.h"

static void add(struct rig *rig, uint32_t exit_code)
{
	struct event e = {.kind = PODVM__AGENT__V1__EVENT_KIND__EVENT_EXIT, .container = "box", .exit_code = exit_code};

	events_add(&rig->a.events, &e);
}

static void asking_takes_nothing_away(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call call;

	rig_events(rig, 0, 0, &call);
	rig_until(rig, &call.done);
	assert_int_equal(call.code, 0);
	assert_int_equal(call.n_events, 0);
	add(rig, 7);
	add(rig, 8);
	for (int i = 0; i < 2; i++) {
		rig_events(rig, 0, 60000, &call);
		rig_until(rig, &call.done);
		assert_int_equal(call.n_events, 2);
		assert_int_equal(call.seq[0], 1);
		assert_int_equal(call.event_exit[0], 7);
		assert_int_equal(call.seq[1], 2);
		assert_int_equal(call.event_exit[1], 8);
		assert_string_equal(call.container, "box");
	}
	rig_events(rig, 1, 60000, &call);
	rig_until(rig, &call.done);
	assert_int_equal(call.n_events, 1);
	assert_int_equal(call.seq[0], 2);
	rig_free(rig);
}

static void a_poller_waits_for_the_next_one(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call here, ahead;

	add(rig, 1);
	rig_events(rig, 1, 60000, &here);
	/* Who has seen more than there is, for the agent is not the one he knew, waits as well. */
	rig_events(rig, 1000, 60000, &ahead);
	rig_settle(rig);
	assert_false(here.done);
	add(rig, 2);
	rig_until(rig, &here.done);
	assert_int_equal(here.n_events, 1);
	assert_int_equal(here.seq[0], 2);
	rig_settle(rig);
	assert_false(ahead.done);
	rig_free(rig);
}

static void a_poller_is_answered_when_its_time_is_over(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call call;
	uint64_t before = time_mono_ns();

	rig_events(rig, 0, 50, &call);
	rig_until(rig, &call.done);
	assert_true(time_mono_ns() - before >= 50 * NS_PER_MS);
	assert_int_equal(call.code, 0);
	assert_int_equal(call.n_events, 0);
	rig_free(rig);
}

static void old_events_are_dropped_and_the_gap_shows(void **state)
{
	struct rig *rig = rig_new();
	struct rig_call call;

	for (unsigned i = 1; i <= EVENTS_MAX + 10; i++)
		add(rig, i);
	rig_events(rig, 3, 0, &call);
	rig_until(rig, &call.done);
	assert_int_equal(call.n_events, EVENTS_MAX);
	assert_int_equal(call.seq[0], 11);
	assert_int_equal(call.event_exit[0], 11);
	rig_free(rig);
}

static void pollers_are_bounded_and_their_places_come_back(void **state)
{
	struct rig_call calls[EVENT_POLLERS_MAX], more;
	struct rig *rig = rig_new();

	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++)
		rig_events(rig, 0, 60000, &calls[i]);
	rig_events(rig, 0, 60000, &more);
	rig_until(rig, &more.done);
	assert_int_equal(more.code, ENOBUFS);
	add(rig, 1);
	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++) {
		rig_until(rig, &calls[i].done);
		assert_int_equal(calls[i].n_events, 1);
	}
	rig_events(rig, 1, 60000, &more);
	rig_settle(rig);
	assert_false(more.done);
	/* The connection goes: so does the poller. */
	ttrpc_client_free(take_ptr(rig->client));
	rig_settle(rig);
	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++)
		assert_null(rig->a.events.pollers[i].rq);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asking_takes_nothing_away),
		cmocka_unit_test(a_poller_waits_for_the_next_one),
		cmocka_unit_test(a_poller_is_answered_when_its_time_is_over),
		cmocka_unit_test(old_events_are_dropped_and_the_gap_shows),
		cmocka_unit_test(pollers_are_bounded_and_their_places_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
