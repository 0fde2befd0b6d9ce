/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Whose a folder PODVM_STATE/pods/<id> is. Several run folders may share one state folder (two containerds, a test beside a service),
 * and nobody may take another one's pod for what a reboot left. So each has a file `owner`: its text is the run folder, and the pod's
 * supervisor holds an exclusive flock on it for life.
 *
 *   flock held                                  the pod is alive, wherever its run folder is
 *   free, and the run folder named has the pod  finished or crashed; a matter of that run folder's commands
 *   free, and it has not                        nobody's: any command may remove it
 *
 * PODVM_STATE/pods/.lock is held while such a folder is made, and while it is decided on.
 */
#include <stdbool.h>

#include "base/paths.h"

/* PODVM_STATE/pods/.lock, waited for; *ret is released by closing it. Taken after the registry's lock, never before it. */
int owner_lock(int *ret, struct err *err) must_check;
/*
 * Makes the pod's folder and takes it: *ret holds the flock. -EBUSY: a pod of another run folder has it; then nothing was
 * changed.
 */
int owner_take(const char *id, int *ret, struct err *err) must_check;
/* With owner_lock: nobody's. When that cannot be found out, it is somebody's. */
bool owner_none(const char *id) must_check;
