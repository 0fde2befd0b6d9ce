/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/state.h"

int owner_lock(int *ret, struct err *err)
{
	char path[PATH_LEN];
	int r = str_format(path, sizeof(path), err, "%s/pods", path_state());

	if (r == 0)
		r = dir_make_all(path, 0700, err);
	if (r == 0)
		r = pod_state_path(path, ".lock", "", err);
	return r < 0 ? r : file_lock(path, ret, err);
}

int owner_take(const char *id, int *ret, struct err *err)
{
	char folder[PATH_LEN], path[PATH_LEN];
	auto_close int lock = -1;
	auto_close int fd = -1;
	int r = pod_state_path(folder, id, "", err);

	if (r == 0)
		r = pod_state_path(path, id, "owner", err);
	if (r == 0)
		r = owner_lock(&lock, err);
	if (r == 0)
		r = dir_make_all(folder, 0700, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, "open '%s'", path);
	/* Who only looks holds .lock for it. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, EBUSY, "pod %s is alive in another run folder", id)
					    : err_errno(err, "lock '%s'", path);
	if (ftruncate(fd, 0) < 0)
		return err_errno(err, "write '%s'", path);
	r = fd_write_all(fd, path_run(), strlen(path_run()));
	if (r < 0)
		return err_set(err, -r, "write '%s': %s", path, strerror(-r));
	*ret = take_fd(&fd);
	return 0;
}

bool owner_none(const char *id)
{
	char path[PATH_LEN], pod[PATH_LEN];
	auto_close int fd = -1;
	auto_free char *run = NULL;

	if (pod_state_path(path, id, "owner", NULL) < 0)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	/* Its maker died before it wrote the file: it holds .lock for that. */
	if (fd < 0)
		return errno == ENOENT;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 || file_read(AT_FDCWD, path, PATH_LEN, &run, NULL, NULL) < 0)
		return false;
	if (*run != '/')
		return true; /* cut off by a crash of the machine */
	return str_format(pod, sizeof(pod), NULL, "%s/pods/%s", run, id) == 0 && access(pod, F_OK) < 0 &&
	       errno == ENOENT;
}
