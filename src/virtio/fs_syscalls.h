/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fs*.c calls (see vmm/seccomp_gen.c for the form). Paths are judged by openat2's RESOLVE flags, by the jail's
 * root and by Landlock; the filter keeps the kinds of calls small. The heads of fs*.c say which file calls what.
 */

/* fs_new makes the thread its own. The secure bit is set by the jail; it only looks. */
ALLOW_EQUAL(unshare, 0, CLONE_FS)
ALLOW(fchdir)
ALLOW_EQUAL(prctl, 0, PR_GET_SECUREBITS)
ALLOW(eventfd2) /* workers tell the loop */

/* Descriptors: inodes by openat2, reopened through /proc/self/fd by openat. */
ALLOW(openat)
ALLOW(openat2)
ALLOW(statx)
ALLOW(fstatfs)
ALLOW(readlinkat)
ALLOW(getdents64)
ALLOW(lseek)
ALLOW_EQUAL(fcntl, 1, F_DUPFD_CLOEXEC) /* FLUSH */
MUSL(ALLOW_EQUAL(fcntl, 1, F_SETFD))   /* behind the one above */

/* Content. */
ALLOW(preadv)
ALLOW(pwritev2)
ALLOW(ftruncate)
ALLOW(fallocate)
ALLOW(copy_file_range)
ALLOW(fsync)
ALLOW(fdatasync)
ALLOW(syncfs)

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
ALLOW(fchownat)
ALLOW(utimensat)
ALLOW(umask)
ALLOW(setfsuid)
ALLOW(setfsgid)
ALLOW(getxattr)
ALLOW(fgetxattr)
ALLOW(lgetxattr)
ALLOW(setxattr)
ALLOW(listxattr)
ALLOW(removexattr)

/* Locks of the guest. */
ALLOW(flock)
ALLOW_EQUAL(fcntl, 1, F_OFD_GETLK)
ALLOW_EQUAL(fcntl, 1, F_OFD_SETLK)

/* Worker threads; never a process: CLONE_THREAD is demanded. clone3's flags cannot be seen, so glibc falls back. */
GLIBC(DENY(clone3, ENOSYS))
ALLOW_MASKED(clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM)
GLIBC(ALLOW(set_robust_list))
GLIBC(ALLOW(rseq))
GLIBC(ALLOW(sched_getaffinity))
