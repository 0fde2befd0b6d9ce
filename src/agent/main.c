/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1. Boots (boot.c), allocates all tables, then serves on one loop for ever. Signals are data; every child is reaped here
 * and its end handed to whom it belongs. A failure that cannot be lived with is a panic by plan: the reason goes to the console
 * and the VM powers off, which the host sees at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/container.h"
#include "base/fd.h"
#include "base/log.h"

static struct agent agent = {.cgroup_fd = -1, .rpc_fd = -1, .stream_fd = -1};

_Noreturn void agent_panic(const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("panic: %s", text);
	sync();
	if (getpid() == 1)
		(void)reboot(RB_POWER_OFF);
	_exit(1);
}

static void on_signal(void *ctx, int signo)
{
	struct agent *a = ctx;
	int status;
	pid_t pid;

	/* One SIGCHLD may stand for many children. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *p;

		if (crun_reaped(&a->crun, pid, status))
			continue;
		p = process_of_pid(a, pid);
		if (p)
			process_exited(p, status);
		else if (pid == a->pid_ns_pid)
			agent_panic("the first process of the shared PID namespace ended");
		else
			container_orphan(a, pid, status);
	}
}

static void on_oom(struct loop_fd *src, uint32_t events)
{
	container_on_oom(container_of(src, struct agent, oom_src));
}

static void open_console(void)
{
	char level_name[16] = "";
	enum log_level level = LOG_INFO;
	auto_free char *cmdline = NULL;
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (file_read(AT_FDCWD, "/proc/cmdline", 8192, &cmdline, NULL, NULL) == 0 &&
		boot_option(cmdline, "podvm.log", level_name, sizeof(level_name)))
		(void)log_level_parse(level_name, &level);
	log_init(fd, level, "agent", NULL);
}

static int make_tables(struct agent *a, struct err *err)
{
	a->containers = calloc(AGENT_CONTAINERS_MAX, sizeof(*a->containers));
	a->processes = calloc(AGENT_PROCESSES_MAX, sizeof(*a->processes));
	a->waiters = calloc(AGENT_WAITERS_MAX, sizeof(*a->waiters));
	if (!a->containers || !a->processes || !a->waiters)
		return err_set(err, ENOMEM, "tables: out of memory");
	a->crun = (struct crun){.loop = a->loop, .path = CRUN_PATH};
	events_init(&a->events, a->loop);
	return streams_new(&a->streams, a, err);
}

static int watch_all(struct agent *a, struct err *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), r;
	sigset_t set;

	if (fd < 0)
		return err_errno(err, "inotify");
	r = loop_add_fd(a->loop, &a->oom_src, fd, EPOLLIN, on_oom, err);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (r == 0)
		r = loop_add_signals(a->loop, &set, on_signal, a, err);
	return r;
}

static int boot(struct agent *a, struct err *err)
{
	int initramfs = -1, r = boot_root(&initramfs, err);

	if (r == 0)
		r = boot_mounts(err);
	open_console();
	if (r == 0)
		r = boot_cgroups(&a->cgroup_fd, err);
	if (r == 0)
		r = loop_new(&a->loop, err);
	if (r == 0)
		r = make_tables(a, err);
	if (r == 0)
		r = watch_all(a, err);
	if (r == 0)
		r = boot_vsock(a, err);
	if (r == 0)
		r = rpc_start(a, err);
	if (r == 0)
		r = streams_listen(a->streams, a->stream_fd, true, err);
	if (initramfs >= 0)
		boot_free_modules(initramfs);
	close_fd(&initramfs);
	return r;
}

int main(void)
{
	struct timespec ts;
	struct err err = {0};

	if (getpid() != 1) {
		(void)fprintf(
			stderr, "podvm-agent is the first process of a pod's guest; it does nothing anywhere else\n");
		return 2;
	}
	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	agent.start_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	(void)signal(SIGPIPE, SIG_IGN);
	if (boot(&agent, &err) < 0)
		agent_panic("boot: %s", err.msg);
	log_info("ready %llu ms after the kernel's start of it",
		(unsigned long long)((time_mono_ns() - agent.start_ns) / NS_PER_MS));
	for (;;) {
		int r = loop_run(agent.loop);

		/* A loop that fails at once for ever would be a hang nobody sees. */
		if (r < 0 && r != -EINTR)
			agent_panic("event loop: %s", strerrordesc_np(-r));
	}
}
