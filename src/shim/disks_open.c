/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "shim/disks.h"

/* The kernel's name of it, which is its node's in /dev. */
static int device_name(char dst[NAME_MAX + 1], unsigned major, unsigned minor, struct err *err)
{
	auto_free char *text = NULL;
	char path[64], *at;
	int r;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major, minor);
	r = file_read(AT_FDCWD, path, 4096, &text, NULL, NULL);
	if (r < 0)
		return err_set(err, ENODEV, "the node has no block device %u:%u", major, minor);
	at = strstr(text, "DEVNAME=");
	if (!at || (at != text && at[-1] != '\n'))
		return err_set(err, ENODEV, "block device %u:%u of the node has no name", major, minor);
	at += strlen("DEVNAME=");
	at[strcspn(at, "\n")] = '\0';
	return str_format(dst, NAME_MAX + 1, err, "%s", at);
}

int disks_open(unsigned major, unsigned minor, bool read_only, int *ret, struct err *err)
{
	char name[NAME_MAX + 1], path[NAME_MAX + 8];
	auto_close int fd = -1;
	struct stat st;
	int r = device_name(name, major, minor, err);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "open '%s', block device %u:%u of the node", path, major, minor);
	if (!S_ISBLK(st.st_mode) || st.st_rdev != makedev(major, minor))
		return err_set(err, ENOTBLK, "'%s' is not block device %u:%u", path, major, minor);
	*ret = take_fd(&fd);
	return 0;
}
