/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods are made and removed: see state.h for what is where. Two locks keep the registry consistent:
 *   PODVM_RUN/lock             held while a pod's folders are made or removed, and by pod_reap
 *   PODVM_RUN/pods/<id>/lock   held by the supervisor for the life of the pod
 * and owner.h's tell what is whose when several run folders share PODVM_STATE.
 * The first of them makes "folder without a held lock" mean "crashed", never "not locked yet". Every pod waits for it, so what a guest filled
 * is only moved to the trash while it is held.
 */
#include "pod/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/utf8.h"
#include "pod/host_cgroup.h"
#include "pod/net.h"
#include "pod/owner.h"
#include "pod/state_impl.h"
#include "pod/trash.h"

#define LEFTOVER_WAIT_MS 3000
#define LOCK_TRIES 1000 /* a millisecond apart */

/* The registry's lock, waited for; *ret is released by closing it. */
static int registry_lock(int *ret, struct err *err)
{
	char path[PATH_LEN];
	int r = str_format(path, sizeof(path), err, "%s/pods", path_run());

	if (r == 0)
		r = dir_make_all(path, 0700, err);
	if (r == 0)
		r = str_format(path, sizeof(path), err, "%s/lock", path_run());
	return r < 0 ? r : file_lock(path, ret, err);
}

static void kill_leftovers(const struct pod_entry *e)
{
	json_t *list = pod_entry_at(e, "vm.processes"), *p;
	size_t i;

	json_array_foreach (list, i, p) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(p, "pid"));
		auto_close int fd = pod_process_open(pid, json_integer_value(json_object_get(p, "startTicks")));
		struct pollfd pfd = {.fd = fd, .events = POLLIN};

		if (fd < 0)
			continue;
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0u);
		(void)poll(&pfd, 1, LEFTOVER_WAIT_MS);
	}
}

/* A supervisor that was killed has given up its lock, but may still be on its way out, and in its cgroup, which cannot be removed then. */
static void await_supervisor(const struct pod_entry *e)
{
	auto_close int fd = pod_process_open((pid_t)pod_state_number(e, "pid"), pod_state_number(e, "startTicks"));
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	if (fd >= 0)
		(void)poll(&pfd, 1, LEFTOVER_WAIT_MS);
}

/* A state folder without a run folder of ours may be another run folder's pod. */
static int remove_state(const char *id, const char *run, struct err *err)
{
	auto_close int lock = -1;
	int r;

	if (access(run, F_OK) < 0) {
		r = owner_lock(&lock, err);
		if (r < 0 || !owner_none(id))
			return r;
	}
	return trash_move(id, "", err);
}

/* With the registry's lock; trash_empty is due without it. */
static int remove_both(const char *id, struct err *err)
{
	char path[PATH_LEN];
	int r = pod_run_path(path, id, "", err);

	if (r == 0)
		r = remove_state(id, path, err);
	/* state.json goes last: what could not be removed now is found again by the next command. */
	return r < 0 ? r : dir_remove_all(AT_FDCWD, path, err);
}

/* Removes everything of a pod that is not alive. */
static int bury(const struct pod_entry *e, struct err *err)
{
	int r;

	await_supervisor(e);
	kill_leftovers(e);
	/* It may have been removed, or be another one's: nothing that lives is touched, and nothing depends on it. */
	if (*pod_state_text(e, "netns"))
		(void)pod_net_clean(pod_state_text(e, "netns"), NULL);
	host_cgroup_remove(pod_entry_at(e, "cgroups"));
	r = remove_both(e->id, err);
	return r < 0 ? err_wrap(err, "remove what is left of pod %s", e->id) : 0;
}

/* One that cannot be removed does not keep the others: all are tried, the first failure is returned. */
static int reap_runs(unsigned *n, struct err *err)
{
	cleanup_with(pod_close_all) DIR *dir = NULL;
	struct dirent *de;
	int r = pod_open_all(&dir, path_run(), err);

	while (dir && (de = readdir(dir))) {
		auto_pod_entry struct pod_entry e = {0};
		int one;

		if (!pod_id_valid(de->d_name))
			continue;
		if (pod_entry_load(&e, de->d_name) < 0)
			return r < 0 ? r : err_set(err, ENOMEM, "look for crashed pods: out of memory");
		if (e.alive || pod_ended(&e))
			continue;
		one = bury(&e, r < 0 ? NULL : err);
		*n += one == 0;
		r = r < 0 ? r : one;
	}
	return r;
}

/* Folders of pods whose run folder went with a reboot. */
static int reap_states(unsigned *n, struct err *err)
{
	cleanup_with(pod_close_all) DIR *dir = NULL;
	auto_close int lock = -1;
	char path[PATH_LEN];
	struct dirent *de;
	int r = owner_lock(&lock, err);

	if (r == 0)
		r = pod_open_all(&dir, path_state(), err);
	while (dir && (de = readdir(dir))) {
		int one;

		if (!pod_id_valid(de->d_name))
			continue;
		one = pod_run_path(path, de->d_name, "", r < 0 ? NULL : err);
		if (one == 0 && (access(path, F_OK) == 0 || !owner_none(de->d_name)))
			continue;
		if (one == 0)
			one = trash_move(de->d_name, "", r < 0 ? NULL : err);
		*n += one == 0;
		r = r < 0 ? r : one;
	}
	return r;
}

int pod_reap(unsigned *ret_n, struct err *err)
{
	auto_close int lock = -1;
	unsigned n = 0;
	int r = registry_lock(&lock, err), one;

	if (r < 0)
		return r;
	r = reap_runs(&n, err);
	one = reap_states(&n, r < 0 ? NULL : err);
	r = r < 0 ? r : one;
	close_fd(&lock);
	one = trash_empty("", r < 0 ? NULL : err);
	if (ret_n)
		*ret_n = n;
	return r < 0 ? r : one;
}

int pod_remove(const char *id, struct err *err)
{
	auto_close int lock = -1;
	int r;

	if (!pod_id_valid(id))
		return err_set(err, EINVAL, "'%.20s' is not the id of a pod", id);
	r = registry_lock(&lock, err);
	if (r < 0)
		return r;
	if (pod_alive(id))
		return err_set(err, EBUSY, "pod %s is running; stop it first or use 'podvm rm -f'", id);
	r = remove_both(id, err);
	close_fd(&lock);
	return r < 0 ? r : trash_empty(id, err);
}

static int check_name_free(const char *ns, const char *name, struct err *err)
{
	struct pod_entry *list = NULL;
	size_t n = 0;
	int r = pod_list(&list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (list[i].alive && str_eq(pod_state_text(&list[i], "name"), name) &&
			str_eq(pod_state_text(&list[i], "namespace"), ns))
			r = err_set(err, EEXIST,
				"pod '%s' is already running (%s); stop it with 'podvm stop %s' or change "
				"metadata.name",
				name, list[i].id, name);
	pod_list_free(list, n);
	return r;
}

/* Nobody else can want the new pod's lock; but who lists pods in this moment may hold it, for as long as pod_alive takes. */
static int lock_home(int fd)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	int r;

	for (unsigned i = 0; (r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && i < LOCK_TRIES; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return r;
		(void)nanosleep(&pause, NULL);
	}
	return r;
}

static int make_home(struct pod_home *home, struct err *err)
{
	char lock[PATH_LEN];
	int r = pod_run_path(home->run_dir, home->id, "", err);

	if (r == 0)
		r = pod_state_path(home->state_dir, home->id, "", err);
	if (r == 0)
		r = pod_run_path(lock, home->id, "lock", err);
	if (r == 0)
		r = dir_make_all(home->run_dir, 0700, err);
	if (r < 0)
		return r;
	home->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (home->lock_fd < 0 || lock_home(home->lock_fd) < 0)
		return err_errno(err, "lock '%s'", lock);
	return owner_take(home->id, &home->owner_fd, err);
}

static int first_state(const struct pod_home *home, const char *ns, const char *name, struct err *err)
{
	json_t *state = json_pack("{s:i s:s s:s s:s s:I s:s}", "version", 1, "id", home->id, "name", name, "namespace",
		ns, "createdNs", (json_int_t)time_real_ns(), "phase", "Starting");
	int r = state ? pod_home_write(home, state, err) : err_set(err, ENOMEM, "write state: out of memory");

	json_decref(state);
	return r;
}

/* The state folder may be another one's. */
static void undo_home(struct pod_home *home)
{
	char path[PATH_LEN];

	if (home->owner_fd >= 0)
		(void)!trash_move(home->id, "", NULL);
	if (pod_run_path(path, home->id, "", NULL) == 0)
		(void)dir_remove_all(AT_FDCWD, path, NULL);
	close_fd(&home->owner_fd);
	close_fd(&home->lock_fd);
}

static int finish_home(struct pod_home *ret, struct pod_home *home, const char *ns, const char *name, struct err *err)
{
	int r = make_home(home, err);

	if (r == 0)
		r = first_state(home, ns, name, err);
	if (r < 0) {
		undo_home(home);
		return r;
	}
	*ret = *home;
	return 0;
}

int pod_home_named(struct pod_home *ret, const char *id, const char *ns, const char *name, struct err *err)
{
	struct pod_home home = {.lock_fd = -1, .owner_fd = -1};
	auto_close int lock = -1;
	auto_pod_entry struct pod_entry e = {0};
	int r;

	if (!pod_id_valid(id) || !str_copy(home.id, sizeof(home.id), id))
		return err_set(err, EINVAL, "'%.20s' is not the id of a pod", id);
	r = registry_lock(&lock, err);
	if (r < 0)
		return r;
	if (pod_alive(id))
		return 1;
	if (pod_entry_load(&e, id) < 0)
		return err_set(err, ENOMEM, "look at pod %s: out of memory", id);
	r = bury(&e, err);
	if (r == 0)
		r = finish_home(ret, &home, ns, name, err);
	close_fd(&lock);
	/* The new pod does not depend on it, and pod_reap tells when it fails. */
	(void)!trash_empty(id, NULL);
	return r;
}

void pod_await_end(const char *id, unsigned ms)
{
	auto_pod_entry struct pod_entry e = {0};
	struct pollfd pfd = {.events = POLLIN};
	auto_close int fd = -1;

	if (!pod_id_valid(id) || pod_entry_load(&e, id) < 0 || !e.alive)
		return;
	fd = pod_process_open((pid_t)pod_state_number(&e, "pid"), pod_state_number(&e, "startTicks"));
	pfd.fd = fd;
	if (fd >= 0)
		(void)poll(&pfd, 1, (int)ms);
}

int pod_bury(const char *id, bool kill, struct err *err)
{
	auto_close int lock = -1;
	auto_pod_entry struct pod_entry e = {0};
	auto_close int fd = -1;
	int r;

	if (!pod_id_valid(id))
		return err_set(err, EINVAL, "'%.20s' is not the id of a pod", id);
	r = registry_lock(&lock, err);
	if (r == 0 && pod_entry_load(&e, id) < 0)
		r = err_set(err, ENOMEM, "look at pod %s: out of memory", id);
	if (r < 0)
		return r;
	if (e.alive && !kill)
		return 1;
	if (e.alive) {
		struct pollfd pfd = {.events = POLLIN};

		fd = pod_process_open((pid_t)pod_state_number(&e, "pid"), pod_state_number(&e, "startTicks"));
		pfd.fd = fd;
		if (fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0u) == 0)
			(void)poll(&pfd, 1, LEFTOVER_WAIT_MS);
		if (pod_alive(id))
			return err_set(err, EBUSY, "the supervisor of pod %s does not end", id);
	}
	r = bury(&e, err);
	close_fd(&lock);
	return r < 0 ? r : trash_empty(id, err);
}

int pod_home_new(struct pod_home *ret, const char *ns, const char *name, struct err *err)
{
	struct pod_home home = {.lock_fd = -1, .owner_fd = -1};
	auto_close int lock = -1;
	uint8_t random[POD_ID_LEN / 2];
	int r = registry_lock(&lock, err);

	if (r == 0)
		r = check_name_free(ns, name, err);
	if (r < 0)
		return r;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, "getrandom");
	hex_encode(home.id, random, sizeof(random));
	/* The name is taken from here on, before the registry's lock is released. */
	return finish_home(ret, &home, ns, name, err);
}

int pod_home_write(const struct pod_home *home, json_t *state, struct err *err)
{
	char path[PATH_LEN];
	auto_free char *text = NULL;
	json_t *processes = json_object_get(json_object_get(state, "vm"), "processes"), *p;
	size_t i;
	int r = pod_run_path(path, home->id, "state.json", err);

	if (r < 0)
		return r;
	json_array_foreach (processes, i, p) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(p, "pid"));

		if (!json_object_get(p, "startTicks"))
			(void)json_object_set_new(p, "startTicks", json_integer(pod_process_start(pid)));
	}
	if (json_object_set_new(state, "pid", json_integer(getpid())) < 0 ||
		json_object_set_new(state, "netns", json_string(home->netns)) < 0 ||
		json_object_set_new(state, "startTicks", json_integer(pod_process_start(getpid()))) < 0)
		return err_set(err, ENOMEM, "write state: out of memory");
	text = json_dumps(state, JSON_COMPACT);
	if (!text)
		return err_set(err, ENOMEM, "write state: out of memory");
	return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

void pod_home_record(struct pod_home *home, json_t *state)
{
	struct err err = {0};
	int r = state ? pod_home_write(home, state, &err) : err_set(&err, ENOMEM, "out of memory");

	json_decref(state);
	if (r < 0 && !home->stale)
		log_warn("state of pod %s not written: %s; podvm ps and inspect show an older one", home->id, err.msg);
	home->stale = r < 0;
}

int pod_home_netns(struct pod_home *home, const char *netns, struct err *err)
{
	auto_pod_entry struct pod_entry e = {0};

	/* Whoever cleans up after a crash needs the very path, and JSON holds no other. */
	if (!utf8_valid(netns, strlen(netns)))
		return err_set(err, EILSEQ, "network namespace '%.100s': the path is not UTF-8", netns);
	if (!str_copy(home->netns, sizeof(home->netns), netns))
		return err_set(err, ENAMETOOLONG, "network namespace '%.100s...'", netns);
	if (pod_entry_load(&e, home->id) < 0)
		return err_set(err, ENOMEM, "read state: out of memory");
	return pod_home_write(home, e.state, err);
}

/* What a finished pod keeps: run: state.json and lock; state: log and log.1. With the registry's lock, as remove_both. */
static void keep_records(const struct pod_home *home)
{
	static const char *const run_rest[] = {"vsock.sock", "shared"};
	static const char *const state_rest[] = {"volumes", "containers", "pod"};
	char path[PATH_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(run_rest); i++)
		if (pod_run_path(path, home->id, run_rest[i], NULL) == 0)
			(void)dir_remove_all(AT_FDCWD, path, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(state_rest); i++)
		(void)!trash_move(home->id, state_rest[i], NULL);
}

void pod_home_free(struct pod_home *home, bool keep)
{
	auto_close int lock = -1;

	if (home->lock_fd < 0)
		return;
	(void)registry_lock(&lock, NULL);
	if (keep)
		keep_records(home);
	else
		(void)remove_both(home->id, NULL);
	close_fd(&home->owner_fd);
	close_fd(&home->lock_fd);
	close_fd(&lock);
	(void)!trash_empty(home->id, NULL);
}
