/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_cost REPORT TARGET PROGRAM ARG...: runs PROGRAM in this process, and has a process in the background follow it and all that
 * descends from it until one of them executes a file named TARGET. Then REPORT gets a line for each program: the processor
 * time that its threads have used until then, in microseconds; that of TARGET is what its process used before it. PROGRAM gets our descriptors and its exit code is its own.
 *
 * The one that follows is stopped for at forks, execs and ends only (ptrace), so it costs PROGRAM next to nothing. It lets go of
 * everybody once TARGET is there. The time of a thread is the first number of /proc/TID/schedstat.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASKS_MAX 256
#define OPTIONS                                                                                                        \
	(PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT)

struct task {
	pid_t tid;
	char name[64];	  /* of the file that it executes */
	uint64_t used_ns; /* of an ended one */
	uint64_t base_ns; /* what it had used before PROGRAM */
	int ended;
};

static struct task tasks[TASKS_MAX];
static unsigned n_tasks;

static uint64_t used_ns(pid_t tid)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		(void)fclose(f);
	return ns;
}

static void read_name(struct task *t)
{
	char path[64], file[512];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", t->tid);
	n = readlink(path, file, sizeof(file) - 1);
	file[n > 0 ? n : 0] = '\0';
	(void)snprintf(t->name, sizeof(t->name), "%.63s", strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
}

static struct task *find(pid_t tid)
{
	for (unsigned i = 0; i < n_tasks; i++)
		if (tasks[i].tid == tid && !tasks[i].ended)
			return &tasks[i];
	if (n_tasks == TASKS_MAX)
		_exit(1);
	tasks[n_tasks] = (struct task){.tid = tid};
	read_name(&tasks[n_tasks]);
	return &tasks[n_tasks++];
}

static void report(const char *path)
{
	FILE *f = fopen(path, "ae");
	uint64_t sum = 0;

	for (unsigned i = 0; f && i < n_tasks; i++) {
		struct task *t = &tasks[i];
		uint64_t ns = (t->ended ? t->used_ns : used_ns(t->tid)) - t->base_ns;

		sum += ns;
		(void)fprintf(f, "%s %llu\n", t->name, (unsigned long long)ns / 1000);
	}
	if (f && (fprintf(f, "sum %llu\n", (unsigned long long)sum / 1000) < 0 || fclose(f) != 0))
		_exit(1);
}

/* All are let go by the end of the tracer; one that stands at a stop of ours goes on with it. */
static void follow(pid_t root, const char *path, const char *target)
{
	int status;
	pid_t tid;

	tasks[0] = (struct task){.tid = root, .base_ns = used_ns(root)};
	n_tasks = 1;
	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		struct task *t = find(tid);
		int event = status >> 16, sig = 0;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			t->ended = 1;
			continue;
		}
		if (event == PTRACE_EVENT_EXIT) {
			t->used_ns = used_ns(tid);
		} else if (event == PTRACE_EVENT_EXEC) {
			read_name(t);
			if (strcmp(t->name, target) == 0) {
				report(path);
				return;
			}
		} else if (event == 0) {
			sig = WSTOPSIG(status);
		}
		(void)ptrace(PTRACE_CONT, tid, NULL, (void *)(intptr_t)sig);
	}
}

static int background(pid_t root, int ready, char **argv)
{
	if (setsid() < 0 || ptrace(PTRACE_SEIZE, root, NULL, (void *)OPTIONS) < 0)
		return 1;
	for (int fd = 0; fd < 3; fd++)
		(void)close(fd);
	if (write(ready, "", 1) != 1)
		return 1;
	(void)close(ready);
	follow(root, argv[1], argv[2]);
	return 0;
}

int main(int argc, char **argv)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (argc < 4 || pipe2(ready, O_CLOEXEC) < 0) {
		(void)fprintf(stderr, "usage: exec_cost REPORT TARGET PROGRAM ARG...\n");
		return 125;
	}
	pid = fork();
	if (pid == 0) {
		/* A grandchild, so that PROGRAM has no child that it does not know. */
		pid = getppid();
		if (fork() == 0)
			_exit(background(pid, ready[1], argv));
		_exit(0);
	}
	(void)close(ready[1]);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid || read(ready[0], &byte, 1) != 1) {
		(void)fprintf(stderr, "exec_cost: cannot follow: %s\n", strerror(errno));
		return 125;
	}
	(void)close(ready[0]);
	execv(argv[3], argv + 3);
	(void)fprintf(stderr, "exec_cost: %s: %s\n", argv[3], strerror(errno));
	return 127;
}
