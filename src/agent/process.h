/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One process that the host knows by name: a container's first process, or an exec in it.
 *
 *   state      meaning                                  allowed
 *   CREATING   its container is being made              attach
 *   CREATED    waits to be started                      attach, start, delete, signal (first process)
 *   STARTING   crun exec is under way                   attach, wait
 *   RUNNING    has a pid                                everything
 *   EXITED     reaped; output may still be on its way   attach, wait, delete
 *
 * Output that nobody has attached to waits in its pipe. WaitProcess is answered when the process has exited and every
 * attached output stream has taken the last byte, or is gone. A child that outlives the process and holds the pipe is
 * given PROCESS_GRACE_NS of silence.
 */
#include <sys/types.h>

#include "agent/crun.h"
#include "agent/pump.h"
#include "rpc/stream.h"
#include "rpc/ttrpc.h"

#define PROCESS_GRACE_NS (500 * NS_PER_MS)
#define PROCESS_ATTACH_NS (60 * NS_PER_S)

struct agent;
struct container;
struct stream;

enum process_state {
	PROCESS_FREE,
	PROCESS_CREATING,
	PROCESS_CREATED,
	PROCESS_STARTING,
	PROCESS_RUNNING,
	PROCESS_EXITED,
};

struct process_io {
	struct pump_end end; /* our side of the pipe; with a terminal: [1] is its master */
	struct pump pump;
	struct stream *stream; /* attached, or NULL */
	struct pump_end *conn; /* of `stream`, while a terminal that is still to come keeps the pump from starting */
	int child_fd;	       /* the process's side, until it is handed over; -1 */
	bool closed;	       /* stdin: no more input will come */
};

struct process {
	struct agent *agent;
	struct container *container;
	char id[STREAM_ID_MAX + 1]; /* "": the first process */
	char program[64];	    /* what it is to execute, perhaps cut off; for messages */
	enum process_state state;
	bool terminal;
	pid_t pid;
	struct process_io io[3];
	int console_fd; /* listening unix socket that crun sends the terminal to; -1 */
	struct crun_job job;
	struct ttrpc_request *start_rq;	 /* answered when crun is done */
	struct ttrpc_request *delete_rq; /* answered when a killed exec has been reaped */
	struct loop_timer grace;
	uint8_t exit_code;
	bool drained;
	bool hang_up;	/* belongs to its streams: see CreateExecRequest.hang_up */
	bool abandoned; /* ... and they are gone */
	struct loop_timer hang_up_timer;
	uint64_t exited_at_ns;
};

struct waiter {
	struct agent *agent;
	struct process *process;
	struct ttrpc_request *rq; /* NULL: free */
};

/* Takes a slot and makes the pipes. -ENOBUFS when the table is full. */
int process_new(struct process **ret, struct container *c, const char *id, bool with_stdin, bool terminal,
	struct err *err) must_check;
/* Closes all it has, answers who waits for it with ESRCH. */
void process_free(struct process *p);
struct process *process_find(struct agent *a, const char *container, const char *id);
struct process *process_of_pid(struct agent *a, pid_t pid);

/* The descriptors for crun's stdio. process_handed_over closes them when crun has them. */
void process_stdio(const struct process *p, int stdio[3]);
void process_handed_over(struct process *p);
/* With a terminal: makes the socket that crun will send it to, at `path`; process_take_console collects it. */
int process_console_listen(struct process *p, const char *path, struct err *err) must_check;
int process_take_console(struct process *p, struct err *err) must_check;

/* Connects `conn` (the end of `s`) to the process's descriptor. -EBUSY when it has a stream, -EPIPE when it is closed. */
int process_attach(struct process *p, unsigned fd, struct stream *s, struct pump_end *conn, struct err *err) must_check;
/* An exec that belongs to its streams: waits PROCESS_ATTACH_NS for them. When they have gone: container_abandon. */
void process_hang_up(struct process *p);
void process_close_stdin(struct process *p);
int process_resize(struct process *p, unsigned rows, unsigned columns, struct err *err) must_check;

/* It was reaped; status as of waitpid(2). */
void process_exited(struct process *p, int status);
/* It could not be started: who waits gets `why`; it counts as ended with exit code 255. */
void process_failed(struct process *p, const struct err *why);
/* WaitProcess. Consumes rq, now or later. */
void process_wait(struct process *p, struct ttrpc_request *rq);
