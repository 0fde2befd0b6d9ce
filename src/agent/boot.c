/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot counts every system call: under emulation one mount costs about as much as a context switch of a program that was
 * never run before. Nothing here forks.
 *
 * The root. A container must be able to pivot_root(2), which the kernel's first mount refuses. So the root is bound over
 * itself: the copy is an ordinary mount. It is made read-only, for two reasons: no container that finds its way to it can
 * change /usr/bin/crun, and crun, which else copies itself at every start so that a container cannot overwrite it through
 * /proc/self/exe, sees a read-only mount and does not have to (true on ramfs: rootfstype=ramfs on the kernel's command
 * line; on tmpfs crun copies all the same). What lies below the copy is the same initramfs, writable: whoever gets there
 * has CAP_SYS_ADMIN in the first user namespace, and with it the whole guest anyway. The border of a pod is its VM.
 */
#include "agent/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "agent/modules.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "rpc/console.h"
#include "rpc/stream.h"

#define SECURE (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define BACKLOG 1024 /* the kernel resets what comes when it is full: more than streams and connections there may be */
#define CONTROLLERS_MAX 512

struct boot_mount {
	const char *target, *type;
	unsigned long flags;
	const char *data;
};

/* /dev comes first: with it there is a console. */
static const struct boot_mount mounts[] = {
	{"/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
	{"/proc", "proc", SECURE, NULL},
	{"/sys", "sysfs", SECURE, NULL},
	{"/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/mqueue", "mqueue", SECURE, NULL},
	{"/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
	{CGROUP_DIR, "cgroup2", SECURE, "favordynmods"},
};

/* Everything below RUN_DIR is the agent's; containers get single folders of it by their spec. */
static const char *const run_dirs[] = {RUN_DIR, SHARED_DIR, VOLUMES_DIR, SHM_DIR, CONTAINERS_DIR};

static int mount_one(const struct boot_mount *m, struct err *err)
{
	if (mkdir(m->target, 0755) < 0 && errno != EEXIST)
		return err_errno(err, "make folder '%s'", m->target);
	if (mount(m->type, m->target, m->type, m->flags, m->data) == 0 || errno == EBUSY)
		return 0;
	/* favordynmods (Linux 6.0) spares a grace period of RCU for every process that joins a cgroup. */
	if (errno == EINVAL && str_eq(m->type, "cgroup2") && mount(m->type, m->target, m->type, m->flags, NULL) == 0)
		return 0;
	return err_errno(err, "mount %s on '%s'", m->type, m->target);
}

/* 0, 1 and 2 are open from here on, so that nothing else can land there. */
static void hold_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 3);
	close_fd(&fd);
}

int boot_mounts(struct err *err)
{
	struct rlimit files = {.rlim_cur = 65536, .rlim_max = 1048576};
	int r = 0;

	(void)umask(022);
	for (size_t i = 0; i < ARRAY_SIZE(mounts) && r == 0; i++)
		r = mount_one(&mounts[i], err);
	if (r < 0)
		return r;
	hold_stdio();
	/* The usual names; without them containers that share /dev would miss them. */
	if (symlink("/proc/self/fd", "/dev/fd") < 0 && errno != EEXIST)
		log_warn("no /dev/fd, ignoring");
	for (size_t i = 0; i < ARRAY_SIZE(run_dirs); i++)
		if (mkdir(run_dirs[i], i < 1 ? 0700 : 0755) < 0 && errno != EEXIST)
			return err_errno(err, "make folder '%s'", run_dirs[i]);
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(err, "limit of open files");
	return 0;
}

/* "cpu io memory" becomes "+cpu +io +memory"; false when it does not fit. */
static bool all_of(char *dst, size_t size, char *list)
{
	size_t n = 0;

	for (char *save = NULL, *c = strtok_r(list, " \n", &save); c; c = strtok_r(NULL, " \n", &save)) {
		int len = snprintf(dst + n, size - n, "+%s ", c);

		if (len < 0 || (size_t)len >= size - n)
			return false;
		n += (size_t)len;
	}
	dst[n] = '\0';
	return true;
}

static int write_at(int dirfd, const char *name, const char *text, struct err *err)
{
	auto_close int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, "open '%s'", name);
	if (write(fd, text, strlen(text)) < 0)
		return err_errno(err, "write '%.60s' to '%s'", text, name);
	return 0;
}

int boot_cgroups(int *ret_fd, struct err *err)
{
	auto_close int root = open(CGROUP_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_free char *list = NULL;
	char enable[CONTROLLERS_MAX];
	int fd, r;

	if (root < 0)
		return err_errno(err, "open '%s'", CGROUP_DIR);
	if (mkdirat(root, "agent", 0755) < 0 || mkdirat(root, PODS_CGROUP, 0755) < 0)
		return err_errno(err, "make cgroups");
	r = write_at(root, "agent/cgroup.procs", "0", err);
	if (r == 0)
		r = file_read(root, "cgroup.controllers", CONTROLLERS_MAX / 2, &list, NULL, err);
	if (r < 0)
		return r;
	if (!all_of(enable, sizeof(enable), list))
		return err_set(err, EFBIG, "cgroup.controllers is too long");
	r = write_at(root, "cgroup.subtree_control", enable, err);
	if (r == 0)
		r = write_at(root, PODS_CGROUP "/cgroup.subtree_control", enable, err);
	if (r < 0)
		return r;
	fd = openat(root, PODS_CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open cgroup '%s'", PODS_CGROUP);
	*ret_fd = fd;
	return 0;
}

/* Each connection that it accepts has a buffer of `buffer` bytes (0: the kernel's usual one). */
static int listen_on(unsigned port, uint64_t buffer, int *ret, struct err *err)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	auto_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(err, "vsock socket");
	if (buffer && (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &buffer, sizeof(buffer)) < 0 ||
			      setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &buffer, sizeof(buffer)) < 0))
		return err_errno(err, "vsock port %u: set the size of its buffers", port);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, "bind vsock port %u", port);
	if (listen(fd, BACKLOG) < 0)
		return err_errno(err, "listen on vsock port %u", port);
	*ret = take_fd(&fd);
	return 0;
}

/*
 * A driver that was there before us has refused the host's first connection. Any request of ours makes the device try
 * again (src/virtio/vsock.c); its answer does not matter.
 */
static void ring(void)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = AGENT_PORT};
	auto_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno != EINPROGRESS))
		log_error("vsock: cannot reach the host: %s", strerror(errno));
}

int boot_vsock(struct agent *a, struct err *err)
{
	struct modules m = {0};
	unsigned n;
	int r = modules_open(&m, MODULES_DIR, err);

	if (r < 0)
		return r;
	n = modules_load_stage(&m, MODULES_DIR);
	r = listen_on(AGENT_PORT, 0, &a->rpc_fd, err);
	if (r == 0)
		r = listen_on(STREAM_PORT, STREAM_SOCKET_BUFFER, &a->stream_fd, err);
	if (r == 0)
		n += modules_load_stage(&m, MODULES_DIR);
	if (r == 0 && n == 0)
		ring();
	log_debug("%u modules loaded", n);
	modules_close(&m);
	return r;
}

int boot_timer_arm(int *ret_fd, struct err *err)
{
	/* Over before the rest of the boot is, so that a timer that works is not waited for. */
	const struct itimerspec in = {.it_value.tv_nsec = 100000};
	auto_close int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, 0, &in, NULL) < 0)
		return err_errno(err, "timer");
	*ret_fd = take_fd(&fd);
	return 0;
}

int boot_timer_check(int *fd, struct err *err)
{
	uint64_t deadline = time_mono_ns() + BOOT_TIMER_WAIT_MS * NS_PER_MS, n;
	auto_close int timer = take_fd(fd);

	/* Nothing that sleeps: it is the sleeping that may not end. */
	while (read(timer, &n, sizeof(n)) < 0) {
		if (time_mono_ns() > deadline)
			return err_set(err, EIO, GUEST_NO_TIMER);
		(void)sched_yield();
	}
	return 0;
}

int boot_root(int *ret_initramfs, struct err *err)
{
	auto_close int initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (initramfs < 0)
		return err_errno(err, "open the root");
	if (mount("/", "/tmp", NULL, MS_BIND, NULL) < 0)
		return err_errno(err, "bind the root");
	if (mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV, NULL) < 0)
		return err_errno(err, "make the root read-only");
	if (chdir("/tmp") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return err_errno(err, "move the root");
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_errno(err, "enter the new root");
	*ret_initramfs = take_fd(&initramfs);
	return 0;
}

void boot_free_modules(int *initramfs)
{
	auto_close int dir = openat(*initramfs, "lib/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0)
		(void)dir_remove_all(dir, "podvm", NULL);
	close_fd(initramfs);
}

bool boot_option(const char *cmdline, const char *key, char *dst, size_t size)
{
	size_t len = strlen(key);

	for (const char *p = cmdline; *p; p += strcspn(p, " \n"), p += strspn(p, " \n"))
		if (strncmp(p, key, len) == 0 && p[len] == '=') {
			size_t n = strcspn(p + len + 1, " \n");

			if (n >= size)
				return false;
			memcpy(dst, p + len + 1, n);
			dst[n] = '\0';
			return true;
		}
	return false;
}
