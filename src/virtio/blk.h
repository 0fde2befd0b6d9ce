/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-blk (virtio 1.2 §5.2) on a raw file or block device: read, write, flush, discard, write zeroes, device id. The
 * format is never guessed: bytes are bytes.
 *
 * A request's header is copied once; its range is checked against the capacity; the guest's buffers are read and written
 * directly, so they stay in flight until the host is done, also through a reset, which waits. Without VIRTIO_BLK_F_FLUSH
 * every write is on the disk before it is answered. A request of more than BLK_SEGS_MAX buffers fails.
 */
#include "virtio/blk_io.h"
#include "virtio/device.h"

#define BLK_SECTOR 512
#define BLK_SEGS_MAX 126
#define BLK_ID_MAX 20

struct blk;

struct blk_options {
	int fd; /* regular file or block device, opened for what is wanted; consumed */
	bool read_only;
	char id[BLK_ID_MAX + 1]; /* serial number in the guest; /sys/block/vdX/serial */
	enum blk_engine engine;
};

struct blk_counters {
	uint64_t reads, writes, others, errors; /* requests answered */
	uint64_t read_bytes, written_bytes;
};

/* A file whose length is not a multiple of 512 loses the rest. */
int blk_new(struct blk **ret, struct loop *loop, const struct blk_options *opts, struct err *err) must_check;
/* Waits for what is in flight. */
void blk_free(struct blk *b);
struct virtio_dev *blk_dev(struct blk *b);
/* What it came to: BLK_ENGINE_URING or BLK_ENGINE_THREADS. */
enum blk_engine blk_engine(const struct blk *b);
const struct blk_counters *blk_get_counters(const struct blk *b);
