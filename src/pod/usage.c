/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/usage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

/* A folder that is gone by now, or cannot be read, counts nothing. */
static void enter(struct usage *u, int fd)
{
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir)
		u->dirs[u->depth++] = dir;
	else if (fd >= 0)
		(void)close(fd);
}

static void too_large(struct usage *u)
{
	usage_end(u);
	u->bytes = UINT64_MAX;
}

void usage_begin(struct usage *u, int fd)
{
	*u = (struct usage){.files_left = USAGE_FILES_MAX};
	enter(u, fd);
}

static void look(struct usage *u, int dir, const char *name)
{
	struct stat sb;

	if (str_eq(name, "..") || fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (u->files_left-- == 0 || __builtin_add_overflow(u->bytes, (uint64_t)sb.st_blocks * 512, &u->bytes)) {
		too_large(u);
		return;
	}
	if (!S_ISDIR(sb.st_mode) || str_eq(name, "."))
		return;
	if (u->depth == USAGE_DEPTH_MAX)
		too_large(u);
	else
		enter(u, openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

bool usage_step(struct usage *u, unsigned n)
{
	for (; u->depth > 0 && n > 0; n--) {
		DIR *dir = u->dirs[u->depth - 1];
		const struct dirent *e = readdir(dir);

		if (e) {
			look(u, dirfd(dir), e->d_name);
		} else {
			(void)closedir(dir);
			u->depth--;
		}
	}
	return u->depth == 0;
}

void usage_end(struct usage *u)
{
	while (u->depth > 0)
		(void)closedir(u->dirs[--u->depth]);
}
