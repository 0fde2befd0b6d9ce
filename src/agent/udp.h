/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * STREAM_DIAL_UDP: one stream of datagrams and one UDP socket of the guest, connected to localhost:port.
 *
 *   udp_start -> both directions relayed -> `ended` -> udp_stop
 *
 * Nobody may listen there yet, or no more: such datagrams are lost, as with UDP. IPv4 is tried first; a port that
 * refuses is tried with IPv6, and so on in turn.
 */
#include "rpc/dgram.h"

struct udp {
	struct dgram pipe;
	struct loop_fd src;
	int fd;
	uint16_t port;
	bool v6;
	/* The stream ended or idled. udp_stop is the owner's to call, also from here. */
	void (*ended)(struct udp *u);
};

/* -errno: no socket; nothing is held then. */
int udp_start(
	struct udp *u, struct loop *loop, uint16_t port, void (*ended)(struct udp *u), struct err *err) must_check;
/* `stream` is borrowed until udp_stop. */
int udp_attach(struct udp *u, int stream, struct err *err) must_check;
void udp_stop(struct udp *u);
