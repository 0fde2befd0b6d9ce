/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown of a pod's state. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/pods.h"

static json_t *parse(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static void times_are_shown_in_one_form(void **state)
{
	static const struct {
		const char *state, *shown;
	} t[] = {
		{"{}", "{}"},
		{"{\"createdNs\": 1795661438248999700, \"finishedNs\": 0}",
			"{\"createdAt\": \"2026-11-26T02:50:38.248999700Z\", \"finishedAt\": null}"},
		{"{\"containers\": [{\"last\": {\"startedNs\": 1, \"exitCode\": 137}}, {\"last\": null}]}",
			"{\"containers\": [{\"last\": {\"startedAt\": \"1970-01-01T00:00:00.000000001Z\", "
			"\"exitCode\": 137}},"
			" {\"last\": null}]}"},
		{"{\"timings\": [{\"phase\": \"boot\", \"startNs\": 1000000000, \"endNs\": 0}]}",
			"{\"timings\": [{\"phase\": \"boot\", \"startedAt\": \"1970-01-01T00:00:01.000000000Z\", "
			"\"finishedAt\": "
			"null}]}"},
		{"{\"pid\": 7, \"startTicks\": 5, \"vm\": {\"processes\": [{\"pid\": 8, \"startTicks\": 6}]}}",
			"{\"pid\": 7, \"vm\": {\"processes\": [{\"pid\": 8}]}}"},
		/* A state that somebody damaged. */
		{"{\"createdNs\": \"soon\", \"startedNs\": -1, \"endNs\": []}",
			"{\"createdAt\": null, \"startedAt\": null, \"finishedAt\": null}"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		json_t *in = parse(t[i].state), *want = parse(t[i].shown), *got = pod_state_shown(in);

		assert_true(json_equal(got, want));
		json_decref(in);
		json_decref(want);
		json_decref(got);
	}
}

static void a_state_deeper_than_any_is_refused(void **state)
{
	char text[201];
	json_t *in;

	memset(text, '[', 100);
	memset(text + 100, ']', 100);
	text[200] = '\0';
	in = parse(text);
	assert_null(pod_state_shown(in));
	json_decref(in);
}

static void the_status_says_what_is_to_be_known(void **state)
{
	static const struct {
		const char *state, *status;
	} t[] = {
		{"{}", "Starting"},
		{"{\"phase\": \"Running\", \"containers\": [{\"reason\": \"\"}]}", "Running"},
		{"{\"phase\": \"Running\", \"containers\": [{\"reason\": \"\"}, {\"reason\": \"CrashLoopBackOff\"}]}",
			"Running (CrashLoopBackOff)"},
		{"{\"phase\": \"Succeeded\", \"containers\": [{\"reason\": \"Completed\"}]}", "Succeeded"},
		{"{\"phase\": \"Failed\", \"exitCode\": 3, \"containers\": [{\"reason\": \"Error\", \"exitCode\": 3}]}",
			"Failed (3)"},
		{"{\"phase\": \"Failed\", \"exitCode\": 137, \"containers\": [{\"reason\": \"Completed\", "
		 "\"exitCode\": 0},"
		 "{\"reason\": \"Killed\", \"exitCode\": 9, \"sidecar\": true}, {\"reason\": \"OOMKilled\", "
		 "\"exitCode\": "
		 "137}]}",
			"Failed (137, OOMKilled)"},
		{"{\"phase\": \"Failed\", \"exitCode\": 1, \"containers\": [{\"reason\": \"StartError\", \"exitCode\": "
		 "128}]}",
			"Failed (1, StartError)"},
		{"{\"phase\": \"A phase that is much too long for it\", \"containers\": 1}", "A phase that is much"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct pod_entry e = {.state = parse(t[i].state)};
		char status[48];

		pod_status(&e, status);
		assert_string_equal(status, t[i].status);
		json_decref(e.state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_shown_in_one_form),
		cmocka_unit_test(a_state_deeper_than_any_is_refused),
		cmocka_unit_test(the_status_says_what_is_to_be_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
