/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Runs skopeo or umoci to its end; private to src/image. */
#include <stdint.h>

#include "base/err.h"

struct tool {
	const char *const *argv;
	const char *cwd;
	uint64_t clone_flags;
	int lock_fd; /* inherited, so that the lock lasts as long as the tool does */
	/* Lines of stdout go to `line`, or all of it, at most max_out bytes, to ret_out (malloc'ed, with a NUL). */
	void (*line)(void *ctx, const char *text);
	void *ctx;
	size_t max_out;
	char **ret_out;
};

/*
 * 0 = it ended with 0. Else err holds what the tool said last, shortened to the part that matters. -ENOENT: it is not
 * installed; -ENOSPC: the disk is full; -EIO: it failed.
 */
int tool_run(const struct tool *t, struct err *err) must_check;

/* What a failed tool said, as one line: the msg="..." of skopeo's log, else the last line without bullets. */
void tool_message(char *dst, size_t size, const char *text);
