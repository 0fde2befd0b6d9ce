/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pump moves bytes from one descriptor to another on the loop, PUMP_CHUNK at most held in between: a sink that is slow
 * stops the reading, so the source feels it.
 *
 *   pump idle -> pump_start -> running -> `ended` (once) or pump_stop -> idle (bytes not yet written stay in `pend`)
 *
 * An end is a descriptor that at most one pump reads and at most one writes (a terminal and a socket can be both).
 *
 * Gathering: a program that writes a few KiB at a time would wake us for each, and each would become a packet of its own. After
 * GATHER_AFTER looks that found little, GATHER_NS apart at most, a pump looks at its source every GATHER_NS only. It goes back to
 * looking at once when it finds nothing, when input came for the program (it may be waiting for an answer to what it wrote), and for a
 * number of looks when the source has filled up in the meantime, for then a fast writer was kept waiting; for twice as many the next time.
 */
#include "base/buf.h"
#include "base/loop.h"

/*
 * Not 64 KiB: what is written to a vsock socket at once becomes one packet, and with its headers that would not fit into 64 KiB
 * of the kernel's memory. It would take 128 KiB, and clear them, for each.
 */
#define PUMP_CHUNK (60u * 1024u)

#define GATHER_NS (2 * NS_PER_MS)
#define GATHER_AFTER 8
#define GATHER_FULL (248u * 1024u) /* next to nothing fits into a pipe of PUMP_PIPE any more */
#define GATHER_PAUSE_MIN 64
#define GATHER_PAUSE_MAX 4096
#define PUMP_PIPE (256u * 1024u) /* what a pipe that gathers should hold */

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
	/* Set between pump_init and pump_start. */
	bool gathers;
	const struct pump *prompt; /* the input that this output may be the answer to; NULL: none */
	/* Private. */
	struct loop_timer gather; /* set: the source is looked at when it is due */
	bool gathered;		  /* the present look began when it was due */
	size_t found;		  /* by the present look; one that has to wait for the sink goes on */
	uint64_t looked_ns;	  /* the end of the last look */
	unsigned small;		  /* looks in a row that found little */
	unsigned pause, pauses;	  /* looks to come before gathering again; how many they were at first */
	unsigned writes;	  /* wraps around, like: */
	unsigned prompted;	  /* prompt->writes at the last look */
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
