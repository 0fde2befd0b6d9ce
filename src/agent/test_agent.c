/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no guest: texts of the kernel, limits, module lists, spec checks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/boot.h"
#include "agent/cgroup.h"
#include "agent/crun.h"
#include "agent/info.h"
#include "agent/modules.h"
#include "base/bytes.h"
#include "base/fd.h"

/* ---- cgroup ---- */

static void keyed_text(void **state)
{
	static const char text[] = "anon 4096\nfile 0\nfile_mapped 7\nbad x\nbig 99999999999999999999\nlast 5";
	uint64_t v = 1;

	assert_true(cgroup_keyed(text, "anon", &v));
	assert_int_equal(v, 4096);
	assert_true(cgroup_keyed(text, "file_mapped", &v));
	assert_int_equal(v, 7);
	assert_true(cgroup_keyed(text, "last", &v));
	assert_int_equal(v, 5);
	assert_false(cgroup_keyed(text, "fil", &v));
	assert_false(cgroup_keyed(text, "bad", &v));
	assert_false(cgroup_keyed(text, "big", &v));
	assert_false(cgroup_keyed("", "anon", &v));
	assert_int_equal(v, 5);
}

static void io_text(void **state)
{
	uint64_t r = 0, w = 0;

	cgroup_io_sum("8:0 rbytes=10 wbytes=3 rios=1\n8:16 rbytes=5 wbytes=x wios=2\nrbytes=1", &r, &w);
	assert_int_equal(r, 16);
	assert_int_equal(w, 3);
}

static int plan(const char *json, struct cgroup_change *changes, struct err *err)
{
	json_t *o = json_loads(json, JSON_DECODE_ANY, NULL);
	int r;

	assert_non_null(o);
	r = cgroup_plan(o, changes, err);
	json_decref(o);
	return r;
}

static void plans(void **state)
{
	static const struct {
		const char *json, *file, *value;
	} good[] = {
		{"{\"memory\":{\"limit\":1048576}}", "memory.max", "1048576"},
		{"{\"memory\":{\"limit\":-1}}", "memory.max", "max"},
		{"{\"cpu\":{\"shares\":2}}", "cpu.weight", "1"},
		{"{\"cpu\":{\"shares\":262144}}", "cpu.weight", "10000"},
		{"{\"cpu\":{\"quota\":50000,\"period\":100000}}", "cpu.max", "50000 100000"},
		{"{\"cpu\":{\"quota\":-1}}", "cpu.max", "max 100000"},
		{"{\"pids\":{\"limit\":10}}", "pids.max", "10"},
		{"{\"unified\":{\"memory.high\":\"1M\"}}", "memory.high", "1M"},
	};
	static const char *const bad[] = {
		"[]",
		"{\"memory\":3}",
		"{\"memory\":{\"limit\":\"1\"}}",
		"{\"memory\":{\"limit\":-2}}",
		"{\"memory\":{\"swap\":5}}",
		"{\"memory\":{\"limit\":9,\"swap\":5}}",
		"{\"memory\":{\"kernel\":5}}",
		"{\"cpu\":{\"shares\":1}}",
		"{\"cpu\":{\"quota\":-5}}",
		"{\"cpu\":{\"realtimeRuntime\":5}}",
		"{\"devices\":[{\"allow\":true}]}",
		"{\"blockIO\":{\"weight\":5}}",
		"{\"unified\":{\"cgroup.procs\":\"1\"}}",
		"{\"unified\":{\"../memory.max\":\"1\"}}",
		"{\"unified\":{\"memory.max\":1}}",
	};
	struct cgroup_change changes[CGROUP_CHANGES_MAX];
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(plan(good[i].json, changes, &err), 1);
		assert_string_equal(changes[0].file, good[i].file);
		assert_string_equal(changes[0].value, good[i].value);
	}
	assert_int_equal(plan("{\"memory\":{},\"devices\":[],\"cpu\":null}", changes, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (plan(bad[i], changes, &err) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	}
}

/* A folder of plain files stands for a cgroup; a change that cannot be made must leave none behind. */
static void apply_is_all_or_nothing(void **state)
{
	char dir[] = "/tmp/podvm-cgroup.XXXXXX", *text;
	struct cgroup_change changes[] = {{"memory.max", "5"}, {"pids.max", "7"}};
	struct err err = {0};
	int fd;

	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_write_atomic(fd, "memory.max", "1\n", 2, 0600, &err), 0);
	assert_int_equal(cgroup_apply(fd, changes, 2, &err), -EINVAL);
	assert_int_equal(file_read(fd, "memory.max", 64, &text, NULL, &err), 0);
	assert_string_equal(text, "1\n");
	free(text);
	/* The second is refused when it is written: the first gets its old value back. */
	assert_int_equal(symlinkat("/dev/full", fd, "pids.max"), 0);
	assert_int_equal(cgroup_apply(fd, changes, 2, &err), -EINVAL);
	assert_int_equal(file_read(fd, "memory.max", 64, &text, NULL, &err), 0);
	assert_string_equal(text, "1\n");
	free(text);
	assert_int_equal(file_write_atomic(fd, "pids.max", "max\n", 4, 0600, &err), 0);
	assert_int_equal(cgroup_apply(fd, changes, 2, &err), 0);
	assert_int_equal(file_read(fd, "pids.max", 64, &text, NULL, &err), 0);
	assert_int_equal(text[0], '7');
	free(text);
	(void)close(fd);
	assert_int_equal(dir_remove_all(AT_FDCWD, dir, &err), 0);
}

/* ---- boot ---- */

static void module_list(void **state)
{
	static const char list[] = "# 6.1\n\nvirtio.ko\r\n  vsock.ko "
				   "\n@listen\nfuse.ko\n../evil.ko\n.hidden\nlast.ko\n@network\nnet.ko\n@block\nblk.ko";
	char dir[] = "/tmp/podvm-modules.XXXXXX";
	struct modules m;
	struct err err = {0};
	const char *bad;
	int fd;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(modules_open(&m, dir, &err), 0);
	assert_null(modules_next(&m, &bad));
	modules_close(&m);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_write_atomic(fd, "order", list, sizeof(list) - 1, 0600, &err), 0);
	assert_int_equal(modules_open(&m, dir, &err), 0);
	assert_string_equal(modules_next(&m, &bad), "virtio.ko");
	assert_string_equal(modules_next(&m, &bad), "vsock.ko");
	assert_null(bad);
	assert_null(modules_next(&m, &bad));
	assert_string_equal(modules_next(&m, &bad), "fuse.ko");
	assert_non_null(modules_next(&m, &bad));
	assert_string_equal(bad, "../evil.ko");
	assert_non_null(modules_next(&m, &bad));
	assert_string_equal(bad, ".hidden");
	assert_string_equal(modules_next(&m, &bad), "last.ko");
	assert_null(modules_next(&m, &bad));
	modules_close(&m);
	assert_int_equal(modules_open(&m, dir, &err), 0);
	modules_skip(&m, MODULES_NETWORK_STAGE);
	assert_string_equal(modules_next(&m, &bad), "net.ko");
	assert_null(modules_next(&m, &bad));
	modules_close(&m);
	assert_int_equal(modules_open(&m, dir, &err), 0);
	modules_skip(&m, MODULES_BLOCK_STAGE);
	assert_string_equal(modules_next(&m, &bad), "blk.ko");
	assert_null(modules_next(&m, &bad));
	modules_close(&m);
	(void)close(fd);
	assert_int_equal(dir_remove_all(AT_FDCWD, dir, &err), 0);
}

static void kernel_options(void **state)
{
	char v[8];

	assert_true(boot_option("quiet podvm.log=debug x=1\n", "podvm.log", v, sizeof(v)));
	assert_string_equal(v, "debug");
	assert_true(boot_option("a=1 x=\n", "x", v, sizeof(v)));
	assert_string_equal(v, "");
	assert_false(boot_option("xpodvm.log=debug podvm.logs=1", "podvm.log", v, sizeof(v)));
	assert_false(boot_option("podvm.log=muchtoolong", "podvm.log", v, sizeof(v)));
}

static void crun_messages(void **state)
{
	char one[] = "mount `x`: No such file", two[] = "warning\nreal error\n\n", none[] = "\n";

	assert_string_equal(crun_last_line(one, strlen(one)), "mount `x`: No such file");
	assert_string_equal(crun_last_line(two, strlen(two)), "real error");
	assert_string_equal(crun_last_line(none, strlen(none)), "");
}

static void crun_mistakes(void **state)
{
	static const struct {
		const char *said, *program, *want;
		int code;
	} rows[] = {
		{"executable file `nosuch` not found in $PATH: No such file or directory", "nosuch",
			"executable file 'nosuch' not found in $PATH", ENOENT},
		{"executable file `/no/such` not found in $PATH: No such file or directory", "/no/such",
			"executable file '/no/such' not found", ENOENT},
		{"executable file `` not found in $PATH", "", "executable file '' not found in $PATH", ENOENT},
		{"executable file `a` b` not found in $PATH", "a` b", "executable file 'a` b' not found in $PATH",
			ENOENT},
		{"executable file `cut", "cut", "crun exec: executable file `cut", EIO},
		{"open executable: Permission denied", "/etc/hosts",
			"'/etc/hosts' cannot be executed: Permission denied", EACCES},
		{"open executable: Operation not permitted", "/etc",
			"'/etc' cannot be executed: it is a directory or a special file", EACCES},
		{"open executable: Operation not permitted", "", "executable file '' not found in $PATH", ENOENT},
		{"open executable: Permission denied", NULL, "'' cannot be executed: Permission denied", EACCES},
		{"chdir `/x`: No such file or directory", "ls", "working folder '/x': No such file or directory",
			ENOTDIR},
		{"chdir `/x", "ls", "crun exec: chdir `/x", EIO},
		{"mount `x`: No such file or directory", "ls", "crun exec: mount `x`: No such file or directory", EIO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = {0};

		crun_explain(&err, "exec", rows[i].said, rows[i].program);
		assert_string_equal(err.msg, rows[i].want);
		assert_int_equal(err.code, rows[i].code);
	}
}

static void networks(void **state)
{
	char text[] = "Inter-| Receive\n face |bytes\n    lo: 10 2 0 0 0 0 0 0 30 4 0 1 0 0 0 0\n  bad: 1 2\n"
		      "eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
	Podvm__Agent__V1__NetworkStats list[4];

	assert_int_equal(info_networks(text, list, 4), 2);
	assert_string_equal(list[0].name, "lo");
	assert_int_equal(list[0].rx_bytes, 10);
	assert_int_equal(list[0].tx_bytes, 30);
	assert_string_equal(list[1].name, "eth0");
	assert_int_equal(list[1].tx_dropped, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyed_text),
		cmocka_unit_test(io_text),
		cmocka_unit_test(plans),
		cmocka_unit_test(apply_is_all_or_nothing),
		cmocka_unit_test(module_list),
		cmocka_unit_test(kernel_options),
		cmocka_unit_test(crun_messages),
		cmocka_unit_test(crun_mistakes),
		cmocka_unit_test(networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
