/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Submounts: folders of the pod's share that are mounts of their own on the host. The guest's kernel mounts them by itself, each as a
 * superblock of its own, in the mount namespace of whoever walks into one first.
 *
 * That must be the agent, for two reasons. Containers that share a volume then share its superblock, hence its page cache, and
 * see each other's shared mappings. And the superblock outlives the container: when a process ends while a read ahead that
 * it caused is still under way, that read sends the file's RELEASE when it is done, and holds the inode until the answer. If the
 * process was the last of the only namespace with that superblock, Linux 6.1 finds an inode in use in a superblock
 * that it takes down, and stops at that: "VFS: Busy inodes after unmount", a BUG.
 */
/* Has the kernel mount what `path`, at or below the folder `base`, is; nothing happens where it is none or mounted already. */
void submount_take(int base, const char *path);

/*
 * Unmounts the submounts at or below `folder`, for which no process is left. Waits until the requests that are under way on `share`, the
 * mount point of their file system, have been answered, and those which follow from the answers.
 */
void submounts_drop(const char *share, const char *folder);
