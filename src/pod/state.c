/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod registry, as a reader sees it: state.h says what is where. Nothing is locked for it: state.json is replaced atomically, and
 * a folder that vanishes meanwhile is a pod without a state. home.c makes and removes pods.
 */
#include "pod/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/proc.h"
#include "pod/hvsock.h"
#include "pod/state_impl.h"

#define STATE_MAX (1u << 20)

int pod_run_path(char dst[PATH_LEN], const char *id, const char *name, struct err *err)
{
	return str_format(dst, PATH_LEN, err, "%s/pods/%s%s%s", path_run(), id, *name ? "/" : "", name);
}

int pod_state_path(char dst[PATH_LEN], const char *id, const char *name, struct err *err)
{
	return str_format(dst, PATH_LEN, err, "%s/pods/%s%s%s", path_state(), id, *name ? "/" : "", name);
}

void pod_entry_fini(struct pod_entry *e)
{
	json_decref(e->state);
	e->state = NULL;
}

bool pod_id_valid(const char *id)
{
	return strlen(id) == POD_ID_LEN && strspn(id, "0123456789abcdef") == POD_ID_LEN;
}

bool pod_alive(const char *id)
{
	char path[PATH_LEN];
	auto_close int fd = -1;

	if (pod_run_path(path, id, "lock", NULL) < 0)
		return false;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* Shared: who asks at the same time is not taken for a supervisor. */
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* ---- reading ---- */

int pod_entry_load(struct pod_entry *e, const char *id)
{
	char path[PATH_LEN];
	auto_free char *text = NULL;
	size_t len;

	(void)str_copy(e->id, sizeof(e->id), id);
	e->alive = pod_alive(id);
	e->state = NULL;
	if (pod_run_path(path, id, "state.json", NULL) == 0 &&
		file_read(AT_FDCWD, path, STATE_MAX, &text, &len, NULL) == 0)
		e->state = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(e->state)) {
		json_decref(e->state);
		e->state = json_object();
	}
	return e->state ? 0 : -ENOMEM;
}

json_t *pod_entry_at(const struct pod_entry *e, const char *path)
{
	json_t *at = e->state;
	char key[64];

	while (at && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		at = json_object_get(at, key);
		path += n + (path[n] == '.');
	}
	return at;
}

const char *pod_state_text(const struct pod_entry *e, const char *path)
{
	const char *text = json_string_value(pod_entry_at(e, path));

	return text ? text : "";
}

long long pod_state_number(const struct pod_entry *e, const char *path)
{
	return json_integer_value(pod_entry_at(e, path));
}

bool pod_ended(const struct pod_entry *e)
{
	const char *phase = pod_state_text(e, "phase");

	return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

static int by_age(const void *a, const void *b)
{
	long long x = pod_state_number(a, "createdNs"), y = pod_state_number(b, "createdNs");

	return (x > y) - (x < y);
}

void pod_close_all(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int pod_open_all(DIR **ret, const char *base, struct err *err)
{
	char path[PATH_LEN];
	int r = str_format(path, sizeof(path), err, "%s/pods", base);

	if (r < 0)
		return r;
	*ret = opendir(path);
	return *ret || errno == ENOENT ? 0 : err_errno(err, "open '%s'", path);
}

int pod_list(struct pod_entry **ret, size_t *ret_n, struct err *err)
{
	cleanup_with(pod_close_all) DIR *dir = NULL;
	struct pod_entry *list = NULL;
	size_t n = 0, cap = 0;
	struct dirent *de;
	int r = pod_open_all(&dir, path_run(), err);

	if (r < 0)
		return r;
	while (dir && (de = readdir(dir))) {
		if (!pod_id_valid(de->d_name))
			continue;
		if (n == cap) {
			struct pod_entry *more = reallocarray(list, cap + 64, sizeof(*list));

			if (!more)
				goto nomem;
			list = more;
			cap += 64;
		}
		if (pod_entry_load(&list[n], de->d_name) < 0)
			goto nomem;
		n++;
	}
	if (n)
		qsort(list, n, sizeof(*list), by_age);
	*ret = list;
	*ret_n = n;
	return 0;
nomem:
	pod_list_free(list, n);
	return err_set(err, ENOMEM, "list pods: out of memory");
}

void pod_list_free(struct pod_entry *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pod_entry_fini(&list[i]);
	free(list);
}

/* How well an entry fits what was asked for: 0 not at all; a name or whole id beats the beginning of an id, alive beats finished. */
static int match_rank(const struct pod_entry *e, const char *what)
{
	if (str_eq(e->id, what) || str_eq(pod_state_text(e, "name"), what) ||
		str_eq(pod_state_text(e, "containerd.id"), what))
		return e->alive ? 4 : 3;
	if (str_has_prefix(e->id, what) || str_has_prefix(pod_state_text(e, "containerd.id"), what))
		return e->alive ? 2 : 1;
	return 0;
}

int pod_find(struct pod_entry *ret, const char *name_or_id, struct err *err)
{
	struct pod_entry *list = NULL;
	size_t n = 0, best_at = 0, same = 0;
	int r, best = 0;

	if (!*name_or_id)
		return err_set(err, EINVAL, "the name of the pod is empty");
	r = pod_list(&list, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		int rank = match_rank(&list[i], name_or_id);

		if (rank > best) {
			best = rank;
			same = 0;
		}
		if (rank && rank == best) {
			best_at = i;
			same++;
		}
	}
	if (!best) {
		r = err_set(err, ENOENT, "no pod '%.64s'; 'podvm ps -a' lists what there is", name_or_id);
	} else if (same > 1 && best != 3) {
		r = err_set(err, ENOTUNIQ, "'%.64s' means %zu pods; use a longer id ('podvm ps -a')", name_or_id, same);
	} else {
		*ret = list[best_at];
		list[best_at].state = NULL;
	}
	pod_list_free(list, n);
	return r;
}

/* ---- processes ---- */

long long pod_process_start(pid_t pid)
{
	return (long long)proc_stat(pid, 22);
}

int pod_process_open(pid_t pid, long long ticks)
{
	auto_close int fd = -1;

	if (pid <= 1)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, pid, 0u);
	if (fd < 0 || pod_process_start(pid) != ticks)
		return -1;
	return take_fd(&fd);
}

int pod_signal(const struct pod_entry *e, int signo, struct err *err)
{
	pid_t pid = (pid_t)pod_state_number(e, "pid");
	auto_close int fd = pod_process_open(pid, pod_state_number(e, "startTicks"));

	/* The lock says whether the supervisor lives; the start time says that the pid is still its own. */
	if (fd < 0 || !pod_alive(e->id))
		return err_set(err, ESRCH, "pod %s is not running", e->id);
	if (syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0u) < 0)
		return err_errno(err, "signal the supervisor of pod %s", e->id);
	return 0;
}

int pod_wait(const struct pod_entry *e, unsigned timeout_ms, struct err *err)
{
	auto_close int fd = pod_process_open((pid_t)pod_state_number(e, "pid"), pod_state_number(e, "startTicks"));
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;

	if (fd < 0)
		return 0;
	do
		n = poll(&p, 1, timeout_ms > 86400000 ? -1 : (int)timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, "wait for pod %s", e->id);
	return n == 0;
}

/* ---- the guest ---- */

int pod_connect(const struct pod_entry *e, unsigned port, unsigned timeout_ms, int *ret_fd, struct err *err)
{
	char path[PATH_LEN];
	int r = pod_run_path(path, e->id, "vsock.sock", err);

	if (r == 0)
		r = hvsock_connect(path, port, timeout_ms, ret_fd, err);
	return r < 0 ? err_wrap(err, "pod %s", e->id) : 0;
}

int pod_attach(
	const struct pod_entry *e, const char *container_id, const char *exec_id, int fd, int *ret_fd, struct err *err)
{
	struct stream_header h = {.kind = STREAM_STDIO, .fd = (uint8_t)fd};
	char path[PATH_LEN];
	int r = pod_run_path(path, e->id, "vsock.sock", err);

	if (!str_copy(h.container, sizeof(h.container), container_id) || !str_copy(h.exec, sizeof(h.exec), exec_id))
		return err_set(err, EINVAL, "the id of a container or exec is longer than %d bytes", STREAM_ID_MAX);
	if (r == 0)
		r = hvsock_attach(path, &h, 10000, ret_fd, err);
	return r < 0 ? err_wrap(err, "pod %s", e->id) : 0;
}
