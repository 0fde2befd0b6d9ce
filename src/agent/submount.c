/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/submount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/cleanup.h"
#include "base/log.h"

#define DROP_MAX 512 /* mounts; a container has at most ADJUST_MOUNTS_MAX, and its root */

void submount_take(int base, const char *path)
{
	struct statx stx;

	/* Neither O_PATH nor stat(2) mounts anything, this does. */
	(void)statx(base, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stx);
}

/*
 * The server answers in the order of the queue, and the kernel takes the answers in that order. So the first answer means that reads
 * before it are done, and their RELEASEs sent; the second, that those are done too; the third is for those that waited because
 * there were more in the background than the server had allowed.
 */
static void await_answers(const char *share)
{
	struct statfs sfs;

	for (int i = 0; i < 3; i++)
		(void)statfs(share, &sfs);
}

/* Where the first mount at or below `folder` is: the fifth field of the table of mounts. The caller's to free, or NULL. */
static char *mount_below(const char *folder)
{
	auto_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	auto_free char *line = NULL;
	size_t cap = 0, n = strlen(folder);
	char *found = NULL;

	while (f && !found && getline(&line, &cap, f) > 0) {
		char at[4096];

		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 && strncmp(at, folder, n) == 0 &&
			(at[n] == '/' || at[n] == '\0'))
			found = strdup(at);
	}
	return found;
}

void submounts_drop(const char *share, const char *folder)
{
	for (int i = 0; i < DROP_MAX; i++) {
		auto_free char *at = mount_below(folder);

		if (!at)
			return;
		if (i == 0)
			await_answers(share);
		/* With what is mounted below it. */
		if (umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
			log_warn("unmount '%.200s': %s", at, strerror(errno));
			return;
		}
	}
}
