/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The FUSE protocol as this server speaks it: the kernel's header, its sizes checked, and our limits. */
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>

#define FS_MINOR_MIN 27 /* older drivers than virtio-fs itself: refused */
#define FS_MINOR_MAX 38

#define FS_NAME_MAX 255
#define FS_TARGET_MAX 4095		      /* of a symbolic link */
#define FS_XATTR_MAX 65536		      /* a value, or a list of names */
#define FS_IO_MAX (1024u * 1024u)	      /* one READ or WRITE */
#define FS_BODY_MAX (FS_XATTR_MAX + 2 * 1024) /* arguments of any request, the data of WRITE aside */
#define FS_OUT_MAX (64u * 1024u)	      /* any reply, the data of READ aside */

/* Answers are good for this long in the guest; an absent name is never remembered. See fs.c. */
#define FS_VALID_S 1

_Static_assert(FUSE_KERNEL_VERSION == 7 && FUSE_KERNEL_MINOR_VERSION >= FS_MINOR_MAX, "linux/fuse.h is too old");
_Static_assert(sizeof(struct fuse_in_header) == 40 && sizeof(struct fuse_out_header) == 16, "headers");
_Static_assert(sizeof(struct fuse_entry_out) == 128 && sizeof(struct fuse_attr_out) == 104, "entries");
_Static_assert(sizeof(struct fuse_init_in) == 64 && sizeof(struct fuse_init_out) == 64, "INIT");

#define FS_INIT_IN_MIN 16 /* struct fuse_init_in before flags2 */
