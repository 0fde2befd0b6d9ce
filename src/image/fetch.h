/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One fetch: from a skopeo source to content ready to be published; private to src/image. */
#include "image/store.h"

struct fetch {
	const struct store *store;
	const struct store_work *work;
	const char *name; /* for messages */
	const char *src;
	const struct store_name
		*known; /* what the name says now, or NULL: a source in the same state is not fetched again */
	void (*progress)(
		void *ctx, const char *line); /* may be NULL; runs in another thread while fetch_run waits for it */
	void *ctx;

	/* Results. */
	struct store_name got;
	int held; /* content that was here already, locked: the caller closes it when the name points to it; else -1 */
};

#define FETCH_UNPACKED "unpack" /* the folder in the work folder that becomes content */

/* 0: got is filled, and FETCH_UNPACKED is whole unless the content is held. 1: the source is as known. */
int fetch_run(struct fetch *f, struct err *err) must_check;
