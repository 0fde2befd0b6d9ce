/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a pod is made of whoever asks for it (`podvm run`, the containerd shim): its registry folders, its timeline, its VM and the
 * connection to the agent. Embedded in its owner, on one loop.
 *
 *   zeroed     sandbox_init
 *   made       folders, lock and log are there; sandbox_network where there is one, then sandbox_start
 *   starting   `connected` runs when the agent answers: the owner calls sandbox_configure; `up` runs when that is done
 *   up         sandbox_call, sandbox_stream
 *   down       the VM or the agent ended, or did not come up: `down` runs, once. Pending calls have failed with ECONNRESET (see fails_calls)
 *   stopped    sandbox_stop: every process of the VM is dead; sandbox_fini
 *
 * The agent's replies are hostile input: only numbers and bounded text are taken from them.
 */
#include "agent.pb-c.h"
#include "base/loop.h"
#include "pod/driver.h"
#include "pod/forward.h"
#include "pod/hvsock.h"
#include "pod/net.h"
#include "pod/podlog.h"
#include "pod/state.h"
#include "pod/turn.h"
#include "rpc/ttrpc.h"

#define AGENT_SERVICE "podvm.agent.v1.Agent"
/* What it means when the agent does not know a call. */
#define AGENT_TOO_OLD                                                                                                  \
	"the pod's guest image is older than podvm; make a new one with 'podvm image build' and start the pod again"
#define CALL_TIMEOUT_MS 60000
#define POLL_TIMEOUT_MS 5000
#define SANDBOX_VCPUS_MAX 32
#define SANDBOX_MEMORY_DEFAULT (UINT64_C(512) << 20)
#define SANDBOX_MEMORY_MAX (UINT64_C(65536) << 20)
/* Without guest kernel, initramfs and agent: 128 MiB, measured in docs/performance.md. */
#define SANDBOX_CONTAINERS_MAX (SANDBOX_MEMORY_MAX - (UINT64_C(128) << 20))
#define TIMINGS_MAX 64
#define SANDBOX_RESTARTS_MAX 3
#define CONSOLE_TAIL 6
#define CONSOLE_LINE 160

struct sandbox_callbacks {
	void (*connected)(void *ctx);
	void (*up)(void *ctx);
	/* `why` is one readable line. vm_ended: the VM itself has ended, so its console's last lines may tell more. */
	void (*down)(void *ctx, const char *why, bool vm_ended);
	/* The VM was started again before it was up: its processes are others. May be NULL. */
	void (*restarted)(void *ctx);
	/* See vm_callbacks. May be NULL. */
	void (*disk_removed)(void *ctx, const char *name);
	/* `down` calls sandbox_fail_calls: calls under way when the agent is lost fail then, with the reason, not before. */
	bool fails_calls;
	void *ctx;
};

struct sandbox_config {
	enum driver_choice driver;
	unsigned vcpus;	       /* 0: one; at most SANDBOX_VCPUS_MAX are given */
	uint64_t memory;       /* bytes for the containers; 0: SANDBOX_MEMORY_DEFAULT in all */
	unsigned disk_slots;   /* see vm_config */
	const char *share_dir; /* what the guest sees at GUEST_SHARE; as long as the sandbox */
};

struct timing {
	char name[48];
	uint64_t start_ns, end_ns; /* CLOCK_MONOTONIC; end 0: still going on */
};

struct sandbox {
	struct loop *loop;
	struct sandbox_callbacks cb;
	struct pod_home home;
	struct podlog *log;

	const struct vm_driver *driver;
	struct vm *vm;
	struct pod_net *net;	 /* NULL: loopback only */
	struct forward *forward; /* NULL: no namespace, or a kernel that cannot */
	char vsock_path[PATH_LEN];
	char driver_reason[240];
	char kernel[66]; /* of the guest, printable; "" until it is up */
	unsigned vcpus;
	uint64_t memory, cid;

	struct hvsock_dial agent_dial;
	struct ttrpc_client *agent; /* NULL when there is none */
	struct sandbox_config cfg;  /* to start the VM again */
	unsigned restarts;
	bool no_timer;		 /* the agent said GUEST_NO_TIMER */
	struct turn turn;	 /* of an emulated guest, to boot */
	struct loop_timer timer; /* the bound on booting, or the moment that a lost agent waits for the VM's own end */
	char lost[240];		 /* why the agent cannot be reached, until the VM says better */
	bool up, over;

	char console[CONSOLE_TAIL][CONSOLE_LINE]; /* a ring, printable */
	unsigned n_console;
	struct timing timings[TIMINGS_MAX];
	unsigned n_timings;
	int timing; /* of the phase of the start that is under way */
};

/* Takes over `home` (made by pod_home_new or pod_home_named) and opens the log. On failure everything is undone, the home too. */
int sandbox_init(struct sandbox *sb, struct loop *loop, const struct pod_home *home, const struct sandbox_callbacks *cb,
	struct err *err) must_check;
/*
 * Attaches the pod to the network namespace at this path (pod/net.h), which is kept in the state for pod_reap, and opens
 * port forwarding there (pod/forward.h; where the kernel has no means for it the timeline says so). Undone by sandbox_stop. After a failure only sandbox_fini is allowed.
 */
int sandbox_network(struct sandbox *sb, const char *netns, struct err *err) must_check;
/*
 * Starts the VM, and up to SANDBOX_RESTARTS_MAX times again when the guest's kernel finds no timer (rpc/console.h). Its folder share_dir must exist. After a failure only sandbox_fini is allowed.
 */
int sandbox_start(struct sandbox *sb, const struct sandbox_config *cfg, struct err *err) must_check;
/* Inside `connected`: the message's entropy, clock, share and network are filled in here. */
int sandbox_configure(struct sandbox *sb, Podvm__Agent__V1__ConfigureRequest *req, struct err *err) must_check;
/* Kills every process of the VM. `down` does not run any more. Pending calls are dropped without their callback. */
void sandbox_stop(struct sandbox *sb);
/* Stops, closes the log, gives the home back; keep: as pod_home_free. No-op on a zeroed one. */
void sandbox_fini(struct sandbox *sb, bool keep);

/* A call to the agent by its method's name. -ENOTCONN when there is no agent. See ttrpc_call. */
int sandbox_call(struct sandbox *sb, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ttrpc_done *done, void *ctx,
	uint32_t *ret_id, struct err *err) must_check;
/*
 * For what others ask of every pod in turn, and often: waits for POLL_TIMEOUT_MS only, and when the last of these calls has gone without an
 * answer, -ETIMEDOUT at once for half a minute. So a guest that hangs, or answers everything else, does not hold up what is asked of the others.
 * (A hostile one that answers just in time costs its callers POLL_TIMEOUT_MS a call.)
 */
int sandbox_poll(struct sandbox *sb, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, ttrpc_done *done, void *ctx, struct err *err) must_check;
/* See ttrpc_cancel. */
void sandbox_cancel(struct sandbox *sb, uint32_t id);
/* Ends every pending call with ECONNRESET and `why`, and the connection with it. */
void sandbox_fail_calls(struct sandbox *sb, const char *why);
/* Dials a standard stream (0, 1, 2) of a process; d->done is set by the caller and runs within CALL_TIMEOUT_MS. */
int sandbox_stream(struct sandbox *sb, struct hvsock_dial *d, const char *container, const char *exec, unsigned fd,
	struct err *err) must_check;

/* Whether disks can come and go; -ENOTSUP says why not. */
int sandbox_check_disks(const struct sandbox *sb, struct err *err) must_check;
/* See vm_driver, which must have them. -ENOTCONN: there is no VM. */
int sandbox_add_disk(
	struct sandbox *sb, const struct vm_disk *disk, vm_disk_done *done, void *ctx, struct err *err) must_check;
int sandbox_remove_disk(struct sandbox *sb, const char *name, struct err *err) must_check;

/* One line into the timeline as source podvm; control characters become spaces. */
void sandbox_note(struct sandbox *sb, const char *fmt, ...) printf_like(2, 3);
/* The i-th of the last lines of the console, oldest first, or NULL. */
const char *sandbox_console_line(const struct sandbox *sb, unsigned i);

/* Returns an index for timing_end, -1 when TIMINGS_MAX are taken. */
int timing_start(struct sandbox *sb, const char *fmt, ...) printf_like(2, 3);
void timing_end(struct sandbox *sb, int index);

/* For state.json (record.c): "vm" and "timings". New references. */
json_t *sandbox_vm_json(const struct sandbox *sb);
json_t *sandbox_timings_json(const struct sandbox *sb);
