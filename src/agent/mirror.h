/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A copy of a folder that the kubelet's atomic writer keeps (kubernetes: pkg/volume/util/atomic_writer.go):
 *
 *   ..2026_11_25_12_00_00.1/   the files; never changed once ..data leads to it
 *   ..data -> ..2026_...       replaced by rename(2) from ..data_tmp
 *   key -> ..data/key          one for each entry of the folder of files
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define MIRROR_FILES_MAX 4096u
#define MIRROR_BYTES_MAX (8u << 20)
#define MIRROR_DEPTH_MAX 16

/*
 * Brings `dst` to the state of `src` (descriptors of folders; borrowed) in which ..data is `data`, by the steps of that writer:
 * what watches dst sees what it would see in src. Owners, modes and times come along. No link is followed. Blocks.
 * -ENOENT: src does not have `data` (any more); -EFBIG: more than MIRROR_FILES_MAX or MIRROR_BYTES_MAX; -EINVAL: `data` is no name of that
 * kind, or there is something else than files, folders and links; then dst shows its former contents.
 */
int mirror_folder(int src, const char *data, int dst, struct err *err) must_check;
