/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What an unpacked tree holds; private to src/image. */
#include <stdint.h>

#include "base/err.h"

/*
 * Walks the tree at `path` (relative, of a thread with a current folder of its own): adds up the bytes its files take on disk, and removes
 * overlayfs attributes. -EBADMSG: it is not a folder, or has paths longer than 64 KiB.
 */
int tree_settle(const char *path, uint64_t *ret_bytes, struct err *err) must_check;
