/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of the links are taken from the folder of files and not from src: what the guest has cached of src may be a second old,
 * while a folder of files has a new name each time. Attributes are asked for at the source for the same reason.
 */
#include "agent/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define DATA "..data"
#define DATA_NEW "..data_tmp"
#define LINK_MAX_LEN 4096

struct budget {
	unsigned files;
	size_t bytes;
};

static int look(int dir, const char *name, struct statx *ret)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_STATX_FORCE_SYNC;

	return statx(dir, name, flags, STATX_BASIC_STATS, ret) < 0 ? -errno : 0;
}

static int open_folder(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Changes nothing that is right already: that would be an event of its own. */
static int copy_attributes(const struct statx *want, int dir, const char *name)
{
	struct statx is;
	int r = look(dir, name, &is);

	if (r < 0)
		return r;
	if ((is.stx_uid != want->stx_uid || is.stx_gid != want->stx_gid) &&
		fchownat(dir, name, want->stx_uid, want->stx_gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		return -errno;
	/* The change of owner took the set-id bits away. */
	if (!S_ISLNK(want->stx_mode) && look(dir, name, &is) == 0 &&
		(is.stx_mode & 07777) != (want->stx_mode & 07777) &&
		(*name ? fchmodat(dir, name, want->stx_mode & 07777, 0) : fchmod(dir, want->stx_mode & 07777)) < 0)
		return -errno;
	return 0;
}

static int copy_bytes(int from, int to, struct budget *b)
{
	char bytes[16384];
	ssize_t n;
	int r;

	while ((n = read(from, bytes, sizeof(bytes))) > 0) {
		if ((size_t)n > MIRROR_BYTES_MAX - b->bytes)
			return -EFBIG;
		b->bytes += (size_t)n;
		r = fd_write_all(to, bytes, (size_t)n);
		if (r < 0)
			return r;
	}
	return n < 0 ? -errno : 0;
}

static int copy_file(int src, const char *name, const struct statx *stx, int dst, struct budget *b)
{
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT}, {.tv_sec = stx->stx_mtime.tv_sec, .tv_nsec = (long)stx->stx_mtime.tv_nsec}};
	auto_close int to = openat(dst, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	auto_close int from = -1;
	int r;

	if (to < 0) /* contents never change */
		return errno == EEXIST ? 0 : -errno;
	from = openat(src, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0)
		return -errno;
	r = copy_bytes(from, to, b);
	return r == 0 && futimens(to, times) < 0 ? -errno : r;
}

static int copy_link(int src, const char *name, int dst)
{
	char target[LINK_MAX_LEN];
	ssize_t n = readlinkat(src, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, dst, name) < 0 && errno != EEXIST ? -errno : 0;
}

static int copy_tree(int src, int dst, unsigned depth, struct budget *b);

static int copy_folder(int src, const char *name, int dst, unsigned depth, struct budget *b)
{
	auto_close int from = -1, to = -1;

	if (depth == MIRROR_DEPTH_MAX)
		return -EFBIG;
	if (mkdirat(dst, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	from = open_folder(src, name);
	to = open_folder(dst, name);
	if (from < 0 || to < 0)
		return from < 0 ? from : to;
	return copy_tree(from, to, depth + 1, b);
}

static int copy_one(int src, const char *name, int dst, unsigned depth, struct budget *b)
{
	struct statx stx;
	int r = look(src, name, &stx);

	if (r < 0)
		return r;
	if (b->files++ == MIRROR_FILES_MAX)
		return -EFBIG;
	switch (stx.stx_mode & S_IFMT) {
	case S_IFREG:
		r = copy_file(src, name, &stx, dst, b);
		break;
	case S_IFDIR:
		r = copy_folder(src, name, dst, depth, b);
		break;
	case S_IFLNK:
		r = copy_link(src, name, dst);
		break;
	default:
		r = -EINVAL;
	}
	return r < 0 ? r : copy_attributes(&stx, dst, name);
}

/* Calls `each` for every name of the folder. */
static int for_names(int dir, int (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = open_folder(dir, "."), r = 0;
	struct dirent *d;
	DIR *list;

	if (fd < 0)
		return fd;
	list = fdopendir(fd);
	if (!list) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, d = readdir(list)))
		if (!str_eq(d->d_name, ".") && !str_eq(d->d_name, ".."))
			r = each(ctx, d->d_name);
	if (r == 0 && errno)
		r = -errno;
	(void)closedir(list);
	return r;
}

struct step {
	int src, dst, files; /* files: dst/data */
	const char *data;
	unsigned depth;
	struct budget *budget;
};

static int each_copied(void *ctx, const char *name)
{
	const struct step *s = ctx;

	return copy_one(s->src, name, s->dst, s->depth, s->budget);
}

static int copy_tree(int src, int dst, unsigned depth, struct budget *b)
{
	struct step s = {.src = src, .dst = dst, .depth = depth, .budget = b};

	return for_names(src, each_copied, &s);
}

static bool leads_to(int dir, const char *name, const char *target)
{
	char text[NAME_MAX + 16];
	ssize_t n = readlinkat(dir, name, text, sizeof(text));

	return n >= 0 && (size_t)n == strlen(target) && memcmp(text, target, (size_t)n) == 0;
}

/* The link of src says whose it is to be; what is not there yet (or any more) is root's. */
static int copy_link_owner(int src, int dst, const char *name)
{
	struct statx stx;

	return look(src, name, &stx) == 0 ? copy_attributes(&stx, dst, name) : 0;
}

static int each_linked(void *ctx, const char *name)
{
	const struct step *s = ctx;
	char target[NAME_MAX + 16];

	(void)snprintf(target, sizeof(target), DATA "/%s", name);
	if (!leads_to(s->dst, name, target) && symlinkat(target, s->dst, name) < 0 && errno != EEXIST)
		return -errno;
	return copy_link_owner(s->src, s->dst, name);
}

/* Links whose file is gone, and former folders of files. What crun made to mount upon stays. */
static int each_swept(void *ctx, const char *name)
{
	const struct step *s = ctx;
	char target[NAME_MAX + 16];
	struct stat sb;

	if (str_has_prefix(name, ".."))
		return str_eq(name, s->data) || str_eq(name, DATA) ? 0 : dir_remove_all(s->dst, name, NULL);
	(void)snprintf(target, sizeof(target), DATA "/%s", name);
	if (leads_to(s->dst, name, target) && fstatat(s->files, name, &sb, AT_SYMLINK_NOFOLLOW) < 0 &&
		unlinkat(s->dst, name, 0) < 0)
		return -errno;
	return 0;
}

static int swap(const struct step *s)
{
	if (unlinkat(s->dst, DATA_NEW, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(s->data, s->dst, DATA_NEW) < 0)
		return -errno;
	if (renameat(s->dst, DATA_NEW, s->dst, DATA) < 0)
		return -errno;
	return 0;
}

static int copy_files(struct step *s, bool is_new)
{
	struct statx stx;
	auto_close int from = open_folder(s->src, s->data);
	int r;

	if (from < 0)
		return from;
	/* A child that was killed may have left a part of it. */
	r = is_new ? dir_remove_all(s->dst, s->data, NULL) : 0;
	if (r == 0 && is_new && mkdirat(s->dst, s->data, 0700) < 0)
		r = -errno;
	if (r < 0)
		return r;
	s->files = open_folder(s->dst, s->data);
	if (s->files < 0)
		return s->files;
	r = copy_tree(from, s->files, 0, s->budget);
	if (r == 0)
		r = look(from, "", &stx);
	return r < 0 ? r : copy_attributes(&stx, s->files, "");
}

static int mirror(struct step *s)
{
	bool is_new = !leads_to(s->dst, DATA, s->data);
	struct statx stx;
	int r = copy_files(s, is_new);

	if (r < 0) {
		if (is_new)
			(void)dir_remove_all(s->dst, s->data, NULL);
		return r;
	}
	if (is_new)
		r = swap(s);
	if (r == 0)
		r = copy_link_owner(s->src, s->dst, DATA);
	if (r == 0)
		r = for_names(s->files, each_linked, s);
	if (r == 0)
		r = for_names(s->dst, each_swept, s);
	if (r == 0)
		r = look(s->src, "", &stx);
	return r < 0 ? r : copy_attributes(&stx, s->dst, "");
}

int mirror_folder(int src, const char *data, int dst, struct err *err)
{
	struct budget b = {0};
	struct step s = {.src = src, .dst = dst, .files = -1, .data = data, .budget = &b};
	int r;

	if (!str_has_prefix(data, "..") || !data[2] || strchr(data, '/') || strlen(data) > NAME_MAX ||
		str_eq(data, DATA) || str_eq(data, DATA_NEW))
		return err_set(err, EINVAL, "'%.80s' is no folder of the kubelet's files", data);
	r = mirror(&s);
	close_fd(&s.files);
	if (r == -EFBIG)
		return err_set(err, EFBIG, "more than %u files or %u MiB", MIRROR_FILES_MAX, MIRROR_BYTES_MAX >> 20);
	return r < 0 ? err_set(err, -r, "copy '%.80s': %s", data, strerrordesc_np(-r)) : 0;
}
