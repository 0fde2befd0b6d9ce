/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/rng.h"

static int add_rng(struct vm *vm, struct loop *loop, struct err *err)
{
	struct rng *rng = NULL;
	int r = rng_new(&rng, loop, err);

	return r < 0 ? r : vm_add_device(vm, rng_dev(rng), err);
}

/* RAM is private and anonymous but for the kernel and the initramfs, which come back from their files: as good as zeros. */
static int add_balloon(struct vm *vm, struct loop *loop, struct err *err)
{
	const struct balloon_options bo = {0};
	struct balloon *b = NULL;
	int r = balloon_new(&b, loop, &bo, err);

	return r < 0 ? r : vm_add_device(vm, balloon_dev(b), err);
}

static int add_nic(struct net **ret, struct vm *vm, struct loop *loop, const struct option_nic *nic, struct err *err)
{
	struct net_options no = {.tap_fd = nic->fd, .mtu = nic->mtu};
	int r = fd_set_nonblock(nic->fd, true, err);

	memcpy(no.mac, nic->mac, sizeof(no.mac));
	if (r == 0)
		r = net_new(ret, loop, &no, err);
	return r < 0 ? r : vm_add_device(vm, net_dev(*ret), err);
}

static int add_disk(
	struct blk **ret, struct vm *vm, struct loop *loop, const struct option_disk *disk, unsigned i, struct err *err)
{
	struct blk_options bo = {.fd = disk->fd, .read_only = disk->read_only, .engine = BLK_ENGINE_URING};
	int r;

	(void)snprintf(bo.id, sizeof(bo.id), "disk%u", i);
	r = blk_new(ret, loop, &bo, err);
	return r < 0 ? r : vm_add_device(vm, blk_dev(*ret), err);
}

int devices_add(struct devices *d, struct vm *vm, struct loop *loop, const struct options *o, struct err *err)
{
	int r = o->rng ? add_rng(vm, loop, err) : 0;

	for (unsigned i = 0; i < o->n_nics && r == 0; i++) {
		r = add_nic(&d->nets[i], vm, loop, &o->nics[i], err);
		if (r < 0)
			return err_wrap(err, "network interface %u", i);
	}
	for (unsigned i = 0; i < o->n_disks && r == 0; i++) {
		r = add_disk(&d->disks[i], vm, loop, &o->disks[i], i, err);
		if (r < 0)
			return err_wrap(err, "disk %u", i);
	}
	if (r == 0 && o->balloon)
		r = add_balloon(vm, loop, err);
	return r;
}
