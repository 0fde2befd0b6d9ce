/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/bytes.h"
#include "base/fd.h"

#define DATA_MAX 4095 /* mount(2) takes one page, with the NUL */

int rootfs_prepare(const struct share *sh, const char *id, struct err *err)
{
	static const char *const parts[] = {"", "/rootfs", "/m"};
	char path[PATH_LEN];
	int r = share_dir(sh, "containers", 0755, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
		r = str_format(path, sizeof(path), err, "containers/%s%s", id, parts[i]);
		if (r == 0)
			r = share_dir(sh, path, 0755, err);
	}
	return r;
}

int rootfs_guest_path(char dst[PATH_LEN], const char *id, struct err *err)
{
	return str_format(dst, PATH_LEN, err, GUEST_SHARE "/containers/%s/rootfs", id);
}

/* ---- mount options ---- */

static const struct {
	const char *name;
	unsigned long set, clear;
} options[] = {
	{"ro", MS_RDONLY, 0},
	{"rw", 0, MS_RDONLY},
	{"bind", MS_BIND, 0},
	{"rbind", MS_BIND | MS_REC, 0},
	{"nosuid", MS_NOSUID, 0},
	{"suid", 0, MS_NOSUID},
	{"nodev", MS_NODEV, 0},
	{"dev", 0, MS_NODEV},
	{"noexec", MS_NOEXEC, 0},
	{"exec", 0, MS_NOEXEC},
	{"noatime", MS_NOATIME, 0},
	{"nodiratime", MS_NODIRATIME, 0},
	{"relatime", MS_RELATIME, 0},
	{"sync", MS_SYNCHRONOUS, 0},
	{"defaults", 0, 0},
};

/* The options as flags; what is none goes into `data`, separated by commas. */
static int parse_options(const Ctrd__Mount *m, unsigned long *flags, struct buf *data, struct err *err)
{
	int r = 0;

	*flags = 0;
	for (size_t i = 0; i < m->n_options && r == 0; i++) {
		const char *o = m->options[i];
		size_t k = 0;

		if (str_eq(o, "loop"))
			return err_set(
				err, EINVAL, "rootfs: loop devices are not supported; use the overlayfs snapshotter");
		while (k < ARRAY_SIZE(options) && !str_eq(o, options[k].name))
			k++;
		if (k < ARRAY_SIZE(options))
			*flags = (*flags | options[k].set) & ~options[k].clear;
		else
			r = buf_printf(data, "%s%s", data->len ? "," : "", o);
	}
	if (r == 0)
		r = buf_append(data, "", 1);
	return r < 0 ? err_set(err, -r, "rootfs: the mount options are too long") : 0;
}

/*
 * The folders of many layers do not fit into one page. They have their beginning in common, so the mount is made from there
 * with the rest of each path. Returns where that is in `data` (the lowerdir's text is changed in place), or "".
 */
static int shorten(char *data, char dir[PATH_LEN], struct err *err)
{
	char *list = strstr(data, "lowerdir="), *end, *from, *to;
	size_t common;

	*dir = '\0';
	if (strlen(data) <= DATA_MAX)
		return 0;
	if (!list || (list != data && list[-1] != ','))
		return err_set(err, E2BIG, "rootfs: %zu bytes of mount options", strlen(data));
	list += strlen("lowerdir=");
	end = list + strcspn(list, ",");
	common = strcspn(list, ":,");
	for (char *p = list; p < end; p += strcspn(p, ":,") + 1) {
		size_t n = 0;

		while (n < common && p + n < end && p[n] == list[n])
			n++;
		common = n;
	}
	while (common > 0 && list[common - 1] != '/')
		common--;
	if (common == 0 || common >= PATH_LEN)
		return err_set(err, E2BIG, "rootfs: %zu bytes of mount options", strlen(data));
	memcpy(dir, list, common);
	dir[common] = '\0';
	for (from = to = list; from < end;) {
		size_t n;

		from += common;
		n = strcspn(from, ":,");
		memmove(to, from, n);
		to += n;
		from += n;
		if (from < end) {
			*to++ = ':';
			from++;
		}
	}
	memmove(to, end, strlen(end) + 1);
	return strlen(data) <= DATA_MAX ? 0 : err_set(err, E2BIG, "rootfs: too many layers");
}

/* ---- mounting ---- */

/* Its flags are set before it is in the share: the VMM's jail gets its copy at once, and later changes do not arrive there. */
static int bind_one(
	const struct share *sh, const Ctrd__Mount *m, unsigned long flags, const char *within, struct err *err)
{
	struct mount_attr attr = {
		.attr_set = (flags & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0) | (flags & MS_NOSUID ? MOUNT_ATTR_NOSUID : 0) |
			    (flags & MS_NODEV ? MOUNT_ATTR_NODEV : 0) | (flags & MS_NOEXEC ? MOUNT_ATTR_NOEXEC : 0)};
	auto_close int tree = open_tree(
		AT_FDCWD, m->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & MS_REC ? AT_RECURSIVE : 0));

	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_errno(err, "rootfs: bind '%.200s'", m->source);
	return share_graft(sh, tree, within, err);
}

static int mount_one(const struct share *sh, const Ctrd__Mount *m, const char *to, const char *within, struct err *err)
{
	auto_buf struct buf data = BUF_INIT(128 * 1024);
	char dir[PATH_LEN] = "";
	unsigned long flags;
	int r;

	if (*m->target && !str_eq(m->target, "/"))
		return err_set(err, EINVAL, "rootfs: a mount at '%.100s' within it is not supported", m->target);
	r = parse_options(m, &flags, &data, err);
	if (r == 0 && flags & MS_BIND)
		return bind_one(sh, m, flags, within, err);
	if (r == 0)
		r = shorten((char *)buf_data(&data), dir, err);
	if (r < 0)
		return r;
	if (*dir && chdir(dir) < 0)
		return err_errno(err, "rootfs: '%s'", dir);
	r = mount(m->source, to, m->type, flags, buf_data(&data)) < 0
		    ? err_errno(err, "rootfs: mount %s from '%.200s'", m->type, m->source)
		    : 0;
	if (*dir && chdir("/") < 0 && r == 0)
		r = err_errno(err, "rootfs: '/'");
	return r;
}

int rootfs_mount(const struct share *sh, const struct share_host *host, const char *id, Ctrd__Mount *const *mounts,
	size_t n, const char *path, struct err *err)
{
	char to[PATH_LEN], within[PATH_LEN];
	auto_close int tree = -1;
	bool below;
	int r = str_format(within, sizeof(within), err, "containers/%s/rootfs", id);

	if (r == 0)
		r = str_format(to, sizeof(to), err, "%s/%s", sh->path, within);
	if (r < 0)
		return r;
	if (n == 0) {
		r = share_take(host, path, 0, &tree, &below, err);
		return r < 0 ? err_wrap(err, "rootfs") : share_graft(sh, tree, within, err);
	}
	for (size_t i = 0; i < n && r == 0; i++)
		r = mount_one(sh, mounts[i], to, within, err);
	return r < 0 ? r : share_publish(sh, within, err);
}

/*
 * A hugetlbfs has nothing that could be read or written through a file server. The volume of a Pod is empty on the host, and every mount
 * of it has the same device number. What is below its root, or has files, would look different in the guest.
 */
static int take_huge(int tree, struct spec_mount *m, char ret_name[PATH_LEN], struct err *err)
{
	auto_close int fd = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char entries[4096];
	struct statfs fs;
	struct stat st;
	long n;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return err_errno(err, "look at the hugetlbfs '%.200s'", m->source);
	n = syscall(SYS_getdents64, fd, entries, sizeof(entries));
	/* "." and ".." have 24 bytes each. */
	if (n != 48 || strstr(m->source, "/volume-subpaths/"))
		return err_set(err, EINVAL,
			"'%.200s' is a hugetlbfs with files of the node, or a part of one (subPath): the pod's VM has "
			"huge pages of its own, in volumes that begin empty",
			m->source);
	if ((uint64_t)fs.f_bsize != SPEC_HUGE_PAGE)
		return err_set(err, EINVAL, "huge pages of %llu KiB cannot be made in a VM, only those of 2 MiB",
			(unsigned long long)fs.f_bsize / 1024);
	m->huge_page = (uint64_t)fs.f_bsize;
	m->mode = st.st_mode & 07777;
	m->uid = st.st_uid;
	m->gid = st.st_gid;
	return str_format(ret_name, PATH_LEN, err, "huge-%u-%u", major(st.st_dev), minor(st.st_dev));
}

static bool is_huge(int tree)
{
	struct statfs fs;

	return fstatfs(tree, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
}

int rootfs_bind(const struct share *sh, const struct share_host *host, const char *id, size_t i, struct spec_mount *m,
	char ret_guest[PATH_LEN], struct err *err)
{
	char within[PATH_LEN];
	auto_close int tree = -1;
	bool below;
	unsigned flags = (m->read_only ? SHARE_RO : 0u) | (m->recursive ? SHARE_RO_RECURSIVE : 0u) |
			 (m->flat ? SHARE_FLAT : 0u) | (m->follow ? SHARE_FOLLOW : 0u);
	int r = str_format(within, sizeof(within), err, "containers/%s/m/%zu", id, i);

	if (r == 0)
		r = str_format(ret_guest, PATH_LEN, err, GUEST_SHARE "/%s", within);
	if (r < 0)
		return r;
	if (*m->source != '/')
		return err_set(err, EINVAL, "its source '%.200s' is not an absolute path", m->source);
	r = share_take(host, m->source, flags, &tree, &below, err);
	if (r == 0 && is_huge(tree))
		return take_huge(tree, m, ret_guest, err);
	/* "ro" is of one mount, and the guest has one for all of them: then the host alone keeps it. */
	m->guest_writable = m->read_only && !m->recursive && below;
	return r < 0 ? r : share_graft(sh, tree, within, err);
}

void rootfs_remove(const struct share *sh, const char *id, size_t n_mounts)
{
	char path[PATH_LEN];

	if (sh->fd < 0)
		return;
	for (size_t i = 0; i < n_mounts; i++)
		if (str_format(path, sizeof(path), NULL, "containers/%s/m/%zu", id, i) == 0)
			share_unbind(sh, path);
	if (str_format(path, sizeof(path), NULL, "containers/%s/rootfs", id) == 0)
		share_unbind(sh, path);
	if (str_format(path, sizeof(path), NULL, "containers/%s", id) == 0)
		share_remove(sh, path);
}
