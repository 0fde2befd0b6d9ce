/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The guest's kernel modules. The guest image carries them uncompressed in /lib/modules/podvm/ with the file `order`:
 *
 *   # comment, and empty lines, are skipped
 *   virtio.ko            one file name a line (no '/'), loaded in this order with finit_module(2)
 *   virtio_ring.ko
 *   virtio_mmio.ko
 *   vsock.ko
 *   @listen              exactly once: the agent's AF_VSOCK sockets are bound and listening from here on
 *   vmw_vsock_virtio_transport_common.ko
 *   vmw_vsock_virtio_transport.ko
 *   fuse.ko
 *   virtiofs.ko
 *   @network             what follows is loaded by Configure when the pod has interfaces
 *   failover.ko
 *   net_failover.ko
 *   virtio_net.ko
 *   @block               what follows is loaded when the host has plugged a disk in
 *   virtio_blk.ko
 *
 * vsock.ko (the socket family) must stand before `@listen` and vmw_vsock_virtio_transport.ko after it: from the moment
 * that the transport drives the device, a CONNECT that the host held back reaches a port, and the port must be open. The
 * rest of the list is loaded after the listening sockets exist too, so the host's first call travels meanwhile.
 * A kernel with everything built in: the file holds only the lines with `@`, or is absent.
 *
 * The list serves every machine: virtio_mmio is passed over where there is a PCI bus, virtio_pci where there is none.
 *
 * A module that is missing or refused is logged as an error and skipped; -EEXIST (already there, built in) is fine.
 */
#include "base/err.h"

#define MODULES_DIR "/lib/modules/podvm"
#define MODULES_ORDER_MAX 8192 /* bytes of the order file */

struct modules {
	char *order; /* owned text of the order file; NULL: no modules */
	char *next;  /* where the next stage begins */
};

/* Reads `dir`/order. A missing file is an empty list. */
int modules_open(struct modules *ret, const char *dir, struct err *err) must_check;
void modules_close(struct modules *m);

/*
 * The next name of the current stage (valid until modules_close), or NULL at a line with `@` or at the end; after a NULL the next
 * call goes on with the following stage. A line that is no plain file name is skipped and *ret_bad points at it.
 */
const char *modules_next(struct modules *m, const char **ret_bad);

/* Loads what is left of the current stage from `dir`, logging failures. Returns how many were loaded. */
unsigned modules_load_stage(struct modules *m, const char *dir);
/* Of a list that was just opened: passes over the stages before number `stage`. */
#define MODULES_NETWORK_STAGE 2u
#define MODULES_BLOCK_STAGE 3u
void modules_skip(struct modules *m, unsigned stage);
