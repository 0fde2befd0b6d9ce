/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What podvm exec asks the agent to run: the process object of the OCI runtime spec (config.md, "process"). */
#include <stdbool.h>

#include "cli/pods.h"

struct exec_process {
	const struct pod_entry *pod;
	const char *container, *container_id;
	char **args;	  /* NULL-terminated */
	const char *cwd;  /* NULL: the container's */
	const char *user; /* "user[:group]", names or numbers; NULL: the container's */
	bool terminal;
	unsigned rows, columns; /* of the terminal; 0: unknown */
};

/*
 * The object as JSON text, malloc'ed, with only what was asked for: the agent takes the rest from the container. -ENOENT: the
 * container has no such user. -EINVAL: text that is no UTF-8.
 */
int exec_process_make(const struct exec_process *p, char **ret, struct err *err) must_check;
