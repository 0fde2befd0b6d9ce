/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The folders and locks of the image store; private to src/image. The layout is in image.h.
 *
 *   lock                   one flock(2) for the names: shared to look up, exclusive to change; held for moments, never while
 *                          something is fetched
 *   names/<name>           with "/" written as "%"; two lines: the content's digest, the state of the source when it was
 *                          fetched (any text that changes when the source does; "-" when unknown)
 *   content/sha256-<hex>/  flock shared: in use. Whoever removes it first gets the exclusive lock
 *   tmp/<name>/            a fetch in progress; its owner, and the child that works for it, hold the exclusive flock. A folder
 *                          without a lock is left over from a crash and is removed by the next fetch, rm or prune
 *   tmp/rm%<hex>/          content on its way out
 *
 * Order: lock, then tmp/<name> or content. A waiter for tmp/<name> holds nothing.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/paths.h"

#define IMAGE_NAME_MAX 255
#define IMAGE_DIGEST_LEN 72 /* "sha256:", 64 hex digits, NUL */
#define IMAGE_JSON_MAX (4u << 20)

struct store {
	int dir, names, content, tmp;
	char path[PATH_LEN]; /* PODVM_STATE/images */
};

struct store_name {
	char digest[IMAGE_DIGEST_LEN];
	char source[128];
};

/* A fetch in progress. */
struct store_work {
	int fd;			       /* of tmp/<name>, locked */
	char name[IMAGE_NAME_MAX + 1]; /* escaped */
};

/* Opens, and makes what is missing. -EACCES: not root. */
int store_open(struct store *ret, struct err *err) must_check;
void store_close(struct store *s);
#define auto_store cleanup_with(store_close)
#define STORE_INIT                                                                                                     \
	{                                                                                                              \
		.dir = -1, .names = -1, .content = -1, .tmp = -1                                                       \
	}

/* The lock of the names, to be closed. Blocks. */
int store_lock(const struct store *s, bool exclusive, int *ret_lock, struct err *err) must_check;

/* 1: there is no such name (or what it says is no digest). The lock is held. */
int store_name_read(const struct store *s, const char *name, struct store_name *ret, struct err *err) must_check;
int store_name_write(const struct store *s, const char *name, const struct store_name *n, struct err *err) must_check;
int store_name_remove(const struct store *s, const char *name, struct err *err) must_check;
/* All names, in no order, with the lock held. fn returns < 0 to stop. */
int store_names(const struct store *s,
	int (*fn)(void *ctx, const char *name, const struct store_name *n, struct err *err), void *ctx,
	struct err *err) must_check;

/* Opens content and takes the shared lock, so that it stays. 1: it is not there. */
int store_content_use(const struct store *s, const char *digest, int *ret_fd, struct err *err) must_check;
bool store_content_exists(const struct store *s, const char *digest);
/* What the `size` file says; 0 when it cannot be read. *ret_created may be NULL. */
uint64_t store_content_size(int content_fd, uint64_t *ret_created);
/* 1: someone uses it. 0: nobody does, or it is not there. The exclusive lock is held. */
int store_content_busy(const struct store *s, const char *digest, struct err *err) must_check;
/* Removes content, with the exclusive lock held. -EBUSY (no message): in use. Absent is fine. */
int store_content_remove(const struct store *s, const char *digest, uint64_t *ret_freed, struct err *err) must_check;
/* Digests of all content. */
int store_contents(const struct store *s, int (*fn)(void *ctx, const char *digest, struct err *err), void *ctx,
	struct err *err) must_check;

/* Makes the work folder of `name`. 1: someone else is fetching it at this moment; *ret_other is their folder, to wait on. */
int store_work_begin(
	const struct store *s, const char *name, struct store_work *ret, int *ret_other, struct err *err) must_check;
/* Waits until the other one has ended, and closes. */
void store_work_wait(int other);
/* Moves tmp/<name>/<sub> into the content; present already: leaves it. The exclusive lock is held. */
int store_work_publish(const struct store *s, const struct store_work *w, const char *sub, const char *digest,
	struct err *err) must_check;
/* Removes the work folder and releases it. */
void store_work_end(const struct store *s, struct store_work *w);
/* Removes what crashed fetches left. The exclusive lock is held. */
int store_tmp_clean(const struct store *s, struct err *err) must_check;

bool digest_ok(const char *text);
/* A registry name ("busybox", "quay.io/a/b:tag") to its full form; no transports. */
int image_ref_parse(const char *text, char dst[512], struct err *err) must_check;
