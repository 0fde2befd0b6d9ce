/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Container images on this machine: fetched by skopeo, unpacked by umoci, kept once per content under
 * PODVM_STATE/images. Names point to content; content without a name goes with `prune`.
 *
 *   images/lock                        flock for the names
 *   images/names/<escaped name>        file: the manifest digest, the state of the source
 *   images/content/<algo>-<hex>/       rootfs/, config.json (image configuration), manifest.json, size; complete or absent
 *   images/tmp/                        work in progress; what a crash leaves here the next writer removes
 *
 * Any number of processes may fetch, use and remove images at the same time; a name is fetched by one of them, the others wait.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "oci/image_config.h"

enum image_pull { IMAGE_PULL_MISSING, IMAGE_PULL_ALWAYS, IMAGE_PULL_NEVER };

struct image {
	char name[512];		    /* normalised: docker.io/library/busybox:latest, localhost/x:y */
	char digest[80];	    /* "sha256:<hex>" */
	char rootfs[512];	    /* absolute path of the unpacked root, to be used as a read-only lower layer */
	struct image_config config; /* zeroed in listings */
	uint64_t size;		    /* bytes unpacked */
	uint64_t created_ns;	    /* when it was stored, CLOCK_REALTIME */
};

void image_fini(struct image *img);

/*
 * "busybox", "quay.io/a/b:tag", "docker://...", "oci:PATH[:ref]", "oci-archive:PATH[:ref]", "docker-archive:PATH[:ref]" to
 * the name it is stored under (dst) and the skopeo source (src). Archive and layout sources are stored under
 * localhost/<base name>:<ref or latest>.
 */
int image_name_parse(const char *text, char dst[512], char src[768], struct err *err) must_check;

/*
 * The image for `text`, fetched according to `pull`. With IMAGE_PULL_MISSING a name that is here never touches the network.
 * A folder or archive (oci:, oci-archive:, docker-archive:) is looked at unless IMAGE_PULL_NEVER says not to, because other
 * folders may have given the same name; a source that has not changed is not fetched again. A bare localhost/ name is only
 * ever looked up. `progress` (may be NULL) gets one line per step, perhaps from another thread while the caller waits here.
 * `as_name` (may be NULL) stores it under another name. While the returned image is in use the caller holds *ret_lock (a shared
 * lock on its content; close it to release): rm and prune refuse content in use.
 * -ENOENT: not here and not to be fetched; -ENOSPC; -ENOEXEC: made for another machine; -EIO: the fetch failed.
 */
int image_get(struct image *ret, int *ret_lock, const char *text, const char *as_name, enum image_pull pull,
	void (*progress)(void *ctx, const char *line), void *ctx, struct err *err) must_check;

/* All names, sorted. *ret is malloc'ed; image_list_free. */
int image_list(struct image **ret, size_t *ret_n, struct err *err) must_check;
void image_list_free(struct image *list, size_t n);
/* Removes a name, and its content when no other name points there. -ENOENT, -EBUSY (a pod runs from it). */
int image_remove(const char *text, struct err *err) must_check;
/* Removes content without a name and leftovers; all: also every name not in use. *ret_freed in bytes. */
int image_prune(bool all, uint64_t *ret_freed, struct err *err) must_check;
