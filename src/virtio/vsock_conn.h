/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A vsock connection as state, without I/O: its life, its credit in both directions, what it still has to tell the guest;
 * and the table of all connections of a device. "g2h" is the direction from guest to host, "h2g" the other.
 *
 *   state        what it is                                        leaves by
 *   HELLO        a client of the host's socket, line not complete  line -> HELD or CONNECTING; deadline, hang-up -> freed
 *   HELD         it asked before the guest was there               activation, first packet -> CONNECTING; hang-up -> freed
 *   CONNECTING   REQUEST is due or sent                            RESPONSE -> OPEN; RST -> freed, or HELD when it is the
 *                                                                  first thing heard; deadline, hang-up -> freed
 *   DIALING      the guest's REQUEST waits for the host's answer   answer -> OPEN or DEAD; deadline -> DEAD
 *   OPEN         bytes flow; each direction ends on its own        both ended -> CLOSING; the guest is through -> DEAD
 *   CLOSING      SHUTDOWN(both) is due or sent, no host socket     RST -> freed; SHUTDOWN(both), deadline -> DEAD
 *   DEAD         RST is due: the guest's packets mean nothing      RST sent -> freed, or LINGER with bytes left
 *   LINGER       the guest has forgotten it; not in the hash       bytes flushed to the host, hang-up -> freed
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/loop.h"
#include "virtio/vsock_packet.h"

struct vsock;

enum vsock_state {
	VSOCK_HELLO,
	VSOCK_HELD,
	VSOCK_CONNECTING,
	VSOCK_DIALING,
	VSOCK_OPEN,
	VSOCK_CLOSING,
	VSOCK_DEAD,
	VSOCK_LINGER,
};

/* Packets due to the guest, sent in this order; RST makes the others pointless. */
enum vsock_due {
	VSOCK_DUE_RST = 1 << 0,
	VSOCK_DUE_REQUEST = 1 << 1,
	VSOCK_DUE_RESPONSE = 1 << 2,
	VSOCK_DUE_SHUTDOWN = 1 << 3,
	VSOCK_DUE_CREDIT = 1 << 4,
};

struct vsock_conn {
	struct vsock *vs;
	enum vsock_state state;
	uint8_t due;	     /* enum vsock_due */
	uint8_t mine, peers; /* enum vsock_shutdown: said, or about to be said, by us; said by the guest */
	uint8_t passed_on;   /* those of peers that the host socket knows */
	bool hashed;
	uint32_t host_port, guest_port;
	uint64_t token;	      /* of a dial; never used twice */
	uint64_t deadline_ns; /* 0: none */

	/* h2g: what the guest can take. All counters run freely modulo 2^32 (virtio 1.2 §5.10.6.3). */
	uint32_t peer_alloc, peer_fwd, tx_cnt;
	/* g2h: what we promised to take. */
	uint32_t alloc, rx_cnt, fwd, fwd_told;
	struct buf out; /* bytes that the host socket did not take yet; never more than `alloc` */

	struct loop_fd src; /* the host socket; src.loop is NULL when it is not watched */
	int fd;		    /* owned; -1: none */
	uint32_t watched;   /* events asked for */
	bool readable;	    /* the socket may have bytes or its end for us */
	bool hung_up;	    /* it reported EPOLLHUP or EPOLLERR, so it cannot be watched without spinning */

	char line[VSOCK_LINE_MAX];
	uint8_t line_len;

	struct vsock_conn *hash_next;
	struct vsock_conn *all_prev, *all_next;
	struct vsock_conn *run_next;
	bool on_run;
};

/* ---- credit ---- */

/* Bytes that may be sent to the guest now. A guest whose counters contradict each other gets none. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* Takes buf_alloc and fwd_cnt of a packet of the guest. */
void vsock_conn_hear(struct vsock_conn *c, const struct vsock_hdr *h);
/* Counts `n` bytes that came from the guest. False: it sent more than it was given credit for. */
bool vsock_conn_take(struct vsock_conn *c, uint32_t n) must_check;
/* Counts `n` bytes that left for the host; makes a credit update due when the guest should hear of it. */
void vsock_conn_forward(struct vsock_conn *c, uint32_t n);

/* ---- directions ---- */

/* May bytes from the host still go to the guest? */
static inline bool vsock_conn_h2g(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !(c->mine & VSOCK_NO_SEND) && !(c->peers & VSOCK_NO_RCV);
}

/* May bytes from the guest still come? */
static inline bool vsock_conn_g2h(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !(c->peers & VSOCK_NO_SEND) && !(c->mine & VSOCK_NO_RCV);
}

/* Adds to what we say to the guest; due once per new flag. */
void vsock_conn_shut(struct vsock_conn *c, unsigned flags);

/* ---- the next packet ---- */

/*
 * Fills the header of the most urgent packet due and strikes it off. False: none is due. Only what has no payload;
 * vsock_conn_data_hdr makes the header of `len` bytes of payload and counts them.
 */
bool vsock_conn_next(struct vsock_conn *c, uint64_t guest_cid, struct vsock_hdr *ret);
void vsock_conn_data_hdr(struct vsock_conn *c, uint64_t guest_cid, uint32_t len, struct vsock_hdr *ret);
/* A packet without effect, for a buffer of the guest that has to be given back. */
void vsock_conn_filler_hdr(struct vsock_conn *c, uint64_t guest_cid, struct vsock_hdr *ret);

/* ---- the table ---- */

#define VSOCK_BUCKETS 256

struct vsock_table {
	unsigned n; /* connections in any state */
	uint64_t seed;
	uint32_t next_port; /* for connections that the host starts */
	uint64_t next_token;
	struct vsock_conn *all;
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	struct vsock_conn *run_first, *run_last; /* connections that want the rx queue, in turn */
};

void vsock_table_init(struct vsock_table *t, uint64_t seed);
/* A new connection, in `all` but not hashed; NULL when VSOCK_CONNS_MAX are there or memory is short. */
struct vsock_conn *vsock_table_add(struct vsock_table *t, struct vsock *vs, enum vsock_state state);
/* Takes it out of everything and frees it. The host socket must be gone. */
void vsock_table_free(struct vsock_table *t, struct vsock_conn *c);
struct vsock_conn *vsock_table_find(const struct vsock_table *t, uint32_t host_port, uint32_t guest_port);
struct vsock_conn *vsock_table_find_token(const struct vsock_table *t, uint64_t token);
/* Makes the pair of ports findable; it must be free. */
void vsock_table_hash(struct vsock_table *t, struct vsock_conn *c, uint32_t host_port, uint32_t guest_port);
void vsock_table_unhash(struct vsock_table *t, struct vsock_conn *c);
/* A host port for a connection to guest_port that is not in use. */
uint32_t vsock_table_port(struct vsock_table *t, uint32_t guest_port);

/* The run queue: first in, first out; adding twice is fine. Pop returns NULL when it is empty. */
void vsock_run_add(struct vsock_table *t, struct vsock_conn *c);
struct vsock_conn *vsock_run_pop(struct vsock_table *t);
/* Puts one back in front, so that it is the next. */
void vsock_run_unpop(struct vsock_table *t, struct vsock_conn *c);
