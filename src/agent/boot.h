/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What PID 1 does before its loop: file systems, cgroups, modules, listening sockets. */
#include "agent/agent.h"

#define BOOT_TIMER_WAIT_MS 2000 /* the thread of QEMU that fires timers may have to wait for a CPU */

/*
 * First of all: makes what the initramfs was unpacked into read-only for everything below the agent, as a mount that
 * pivot_root(2) can leave (the real root cannot be left). *ret_initramfs is the real one, still writable.
 */
int boot_root(int *ret_initramfs, struct err *err) must_check;
/* /dev first, so that there is something to log to; then the rest of the tree. */
int boot_mounts(struct err *err) must_check;
/* cgroup v2 with all controllers handed down to PODS_CGROUP; the agent itself in a leaf. *ret_fd: PODS_CGROUP. */
int boot_cgroups(int *ret_fd, struct err *err) must_check;
/*
 * Modules before `@listen`, then the AF_VSOCK sockets (AGENT_PORT, STREAM_PORT) bound and listening, then the next
 * stage of modules (modules.h says why).
 */
int boot_vsock(struct agent *a, struct err *err) must_check;
/* Every module that this guest needs is in the kernel: gives the memory of their files back and closes the descriptor. */
void boot_free_modules(int *initramfs);
/*
 * A timer of a millisecond, armed while the rest of the boot goes on; boot_timer_check (which closes it) comes later and costs nothing
 * then. A kernel that has taken its timer for broken would sleep for ever in the first sleep: -EIO after BOOT_TIMER_WAIT_MS.
 */
int boot_timer_arm(int *ret_fd, struct err *err) must_check;
int boot_timer_check(int *fd, struct err *err) must_check;
/* Value of `key`= on the kernel command line into dst; false when it is not there. */
bool boot_option(const char *cmdline, const char *key, char *dst, size_t size);
