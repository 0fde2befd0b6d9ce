/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod on this host, from its description to its end: folders, VM, agent, containers, restarts, ports. It runs in a process of
 * its own (the supervisor: `podvm run`), single-threaded on one loop.
 *
 *   phase          what happens
 *   Starting       folders, mounts, VM, agent, configuration
 *   Initializing   init containers, one after the other
 *   Running        the containers run, end, restart as restartPolicy says
 *   Stopping       SIGTERM was sent, SIGKILL follows after the grace period
 *   Succeeded      every container ended with 0 and none will restart
 *   Failed         one did not, or the VM ended, or a limit was passed; the message says which
 *
 * The agent's replies are hostile input: only numbers and bounded text are taken from them.
 */
#include "base/loop.h"
#include "image/image.h"
#include "kube/kube.h"
#include "pod/driver.h"

struct pod;

enum pod_stream { POD_STDOUT = 1, POD_STDERR = 2 };

struct pod_options {
	const struct kube_pod *spec; /* borrowed */
	struct image *images;	     /* one per spec->containers; borrowed */
	const char *const *seccomp;  /* one localhost profile (JSON) or NULL per container; borrowed; may be NULL */
	const char *source;	     /* file name, for inspect */
	enum driver_choice driver;
	const char *netns; /* path of a network namespace that the pod gets; NULL: loopback only; borrowed */
	bool detached;

	/* What a container wrote: whole lines without newline, or with a terminal any bytes. May call pod_hold_output. May be NULL. */
	void (*output)(void *ctx, const struct kube_container *c, enum pod_stream stream, const char *bytes, size_t n);
	/* Phase changes, for the foreground. May be NULL. */
	void (*notice)(void *ctx, const char *text);
	/* Everything runs (init containers done, containers started): a detached pod may let its caller go. Once. */
	void (*running)(void *ctx);
	/* The end. exit_code is what podvm run exits with; `why` is "" for success. Once; pod_free is called later by the owner. */
	void (*ended)(void *ctx, int exit_code, const char *why);
	void *ctx;
};

/*
 * Makes the pod's folders, publishes its ports, mounts its volumes and starts its VM. Must be called after share_enter, in
 * a process without threads. On failure nothing is left behind.
 */
int pod_new(struct pod **ret, struct loop *loop, const struct pod_options *opts, struct err *err) must_check;
/* Kills what still runs, removes the folders (a detached pod that had started keeps its state and log). NULL is fine. */
void pod_free(struct pod *pod);
DEFINE_FREEP(pod);

/* Ends it gracefully within the pod's grace period; a second call kills at once. */
void pod_stop(struct pod *pod, const char *why);
/*
 * While it is held, no more of the containers' output of this stream is asked for than what had been read already; they wait, and nothing
 * is lost. Only an end that cannot wait (pod_stop twice, the VM's own, 5 s after SIGKILL without `hold` false for any stream) lets what was read
 * go on to `output`. Call it with what holds whenever the reader took something.
 */
void pod_hold_output(struct pod *pod, enum pod_stream stream, bool hold);
/* Bytes for the stdin of the first container with stdin: true; returns how many were taken (0: full, or nobody reads). */
size_t pod_stdin(struct pod *pod, const char *bytes, size_t n);
void pod_stdin_close(struct pod *pod);
/* The window of that container's terminal, now and for its next instances. No-op when it has none. */
void pod_resize(struct pod *pod, unsigned rows, unsigned columns);

const char *pod_id(const struct pod *pod);
/* The phases of the start with their times, as text lines of a waterfall; malloc'ed. NULL: no memory. */
char *pod_timings(const struct pod *pod);
