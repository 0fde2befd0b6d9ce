/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Disks that the host plugs in while the guest runs (FindDisk). Their driver is loaded when the first of them is asked for: few pods have
 * any.
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

/*
 * The number of the disk with that serial number below `dir` (/sys/block). 1: found. 0: there is none.
 */
int disk_look(const char *dir, const char *serial, unsigned *ret_major, unsigned *ret_minor) must_check;
