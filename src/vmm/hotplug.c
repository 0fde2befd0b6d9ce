/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/hotplug.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/blk.h"
#include "virtio/net.h"

static void on_released(struct loop_fd *src, uint32_t events unused_arg)
{
	struct hotplug *h = container_of(src, struct hotplug, src);
	uint64_t n;

	if (read(src->fd, &n, sizeof(n)) != sizeof(n))
		return;
	h->released |= __atomic_exchange_n(&h->vm->released, 0, __ATOMIC_SEQ_CST);
	if (h->released)
		h->on_released(h->ctx);
}

int hotplug_start(struct hotplug *h, struct vm *vm, struct loop *loop, struct err *err)
{
	h->vm = vm;
	h->loop = loop;
	return loop_add_fd(loop, &h->src, vm->released_fd, EPOLLIN, on_released, err);
}

static struct hotplug_device *find(struct hotplug *h, const char *name)
{
	for (unsigned i = 0; i < PCI_PORTS_MAX; i++)
		if (*h->devices[i].name && str_eq(h->devices[i].name, name))
			return &h->devices[i];
	return NULL;
}

/* Letters, digits, '-', '_' and '.'. */
static int check_name(struct hotplug *h, const char *name, struct err *err)
{
	size_t n = strlen(name);

	if (n == 0 || n > HOTPLUG_NAME_MAX ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n)
		return err_set(
			err, EINVAL, "a device's name has 1 to %d letters, digits, '-', '_' or '.'", HOTPLUG_NAME_MAX);
	return find(h, name) ? err_set(err, EEXIST, "there is a device '%s'", name) : 0;
}

static void device_free(struct hotplug_device *d)
{
	net_free(d->net);
	blk_free(d->disk);
	*d = (struct hotplug_device){0};
}

/* Puts it on the bus; what was made for it goes if that fails. */
static int plug(struct hotplug *h, struct hotplug_device *new, const char *name, struct err *err)
{
	unsigned port;
	int r = vm_plug(h->vm, new->net ? net_dev(new->net) : blk_dev(new->disk), &port, err);

	if (r < 0) {
		device_free(new);
		return r;
	}
	h->devices[port] = *new;
	(void)str_copy(h->devices[port].name, sizeof(h->devices[port].name), name);
	return 0;
}

/* By threads: io_uring_setup is not for a jailed thread, whose filter a ring would not obey. */
int hotplug_add_disk(struct hotplug *h, const char *name, const struct option_disk *disk, struct err *err)
{
	struct blk_options bo = {.fd = disk->fd, .read_only = disk->read_only, .engine = BLK_ENGINE_THREADS};
	struct hotplug_device new = {0};
	int r = check_name(h, name, err);

	if (r < 0) {
		close_fd(&bo.fd);
		return r;
	}
	(void)str_copy(bo.id, sizeof(bo.id), name);
	r = blk_new(&new.disk, h->loop, &bo, err);
	return r < 0 ? r : plug(h, &new, name, err);
}

int hotplug_add_nic(struct hotplug *h, const char *name, const struct option_nic *nic, struct err *err)
{
	struct net_options no = {.tap_fd = nic->fd, .mtu = nic->mtu};
	struct hotplug_device new = {0};
	int r = check_name(h, name, err);

	if (r < 0) {
		close_fd(&no.tap_fd);
		return r;
	}
	memcpy(no.mac, nic->mac, sizeof(no.mac));
	r = net_new(&new.net, h->loop, &no, err);
	return r < 0 ? r : plug(h, &new, name, err);
}

int hotplug_remove(struct hotplug *h, const char *name, struct err *err)
{
	struct hotplug_device *d = find(h, name);
	uint64_t now = time_mono_ns();

	if (!d)
		return err_set(err, ENOENT, "no device '%.20s' that can be removed", name);
	if (d->asked_ns && now - d->asked_ns < HOTPLUG_PATIENCE_NS)
		return 0;
	d->asked_ns = now;
	vm_unplug(h->vm, (unsigned)(d - h->devices));
	return 0;
}

void hotplug_take_out(struct hotplug *h)
{
	for (; h->released; h->released &= h->released - 1) {
		unsigned port = (unsigned)__builtin_ctz(h->released);
		struct hotplug_device *d = &h->devices[port];
		char name[sizeof(d->name)];

		if (!*d->name)
			continue; /* asked for twice */
		memcpy(name, d->name, sizeof(name));
		vm_take_out(h->vm, port);
		device_free(d);
		h->on_removed(h->ctx, name);
	}
}
