/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The jail of podvm-vmm: the program gives up, step by step, everything that its threads do not need.
 *
 *   jail_enter          once, single-threaded, as root in a PID namespace of its own (clone(2) with CLONE_NEWPID is up to the
 *                       spawner: a process cannot move itself into one). Then: own user (identity map), mount, network,
 *                       IPC, UTS and cgroup namespace, the shared folder as the root of everything, limits
 *   jail_thread         once in every thread, before it looks at the first byte from outside: capabilities, Landlock, seccomp
 *
 * Every step that fails is an error: there is no weaker jail. Only Landlock may be missing (it is in kernels from 5.13
 * on, if configured); then jail_thread says so in *ret_landlock.
 */
#include <stdbool.h>

#include "base/err.h"

struct jail {
	int root_fd; /* O_PATH of the root; owned by the caller */
	int proc_fd; /* O_PATH of /proc/self/fd in a procfs that shows this PID namespace only; owned by the caller */
};

enum jail_kind {
	JAIL_VSOCK,   /* vhost-user, main thread: sockets, no capability, no file */
	JAIL_FS,      /* vhost-user: files below the root, under any user id; no socket but the vhost-user one */
	JAIL_DEVICES, /* our own machine, main thread: sockets, taps, disks; no capability, no file */
	JAIL_VM_FS,   /* our own machine: files below the root, under any user id */
	JAIL_VCPU,    /* a vCPU: nothing but running it */
	JAIL_KINDS,
};

enum jail_seccomp {
	JAIL_SECCOMP_KILL, /* a call that is not listed kills the process */
	JAIL_SECCOMP_LOG,  /* for development: it is allowed and logged by the kernel (audit or dmesg) */
	JAIL_SECCOMP_OFF,  /* for development: under a sanitizer or a tracer */
};

/* The thread opens files of the shared folder. */
static inline bool jail_has_files(enum jail_kind kind)
{
	return kind == JAIL_FS || kind == JAIL_VM_FS;
}

/* `root` is the path of the shared folder; NULL: an empty root. */
int jail_enter(const char *root, struct jail *ret, struct err *err) must_check;
int jail_thread(enum jail_kind kind, enum jail_seccomp mode, bool *ret_landlock, struct err *err) must_check;

/* ---- parts of jail_thread ---- */

/* 0; 1: this kernel has none, or one too old for the kind. The root is the only place where a thread that has files may touch them. */
int landlock_apply(enum jail_kind kind, struct err *err) must_check;
int seccomp_apply(enum jail_kind kind, enum jail_seccomp mode, struct err *err) must_check;
