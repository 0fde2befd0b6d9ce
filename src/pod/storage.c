/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names inside volumes and images are hostile: they are resolved with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) and then
 * bound by descriptor, never by a path that could change in between.
 */
#include "pod/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"

#define TERMINATION_MAX 4096

static int open_in(int root, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* ---- volumes ---- */

static int empty_dir_init(struct storage *st, const struct kube_volume *v, struct err *err)
{
	char path[PATH_LEN], target[300];
	auto_close int fd = -1;
	const struct kube_id *group = &st->pod->fs_group;
	int r = str_format(path, sizeof(path), err, "%s/volumes/%s", st->state_dir, v->name);

	if (r == 0)
		r = dir_make_all(path, 0700, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open '%s'", path);
	if (group->set && fchown(fd, 0, group->v) < 0)
		return err_errno(err, "volume '%s': give to group %u", v->name, group->v);
	if (fchmod(fd, group->set ? 02777 : 0777) < 0)
		return err_errno(err, "volume '%s'", v->name);
	(void)snprintf(target, sizeof(target), "volumes/%s", v->name);
	return share_bind(&st->share, fd, target, 0, err);
}

static int host_path_create(const struct kube_volume *v, struct err *err)
{
	int fd;

	if (access(v->host_path, F_OK) == 0)
		return 0;
	if (v->host_type == KUBE_HOST_DIRECTORY_OR_CREATE)
		return dir_make_all(v->host_path, 0755, err);
	if (v->host_type != KUBE_HOST_FILE_OR_CREATE)
		return 0;
	fd = open(v->host_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(err, "create '%s'", v->host_path);
	(void)close(fd);
	return 0;
}

static bool only_read(const struct kube_pod *pod, size_t volume)
{
	for (size_t i = 0; i < pod->n_containers; i++)
		for (size_t m = 0; m < pod->containers[i].n_mounts; m++)
			if (pod->containers[i].mounts[m].volume == volume && !pod->containers[i].mounts[m].read_only)
				return false;
	return true;
}

static int host_path_init(struct storage *st, size_t index, struct err *err)
{
	const struct kube_volume *v = &st->pod->volumes[index];
	bool want_dir = v->host_type == KUBE_HOST_DIRECTORY || v->host_type == KUBE_HOST_DIRECTORY_OR_CREATE;
	bool want_file = v->host_type == KUBE_HOST_FILE || v->host_type == KUBE_HOST_FILE_OR_CREATE;
	auto_close int fd = -1;
	char target[300];
	struct stat sb;
	int r = host_path_create(v, err);

	if (r < 0)
		return err_wrap(err, "%s", v->where);
	fd = open(v->host_path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &sb) < 0)
		return err_errno(err, "%s: '%s'%s", v->where, v->host_path,
			errno == ENOENT && v->host_type == KUBE_HOST_ANY
				? " (type: DirectoryOrCreate makes it when it is not there)"
				: "");
	if (!S_ISDIR(sb.st_mode) && !S_ISREG(sb.st_mode))
		return err_set(err, EINVAL,
			"%s: '%s' is a socket, fifo or device, which cannot reach into a VM; share its folder's files "
			"or publish a port instead",
			v->where, v->host_path);
	if ((want_dir && !S_ISDIR(sb.st_mode)) || (want_file && !S_ISREG(sb.st_mode)))
		return err_set(err, EINVAL, "%s: '%s' is not a %s as its type asks", v->where, v->host_path,
			want_dir ? "folder" : "file");
	(void)snprintf(target, sizeof(target), "volumes/%s", v->name);
	/* A volume that every container mounts read-only is read-only for the guest as a whole. */
	return share_bind(&st->share, fd, target, only_read(st->pod, index) ? SHARE_RO : 0, err);
}

/* The folders of "a/b/c" below dirfd, without the last part. */
static int make_parents(int dirfd, const char *path, struct err *err)
{
	char part[1024];

	if (!str_copy(part, sizeof(part), path))
		return err_set(err, ENAMETOOLONG, "'%.60s...' is too long", path);
	for (char *p = strchr(part, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdirat(dirfd, part, 0755) < 0 && errno != EEXIST)
			return err_errno(err, "make folder '%s' in the pod's share", part);
		*p = '/';
	}
	return 0;
}

static int files_init(struct storage *st, const struct kube_volume *v, struct err *err)
{
	const struct kube_id *group = &st->pod->fs_group;
	char target[300];
	auto_close int fd = -1;
	int r;

	(void)snprintf(target, sizeof(target), "volumes/%s", v->name);
	r = share_dir(&st->share, target, 0755, err);
	if (r < 0)
		return r;
	fd = openat(st->share.bare, target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "volume '%s'", v->name);
	for (size_t i = 0; i < v->n_files; i++) {
		const struct kube_file *f = &v->files[i];
		/* As the kubelet does: with an fsGroup its members may read. */
		mode_t mode = (mode_t)(f->mode | (group->set ? 0040 : 0));

		r = make_parents(fd, f->path, err);
		if (r == 0)
			r = share_file(&(struct share){.bare = fd}, f->path, f->data, f->len, mode, err);
		if (r == 0 && group->set && fchownat(fd, f->path, 0, group->v, AT_SYMLINK_NOFOLLOW) < 0)
			r = err_errno(err, "give '%s' to group %u", f->path, group->v);
		if (r < 0)
			return err_wrap(err, "volume '%s'", v->name);
	}
	return 0;
}

static int volume_init(struct storage *st, size_t index, struct err *err)
{
	const struct kube_volume *v = &st->pod->volumes[index];

	switch (v->kind) {
	case KUBE_VOLUME_EMPTY_DIR:
		return v->memory ? 0 : empty_dir_init(st, v, err);
	case KUBE_VOLUME_HOST_PATH:
		return host_path_init(st, index, err);
	case KUBE_VOLUME_FILES:
		return files_init(st, v, err);
	}
	return err_set(err, EINVAL, "volume '%s' is of an unknown kind", v->name);
}

/* ---- the share ---- */

/* Containers may write to /etc/hosts and its like, so these are no part of the read-only tmpfs. */
static int open_pod_files(struct storage *st, struct err *err)
{
	char path[PATH_LEN];
	int r = str_format(path, sizeof(path), err, "%s/pod", st->state_dir);

	if (r == 0)
		r = dir_make_all(path, 0755, err);
	if (r < 0)
		return r;
	st->pod_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (st->pod_fd < 0)
		return err_errno(err, "open '%s'", path);
	return share_dir(&st->share, "pod", 0755, err);
}

int storage_init(struct storage *st, const struct kube_pod *pod, const struct pod_home *home, struct err *err)
{
	static const char *const folders[] = {"volumes", "containers"};
	char path[PATH_LEN];
	int r;

	st->pod = pod;
	st->share.fd = st->pod_fd = -1;
	(void)str_copy(st->state_dir, sizeof(st->state_dir), home->state_dir);
	r = pod_run_path(path, home->id, "shared", err);
	if (r == 0)
		r = share_init(&st->share, path, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
		r = share_dir(&st->share, folders[i], 0755, err);
	if (r == 0)
		r = open_pod_files(st, err);
	for (size_t i = 0; r == 0 && i < pod->n_volumes; i++)
		r = volume_init(st, i, err);
	return r;
}

void storage_fini(struct storage *st)
{
	close_fd(&st->pod_fd);
	share_fini(&st->share);
}

int storage_pod_file(struct storage *st, const char *name, const void *bytes, size_t n, struct err *err)
{
	auto_close int fd = -1;
	char path[PATH_LEN];
	int r = file_write_atomic(st->pod_fd, name, bytes, n, 0644, err);

	if (r == 0)
		r = str_format(path, sizeof(path), err, "pod/%s", name);
	if (r < 0)
		return r;
	fd = openat(st->pod_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, "open '%s'", path) : share_bind(&st->share, fd, path, 0, err);
}

/* ---- containers ---- */

static int overlay_mount(struct storage *st, const char *id, const char *lower, struct err *err)
{
	char upper[PATH_LEN], work[PATH_LEN], to[PATH_LEN], options[4 * PATH_LEN + 600];
	int r = str_format(upper, sizeof(upper), err, "%s/containers/%s/upper", st->state_dir, id);

	if (r == 0)
		r = str_format(work, sizeof(work), err, "%s/containers/%s/work", st->state_dir, id);
	if (r == 0)
		r = str_format(to, sizeof(to), err, "%s/containers/%s/rootfs", st->share.path, id);
	if (r == 0)
		r = dir_make_all(upper, 0755, err);
	if (r == 0)
		r = dir_make_all(work, 0700, err);
	if (r == 0)
		r = str_format(options, sizeof(options), err, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
	if (r < 0)
		return r;
	if (strpbrk(lower, ":,\\") || strpbrk(upper, ":,\\"))
		return err_set(err, EINVAL, "'%s' or '%s' has ':', ',' or '\\' in it, which overlayfs cannot take",
			lower, upper);
	if (mount("overlay", to, "overlay", 0, options) < 0)
		return err_errno(err, "mount the container's root filesystem (overlay on '%s')", st->state_dir);
	return mount(NULL, to, NULL, MS_SHARED, NULL) < 0 ? err_errno(err, "share the root filesystem") : 0;
}

/* A volume's subPath, made when missing, as an O_PATH descriptor. No step leaves the volume. */
static int open_sub_path(int volume, const char *sub, int *ret, struct err *err)
{
	char part[1024];
	int fd = open_in(volume, sub, O_PATH);

	if (fd < 0 && errno == ENOENT && str_copy(part, sizeof(part), sub)) {
		for (char *p = part;; p++) {
			char saved = *p;

			if (saved != '/' && saved != '\0')
				continue;
			*p = '\0';
			fd = open_in(volume, part, O_PATH);
			if (fd < 0 && errno == ENOENT) {
				char *slash = strrchr(part, '/');
				auto_close int parent = -1;

				if (slash)
					*slash = '\0';
				parent = open_in(volume, slash ? part : ".", O_PATH | O_DIRECTORY);
				if (slash)
					*slash = '/';
				if (parent < 0 || mkdirat(parent, slash ? slash + 1 : part, 0750) < 0)
					return err_errno(err, "make subPath '%s'", sub);
				fd = open_in(volume, part, O_PATH);
			}
			*p = saved;
			if (fd < 0 || saved == '\0')
				break;
			close_fd(&fd);
		}
	}
	if (fd < 0)
		return err_errno(err, "subPath '%s'", sub);
	*ret = fd;
	return 0;
}

static int bind_sub_path(
	struct storage *st, const struct kube_mount *m, const char *id, size_t index, char **ret, struct err *err)
{
	const struct kube_volume *v = &st->pod->volumes[m->volume];
	auto_close int volume = -1, sub = -1;
	char path[PATH_LEN], target[PATH_LEN];
	struct stat sb;
	int r = str_format(path, sizeof(path), err, "volumes/%s", v->name);

	if (r == 0)
		r = str_format(target, sizeof(target), err, "containers/%s/sub/%zu", id, index);
	if (r < 0)
		return r;
	volume = openat(st->share.fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (volume < 0)
		return err_errno(err, "volume '%s': subPath '%s'", v->name, m->sub_path);
	r = open_sub_path(volume, m->sub_path, &sub, err);
	if (r == 0 && (fstat(sub, &sb) < 0 || (!S_ISDIR(sb.st_mode) && !S_ISREG(sb.st_mode))))
		r = err_set(err, EINVAL, "subPath '%s' is neither a file nor a folder", m->sub_path);
	if (r == 0)
		r = share_bind(&st->share, sub, target, m->read_only ? SHARE_RO : 0, err);
	if (r < 0)
		return err_wrap(err, "volume '%s'", v->name);
	return asprintf(ret, "%s/%s", GUEST_SHARE, target) < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

static int mount_source(
	struct storage *st, const struct kube_mount *m, const char *id, size_t index, char **ret, struct err *err)
{
	const struct kube_volume *v = &st->pod->volumes[m->volume];
	int n;

	if (v->kind == KUBE_VOLUME_EMPTY_DIR && v->memory)
		n = asprintf(ret, "%s/%s%s%s", GUEST_VOLUMES, v->name, *m->sub_path ? "/" : "", m->sub_path);
	else if (*m->sub_path)
		return bind_sub_path(st, m, id, index, ret, err);
	else
		n = asprintf(ret, "%s/volumes/%s", GUEST_SHARE, v->name);
	return n < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

static int container_folders(struct storage *st, const char *id, struct err *err)
{
	static const char *const parts[] = {"", "/rootfs", "/sub"};
	char path[PATH_LEN];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
		r = str_format(path, sizeof(path), err, "containers/%s%s", id, parts[i]);
		if (r == 0)
			r = share_dir(&st->share, path, 0755, err);
	}
	return r;
}

/* A file of the state folder, where the guest changes its bytes and nothing else. */
static int termination_log(char dst[PATH_LEN], const struct storage *st, const char *id, struct err *err)
{
	return str_format(dst, PATH_LEN, err, "%s/containers/%s/termination-log", st->state_dir, id);
}

static int bind_termination_log(struct storage *st, const char *id, struct err *err)
{
	char path[PATH_LEN], target[PATH_LEN];
	auto_close int fd = -1;
	int r = termination_log(path, st, id, err);

	if (r == 0)
		r = str_format(target, sizeof(target), err, "containers/%s/termination-log", id);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, 0666) < 0)
		return err_errno(err, "make '%s'", path);
	return share_bind(&st->share, fd, target, 0, err);
}

int storage_container(struct storage *st, const struct kube_container *c, const char *id, const char *image_rootfs,
	struct storage_paths *ret, struct err *err)
{
	char path[PATH_LEN];
	int r = container_folders(st, id, err);

	*ret = (struct storage_paths){.rootfs_fd = -1};
	if (r == 0)
		r = overlay_mount(st, id, image_rootfs, err);
	if (r == 0)
		r = bind_termination_log(st, id, err);
	if (r == 0)
		r = str_format(ret->rootfs, sizeof(ret->rootfs), err, "%s/containers/%s/rootfs", GUEST_SHARE, id);
	if (r == 0)
		r = str_format(ret->termination_log, sizeof(ret->termination_log), err,
			"%s/containers/%s/termination-log", GUEST_SHARE, id);
	if (r == 0)
		r = str_format(path, sizeof(path), err, "containers/%s/rootfs", id);
	if (r == 0) {
		ret->rootfs_fd = openat(st->share.fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (ret->rootfs_fd < 0)
			r = err_errno(err, "open the container's root filesystem");
	}
	if (r == 0 && c->n_mounts) {
		ret->mounts = calloc(c->n_mounts, sizeof(*ret->mounts));
		if (!ret->mounts)
			r = err_set(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; r == 0 && i < c->n_mounts; i++) {
		r = mount_source(st, &c->mounts[i], id, i, &ret->mounts[i], err);
		ret->n_mounts = i + 1;
	}
	if (r < 0) {
		storage_paths_fini(ret);
		storage_container_remove(st, id);
	}
	return r;
}

void storage_paths_fini(struct storage_paths *paths)
{
	for (size_t i = 0; i < paths->n_mounts; i++)
		free(paths->mounts[i]);
	free(paths->mounts);
	paths->mounts = NULL;
	paths->n_mounts = 0;
	close_fd(&paths->rootfs_fd);
}

void storage_container_remove(struct storage *st, const char *id)
{
	static const char *const bound[] = {"rootfs", "termination-log"};
	char path[PATH_LEN], name[PATH_LEN + 32];

	if (str_format(path, sizeof(path), NULL, "containers/%s", id) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(bound); i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", path, bound[i]);
		share_unbind(&st->share, name);
	}
	for (unsigned i = 0; i < 256; i++) {
		(void)snprintf(name, sizeof(name), "%s/sub/%u", path, i);
		share_unbind(&st->share, name);
	}
	share_remove(&st->share, path);
	if (str_format(path, sizeof(path), NULL, "%s/containers/%s", st->state_dir, id) == 0)
		(void)dir_remove_all(AT_FDCWD, path, NULL);
}

char *storage_termination_message(struct storage *st, const char *id)
{
	char path[PATH_LEN], *text;
	auto_close int fd = -1;
	ssize_t n;

	if (termination_log(path, st, id, NULL) < 0)
		return NULL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	text = malloc(TERMINATION_MAX + 1);
	n = fd >= 0 && text ? pread(fd, text, TERMINATION_MAX, 0) : -1;
	if (n <= 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

int storage_volume_open(const struct storage *st, size_t volume)
{
	char path[PATH_LEN];

	if (str_format(path, sizeof(path), NULL, "volumes/%s", st->pod->volumes[volume].name) < 0)
		return -ENAMETOOLONG;
	return openat(st->share.fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}
