/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Processes, streams and events without a guest: an agent with its tables but no crun, and its calls over a real ttrpc connection.
 * What container.c would do is counted. Everything runs in one thread; rig_until turns the loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/container.h"
#include "base/bytes.h"
#include "base/fd.h"

#define RIG_DEADLINE_NS (60 * NS_PER_S)
#define RIG_EVENTS 8

/* One call and what came of it. */
struct rig_call {
	bool done;
	int code; /* errno, 0: a reply came */
	uint32_t id;
	uint32_t exit_code;
	bool oom_killed;
	unsigned n_events;
	uint64_t seq[RIG_EVENTS]; /* of the first ones */
	uint32_t event_exit[RIG_EVENTS];
	char container[STREAM_ID_MAX + 1]; /* of the first one */
};

struct rig {
	struct agent a;
	struct container c; /* "box" */
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	unsigned ended, exec_ended, abandoned, oom_checks; /* calls of container_... */
	struct process *last_abandoned;
};

struct rig *rig_new(void);
/* Every process is freed. Descriptors are as before rig_new, or the test fails. */
void rig_free(struct rig *rig);
/* Turns the loop until *flag, or fails. */
void rig_until(struct rig *rig, const bool *flag);
/* Some turns, enough for all that is due. */
void rig_settle(struct rig *rig);
/* WaitProcess of container "box"; NextEvents. */
void rig_wait(struct rig *rig, const char *exec, struct rig_call *call);
void rig_events(struct rig *rig, uint64_t after, uint32_t timeout_ms, struct rig_call *call);
/* A process that runs: crun has its descriptors, which end up in stdio[] (-1 where it has none). */
struct process *rig_process(struct rig *rig, const char *exec, bool with_stdin, int stdio[3]);
/* A connection to the stream port; the host's end. The header of `kind` is sent when it is not 0. */
int rig_stream(
	struct rig *rig, enum stream_kind kind, const char *container, const char *exec, uint8_t fd, uint16_t port);
/* The next bytes from the agent, or its end: at most `size`, NUL-terminated in dst. Returns how many; 0 at the end. */
size_t rig_read(struct rig *rig, int fd, char *dst, size_t size);
/* The status byte that a stream begins with. */
int rig_status(struct rig *rig, int fd);
