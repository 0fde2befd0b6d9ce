/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The vhost-user back end (QEMU docs/interop/vhost-user.rst): lets a VMM that speaks the protocol use one of our
 * devices. One connection a device; when it ends, the device is reset and `closed` is called, once. A second one beside it
 * is refused, and podvm-vmm takes none afterwards: it ends with its front end (the pod's life is the VM's life).
 */
#include "virtio/device.h"

struct vhost_user;

/*
 * Serves `dev` on the connected unix socket `sock` (consumed, also on failure). dev and loop are borrowed. `closed`
 * runs on the loop when the peer hung up (err->code == 0) or broke the protocol (err tells what); free the server
 * there or later. -EBUSY: the device has a transport already, which notices nothing.
 */
int vhost_user_new(struct vhost_user **ret, struct loop *loop, struct virtio_dev *dev, int sock,
	void (*closed)(void *ctx, const struct err *why), void *ctx, struct err *err) must_check;
/* Resets the device, unmaps guest memory, closes the socket. NULL is fine. */
void vhost_user_free(struct vhost_user *vu);
DEFINE_FREEP(vhost_user);

/* Gives idle page-table entries and RSS of the guest mapping back (contents stay). Called from an idle timer. */
void vhost_user_drop_rss(struct vhost_user *vu);
