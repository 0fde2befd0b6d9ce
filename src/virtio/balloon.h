/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-balloon (virtio 1.2 §5.5): inflate and deflate, statistics, free page reporting, deflate on OOM.
 *
 * Pages that the guest hands over (inflate, reporting) are given back to the host by `give_back`; they read as zeros, or as
 * anything else, until the guest writes them again. What lies outside guest memory is skipped and counted. A request names
 * at most BALLOON_PFNS_MAX pages (Linux: 256); more breaks the queue.
 *
 * Free page hinting is offered so that queues have the same numbers for every driver (Linux numbers them by what it
 * negotiated, the specification by kind), but never started.
 */
#include "virtio/device.h"

#define BALLOON_PAGE 4096
#define BALLOON_PFNS_MAX 4096
#define BALLOON_STATS_MAX 16

struct balloon;

struct balloon_options {
	/*
	 * Gives [hva, hva + len), whole pages inside one region of guest memory, back to the host. NULL: madvise with
	 * MADV_DONTNEED, which is right for private anonymous memory only.
	 */
	void (*give_back)(void *ctx, void *hva, uint64_t len);
	void *ctx;
};

/* By tag of virtio 1.2 §5.5.6.3: swap in, swap out, major and minor faults, free, total, available memory, caches, ... */
struct balloon_stats {
	uint64_t at_ns; /* when they came, CLOCK_MONOTONIC; 0: never */
	uint32_t valid; /* a bit per tag */
	uint64_t values[BALLOON_STATS_MAX];
};

struct balloon_counters {
	uint64_t inflated, deflated, reported; /* bytes */
	uint64_t bad;			       /* pages outside guest memory */
};

int balloon_new(
	struct balloon **ret, struct loop *loop, const struct balloon_options *opts, struct err *err) must_check;
void balloon_free(struct balloon *b);
struct virtio_dev *balloon_dev(struct balloon *b);

/* All on the device's loop. */
/* How many 4 KiB pages the guest is to give up; it may take its time, or refuse. */
void balloon_set_target(struct balloon *b, uint32_t pages);
/* What the guest says that it has given up, in pages. */
uint32_t balloon_actual(const struct balloon *b);
/* Asks the guest for statistics. False: there is no driver, or the last request is still open. */
bool balloon_poll_stats(struct balloon *b);
const struct balloon_stats *balloon_get_stats(const struct balloon *b);
const struct balloon_counters *balloon_get_counters(const struct balloon *b);
