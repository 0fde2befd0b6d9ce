/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Init of the shared PID namespace: a process of the agent's own binary that reaps what is orphaned in it and does nothing
 * else. Containers of the pod see it as PID 1, so it holds nothing: an empty read-only root, no descriptors but
 * /dev/null, no capabilities, an unprivileged user, not dumpable.
 */
#include <sys/types.h>

#include "base/err.h"

#define PAUSE_NAME "podvm-pause"

/* Starts it. It dies with its namespace, that is with the guest. */
int pause_start(pid_t *ret, struct err *err) must_check;
/* What it runs. */
int pause_main(void);
