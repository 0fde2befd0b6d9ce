/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm-vmm --vm with the bare guests of this folder, on this machine's /dev/kvm (any will do), in its jail: each guest does one
 * thing, and the machine must end as it should, say why, and have neither crashed nor grown. Usage: test_machine PODVM_VMM FOLDER
 */
#include "machine_rig.h"

#include <dirent.h>
#include <sys/stat.h>

struct expected {
	const char *guest, *vcpus;
	int status;
	const char *console; /* all of it; NULL: not looked at */
	const char *why;     /* how the log ends */
	const char *says[6]; /* in the log before, in this order */
	unsigned irqs;	     /* of slot 1, at least; with its kicks in `says` */
	bool many_exits;     /* left out with MACHINE_SHORT in the environment */
};

static void check_says(const struct expected *e, const char *log)
{
	const char *at = log;

	for (size_t i = 0; i < ARRAY_SIZE(e->says) && e->says[i]; i++) {
		at = strstr(at, e->says[i]);
		if (!at)
			fail_msg("%s: log '%s', which should have '%s'", e->guest, log, e->says[i]);
		at += strlen(e->says[i]);
	}
	if (e->irqs && strtoul(at, NULL, 10) < e->irqs)
		fail_msg("%s: log '%s', which should have at least %u interrupts of slot 1", e->guest, log, e->irqs);
}

static void check(const struct expected *e)
{
	char console[TEXT_MAX], log[TEXT_MAX];
	struct machine m;
	int status;

	start(&m, e->guest, e->vcpus);
	if (e->console)
		read_text(m.console, console, NULL);
	else
		console[0] = '\0';
	read_text(m.log, log, e->why);
	status = finish(&m);
	if (status != e->status || (e->console && strcmp(console, e->console) != 0) || !strstr(log, e->why))
		fail_msg("%s: status %d, not %d; console '%s', not '%s'; log '%s', which should have '%s'", e->guest,
			status, e->status, console, e->console ? e->console : "", log, e->why);
	check_says(e, log);
	check_growth();
}

static const struct expected guests[] = {
	{"off", "1", VMM_POWEROFF, "alive\n", "the guest powered off"},
	{"off", "8", VMM_POWEROFF, "alive\n", "the guest powered off"},
	{"reset", "1", VMM_RESET, "still here\n", "the guest reset itself"},
	{"keyboard", "1", VMM_RESET, "still here\n", "the guest reset itself"},
	{"triple", "1", VMM_TRIPLE, "faults\n", "vCPU 0: triple fault"},
	{"nowhere", "1", VMM_KVM, "nowhere\n", "vCPU 0: KVM cannot execute the instruction at 0xd0000000"},
	{"ports", "1", VMM_POWEROFF, "storm\nover\n", "the guest powered off"},
	{"wild", "1", VMM_POWEROFF, "wild\nnothing there\n", "the guest powered off"},
	{"registers", "1", VMM_POWEROFF, "registers\nunchanged\n", "the guest powered off"},
	{"queues", "1", VMM_POWEROFF, "queues\none returned\nthe layout is frozen\nneeds reset\nover\n",
		"the guest powered off",
		{"memory: 0x000000000-0x003ffffff RAM", "PCI config space",
			"device: slot 1, vsock at 0xc0008000, 3 queues, not active, ", "vCPU 0: ", " exits, mmio",
			" us first instruction"}},
	{"rings", "1", VMM_POWEROFF,
		"rings\na request\nserved\na chain that loops\nbroken\na link to itself\nbroken\n"
		"a link beyond the table\nbroken\na head beyond the table\nbroken\na head twice\nbroken\n"
		"over the end of memory\nbroken\nover the end of addresses\nbroken\na request\nserved\n",
		"the guest powered off", {"device: slot 3, blk ", " queue 0: 8 entries at "}},
	/* The last interrupt may come too late. */
	{"vectors", "1", VMM_POWEROFF, "vectors\nover\n", "the guest powered off",
		{"device: slot 1, vsock ", ", active, ", "200 kicks, "}, 199},
	{"flood", "1", VMM_POWEROFF, NULL, "the guest powered off", .many_exits = true},
};

/* A neighbour lives through all of them, and its vCPU and its owner are served. */
static void guests_end_as_they_should(void **state)
{
	char text[TEXT_MAX];
	struct machine neighbour;

	start(&neighbour, "halt", "1");
	talk(&neighbour, NULL, "{\"hello\":*");
	read_text(neighbour.console, text, "halts\n");
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		if (guests[i].many_exits && getenv("MACHINE_SHORT"))
			continue;
		check(&guests[i]);
		talk(&neighbour, "{\"id\":1,\"op\":\"pause\"}", "{\"id\":1,\"ok\":true}");
		talk(&neighbour, "{\"id\":2,\"op\":\"counters\"}", "{\"id\":2,\"ok\":true,\"state\":\"paused\",*");
		talk(&neighbour, "{\"id\":3,\"op\":\"resume\"}", "{\"id\":3,\"ok\":true}");
	}
	talk(&neighbour, "{\"id\":4,\"op\":\"stop\"}", "{\"id\":4,\"ok\":true}");
	talk(&neighbour, NULL, "{\"event\":\"ended\",\"how\":\"poweroff\",*");
	assert_int_equal(finish(&neighbour), VMM_POWEROFF);
}

/* ---- the control socket ---- */

/* All namespaces are its own, and its root is an empty folder. */
static void check_jail(const struct machine *m)
{
#ifndef SANITIZED
	static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
	char path[64];
	struct stat own, its;
	struct dirent *e;
	DIR *d;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		assert_int_equal(stat(path, &own), 0);
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", m->pid, names[i]);
		assert_int_equal(stat(path, &its), 0);
		if (own.st_ino == its.st_ino)
			fail_msg("the machine is in our own %s namespace", names[i]);
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/root/", m->pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fail_msg("the machine's root has '%s'", e->d_name);
	(void)closedir(d);
#endif
}

static void pauses_and_stops(const char *guest, const char *first_line, const char *vcpus)
{
	char text[TEXT_MAX];
	struct machine m;

	start(&m, guest, vcpus);
	talk(&m, NULL, "{\"hello\":\"podvm-vmm\",\"api\":1,*");
	read_text(m.console, text, first_line);
	assert_string_equal(text, first_line);
	check_jail(&m);
	for (int i = 0; i < 3; i++) {
		talk(&m, "{\"id\":1,\"op\":\"pause\"}", "{\"id\":1,\"ok\":true}");
		talk(&m, "{\"id\":2,\"op\":\"counters\"}", "{\"id\":2,\"ok\":true,\"state\":\"paused\",*");
		talk(&m, "{\"id\":3,\"op\":\"resume\"}", "{\"id\":3,\"ok\":true}");
	}
	talk(&m, "{\"op\":\"counters\",\"id\":4}", "{\"id\":4,\"ok\":true,\"state\":\"running\",*");
	talk(&m, "{\"id\":5,\"op\":\"stop\"}", "{\"id\":5,\"ok\":true}");
	talk(&m, NULL, "{\"event\":\"ended\",\"how\":\"poweroff\",\"why\":\"stopped by its owner\"}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
	check_growth();
}

static void a_guest_that_never_exits_is_paused(void **state)
{
	pauses_and_stops("spin", "spins\n", "1");
}

/* vCPUs that were never started stand too. */
static void an_idle_guest_is_paused(void **state)
{
	pauses_and_stops("halt", "halts\n", "4");
}

/* How many may run is the owner's affair, how many do the guest's: this one never starts another. */
static void more_and_fewer_vcpus(void **state)
{
	static const struct {
		const char *line, *want;
	} lines[] = {
		{"{\"id\":1,\"op\":\"counters\"}", "{\"id\":1,\"ok\":true,\"state\":\"running\",*"},
		{"{\"id\":2,\"op\":\"resize\",\"vcpus\":4}", "{\"id\":2,\"ok\":true,\"online\":1}"},
		{"{\"id\":3,\"op\":\"resize\",\"vcpus\":1}", "{\"id\":3,\"ok\":true,\"online\":1}"},
		{"{\"id\":4,\"op\":\"resize\",\"vcpus\":0}", "{\"id\":4,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":5,\"op\":\"resize\",\"vcpus\":5}", "{\"id\":5,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":6,\"op\":\"resize\",\"vcpus\":\"2\"}", "{\"id\":6,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":7,\"op\":\"resize\",\"vcpus\":2,\"memory\":64}",
			"{\"id\":7,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":8,\"op\":\"pause\"}", "{\"id\":8,\"ok\":true}"},
		{"{\"id\":9,\"op\":\"resize\",\"vcpus\":3}", "{\"id\":9,\"ok\":true,\"online\":1}"},
		{"{\"id\":10,\"op\":\"counters\"}", "{\"id\":10,\"ok\":true,\"state\":\"paused\",*"},
		{"{\"id\":11,\"op\":\"resume\"}", "{\"id\":11,\"ok\":true}"},
		{"{\"id\":12,\"op\":\"stop\"}", "{\"id\":12,\"ok\":true}"},
	};
	char text[TEXT_MAX];
	struct machine m;

	start(&m, "spin", "2,max=4");
	talk(&m, NULL, "{\"hello\":*");
	read_text(m.console, text, "spins\n");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		talk(&m, lines[i].line, lines[i].want);
	talk(&m, NULL, "{\"event\":\"ended\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

static void bad_requests_are_refused(void **state)
{
	static const struct {
		const char *line, *want;
	} lines[] = {
		{"", "{\"id\":0,\"ok\":false,\"code\":\"INVALID\",*"},
		{"null", "{\"id\":0,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":1}", "{\"id\":1,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":\"1\",\"op\":\"stop\"}", "{\"id\":0,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":7,\"op\":\"explode\"}", "{\"id\":7,\"ok\":false,\"code\":\"UNKNOWN\",*"},
		{"{\"id\":8,\"op\":\"stop\",\"now\":true}", "{\"id\":8,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":9,\"op\":\"resize\",\"vcpus\":2}", "{\"id\":9,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":9,\"op\":\"resize\",\"memory\":2048}", "{\"id\":9,\"ok\":false,\"code\":\"INVALID\",*"},
	};
	struct machine m;

	start(&m, "halt", "1");
	talk(&m, NULL, "{\"hello\":*");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		talk(&m, lines[i].line, lines[i].want);
	/* The owner's end is the machine's. */
	assert_int_equal(shutdown(m.control, SHUT_WR), 0);
	talk(&m, NULL, "{\"event\":*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

static void a_line_without_end_is_an_error(void **state)
{
	static char junk[8192];
	char text[TEXT_MAX];
	struct machine m;

	memset(junk, '{', sizeof(junk));
	start(&m, "halt", "1");
	talk(&m, NULL, "{\"hello\":*");
	(void)send(m.control, junk, sizeof(junk), MSG_NOSIGNAL);
	read_text(m.log, text, "a line of more than");
	assert_non_null(strstr(text, "a line of more than"));
	assert_int_equal(finish(&m), VMM_FAILED);
}

static const char *const idle[] = {"podvm-vmm", "--vm", "--id", "idle", "--control", "5",
#ifdef SANITIZED
	"--no-jail",
#endif
	NULL};

/* Without a machine only what makes one is taken; what comes behind "start" waits for it. */
static void a_machine_is_told_what_to_be(void **state)
{
	static const struct {
		const char *line, *want;
	} lines[] = {
		{"{\"id\":1,\"op\":\"pause\"}", "{\"id\":1,\"ok\":false,\"code\":\"STATE\",*"},
		{"{\"id\":2,\"op\":\"start\"}", "{\"id\":2,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":3,\"op\":\"configure\",\"kernel\":0}", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":3,\"op\":\"configure\",\"disk\":\"x,ro\"}", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":4,\"op\":\"configure\",\"memory\":\"much\"}",
			"{\"id\":4,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":5,\"op\":\"configure\",\"memory\":99999999}",
			"{\"id\":5,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":6,\"op\":\"configure\",\"rng\":1}", "{\"id\":6,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":6,\"op\":\"configure\",\"cmdline\":true}", "{\"id\":6,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":6,\"op\":\"configure\",\"cmdline\":null}", "{\"id\":6,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":7,\"op\":\"configure\",\"no-jail\":true}", "{\"id\":7,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":8,\"op\":\"configure\",\"control\":5}", "{\"id\":8,\"ok\":false,\"code\":\"INVALID\",*"},
		{"{\"id\":9,\"op\":\"configure\",\"memory\":64,\"rng\":true}", "{\"id\":9,\"ok\":true}"},
	};
	struct machine m;
	int kernel = open_guest("halt");

	launch(&m, idle, open_guest("halt"));
	talk(&m, NULL, "{\"hello\":*");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		talk(&m, lines[i].line, lines[i].want);
	send_line(&m, "{\"id\":10,\"op\":\"configure\",\"kernel\":0}", kernel);
	hear(&m, "configure", "{\"id\":10,\"ok\":true}");
	(void)close(kernel);
	send_line(&m, "{\"id\":11,\"op\":\"start\"}\n{\"id\":12,\"op\":\"configure\",\"vcpus\":2}", -1);
	hear(&m, "start", "{\"id\":11,\"ok\":true}");
	hear(&m, "configure", "{\"id\":12,\"ok\":false,\"code\":\"STATE\",*");
	talk(&m, "{\"id\":13,\"op\":\"counters\"}",
		"{\"id\":13,\"ok\":true,\"state\":\"running\",\"memory\":67108864,*");
	talk(&m, "{\"id\":14,\"op\":\"resize\",\"memory\":2048}", "{\"id\":14,\"ok\":false,\"code\":\"UNSUPPORTED\",*");
	talk(&m, "{\"id\":15,\"op\":\"stop\"}", "{\"id\":15,\"ok\":true}");
	talk(&m, NULL, "{\"event\":\"ended\",\"how\":\"poweroff\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* All of it before podvm-vmm reads the first byte: descriptors belong to the line that they were sent with. */
static void requests_need_not_wait(void **state)
{
	struct machine m;
	int kernel = open_guest("halt");

	launch(&m, idle, open_guest("halt"));
	send_line(&m, "{\"id\":1,\"op\":\"configure\",\"memory\":64}", -1);
	send_line(&m, "{\"id\":2,\"op\":\"configure\",\"kernel\":0,\"hotplug-ports\":1}", kernel);
	send_line(&m, "{\"id\":3,\"op\":\"configure\",\"disk\":0}", -1);
	send_line(&m, "{\"id\":4,\"op\":\"start\"}", -1);
	send_line(&m, "{\"id\":5,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d\",\"fd\":0}", kernel);
	send_line(&m, "{\"id\":6,\"op\":\"stop\"}", -1);
	hear(&m, "hello", "{\"hello\":*");
	hear(&m, "memory", "{\"id\":1,\"ok\":true}");
	hear(&m, "kernel", "{\"id\":2,\"ok\":true}");
	hear(&m, "disk", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*");
	hear(&m, "start", "{\"id\":4,\"ok\":true}");
	hear(&m, "add", "{\"id\":5,\"ok\":true}");
	hear(&m, "stop", "{\"id\":6,\"ok\":true}");
	hear(&m, "end", "{\"event\":\"ended\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
	(void)close(kernel);
}

/* What is no kernel fails the start, in words; an owner that goes, or says so, ends a program that has no machine. */
static void a_machine_that_never_was(void **state)
{
	struct machine m;
	int junk = memfd_create("junk", MFD_CLOEXEC);

	for (int i = 0; i < 3; i++) {
		launch(&m, idle, open_guest("halt"));
		talk(&m, NULL, "{\"hello\":*");
		if (i == 0) {
			send_line(&m, "{\"id\":1,\"op\":\"configure\",\"kernel\":0}", junk);
			hear(&m, "configure", "{\"id\":1,\"ok\":true}");
			send_line(&m, "{\"id\":2,\"op\":\"start\"}", -1);
			hear(&m, "start", "{\"event\":\"ended\",\"how\":\"failed\",\"why\":\"kernel: *");
		} else if (i == 1) {
			talk(&m, "{\"id\":1,\"op\":\"stop\"}", "{\"id\":1,\"ok\":true}");
		} else {
			assert_int_equal(shutdown(m.control, SHUT_WR), 0);
		}
		assert_int_equal(finish(&m), i == 0 ? VMM_FAILED : VMM_POWEROFF);
	}
	(void)close(junk);
}

/* The jailed thread makes the device and puts it into its port; this guest looks at neither, so it cannot go. */
static void devices_come(void **state)
{
	struct machine m;
	int kernel = open_guest("halt"), disk = memfd_create("disk", MFD_CLOEXEC),
	    dir = open("/", O_RDONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(disk, 1 << 20), 0);
	launch(&m, idle, open_guest("halt"));
	talk(&m, NULL, "{\"hello\":*");
	send_line(&m, "{\"id\":1,\"op\":\"configure\",\"kernel\":0,\"hotplug-ports\":1,\"memory\":64}", kernel);
	hear(&m, "configure", "{\"id\":1,\"ok\":true}");
	talk(&m, "{\"id\":2,\"op\":\"start\"}", "{\"id\":2,\"ok\":true}");
	for (int i = 0; i < 3; i++) {
		send_line(&m, "{\"id\":3,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"../x\",\"fd\":0}", disk);
		hear(&m, "name", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*");
		send_line(&m, "{\"id\":4,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"x\",\"fd\":0}", dir);
		hear(&m, "folder", "{\"id\":4,\"ok\":false,\"code\":\"INVALID\",*");
		send_line(&m,
			"{\"id\":5,\"op\":\"add-device\",\"kind\":\"nic\",\"name\":\"n\",\"fd\":0,\"mac\":\"02:00:00:"
			"00:00:01\","
			"\"mtu\":1500}",
			disk);
		hear(&m, "no tap", "{\"id\":5,\"ok\":false,\"code\":\"FAILED\",*");
	}
	send_line(&m, "{\"id\":6,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d.1\",\"fd\":0}", disk);
	hear(&m, "disk", "{\"id\":6,\"ok\":true}");
	send_line(&m, "{\"id\":7,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d.2\",\"fd\":0}", disk);
	hear(&m, "no port", "{\"id\":7,\"ok\":false,\"code\":\"FAILED\",*");
	talk_find(&m, "{\"id\":7,\"op\":\"counters\"}",
		"\"disks\":[{\"name\":\"d.1\",\"engine\":\"threads\",\"reads\":0,");
	talk(&m, "{\"id\":8,\"op\":\"remove-device\",\"name\":\"d.2\"}",
		"{\"id\":8,\"ok\":false,\"code\":\"FAILED\",*");
	talk(&m, "{\"id\":9,\"op\":\"remove-device\",\"name\":\"d.1\"}", "{\"id\":9,\"ok\":true}");
	talk(&m, "{\"id\":10,\"op\":\"stop\"}", "{\"id\":10,\"ok\":true}");
	talk(&m, NULL, "{\"event\":\"ended\",*");
	assert_int_equal(finish(&m), VMM_POWEROFF);
	(void)close(kernel);
	(void)close(disk);
	(void)close(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_end_as_they_should),
		cmocka_unit_test(a_guest_that_never_exits_is_paused),
		cmocka_unit_test(an_idle_guest_is_paused),
		cmocka_unit_test(more_and_fewer_vcpus),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(a_line_without_end_is_an_error),
		cmocka_unit_test(a_machine_is_told_what_to_be),
		cmocka_unit_test(requests_need_not_wait),
		cmocka_unit_test(a_machine_that_never_was),
		cmocka_unit_test(devices_come),
	};
	int r = rig_init(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
