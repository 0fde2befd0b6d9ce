/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * crun as a child of the agent: started, watched by a deadline, its message collected. Ends are seen by the reaper of
 * main.c, which hands them to crun_reaped.
 *
 *   job idle -> crun_start -> running -> done callback (once) -> idle
 */
#include <sys/types.h>

#include "base/loop.h"

#define CRUN_PATH "/usr/bin/crun"
#define CRUN_ARGS_MAX 16
#define CRUN_JOBS_MAX 64
#define CRUN_DEADLINE_NS (60 * NS_PER_S)

struct crun_job {
	/* 0, or -errno and err with what crun said. Runs on the loop. */
	void (*done)(struct crun_job *job, int r, const struct err *err);
	pid_t pid; /* 0: idle */
	int pidfd;
	int log_fd; /* memfd that crun logs to */
	bool timed_out;
	const char *what;    /* "create" ..., static text */
	const char *program; /* that crun is to start, for its error messages; borrowed; NULL: none */
	struct loop_timer deadline;
	struct crun_job *next;
};

struct crun {
	struct loop *loop;
	const char *path;
	struct crun_job *jobs; /* running */
};

struct crun_start {
	const char *what;		     /* the subcommand; static text */
	const char *program;		     /* as in crun_job */
	const char *args[CRUN_ARGS_MAX + 1]; /* after the subcommand, NULL-terminated */
	int stdio[3];			     /* -1: /dev/null; borrowed */
};

/* On a negative return `done` does not run. */
int crun_start(struct crun *crun, struct crun_job *job, const struct crun_start *start,
	void (*done)(struct crun_job *job, int r, const struct err *err), struct err *err) must_check;
/* A child ended. True: it was one of ours, and its `done` has run. */
bool crun_reaped(struct crun *crun, pid_t pid, int status);
/* The last line of `text` (n bytes, changed in place), without "error: " noise, for a message. Never NULL. */
const char *crun_last_line(char *text, size_t n);
/*
 * Turns what crun said when `what` failed into an error. Mistakes of users get the words and codes of the container's own world,
 * ENOENT for a program that is not there, EACCES for one that cannot be executed, ENOTDIR for the working folder; the rest is
 * EIO and names crun. `program` may be NULL.
 */
void crun_explain(struct err *err, const char *what, const char *said, const char *program);
