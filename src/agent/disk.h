/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Disks that the host plugs in while the guest runs (FindDisk), and takes out (ReleaseDisk). Their driver is loaded when the first of them
 * is asked for: few pods have any.
 */
#include "agent/agent.h"

#define DISK_WAIT_MAX_MS 60000

/*
 * Takes down the driver's modules, which are about to be removed (boot_free_modules), as open files. No-op when that was done, or on
 * a machine without a PCI bus, where no disk can come.
 */
void disk_keep_driver(struct disks *d);
/* Consumes rq: answers when there is a disk with that serial number, or when the caller's time is over. */
void disk_find(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__FindDiskRequest *req);

/* Consumes rq: answers when the slot of the disk with that serial number has no power any more. */
void disk_release(struct agent *a, struct ttrpc_request *rq, const char *serial);
/* True: it was a child of ReleaseDisk. Status as of waitpid(2). */
bool disk_reaped(struct agent *a, pid_t pid, int status);

#define DISK_PATH_LEN 256

struct disk_place {
	unsigned major, minor;
	char power[DISK_PATH_LEN]; /* the file that switches its slot's power; "": it is in no slot */
};

/* The disk with that serial number; `sys` is /sys. 1: found. 0: there is none. */
int disk_look(const char *sys, const char *serial, struct disk_place *ret) must_check;
