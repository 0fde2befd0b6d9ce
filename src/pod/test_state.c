/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

static char dir[] = "/tmp/podvm-test-state.XXXXXX";

static unsigned unlinked, under_lock, busy;
static const char *stuck; /* the id of a pod whose folder cannot be removed */

/* Instead of libc's: a supervisor's lock is held by somebody else `busy` times. */
int flock(int fd, int operation)
{
	if (operation == (LOCK_EX | LOCK_NB) && busy) {
		busy--;
		errno = EWOULDBLOCK;
		return -1;
	}
	return (int)syscall(SYS_flock, fd, operation);
}

/* Instead of libc's: counts what a guest made, and whether others could take the registry's lock in that moment. */
int unlinkat(int fd, const char *name, int flags)
{
	char path[PATH_LEN];
	auto_close int lock = -1;

	if (str_eq(name, "by-guest")) {
		(void)snprintf(path, sizeof(path), "%s/run/lock", dir);
		lock = open(path, O_RDWR | O_CLOEXEC);
		unlinked++;
		under_lock += flock(lock, LOCK_EX | LOCK_NB) < 0;
	}
	if (stuck && strstr(name, stuck)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static int setup(void **state)
{
	char path[PATH_LEN];

	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/run", dir);
	(void)setenv("PODVM_RUN", path, 1);
	(void)snprintf(path, sizeof(path), "%s/state", dir);
	(void)setenv("PODVM_STATE", path, 1);
	return paths_check(NULL);
}

static int teardown(void **state)
{
	return dir_remove_all(AT_FDCWD, dir, NULL);
}

static size_t count(void)
{
	struct pod_entry *list = NULL;
	size_t n = 0;

	assert_int_equal(pod_list(&list, &n, NULL), 0);
	pod_list_free(list, n);
	return n;
}

static void a_pod_is_alive_while_its_home_is_held(void **state)
{
	auto_pod_entry struct pod_entry e = {0}, gone = {0};
	struct pod_home home, second;
	struct err err = {0};

	assert_int_equal(pod_home_new(&home, "default", "web", &err), 0);
	assert_int_equal(pod_find(&e, "web", &err), 0);
	assert_true(e.alive);
	assert_string_equal(e.id, home.id);
	assert_string_equal(pod_state_text(&e, "phase"), "Starting");
	assert_string_equal(pod_state_text(&e, "no.such.path"), "");
	assert_int_equal(pod_state_number(&e, "name"), 0);
	assert_int_equal(pod_home_new(&second, "default", "web", &err), -EEXIST);
	assert_int_equal(pod_home_new(&second, "other", "web", &err), 0);
	assert_int_equal(pod_find(&gone, "web", &err), -ENOTUNIQ);
	pod_home_free(&second, false);
	assert_int_equal(pod_remove(home.id, &err), -EBUSY);
	assert_int_equal(pod_reap(NULL, &err), 0);
	assert_int_equal(count(), 1);
	pod_home_free(&home, false);
	assert_int_equal(pod_find(&gone, "web", &err), -ENOENT);
	assert_int_equal(count(), 0);
}

static void a_crashed_pod_is_reaped_with_its_processes(void **state)
{
	unsigned n = 0;
	int pipefd[2], status;
	pid_t supervisor, orphan = 0;
	char path[PATH_LEN];

	assert_int_equal(pipe(pipefd), 0);
	supervisor = fork();
	if (supervisor == 0) {
		struct pod_home home;
		int let_go[2];
		json_t *s;
		pid_t child;
		char c = 0;

		if (pipe(let_go) < 0 || pod_home_new(&home, "default", "crash", NULL) < 0)
			_exit(1);
		child = fork();
		if (child == 0) {
			/* Lets go of the lock as an exec'ed VM process does; lives on without its parent. */
			(void)close(home.lock_fd);
			(void)!write(let_go[1], &c, 1);
			for (;;)
				(void)pause();
		}
		s = json_pack("{s:s s:s s:{s:[{s:s s:i}]}}", "phase", "Running", "name", "crash", "vm", "processes",
			"name", "qemu", "pid", child);
		if (pod_home_write(&home, s, NULL) < 0 || read(let_go[0], &c, 1) != 1)
			_exit(1);
		(void)!write(pipefd[1], &child, sizeof(child));
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(pipefd[0], &orphan, sizeof(orphan)), sizeof(orphan));
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(kill(supervisor, SIGKILL), 0);
	assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(count(), 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/cwd", orphan);
	assert_int_equal(access(path, F_OK), -1); /* gone, or a zombie for init */
	close(pipefd[0]);
	close(pipefd[1]);
}

static void a_finished_pod_keeps_its_record_until_removed(void **state)
{
	struct pod_home home;
	char path[PATH_LEN];
	json_t *s;

	assert_int_equal(pod_home_new(&home, "default", "done", NULL), 0);
	assert_int_equal(pod_state_path(path, home.id, "volumes/d", NULL), 0);
	assert_int_equal(dir_make_all(path, 0755, NULL), 0);
	s = json_pack("{s:s s:s}", "phase", "Failed", "name", "done");
	assert_int_equal(pod_home_write(&home, s, NULL), 0);
	json_decref(s);
	pod_home_free(&home, true);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(pod_reap(NULL, NULL), 0);
	assert_int_equal(count(), 1);
	assert_int_equal(pod_remove(home.id, NULL), 0);
	assert_int_equal(count(), 0);
	assert_int_equal(pod_remove("../../etc", NULL), -EINVAL);
}

static void broken_state_files_are_no_pods_of_interest(void **state)
{
	static const char *const texts[] = {"", "[]", "{", "null", "{\"phase\": 7, \"vm\": [1, 2]}", "\"Failed\""};
	struct pod_home home;
	char path[PATH_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_pod_entry struct pod_entry e = {0};

		assert_int_equal(pod_home_new(&home, "default", "odd", NULL), 0);
		assert_int_equal(pod_run_path(path, home.id, "state.json", NULL), 0);
		assert_int_equal(file_write_atomic(AT_FDCWD, path, texts[i], strlen(texts[i]), 0600, NULL), 0);
		assert_int_equal(pod_find(&e, home.id, NULL), 0);
		assert_string_equal(pod_state_text(&e, "phase"), "");
		assert_int_equal(pod_state_number(&e, "vm.processes"), 0);
		close_fd(&home.lock_fd);
		assert_int_equal(pod_reap(NULL, NULL), 0);
		assert_int_equal(count(), 0);
	}
}

/* Two files in folders of pod `id`, as a guest leaves them. */
static void fill(const char *id)
{
	static const char *const folders[] = {"volumes/d", "containers/c"};
	char path[PATH_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		assert_int_equal(pod_state_path(path, id, folders[i], NULL), 0);
		assert_int_equal(dir_make_all(path, 0755, NULL), 0);
		(void)strcat(path, "/by-guest");
		assert_int_equal(file_write_atomic(AT_FDCWD, path, "x", 1, 0644, NULL), 0);
	}
	unlinked = under_lock = 0;
}

static void assert_removed_without_lock(void)
{
	assert_int_equal(unlinked, 2);
	assert_int_equal(under_lock, 0);
}

static void what_a_guest_made_is_removed_without_the_lock(void **state)
{
	struct pod_home home, again;
	json_t *s;

	assert_int_equal(pod_home_new(&home, "default", "big", NULL), 0);
	fill(home.id);
	pod_home_free(&home, false);
	assert_removed_without_lock();

	assert_int_equal(pod_home_new(&home, "default", "big", NULL), 0);
	s = json_pack("{s:s s:s}", "phase", "Failed", "name", "big");
	assert_int_equal(pod_home_write(&home, s, NULL), 0);
	json_decref(s);
	fill(home.id);
	pod_home_free(&home, true);
	assert_removed_without_lock();
	fill(home.id);
	assert_int_equal(pod_remove(home.id, NULL), 0);
	assert_removed_without_lock();

	assert_int_equal(pod_home_new(&home, "default", "big", NULL), 0);
	fill(home.id);
	close_fd(&home.lock_fd);
	assert_int_equal(pod_reap(NULL, NULL), 0);
	assert_removed_without_lock();

	assert_int_equal(pod_home_new(&home, "default", "big", NULL), 0);
	fill(home.id);
	close_fd(&home.lock_fd);
	assert_int_equal(pod_home_named(&again, home.id, "default", "big", NULL), 0);
	assert_removed_without_lock();
	fill(again.id);
	close_fd(&again.lock_fd);
	assert_int_equal(pod_bury(again.id, false, NULL), 0);
	assert_removed_without_lock();
	assert_int_equal(count(), 0);
}

static void the_trash_of_a_crash_is_emptied(void **state)
{
	auto_close int held = -1;
	char path[PATH_LEN], one[PATH_LEN];

	assert_int_equal(pod_state_path(path, ".trash", "0123456789ab-0/d", NULL), 0);
	assert_int_equal(pod_state_path(one, ".trash", "0123456789ab-1", NULL), 0);
	assert_int_equal(dir_make_all(path, 0755, NULL), 0);
	assert_int_equal(dir_make_all(one, 0755, NULL), 0);
	held = open(one, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(held, LOCK_EX), 0);
	assert_int_equal(pod_reap(NULL, NULL), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(one, F_OK), 0); /* somebody is at it */
	close_fd(&held);
	assert_int_equal(pod_reap(NULL, NULL), 0);
	assert_int_equal(access(one, F_OK), -1);
}

static void who_asks_is_no_supervisor(void **state)
{
	auto_pod_entry struct pod_entry e = {0};
	auto_close int other = -1;
	struct pod_home home;
	char path[PATH_LEN];

	busy = 3;
	assert_int_equal(pod_home_new(&home, "default", "asked", NULL), 0);
	assert_int_equal(busy, 0);
	close_fd(&home.lock_fd);
	assert_int_equal(pod_run_path(path, home.id, "lock", NULL), 0);
	other = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(other, LOCK_SH), 0); /* as another command that looks */
	assert_int_equal(pod_find(&e, home.id, NULL), 0);
	assert_false(e.alive);
	assert_int_equal(pod_reap(NULL, NULL), 0);
	assert_int_equal(count(), 0);
}

static void a_pod_that_cannot_be_removed_does_not_keep_the_others(void **state)
{
	struct pod_home homes[3];
	struct err err = {0};
	char path[PATH_LEN], first[POD_ID_LEN + 1] = "";
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	for (size_t i = 0; i < ARRAY_SIZE(homes); i++) {
		assert_int_equal(pod_home_new(&homes[i], "other", "stuck", NULL), 0);
		close_fd(&homes[i].lock_fd);
	}
	(void)snprintf(path, sizeof(path), "%s/run/pods", dir);
	d = opendir(path);
	assert_non_null(d);
	while (!*first && (de = readdir(d)))
		if (*de->d_name != '.')
			assert_true(str_copy(first, sizeof(first), de->d_name));
	(void)closedir(d);
	stuck = first;
	assert_int_equal(pod_reap(&n, &err), -EIO);
	stuck = NULL;
	assert_non_null(strstr(err.msg, first));
	assert_int_equal(n, 2);
	assert_int_equal(count(), 1);
	assert_int_equal(pod_reap(&n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(count(), 0);
}

static void use_run(const char *name)
{
	char path[PATH_LEN];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(setenv("PODVM_RUN", path, 1), 0);
	assert_int_equal(paths_check(NULL), 0);
}

static bool state_there(const struct pod_home *home)
{
	return access(home->state_dir, F_OK) == 0;
}

static void another_run_folder_s_pods_are_left_alone(void **state)
{
	struct pod_home home, same, gone;
	struct err err = {0};
	char path[PATH_LEN];
	unsigned n;
	json_t *s;

	/* Alive, also for who cannot see its run folder. */
	assert_int_equal(pod_home_new(&home, "default", "a", NULL), 0);
	use_run("run2");
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(pod_home_named(&same, home.id, "default", "a", &err), -EBUSY);
	assert_non_null(strstr(err.msg, "another run folder"));
	assert_int_equal(pod_bury(home.id, true, NULL), 0);
	assert_true(state_there(&home));
	(void)snprintf(path, sizeof(path), "%s/run/pods", dir);
	(void)snprintf(err.msg, sizeof(err.msg), "%s/hidden", dir);
	assert_int_equal(rename(path, err.msg), 0);
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_true(state_there(&home));
	assert_int_equal(rename(err.msg, path), 0);

	/* Finished: a record that the other one's commands show and remove. */
	use_run("run");
	s = json_pack("{s:s s:s}", "phase", "Failed", "name", "a");
	assert_int_equal(pod_home_write(&home, s, NULL), 0);
	json_decref(s);
	pod_home_free(&home, true);
	use_run("run2");
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_true(state_there(&home));
	use_run("run");
	assert_int_equal(pod_remove(home.id, NULL), 0);
	assert_false(state_there(&home));

	/* Crashed, its run folder gone: anybody's to remove. */
	assert_int_equal(pod_home_new(&gone, "default", "b", NULL), 0);
	close_fd(&gone.lock_fd);
	close_fd(&gone.owner_fd);
	use_run("run2");
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_true(state_there(&gone));
	assert_int_equal(dir_remove_all(AT_FDCWD, gone.run_dir, NULL), 0);
	assert_int_equal(pod_reap(&n, NULL), 0);
	assert_int_equal(n, 1);
	assert_false(state_there(&gone));
	use_run("run");
}

static void count_line(void *ctx, enum log_level level, const char *line)
{
	++*(unsigned *)ctx;
	assert_non_null(strstr(line, "not written: "));
}

static void a_record_that_cannot_be_written_is_told_once(void **state)
{
	struct pod_home home;
	char path[PATH_LEN];
	unsigned lines = 0;

	assert_int_equal(pod_home_new(&home, "default", "full", NULL), 0);
	assert_int_equal(pod_run_path(path, home.id, "state.json", NULL), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	log_set_hook(count_line, &lines);
	for (unsigned i = 0; i < 3; i++)
		pod_home_record(&home, json_pack("{s:s}", "phase", "Running"));
	assert_int_equal(lines, 1);
	assert_int_equal(rmdir(path), 0);
	pod_home_record(&home, json_pack("{s:s}", "phase", "Running"));
	assert_int_equal(lines, 1);
	pod_home_record(&home, NULL);
	assert_int_equal(lines, 2);
	log_set_hook(NULL, NULL);
	pod_home_free(&home, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_that_cannot_be_written_is_told_once),
		cmocka_unit_test(a_pod_is_alive_while_its_home_is_held),
		cmocka_unit_test(a_crashed_pod_is_reaped_with_its_processes),
		cmocka_unit_test(a_finished_pod_keeps_its_record_until_removed),
		cmocka_unit_test(broken_state_files_are_no_pods_of_interest),
		cmocka_unit_test(what_a_guest_made_is_removed_without_the_lock),
		cmocka_unit_test(the_trash_of_a_crash_is_emptied),
		cmocka_unit_test(who_asks_is_no_supervisor),
		cmocka_unit_test(a_pod_that_cannot_be_removed_does_not_keep_the_others),
		cmocka_unit_test(another_run_folder_s_pods_are_left_alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
