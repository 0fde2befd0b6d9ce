/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pump moves bytes from one descriptor to another on the loop, PUMP_CHUNK at most held in between: a sink that is slow
 * stops the reading, so the source feels it.
 *
 *   pump idle -> pump_start -> running -> `ended` (once) or pump_stop -> idle (bytes not yet written stay in `pend`)
 *
 * An end is a descriptor that at most one pump reads and at most one writes (a terminal and a socket can be both).
 */
#include "base/buf.h"
#include "base/loop.h"

/*
 * Not 64 KiB: what is written to a vsock socket at once becomes one packet, and with its headers that would not fit into 64 KiB
 * of the kernel's memory. It would take 128 KiB, and clear them, for each.
 */
#define PUMP_CHUNK (60u * 1024u)

enum pump_why {
	PUMP_EOF,  /* the source ended and its last byte has been written */
	PUMP_GONE, /* the sink takes no more */
};

struct pump_end {
	struct loop *loop;
	int fd; /* owned; -1: closed */
	bool is_socket;
	bool one_way; /* a sink whose peer never sends: that it shuts its side means that it has gone */
	struct loop_fd src;
	struct pump *reader, *writer; /* running pumps; set by pump_start */
};

struct pump {
	struct pump_end *from, *to; /* NULL: idle */
	struct buf pend;
	bool eof;
	bool close_when_idle; /* take the first moment without input for the end of file */
	void (*ended)(struct pump *p, enum pump_why why);
	void *ctx;
};

/* A non-blocking descriptor, consumed. */
void pump_end_open(struct pump_end *e, struct loop *loop, int fd, bool is_socket);
/* Closes; pumps must have been stopped. No-op when closed. */
void pump_end_close(struct pump_end *e);

void pump_init(struct pump *p, void (*ended)(struct pump *p, enum pump_why why), void *ctx);
void pump_start(struct pump *p, struct pump_end *from, struct pump_end *to);
/* `ended` does not run. No-op when idle. */
void pump_stop(struct pump *p);
/* Moves what can be moved now; may end the pump. No-op when idle. */
void pump_run(struct pump *p);
/* Frees what is held. The pump is idle. */
void pump_fini(struct pump *p);
