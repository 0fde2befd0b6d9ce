/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Volumes that the kubelet changes while containers run (ConfigMap, Secret, projected, downward API). FUSE cannot tell the guest of
 * changes, so containers get a copy in the guest's memory (proto/agent.proto, SyncFolders); this is the part that watches the original and
 * has the copy refreshed.
 *
 *   live_take (watch) -> live_ready (first copies) -> CreateContainer ... event -> 50 ms -> SyncFolders -> ... live_free
 *
 * No change is missed: the watch is older than the first look at what it watches, and an event during a call is followed by a call.
 */
#include "shim/shim.h"

/* What a copy may have at its beginning; it may grow to twice that, then it stays as it is (logged). */
#define LIVE_FILES_MAX 2048u
#define LIVE_BYTES_MAX (4u << 20)
/* And those of a pod together, so that two generations of each fit into the agent's 64 MiB; what comes later is bound as it is. */
#define LIVE_POD_BYTES_MAX (24u << 20)

/*
 * The data folder (ret, ret_size > 255) of the volume `dir` when it is one that the kubelet's atomic writer keeps: 1, and *ret_bytes is
 * what its files have. 0: it is anything else. -EFBIG: it is more than a copy may hold.
 */
int live_recognise(int dir, char *ret, size_t ret_size, uint64_t *ret_bytes) must_check;
/*
 * Volume `i` of the task, bound at `within` in the share, is to be a copy if it is of that kind: 1, and `guest` becomes the copy's path.
 * 0: it is not; -errno.
 */
int live_take(struct task *t, size_t i, const char *within, char guest[PATH_LEN], struct err *err) must_check;
/* Before CreateContainer: true when there is nothing to wait for; else task_send_create or task_create_failed follows. */
bool live_ready(struct task *t);
/* No-op when it has none. */
void live_free(struct task *t);
/* Of the shim. */
void live_fini(struct shim *sh);
