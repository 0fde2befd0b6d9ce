/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A hostile driver for any virtio device, with a builder of valid queues: chains are well formed, what is in them comes from
 * the input. (Bytes thrown at a ring break it at once and reach nothing behind it.) A step may also write anywhere in guest
 * memory, rings included, after which nothing is expected of the rings any more.
 *
 * The input is a script; one byte says what happens, the next ones how:
 *   0..3  add a chain to a queue: number of buffers, then for each its size, direction and first bytes
 *   4     show what was added, and kick
 *   5     turn the loop; take what was used
 *   6     the device's own events (struct fuzz_dev.event)
 *   7     one of: reset and start again; a write into guest memory; configuration; a kick out of the blue
 */
#include "base/fd.h"
#include "virtio/test_driver.h"

#define FUZZ_MEM (1u << 20)
#define FUZZ_QUEUE 32
#define FUZZ_BUFS 0x80000 /* where buffers begin; the rings are below */

struct fuzz_dev {
	struct virtio_dev *dev;
	struct loop *loop;
	struct drv_vm vm;
	struct drv_transport t;
	struct drv_queue q[VIRTIO_QUEUES_MAX];
	uint32_t at;  /* of the next buffer */
	bool hostile; /* the rings may hold anything */
	const uint8_t *in;
	size_t left;
	void (*event)(struct fuzz_dev *f, uint8_t what); /* may be NULL */
	void *ctx;
};

/* The one that fuzz_play plays, for callbacks of the device. */
static struct fuzz_dev fuzz_playing __attribute__((unused));

drv_fn uint8_t fuzz_byte(struct fuzz_dev *f)
{
	if (!f->left)
		return 0;
	f->left--;
	return *f->in++;
}

drv_fn void fuzz_start(struct fuzz_dev *f)
{
	int r;

	f->vm.used = 0;
	f->hostile = false;
	r = drv_dev_start(f->dev, &f->t, &f->vm, f->q, FUZZ_QUEUE);
	assert(r == 0);
	for (unsigned i = 0; r == 0 && i < f->dev->ops->n_queues; i++)
		(void)f->dev->ops->notify(f->dev, i);
}

drv_fn struct drv_buf fuzz_buf(struct fuzz_dev *f, bool write)
{
	static const uint32_t lens[] = {1, 4, 8, 10, 12, 16, 24, 32, 64, 512, 513, 1536, 4096, 65536, 0, 0};
	uint8_t what = fuzz_byte(f), n;
	uint32_t len = lens[what & 15];
	struct drv_buf b;

	len = len ? len : fuzz_byte(f) + 1u;
	if (f->at + len > FUZZ_MEM)
		f->at = FUZZ_BUFS;
	b = (struct drv_buf){DRV_GPA + f->at, len, write};
	f->at += (len + 7) & ~7u;
	if (write)
		return b;
	memset(drv_ptr(&f->vm, b.gpa), what >> 7 ? 0xff : 0, len);
	for (n = what >> 4 & 7 ? (uint8_t)(4 * (what >> 4 & 7)) : 0; n && f->left && len; n--, len--)
		f->vm.mem[b.gpa - DRV_GPA + b.len - len] = fuzz_byte(f);
	return b;
}

drv_fn void fuzz_add(struct fuzz_dev *f, uint8_t what)
{
	struct drv_buf bufs[16];
	struct drv_queue *q = &f->q[(what >> 2) % f->dev->ops->n_queues];
	uint8_t n = fuzz_byte(f), outs = n & 7, ins = n >> 3 & 7;

	if (outs + ins == 0)
		ins = 1;
	for (unsigned i = 0; i < (unsigned)outs + ins; i++)
		bufs[i] = fuzz_buf(f, i >= outs);
	if (f->hostile)
		return;
	/* An indirect table is made once for each head: they take 32 * 16 entries a queue. */
	if (n & 64 && q->n_free)
		(void)drv_add_indirect(q, bufs, outs + ins);
	else
		(void)drv_add(q, bufs, outs + ins);
}

drv_fn void fuzz_kick(struct fuzz_dev *f, uint8_t what)
{
	unsigned queue = (what >> 3) % f->dev->ops->n_queues;

	if (!f->hostile)
		(void)drv_publish(&f->q[queue]);
	(void)f->dev->ops->notify(f->dev, queue);
}

drv_fn void fuzz_turn(struct fuzz_dev *f)
{
	(void)loop_turn(f->loop, 0);
	for (unsigned i = 0; !f->hostile && i < f->dev->ops->n_queues; i++)
		while (drv_used(&f->q[i], NULL, NULL))
			;
}

drv_fn void fuzz_config(struct fuzz_dev *f)
{
	const struct virtio_ops *ops = f->dev->ops;
	uint8_t off = fuzz_byte(f), len = fuzz_byte(f) % 8 + 1, v[8];

	if (off >= ops->config_len || len > ops->config_len - off)
		return;
	ops->config_read(f->dev, off, v, len);
	for (unsigned i = 0; i < len; i++)
		v[i] = fuzz_byte(f);
	if (ops->config_write)
		ops->config_write(f->dev, off, v, len);
}

drv_fn void fuzz_other(struct fuzz_dev *f, uint8_t what)
{
	uint32_t at;
	uint8_t n;

	switch (what >> 3 & 3) {
	case 0:
		drv_dev_reset(f->dev);
		fuzz_start(f);
		break;
	case 1:
		at = fuzz_byte(f);
		at = (at | (uint32_t)fuzz_byte(f) << 8) << (what & 32 ? 4 : 0);
		f->hostile = true;
		for (n = fuzz_byte(f) % 32; n && f->left; n--)
			f->vm.mem[at++ % FUZZ_MEM] = fuzz_byte(f);
		break;
	case 2:
		fuzz_config(f);
		break;
	default:
		(void)f->dev->ops->notify(f->dev, (what >> 5) % f->dev->ops->n_queues);
	}
}

/* Plays the script to a device that is made on `loop`; afterwards the device is reset and may be freed. */
drv_fn void fuzz_play(struct virtio_dev *dev, struct loop *loop, const uint8_t *data, size_t size,
	void (*event)(struct fuzz_dev *f, uint8_t what), void *ctx)
{
	struct fuzz_dev *f = &fuzz_playing;

	*f = (struct fuzz_dev){
		.dev = dev, .loop = loop, .in = data, .left = size < 4096 ? size : 4096, .event = event, .ctx = ctx};
	f->at = FUZZ_BUFS;
	drv_vm_init(&f->vm, FUZZ_MEM);
	fuzz_start(f);
	while (f->left) {
		uint8_t what = fuzz_byte(f);

		switch (what & 7) {
		case 4:
			fuzz_kick(f, what);
			break;
		case 5:
			fuzz_turn(f);
			break;
		case 6:
			if (event)
				event(f, what >> 3);
			break;
		case 7:
			fuzz_other(f, what);
			break;
		default:
			fuzz_add(f, what);
		}
	}
	(void)loop_turn(loop, 0);
	drv_dev_reset(dev);
	drv_vm_fini(&f->vm);
}

drv_fn struct loop *fuzz_loop(void)
{
	static struct loop *loop;
	int r = loop ? 0 : loop_new(&loop, NULL);

	assert(r == 0);
	(void)r;
	return loop;
}
