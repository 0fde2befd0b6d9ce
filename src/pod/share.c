/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tmpfs, so secrets never touch a disk. It is a shared mount: the VMM's jail, a slave of it, sees what is mounted here later (a
 * restarted container's root filesystem). Sources are bound by descriptor, never by a path that could change in between.
 */
#include "pod/share.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"

int share_enter(struct err *err)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(err, "make a mount namespace (are you root?)");
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(err, "detach the mount namespace");
	return 0;
}

int share_init(struct share *sh, const char *path, struct err *err)
{
	int r = dir_make_all(path, 0755, err);

	sh->fd = -1;
	if (r == 0 && !str_copy(sh->path, sizeof(sh->path), path))
		r = err_set(err, ENAMETOOLONG, "'%s' is too long for a pod's share", path);
	if (r < 0)
		return r;
	if (mount("podvm", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m,nr_inodes=65536") < 0 ||
		mount(NULL, path, NULL, MS_SHARED, NULL) < 0)
		return err_errno(err, "mount the pod's share");
	sh->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return sh->fd < 0 ? err_errno(err, "open the pod's share") : 0;
}

void share_fini(struct share *sh)
{
	if (sh->fd < 0)
		return;
	close_fd(&sh->fd);
	(void)umount2(sh->path, MNT_DETACH);
}

int share_dir(const struct share *sh, const char *path, mode_t mode, struct err *err)
{
	if (mkdirat(sh->fd, path, mode) < 0 && errno != EEXIST)
		return err_errno(err, "make folder '%s' in the pod's share", path);
	return fchmodat(sh->fd, path, mode, 0) < 0 ? err_errno(err, "make folder '%s'", path) : 0;
}

int share_file(const struct share *sh, const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	auto_close int fd = openat(sh->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return err_errno(err, "create '%s' in the pod's share", path);
	r = fd_write_all(fd, bytes, n);
	if (r < 0)
		return err_set(err, -r, "write '%s' in the pod's share: %s", path, strerrordesc_np(-r));
	return fchmod(fd, mode) < 0 ? err_errno(err, "write '%s'", path) : 0;
}

/* An empty file or folder in the share, of the kind that `src` is, to be mounted upon. */
static int make_target(const struct share *sh, const char *path, int src, struct err *err)
{
	struct stat sb;

	if (fstat(src, &sb) < 0)
		return err_errno(err, "look at the source of '%s'", path);
	return S_ISDIR(sb.st_mode) ? share_dir(sh, path, 0755, err) : share_file(sh, path, "", 0, 0644, err);
}

static int host_path(char dst[PATH_LEN], const struct share *sh, const char *path, struct err *err)
{
	return str_format(dst, PATH_LEN, err, "%s/%s", sh->path, path);
}

static int read_only(const char *to, unsigned flags, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (!(flags & SHARE_RO_RECURSIVE))
		return mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0
			       ? err_errno(err, "make '%s' read-only", to)
			       : 0;
	if (mount_setattr(AT_FDCWD, to, AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return err_errno(err, "make '%s' recursively read-only", to);
	return 0;
}

int share_bind(const struct share *sh, int src, const char *path, unsigned flags, struct err *err)
{
	char from[64], to[PATH_LEN];
	int r = make_target(sh, path, src, err);

	if (r == 0)
		r = host_path(to, sh, path, err);
	if (r < 0)
		return r;
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", src);
	if (mount(from, to, NULL, MS_BIND | (flags & SHARE_FLAT ? 0 : MS_REC), NULL) < 0)
		return err_errno(err, "bind '%s'", path);
	r = share_publish(sh, path, err);
	return r == 0 && flags & (SHARE_RO | SHARE_RO_RECURSIVE) ? read_only(to, flags, err) : r;
}

int share_publish(const struct share *sh, const char *path, struct err *err)
{
	char to[PATH_LEN];
	int r = host_path(to, sh, path, err);

	if (r < 0)
		return r;
	/* Mounts made later on the host arrive here, none of ours leave; and the VMM's jail follows us. */
	if (mount(NULL, to, NULL, MS_SLAVE | MS_REC, NULL) < 0 || mount(NULL, to, NULL, MS_SHARED | MS_REC, NULL) < 0)
		return err_errno(err, "share '%s' with the VM", path);
	return 0;
}

void share_unbind(const struct share *sh, const char *path)
{
	char to[PATH_LEN];

	if (sh->fd >= 0 && host_path(to, sh, path, NULL) == 0)
		(void)umount2(to, MNT_DETACH | UMOUNT_NOFOLLOW);
}
