/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who could get in: the guest, through a bug in a device. What it would hold then: a thread without capabilities and
 * without a file system (vsock), or one that may do anything to the pod's own shared folder (fs), which the guest may do
 * anyway; no network, no other process in sight, about 40 to 70 system calls, no way to run a program or to gain rights.
 *
 * The user namespace maps every id to itself. So files keep their owners and chown works, yet the capabilities are
 * worth nothing outside the namespace: no device nodes, no mounts of the host, no writing to /proc/sys.
 */
#include "vmm/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/libc.h"

#define MAP_ALL "0 0 4294967295"

#define CAP(n) (UINT64_C(1) << (n))
/* Files of any owner are created, changed and given away; set-id bits and file capabilities survive. Nothing else. */
#define FS_CAPS                                                                                                        \
	(CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_FOWNER) | CAP(CAP_FSETID) | CAP(CAP_SETUID) |                \
		CAP(CAP_SETGID) | CAP(CAP_SETFCAP))

/*
 * Step 1: a door to our own descriptors. There will be no /proc; the fs device reopens its O_PATH descriptors through
 * /proc/self/fd. A descriptor of the host's procfs would lead to all of it by "..", and this process is the same root to the
 * kernel that owns /proc/sys; so it is a procfs of its own: this PID namespace, nothing but processes. Made before step
 * 2, because the PID namespace belongs to the parent user namespace.
 */
static int open_own_proc(int *ret_fd, struct err *err)
{
	auto_close int fs = -1, mnt = -1;

	fs = fsopen("proc", FSOPEN_CLOEXEC);
	if (fs < 0)
		return err_errno(err, "jail: fsopen proc");
	if (fsconfig(fs, FSCONFIG_SET_STRING, "subset", "pid", 0) < 0 ||
		fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, "jail: procfs with subset=pid");
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (mnt < 0)
		return err_errno(err, "jail: fsmount proc");
	*ret_fd = openat(mnt, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_errno(err, "jail: /proc/self/fd") : 0;
}

static int write_map(int self_fd, const char *name)
{
	auto_close int fd = openat(self_fd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, MAP_ALL, strlen(MAP_ALL)) != (ssize_t)strlen(MAP_ALL))
		return errno ? errno : EIO;
	return 0;
}

/* The child of step 2: still in the parent user namespace, it waits for the other to be in the new one. Exits with an errno. */
static _Noreturn void mapper(int self_fd, int go_fd)
{
	char c;
	int r = EPIPE;

	if (read(go_fd, &c, 1) == 1) {
		r = write_map(self_fd, "uid_map");
		if (r == 0)
			r = write_map(self_fd, "gid_map");
	}
	_exit(r);
}

/*
 * Step 2: the user namespace. All ids can only be mapped by a process that is privileged in the parent namespace, and
 * unshare leaves that at once: so a child writes the maps. /proc/self is opened before, as "self" means the child in the
 * child.
 */
static int enter_user_namespace(struct err *err)
{
	auto_close int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int in = -1, out = -1;
	int pipefd[2], status = -1, r = 0;
	pid_t pid;

	if (self < 0)
		return err_errno(err, "jail: open /proc/self");
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(err, "jail: pipe");
	in = pipefd[0];
	out = pipefd[1];
	pid = fork();
	if (pid < 0)
		return err_errno(err, "jail: fork");
	if (pid == 0) {
		close_fd(&out);
		mapper(self, in);
	}
	if (unshare(CLONE_NEWUSER) < 0)
		r = err_errno(err, "jail: unshare user namespace");
	else if (write(out, "", 1) != 1)
		r = err_errno(err, "jail: pipe");
	close_fd(&out);
	if (waitpid(pid, &status, 0) != pid)
		return err_errno(err, "jail: wait");
	if (r == 0 && status != 0)
		r = err_set(err, WIFEXITED(status) ? WEXITSTATUS(status) : EIO, "jail: map user ids: %s",
			WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
	return r;
}

/*
 * Step 4: the shared folder becomes the root, the rest of the host's tree goes. Propagation is "slave": what the supervisor
 * mounts below the folder later (volumes of containers) appears here, provided that the folder lies on a shared mount;
 * nothing goes back. All mounts that are there now lose set-id bits, devices and execution.
 */
static int enter_root(const char *root, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};

	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(err, "jail: make mounts slaves");
	if (root && mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(err, "jail: bind '%s'", root);
	if (!root) {
		root = "/proc"; /* any folder will do for an empty root */
		attr.attr_set |= MOUNT_ATTR_RDONLY;
		if (mount("none", root, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=1") < 0)
			return err_errno(err, "jail: empty root");
	}
	if (chdir(root) < 0)
		return err_errno(err, "jail: enter '%s'", root);
	if (mount_setattr(AT_FDCWD, ".", AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return err_errno(err, "jail: restrict mounts");
	/* Both arguments the same: the old root ends up on top of the new one, and leaves from there. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(err, "jail: pivot_root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_errno(err, "jail: leave the old root");
	return 0;
}

/* Step 5: limits. Descriptors are what the fs device needs most: as many as we may have. */
static int set_limits(struct err *err)
{
	static const struct {
		int what;
		const char *name;
	} none[] = {{RLIMIT_CORE, "core"}, {RLIMIT_MEMLOCK, "memlock"}, {RLIMIT_MSGQUEUE, "msgqueue"}};
	struct rlimit rl = {0, 0};

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (setrlimit(none[i].what, &rl) < 0)
			return err_errno(err, "jail: limit %s", none[i].name);
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return err_errno(err, "jail: descriptors");
	rl.rlim_cur = rl.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &rl) < 0 ? err_errno(err, "jail: limit of descriptors") : 0;
}

int jail_enter(const char *root, struct jail *ret, struct err *err)
{
	auto_close int proc_fd = -1, root_fd = -1;
	int r;

	/* As the first process of its PID namespace this one sees, and can signal, nobody. */
	if (getpid() != 1)
		return err_set(err, EPERM, "jail: not started in a PID namespace of its own (CLONE_NEWPID)");
	r = open_own_proc(&proc_fd, err);
	if (r == 0)
		r = enter_user_namespace(err);
	if (r < 0)
		return r;
	/* Step 3: the other namespaces, owned by the new user namespace. No interface, not even an address on loopback. */
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		return err_errno(err, "jail: unshare namespaces");
	r = enter_root(root, err);
	if (r == 0)
		r = set_limits(err);
	if (r < 0)
		return r;
	/* Step 6: no way back up, no look from outside, no life without the parent. */
	/* The bare system call: glibc's would look for other threads to tell. */
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		return err_errno(err, "jail: drop groups");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(err, "jail: prctl");
	root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_errno(err, "jail: open root");
	ret->root_fd = take_fd(&root_fd);
	ret->proc_fd = take_fd(&proc_fd);
	return 0;
}

static int set_caps(uint64_t keep, struct err *err)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
		{.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)},
	};

	/* The system call is per thread, which is what we want; so no libcap, and no glibc that tells all threads. */
	if (syscall(SYS_capset, &hdr, data) < 0)
		return err_errno(err, "jail: set capabilities");
	return 0;
}

/* Step 7: capabilities. The bounding set and the secure bits go first: both need CAP_SETPCAP. */
static int drop_caps(uint64_t keep, struct err *err)
{
	const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
				   SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
				   SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_errno(err, "jail: drop capability %d", cap);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_errno(err, "jail: ambient capabilities");
	/* NO_SETUID_FIXUP: the fs thread takes the guest's ids with setfsuid(2) and keeps its capabilities. */
	if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return err_errno(err, "jail: secure bits");
	return set_caps(keep, err);
}

int jail_thread(enum jail_kind kind, enum jail_seccomp mode, bool *ret_landlock, struct err *err)
{
	int r = drop_caps(jail_has_files(kind) ? FS_CAPS : 0, err);

	if (r < 0)
		return r;
	/* Step 8. */
	r = landlock_apply(kind, err);
	if (r < 0)
		return r;
	*ret_landlock = r == 0;
	/* Step 9: last, as the filter forbids all of the above. */
	return seccomp_apply(kind, mode, err);
}
