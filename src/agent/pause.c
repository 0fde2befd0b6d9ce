/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pause.h"

#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static _Noreturn void pause_main(void)
{
	struct sigaction reap = {.sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT};
	sigset_t none;

	(void)prctl(PR_SET_NAME, "pause");
	(void)syscall(SYS_close_range, 0u, UINT_MAX, 0);
	/* Children are reaped by the kernel; no other signal has a handler, so as init of its namespace it ignores them. */
	(void)sigaction(SIGCHLD, &reap, NULL);
	(void)sigemptyset(&none);
	for (;;)
		(void)sigsuspend(&none);
}

int pause_start(int *ret_pid, struct err *err)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid < 0)
		return err_errno(err, "make the shared PID namespace");
	if (pid == 0)
		pause_main();
	*ret_pid = pid;
	return 0;
}
