/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The control socket (docs/vmm-api.md): a stream socket pair with the process that started this one, a JSON object a line both
 * ways, descriptors beside a line. Its end is the machine's. The owner is trusted to read; if it does not, the machine ends
 * rather than wait.
 *
 *   control_open -> [control_idle: configure ... start] -> control_attach -> requests of a machine that runs -> control_ended
 */
#include "base/buf.h"
#include "base/loop.h"

struct json_object;
struct monitor;
struct options;

#define CONTROL_API 1
#define CONTROL_LINE_MAX 4096 /* bytes of a request, with its newline */
#define CONTROL_FDS_MAX 8     /* descriptors with a request */

enum control_state {
	CONTROL_NONE, /* there is no socket */
	CONTROL_IDLE, /* no machine yet: `options` are filled */
	CONTROL_STARTING,
	CONTROL_RUNNING,
};

struct control {
	enum control_state state;
	struct monitor *monitor; /* borrowed; from control_attach on */
	struct options *options; /* borrowed; of CONTROL_IDLE */
	struct loop *loop;
	int fd;
	struct loop_fd src, parked_src;
	bool pausing; /* a pause is to be answered when all vCPUs stand */
	bool paused;  /* the owner wants them to */
	uint64_t pause_id, start_id, resize_id;
	unsigned resizing;	  /* to how many vCPUs, when all stand; 0: nothing to do */
	int fds[CONTROL_FDS_MAX]; /* that came with the line; -1: taken */
	unsigned n_fds;
	size_t fds_end; /* they came with the line that holds the byte before this one of `line`; 0: there are none */
	size_t len;
	char line[CONTROL_LINE_MAX];
	struct err why; /* of an end before there is a machine */
};

/* `fd` (consumed, also on failure); says hello at once. */
int control_open(struct control *c, struct loop *loop, int fd, struct err *err) must_check;
/*
 * Without a machine: runs the loop and takes the owner's options into *opts. 1: it said "start"; 0: it wants an end, or has
 * gone, or the loop was stopped; <0: the socket failed.
 */
int control_idle(struct control *c, struct options *opts, struct err *err) must_check;
/* The machine is there, and about to run: requests are for it from now on; a "start" is answered. `paused`: it waits for "resume". */
int control_attach(struct control *c, struct monitor *m, bool paused, struct err *err) must_check;
/* Tells how the machine ended, or why there is none. No-op when there is no socket. */
void control_ended(struct control *c, const char *how, const char *why);

/* Appends the machine's counters, as members of a JSON object, to `b`. */
int counters_put(struct monitor *m, struct buf *b) must_check;
/* The same for people, a line a piece, on the log's descriptor. */
void counters_explain(struct monitor *m);

/* ---- between control.c and control_ops.c ---- */

void control_reply(struct control *c, uint64_t id);
void control_reply_error(struct control *c, uint64_t id, const char *code, const char *text);
/* Sends a line of `b`, to which its newline is appended, all of it. */
void control_send(struct control *c, struct buf *b);
/* Does what the request asks for, and answers, now or later. */
void control_serve(struct control *c, uint64_t id, const char *op, const struct json_object *obj);
/* All vCPUs may stand now: goes on with what waited for it. */
void control_settle(struct control *c);
/* hotplug: see hotplug.h; ctx is the control. */
void control_on_released(void *ctx);
void control_on_removed(void *ctx, const char *name);
