/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What container.c, exec.c and the table of calls share. */
#include "agent/container.h"

#define CONTAINER_PATH_LEN 192

/* The path of a file in the container's folder; ids are short, so it always fits. Returns dst. */
const char *container_path(char dst[CONTAINER_PATH_LEN], const struct container *c, const char *name);

void agent_reply_empty(struct ttrpc_request *rq);
/* The answer of StartProcess. */
void agent_reply_started(struct ttrpc_request *rq, pid_t pid);

/* Keeps the first of `args` in the spec's `process`. */
void container_name_program(struct process *p, const json_t *process);
/* What crun left when it made the process: its pid, and its terminal. Removes pid_file. */
int container_collect(struct process *p, pid_t *ret_pid, const char *pid_file, struct err *err) must_check;
/* The process has this pid; it may have ended already. */
void container_got_pid(struct process *p, pid_t pid);
/* Ends of unknown children mean nothing any more when no crun is running. */
void container_forget_orphans(struct agent *a);
void container_remember_deleted(struct agent *a, const char *id, const char *exec);

/* StartProcess of an exec. On success `p` is STARTING, and its start_rq is answered later. */
int exec_start(struct process *p, struct err *err) must_check;
/* DeleteProcess of an exec. Consumes rq, now or later. */
void exec_delete(struct process *p, struct ttrpc_request *rq);
