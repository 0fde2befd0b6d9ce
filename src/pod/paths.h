/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where things are. Each can be moved by an environment variable, which tests use:
 *   PODVM_LIBEXEC  helper programs (podvm-vmm) and the guest image builder; default: the folder of the running program, then
 *                  the installed libexec folder
 *   PODVM_RUN      run state, one folder a pod; default /run/podvm
 *   PODVM_STATE    images, logs, volumes; default /var/lib/podvm
 */
#include "base/err.h"

#define PATH_LEN 256

const char *path_run(void);
const char *path_state(void);
/* The full path of a helper program or script; -ENOENT tells where it was looked for. */
int path_helper(char dst[PATH_LEN], const char *name, struct err *err) must_check;
