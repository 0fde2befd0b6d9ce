/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shim's process: one for a pod, on one loop. It owns the sandbox (VM and agent) and the tasks that containerd made in it.
 *
 *   service.c   Task API (versions 2 and 3): a handler a call      sandbox_api.c  Sandbox API
 *   vm.c        the sandbox: starting, its end, its record         task.c         tasks: create, delete
 *   proc.c      processes: start, wait, kill, exit                 metrics.c      numbers
 *
 * Every task is waiting for one thing at most, and says so in a deadline's error. All input, containerd's and the agent's, is checked
 * here.
 */
#include "containerd.pb-c.h"
#include "pod/sandbox.h"
#include "pod/share.h"
#include "shim/events.h"
#include "shim/options.h"
#include "shim/pipes.h"
#include "shim/spec.h"

#define SHIM_ID_MAX 76	   /* containerd's bound on ids */
#define SHIM_TASKS_MAX 256 /* the agent has room for 64 containers at a time */
#define SHIM_EXECS_MAX 256 /* of one task */
#define SHIM_WAITERS_MAX 64
#define SHIM_CONNS_MAX 32 /* containerd has one, or one a container */
#define SHIM_CALLS_MAX 512
/*
 * Containers have pids of their own above what a process of the host can have (the kernel's PID_MAX_LIMIT), because containerd names
 * a PID namespace to join by such a pid, and nothing else tells which container is meant.
 */
#define SHIM_PID_BASE 4194304u
#define SHIM_PID_NUMBERS (1u << 30)
#define DELETE_TIMEOUT_MS 8000 /* containerd has 10 s for what follows an exit, and tries again later and later */

struct shim;
struct task;
struct live;
struct disk;
struct task_disks;

struct shim_args {
	char ns[128], id[SHIM_ID_MAX + 1], address[256], ttrpc_address[256];
	char bundle[PATH_LEN * 2];
	bool debug;
};

enum proc_state {
	PROC_NEW, /* CreateContainer or CreateExec, and its streams, are under way */
	PROC_CREATED,
	PROC_STARTING,
	PROC_RUNNING,
	PROC_PAUSED,
	PROC_STOPPED,
};

struct waiter {
	struct waiter *next;
	struct ttrpc_request *rq;
	bool gone; /* its caller is */
};

/* A process: the first of a task (exec_id "") or an exec. */
struct proc {
	struct proc *next;
	struct task *task;
	char exec_id[SHIM_ID_MAX + 1];
	char agent_exec[STREAM_ID_MAX + 1];
	enum proc_state state;
	bool terminal;
	char *in, *out, *errout; /* paths, as containerd gave them */
	struct pipes io;
	struct ttrpc_request *rq;  /* of the create, exec, start or delete that is under way */
	uint32_t call_id, wait_id; /* calls to the agent that are under way; 0: none */
	struct waiter *waiters;
	unsigned n_waiters;
	uint32_t rows, columns; /* of the terminal, asked for before it exists; 0: not */
	bool started;		/* StartProcess was answered */
	bool ended;		/* the agent told the end: exit_status is there, output may still come */
	bool oom;		/* TaskOOM is out for it */
	bool going;		/* it has ended, and its deletion is under way, which nothing can stop */
	uint32_t exit_status;
	uint64_t exited_at; /* CLOCK_REALTIME of the host; 0: has not */
	struct loop_timer drain;
	struct loop_timer kill; /* SIGKILL was sent: by then it has ended, or the VM is killed */
};

struct task {
	struct task *next;
	struct shim *shim;
	char id[SHIM_ID_MAX + 1];
	char agent_id[STREAM_ID_MAX + 1];
	char bundle[PATH_LEN * 2];
	char name[128], image[256]; /* for the record */
	enum spec_kind kind;
	char *json; /* the spec for the guest, until it was sent */
	size_t json_len;
	size_t n_mounts;
	struct live *live;	     /* its volumes that are copies (live.h); NULL: none */
	struct task_disks *disks;    /* its block devices (disks.h); NULL: none */
	struct resize_limits limits; /* that it was created with */
	bool mounted;		     /* it has folders in the share */
	bool in_guest;		     /* CreateContainer was sent */
	uint32_t number;	     /* SPEC_CONTAINER: its pid is SHIM_PID_BASE + number; 1 to SHIM_PID_NUMBERS */
	uint32_t joins_pid;	     /* the pid whose PID namespace its spec names; 0: a new one */
	struct proc init;
	struct proc *execs;
	unsigned n_execs;
};

enum vm_state { VM_NONE, VM_STARTING, VM_UP, VM_DOWN };

struct shim {
	struct loop *loop;
	struct shim_args args;
	struct shim_options options;
	struct ttrpc_server *server;
	struct ttrpc_service services[3];
	struct events *events;
	struct sandbox sb;
	struct share share;
	struct share_host host;
	enum vm_state vm;
	char down_why[400];
	uint64_t created_ns, ended_ns;
	uint32_t exit_status; /* of the sandbox */
	char pod_name[256], pod_ns[256], pod_uid[64];
	char hostname[65];
	struct host_cgroup *cgroup; /* where the pod's processes are; NULL: where containerd is */

	struct loop_fd live_src; /* inotify of volumes; its fd is owned here */

	struct disk *disks; /* block devices that the VM has, or is about to (disks.h) */
	unsigned disk_slots, last_disk;

	json_t *sysctls; /* owned object or NULL: for Configure */

	struct task *tasks;
	unsigned n_tasks;
	uint32_t last_number; /* of a task */

	/* Sandbox API */
	bool by_sandbox_api;
	struct ttrpc_request *start_rq;
	struct waiter *waiters;
	unsigned n_waiters;

	bool quits; /* with its last task, when the VM is down */
	struct loop_timer quit_timer;
	struct loop_timer events_timer; /* the next NextEvents */
	uint64_t events_seq, events_polled_ns;
};

/* ---- vm.c ---- */

struct vm_wish {
	unsigned vcpus;		  /* 0: the configuration's */
	uint64_t memory;	  /* bytes; 0: the configuration's */
	const char *hostname;	  /* "": the host's */
	const char *netns;	  /* path of the pod's network namespace, or NULL: loopback only */
	const char *cgroups_path; /* linux.cgroupsPath of the pod; "": where the shim is */
	json_t *sysctls;	  /* object of texts, or NULL */
};

/* Joins the pod's cgroup and starts the VM. */
int vm_start(struct shim *sh, const struct vm_wish *wish, struct err *err) must_check;
/* Kills it: every task that still runs ends with 137, the sandbox with `status`. No-op when there is none. */
void vm_kill(struct shim *sh, uint32_t status, const char *why);
/* Asks the agent for its events, and again while the VM is up, at most 10 times a second. */
void vm_poll_events(struct shim *sh);
/* A host process of the VM, for containerd: 0 when there is none. */
uint32_t vm_pid(const struct shim *sh);
void vm_record(struct shim *sh);
int vm_init(struct shim *sh, struct loop *loop, const struct shim_args *args, const struct pod_home *home,
	struct err *err) must_check;
void vm_fini(struct shim *sh);
/*
 * The pod and all its tasks were deleted. Ends the process when that was asked for, else in a few seconds: containerd that is killed between the
 * deletion and Shutdown does not come back to it (1.6).
 */
void shim_unneeded(struct shim *sh);
/* Ends the process once its events are out. */
void shim_quit(struct shim *sh);

/* ---- task.c ---- */

struct task *task_find(struct shim *sh, const char *id);
struct proc *task_proc(struct task *t, const char *exec_id);
void task_create(struct shim *sh, struct ttrpc_request *rq, const Ctrd__CreateTaskRequest *req);
void task_delete(struct proc *p, struct ttrpc_request *rq);
void task_start_sandbox(struct task *t, struct ttrpc_request *rq);
/* "" is none. */
bool task_id_valid(const char *id);
/* The agent's ids are shorter than containerd's. */
void task_agent_id(char dst[STREAM_ID_MAX + 1], const char *id);
/* Steps of proc.c that concern the task. create_failed: `p` is gone after it, and its task if it is the first process. */
void task_create_failed(struct proc *p, const struct err *why);
/* Gives up a creation that is under way, also in the guest; as create_failed. */
void task_cancel(struct proc *p);
void task_created(struct task *t);
void task_started(struct task *t);
/* CreateContainer, once the guest has what it needs. */
void task_send_create(struct task *t);
/* The VM is up: what waited for it goes on. */
void task_vm_up(struct shim *sh);
/* The VM is gone. */
void task_vm_down(struct shim *sh, const char *why);
void task_free_all(struct shim *sh);

/* ---- proc.c ---- */

void proc_init(struct proc *p, struct task *t, const char *exec_id);
void proc_fini(struct proc *p);
int proc_paths(
	struct proc *p, const char *in, const char *out, const char *errout, bool terminal, struct err *err) must_check;
/* It exists in the guest: attaches its streams, and answers p->rq with a pid (init) or nothing (exec). */
void proc_created(struct proc *p);
void proc_exec(struct task *t, struct ttrpc_request *rq, const Ctrd__ExecProcessRequest *req);
void proc_start(struct proc *p, struct ttrpc_request *rq);
void proc_wait(struct proc *p, struct ttrpc_request *rq);
/*
 * Whether it has ended and is being deleted: then `rq` is answered with ENOENT when that is through, DELETE_TIMEOUT_MS later at
 * most. containerd that was killed in the middle of a deletion must not find the task again: 1.6 has removed its FIFOs already,
 * and would call its state unknown.
 */
bool proc_await_deletion(struct proc *p, struct ttrpc_request *rq) must_check;
void proc_resize(struct proc *p, struct ttrpc_request *rq, uint32_t rows, uint32_t columns);
/* SIGKILL for a task's first process holds: if the agent has not told its end 10 s later, whatever it answered, the VM is killed. */
void proc_kill(struct proc *p, struct ttrpc_request *rq, uint32_t signal, bool all);
/* The agent says that it has ended; the exit is reported when its output is through. */
void proc_ended(struct proc *p, uint32_t status);
/* It has ended: event, waiters. Once. */
void proc_exited(struct proc *p, uint32_t status);
/* For containerd: that of a container's first process is above SHIM_PID_BASE, any other is the VM's. 0: it has ended. */
uint32_t proc_pid(const struct proc *p);
Ctrd__Status proc_status(const struct proc *p);
void proc_oom(struct proc *p);

/* NULL: no memory. */
struct waiter *waiter_add(struct waiter **list, struct ttrpc_request *rq);
/* Those whose callers are gone make room. */
void waiters_sweep(struct waiter **list, unsigned *n);

/* ---- service.c, sandbox_api.c, metrics.c ---- */

int service_new(struct shim *sh, int listen_fd, struct err *err) must_check;
extern const struct ttrpc_method sandbox_methods[];
extern const unsigned sandbox_n_methods;
void sandbox_api_up(struct shim *sh);
void sandbox_api_down(struct shim *sh);
void metrics_task(struct task *t, struct ttrpc_request *rq);
void metrics_sandbox(struct shim *sh, struct ttrpc_request *rq);

/* Answers that are the same everywhere. */
void reply_empty(struct ttrpc_request *rq);
void refuse(struct ttrpc_request *rq, int code, const char *fmt, ...) printf_like(3, 4);
