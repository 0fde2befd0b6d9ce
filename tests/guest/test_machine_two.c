/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that the guest starts and its owner does not let run: see second.S, and machine_rig.h. Usage: test_machine_two PODVM_VMM FOLDER
 */
#include "machine_rig.h"

static void a_vcpu_runs_when_it_may(void **state)
{
	char text[TEXT_MAX];
	struct machine m;

	start(&m, "second", "1,max=2");
	talk(&m, NULL, "{\"hello\":*");
	/* It was started, and did not run. */
	read_text(m.console, text, "alone\n");
	assert_string_equal(text, "asks\nalone\n");
	talk(&m, "{\"id\":1,\"op\":\"resize\",\"vcpus\":2}", "{\"id\":1,\"ok\":true,\"online\":2}");
	read_text(m.console, text, "two\n");
	assert_string_equal(text, "two\n");
	talk(&m, "{\"id\":2,\"op\":\"resize\",\"vcpus\":1}",
		"{\"id\":2,\"ok\":false,\"code\":\"BUSY\",\"error\":\"vCPU 1 is on line in the guest\"}");
	talk_find(&m, "{\"id\":3,\"op\":\"counters\"}", "\"vcpus_allowed\":2");
	talk(&m, "{\"id\":4,\"op\":\"pause\"}", "{\"id\":4,\"ok\":true}");
	talk(&m, "{\"id\":5,\"op\":\"resume\"}", "{\"id\":5,\"ok\":true}");
	talk(&m, "{\"id\":6,\"op\":\"stop\"}", "{\"id\":6,\"ok\":true}");
	talk(&m, NULL, "{\"event\":\"ended\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* With both allowed from the start it comes without being asked for. */
static void two_from_the_start(void **state)
{
	char text[TEXT_MAX];
	struct machine m;

	start(&m, "second", "2");
	talk(&m, NULL, "{\"hello\":*");
	read_text(m.console, text, "two\n");
	assert_non_null(strstr(text, "two\n"));
	talk(&m, "{\"id\":1,\"op\":\"resize\",\"vcpus\":2}", "{\"id\":1,\"ok\":true,\"online\":2}");
	talk(&m, "{\"id\":2,\"op\":\"stop\"}", "{\"id\":2,\"ok\":true}");
	talk(&m, NULL, "{\"event\":\"ended\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vcpu_runs_when_it_may),
		cmocka_unit_test(two_from_the_start),
	};
	int r = rig_init(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
