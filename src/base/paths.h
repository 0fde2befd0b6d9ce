/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where things are. Each can be moved by an environment variable, which tests use:
 *   PODVM_LIBEXEC  helper programs (podvm-vmm) and the guest image builder: one folder or several, separated by ":".
 *                  Default: the folder of the running program, then ../libexec/podvm beside it, then the folder
 *                  that the build was configured to install to
 *   PODVM_RUN      run state, one folder a pod; default /run/podvm
 *   PODVM_STATE    images, logs, volumes; default /var/lib/podvm
 * Each must be absolute and shorter than PATH_LEN / 2; paths_check says so when one is not, and until it is called (main
 * does) such a variable counts as not set.
 */
#include "base/err.h"

#define PATH_LEN 256

/* Absolute. Good until the environment is changed. */
const char *path_run(void);
const char *path_state(void);
/* Checks the three variables. -EINVAL names the one that is wrong, and how. */
int paths_check(struct err *err) must_check;
/*
 * The full path of a helper program or script, which is a regular file that this process may execute. -ENOENT tells where
 * it was looked for; -ENAMETOOLONG.
 */
int path_helper(char dst[PATH_LEN], const char *name, struct err *err) must_check;
