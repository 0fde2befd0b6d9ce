/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Volumes of huge pages. The host's hugetlbfs cannot be shared with a guest, so the guest has one of its own for each such volume of the
 * pod; the spec names it with a mount of type "hugetlbfs":
 *
 *   source   the volume's name, "huge-" and digits and '-'; mounts with the same name are the same volume
 *   options  "pagesize=2097152", "mode=OCTAL", "uid=N", "gid=N"; "ro"
 *
 * Its pages are taken from the guest's memory when a program maps them; where they cannot be had, its mmap(2) fails.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HUGETLB_PAGE (UINT64_C(2) << 20)

/*
 * Mounts the volume below `dir` unless it is there, and makes `mount` a bind mount of it. -EINVAL names what is wrong with the
 * mount.
 */
int hugetlb_volume(json_t *mount, const char *dir, struct err *err) must_check;

/* The options of such a mount: for tests. */
struct hugetlb_options {
	uint64_t page, mode, uid, gid;
	bool ro;
};
int hugetlb_options(struct hugetlb_options *ret, const json_t *mount, struct err *err) must_check;
