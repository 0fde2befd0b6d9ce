/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The standard streams of one process: named pipes of containerd on one side, the agent's streams on the other. Bytes are moved
 * by splice(2), so a stream costs no memory and a slow reader holds the guest back, nobody else.
 *
 *   pipes_open -> pipes_attach -> (`attached`, once) -> output ends -> (`drained`, once) -> pipes_close
 *
 * Our own ends of the pipes keep them open while containerd is away. stdin ends when pipes_close_stdin was called (CloseIO), no one
 * else holds the pipe for writing, and what was in it has been sent.
 */
#include "pod/sandbox.h"

struct pipes;

struct pipes_stream {
	struct pipes *io;
	unsigned fd; /* 0, 1 or 2 */
	bool used;   /* it is to be attached, and not closed yet */
	int conn, pipe;
	int hold;  /* stdin: our own writer */
	bool drop; /* nobody wants the output, but it must not fill the guest's pipe */
	struct hvsock_dial dial;
	struct loop_fd src; /* of the end that is waited for */
};

struct pipes {
	struct loop *loop;
	struct pipes_stream stream[3];
	bool terminal;
	unsigned dials;
	bool failed;
	/* All streams are there, or err. */
	void (*attached)(struct pipes *io, const struct err *err);
	/* The last byte of the output is in containerd's pipe. */
	void (*drained)(struct pipes *io);
};

/* Sets it up, with nothing open; callbacks are set by the owner. */
void pipes_init(struct pipes *io, struct loop *loop);
/*
 * Opens the named pipes ("" for none). -EINVAL names a path that is something else: a file, a logging URI (binary://, file://).
 * With a terminal there is no stderr.
 */
int pipes_open(struct pipes *io, const char *in, const char *out, const char *errout, bool terminal,
	struct err *err) must_check;
int pipes_attach(
	struct pipes *io, struct sandbox *sb, const char *container, const char *exec, struct err *err) must_check;
bool pipes_is_drained(const struct pipes *io);
void pipes_close_stdin(struct pipes *io);
/* Closes everything; no callback runs any more. */
void pipes_close(struct pipes *io);
