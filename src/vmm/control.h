/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The control socket (docs/vmm-api.md): a stream socket pair with the process that started this one, a JSON object a line both
 * ways. Its end is the machine's. The owner is trusted to read; if it does not, the machine ends rather than wait.
 */
#include "base/buf.h"
#include "base/loop.h"

struct monitor;

#define CONTROL_API 1
#define CONTROL_LINE_MAX 4096 /* bytes of a request, with its newline */

struct control {
	struct monitor *monitor;
	int fd;
	struct loop_fd src, parked_src;
	bool pausing; /* a pause is to be answered when all vCPUs stand */
	uint64_t pause_id;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

/* `fd` (consumed, also on failure); says hello at once. */
int control_start(struct control *c, struct monitor *m, struct loop *loop, int fd, struct err *err) must_check;
/* Tells how the machine ended. No-op when there is no socket. */
void control_ended(struct control *c, const char *how, const char *why);

/* Appends the machine's counters, as members of a JSON object, to `b`. */
int counters_put(struct monitor *m, struct buf *b) must_check;
/* The same for people, a line a piece, on the log's descriptor. */
void counters_explain(struct monitor *m);
