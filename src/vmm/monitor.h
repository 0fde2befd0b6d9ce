/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * podvm-vmm --vm: makes the machine, its devices and its jail, runs the loop of the devices, and tells how it ended.
 */
#include "base/idle.h"
#include "vmm/control.h"
#include "vmm/devices.h"
#include "vmm/dial.h"
#include "vmm/fs_thread.h"
#include "vmm/hotplug.h"
#include "vmm/jail.h"
#include "vmm/status.h"
#include "vmm/vm.h"

struct vsock;

/* Steps of a start; the time of each is when it was done. */
enum monitor_phase {
	PHASE_MAIN, /* main() began */
	PHASE_JAIL,
	PHASE_VM,
	PHASE_LOAD,
	PHASE_DEVICES,
	PHASE_START, /* the vCPUs may run */
	PHASES
};

struct monitor {
	const struct options *opts; /* borrowed */
	struct loop *loop;	    /* borrowed */
	struct vm vm;
	struct vsock *vsock;
	struct dial dial;
	struct fs_thread fs;
	struct loop_fd fs_src, end_src;
	struct control control;
	struct devices devices;
	struct hotplug hotplug;
	struct idle idle;
	uint64_t phases[PHASES]; /* CLOCK_MONOTONIC, ns */
	struct err why;		 /* of VMM_FAILED */
	enum vmm_status status;
};

/*
 * Everything until the vCPUs run and the calling thread is jailed. kvm_fd, jail->root_fd and jail->proc_fd are consumed.
 * `loop` is then run by the caller; it stops when the machine has ended.
 */
int monitor_start(struct monitor *m, const struct options *opts, struct loop *loop, int kvm_fd, struct jail *jail,
	struct err *err) must_check;
/* podvm-vmm itself cannot go on. */
void monitor_fail(struct monitor *m, const struct err *why);
/* The owner wants an end. */
void monitor_stop(struct monitor *m);
/* What is known about the machine, for people. */
void monitor_explain(struct monitor *m);
/* After the loop: says how it ended, on every channel there is. Returns the exit status. */
enum vmm_status monitor_finish(struct monitor *m);
