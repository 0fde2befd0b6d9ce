/* SPDX-License-Identifier: Apache-2.0 */
/* Who deletes an entry holds a flock on it, so commands that run at the same time neither wait for nor repeat each other's work. */
#include "pod/trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/state.h"

int trash_move(const char *id, const char *name, struct err *err)
{
	char from[PATH_LEN], dir[PATH_LEN], to[PATH_LEN];
	uint64_t nonce;
	int r = pod_state_path(from, id, name, err);

	if (r == 0)
		r = pod_state_path(dir, ".trash", "", err);
	if (r < 0)
		return r;
	if (faccessat(AT_FDCWD, from, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = dir_make_all(dir, 0700, err);
	if (r < 0)
		return r;
	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return err_errno(err, "getrandom");
	r = str_format(to, sizeof(to), err, "%s/%s-%016llx", dir, id, (unsigned long long)nonce);
	if (r < 0)
		return r;
	return rename(from, to) < 0 && errno != ENOENT ? err_errno(err, "move '%s' to '%s'", from, to) : 0;
}

static int empty_one(int dirfd, const char *name, struct err *err)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return 0;
	return dir_remove_all(dirfd, name, err);
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int trash_empty(const char *id, struct err *err)
{
	cleanup_with(cleanup_dir) DIR *dir = NULL;
	char path[PATH_LEN];
	struct dirent *de;
	int r = pod_state_path(path, ".trash", "", err);

	if (r < 0)
		return r;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_errno(err, "open '%s'", path);
	while ((de = readdir(dir))) {
		if (*de->d_name == '.' || !str_has_prefix(de->d_name, id))
			continue;
		if (r == 0)
			r = empty_one(dirfd(dir), de->d_name, err);
		else
			(void)empty_one(dirfd(dir), de->d_name, NULL);
	}
	return r;
}
