/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Block devices of the node in containers of the pod (volumeMode: Block): each is a disk of the VM, which is plugged in when the first container
 * that has it is created, and taken out when the last one of them is gone.
 *
 *   disks_take -> disks_ready (plugged in, found by the guest, written into the spec) -> CreateContainer ... disks_release
 *
 * Only descriptors are held on the host: this process's until the VM has its own, the VM's until the guest lets go or the VM ends.
 */
#include "shim/shim.h"

#define DISKS_OF_TASK_MAX VM_DISK_SLOTS_MAX

/*
 * Opens the device of the host for the task. -ENOTSUP: the VM has no hot-plug; -ENOSPC: all its slots are taken; -EBUSY: another container
 * has the device for reading only; -ENOTBLK, -ENODEV and others: it is not there.
 */
int disks_take(struct task *t, const struct spec_disk *disk, struct err *err) must_check;
/* Before CreateContainer, with the VM up: true when there is nothing to wait for; else task_send_create or task_create_failed follows. */
bool disks_ready(struct task *t);
/* No-op when it has none. */
void disks_release(struct task *t);
/* The guest let go of that one. */
void disks_removed(struct shim *sh, const char *name);
/* Of the shim, behind its tasks. */
void disks_fini(struct shim *sh);
/* Opens the block device with this number by its node in /dev. */
int disks_open(unsigned major, unsigned minor, bool read_only, int *ret, struct err *err) must_check;
