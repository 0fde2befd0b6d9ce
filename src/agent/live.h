/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The copies of folders that change while containers run (SyncFolders). A change that the host makes raises no inotify event here, because
 * FUSE has none; so containers get a copy on tmpfs, LIVE_DIR/<container>/<index>, which this guest changes itself (mirror.h).
 *
 *   live_sync -> a child copies -> live_reaped answers
 */
#include "agent/agent.h"

/* [AGENT_CONTAINERS_MAX]; NULL: no memory. */
struct live_job *live_table(void);
/* Consumes rq, now or later. One at a time for a container. */
void live_sync(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__SyncFoldersRequest *req);
/* A child ended. True: it was one of these, and its caller has the answer. */
bool live_reaped(struct agent *a, pid_t pid, int status);
/* Removes the container's copies, now or when the child that works on them has ended. */
void live_remove(struct agent *a, const char *container);
