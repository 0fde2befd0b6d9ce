/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pod's cgroup on the host, where its supervisor and VM live, so that the node's accounting sees what the pod truly costs.
 * cgroup v1 (every hierarchy but cpuset, whose new groups admit nobody) and v2.
 */
#include <jansson.h>

#include "base/err.h"

struct host_cgroup;

/*
 * Moves the calling process there, making what is missing: `path` is linux.cgroupsPath, a path from the root of the hierarchies
 * ("/kubepods/pod1/abc") or systemd's "slice:prefix:name". Children started later are born there. -EINVAL: a path that could
 * lead elsewhere.
 */
int host_cgroup_join(struct host_cgroup **ret, const char *path, struct err *err) must_check;
/* Moves the calling process back to where it was and removes what was made and is empty. Frees. NULL is fine. */
void host_cgroup_leave(struct host_cgroup *hc);
/* For state.json: the folders that were made. A new reference; NULL: an empty array. */
json_t *host_cgroup_json(const struct host_cgroup *hc);
/* Removes the folders of such an array, each only below a cgroup mount. Busy ones stay for those who use them. */
void host_cgroup_remove(json_t *folders);
/* The folder of `path` below a hierarchy, without a slash in front: "kubepods.slice/.../cri-containerd-abc.scope". */
int host_cgroup_folder(char *dst, size_t size, const char *path, struct err *err) must_check;
