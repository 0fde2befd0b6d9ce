/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the parts of the vsock device share: vsock.c (queues, packets of the guest), vsock_rx.c (packets to the guest),
 * vsock_host.c (host sockets), vsock_conn.c.
 */
#include "virtio/vsock.h"
#include "virtio/vsock_conn.h"

/* Refusals for packets that belong to no connection; more than these at once are dropped. */
#define VSOCK_ORPHANS_MAX 64

enum { VSOCK_RXQ, VSOCK_TXQ, VSOCK_EVENTQ, VSOCK_N_QUEUES };

struct vsock_orphan {
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct virtio_dev dev;
	struct vsock_options opts;
	struct vsock_table table;

	int listen_fd;
	struct loop_fd listen_src;
	bool listen_off;	 /* out of descriptors: the next sweep tries again */
	struct loop_timer sweep; /* the earliest deadline */
	struct loop_timer work;	 /* queues to be served at the end of this turn */
	bool tx_more, event_due, broken;
	bool heard; /* a program of the guest has used vsock since the driver came: a refusal is its answer */

	unsigned n_orphans;
	struct vsock_orphan orphans[VSOCK_ORPHANS_MAX];
	struct chain chain; /* the one being handled */
};

/* ---- vsock.c ---- */

/* Has the queues served at the end of the turn. */
void vsock_work(struct vsock *vs);

/* ---- vsock_rx.c ---- */

/* Serves the run queue and what was refused, as far as the guest gives buffers. 0, or -EPROTO: its driver broke a rule. */
int vsock_rx_run(struct vsock *vs) must_check;

/* ---- vsock_host.c ---- */

/* Accepts clients on vs->listen_fd. */
int vsock_host_listen(struct vsock *vs, struct err *err) must_check;
/* Stops everything, frees every connection. */
void vsock_host_stop(struct vsock *vs);
/* The driver is ready, or a program in the guest: clients that were held go on. */
void vsock_host_release(struct vsock *vs);

/* The guest accepted a client's connection. */
void vsock_host_opened(struct vsock *vs, struct vsock_conn *c);
/* Payload for the host: [VSOCK_HDR_LEN, + len) of a chain's readable part. Credit was checked. 0, or -errno: reset it. */
int vsock_host_send(struct vsock_conn *c, const struct iovec *iov, unsigned n_iov, uint32_t len) must_check;

/*
 * The next three may free the connection: it is not touched after them.
 *
 * Settle follows up on any change of a connection: passes ends of directions on, has it served if there is something for the
 * guest. Kill resets it towards the guest, hangs up on the host. Forget is for a guest that knows it no more: what the host
 * socket did not take yet is still delivered, and a client is held again whose REQUEST was not sent, or was refused before any
 * program of the guest used vsock.
 */
void vsock_settle(struct vsock *vs, struct vsock_conn *c);
void vsock_kill(struct vsock *vs, struct vsock_conn *c);
void vsock_forget(struct vsock *vs, struct vsock_conn *c);

void vsock_deadline(struct vsock *vs, struct vsock_conn *c, uint64_t delay_ns);
/* Stops asking for input that nobody has room for; asks again when that has changed. */
void vsock_watch(struct vsock_conn *c);
