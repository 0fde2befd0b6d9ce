/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a container sees of the host: shared/containers/<id>/{rootfs,m/<i>}, mounted in the shim's own mount namespace.
 */
#include "containerd.pb-c.h"
#include "pod/share.h"
#include "shim/spec.h"

/* Makes the folders of container `id`. */
int rootfs_prepare(const struct share *sh, const char *id, struct err *err) must_check;
/*
 * Mounts containerd's list (overlay, bind, and what mount(2) takes by name) one upon the other; an empty list: the folder
 * `path` (absolute) is bound. -EINVAL for what needs a loop device or has a target.
 */
int rootfs_mount(const struct share *sh, const struct share_host *host, const char *id, Ctrd__Mount *const *mounts,
	size_t n, const char *path, struct err *err) must_check;
/*
 * Binds a volume; its path in the guest goes to ret_guest. A hugetlbfs is not bound: its name goes there (m->huge_page). -EINVAL for
 * a socket, fifo or device, and for huge pages that the guest cannot have.
 */
int rootfs_bind(const struct share *sh, const struct share_host *host, const char *id, size_t i, struct spec_mount *m,
	char ret_guest[PATH_LEN], struct err *err) must_check;
/* The root filesystem's path in the guest. */
int rootfs_guest_path(char dst[PATH_LEN], const char *id, struct err *err) must_check;
/* Unmounts and removes all of it; n_mounts as many as rootfs_bind was given at most. */
void rootfs_remove(const struct share *sh, const char *id, size_t n_mounts);
