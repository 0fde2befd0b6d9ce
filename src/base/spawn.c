/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone3(2) with a pidfd. Between clone and execve the child makes only system calls. What goes wrong there travels through
 * a close-on-exec pipe as {step, errno}; an empty pipe means that execve succeeded.
 */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/fd.h"

enum step { STEP_FDS, STEP_IDS, STEP_PRIVS, STEP_CWD, STEP_EXEC, STEP_PARENT, STEP_MAX };

static const char *const step_names[] = {
	[STEP_FDS] = "arrange descriptors",
	[STEP_IDS] = "change ids",
	[STEP_PRIVS] = "restrict privileges",
	[STEP_CWD] = "change folder",
	[STEP_EXEC] = "execute",
	[STEP_PARENT] = "watch parent",
};
_Static_assert(ARRAY_SIZE(step_names) == STEP_MAX, "a name for every step");

struct failure {
	int step, code;
};

static _Noreturn void child_fail(int report, enum step step)
{
	struct failure f = {.step = step, .code = errno};

	(void)!write(report, &f, sizeof(f));
	_exit(127);
}

/* Moves every descriptor above all target numbers first, so that no dup2 can overwrite one still needed. */
static int child_fds(const struct spawn *sp, int report)
{
	int moved[SPAWN_FDS_MAX], floor = 3, null = -1;

	for (unsigned i = 0; i < sp->n_fds; i++)
		floor = MAX_OF(floor, sp->fds[i].child + 1);
	report = fcntl(report, F_DUPFD_CLOEXEC, floor);
	if (report < 0)
		return -1;
	for (unsigned i = 0; i < sp->n_fds; i++) {
		moved[i] = fcntl(sp->fds[i].parent, F_DUPFD_CLOEXEC, floor);
		if (moved[i] < 0)
			return -1;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (dup2(null, i) < 0)
			return -1;
	if (syscall(SYS_close_range, 3u, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	for (unsigned i = 0; i < sp->n_fds; i++)
		if (dup2(moved[i], sp->fds[i].child) < 0)
			return -1;
	return report;
}

static int child_ids(const struct spawn *sp)
{
	gid_t extra = sp->extra_gid;

	if (!sp->drop_ids)
		return 0;
	if (setgroups(extra ? 1 : 0, &extra) < 0 || setresgid(sp->gid, sp->gid, sp->gid) < 0)
		return -1;
	return setresuid(sp->uid, sp->uid, sp->uid);
}

static void child_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &dfl, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_main(const struct spawn *sp, int report)
{
	static const char *const default_env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	char *const *argv = (char *const *)(uintptr_t)sp->argv;
	char *const *envp = (char *const *)(uintptr_t)(sp->envp ? sp->envp : default_env);
	struct pollfd parent;
	int high;

	child_signals();
	if (sp->new_session)
		(void)setsid();
	high = child_fds(sp, report);
	if (high < 0)
		child_fail(report, STEP_FDS);
	report = high;
	if (chdir(sp->cwd ? sp->cwd : "/") < 0)
		child_fail(report, STEP_CWD);
	if (child_ids(sp) < 0)
		child_fail(report, STEP_IDS);
	if (sp->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		child_fail(report, STEP_PRIVS);
	/* After the change of ids, which would clear it. A parent that died before this has closed the pipe's other end. */
	if (!sp->survive_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
			child_fail(report, STEP_PARENT);
		parent = (struct pollfd){.fd = report};
		if (poll(&parent, 1, 0) > 0 && (parent.revents & POLLERR))
			_exit(127);
	}
	if (sp->search_path)
		(void)execvpe(sp->file, argv, envp);
	else
		(void)execve(sp->file, argv, envp);
	child_fail(report, STEP_EXEC);
}

int spawn_start(const struct spawn *sp, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	auto_close int in = -1, out = -1;
	int pidfd = -1, pipefd[2];
	struct clone_args args = {
		.flags = CLONE_PIDFD | sp->clone_flags, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	struct failure f;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(err, "start '%s': pipe", sp->file);
	in = pipefd[0];
	out = pipefd[1];
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return err_errno(err, "start '%s': clone", sp->file);
	if (pid == 0) {
		(void)close(in);
		child_main(sp, out);
	}
	close_fd(&out);
	if (fd_read_all(in, &f, sizeof(f)) == 0) {
		const char *step = f.step >= 0 && f.step < STEP_MAX ? step_names[f.step] : "?";

		spawn_kill(&pidfd);
		errno = f.code;
		return err_errno(err, "start '%s': %s", sp->file, step);
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

int spawn_wait(int pidfd)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0)
		if (errno != EINTR)
			return -errno;
	return si.si_code == CLD_EXITED ? si.si_status & 255 : 128 + si.si_status;
}

void spawn_kill(int *pidfd)
{
	if (*pidfd < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0u);
	(void)spawn_wait(*pidfd);
	close_fd(pidfd);
}

/* Keeps the last 200 bytes or so of stderr: enough for its last line. */
static void tail_add(char tail[256], const char *bytes, size_t n)
{
	size_t len = strlen(tail);

	if (n > 200) {
		bytes += n - 200;
		n = 200;
	}
	if (len + n > 255) {
		size_t drop = len + n - 255;

		memmove(tail, tail + drop, len - drop);
		len -= drop;
	}
	for (size_t i = 0; i < n; i++)
		tail[len + i] = bytes[i] ? bytes[i] : '?';
	tail[len + n] = '\0';
}

static const char *last_line(char tail[256])
{
	char *end = tail + strlen(tail), *nl;

	while (end > tail && (end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\r'))
		*--end = '\0';
	nl = strrchr(tail, '\n');
	return nl ? nl + 1 : tail;
}

struct collect {
	int out, errs; /* read ends; -1 when at their end */
	struct buf buf;
	char tail[256];
	bool cut;
};

/* Reads what is there on one pipe. Returns false at its end. */
static bool collect_some(struct collect *c, bool is_out)
{
	char chunk[4096];
	ssize_t n = read(is_out ? c->out : c->errs, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EINTR;
	if (n == 0)
		return false;
	if (!is_out)
		tail_add(c->tail, chunk, (size_t)n);
	else if (buf_append(&c->buf, chunk, (size_t)n) < 0)
		c->cut = true;
	return true;
}

static int collect_all(struct collect *c, uint64_t deadline_ns)
{
	while (c->out >= 0 || c->errs >= 0) {
		struct pollfd p[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->errs, .events = POLLIN}};
		uint64_t now = time_mono_ns();
		int wait = -1;

		if (deadline_ns) {
			if (now >= deadline_ns)
				return -ETIMEDOUT;
			wait = (int)MIN_OF((deadline_ns - now) / 1000000 + 1, (uint64_t)3600000);
		}
		if (poll(p, 2, wait) < 0 && errno != EINTR)
			return -errno;
		if (c->out >= 0 && p[0].revents && !collect_some(c, true))
			close_fd(&c->out);
		if (c->errs >= 0 && p[1].revents && !collect_some(c, false))
			close_fd(&c->errs);
	}
	return 0;
}

int spawn_run(const char *const *argv, size_t max_out, char **ret_out, unsigned deadline_ms, struct err *err)
{
	struct spawn sp = {.file = argv[0], .argv = argv, .search_path = true};
	struct collect c = {.out = -1, .errs = -1, .buf = BUF_INIT(max_out + 1)};
	uint64_t deadline = deadline_ms ? time_mono_ns() + (uint64_t)deadline_ms * 1000000 : 0;
	int outp[2] = {-1, -1}, errp[2] = {-1, -1}, pidfd = -1, r, code;
	pid_t pid;

	if ((ret_out && pipe2(outp, O_CLOEXEC) < 0) || pipe2(errp, O_CLOEXEC) < 0) {
		r = err_errno(err, "run '%s': pipe", argv[0]);
		goto out;
	}
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = ret_out ? outp[1] : STDOUT_FILENO, .child = 1};
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = errp[1], .child = 2};
	r = spawn_start(&sp, &pid, &pidfd, err);
	close_fd(&outp[1]);
	close_fd(&errp[1]);
	if (r < 0)
		goto out;
	c.out = take_fd(&outp[0]);
	c.errs = take_fd(&errp[0]);
	r = collect_all(&c, deadline);
	if (r == -ETIMEDOUT)
		r = err_set(err, ETIMEDOUT, "'%s' took more than %u ms and was killed", argv[0], deadline_ms);
	else if (r < 0)
		r = err_set(err, -r, "run '%s': poll", argv[0]);
	if (r < 0)
		goto out;
	code = spawn_wait(pidfd);
	close_fd(&pidfd);
	if (code != 0)
		r = err_set(err, EIO, "'%s' failed with exit code %d: %s", argv[0], code, last_line(c.tail));
	else if (c.cut)
		r = err_set(err, EFBIG, "'%s' wrote more than %zu bytes", argv[0], max_out);
	else if (ret_out && buf_append(&c.buf, "", 1) < 0)
		r = err_set(err, EFBIG, "'%s' wrote more than %zu bytes", argv[0], max_out);
	if (r == 0 && ret_out)
		*ret_out = (char *)take_ptr(c.buf.mem);
out:
	spawn_kill(&pidfd);
	close_fd(&outp[0]);
	close_fd(&outp[1]);
	close_fd(&errp[0]);
	close_fd(&errp[1]);
	close_fd(&c.out);
	close_fd(&c.errs);
	buf_fini(&c.buf);
	return r;
}
