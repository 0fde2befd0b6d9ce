/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm debug: one archive with what a report about a pod needs. What other commands tell is taken from them; of the host's
 * processes comes what procfs says, of their cgroups what is in their files.
 *
 * The files are collected in a tmpfs that is mounted nowhere: it goes with its descriptor, however this process ends. A part that cannot
 * be had has the reason in its place: what does not work is what a report is about.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/spawn.h"
#include "cli/cmd.h"
#include "cli/pods.h"

#define PART_TIMEOUT_MS 30000
#define TAR_TIMEOUT_MS 120000
#define FILE_MAX_BYTES (1u << 20)
#define CGROUPS_MAX 16u
#define CGROUP_FILES_MAX 200u
#define THREADS_MAX 200u
#define EXPLAIN_WAIT_MS 500
#define ROOM "512m" /* a guest fills the log */

static int open_room(int *ret, struct err *err)
{
	auto_close int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0 ||
		fsconfig(fs, FSCONFIG_SET_STRING, "size", ROOM, 0) < 0 ||
		fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, "a tmpfs for the files");
	*ret = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return *ret < 0 ? err_errno(err, "a tmpfs for the files") : 0;
}

/* ---- parts ---- */

static int open_part(int dir, const char *name)
{
	return openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void put(int dir, const char *name, const char *fmt, ...) printf_like(3, 4);

static void put(int dir, const char *name, const char *fmt, ...)
{
	auto_close int fd = open_part(dir, name);
	va_list ap;

	va_start(ap, fmt);
	if (fd >= 0)
		(void)vdprintf(fd, fmt, ap);
	va_end(ap);
}

static int make_folder(int dir, const char *name)
{
	(void)mkdirat(dir, name, 0700);
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Runs it to its end, with descriptors of ours. Its exit status; -ETIMEDOUT: it was killed; else it could not be started. */
static int run_program(const struct spawn *sp, int timeout_ms, struct err *err)
{
	struct pollfd p = {.fd = -1, .events = POLLIN};
	pid_t pid;
	int r = spawn_start(sp, &pid, &p.fd, err);

	if (r < 0)
		return r;
	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r > 0) {
		r = spawn_wait(p.fd);
		close_fd(&p.fd);
		return r < 0 ? err_set(err, -r, "wait for '%s'", sp->argv[0]) : r;
	}
	spawn_kill(&p.fd);
	return err_set(err, ETIMEDOUT, "'%s' did not end within %d s", sp->argv[0], timeout_ms / 1000);
}

/* What a program says, errors too, into a part. */
static void put_output(int dir, const char *name, const char *const *argv)
{
	auto_close int fd = open_part(dir, name);
	struct err err = {0};
	struct spawn sp = {
		.file = argv[0], .argv = argv, .search_path = true, .envp = (const char *const *)environ, .n_fds = 2};

	if (fd < 0)
		return;
	sp.fds[0] = (struct spawn_fd){fd, STDOUT_FILENO};
	sp.fds[1] = (struct spawn_fd){fd, STDERR_FILENO};
	if (run_program(&sp, PART_TIMEOUT_MS, &err) < 0)
		(void)dprintf(fd, "%s\n", err.msg);
}

/* A small file of procfs or a cgroup; `dir` relative to `from`. */
static void put_file(int dir, const char *name, int from, const char *path)
{
	auto_close int fd = open_part(dir, name);
	auto_free char *text = NULL;
	struct err err = {0};
	size_t n;

	if (fd < 0)
		return;
	if (file_read(from, path, FILE_MAX_BYTES, &text, &n, &err) < 0)
		(void)dprintf(fd, "%s\n", err.msg);
	else
		(void)!fd_write_all(fd, text, n);
}

/* ---- processes ---- */

static void put_descriptors(int dir, int proc)
{
	auto_close int out = open_part(dir, "fds");
	int fds = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fds < 0 ? NULL : fdopendir(fds);
	const struct dirent *de;

	if (!list)
		close_fd(&fds);
	while (out >= 0 && list && (de = readdir(list)) != NULL) {
		char to[512];
		ssize_t n = readlinkat(fds, de->d_name, to, sizeof(to) - 1);

		if (n >= 0)
			(void)dprintf(out, "%s -> %.*s\n", de->d_name, (int)n, to);
	}
	if (list)
		(void)closedir(list);
}

/* What each thread waits for: of a process that hangs the first question. */
static void put_threads(int dir, int proc)
{
	static const char *const what[] = {"comm", "wchan", "syscall", "stack"};
	auto_close int out = open_part(dir, "threads");
	int tasks = openat(proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = tasks < 0 ? NULL : fdopendir(tasks);
	const struct dirent *de;

	if (!list)
		close_fd(&tasks);
	for (unsigned n = 0; out >= 0 && list && n < THREADS_MAX && (de = readdir(list)) != NULL; n++) {
		if (de->d_name[0] == '.')
			continue;
		(void)dprintf(out, "== thread %s\n", de->d_name);
		for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
			auto_free char *text = NULL;
			char path[300];

			(void)snprintf(path, sizeof(path), "%s/%s", de->d_name, what[i]);
			if (file_read(tasks, path, FILE_MAX_BYTES, &text, NULL, NULL) == 0)
				(void)dprintf(out, "%s: %s%s", what[i], text, strchr(text, '\n') ? "" : "\n");
		}
	}
	if (list)
		(void)closedir(list);
}

static void put_process(int dir, const char *name, pid_t pid)
{
	static const char *const files[] = {
		"status", "limits", "mountinfo", "cgroup", "io", "smaps_rollup", "sched", "uid_map"};
	auto_close int proc = -1, folder = -1;
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder = make_folder(dir, name);
	if (proc < 0 || folder < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		put_file(folder, files[i], proc, files[i]);
	put_file(folder, "cmdline", proc, "cmdline");
	put_descriptors(folder, proc);
	put_threads(folder, proc);
}

static void put_processes(int dir, const struct pod_entry *e)
{
	struct host_process p[HOST_PROCESSES_MAX];
	auto_close int folder = make_folder(dir, "processes");
	unsigned n = folder < 0 ? 0 : pod_host_processes(e, p);

	for (unsigned i = 0; i < n; i++)
		put_process(folder, p[i].name, p[i].pid);
}

/* ---- cgroups, network ---- */

static void put_cgroup(int dir, const char *path)
{
	auto_close int out = open_part(dir, "cgroups.txt");
	int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = at < 0 ? NULL : fdopendir(at);
	const struct dirent *de;
	unsigned n = 0;

	if (!list)
		close_fd(&at);
	if (out >= 0)
		(void)dprintf(out, "== %s%s\n", path, list ? "" : ": it is gone");
	while (out >= 0 && list && n < CGROUP_FILES_MAX && (de = readdir(list)) != NULL) {
		auto_free char *text = NULL;

		if (de->d_type != DT_REG || file_read(at, de->d_name, FILE_MAX_BYTES, &text, NULL, NULL) < 0)
			continue;
		(void)dprintf(out, "%s:%s%s", de->d_name, strchr(text, '\n') == strrchr(text, '\n') ? " " : "\n", text);
		n++;
	}
	if (list)
		(void)closedir(list);
}

static void put_cgroups(int dir, const struct pod_entry *e)
{
	const json_t *list = json_object_get(e->state, "cgroups");

	for (size_t i = 0; i < MIN_OF(json_array_size(list), (size_t)CGROUPS_MAX); i++)
		if (json_is_string(json_array_get(list, i)))
			put_cgroup(dir, json_string_value(json_array_get(list, i)));
}

static void put_network(int dir, const struct pod_entry *e)
{
	char netns[PATH_LEN + 8];
	const char *const addresses[] = {"nsenter", netns, "ip", "-details", "-statistics", "address", NULL};
	const char *const routes[] = {"nsenter", netns, "ip", "route", "show", "table", "all", NULL};
	const char *const filters[] = {"nsenter", netns, "tc", "-statistics", "qdisc", NULL};

	if (!*pod_state_text(e, "netns"))
		return;
	(void)snprintf(netns, sizeof(netns), "--net=%s", pod_state_text(e, "netns"));
	put_output(dir, "network.txt", addresses);
	put_output(dir, "network.txt", routes);
	put_output(dir, "network.txt", filters);
}

/* ---- the archive ---- */

/* Our own monitor tells its counters into the pod's log when asked; a process that would die of the signal is not asked. */
static void ask_monitor(int dir, const struct pod_entry *e)
{
	const struct timespec wait = {.tv_nsec = EXPLAIN_WAIT_MS * 1000000L};
	struct host_process p[HOST_PROCESSES_MAX];
	unsigned n = str_eq(pod_state_text(e, "vm.driver"), "vmm") ? pod_host_processes(e, p) : 0;

	for (unsigned i = 0; i < n; i++) {
		auto_free char *text = NULL;
		const char *blocked;
		char path[64];

		(void)snprintf(path, sizeof(path), "/proc/%d/status", p[i].pid);
		if (!str_eq(p[i].name, "vmm") || file_read(AT_FDCWD, path, FILE_MAX_BYTES, &text, NULL, NULL) < 0)
			continue;
		blocked = strstr(text, "\nSigBlk:");
		if (!blocked || !(strtoull(blocked + strlen("\nSigBlk:"), NULL, 16) & UINT64_C(1) << (SIGUSR1 - 1)))
			put(dir, "about.txt", "The monitor does not take SIGUSR1; its counters are missing.\n");
		else if (kill(p[i].pid, SIGUSR1) == 0)
			(void)nanosleep(&wait, NULL);
	}
}

static void collect(int dir, const struct pod_entry *e)
{
	static const char self[] = "/proc/self/exe";
	const char *const version[] = {self, "version", NULL}, *const check[] = {self, "check", NULL};
	const char *const inspect[] = {self, "inspect", e->id, NULL};
	const char *const stats[] = {self, "stats", "--no-stream", "--json", e->id, NULL};
	const char *const logs[] = {self, "logs", "--all", "--timestamps", e->id, NULL};
	const char *const host[] = {"uname", "-a", NULL}, *const qemu[] = {"qemu-system-x86_64", "--version", NULL};
	const char *const containerd[] = {"containerd", "--version", NULL};
	char now[31];

	time_format(now, time_real_ns());
	put(dir, "about.txt",
		"Pod %s (%s), collected at %s. The log holds what the containers wrote; environment, Secrets and "
		"ConfigMaps are not "
		"in here.\n",
		pod_state_text(e, "name"), e->id, now);
	if (e->alive)
		ask_monitor(dir, e);
	put_output(dir, "log.txt", logs);
	put_output(dir, "pod.json", inspect);
	put_output(dir, "versions.txt", version);
	put_output(dir, "versions.txt", host);
	put_output(dir, "versions.txt", qemu);
	if (json_object_get(e->state, "containerd"))
		put_output(dir, "versions.txt", containerd);
	put_output(dir, "check.txt", check);
	if (!e->alive)
		return;
	put_output(dir, "stats.json", stats);
	put_processes(dir, e);
	put_cgroups(dir, e);
	put_network(dir, e);
}

static int pack(int room, const char *name, int out, struct err *err)
{
	const char *const argv[] = {"tar", "-C", "/proc/self/fd/3", "-czf", "-", "--", name, NULL};
	struct spawn sp = {.file = argv[0], .argv = argv, .search_path = true, .n_fds = 3};
	int r;

	sp.fds[0] = (struct spawn_fd){out, STDOUT_FILENO};
	sp.fds[1] = (struct spawn_fd){STDERR_FILENO, STDERR_FILENO};
	sp.fds[2] = (struct spawn_fd){room, 3};
	r = run_program(&sp, TAR_TIMEOUT_MS, err);
	return r > 0 ? err_set(err, EIO, "tar could not write the archive") : r;
}

/* The archive is only for who made it: a new file. */
static int open_archive(const char *path, int *ret, struct err *err)
{
	if (str_eq(path, "-")) {
		if (isatty(STDOUT_FILENO))
			return err_set(err, EINVAL, "an archive is not for a terminal: write 'podvm debug -o FILE'");
		*ret = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		*ret = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	return *ret < 0 ? err_errno(err, "archive '%s'", path) : 0;
}

static int debug_pod(const char *what, const char *path, struct err *err)
{
	auto_pod_entry struct pod_entry e = {0};
	auto_close int room = -1, dir = -1, out = -1;
	char name[64], file[80];
	int r = pod_find(&e, what, err);

	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "podvm-debug-%s", e.id);
	(void)snprintf(file, sizeof(file), "%s.tar.gz", name);
	path = path ?: file;
	r = open_archive(path, &out, err);
	if (r < 0)
		return r;
	r = open_room(&room, err);
	if (r == 0) {
		dir = make_folder(room, name);
		r = dir < 0 ? err_errno(err, "a folder for the files") : 0;
	}
	if (r == 0) {
		collect(dir, &e);
		r = pack(room, name, out, err);
	}
	if (str_eq(path, "-"))
		return r;
	if (r < 0)
		(void)unlink(path);
	else
		(void)printf("%s\n", path);
	return r;
}

static int debug_run(const struct cmd *cmd, int argc, char **argv)
{
	const char *path = NULL;
	struct err err = {0};
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o != 'o')
			return EXIT_USAGE;
		path = optarg;
	}
	if (argc != optind + 1)
		return cmd_usage(cmd, "give the name or id of one pod");
	if (debug_pod(argv[optind], path, &err) < 0)
		return cmd_fail(&err);
	return cmd_flush();
}

const struct cmd cmd_debug = {
	.name = "debug",
	.args = "POD",
	.summary = "collect what a report about a pod needs, in one archive",
	.description = "Writes podvm-debug-ID.tar.gz into the current folder, readable by its owner only, and prints "
		       "its name. In it: the pod's "
		       "timeline (podvm, VM, console, agent, containers), what 'podvm inspect', 'stats' and 'check' "
		       "tell, versions, and, while "
		       "the pod runs, its processes on the host (status, limits, mounts, descriptors, what each thread "
		       "waits for), their cgroups, "
		       "the interfaces in its network namespace, and on our own monitor the counters of its "
		       "devices.\n\nWhat cannot be had "
		       "has the reason in its place, so that it also works with a guest that hangs. The log holds what "
		       "the containers wrote; "
		       "environment variables, Secrets and ConfigMaps are not collected.",
	.examples = "podvm debug web\twrites podvm-debug-0123456789ab.tar.gz\n"
		    "podvm debug -o - web | tar -tzv\tshow what would be in it\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"output", 'o', "FILE", "the archive, which must not exist; '-' for standard output"}},
	.run = debug_run,
};
