/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A container: crun's state, a cgroup, its first process and execs.
 *
 *   FREE -> create -> CREATING -> CREATED -> start -> RUNNING -> (first process ends) -> ENDED -> delete -> DELETING -> FREE
 *
 * A create that fails is cleaned up (crun delete --force) before it is answered. Delete works in every state but
 * CREATING and DELETING (-EBUSY).
 */
#include "agent/adjust.h"
#include "agent/agent.h"

enum container_state {
	CONTAINER_FREE,
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_ENDED,
	CONTAINER_DELETING,
};

struct container {
	struct agent *agent;
	char id[STREAM_ID_MAX + 1];
	enum container_state state;
	struct process *init;
	json_t *process; /* of its spec, for execs */
	int cgroup_fd;	 /* -1 until created */
	int oom_watch;	 /* inotify's, -1 */
	uint64_t oom_kills;
	struct adjust_held held;
	bool start_at_once;
	bool joined_pid; /* its PID namespace is not its own */
	struct crun_job delete_job;
	/* DeleteProcess, which may come during creation; or the failed CreateContainer (then create_err is set) */
	struct ttrpc_request *delete_rq;
	struct err create_err;
	struct ttrpc_request *freeze_rq;
	struct loop_timer freeze_timer;
	uint64_t freeze_until;
};

struct container *container_find(struct agent *a, const char *id);
/* True when the ids have been there and were deleted. */
bool container_was_deleted(const struct agent *a, const char *id, const char *exec);

/* These consume rq, now or later. */
void container_create(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateContainerRequest *req);
void container_exec(struct container *c, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateExecRequest *req);
void container_start(struct process *p, struct ttrpc_request *rq);
void container_delete(struct process *p, struct ttrpc_request *rq);
void container_freeze(struct container *c, struct ttrpc_request *rq, bool on);

int container_signal(struct process *p, int signo, bool all, struct err *err) must_check;

/* Its first process was reaped. */
void container_ended(struct container *c);
/* An exec whose streams have gone (CreateExecRequest.hang_up): ends it, and deletes it when it has ended. It may be gone afterwards. */
void container_abandon(struct process *p);
/* An exec of it was reaped: answers a DeleteProcess that waits for that. It may be gone afterwards. */
void container_exec_ended(struct process *p);
/* Looks at memory.events and tells when it has grown. */
void container_check_oom(struct container *c);
/* The inotify of memory.events has something. */
void container_on_oom(struct agent *a);
/* A child of the agent ended that may belong to an exec or container whose pid is not known yet. */
void container_orphan(struct agent *a, pid_t pid, int status);
