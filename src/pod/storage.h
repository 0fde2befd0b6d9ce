/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a pod's containers see of the host's file systems: the shared folder, which the guest mounts by virtio-fs at
 * GUEST_SHARE. All mounts live in the supervisor's own mount namespace and end with it, however it ends.
 *
 *   shared/pod/{hosts,resolv.conf,hostname}   files of the state, bound here: the guest may write to them
 *   shared/volumes/<name>            emptyDir and hostPath bound here, configMap and secret files written here (tmpfs)
 *   shared/containers/<id>/rootfs    overlay of the image and the container's own layer
 *   shared/containers/<id>/sub/<i>   a volume's subPath, resolved inside the volume and bound here
 *   shared/containers/<id>/termination-log   a file of the state, bound here
 *
 * The share itself is read-only for the guest (share.h), so these names stay what they are.
 */
#include "base/paths.h"
#include "kube/kube.h"
#include "pod/share.h"
#include "pod/state.h"

#define GUEST_VOLUMES "/run/podvm/volumes"

struct storage {
	const struct kube_pod *pod; /* borrowed */
	char state_dir[PATH_LEN];
	struct share share;
	int pod_fd; /* the folder of the state with what is in shared/pod; -1 when not set up */
};

/* Makes the shared folder and every volume of the pod. `pod` and `home` are borrowed. */
int storage_init(
	struct storage *st, const struct kube_pod *pod, const struct pod_home *home, struct err *err) must_check;
void storage_fini(struct storage *st);

/* Writes shared/pod/<name>, once. */
int storage_pod_file(struct storage *st, const char *name, const void *bytes, size_t n, struct err *err) must_check;

/* The guest paths of a container's mounts; free with storage_paths_fini. */
struct storage_paths {
	char rootfs[PATH_LEN], termination_log[PATH_LEN];
	char **mounts; /* one per kube_container.mounts */
	size_t n_mounts;
	int rootfs_fd; /* the mounted root filesystem on the host, O_PATH */
};

/* Mounts the root filesystem (a fresh writable layer over `image_rootfs`) and the sub paths of container instance `id`. */
int storage_container(struct storage *st, const struct kube_container *c, const char *id, const char *image_rootfs,
	struct storage_paths *ret, struct err *err) must_check;
void storage_paths_fini(struct storage_paths *paths);
/* Unmounts and deletes what storage_container made. */
void storage_container_remove(struct storage *st, const char *id);
/* The termination message, at most 4096 bytes, malloc'ed; NULL when there is none. */
char *storage_termination_message(struct storage *st, const char *id);
/* The folder of a volume (index into pod->volumes); < 0: there is none. */
int storage_volume_open(const struct storage *st, size_t volume) must_check;
