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
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/container.h"
#include "agent/disk.h"
#include "agent/live.h"
#include "agent/pause.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/heap.h"
#include "base/log.h"

static struct agent agent = {.initramfs_fd = -1, .cgroup_fd = -1, .rpc_fd = -1, .stream_fd = -1};

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

#define REAP_MAX 64 /* children per round */

static bool is_crun(const struct agent *a, pid_t pid)
{
	for (const struct crun_job *j = a->crun.jobs; j; j = j->next)
		if (j->pid == pid)
			return true;
	return false;
}

/*
 * Ends of processes are told before those of crun: when a `crun delete` is done, what it killed has been seen to end, and
 * when a `crun exec` is done, the end of what it started is known under its pid.
 */
static void reap(struct agent *a, const struct orphan *ended, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct process *p = process_of_pid(a, ended[i].pid);

		if (p)
			process_exited(p, ended[i].status);
		else if (a->pid_ns_pid && ended[i].pid == a->pid_ns_pid)
			agent_panic("the first process of the shared PID namespace ended");
		else if (!live_reaped(a, ended[i].pid, ended[i].status) &&
			 !disk_reaped(a, ended[i].pid, ended[i].status) && !is_crun(a, ended[i].pid))
			container_orphan(a, ended[i].pid, ended[i].status);
	}
	for (unsigned i = 0; i < n; i++)
		(void)crun_reaped(&a->crun, ended[i].pid, ended[i].status);
}

static void on_signal(void *ctx, int signo)
{
	struct orphan ended[REAP_MAX];
	unsigned n;

	/* One SIGCHLD may stand for many children. */
	do {
		for (n = 0; n < REAP_MAX; n++) {
			ended[n].pid = waitpid(-1, &ended[n].status, WNOHANG);
			if (ended[n].pid <= 0)
				break;
		}
		reap(ctx, ended, n);
	} while (n == REAP_MAX);
}

/* Where messages go: a terminal, or the kernel's log, which a machine without one prints. */
static const char *console_path = "/dev/console";

/* A fault of our own. Only what is safe in a signal handler. */
static void on_fault(int signo)
{
	static const char text[] = "agent panic: fatal signal; powering off\n";
	int fd = open(console_path, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	(void)!write(fd, text, sizeof(text) - 1);
	(void)reboot(RB_POWER_OFF);
	_exit(128 + signo);
}

static void set_handlers(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	struct sigaction fault = {.sa_handler = on_fault};

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		(void)sigaction(faults[i], &fault, NULL);
}

static void on_oom(struct loop_fd *src, uint32_t events)
{
	container_on_oom(container_of(src, struct agent, oom_src));
}

/*
 * The kernel is started with loglevel=3: while it boots it complains of what the machine leaves out on purpose (I/O APIC, PCI or its
 * ports), and each character is an exit. From here on errors are printed. A level that somebody else chose stays.
 */
static void print_errors(void)
{
	auto_free char *text = NULL;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/printk", 128, &text, NULL, NULL) == 0 && strtol(text, NULL, 10) == 3)
		(void)klogctl(8 /* SYSLOG_ACTION_CONSOLE_LEVEL */, NULL, 4);
}

static void open_console(void)
{
	char level_name[16] = "", console[8] = "";
	enum log_level level = LOG_INFO;
	auto_free char *cmdline = NULL;
	int fd;

	if (file_read(AT_FDCWD, "/proc/cmdline", 8192, &cmdline, NULL, NULL) == 0) {
		if (boot_option(cmdline, "podvm.log", level_name, sizeof(level_name)))
			(void)log_level_parse(level_name, &level);
		if (boot_option(cmdline, "podvm.console", console, sizeof(console)) && str_eq(console, "kmsg"))
			console_path = "/dev/kmsg";
	}
	print_errors();
	fd = open(console_path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* The level of an error, which "quiet" kernels print too. */
	if (str_eq(console_path, "/dev/kmsg"))
		log_set_prefix("<3>");
	/* The host puts its own time to each line; ours is not set yet. */
	log_omit_time();
	log_init(fd, level, "agent", NULL);
}

#define CRUN_VERSION_PATH "/etc/crun-version"

/* An image that does not say is no reason to stay down. */
static void read_crun_version(struct agent *a)
{
	auto_free char *text = NULL;

	if (file_read(AT_FDCWD, CRUN_VERSION_PATH, sizeof(a->crun_version) - 1, &text, NULL, NULL) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	(void)str_copy(a->crun_version, sizeof(a->crun_version), text);
}

static int make_tables(struct agent *a, struct err *err)
{
	a->containers = calloc(AGENT_CONTAINERS_MAX, sizeof(*a->containers));
	a->processes = calloc(AGENT_PROCESSES_MAX, sizeof(*a->processes));
	a->waiters = calloc(AGENT_WAITERS_MAX, sizeof(*a->waiters));
	a->live = live_table();
	if (!a->containers || !a->processes || !a->waiters || !a->live)
		return err_set(err, ENOMEM, "tables: out of memory");
	a->crun = (struct crun){.loop = a->loop, .path = CRUN_PATH};
	events_init(&a->events, a->loop);
	read_crun_version(a);
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

/* Not a power-off: whoever started the machine may start it again. */
static void check_timer(int *timer)
{
	struct err err = {0};

	if (boot_timer_check(timer, &err) == 0)
		return;
	log_error("%s; resetting", err.msg);
	(void)reboot(RB_AUTOBOOT);
}

static int boot(struct agent *a, struct err *err)
{
	int timer = -1, r = boot_timer_arm(&timer, err);

	if (r == 0)
		r = boot_root(&a->initramfs_fd, err);
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
		check_timer(&timer);
	if (r == 0)
		r = boot_vsock(a, err);
	if (r == 0)
		r = rpc_start(a, err);
	if (r == 0)
		r = streams_listen(a->streams, a->stream_fd, true, err);
	return r;
}

int main(int argc, char **argv)
{
	struct timespec ts;
	struct err err = {0};

	if (argc > 0 && str_eq(argv[0], PAUSE_NAME))
		return pause_main();
	if (getpid() != 1) {
		(void)fprintf(
			stderr, "podvm-agent is the first process of a pod's guest; it does nothing anywhere else\n");
		return 2;
	}
	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	agent.start_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	heap_tight();
	set_handlers();
	if (boot(&agent, &err) < 0)
		agent_panic("boot: %s", err.msg);
	/* Not more than that: each byte is an exit of the guest or two, and the host is waiting for its answer. */
	log_debug("ready %llu ms after the kernel's start of it",
		(unsigned long long)((time_mono_ns() - agent.start_ns) / NS_PER_MS));
	for (;;) {
		int r = loop_run(agent.loop);

		/* A loop that fails at once for ever would be a hang nobody sees. */
		if (r < 0 && r != -EINTR)
			agent_panic("event loop: %s", strerrordesc_np(-r));
	}
}
