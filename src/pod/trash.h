/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a guest filled (volumes, writable layers) may take long to delete. So it is only renamed while the registry is locked, to
 * PODVM_STATE/pods/.trash/<id>-<nonce>, which is on the same file system, and deleted afterwards. What a crash leaves there, the next
 * pod_reap deletes.
 */
#include "base/err.h"

/* Moves PODVM_STATE/pods/<id>/<name> (name "": the pod's whole folder) there. What does not exist is moved already. */
int trash_move(const char *id, const char *name, struct err *err) must_check;
/*
 * Deletes what was moved of pod `id`, or of all pods (""). What another process is deleting is left to it. Goes on after a
 * failure and returns the first. Not to be called with the registry's lock.
 */
int trash_empty(const char *id, struct err *err) must_check;
