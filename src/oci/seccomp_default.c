/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default seccomp profile: a list of calls that are allowed, EPERM for all others. The same calls as containerd's,
 * so that a container which works there works here; what a capability is for comes with the capability. Names that the
 * guest's libseccomp does not know yet are skipped by the runtime.
 *
 * Refused on purpose, among others: io_uring, keyrings, bpf, perf, userfaultfd, mounts and new namespaces without the
 * capability; AF_VSOCK, which leads to the host, and AF_ALG.
 *
 * The names are kept as text, a few words a line: an array of pointers would be relocated, and dirty, in every process.
 */
#include "oci/seccomp.h"

#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "oci/json.h"

static const char always[] =
	/* files by descriptor */
	"read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek close close_range dup "
	"dup2 "
	"dup3 fcntl fcntl64 ioctl flock fsync fdatasync sync syncfs sync_file_range ftruncate ftruncate64 fallocate "
	"fadvise64 fadvise64_64 readahead sendfile sendfile64 splice tee vmsplice copy_file_range pipe pipe2 "
	"getdents getdents64 "
	/* files by name */
	"open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 "
	"newfstatat "
	"statx statfs statfs64 fstatfs fstatfs64 statmount listmount truncate truncate64 link linkat symlink symlinkat "
	"readlink readlinkat rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir mknod mknodat chdir fchdir "
	"getcwd "
	"umask chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes "
	"futimesat "
	"utimensat utimensat_time64 name_to_handle_at "
	"getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr "
	"flistxattr "
	"listxattrat removexattr lremovexattr fremovexattr removexattrat "
	"inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark cachestat "
	/* waiting */
	"select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl "
	"epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 "
	"io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64 "
	/* memory */
	"brk mmap mmap2 munmap mremap remap_file_pages mprotect madvise mincore msync mlock mlock2 mlockall munlock "
	"munlockall "
	"mseal membarrier memfd_create memfd_secret map_shadow_stack pkey_alloc pkey_free pkey_mprotect "
	/* processes and threads; clone and clone3 have rules of their own */
	"fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid "
	"getsid "
	"setsid pidfd_open pidfd_send_signal process_mrelease prctl arch_prctl modify_ldt get_thread_area "
	"set_thread_area "
	"set_tid_address get_robust_list set_robust_list rseq restart_syscall uretprobe "
	"process_vm_readv process_vm_writev ptrace "
	"futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue "
	"sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam "
	"sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
	"sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu "
	"getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname "
	/* signals */
	"kill tkill tgkill pause alarm rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
	"rt_sigsuspend "
	"rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn signalfd signalfd4 "
	/* time */
	"time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep "
	"clock_nanosleep_time64 clock_adjtime clock_adjtime64 adjtimex nanosleep getitimer setitimer timer_create "
	"timer_delete "
	"timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime "
	"timerfd_gettime64 timerfd_settime timerfd_settime64 "
	/* sockets; socket has rules of its own */
	"socketpair socketcall bind listen accept accept4 connect shutdown getsockname getpeername getsockopt "
	"setsockopt send "
	"sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 "
	/* System V and POSIX IPC */
	"ipc shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl "
	"mq_open "
	"mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr "
	/* identity; what the caller may change is decided by capabilities */
	"getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid "
	"getresgid32 "
	"getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
	"setresuid32 "
	"setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset "
	/* making the sandbox smaller */
	"seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr lsm_set_self_attr "
	"lsm_list_modules "
	"getrandom";

static const struct {
	const char *cap, *calls;
} by_capability[] = {
	{"CAP_BPF", "bpf"},
	{"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
	{"CAP_PERFMON", "perf_event_open"},
	{"CAP_SYSLOG", "syslog"},
	{"CAP_SYS_ADMIN", "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
			  "mount_setattr move_mount "
			  "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
			  "umount umount2 unshare"},
	{"CAP_SYS_BOOT", "reboot"},
	{"CAP_SYS_CHROOT", "chroot"},
	{"CAP_SYS_MODULE", "init_module finit_module delete_module"},
	{"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
	{"CAP_SYS_PACCT", "acct"},
	{"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
	{"CAP_SYS_RAWIO", "ioperm iopl"},
	{"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
	{"CAP_SYS_TTY_CONFIG", "vhangup"},
};

/* Calls allowed for some values of their first argument. The runtime takes several rules of a call as "or". */
static const struct arg_rule {
	const char *call, *op;
	uint64_t value;
} by_argument[] = {
	/* Every family but AF_ALG and AF_VSOCK, which are 38 and 40. */
	{"socket", "SCMP_CMP_LT", AF_ALG},
	{"socket", "SCMP_CMP_EQ", AF_ALG + 1},
	{"socket", "SCMP_CMP_GT", AF_VSOCK},
	/* PER_LINUX and PER_LINUX32, each also with UNAME26, and the query; not ADDR_NO_RANDOMIZE. */
	{"personality", "SCMP_CMP_EQ", 0},
	{"personality", "SCMP_CMP_EQ", 0x8},
	{"personality", "SCMP_CMP_EQ", 0x20000},
	{"personality", "SCMP_CMP_EQ", 0x20008},
	{"personality", "SCMP_CMP_EQ", 0xffffffff},
};

_Static_assert(AF_VSOCK == AF_ALG + 2, "the rules of socket leave out two families with one between them");

#define CLONE_NEW_ANY                                                                                                  \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

/* Appends {"names": [the words of `calls`], "action": action} and returns it, borrowed. NULL: no memory. */
static json_t *add_rule(json_t *rules, const char *calls, const char *action)
{
	json_t *rule = json_object();
	json_t *names = rule ? json_member_array(rule, "names") : NULL;

	if (!names || json_array_append_new(rules, rule) < 0) {
		if (!names)
			json_decref(rule);
		return NULL;
	}
	while (*calls) {
		size_t n = strcspn(calls, " ");

		if (json_array_append_new(names, json_stringn(calls, n)) < 0)
			return NULL;
		calls += n;
		calls += strspn(calls, " ");
	}
	return json_set_string(rule, "action", action) < 0 ? NULL : rule;
}

static int add_arg(json_t *rule, const char *op, uint64_t value)
{
	json_t *args = rule ? json_member_array(rule, "args") : NULL;
	json_t *arg = json_pack(
		"{s:i, s:I, s:i, s:s}", "index", 0, "value", (json_int_t)value, "valueTwo", 0, "op", op);

	if (!args) {
		json_decref(arg);
		return -ENOMEM;
	}
	return json_array_append_new(args, arg) < 0 ? -ENOMEM : 0;
}

static bool has(const json_t *bounding, const char *cap)
{
	const json_t *v;
	size_t i;

	json_array_foreach (bounding, i, v)
		if (str_eq(json_string_value(v), cap))
			return true;
	return false;
}

static int add_rules(json_t *rules, const json_t *bounding)
{
	json_t *rule;

	if (!add_rule(rules, always, "SCMP_ACT_ALLOW"))
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(by_argument); i++) {
		const struct arg_rule *a = &by_argument[i];

		if (add_arg(add_rule(rules, a->call, "SCMP_ACT_ALLOW"), a->op, a->value) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++)
		if (has(bounding, by_capability[i].cap) && !add_rule(rules, by_capability[i].calls, "SCMP_ACT_ALLOW"))
			return -ENOMEM;
	if (has(bounding, "CAP_SYS_ADMIN"))
		return 0;
	/* Threads and processes, but no namespace. */
	if (add_arg(add_rule(rules, "clone", "SCMP_ACT_ALLOW"), "SCMP_CMP_MASKED_EQ", CLONE_NEW_ANY) < 0)
		return -ENOMEM;
	/*
	 * The flags of clone3 are in memory, out of reach of a filter. With ENOSYS the C library falls back to clone.
	 */
	rule = add_rule(rules, "clone3", "SCMP_ACT_ERRNO");
	return rule && json_object_set_new(rule, "errnoRet", json_integer(ENOSYS)) == 0 ? 0 : -ENOMEM;
}

json_t *seccomp_default_profile(const json_t *bounding)
{
	json_t *profile = json_pack("{s:s, s:[s, s, s], s:[]}", "defaultAction", "SCMP_ACT_ERRNO", "architectures",
		"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "syscalls");

	if (profile && add_rules(json_object_get(profile, "syscalls"), bounding) < 0) {
		json_decref(profile);
		return NULL;
	}
	return profile;
}
