/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Starting a child process: a pidfd from birth, only the descriptors named, dead when the parent thread dies.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SPAWN_FDS_MAX 32

struct spawn_fd {
	int parent; /* borrowed */
	int child;  /* number in the child, >= 0 */
};

struct spawn {
	const char *file;	 /* path; no PATH search unless search_path */
	const char *const *argv; /* NULL-terminated */
	const char *const *envp; /* NULL-terminated; NULL: a minimal environment (PATH only) */
	struct spawn_fd fds[SPAWN_FDS_MAX];
	unsigned n_fds;	      /* 0, 1, 2 not listed here are /dev/null */
	uint64_t clone_flags; /* CLONE_NEW*, CLONE_INTO_CGROUP is not used */
	uid_t uid;	      /* used when drop_ids is set; supplementary groups become extra_gid alone (if not 0) */
	gid_t gid;
	gid_t extra_gid;
	bool drop_ids;
	bool no_new_privs;
	bool survive_parent; /* else PR_SET_PDEATHSIG SIGKILL */
	bool search_path;
	bool new_session; /* setsid(2) */
	const char *cwd;  /* NULL: / */
};

/*
 * Starts it. The child resets signal handlers and mask. *ret_pidfd is the caller's. A failure in the child before execve
 * (also execve's own) is returned here, not by exit code.
 */
int spawn_start(const struct spawn *sp, pid_t *ret_pid, int *ret_pidfd, struct err *err) must_check;

/* Waits for the end of a child. Exit code 0..255, or 128 + signal. -errno on failure. Reaps it. */
int spawn_wait(int pidfd);

/* Kills with SIGKILL and reaps; no-op for pidfd < 0; closes the descriptor and leaves -1. */
void spawn_kill(int *pidfd);

/*
 * Runs to the end with stdin /dev/null, collecting stdout (at most max_out bytes, NUL-terminated, malloc'ed; may be
 * NULL to inherit stdout) and the last line of stderr into err on failure. 0 = exit code 0; -EIO with the exit code
 * and stderr in the message otherwise. deadline_ms 0: no limit; past it the child is killed, -ETIMEDOUT.
 */
int spawn_run(
	const char *const *argv, size_t max_out, char **ret_out, unsigned deadline_ms, struct err *err) must_check;
