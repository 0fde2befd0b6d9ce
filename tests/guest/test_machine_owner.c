/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of podvm-vmm --vm, good and bad: see machine_rig.h. Usage: test_machine_owner PODVM_VMM FOLDER */
#include "machine_rig.h"

#include <dirent.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static void greet(struct machine *m, const char *guest, const char *more)
{
	start_with(m, guest, "1", more);
	talk(m, NULL, "{\"hello\":*");
}

/* A descriptor that no member names is closed before the answer comes. */
static void unnamed_descriptors_are_closed(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct machine m;
	int ends[2];

	greet(&m, "halt", NULL);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	send_line(&m, "{\"id\":1,\"op\":\"counters\"}", ends[1]);
	hear(&m, "counters", "{\"id\":1,\"ok\":true,*");
	(void)close(ends[1]);
	p.fd = ends[0];
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	assert_true(p.revents & POLLHUP);
	(void)close(ends[0]);
	talk(&m, "{\"id\":2,\"op\":\"stop\"}", "{\"id\":2,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

static void nine_descriptors_are_an_error(void **state)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(9 * sizeof(int))];
	} c = {.h = {.cmsg_len = CMSG_LEN(9 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char line[] = "{\"id\":1,\"op\":\"counters\"}\n";
	struct iovec iov = {line, sizeof(line) - 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c.room)};
	char text[TEXT_MAX];
	struct machine m;

	greet(&m, "halt", NULL);
	for (size_t i = 0; i < 9; i++)
		memcpy(CMSG_DATA(&c.h) + i * sizeof(int), &m.console, sizeof(int));
	assert_int_equal(sendmsg(m.control, &msg, MSG_NOSIGNAL), iov.iov_len);
	read_text(m.log, text, "more than 8 descriptors");
	assert_non_null(strstr(text, "more than 8 descriptors"));
	assert_int_equal(finish(&m), VMM_FAILED);
}

/* Its answers are not kept for ever. */
static void an_owner_that_does_not_read_ends_it(void **state)
{
	static const char line[] = "{\"id\":1,\"op\":\"counters\"}\n";
	char text[TEXT_MAX];
	struct machine m;
	int n = 0;

	greet(&m, "halt", NULL);
	while (n < 20000 && send(m.control, line, strlen(line), MSG_NOSIGNAL) > 0)
		n++;
	read_text(m.log, text, "the owner does not read");
	assert_non_null(strstr(text, "the owner does not read"));
	assert_int_equal(finish(&m), VMM_FAILED);
}

static void sigterm_ends_it(void **state)
{
	struct machine m;

	greet(&m, "spin", NULL);
	assert_int_equal(kill(m.pid, SIGTERM), 0);
	talk(&m, NULL, "{\"event\":\"ended\",\"how\":\"poweroff\",\"why\":\"stopped by its owner\"}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* Nothing has run before `start`; SIGUSR1 is answered then and later, and the counters tell what came of it. */
static void paused_until_told(void **state)
{
	char text[TEXT_MAX];
	struct machine m;

	greet(&m, "halt", "--paused");
	talk_find(&m, "{\"id\":1,\"op\":\"counters\"}", "\"vcpus\":[{\"exits\":{},\"kicks\":");
	talk(&m, "{\"id\":2,\"op\":\"counters\"}", "{\"id\":2,\"ok\":true,\"state\":\"paused\",*");
	talk_find(&m, "{\"id\":3,\"op\":\"counters\"}", "\"first_run\":0}");
	assert_int_equal(kill(m.pid, SIGUSR1), 0);
	read_text(m.log, text, "us first instruction");
	assert_non_null(strstr(text, "memory: "));
	assert_null(strstr(text, "exits, io"));
	talk(&m, "{\"id\":4,\"op\":\"start\"}", "{\"id\":4,\"ok\":true}");
	read_text(m.console, text, "halts\n");
	assert_string_equal(text, "halts\n");
	talk_find(&m, "{\"id\":5,\"op\":\"counters\"}", "\"vcpus\":[{\"exits\":{\"io\":");
	talk(&m, "{\"id\":6,\"op\":\"counters\"}", "{\"id\":6,\"ok\":true,\"state\":\"running\",*");
	assert_int_equal(kill(m.pid, SIGUSR1), 0);
	read_text(m.log, text, "exits, io");
	assert_non_null(strstr(text, "exits, io"));
	talk(&m, "{\"id\":7,\"op\":\"stop\"}", "{\"id\":7,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* ---- what the process has ---- */

/* Its open descriptors, and of these the ones whose name has `part`. */
static unsigned count_fds(const struct machine *m, const char *part, unsigned *ret_named)
{
	char path[300], link[300];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	*ret_named = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", m->pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (len < 0)
			continue;
		link[len] = '\0';
		n++;
		*ret_named += strstr(link, part) != NULL;
	}
	(void)closedir(d);
	return n;
}

static const char *const only_a_socket[] = {"podvm-vmm", "--vm", "--id", "told", "--console", "4", "--control", "5",
#ifdef SANITIZED
	"--no-jail",
#endif
	NULL};

/* Refused as a whole, with the descriptors that came; what is given again replaces the old. */
static void configure_is_all_or_nothing(void **state)
{
	int fd = memfd_create("given", MFD_CLOEXEC);
	unsigned before, named;
	struct machine m;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	launch_with(&m, only_a_socket, memfd_create("stray", MFD_CLOEXEC), -1);
	talk(&m, NULL, "{\"hello\":*");
	send_line(&m, "{\"id\":1,\"op\":\"configure\",\"memory\":64}", -1);
	hear(&m, "memory", "{\"id\":1,\"ok\":true}");
	before = count_fds(&m, "given", &named);
	assert_int_equal(named, 0);
	send_line(&m, "{\"id\":2,\"op\":\"configure\",\"disk\":\"0,ro,threads\",\"memory\":128,\"bogus\":1}", fd);
	hear(&m, "bogus", "{\"id\":2,\"ok\":false,\"code\":\"INVALID\",*");
	send_line(&m, "{\"id\":3,\"op\":\"configure\",\"disk\":\"0,ro,threads,bogus\"}", fd);
	hear(&m, "bogus flag", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*");
	assert_int_equal(count_fds(&m, "given", &named), before);
	for (unsigned i = 0; i < 3; i++) {
		send_line(&m, "{\"id\":4,\"op\":\"configure\",\"initrd\":0}", fd);
		hear(&m, "initrd", "{\"id\":4,\"ok\":true}");
		assert_int_equal(count_fds(&m, "given", &named), before + 1);
		assert_int_equal(named, 1);
	}
	(void)close(fd);
	fd = open_guest("halt");
	send_line(&m, "{\"id\":5,\"op\":\"configure\",\"kernel\":0,\"hvc\":true}", fd);
	hear(&m, "kernel", "{\"id\":5,\"ok\":true}");
	(void)close(fd);
	talk(&m, "{\"id\":6,\"op\":\"start\"}", "{\"id\":6,\"ok\":true}");
	talk_find(&m, "{\"id\":7,\"op\":\"counters\"}", "\"memory\":67108864,");
	talk_find(&m, "{\"id\":8,\"op\":\"counters\"}", "\"disks\":[]");
	/* Neither the kernel nor the initramfs is needed any more. */
	(void)count_fds(&m, "guest_halt", &named);
	assert_int_equal(named, 0);
	(void)count_fds(&m, "given", &named);
	assert_int_equal(named, 0);
	talk(&m, "{\"id\":9,\"op\":\"stop\"}", "{\"id\":9,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* What of its memory has `size`: the flags that the kernel shows for it. */
static void memory_flags(const struct machine *m, const char *size, char dst[TEXT_MAX])
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	*dst = '\0';
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps", m->pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (!*dst && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Size:", 5) == 0)
			found = strstr(line, size) != NULL;
		else if (found && strncmp(line, "VmFlags:", 8) == 0)
			(void)snprintf(dst, TEXT_MAX, "%s", line);
	}
	(void)fclose(f);
}

static void guest_memory_is_in_no_dump(void **state)
{
	char flags[TEXT_MAX];
	struct machine m;

	greet(&m, "halt", "--huge-pages");
	read_text(m.console, flags, "halts\n");
	/* Large pages begin where the kernel's first ends: what is there is split. */
	memory_flags(&m, " 65536 kB", flags);
	if (!*flags)
		memory_flags(&m, " 49152 kB", flags);
	if (!strstr(flags, " dd") || !strstr(flags, " hg"))
		fail_msg("guest memory: '%s'", flags);
	talk(&m, "{\"id\":1,\"op\":\"stop\"}", "{\"id\":1,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

static void what_a_request_may_ask(void **state)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	char text[TEXT_MAX];
	struct machine m;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	greet(&m, "halt", NULL);
	read_text(m.console, text, "halts\n");
	/* Its thread counts what it wrote when that is already here. */
	do {
		send_line(&m, "{\"id\":1,\"op\":\"counters\"}", -1);
		*text = '\0';
		read_line(&m, "counters", text);
	} while (strstr(text, "\"written\":0,\"dropped\":0}"));
	assert_non_null(strstr(text, "\"console\":{\"written\":6,\"dropped\":0}"));
	talk(&m, "{\"id\":2,\"op\":\"resize\",\"memory\":62}",
		"{\"id\":2,\"ok\":false,\"code\":\"INVALID\",\"error\":\"memory of 62 MiB: must be 64 to 128, and "
		"even\"}");
	talk(&m, "{\"id\":3,\"op\":\"resize\",\"memory\":130}", "{\"id\":3,\"ok\":false,\"code\":\"INVALID\",*");
	send_line(&m, "{\"id\":4,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d\",\"fd\":0}", fd);
	hear(&m, "d", "{\"id\":4,\"ok\":true}");
	send_line(&m, "{\"id\":5,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d\",\"fd\":0}", fd);
	hear(&m, "d again", "{\"id\":5,\"ok\":false,\"code\":\"FAILED\",\"error\":\"there is a device 'd'\"}");
	send_line(&m, "{\"id\":6,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"e\",\"fd\":0}", fd);
	hear(&m, "e", "{\"id\":6,\"ok\":true}");
	talk(&m, "{\"id\":7,\"op\":\"fly\"}",
		"{\"id\":7,\"ok\":false,\"code\":\"UNKNOWN\",\"error\":\"no request 'fly'\"}");
	talk(&m, "{\"id\":8,\"op\":\"pause\",\"now\":1}",
		"{\"id\":8,\"ok\":false,\"code\":\"INVALID\",\"error\":\"a member 'now'*");
	talk(&m, "{\"id\":9,\"op\":\"stop\"}", "{\"id\":9,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
	(void)close(fd);
	/* Without the options for it. */
	launch_with(&m, only_a_socket, memfd_create("stray", MFD_CLOEXEC), -1);
	talk(&m, NULL, "{\"hello\":*");
	talk(&m, "{\"id\":1,\"op\":\"start\"}", "{\"id\":1,\"ok\":false,\"code\":\"INVALID\",\"error\":\"no kernel: *");
	fd = open_guest("halt");
	send_line(&m, "{\"id\":2,\"op\":\"configure\",\"kernel\":0,\"memory\":128}", fd);
	hear(&m, "kernel", "{\"id\":2,\"ok\":true}");
	talk(&m, "{\"id\":3,\"op\":\"start\"}", "{\"id\":3,\"ok\":true}");
	send_line(&m, "{\"id\":4,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"d\",\"fd\":0}", fd);
	hear(&m, "d", "{\"id\":4,\"ok\":false,\"code\":\"UNSUPPORTED\",*");
	talk(&m, "{\"id\":5,\"op\":\"resize\",\"memory\":256}", "{\"id\":5,\"ok\":false,\"code\":\"UNSUPPORTED\",*");
	talk(&m, "{\"id\":6,\"op\":\"resize\",\"memory\":64}", "{\"id\":6,\"ok\":false,\"code\":\"UNSUPPORTED\",*");
	talk(&m, "{\"id\":7,\"op\":\"stop\"}", "{\"id\":7,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
	(void)close(fd);
}

/* ---- a vCPU that does not stand ---- */

/* Its thread of that name stops where it is, so that the machine cannot come to a stand. */
static pid_t hold_thread(const struct machine *m, const char *name)
{
	char path[300], text[32];
	struct dirent *e;
	pid_t tid = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", m->pid);
	d = opendir(path);
	assert_non_null(d);
	while (!tid && (e = readdir(d)) != NULL) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", m->pid, e->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) && strncmp(text, name, strlen(name)) == 0)
			tid = atoi(e->d_name);
		(void)fclose(f);
	}
	(void)closedir(d);
	assert_int_not_equal(tid, 0);
	assert_int_equal(ptrace(PTRACE_SEIZE, tid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
	assert_int_equal(waitpid(tid, NULL, __WALL), tid);
	return tid;
}

/* A machine whose only vCPU is held where it is. */
static pid_t start_held(struct machine *m)
{
	char text[TEXT_MAX];

	greet(m, "spin", NULL);
	read_text(m->console, text, "spins\n");
	return hold_thread(m, "vcpu0");
}

static void a_pause_that_takes_its_time(void **state)
{
	struct machine m;
	pid_t tid = start_held(&m);

	send_line(&m, "{\"id\":1,\"op\":\"pause\"}", -1);
	talk(&m, "{\"id\":2,\"op\":\"pause\"}",
		"{\"id\":2,\"ok\":false,\"code\":\"BUSY\",\"error\":\"another pause is under way\"}");
	send_line(&m, "{\"id\":3,\"op\":\"resume\"}", -1);
	hear(&m, "pause", "{\"id\":1,\"ok\":false,\"code\":\"CANCELLED\",*");
	hear(&m, "resume", "{\"id\":3,\"ok\":true}");
	send_line(&m, "{\"id\":4,\"op\":\"pause\"}", -1);
	send_line(&m, "{\"id\":5,\"op\":\"resize\",\"vcpus\":1}", -1);
	talk(&m, "{\"id\":6,\"op\":\"resize\",\"vcpus\":1}", "{\"id\":6,\"ok\":false,\"code\":\"BUSY\",*");
	assert_int_equal(ptrace(PTRACE_DETACH, tid, NULL, NULL), 0);
	hear(&m, "resize", "{\"id\":5,\"ok\":true,\"online\":1}");
	hear(&m, "pause", "{\"id\":4,\"ok\":true}");
	/* It stands: once more is no error, and nothing to wait for. */
	talk(&m, "{\"id\":7,\"op\":\"pause\"}", "{\"id\":7,\"ok\":true}");
	talk(&m, "{\"id\":8,\"op\":\"resume\"}", "{\"id\":8,\"ok\":true}");
	talk(&m, "{\"id\":9,\"op\":\"stop\"}", "{\"id\":9,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

/* What waits for the vCPUs to stand is not forgotten for a `resume`. */
static void a_resume_while_a_resize_waits(void **state)
{
	struct machine m;
	pid_t tid = start_held(&m);

	send_line(&m, "{\"id\":1,\"op\":\"resize\",\"vcpus\":1}", -1);
	talk(&m, "{\"id\":2,\"op\":\"resume\"}", "{\"id\":2,\"ok\":true}");
	assert_int_equal(ptrace(PTRACE_DETACH, tid, NULL, NULL), 0);
	hear(&m, "resize", "{\"id\":1,\"ok\":true,\"online\":1}");
	talk(&m, "{\"id\":3,\"op\":\"stop\"}", "{\"id\":3,\"ok\":true}");
	assert_int_equal(finish(&m), VMM_POWEROFF);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unnamed_descriptors_are_closed),
		cmocka_unit_test(nine_descriptors_are_an_error),
		cmocka_unit_test(an_owner_that_does_not_read_ends_it),
		cmocka_unit_test(sigterm_ends_it),
		cmocka_unit_test(paused_until_told),
		cmocka_unit_test(configure_is_all_or_nothing),
		cmocka_unit_test(guest_memory_is_in_no_dump),
		cmocka_unit_test(what_a_request_may_ask),
		cmocka_unit_test(a_pause_that_takes_its_time),
		cmocka_unit_test(a_resume_while_a_resize_waits),
	};
	int r = rig_init(argc, argv);

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
