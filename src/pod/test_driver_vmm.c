/* SPDX-License-Identifier: Apache-2.0 */
/* The vmm driver against scripts that stand for podvm-vmm: how an end is judged, and what it says of disks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/driver.h"

#define DEADLINE_MS 60000

struct rig {
	char dir[32], program[64], vsock[64];
	struct loop *loop;
	struct vm *vm;
	bool ended;
	enum vm_end how;
	char why[400];
	char said[400]; /* of disks */
};

static void on_console(void *ctx unused_arg, const char *line unused_arg, size_t len unused_arg)
{
}

static void on_log(
	void *ctx unused_arg, const char *source unused_arg, const char *line unused_arg, size_t len unused_arg)
{
}

static void on_ended(void *ctx, enum vm_end how, const char *why)
{
	struct rig *rig = ctx;

	rig->ended = true;
	rig->how = how;
	(void)str_copy(rig->why, sizeof(rig->why), why);
}

static void say(struct rig *rig, const char *what, const char *text)
{
	size_t n = strlen(rig->said);

	(void)snprintf(rig->said + n, sizeof(rig->said) - n, "%s%s\n", what, text);
}

static void on_disk_removed(void *ctx, const char *name)
{
	say(ctx, "removed ", name);
}

static void on_plugged(void *ctx, const struct err *err)
{
	say(ctx, err ? "failed: " : "plugged", err ? err->msg : "");
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct err err;

	if (geteuid() != 0)
		skip(); /* a PID namespace is made */
	assert_non_null(rig);
	(void)strcpy(rig->dir, "/tmp/test_driver.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	(void)snprintf(rig->program, sizeof(rig->program), "%s/podvm-vmm", rig->dir);
	(void)snprintf(rig->vsock, sizeof(rig->vsock), "%s/vsock", rig->dir);
	assert_int_equal(setenv("PODVM_LIBEXEC", rig->dir, 1), 0);
	assert_int_equal(loop_new(&rig->loop, &err), 0);
	*state = rig;
	return 0;
}

static void stop(struct rig *rig)
{
	if (rig->vm)
		rig->vm->driver->free(take_ptr(rig->vm));
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	stop(rig);
	loop_free(rig->loop);
	assert_int_equal(unlink(rig->program), 0);
	assert_int_equal(rmdir(rig->dir), 0); /* the socket is gone */
	free(rig);
	return 0;
}

static void start(struct rig *rig, const char *script)
{
	const struct vm_config cfg = {.id = "p",
		.kernel = rig->program,
		.initrd = rig->program,
		.cmdline_extra = "",
		.vcpus = 1,
		.memory = UINT64_C(64) << 20,
		.run_dir = rig->dir,
		.share_dir = rig->dir,
		.vsock_path = rig->vsock,
		.cid = 3,
		.kvm = true};
	const struct vm_callbacks cb = {
		.console = on_console, .log = on_log, .ended = on_ended, .disk_removed = on_disk_removed, .ctx = rig};
	FILE *f = fopen(rig->program, "we");
	struct err err;

	assert_non_null(f);
	assert_true(fprintf(f, "#!/bin/sh\n%s\n", script) > 0);
	assert_int_equal(fchmod(fileno(f), 0755), 0);
	assert_int_equal(fclose(f), 0);
	rig->ended = false;
	if (vm_driver_vmm.start(&rig->vm, rig->loop, &cfg, &cb, &err) < 0)
		fail_msg("%s", err.msg);
}

static void run_to_end(struct rig *rig)
{
	uint64_t end = time_mono_ns() + DEADLINE_MS * NS_PER_MS;

	while (!rig->ended) {
		assert_true(time_mono_ns() < end);
		assert_int_equal(loop_turn(rig->loop, 100), 0);
	}
}

static void ends_are_told(void **state)
{
	static const struct {
		const char *script;
		enum vm_end how;
		const char *why;
	} rows[] = {
		{"exit 0", VM_END_POWEROFF, "the guest powered off"},
		{"exit 3", VM_END_PANIC, "the guest reset itself"},
		{"exit 4", VM_END_PANIC, "the guest reset itself by a triple fault"},
		{"echo '[1.0] Kernel panic - not syncing: Attempted to kill init!' >&5; exit 4", VM_END_PANIC,
			"the guest's kernel panicked: Attempted to kill init!"},
		{"printf 'x Kernel panic - not syncing: a\\033[2Jb' >&5; exit 3", VM_END_PANIC,
			"the guest's kernel panicked: a?[2Jb"},
		/* The words of a guest that goes on are no panic. */
		{"echo 'Kernel panic - not syncing: no' >&5; exit 0", VM_END_POWEROFF, "the guest powered off"},
		{"echo '2026 error vmm[p]: vCPU 0: bad' >&2; exit 5", VM_END_FAILED,
			"KVM cannot go on with the guest: vCPU 0: bad"},
		{"echo '2026 error vmm[p]: no memory' >&2; exit 1", VM_END_FAILED,
			"podvm-vmm ended with exit code 1: no memory"},
		{"exit 77", VM_END_FAILED, "podvm-vmm ended with exit code 77"},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start(rig, rows[i].script);
		run_to_end(rig);
		assert_string_equal(rig->why, rows[i].why);
		assert_int_equal(rig->how, rows[i].how);
		stop(rig);
	}
}

/* The requests are those of docs/vmm-api.md; their answers, and anything else, are a stranger's words. */
static void disks_come_and_go(void **state)
{
	struct rig *rig = *state;
	struct vm_disk disk = {.name = "podvm-1", .fd = STDIN_FILENO}, second = {.name = "b", .read_only = true};
	struct err err = {0};

	start(rig, "exec <&6 >&6\n"
		   "read -r a; read -r b; read -r c\n"
		   "[ \"$a\" = '{\"id\":1,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"podvm-1\",\"fd\":0}' ] || "
		   "exit 71\n"
		   "[ \"$b\" = "
		   "'{\"id\":2,\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"b\",\"fd\":0,\"read-only\":true}' ] "
		   "|| exit 72\n"
		   "[ \"$c\" = '{\"id\":3,\"op\":\"remove-device\",\"name\":\"podvm-1\"}' ] || exit 73\n"
		   "echo '{\"hello\":\"podvm-vmm\",\"api\":1}'; echo '{\"id\":99,\"ok\":true}'; echo '{\"id\":-1}'; "
		   "echo garbage\n"
		   "echo '[]'; echo '{\"event\":1}'; echo '{\"event\":\"ended\",\"name\":\"b\"}'; echo "
		   "'{\"event\":\"removed\"}'; head -c 5000 /dev/zero; echo\n"
		   "echo '{\"id\":1,\"ok\":true}'; echo '{\"id\":1,\"ok\":true}'\n"
		   "echo '{\"id\":2,\"ok\":false,\"error\":\"no\\u001broom\"}'\n"
		   "echo '{\"id\":3,\"ok\":true}'; echo '{\"event\":\"removed\",\"name\":\"podvm-1\"}'; read -r d");
	assert_int_equal(vm_driver_vmm.add_disk(rig->vm, &disk, on_plugged, rig, &err), 0);
	assert_int_equal(vm_driver_vmm.add_disk(rig->vm, &second, on_plugged, rig, &err), 0);
	assert_int_equal(vm_driver_vmm.remove_disk(rig->vm, "podvm-1", &err), 0);
	assert_int_equal(vm_driver_vmm.remove_disk(rig->vm, "a\"b", &err), -EINVAL);
	assert_int_equal(vm_driver_vmm.remove_disk(rig->vm, "", &err), -EINVAL);
	while (!rig->ended && !strstr(rig->said, "removed"))
		assert_int_equal(loop_turn(rig->loop, DEADLINE_MS), 0);
	assert_string_equal(rig->why, "");
	assert_string_equal(rig->said, "plugged\nfailed: podvm-vmm: no?room\nremoved podvm-1\n");
	stop(rig);
	/* One that goes away instead of answering. */
	*rig->said = '\0';
	start(rig, "exit 0");
	run_to_end(rig);
	while (vm_driver_vmm.add_disk(rig->vm, &disk, on_plugged, rig, &err) == 0)
		assert_int_equal(loop_turn(rig->loop, 10), 0);
	assert_int_equal(err.code, EPIPE);
	stop(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(disks_come_and_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_are_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
