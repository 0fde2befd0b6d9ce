/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int open_folder(int parent, const char *name, struct err *err)
{
	int fd;

	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return err_errno(err, "image store: make folder '%s'", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, "image store: open folder '%s'", name) : fd;
}

int store_open(struct store *ret, struct err *err)
{
	auto_store struct store s = STORE_INIT;
	int r = str_format(s.path, sizeof(s.path), err, "%s/images", path_state());

	if (r < 0)
		return r;
	r = dir_make_all(path_state(), 0755, err);
	if (r < 0)
		return r;
	/* Images hold setuid programs and device nodes: nobody but root may walk in. */
	s.dir = open_folder(AT_FDCWD, s.path, err);
	if (s.dir < 0)
		return s.dir;
	s.names = open_folder(s.dir, "names", err);
	if (s.names < 0)
		return s.names;
	s.content = open_folder(s.dir, "content", err);
	if (s.content < 0)
		return s.content;
	s.tmp = open_folder(s.dir, "tmp", err);
	if (s.tmp < 0)
		return s.tmp;
	*ret = s;
	s = (struct store)STORE_INIT;
	return 0;
}

void store_close(struct store *s)
{
	close_fd(&s->tmp);
	close_fd(&s->content);
	close_fd(&s->names);
	close_fd(&s->dir);
}

static int lock_wait(int fd, int how)
{
	while (flock(fd, how) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

int store_lock(const struct store *s, bool exclusive, int *ret_lock, struct err *err)
{
	auto_close int fd = openat(s->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(err, "image store: open '%s/lock'", s->path);
	if (lock_wait(fd, exclusive ? LOCK_EX : LOCK_SH) < 0)
		return err_errno(err, "image store: lock '%s/lock'", s->path);
	*ret_lock = take_fd(&fd);
	return 0;
}

static void swap_all(char *text, char from, char to)
{
	for (; *text; text++)
		if (*text == from)
			*text = to;
}

static void escape(char dst[IMAGE_NAME_MAX + 1], const char *name)
{
	(void)str_copy(dst, IMAGE_NAME_MAX + 1, name);
	swap_all(dst, '/', '%');
}

int store_name_read(const struct store *s, const char *name, struct store_name *ret, struct err *err)
{
	char file[IMAGE_NAME_MAX + 1], *nl, *end;
	auto_free char *text = NULL;
	struct err why = {0};
	int r;

	escape(file, name);
	r = file_read(s->names, file, 1024, &text, NULL, &why);
	if (r == -ENOENT)
		return 1;
	if (r < 0)
		return err_set(err, -r, "image '%s': %s", name, why.msg);
	nl = strchr(text, '\n');
	if (!nl)
		return 1;
	*nl = '\0';
	end = strchr(nl + 1, '\n');
	if (end)
		*end = '\0';
	if (!digest_ok(text) || !str_copy(ret->source, sizeof(ret->source), nl + 1))
		return 1;
	(void)str_copy(ret->digest, sizeof(ret->digest), text);
	return 0;
}

/* By way of tmp/, so that a crash leaves nothing among the names. */
int store_name_write(const struct store *s, const char *name, const struct store_name *n, struct err *err)
{
	char file[IMAGE_NAME_MAX + 1], text[IMAGE_DIGEST_LEN + sizeof(n->source) + 2];
	struct err why = {0};
	int r;

	escape(file, name);
	r = snprintf(text, sizeof(text), "%s\n%s\n", n->digest, n->source);
	r = file_write_atomic(s->tmp, "name", text, (size_t)r, 0600, &why);
	if (r < 0)
		return err_set(err, -r, "image '%s': %s", name, why.msg);
	if (renameat(s->tmp, "name", s->names, file) < 0)
		return err_errno(err, "image '%s': write '%s/names/%s'", name, s->path, file);
	return 0;
}

int store_name_remove(const struct store *s, const char *name, struct err *err)
{
	char file[IMAGE_NAME_MAX + 1];

	escape(file, name);
	if (unlinkat(s->names, file, 0) < 0 && errno != ENOENT)
		return err_errno(err, "image '%s': remove '%s/names/%s'", name, s->path, file);
	return 0;
}

/* A stream of its own over a folder that stays open. */
static int list_folder(int fd, DIR **ret, struct err *err)
{
	auto_close int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (copy < 0)
		return err_errno(err, "image store: open folder");
	*ret = fdopendir(copy);
	if (!*ret)
		return err_errno(err, "image store: read folder");
	(void)take_fd(&copy);
	return 0;
}

int store_names(const struct store *s,
	int (*fn)(void *ctx, const char *name, const struct store_name *n, struct err *err), void *ctx, struct err *err)
{
	cleanup_with(close_dir) DIR *dir = NULL;
	struct dirent *e;
	int r = list_folder(s->names, &dir, err);

	if (r < 0)
		return r;
	while ((e = readdir(dir))) {
		struct store_name n;

		if (e->d_name[0] == '.' || strlen(e->d_name) > IMAGE_NAME_MAX)
			continue;
		swap_all(e->d_name, '%', '/');
		r = store_name_read(s, e->d_name, &n, err);
		if (r == 0)
			r = fn(ctx, e->d_name, &n, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void content_folder(char dst[IMAGE_DIGEST_LEN], const char *digest)
{
	(void)str_copy(dst, IMAGE_DIGEST_LEN, digest);
	swap_all(dst, ':', '-');
}

bool store_content_exists(const struct store *s, const char *digest)
{
	char folder[IMAGE_DIGEST_LEN];
	struct stat st;

	content_folder(folder, digest);
	return fstatat(s->content, folder, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int store_content_use(const struct store *s, const char *digest, int *ret_fd, struct err *err)
{
	char folder[IMAGE_DIGEST_LEN];
	auto_close int fd = -1;

	content_folder(folder, digest);
	fd = openat(s->content, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0)
		return err_errno(err, "image store: open '%s/content/%s'", s->path, folder);
	if (lock_wait(fd, LOCK_SH) < 0)
		return err_errno(err, "image store: lock '%s/content/%s'", s->path, folder);
	*ret_fd = take_fd(&fd);
	return 0;
}

uint64_t store_content_size(int content_fd, uint64_t *ret_created)
{
	auto_free char *text = NULL;
	uint64_t size = 0;
	struct stat st;

	if (ret_created)
		*ret_created = 0;
	if (file_read(content_fd, "size", 32, &text, NULL, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	if (str_to_u64(text, UINT64_MAX, &size, NULL) < 0)
		size = 0;
	if (ret_created && fstatat(content_fd, "size", &st, AT_SYMLINK_NOFOLLOW) == 0)
		*ret_created = (uint64_t)st.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st.st_mtim.tv_nsec;
	return size;
}

/* Takes the exclusive lock on content. 0, 1: it is not there, 2: someone uses it. */
static int content_claim(const struct store *s, const char *folder, int *ret_fd, struct err *err)
{
	auto_close int fd = openat(s->content, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0)
		return err_errno(err, "image store: open '%s/content/%s'", s->path, folder);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 2 : err_errno(err, "image store: lock '%s/content/%s'", s->path, folder);
	*ret_fd = take_fd(&fd);
	return 0;
}

int store_content_busy(const struct store *s, const char *digest, struct err *err)
{
	char folder[IMAGE_DIGEST_LEN];
	auto_close int fd = -1;
	int r;

	content_folder(folder, digest);
	r = content_claim(s, folder, &fd, err);
	return r < 0 ? r : r == 2;
}

int store_content_remove(const struct store *s, const char *digest, uint64_t *ret_freed, struct err *err)
{
	char folder[IMAGE_DIGEST_LEN], away[IMAGE_DIGEST_LEN + 8];
	auto_close int fd = -1;
	uint64_t size;
	int r;

	content_folder(folder, digest);
	r = content_claim(s, folder, &fd, err);
	if (r != 0)
		return r == 2 ? -EBUSY : r < 0 ? r : 0;
	size = store_content_size(fd, NULL);
	/* Content is whole or absent, so it goes in one step. */
	(void)snprintf(away, sizeof(away), "rm%%%s", folder);
	if (renameat(s->content, folder, s->tmp, away) < 0)
		return err_errno(err, "image store: remove '%s/content/%s'", s->path, folder);
	*ret_freed += size;
	return dir_remove_all(s->tmp, away, err);
}

int store_contents(
	const struct store *s, int (*fn)(void *ctx, const char *digest, struct err *err), void *ctx, struct err *err)
{
	cleanup_with(close_dir) DIR *dir = NULL;
	struct dirent *e;
	int r = list_folder(s->content, &dir, err);

	if (r < 0)
		return r;
	while ((e = readdir(dir))) {
		char *dash = strchr(e->d_name, '-');

		if (!dash)
			continue;
		*dash = ':';
		if (!digest_ok(e->d_name))
			continue;
		r = fn(ctx, e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Removes tmp/<name> if nobody works in it; 1: someone does. */
static int clean_one(const struct store *s, const char *name, struct err *err)
{
	auto_close int fd = openat(s->tmp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 1 : err_errno(err, "image store: lock '%s/tmp/%s'", s->path, name);
	return dir_remove_all(s->tmp, name, err);
}

int store_tmp_clean(const struct store *s, struct err *err)
{
	cleanup_with(close_dir) DIR *dir = NULL;
	struct dirent *e;
	int r = list_folder(s->tmp, &dir, err);

	if (r < 0)
		return r;
	while ((e = readdir(dir))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		r = clean_one(s, e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The owner removes its folder without the lock of the names, so what was opened may be gone already. */
static bool still_there(const struct store *s, const struct store_work *w)
{
	struct stat mine, now;

	return fstat(w->fd, &mine) == 0 && fstatat(s->tmp, w->name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_ino == now.st_ino;
}

int store_work_begin(const struct store *s, const char *name, struct store_work *ret, int *ret_other, struct err *err)
{
	struct store_work w = {.fd = -1};
	auto_close int lock = -1;
	int r = store_lock(s, true, &lock, err);

	if (r < 0)
		return r;
	r = store_tmp_clean(s, err);
	if (r < 0)
		return r;
	escape(w.name, name);
	for (;;) {
		if (mkdirat(s->tmp, w.name, 0700) < 0 && errno != EEXIST)
			return err_errno(err, "image store: make folder '%s/tmp/%s'", s->path, w.name);
		w.fd = openat(s->tmp, w.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (w.fd < 0 && errno == ENOENT)
			continue;
		if (w.fd < 0)
			return err_errno(err, "image store: open '%s/tmp/%s'", s->path, w.name);
		if (flock(w.fd, LOCK_EX | LOCK_NB) < 0)
			break;
		if (still_there(s, &w)) {
			*ret = w;
			return 0;
		}
		close_fd(&w.fd);
	}
	if (errno == EWOULDBLOCK) {
		*ret_other = w.fd;
		return 1;
	}
	r = err_errno(err, "image store: lock '%s/tmp/%s'", s->path, w.name);
	close_fd(&w.fd);
	return r;
}

void store_work_wait(int other)
{
	(void)lock_wait(other, LOCK_SH);
	(void)close(other);
}

int store_work_publish(
	const struct store *s, const struct store_work *w, const char *sub, const char *digest, struct err *err)
{
	char folder[IMAGE_DIGEST_LEN];

	if (store_content_exists(s, digest))
		return 0;
	content_folder(folder, digest);
	if (renameat(w->fd, sub, s->content, folder) < 0)
		return err_errno(err, "image store: make '%s/content/%s'", s->path, folder);
	return 0;
}

void store_work_end(const struct store *s, struct store_work *w)
{
	if (w->fd < 0)
		return;
	/* What cannot be removed now, the next fetch tries again. */
	(void)dir_remove_all(s->tmp, w->name, NULL);
	close_fd(&w->fd);
}
