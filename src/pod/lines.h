/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whole lines out of a descriptor that another process writes to: a console, a stderr. */
#include "base/loop.h"

#define LINES_LEN_MAX 1024 /* bytes a line; the rest of a longer one is dropped */

struct lines {
	int fd; /* owned; -1 when closed */
	struct loop_fd src;
	/* One line without its end ("\n" or "\r\n"), not escaped. */
	void (*line)(void *ctx, const char *line, size_t len);
	void *ctx;
	size_t n;
	bool cut; /* the current line is longer than LINES_LEN_MAX */
	char buf[LINES_LEN_MAX];
};

/* Reads `fd` (consumed, also on failure; made non-blocking) on the loop until its end. `l` stays where it is. */
int lines_init(struct lines *l, struct loop *loop, int fd, void (*line)(void *ctx, const char *line, size_t len),
	void *ctx, struct err *err) must_check;
/* Reads and delivers what is there already, and the last line even if it has no end. At most 1 MiB. */
void lines_drain(struct lines *l);
/* Closes; what was not read is lost. No-op on a zeroed or closed one. */
void lines_fini(struct lines *l);
