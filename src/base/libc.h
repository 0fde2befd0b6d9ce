/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * System calls and constants of Linux that glibc 2.36 declares and musl 1.2.3 does not: podvm-vmm is linked with musl, the rest
 * and all tests with glibc. Whoever uses one of these includes this header for it. Returns and errno as glibc's.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#ifndef __GLIBC__
#include <linux/falloc.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define strerrordesc_np strerror /* musl's is a table of constants too */

#ifndef STATX_TYPE
#include <linux/stat.h>
static inline int statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret)
{
	return (int)syscall(SYS_statx, dir, path, flags, mask, ret);
}
#endif

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1u << 0)
#define RENAME_EXCHANGE (1u << 1)
#define RENAME_WHITEOUT (1u << 2)
#endif

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x2
#define RWF_APPEND 0x10
/* On 64-bit machines the kernel takes the whole offset from the first of two arguments. */
static inline ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return syscall(SYS_pwritev2, fd, iov, n, off, 0L, flags);
}
#endif

static inline int fsopen(const char *type, unsigned flags)
{
	return (int)syscall(SYS_fsopen, type, flags);
}

static inline int fsconfig(int fd, unsigned command, const char *key, const void *value, int aux)
{
	return (int)syscall(SYS_fsconfig, fd, command, key, value, aux);
}

static inline int fsmount(int fd, unsigned flags, unsigned attr)
{
	return (int)syscall(SYS_fsmount, fd, flags, attr);
}

static inline int mount_setattr(int dir, const char *path, unsigned flags, struct mount_attr *attr, size_t len)
{
	return (int)syscall(SYS_mount_setattr, dir, path, flags, attr, len);
}
#endif
