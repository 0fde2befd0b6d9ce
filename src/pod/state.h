/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pods of this machine, as files: PODVM_RUN/pods/<id>/ (lock, state.json, vsock.sock, shared/) and
 * PODVM_STATE/pods/<id>/ (owner, log, volumes, writable layers; owner.h tells whose it is); what is removed of the latter goes through PODVM_STATE/pods/.trash.
 * PODVM_RUN/seccomp is all pods' (oci/seccomp_cache.h).
 *
 *   state      what is there
 *   alive      the supervisor holds an exclusive flock on `lock`; the kernel drops it however the supervisor ends
 *   finished   no lock, and state.json has a final phase (Succeeded, Failed): kept for logs and inspect until removed
 *   crashed    no lock, and no final phase: pod_reap removes all of it
 *
 * Every command calls pod_reap first, so a kill -9 leaves nothing behind after the next command. Mounts need no care: they
 * live in the supervisor's own mount namespace and end with it.
 *
 * state.json (written only by the supervisor, atomically; numbers are nanoseconds since the epoch (0: not yet), bytes or counts;
 * what podvm shows of it has RFC 3339 for them, see cli/pods.h):
 *   { "version": 1, "id": "0123456789ab", "name": "web", "namespace": "default", "uid": "...", "pid": 123, "detached": true,
 *     "phase": "Starting|Initializing|Running|Stopping|Succeeded|Failed", "message": "", "exitCode": 0,
 *     "createdNs": 0, "finishedNs": 0, "source": "pod.yaml",
 *     "vm": { "driver": "qemu", "reason": "...", "vcpus": 1, "memory": 268435456, "cid": 3, "kernel": "6.1.0-56-cloud-amd64",
 *             "processes": [ { "name": "qemu", "pid": 124, "startTicks": 0 } ] },
 *     "containers": [ { "name": "web", "id": "web-0", "image": "localhost/x:latest", "digest": "sha256:...", "init": false,
 *             "sidecar": false, "tty": false, "state": "Waiting|Running|Terminated", "reason": "", "message": "", "restarts": 0,
 *             "startedNs": 0, "finishedNs": 0, "exitCode": 0,
 *             "last": null or { "reason": "OOMKilled", "message": "", "exitCode": 137, "startedNs": 0, "finishedNs": 0 } } ],
 *     "ports": [ { "hostIP": "127.0.0.1", "hostPort": 8080, "containerPort": 80, "protocol": "TCP", "container": "web" } ],
 *     "volumes": [ { "name": "data", "kind": "emptyDir|hostPath|files|memory", "path": "..." } ],
 *     "netns": "/run/netns/x",
 *     "timings": [ { "phase": "vm", "startNs": 0, "endNs": 0 } ],
 *     "containerd": { "namespace": "k8s.io", "id": "..." }, "cgroups": [ "/sys/fs/cgroup/..." ] }   (of the shim's pods)
 */
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/paths.h"

#define POD_ID_LEN 12

struct pod_entry {
	char id[POD_ID_LEN + 1];
	bool alive;
	json_t *state; /* owned; an object, perhaps empty when the pod is just starting */
};

void pod_entry_fini(struct pod_entry *e);
#define auto_pod_entry cleanup_with(pod_entry_fini)

/* All pods, oldest first. *ret is malloc'ed: pod_list_free. */
int pod_list(struct pod_entry **ret, size_t *ret_n, struct err *err) must_check;
void pod_list_free(struct pod_entry *list, size_t n);
/* By name, id (also containerd's, of the shim's pods), or unique beginning of an id. A running pod wins over finished ones of the same name. -ENOENT, -ENOTUNIQ. */
int pod_find(struct pod_entry *ret, const char *name_or_id, struct err *err) must_check;

/* Removes everything of crashed pods, kills their left-over processes, empties the trash. *ret_n (may be NULL): how many were
 * removed. What cannot be removed does not keep the rest: the first failure is returned at the end. */
int pod_reap(unsigned *ret_n, struct err *err) must_check;
/* Removes a finished pod. -EBUSY while it is alive. */
int pod_remove(const char *id, struct err *err) must_check;

/* Reads a text or number of the state; "" or 0 when absent or of another type. Path parts are separated by dots: "vm.driver". */
const char *pod_state_text(const struct pod_entry *e, const char *path);
long long pod_state_number(const struct pod_entry *e, const char *path);

/* Its phase is final. The supervisor may still be at its last steps: see pod_wait. */
bool pod_ended(const struct pod_entry *e);

/* Signals the supervisor (through a pidfd, checked against the lock's owner). -ESRCH when it is gone. */
int pod_signal(const struct pod_entry *e, int signo, struct err *err) must_check;
/* Waits until the supervisor is gone. 1: timeout. */
int pod_wait(const struct pod_entry *e, unsigned timeout_ms, struct err *err) must_check;

/* PODVM_RUN/pods/<id>/<name> and PODVM_STATE/pods/<id>/<name>; name may be "". */
int pod_run_path(char dst[PATH_LEN], const char *id, const char *name, struct err *err) must_check;
int pod_state_path(char dst[PATH_LEN], const char *id, const char *name, struct err *err) must_check;

/* A blocking connection to a guest port of a running pod (CONNECT/OK done). Descriptor is the caller's. */
int pod_connect(const struct pod_entry *e, unsigned port, unsigned timeout_ms, int *ret_fd, struct err *err) must_check;
/* A blocking stream of a process (stdio fd 0, 1 or 2), attached. */
int pod_attach(const struct pod_entry *e, const char *container_id, const char *exec_id, int fd, int *ret_fd,
	struct err *err) must_check;

/* ---- the supervisor's side ---- */

struct pod_home {
	char id[POD_ID_LEN + 1];
	int lock_fd, owner_fd; /* owner_fd: pod/owner.h */
	char run_dir[PATH_LEN], state_dir[PATH_LEN];
	char netns[PATH_LEN]; /* ""; see pod_home_netns */
	bool stale;	      /* the last pod_home_record failed */
};

/* Makes both folders with a new random id and takes the lock. -EEXIST: a pod of that name (and namespace) is running. */
int pod_home_new(struct pod_home *ret, const char *ns, const char *name, struct err *err) must_check;
/*
 * The same with an id that the caller chose (12 hexadecimal digits), whatever the name. A crashed pod with it is removed first.
 * 1: a pod with that id is alive.
 */
int pod_home_named(struct pod_home *ret, const char *id, const char *ns, const char *name, struct err *err) must_check;
/* Gives a pod's supervisor `ms` milliseconds at most to end by itself. */
void pod_await_end(const char *id, unsigned ms);
/* Removes everything of a pod that is not alive; of one that is alive only with `kill`, after its processes. 1: alive. */
int pod_bury(const char *id, bool kill, struct err *err) must_check;
/* Writes state.json. */
int pod_home_write(const struct pod_home *home, json_t *state, struct err *err) must_check;
/*
 * The same for a pod that goes on in any case (disk full): the old state stays readable. The log is told once, until it works again.
 * Consumes `state`; NULL: there was no memory for it.
 */
void pod_home_record(struct pod_home *home, json_t *state);
/*
 * Keeps the path of the pod's network namespace in state.json, from now on: after a crash pod_reap removes there what
 * pod_net_open left.
 */
int pod_home_netns(struct pod_home *home, const char *netns, struct err *err) must_check;
/* Removes both folders and releases the lock; keep: leaves state.json and the log for `podvm logs`, removes the rest. */
void pod_home_free(struct pod_home *home, bool keep);
