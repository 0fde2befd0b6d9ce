/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crun writes its messages to a memfd (--log), not to its stderr, which is the container's. A memfd cannot fill up and
 * block, and it is read when crun has ended, however long the container holds the descriptor open.
 */
#include "agent/crun.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/spawn.h"

#define LOG_FD 3
#define LOG_PATH "/proc/self/fd/3"
#define MESSAGE_MAX 2048

static void on_deadline(struct loop_timer *t)
{
	struct crun_job *job = container_of(t, struct crun_job, deadline);

	job->timed_out = true;
	log_error("crun %s did not end in time, killing it", job->what);
	(void)syscall(SYS_pidfd_send_signal, job->pidfd, SIGKILL, NULL, 0u);
}

static unsigned fill_args(const char **argv, const struct crun_start *start)
{
	unsigned n = 0;

	argv[n++] = "crun";
	argv[n++] = "--cgroup-manager=cgroupfs";
	argv[n++] = "--log=" LOG_PATH;
	argv[n++] = start->what;
	for (unsigned i = 0; i < CRUN_ARGS_MAX && start->args[i]; i++)
		argv[n++] = start->args[i];
	argv[n] = NULL;
	return n;
}

int crun_start(struct crun *crun, struct crun_job *job, const struct crun_start *start,
	void (*done)(struct crun_job *job, int r, const struct err *err), struct err *err)
{
	const char *argv[CRUN_ARGS_MAX + 8];
	auto_close int log_fd = memfd_create("crun", MFD_CLOEXEC);
	struct spawn sp = {.file = crun->path, .argv = argv, .survive_parent = true};
	int r;

	if (log_fd < 0)
		return err_errno(err, "crun %s: memfd", start->what);
	(void)fill_args(argv, start);
	for (int i = 0; i < 3; i++)
		if (start->stdio[i] >= 0)
			sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = start->stdio[i], .child = i};
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = log_fd, .child = LOG_FD};
	*job = (struct crun_job){
		.done = done, .what = start->what, .program = start->program, .pidfd = -1, .log_fd = -1};
	r = spawn_start(&sp, &job->pid, &job->pidfd, err);
	if (r < 0) {
		job->pid = 0;
		return r;
	}
	job->log_fd = take_fd(&log_fd);
	job->next = crun->jobs;
	crun->jobs = job;
	loop_timer_set(crun->loop, &job->deadline, CRUN_DEADLINE_NS, on_deadline);
	return 0;
}

const char *crun_last_line(char *text, size_t n)
{
	char *line;

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	text[n] = '\0';
	line = memrchr(text, '\n', n);
	return line ? line + 1 : text;
}

/* The name of `said` when that is prefix, name, suffix and anything; *ret_n is its length. NULL when it is not. */
static const char *name_in(const char *said, const char *prefix, const char *suffix, int *ret_n)
{
	const char *name = said + strlen(prefix), *end;

	if (!str_has_prefix(said, prefix))
		return NULL;
	end = strstr(name, suffix);
	*ret_n = end ? (int)(end - name) : 0;
	return end ? name : NULL;
}

void crun_explain(struct err *err, const char *what, const char *said, const char *program)
{
	/* crun's own EPERM for what may be executed (or searched) and is no regular file; "" is then the first folder of $PATH. */
	static const char open_failed[] = "open executable: ", no_file[] = "open executable: Operation not permitted";
	const char *name;
	int n;

	if ((name = name_in(said, "executable file `", "` not found", &n)))
		(void)err_set(err, ENOENT, "executable file '%.*s' not found%s", n, name,
			memchr(name, '/', (size_t)n) ? "" : " in $PATH");
	else if ((name = name_in(said, "chdir `", "`: ", &n)))
		(void)err_set(err, ENOTDIR, "working folder '%.*s': %s", n, name, name + n + 3);
	else if (str_eq(said, no_file) && program && !*program)
		(void)err_set(err, ENOENT, "executable file '' not found in $PATH");
	else if (str_eq(said, no_file))
		(void)err_set(err, EACCES, "'%s' cannot be executed: it is a directory or a special file",
			program ? program : "");
	else if (str_has_prefix(said, open_failed))
		(void)err_set(
			err, EACCES, "'%s' cannot be executed: %s", program ? program : "", said + strlen(open_failed));
	else
		(void)err_set(err, EIO, "crun %s: %s", what, said);
}

static void explain(struct crun_job *job, int status, struct err *err)
{
	char text[MESSAGE_MAX + 1];
	ssize_t n = pread(job->log_fd, text, MESSAGE_MAX, 0);
	const char *said = crun_last_line(text, n > 0 ? (size_t)n : 0);

	if (job->timed_out)
		(void)err_set(err, ETIMEDOUT, "crun %s did not end in %u s", job->what,
			(unsigned)(CRUN_DEADLINE_NS / NS_PER_S));
	else if (*said)
		crun_explain(err, job->what, said, job->program);
	else if (WIFSIGNALED(status))
		(void)err_set(err, EIO, "crun %s was ended by signal %d", job->what, WTERMSIG(status));
	else
		(void)err_set(err, EIO, "crun %s failed with exit code %d", job->what, WEXITSTATUS(status));
}

bool crun_reaped(struct crun *crun, pid_t pid, int status)
{
	struct crun_job **p = &crun->jobs, *job;
	struct err err = {0};

	while (*p && (*p)->pid != pid)
		p = &(*p)->next;
	job = *p;
	if (!job)
		return false;
	*p = job->next;
	loop_timer_cancel(&job->deadline);
	if (status != 0)
		explain(job, status, &err);
	close_fd(&job->pidfd);
	close_fd(&job->log_fd);
	job->pid = 0;
	job->done(job, err.code ? -err.code : 0, &err);
	return true;
}
