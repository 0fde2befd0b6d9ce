/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the commands about running pods share: containers in a pod's state, calls to its agent, its host processes. */
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "pod/state.h"

#define AGENT_SERVICE_NAME "podvm.agent.v1.Agent"

/* Text, number or truth of an object's member; "", 0, false when absent or of another type. */
const char *json_text(const json_t *object, const char *key);
long long json_number(const json_t *object, const char *key);

/* The list of containers of a pod's state; an empty one when there is none. Borrowed. */
const json_t *pod_containers(const struct pod_entry *e);
/* The container of that name. -ENOENT lists the names there are. */
int pod_container_find(const struct pod_entry *e, const char *name, const json_t **ret, struct err *err) must_check;
/* The container that is meant when none is named: the first that is no init container. -ENOENT. */
int pod_container_default(const struct pod_entry *e, const json_t **ret, struct err *err) must_check;
/* How many containers (init containers without sidecars not counted) there are and run. */
void pod_containers_count(const struct pod_entry *e, unsigned *ret_running, unsigned *ret_all);
/* "Running", "Running (CrashLoopBackOff)", "Failed (3)", "Failed (137, OOMKilled)", ... */
void pod_status(const struct pod_entry *e, char dst[48]);

/* A time for people and programs: RFC 3339, in UTC; null for 0. A new reference. */
json_t *json_time(uint64_t ns);
/*
 * A copy of a pod's state (pod/state.h) as podvm shows it: "startedNs": 1795661441780075335 is "startedAt": "2026-11-26T02:50:41.780075335Z",
 * null when it was 0; so all times. What only podvm itself needs is left out. A new reference; NULL: no memory.
 */
json_t *pod_state_shown(const json_t *state);

/* Like pod_find, and the pod must be alive: -ESRCH. */
int pod_find_alive(struct pod_entry *ret, const char *what, struct err *err) must_check;

/* A blocking connection to the agent. */
int agent_open(const struct pod_entry *e, int *ret_fd, struct err *err) must_check;
int agent_call(int fd, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *type,
	ProtobufCMessage **ret, struct err *err) must_check;

/* One process of a pod on the host. */
struct host_process {
	char name[16];
	pid_t pid;
	uint64_t rss, pss; /* bytes */
	uint64_t cpu_ns;
};
#define HOST_PROCESSES_MAX 8
/* The supervisor and the processes of the VM, with their memory and CPU time; those that have ended are left out. */
unsigned pod_host_processes(const struct pod_entry *e, struct host_process ret[HOST_PROCESSES_MAX]);
