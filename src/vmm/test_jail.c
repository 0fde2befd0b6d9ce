/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every test runs a child in the jail, which tries things and reports in shared memory. Most run without the seccomp filter, so
 * that each of the other walls is seen to hold alone; the filter has tests of its own, where a call kills. Needs root.
 *
 * Built twice: as it is, and with SECCOMP_MUSL and the filters for musl, which must be those of podvm-vmm. Usage: test_jail [PODVM_VMM]
 */
#include "vmm/jail.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#ifdef SECCOMP_MUSL
#include <linux/filter.h>

#include "seccomp_filters.h"
#endif

#define REPORTS 32

#define KIND(k) (1u << JAIL_##k)
#define ALL_KINDS ((1u << JAIL_KINDS) - 1)
#define FILES (KIND(FS) | KIND(VM_FS))
#define NO_FILES (ALL_KINDS & ~FILES)

static const char *const namespaces[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};

/* What a child found, for the parent to judge: results of calls (0 or -errno), in order. */
struct report {
	unsigned n;
	struct {
		const char *what;
		int got, want;
	} entry[REPORTS];
	struct err err;
};

struct room {
	char root[64]; /* the shared folder, on a shared mount of its own */
	struct report *report;
	int kind; /* of the last jail, for messages */
	ino_t host[ARRAY_SIZE(namespaces)];
	int to_child[2], to_parent[2];
	uint16_t tcp_port; /* of a listener in the host's network */
	int tcp, abstract;
	char abstract_name[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void note(struct room *room, const char *what, int got, int want)
{
	struct report *rp = room->report;

	rp->entry[rp->n].what = what;
	rp->entry[rp->n].got = got < 0 ? -errno : got;
	rp->entry[rp->n].want = want;
	rp->n++;
}

static int setup(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = ""};
	socklen_t len = sizeof(in);
	struct room *room = calloc(1, sizeof(*room));

	assert_non_null(room);
	memcpy(room->root, "/tmp/podvm-test-jail-XXXXXX", 28);
	assert_non_null(mkdtemp(room->root));
	assert_int_equal(mount(room->root, room->root, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, room->root, NULL, MS_SHARED, NULL), 0);
	room->report = mmap(NULL, sizeof(*room->report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(room->report, MAP_FAILED);
	assert_int_equal(pipe2(room->to_child, O_CLOEXEC), 0);
	assert_int_equal(pipe2(room->to_parent, O_CLOEXEC), 0);
	room->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(room->tcp, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(room->tcp, 1), 0);
	assert_int_equal(getsockname(room->tcp, (struct sockaddr *)&in, &len), 0);
	room->tcp_port = in.sin_port;
	room->abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "podvm-test-jail-%d", (int)getpid());
	memcpy(room->abstract_name, un.sun_path, sizeof(un.sun_path));
	assert_int_equal(bind(room->abstract, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(room->abstract, 1), 0);
	*state = room;
	return 0;
}

static int teardown(void **state)
{
	struct room *room = *state;

	close(room->tcp);
	close(room->abstract);
	for (int i = 0; i < 2; i++) {
		close(room->to_child[i]);
		close(room->to_parent[i]);
	}
	(void)umount2(room->root, MNT_DETACH);
	(void)dir_remove_all(AT_FDCWD, room->root, NULL);
	(void)munmap(room->report, sizeof(*room->report));
	free(room);
	return 0;
}

/* fork(2) into a PID namespace of its own; the child dies with us. */
static pid_t fork_namespace(int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_NEWPID | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return pid;
}

/* The wait status of a child, or -1: it hung and was killed. */
static int wait_child(pid_t pid, int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int status, n = poll(&p, 1, 60000);

	if (n != 1)
		(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pidfd);
	return n == 1 ? status : -1;
}

/* So that there is something to take away: a group, limits, a parent whose death would not matter. 0 or -1. */
static int have_too_much(void)
{
	static const int limits[] = {RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE};
	const gid_t group = 4321;
	struct rlimit rl = {4096, 4096};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (setrlimit(limits[i], &rl) < 0)
			return -1;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return -1;
	rl.rlim_cur = rl.rlim_max - 1;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		return -1;
	/* The bare system call: glibc's would look for other threads to tell. */
	return syscall(SYS_setgroups, 1, &group) < 0 ? -1 : prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

typedef void child_fn(struct room *room, struct jail *jail);

/* Runs `fn` as thread `kind` of a jail (JAIL_KINDS: entered, but no thread's rights dropped); returns the wait status. */
static int in_jail(struct room *room, enum jail_kind kind, enum jail_seccomp mode, child_fn *fn)
{
	struct jail jail = {-1, -1};
	bool landlock = false;
	int pidfd;
	pid_t pid = fork_namespace(&pidfd);

	assert_true(pid >= 0);
	room->kind = kind;
	if (pid == 0) {
		struct err *err = &room->report->err;

		if (have_too_much() < 0)
			_exit(100);
		if (jail_enter(room->root, &jail, err) < 0)
			_exit(101);
		if (kind < JAIL_KINDS && jail_thread(kind, mode, &landlock, err) < 0)
			_exit(102);
		/* The machine that tests run on has it; the program goes on without. */
		if (kind < JAIL_KINDS && !landlock)
			_exit(103);
		fn(room, &jail);
		_exit(0);
	}
	return wait_child(pid, pidfd);
}

static void check(struct room *room, int status)
{
	const struct report *rp = room->report;

	if (status != 0)
		fail_msg("kind %d: child ended with status 0x%x after %u steps: %s", room->kind, status, rp->n,
			rp->err.msg);
	assert_true(rp->n > 0);
	for (unsigned i = 0; i < rp->n; i++)
		if (rp->entry[i].got != rp->entry[i].want)
			fail_msg("kind %d: %s: %d (%s), not %d (%s)", room->kind, rp->entry[i].what, rp->entry[i].got,
				strerror(-rp->entry[i].got), rp->entry[i].want, strerror(-rp->entry[i].want));
}

/* `fn` as a thread of each of the kinds, without the filter. */
static void check_kinds(struct room *room, unsigned kinds, child_fn *fn)
{
	for (int kind = 0; kind < JAIL_KINDS; kind++)
		if (kinds >> kind & 1) {
			room->report->n = 0;
			check(room, in_jail(room, kind, JAIL_SECCOMP_OFF, fn));
		}
}

/* Opens and closes: 0 or -1 with errno. */
static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int try_openat(int dirfd, const char *path, int flags)
{
	int fd = openat(dirfd, path, flags | O_CLOEXEC);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* ---- files ---- */

static void no_files(struct room *room, struct jail *jail)
{
	note(room, "host file", try_open("/etc/passwd", O_RDONLY), -ENOENT);
	note(room, "shared file", try_open("/inside", O_RDONLY), -EACCES);
	note(room, "list root", try_open("/", O_RDONLY | O_DIRECTORY), -EACCES);
	note(room, "create", try_open("/new", O_WRONLY | O_CREAT), -EACCES);
	note(room, "own procfs", try_openat(jail->proc_fd, "../status", O_RDONLY), -EACCES);
}

static void other_threads_have_no_files(void **state)
{
	struct room *room = *state;
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/inside", room->root);
	assert_int_equal(try_open(path, O_WRONLY | O_CREAT), 0);
	check_kinds(room, NO_FILES, no_files);
}

static void files_of_an_fs_thread(struct room *room, struct jail *jail)
{
	char name[16];
	struct stat st;
	int fd;

	note(room, "shared file", try_open("/inside", O_RDWR), 0);
	note(room, "create", try_open("/new", O_WRONLY | O_CREAT), 0);
	note(room, "host file", try_open("/etc/passwd", O_RDONLY), -ENOENT);
	note(room, "up and out", try_open("/../../../../etc/passwd", O_RDONLY), -ENOENT);
	note(room, "absolute link", try_open("/link", O_RDONLY), -ENOENT);
	note(room, "/proc", try_open("/proc/self/status", O_RDONLY), -ENOENT);
	/* Owners are as on the host, for both to see. */
	note(room, "chown", chown("/new", 1234, 567890), 0);
	note(room, "stat", stat("/new", &st), 0);
	note(room, "owner", (int)st.st_uid, 1234);
	note(room, "owner of a host file", stat("/inside", &st) < 0 ? -1 : (int)st.st_uid, 4321);
	note(room, "read a file of mode 0", try_open("/inside", O_RDONLY), 0);
	(void)setfsuid(1000);
	note(room, "capabilities survive a change of the file system id", try_open("/inside", O_RDONLY), 0);
	note(room, "create as a user", try_open("/users", O_WRONLY | O_CREAT), 0);
	note(room, "whose it is", stat("/users", &st) < 0 ? -1 : (int)st.st_uid, 1000);
	(void)setfsuid(0);
	/* Not even root of the pod makes or runs what could reach the host. */
	note(room, "make fifo", mknod("/fifo", S_IFIFO | 0600, 0), 0);
	note(room, "make device", mknod("/dev", S_IFBLK | 0600, 0x100), -EACCES);
	note(room, "execute", execl("/inside", "inside", (char *)NULL), -EACCES);
	note(room, "mount", mount("none", "/", "tmpfs", 0, NULL), -EPERM);
	/* The door to our own descriptors leads nowhere else. */
	fd = open("/inside", O_PATH | O_CLOEXEC);
	(void)snprintf(name, sizeof(name), "%d", fd);
	note(room, "reopen", try_openat(jail->proc_fd, name, O_RDWR), 0);
	note(room, "sysctl by procfs", try_openat(jail->proc_fd, "../../sys/kernel/core_pattern", O_WRONLY), -ENOENT);
	note(room, "other process by procfs", try_openat(jail->proc_fd, "../../2", O_RDONLY), -ENOENT);
	note(room, "memory by procfs", try_openat(jail->proc_fd, "../mem", O_RDWR), -EACCES);
	/* For the next kind. */
	note(room, "remove", unlink("/new") < 0 || unlink("/users") < 0 || unlink("/fifo") < 0 ? -1 : 0, 0);
}

static void fs_threads_stay_below_their_root(void **state)
{
	struct room *room = *state;
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/inside", room->root);
	assert_int_equal(try_open(path, O_WRONLY | O_CREAT), 0);
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(chown(path, 4321, 4321), 0);
	(void)snprintf(path, sizeof(path), "%s/link", room->root);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	check_kinds(room, FILES, files_of_an_fs_thread);
}

/* What a right that Landlock has since `since` denies; an older kernel lets it through. */
static int denied(int error, long since, int otherwise)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < since ? otherwise
												      : -error;
}

/* Landlock as the only wall: the host's root in the host's namespaces, on mounts that permit everything. */
static void try_landlock(struct room *room, pid_t outside)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char path[100];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/volume/program", room->root);
	note(room, "create", try_open(path, O_RDWR | O_CREAT), 0);
	note(room, "make executable", chmod(path, 0755), 0);
	/* Empty: the kernel would find no program in it. */
	note(room, "execute", execl(path, "program", (char *)NULL), -EACCES);
	(void)snprintf(path, sizeof(path), "%s/volume/device", room->root);
	note(room, "make character device", mknod(path, S_IFCHR | 0600, 0x103), -EACCES);
	note(room, "make block device", mknod(path, S_IFBLK | 0600, 0xfe00), -EACCES);
	note(room, "make fifo", mknod(path, S_IFIFO | 0600, 0), 0);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	note(room, "open device", fd < 0 ? -1 : 0, 0);
	note(room, "ioctl of device", ioctl(fd, TCGETS, path), denied(EACCES, 5, -ENOTTY));
	memcpy(un.sun_path, room->abstract_name, sizeof(un.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	note(room, "abstract socket", connect(fd, (struct sockaddr *)&un, sizeof(un)), denied(EPERM, 6, 0));
	note(room, "signal", kill(outside, 0), denied(EPERM, 6, 0));
}

static void landlock_holds_alone(void **state)
{
	struct room *room = *state;
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/volume", room->root);
	assert_int_equal(mkdir(path, 0755), 0);
	for (int kind = 0; kind < JAIL_KINDS; kind++) {
		int pidfd, status;
		pid_t pid;

		if (!jail_has_files(kind))
			continue;
		assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
		room->kind = kind;
		room->report->n = 0;
		pid = fork_namespace(&pidfd);
		assert_true(pid >= 0);
		if (pid == 0) {
			/* Ends with this process, the first of the namespace. */
			pid_t outside = fork();

			if (outside == 0)
				for (;;)
					(void)pause();
			if (outside < 0 || landlock_apply(kind, &room->report->err) != 0)
				_exit(1);
			try_landlock(room, outside);
			_exit(0);
		}
		status = wait_child(pid, pidfd);
		(void)umount2(path, MNT_DETACH);
		check(room, status);
	}
}

static void wait_for_mount(struct room *room, struct jail *jail)
{
	char c;

	note(room, "before", try_open("/volume/file", O_RDONLY), -ENOENT);
	note(room, "ask", write(room->to_parent[1], "", 1) == 1 ? 0 : -1, 0);
	note(room, "told", read(room->to_child[0], &c, 1) == 1 ? 0 : -1, 0);
	note(room, "after", try_open("/volume/file", O_RDONLY), 0);
	/* The other direction is closed. */
	note(room, "own mount", mount("none", "/volume", "tmpfs", 0, NULL), -EPERM);
}

/* Plays the supervisor: when the child asks, mounts a volume below the shared folder. */
static void *supervise(void *arg)
{
	struct room *room = arg;
	char path[100], file[120], c;

	(void)snprintf(path, sizeof(path), "%s/volume", room->root);
	(void)snprintf(file, sizeof(file), "%s/file", path);
	if (read(room->to_parent[0], &c, 1) != 1)
		return NULL;
	if (mount("none", path, "tmpfs", 0, NULL) == 0)
		(void)try_open(file, O_WRONLY | O_CREAT);
	(void)!write(room->to_child[1], "", 1);
	return NULL;
}

static void later_mounts_appear(void **state)
{
	struct room *room = *state;
	pthread_t t;
	char path[100];
	int status;

	(void)snprintf(path, sizeof(path), "%s/volume", room->root);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(pthread_create(&t, NULL, supervise, room), 0);
	status = in_jail(room, JAIL_FS, JAIL_SECCOMP_OFF, wait_for_mount);
	/* If the child never asked, the thread still waits. */
	(void)!write(room->to_parent[1], "", 1);
	assert_int_equal(pthread_join(t, NULL), 0);
	(void)umount2(path, MNT_DETACH);
	check(room, status);
}

/* ---- processes, network, rights ---- */

static int count_processes(int proc_fd)
{
	int fd = openat(proc_fd, "../..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return -1;
	while ((e = readdir(dir)))
		n += e->d_name[0] >= '0' && e->d_name[0] <= '9';
	(void)closedir(dir);
	return n;
}

static void look_around(struct room *room, struct jail *jail)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = room->tcp_port};
	int fd;

	note(room, "own pid", getpid(), 1);
	note(room, "parent", getppid(), 0);
	note(room, "signal everybody", kill(-1, 0), -ESRCH);
	note(room, "signal process 2", kill(2, 0), -ESRCH);
	note(room, "trace", (int)ptrace(PTRACE_ATTACH, 2, NULL, NULL), -ESRCH);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	note(room, "host's loopback", connect(fd, (struct sockaddr *)&in, sizeof(in)), -EACCES);
	close(fd);
	note(room, "raw socket", socket(AF_INET, SOCK_RAW, 1), -EPERM);
	note(room, "other user", setresuid(1, 1, 1), -EPERM);
	note(room, "set clock", clock_settime(CLOCK_REALTIME, &(struct timespec){.tv_sec = 1}), -EPERM);
	note(room, "host name", sethostname("x", 1), -EPERM);
}

static void other_threads_are_alone(void **state)
{
	struct room *room = *state;

	check_kinds(room, NO_FILES, look_around);
}

/* The namespaces alone: root in them, but no capability dropped, no Landlock, no filter. */
static void break_out(struct room *room, struct jail *jail)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = room->tcp_port};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	note(room, "host file", try_open("/etc/passwd", O_RDONLY), -ENOENT);
	note(room, "make device", mknod("/dev", S_IFBLK | 0600, 0xfe00), -EPERM);
	note(room, "list by own procfs", count_processes(jail->proc_fd), 1);
	note(room, "sysctl by own procfs", try_openat(jail->proc_fd, "../../sys", O_RDONLY), -ENOENT);
	note(room, "mount procfs", mount("none", "/", "proc", 0, NULL), -EPERM);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	note(room, "host's loopback", connect(fd, (struct sockaddr *)&in, sizeof(in)), -ENETUNREACH);
	close(fd);
	memcpy(un.sun_path, room->abstract_name, sizeof(un.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	note(room, "host's abstract socket", connect(fd, (struct sockaddr *)&un, sizeof(un)), -ECONNREFUSED);
	close(fd);
	note(room, "signal everybody", kill(-1, 0), -ESRCH);
	note(room, "set clock", clock_settime(CLOCK_REALTIME, &(struct timespec){.tv_sec = 1}), -EPERM);
	note(room, "reboot", (int)syscall(SYS_reboot, 0, 0, 0, NULL), -EPERM);
}

static void namespaces_hold_alone(void **state)
{
	struct room *room = *state;

	check(room, in_jail(room, JAIL_KINDS, JAIL_SECCOMP_OFF, break_out));
}

static void compare_namespaces(struct room *room, struct jail *jail)
{
	struct stat st;
	char path[32];

	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		(void)snprintf(path, sizeof(path), "../ns/%s", namespaces[i]);
		note(room, namespaces[i],
			fstatat(jail->proc_fd, path, &st, 0) < 0 ? -1 : (int)(st.st_ino == room->host[i]), 0);
	}
}

static void namespaces_are_its_own(void **state)
{
	struct room *room = *state;
	struct stat st;
	char path[32];

	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", namespaces[i]);
		assert_int_equal(stat(path, &st), 0);
		room->host[i] = st.st_ino;
	}
	check(room, in_jail(room, JAIL_KINDS, JAIL_SECCOMP_OFF, compare_namespaces));
}

#define MOUNT_FLAGS (ST_NOSUID | ST_NODEV | ST_NOEXEC)

static int mount_flags(int dirfd, const char *path)
{
	auto_close int fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
	struct statvfs st;

	return fd < 0 || fstatvfs(fd, &st) < 0 ? -1 : (int)(st.f_flag & (MOUNT_FLAGS | ST_RDONLY));
}

static void look_at_mounts(struct room *room, struct jail *jail)
{
	note(room, "flags of the root", mount_flags(AT_FDCWD, "/"), MOUNT_FLAGS);
	note(room, "flags of a volume", mount_flags(AT_FDCWD, "/volume"), MOUNT_FLAGS);
	note(room, "flags of the procfs", mount_flags(jail->proc_fd, "."), MOUNT_FLAGS);
}

static void mounts_are_restricted(void **state)
{
	struct room *room = *state;
	char path[100];
	int status;

	/* Both permit everything, whatever the flags of /tmp. */
	assert_int_equal(mount(NULL, room->root, NULL, MS_REMOUNT | MS_BIND, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/volume", room->root);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
	status = in_jail(room, JAIL_KINDS, JAIL_SECCOMP_OFF, look_at_mounts);
	(void)umount2(path, MNT_DETACH);
	check(room, status);
}

/* 0: soft and hard limit are 0. */
static int limit(int what)
{
	struct rlimit rl;

	return getrlimit(what, &rl) < 0 ? -1 : rl.rlim_cur || rl.rlim_max;
}

static void look_at_rights(struct room *room, struct jail *jail)
{
	const int bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
			 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	struct rlimit rl = {0};
	int signal = 0;

	note(room, "new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	note(room, "dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	note(room, "death of the parent", prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0) < 0 ? -1 : signal, SIGKILL);
	note(room, "secure bits", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), bits);
	note(room, "groups", getgroups(0, NULL), 0);
	note(room, "core files", limit(RLIMIT_CORE), 0);
	note(room, "locked memory", limit(RLIMIT_MEMLOCK), 0);
	note(room, "message queues", limit(RLIMIT_MSGQUEUE), 0);
	note(room, "descriptors", getrlimit(RLIMIT_NOFILE, &rl) < 0 ? -1 : rl.rlim_cur == rl.rlim_max, 1);
}

static void no_thread_keeps_rights(void **state)
{
	check_kinds(*state, ALL_KINDS, look_at_rights);
}

static uint64_t effective_caps(void)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	(void)syscall(SYS_capget, &hdr, data);
	return data[0].effective | (uint64_t)data[1].effective << 32 | data[0].permitted |
	       (uint64_t)data[1].permitted << 32 | data[0].inheritable;
}

static void no_caps(struct room *room, struct jail *jail)
{
	note(room, "capabilities", effective_caps() ? 1 : 0, 0);
	note(room, "bounding set", prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0), 0);
}

static void fs_caps(struct room *room, struct jail *jail)
{
	const uint64_t want = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID |
			      1u << CAP_SETUID | 1u << CAP_SETGID | UINT64_C(1) << CAP_SETFCAP;

	note(room, "capabilities", effective_caps() == want, 1);
	note(room, "bounding set", prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0), 0);
}

static void capabilities_are_what_is_needed(void **state)
{
	struct room *room = *state;

	check_kinds(room, NO_FILES, no_caps);
	check_kinds(room, FILES, fs_caps);
}

/* ---- the filter ---- */

static void do_socket(struct room *room, struct jail *jail)
{
	(void)socket(AF_INET, SOCK_STREAM, 0);
}

static void do_unix_socket(struct room *room, struct jail *jail)
{
	(void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static void do_exec(struct room *room, struct jail *jail)
{
	(void)execl("/x", "x", (char *)NULL);
}

static void do_ptrace(struct room *room, struct jail *jail)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void do_kill(struct room *room, struct jail *jail)
{
	(void)kill(1, 0);
}

static void do_fork(struct room *room, struct jail *jail)
{
	(void)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void do_unshare(struct room *room, struct jail *jail)
{
	(void)unshare(CLONE_NEWUSER);
}

static void do_exec_memory(struct room *room, struct jail *jail)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_mprotect(struct room *room, struct jail *jail)
{
	(void)mprotect(room->report, 4096, PROT_READ | PROT_EXEC);
}

static void do_prctl(struct room *room, struct jail *jail)
{
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void do_open(struct room *room, struct jail *jail)
{
	(void)openat(AT_FDCWD, "/inside", O_RDONLY | O_CLOEXEC);
}

static void do_ioctl(struct room *room, struct jail *jail)
{
	(void)ioctl(0, TIOCSTI, "x");
}

static void do_setuid(struct room *room, struct jail *jail)
{
	(void)syscall(SYS_setresuid, 1, 1, 1);
}

static void do_mount(struct room *room, struct jail *jail)
{
	(void)mount("none", "/", "tmpfs", 0, NULL);
}

static void do_connect(struct room *room, struct jail *jail)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)connect(0, (struct sockaddr *)&un, sizeof(un));
}

static void do_io_uring(struct room *room, struct jail *jail)
{
	(void)syscall(SYS_io_uring_setup, 1, NULL);
}

static void do_int80(struct room *room, struct jail *jail)
{
	int r = 20; /* getpid of the 32-bit table, writev in ours */

	__asm__ volatile("int $0x80" : "+a"(r) : : "memory");
}

static void do_work(struct room *room, struct jail *jail)
{
	int pair[2];
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	note(room, "memory", p == MAP_FAILED ? -1 : 0, 0);
	note(room, "heap", malloc(100000) ? 0 : -1, 0);
	note(room, "write", write(room->to_child[1], "", 1) == 1 ? 0 : -1, 0);
	pair[0] = room->to_child[0];
	note(room, "flags", fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	note(room, "time", clock_gettime(CLOCK_MONOTONIC, &(struct timespec){0}), 0);
}

#define MACHINE_STEPS 4
#ifdef SECCOMP_MUSL
#define VCPU_STEPS 0 /* no memory */
#else
#define VCPU_STEPS MACHINE_STEPS
#endif

static void do_machine_work(struct room *room, struct jail *jail)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	note(room, "memory", p == MAP_FAILED ? -1 : 0, 0);
	note(room, "heap", malloc(100000) ? 0 : -1, 0);
	note(room, "write", write(room->to_child[1], "", 1) == 1 ? 0 : -1, 0);
	note(room, "time", clock_gettime(CLOCK_MONOTONIC, &(struct timespec){0}), 0);
}

static void unlisted_calls_kill(void **state)
{
	static const struct {
		const char *what;
		child_fn *fn;
		unsigned kinds; /* that must die */
	} table[] = {
		{"socket", do_socket, ALL_KINDS}, {"unix socket", do_unix_socket, ALL_KINDS},
		{"connect", do_connect, ALL_KINDS}, {"execve", do_exec, ALL_KINDS}, {"ptrace", do_ptrace, ALL_KINDS},
		{"kill", do_kill, ALL_KINDS}, {"fork", do_fork, ALL_KINDS}, {"unshare", do_unshare, ALL_KINDS},
		{"executable memory", do_exec_memory, ALL_KINDS}, {"mprotect to executable", do_mprotect, ALL_KINDS},
		{"prctl", do_prctl, ALL_KINDS}, {"mount", do_mount, ALL_KINDS}, {"io_uring", do_io_uring, ALL_KINDS},
		{"32-bit call", do_int80, ALL_KINDS}, {"terminal ioctl", do_ioctl, ALL_KINDS},
		{"setresuid", do_setuid, ALL_KINDS}, {"open", do_open, NO_FILES},
		{"ordinary work", do_work, KIND(VM_FS) | KIND(VCPU)},
		{"work of a machine", do_machine_work,
			KIND(VCPU)}, /* which does not end the process: dies when all is done */
	};
	struct room *room = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (int kind = 0; kind < JAIL_KINDS; kind++) {
			bool die = table[i].kinds >> kind & 1;
			int status;

			room->report->n = 0;
			status = in_jail(room, kind, JAIL_SECCOMP_KILL, table[i].fn);
			if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) != die)
				fail_msg("%s, kind %d: status 0x%x: %s", table[i].what, kind, status,
					room->report->err.msg);
			if (table[i].fn == do_machine_work)
				assert_int_equal(room->report->n, kind == JAIL_VCPU ? VCPU_STEPS : MACHINE_STEPS);
			if (room->report->n && !die)
				check(room, status);
		}
}

#ifdef SECCOMP_MUSL
static const char *program;

/* The filters that were tried are in podvm-vmm, byte for byte. */
static void podvm_vmm_has_these(void **state)
{
	static const struct {
		const char *name;
		const struct sock_filter *code;
		size_t size;
	} filters[] = {
		{"vsock", vsock_filter, sizeof(vsock_filter)},
		{"fs", fs_filter, sizeof(fs_filter)},
		{"devices", devices_filter, sizeof(devices_filter)},
		{"vm_fs", vm_fs_filter, sizeof(vm_fs_filter)},
		{"vcpu", vcpu_filter, sizeof(vcpu_filter)},
	};
	auto_close int fd = open(program, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *file;

	assert_int_equal(ARRAY_SIZE(filters), JAIL_KINDS);
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		if (!memmem(file, (size_t)st.st_size, filters[i].code, filters[i].size))
			fail_msg("%s has not the filter '%s'", program, filters[i].name);
	(void)munmap(file, (size_t)st.st_size);
}
#endif

static void log_mode_does_not_kill(void **state)
{
	struct room *room = *state;

	assert_int_equal(in_jail(room, JAIL_VSOCK, JAIL_SECCOMP_LOG, do_kill), 0);
}

static void *nothing(void *arg)
{
	return arg;
}

static void start_thread(struct room *room, struct jail *jail)
{
	pthread_t t;

	note(room, "thread", pthread_create(&t, NULL, nothing, NULL), 0);
	note(room, "its end", pthread_join(t, NULL), 0);
}

static void fs_thread_may_have_workers(void **state)
{
	struct room *room = *state;

	check(room, in_jail(room, JAIL_FS, JAIL_SECCOMP_KILL, start_thread));
}

/* ---- failures ---- */

static void refuses_without_a_pid_namespace(void **state)
{
	struct room *room = *state;
	struct jail jail = {-1, -1};
	struct err err = {0};

	assert_int_equal(jail_enter(room->root, &jail, &err), -EPERM);
	assert_int_equal(jail.root_fd, -1);
	assert_non_null(strstr(err.msg, "PID namespace"));
}

static void refuses_a_root_that_is_not_there(void **state)
{
	struct room *room = *state;
	struct report *rp = room->report;
	struct jail jail;
	int pidfd, status;
	pid_t pid = fork_namespace(&pidfd);

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(jail_enter("/nonexistent/folder", &jail, &rp->err) == -ENOENT ? 0 : 1);
	status = wait_child(pid, pidfd);
	assert_int_equal(status, 0);
	assert_non_null(strstr(rp->err.msg, "/nonexistent/folder"));
}

static void empty_root(void **state)
{
	struct room *room = *state;
	struct report *rp = room->report;
	struct jail jail;
	int pidfd, status;
	pid_t pid = fork_namespace(&pidfd);

	assert_true(pid >= 0);
	if (pid == 0) {
		if (jail_enter(NULL, &jail, &rp->err) < 0)
			_exit(1);
		if (try_open("/x", O_WRONLY | O_CREAT) == 0 || errno != EROFS)
			_exit(2);
		if (try_open("/etc", O_RDONLY) == 0)
			_exit(3);
		if (mount_flags(AT_FDCWD, "/") != (MOUNT_FLAGS | ST_RDONLY))
			_exit(4);
		_exit(0);
	}
	status = wait_child(pid, pidfd);
	if (status)
		fail_msg("status 0x%x: %s", status, rp->err.msg);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc unused_arg, char **argv unused_arg)
{
	const struct CMUnitTest tests[] = {
		TEST(other_threads_have_no_files),
		TEST(fs_threads_stay_below_their_root),
		TEST(landlock_holds_alone),
		TEST(later_mounts_appear),
		TEST(other_threads_are_alone),
		TEST(namespaces_hold_alone),
		TEST(namespaces_are_its_own),
		TEST(mounts_are_restricted),
		TEST(no_thread_keeps_rights),
		TEST(capabilities_are_what_is_needed),
#ifndef SANITIZED /* whose runtime makes calls of its own, which the filter kills */
		TEST(unlisted_calls_kill),
#ifndef SECCOMP_MUSL /* whose threads are not made as glibc's */
		TEST(fs_thread_may_have_workers),
#endif
#endif
		TEST(log_mode_does_not_kill),
		TEST(refuses_without_a_pid_namespace),
		TEST(refuses_a_root_that_is_not_there),
		TEST(empty_root),
#ifdef SECCOMP_MUSL
		TEST(podvm_vmm_has_these),
#endif
	};

#ifdef SECCOMP_MUSL
	if (argc != 2)
		return 2;
	program = argv[1];
#endif

	if (geteuid() != 0) {
		(void)fprintf(stderr, "needs root, skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
