/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How much a folder takes on disk, counted in steps: its content is the guest's, which may make it as large as it likes, and the loop has
 * more to do. Links are not followed; a file with several names counts for each.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#define USAGE_FILES_MAX 200000u
#define USAGE_DEPTH_MAX 100u

struct usage {
	DIR *dirs[USAGE_DEPTH_MAX]; /* from the top to the one being read */
	unsigned depth;		    /* how many; 0: nothing is being counted */
	unsigned files_left;
	uint64_t bytes;
};

/* Starts with the folder `fd` (consumed; < 0: an empty one). `u` is zeroed or has been ended. */
void usage_begin(struct usage *u, int fd);
/*
 * Looks at `n` more entries at most. True: done, and u->bytes is the sum; UINT64_MAX when it is deeper than USAGE_DEPTH_MAX or has
 * more than USAGE_FILES_MAX entries: that is over any limit.
 */
bool usage_step(struct usage *u, unsigned n);
/* Stops in the middle. No-op when nothing is being counted. */
void usage_end(struct usage *u);
