/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pause.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/spawn.h"

#define NOBODY 65535

int pause_start(pid_t *ret, struct err *err)
{
	static const char *const argv[] = {PAUSE_NAME, NULL};
	struct spawn sp = {.file = "/proc/self/exe",
		.argv = argv,
		.clone_flags = CLONE_NEWPID | CLONE_NEWNS,
		.survive_parent = true};
	int pidfd, r = spawn_start(&sp, ret, &pidfd, err);

	if (r == 0)
		(void)close(pidfd);
	return r;
}

static int drop_all(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/tmp", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k") < 0 ||
		chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
		chdir("/") < 0)
		return -1;
	for (int i = 0; i <= 63; i++)
		(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -1;
	if (syscall(SYS_capset, &head, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int pause_main(void)
{
	sigset_t set;
	int signo;

	if (drop_all() < 0)
		return 1;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		(void)sigwait(&set, &signo);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
