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

void share_host_fini(struct share_host *h)
{
	close_fd(&h->host);
	close_fd(&h->own);
}

int share_enter_from(struct share_host *ret, struct err *err)
{
	int r = 0;

	*ret = (struct share_host){.host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), .own = -1};
	if (ret->host < 0)
		return err_errno(err, "open the mount namespace");
	r = share_enter(err);
	if (r == 0)
		ret->own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (r == 0 && ret->own < 0)
		r = err_errno(err, "open the mount namespace");
	if (r < 0)
		share_host_fini(ret);
	return r;
}

/* Is anything mounted below `source`? By the table of mounts, whose fifth field is the place ("\\040" for a space). */
static bool has_mounts_below(const char *source)
{
	auto_free char *real = realpath(source, NULL), *line = NULL;
	auto_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t cap = 0, n = real ? strlen(real) : 0;
	bool found = false;

	while (f && n && !found && getline(&line, &cap, f) > 0) {
		const char *at = line;

		for (int i = 0; i < 4 && at; i++)
			at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
		found = at && strncmp(at, real, n) == 0 && at[n] == '/';
	}
	return found;
}

/* In the host's namespace. */
static int take(const char *source, unsigned flags, int *ret, struct err *err)
{
	struct mount_attr one = {.attr_set = flags & SHARE_RO ? MOUNT_ATTR_RDONLY : 0};
	struct mount_attr all = {.attr_set = flags & SHARE_RO_RECURSIVE ? MOUNT_ATTR_RDONLY : 0,
		.propagation = flags & SHARE_FOLLOW ? MS_SLAVE : MS_PRIVATE};
	auto_close int fd = open(source, O_PATH | O_CLOEXEC), tree = -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "'%.200s'", source);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL,
			"'%.200s' is a socket, fifo or device of the node, which does not work from within a VM; reach "
			"the service over the network, or run the pod with the default runtime class",
			source);
	tree = open_tree(
		fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & SHARE_FLAT ? 0 : AT_RECURSIVE));
	if (tree < 0)
		return err_errno(err, "copy the mount of '%.200s'", source);
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &all, sizeof(all)) < 0 ||
		(one.attr_set && mount_setattr(tree, "", AT_EMPTY_PATH, &one, sizeof(one)) < 0))
		return err_errno(err, "set up the mount of '%.200s'", source);
	*ret = take_fd(&tree);
	return 0;
}

int share_take(
	const struct share_host *h, const char *source, unsigned flags, int *ret_tree, bool *ret_below, struct err *err)
{
	int r;

	if (setns(h->host, CLONE_NEWNS) < 0)
		return err_errno(err, "enter the host's mount namespace");
	r = take(source, flags, ret_tree, err);
	*ret_below = r == 0 && !(flags & SHARE_FLAT) && has_mounts_below(source);
	/* The process is good for nothing outside of its own namespace. */
	if (setns(h->own, CLONE_NEWNS) < 0)
		abort();
	return r;
}

int share_init(struct share *sh, const char *path, struct err *err)
{
	auto_close int bare = -1;
	int r = dir_make_all(path, 0755, err);

	sh->fd = sh->bare = -1;
	if (r == 0 && !str_copy(sh->path, sizeof(sh->path), path))
		r = err_set(err, ENAMETOOLONG, "'%s' is too long for a pod's share", path);
	if (r < 0)
		return r;
	if (mount("podvm", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m,nr_inodes=65536") < 0)
		return err_errno(err, "mount the pod's share");
	/* A second mount of it, which is in no tree: it stays writable, and nothing is ever mounted there. */
	bare = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (bare < 0)
		return err_errno(err, "copy the mount of the pod's share");
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 ||
		mount(NULL, path, NULL, MS_SHARED, NULL) < 0)
		return err_errno(err, "make the pod's share read-only");
	sh->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sh->fd < 0)
		return err_errno(err, "open the pod's share");
	sh->bare = take_fd(&bare);
	return 0;
}

void share_fini(struct share *sh)
{
	if (sh->fd < 0)
		return;
	close_fd(&sh->bare);
	close_fd(&sh->fd);
	(void)umount2(sh->path, MNT_DETACH);
}

int share_dir(const struct share *sh, const char *path, mode_t mode, struct err *err)
{
	if (mkdirat(sh->bare, path, mode) < 0 && errno != EEXIST)
		return err_errno(err, "make folder '%s' in the pod's share", path);
	return fchmodat(sh->bare, path, mode, 0) < 0 ? err_errno(err, "make folder '%s'", path) : 0;
}

int share_file(const struct share *sh, const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	auto_close int fd = openat(sh->bare, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
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

int share_bind(const struct share *sh, int src, const char *path, unsigned flags, struct err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	auto_close int tree = open_tree(
		src, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & SHARE_FLAT ? 0 : AT_RECURSIVE));
	int r;

	if (tree < 0)
		return err_errno(err, "copy the mount for '%s'", path);
	/* Before it is in the share: the VMM's jail gets its copy at once, and later changes of flags do not arrive there. */
	if (flags & (SHARE_RO | SHARE_RO_RECURSIVE) &&
		mount_setattr(tree, "", AT_EMPTY_PATH | (flags & SHARE_RO_RECURSIVE ? AT_RECURSIVE : 0), &attr,
			sizeof(attr)) < 0)
		return err_errno(err, "make '%s' read-only", path);
	r = share_graft(sh, tree, path, err);
	return r < 0 ? r : share_publish(sh, path, err);
}

int share_graft(const struct share *sh, int tree, const char *path, struct err *err)
{
	int r = make_target(sh, path, tree, err);

	/* The share is a shared mount: what is attached becomes one too, and the VMM's jail gets a copy that follows it. */
	if (r == 0 && move_mount(tree, "", sh->fd, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = err_errno(err, "mount '%s' in the pod's share", path);
	return r;
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

void share_remove(const struct share *sh, const char *path)
{
	(void)dir_remove_all(sh->bare, path, NULL);
}

void share_unbind(const struct share *sh, const char *path)
{
	char to[PATH_LEN];

	if (sh->fd >= 0 && host_path(to, sh, path, NULL) == 0)
		(void)umount2(to, MNT_DETACH | UMOUNT_NOFOLLOW);
}
