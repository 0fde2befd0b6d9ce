/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The host's side of a pod's vsock: an AF_UNIX socket where a client writes "CONNECT <port>\n" and reads "OK <n>\n" (the
 * hybrid vsock convention); on top of it, the streams of the agent (rpc/stream.h). Blocking and on a loop.
 */
#include "base/loop.h"
#include "rpc/stream.h"

/* A blocking connection to `port` in the guest. -ETIMEDOUT; -ECONNREFUSED when the guest refused. */
int hvsock_connect(const char *path, unsigned port, unsigned timeout_ms, int *ret_fd, struct err *err) must_check;
/* The same to the agent's stream port, with the header sent and accepted. */
int hvsock_attach(
	const char *path, const struct stream_header *h, unsigned timeout_ms, int *ret_fd, struct err *err) must_check;

/* A connection being made on a loop. Embedded in its owner. */
struct hvsock_dial {
	/* Runs once: fd is the owner's (non-blocking), or -1 and err. Not after hvsock_dial_cancel. */
	void (*done)(struct hvsock_dial *d, int fd, const struct err *err);

	/* Private. */
	struct loop_fd src;
	struct loop_timer timer;
	int fd;
	bool status_next; /* the OK line is read; the stream's status byte follows */
	bool is_stream;
	unsigned n;
	char line[32];
	uint8_t header[STREAM_HEADER_MAX];
	unsigned header_len;
};

/* Starts to connect to `port`; `h` not NULL: to the stream port, with this header. On a negative return `done` will not run. */
int hvsock_dial_start(struct hvsock_dial *d, struct loop *loop, const char *path, unsigned port,
	const struct stream_header *h, struct err *err) must_check;
void hvsock_dial_timeout(struct hvsock_dial *d, struct loop *loop, unsigned timeout_ms);
/* No-op when nothing is going on. */
void hvsock_dial_cancel(struct hvsock_dial *d);
