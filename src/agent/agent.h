/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * podvm-agent, PID 1 of a pod's guest. This header is what its files share: limits, and the one struct agent.
 *
 * Everything that a peer can make the agent hold sits in a fixed table; a full table is ENOBUFS to the caller. All work is
 * done on one loop and nothing in it waits: crun runs as a child (crun.h), streams are non-blocking (pump.h).
 */
#include <signal.h>

#include "agent/crun.h"
#include "agent/event.h"
#include "agent/process.h"
#include "agent/stream.h"
#include "base/loop.h"
#include "rpc/ttrpc.h"

#define AGENT_CONTAINERS_MAX 64
#define AGENT_PROCESSES_MAX 256
#define AGENT_WAITERS_MAX 512
#define AGENT_CONNS_MAX 8   /* ttrpc connections */
#define AGENT_CALLS_MAX 256 /* calls in progress per connection */

#define RUN_DIR "/run/podvm"
#define SHARED_DIR RUN_DIR "/shared"
#define VOLUMES_DIR RUN_DIR "/volumes"
#define SHM_DIR RUN_DIR "/shm"
#define LIVE_DIR RUN_DIR "/live"
#define CONTAINERS_DIR RUN_DIR "/containers"
#define CGROUP_DIR "/sys/fs/cgroup"
#define PODS_CGROUP "podvm" /* below CGROUP_DIR; each container is a child of it */

/* Ends of processes whose crun has not ended yet, so that nobody knows their pid. */
#define AGENT_ORPHANS_MAX 64
/* Ids of the newest deleted processes, as hashes, so that deleting twice is no error. */
#define AGENT_DELETED_MAX 512

struct orphan {
	pid_t pid;
	int status;
};

#define DISK_MODULES_MAX 4
#define DISK_WAITS_MAX 16

struct disk_wait {
	struct ttrpc_request *rq; /* NULL: free */
	char serial[21];
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
};

#define DISK_RELEASES_MAX 8

struct disk_release {
	pid_t pid; /* 0: free */
	struct ttrpc_request *rq;
};

struct disks { /* disk.h */
	bool kept;
	int modules[DISK_MODULES_MAX]; /* the driver's, owned, until they are loaded */
	unsigned n_modules;
	struct loop_timer timer; /* the next look */
	struct disk_wait waits[DISK_WAITS_MAX];
	struct disk_release releases[DISK_RELEASES_MAX];
};

struct agent {
	struct loop *loop;
	struct ttrpc_server *server;
	struct loop_fd rpc_listener;
	int rpc_fd, stream_fd; /* listening AF_VSOCK sockets */
	uint64_t start_ns;     /* CLOCK_BOOTTIME when main began */
	int initramfs_fd;      /* the root with the modules, until tidy_timer has removed them */
	int cgroup_fd;	       /* CGROUP_DIR/PODS_CGROUP */
	bool configuring;      /* Configure was called */
	bool configured;       /* ... and succeeded */
	char crun_version[32]; /* as the image's builder wrote it down */
	int pid_ns_pid;	       /* init of the shared PID namespace; 0: there is none */
	bool pid_ns_of_all;    /* Configure: every container is in it */
	struct loop_timer power_timer;
	struct loop_timer tidy_timer;

	struct container *containers; /* [AGENT_CONTAINERS_MAX] */
	struct process *processes;    /* [AGENT_PROCESSES_MAX] */
	struct waiter *waiters;	      /* [AGENT_WAITERS_MAX] */
	struct live_job *live;	      /* [AGENT_CONTAINERS_MAX], live.c */
	bool live_mounted;
	struct disks disks;
	struct crun crun;
	struct streams *streams;
	struct events events;
	struct loop_fd oom_src; /* inotify of every container's memory.events */
	struct orphan orphans[AGENT_ORPHANS_MAX];
	unsigned n_orphans;
	uint64_t deleted[AGENT_DELETED_MAX];
	unsigned n_deleted;
};

/* ---- main.c ---- */

/* Tells the console why and powers the VM off. Never returns. */
_Noreturn void agent_panic(const char *fmt, ...) printf_like(1, 2);

/* ---- rpc.c ---- */

/* The table of calls, proto/agent.proto. */
int rpc_start(struct agent *a, struct err *err) must_check;

/* An id of a container or exec: 1 to 64 of [A-Za-z0-9_.-], not starting with a dot. */
bool id_valid(const char *id);
