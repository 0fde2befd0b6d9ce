/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TCP connections of the host carried into the guest: each is accepted from a listener, and over vsock the agent dials the
 * guest's own localhost. Bytes go both ways through one small buffer a direction, so a slow reader slows its writer; the
 * end of one direction is passed on as half-close, a port where nobody listens as a reset. A reset by the guest's server arrives
 * as the end of both directions: Linux has no way to reset a vsock connection.
 *
 * At most RELAY_CONNS_MAX connections of a relay are open at once; further ones wait in the listeners' backlogs.
 */
#include "base/loop.h"

#define RELAY_CONNS_MAX 256
#define RELAY_BACKLOG 4096 /* for listen(2); when it overflows, the kernel resets clients */

struct relay_conn;
struct relay;

struct relay_listener {
	struct relay *relay;
	struct relay_listener *next;
	struct loop_fd src;
	int fd;
	uint16_t guest_port; /* 0: the port that the client dialled */
};

/* Embedded; zeroed it is unused and relay_fini does nothing. */
struct relay {
	struct loop *loop;
	const char *vsock_path; /* borrowed */
	struct relay_listener *listeners;
	struct relay_conn *conns;
	unsigned n_conns;
	struct loop_timer timer; /* accepting again after a shortage of descriptors or memory */
};

void relay_init(struct relay *relay, struct loop *loop, const char *vsock_path);
/* Serves `fd`, a listening non-blocking TCP socket, consumed. `l` is embedded in its owner and lives until relay_fini. */
int relay_listen(
	struct relay *relay, struct relay_listener *l, int fd, uint16_t guest_port, struct err *err) must_check;
/* Ends every connection and listener. */
void relay_fini(struct relay *relay);
