/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mem.h"
#include "virtio/net.h"
#include "virtio/pmem.h"
#include "virtio/rng.h"
#include "vmm/hotplug.h"

#define MIB (UINT64_C(1) << 20)
#define MEM_BLOCK (2 * MIB) /* what Linux plugs at a time, and what is given back */

/* ---- memory ---- */

/* Where the next region goes: after all that there is. */
static gpa_t above(const struct devices *d)
{
	gpa_t end = d->ram > LAYOUT_LOW_MAX ? LAYOUT_HIGH + d->ram - LAYOUT_LOW_MAX : LAYOUT_HIGH;

	if (d->n_regions)
		end = d->regions[d->n_regions - 1].gpa + d->regions[d->n_regions - 1].size;
	return (end + LAYOUT_ABOVE_ALIGN - 1) & ~(LAYOUT_ABOVE_ALIGN - 1);
}

static int map_mem(struct devices *d, const struct options *o, struct err *err)
{
	struct mem_options mo = {.gpa = above(d), .size = d->room, .block_size = MEM_BLOCK};
	int r = ram_alloc(&mo.hva, mo.size, o->huge_pages, err);

	if (r == 0)
		r = mem_new(&d->mem, d->loop, &mo, err);
	if (r == 0)
		d->regions[d->n_regions++] = (struct guest_region){.gpa = mo.gpa, .size = mo.size, .hva = mo.hva};
	return r;
}

static int map_pmem(struct devices *d, unsigned i, int fd, struct err *err)
{
	int r = pmem_new(&d->pmems[i], d->loop, fd, above(d), err);

	close_fd(&fd);
	if (r == 0)
		d->regions[d->n_regions++] = *pmem_region(d->pmems[i]);
	return r < 0 ? err_wrap(err, "file %u", i) : 0;
}

int devices_map(struct devices *d, struct loop *loop, const struct options *o, struct err *err)
{
	int r = 0;

	d->loop = loop;
	d->ram = o->memory_mib * MIB;
	d->room = o->memory_max_mib ? (o->memory_max_mib - o->memory_mib) * MIB : 0;
	if (d->room)
		r = map_mem(d, o, err);
	for (unsigned i = 0; i < o->n_pmems && r == 0; i++)
		r = map_pmem(d, i, o->pmems[i], err);
	return r;
}

int devices_resize(struct devices *d, uint64_t size, struct err *err)
{
	uint64_t more = size > d->ram ? size - d->ram : 0, less = size < d->ram ? d->ram - size : 0;
	int r;

	if (more && !d->mem)
		return err_set(
			err, ENOTSUP, "memory above the %" PRIu64 " MiB of the start needs --memory-max", d->ram / MIB);
	if (size < MEMORY_MIN || more > d->room || size % MEM_BLOCK)
		return err_set(err, EINVAL, "memory of %" PRIu64 " MiB: must be %" PRIu64 " to %" PRIu64 ", and even",
			size / MIB, MEMORY_MIN / MIB, (d->ram + d->room) / MIB);
	if (less && !d->balloon)
		return err_set(
			err, ENOTSUP, "memory below the %" PRIu64 " MiB of the start needs --balloon", d->ram / MIB);
	r = d->mem ? mem_set_requested(d->mem, more, err) : 0;
	if (r == 0 && d->balloon)
		balloon_set_target(d->balloon, (uint32_t)(less / BALLOON_PAGE));
	return r;
}

/* ---- making them ---- */

static int add_rng(struct devices *d, struct err *err)
{
	struct rng *rng = NULL;
	int r = rng_new(&rng, d->loop, err);

	return r < 0 ? r : vm_add_device(d->vm, rng_dev(rng), err);
}

/* RAM is private and anonymous but for the kernel and the initramfs, which come back from their files: as good as zeros. */
static int add_balloon(struct devices *d, struct err *err)
{
	const struct balloon_options bo = {0};
	int r = balloon_new(&d->balloon, d->loop, &bo, err);

	return r < 0 ? r : vm_add_device(d->vm, balloon_dev(d->balloon), err);
}

static void on_console_line(void *ctx, const char *text, size_t len)
{
	uart_line(ctx, text, len);
}

static int add_console(struct devices *d, struct err *err)
{
	const struct console_options co = {.line = on_console_line, .ctx = &d->vm->uart};
	int r = console_new(&d->console, d->loop, &co, err);

	return r < 0 ? r : vm_add_device(d->vm, console_dev(d->console), err);
}

static int add_nic(struct devices *d, unsigned i, const struct option_nic *nic, struct err *err)
{
	struct net_options no = {.tap_fd = nic->fd, .mtu = nic->mtu};
	int r;

	memcpy(no.mac, nic->mac, sizeof(no.mac));
	r = net_new(&d->nets[i], d->loop, &no, err);
	if (r == 0)
		r = vm_add_device(d->vm, net_dev(d->nets[i]), err);
	return r < 0 ? err_wrap(err, "network interface %u", i) : 0;
}

static int add_disk(struct devices *d, unsigned i, const struct option_disk *disk, struct err *err)
{
	struct blk_options bo = {.fd = disk->fd,
		.read_only = disk->read_only,
		.engine = disk->threads ? BLK_ENGINE_THREADS : BLK_ENGINE_AUTO};
	int r;

	(void)snprintf(bo.id, sizeof(bo.id), "disk%u", i);
	r = blk_new(&d->disks[i], d->loop, &bo, err);
	if (r == 0)
		r = vm_add_device(d->vm, blk_dev(d->disks[i]), err);
	return r < 0 ? err_wrap(err, "disk %u", i) : 0;
}

int devices_add(struct devices *d, struct vm *vm, const struct options *o, struct err *err)
{
	int r;

	d->vm = vm;
	r = o->rng ? add_rng(d, err) : 0;
	for (unsigned i = 0; i < o->n_nics && r == 0; i++)
		r = add_nic(d, i, &o->nics[i], err);
	for (unsigned i = 0; i < o->n_disks && r == 0; i++)
		r = add_disk(d, i, &o->disks[i], err);
	for (unsigned i = 0; i < o->n_pmems && r == 0; i++)
		r = vm_add_device(vm, pmem_dev(d->pmems[i]), err);
	if (r == 0 && o->balloon)
		r = add_balloon(d, err);
	if (r == 0 && d->mem)
		r = vm_add_device(vm, mem_dev(d->mem), err);
	if (r == 0 && o->hvc)
		r = add_console(d, err);
	return r;
}

/* ---- counters ---- */

/* Names of virtio 1.2 §5.5.6.3, by tag. */
static const char *const stat_names[] = {"swap_in", "swap_out", "major_faults", "minor_faults", "free", "total",
	"available", "caches", "huge_pages", "huge_page_failures"};

static int put_balloon(struct balloon *balloon, struct buf *b)
{
	const struct balloon_counters *c = balloon_get_counters(balloon);
	const struct balloon_stats *s = balloon_get_stats(balloon);
	int r = buf_printf(b,
		",\"balloon\":{\"actual\":%" PRIu64 ",\"inflated\":%" PRIu64 ",\"deflated\":%" PRIu64
		",\"reported\":%" PRIu64 ",\"bad_pages\":%" PRIu64 ",\"stats_age_ms\":%" PRIu64,
		(uint64_t)balloon_actual(balloon) * BALLOON_PAGE, c->inflated, c->deflated, c->reported, c->bad,
		s->at_ns ? (time_mono_ns() - s->at_ns) / NS_PER_MS : 0);

	for (unsigned i = 0; i < ARRAY_SIZE(stat_names) && r == 0; i++)
		if (s->valid & 1u << i)
			r = buf_printf(b, ",\"%s\":%" PRIu64, stat_names[i], s->values[i]);
	(void)balloon_poll_stats(balloon);
	return r < 0 ? r : buf_append_str(b, "}");
}

/* What begins an entry: the name of a device that came later, if it is one. Names hold nothing to escape. */
static int put_name(const char *name, const char **comma, struct buf *b)
{
	int r = buf_printf(b, "%s{", *comma);

	*comma = ",";
	return r < 0 || !name ? r : buf_printf(b, "\"name\":\"%s\",", name);
}

static int put_disk(const struct blk *disk, const char *name, const char **comma, struct buf *b)
{
	const struct blk_counters *c = blk_get_counters(disk);
	int r = put_name(name, comma, b);

	if (r < 0)
		return r;
	return buf_printf(b,
		"\"engine\":\"%s\",\"reads\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"others\":%" PRIu64
		",\"errors\":%" PRIu64 ",\"read_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64 "}",
		blk_engine(disk) == BLK_ENGINE_URING ? "io_uring" : "threads", c->reads, c->writes, c->others,
		c->errors, c->read_bytes, c->written_bytes);
}

static int put_nic(const struct net *net, const char *name, const char **comma, struct buf *b)
{
	const struct net_counters *c = net_get_counters(net);
	int r = put_name(name, comma, b);

	if (r < 0)
		return r;
	return buf_printf(b,
		"\"rx_frames\":%" PRIu64 ",\"rx_bytes\":%" PRIu64 ",\"rx_dropped\":%" PRIu64 ",\"tx_frames\":%" PRIu64
		",\"tx_bytes\":%" PRIu64 ",\"tx_dropped\":%" PRIu64 "}",
		c->rx_frames, c->rx_bytes, c->rx_dropped, c->tx_frames, c->tx_bytes, c->tx_dropped);
}

int devices_put_counters(struct devices *d, const struct hotplug *h, struct buf *b)
{
	const char *comma = "";
	int r = buf_append_str(b, ",\"nics\":[");

	for (unsigned i = 0; i < OPTIONS_NICS_MAX && r == 0; i++)
		if (d->nets[i])
			r = put_nic(d->nets[i], NULL, &comma, b);
	for (unsigned i = 0; i < PCI_PORTS_MAX && r == 0; i++)
		if (h->devices[i].net)
			r = put_nic(h->devices[i].net, h->devices[i].name, &comma, b);
	if (r == 0)
		r = buf_append_str(b, "],\"disks\":[");
	comma = "";
	for (unsigned i = 0; i < OPTIONS_DISKS_MAX && r == 0; i++)
		if (d->disks[i])
			r = put_disk(d->disks[i], NULL, &comma, b);
	for (unsigned i = 0; i < PCI_PORTS_MAX && r == 0; i++)
		if (h->devices[i].disk)
			r = put_disk(h->devices[i].disk, h->devices[i].name, &comma, b);
	if (r == 0)
		r = buf_append_str(b, "]");
	if (r == 0 && d->mem)
		r = buf_printf(b, ",\"plugged\":%" PRIu64, mem_plugged(d->mem));
	if (r == 0 && d->balloon)
		r = put_balloon(d->balloon, b);
	return r;
}
