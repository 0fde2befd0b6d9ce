/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fs*.c calls (see vmm/seccomp_gen.c for the form). Paths are judged by openat2's RESOLVE flags, by the jail's
 * root and by Landlock; the filter keeps the kinds of calls small.
 */

/* Descriptors: inodes by openat2, reopened through /proc/self/fd by openat. */
ALLOW(openat)
ALLOW(openat2)
ALLOW_EQUAL(fcntl, 1, F_DUPFD_CLOEXEC)
ALLOW_EQUAL(fcntl, 1, F_SETPIPE_SZ)
ALLOW(statx)
ALLOW(newfstatat)
ALLOW(fstatfs)
ALLOW(statfs)
ALLOW(readlinkat)
ALLOW(getdents64)
ALLOW(lseek)
ALLOW(eventfd2) /* workers tell the loop */

/* Content. */
ALLOW(pread64)
ALLOW(pwrite64)
ALLOW(preadv)
ALLOW(pwritev)
ALLOW(preadv2)
ALLOW(pwritev2)
ALLOW(readv)
ALLOW(ftruncate)
ALLOW(fallocate)
ALLOW(copy_file_range)
ALLOW(fsync)
ALLOW(fdatasync)
ALLOW(syncfs)
ALLOW(fadvise64)

/* Names. */
ALLOW(mkdirat)
ALLOW(mknodat) /* fifos and sockets; devices fail in the kernel, CAP_MKNOD is gone */
ALLOW(symlinkat)
ALLOW(linkat)
ALLOW(unlinkat)
ALLOW(renameat2)

/* Attributes, in the names of the guest's users. */
ALLOW(fchmod)
ALLOW(fchmodat)
ALLOW(fchown)
ALLOW(fchownat)
ALLOW(utimensat)
ALLOW(umask)
ALLOW(setfsuid)
ALLOW(setfsgid)
ALLOW(getxattr)
ALLOW(setxattr)
ALLOW(listxattr)
ALLOW(removexattr)
ALLOW(fgetxattr)
ALLOW(fsetxattr)
ALLOW(flistxattr)
ALLOW(fremovexattr)
ALLOW(fchdir) /* xattrs of inodes without a descriptor for reading go by /proc/self/fd */

/* Locks of the guest. */
ALLOW(flock)
ALLOW_EQUAL(fcntl, 1, F_OFD_GETLK)
ALLOW_EQUAL(fcntl, 1, F_OFD_SETLK)
ALLOW_EQUAL(fcntl, 1, F_OFD_SETLKW)

/* Worker threads; never a process: CLONE_THREAD is demanded. clone3's flags cannot be seen, so the C library falls back. */
DENY(clone3, ENOSYS)
ALLOW_MASKED(clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM)
ALLOW(set_robust_list)
ALLOW(rseq)
ALLOW(set_tid_address)
ALLOW(sched_getaffinity)
ALLOW_EQUAL(prctl, 0, PR_SET_NAME)
