/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Datagrams on a stream (STREAM_DIAL_UDP, rpc/stream.h): each is a length of two bytes, little endian, and its bytes. Both ends,
 * pod and agent, use this.
 *
 *   dgram_init -> (dgram_send queues) -> dgram_open -> `deliver` for each that comes ... -> `ended`, once -> dgram_close
 *
 * It is UDP: what does not fit into DGRAM_PENDING_MAX bytes that wait for the stream is dropped. At most that much is held in
 * each direction. A stream on which nothing has moved for DGRAM_IDLE_NS ends.
 */
#include "base/buf.h"
#include "base/loop.h"

#define DGRAM_MAX 65507u /* bytes of one: the most that UDP over IPv4 carries */
#define DGRAM_PENDING_MAX (128u * 1024u)
#define DGRAM_IDLE_NS (90 * NS_PER_S)

struct dgram {
	struct loop *loop;
	struct loop_fd src;
	struct loop_timer idle;
	int fd; /* borrowed; -1: not open yet */
	struct buf in, out;
	uint64_t used_ns; /* CLOCK_MONOTONIC of the last datagram */
	/* The bytes are good during the call, which must not close `d`. */
	void (*deliver)(struct dgram *d, const uint8_t *bytes, size_t n);
	/* The stream ended, broke its form, or idled. It may close `d` and free its owner. */
	void (*ended)(struct dgram *d);
};

void dgram_init(struct dgram *d, struct loop *loop, void (*deliver)(struct dgram *d, const uint8_t *bytes, size_t n),
	void (*ended)(struct dgram *d));
/* A connected, non-blocking stream socket, borrowed until dgram_close. What was queued goes out. */
int dgram_open(struct dgram *d, int fd, struct err *err) must_check;
/* False: dropped, because too much waits already, or it is larger than DGRAM_MAX. May run `ended`. */
bool dgram_send(struct dgram *d, const void *bytes, size_t n);
/* Frees what is held; `ended` will not run. No-op when closed. */
void dgram_close(struct dgram *d);
