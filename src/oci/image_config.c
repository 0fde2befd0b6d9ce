/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of an image's configuration that says how to run it. The blob is whatever a registry sent: bounded, checked
 * by a table, and copied into plain strings. The files of the root filesystem are read under RESOLVE_IN_ROOT, so a
 * symbolic link in an image leads to a file of that image, and only regular files are read, so that none blocks.
 */
#include "oci/image_config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "oci/json.h"
#include "oci/user_db.h"

#define CONFIG_MAX (1u << 20)
#define CONFIG_DEPTH 32
#define USER_FILE_MAX (1u << 20)

static const struct json_rule rules[] = {
	{"config", JSON_KIND_OBJECT},
	{"config.Entrypoint", JSON_KIND_ARRAY},
	{"config.Entrypoint[]", JSON_KIND_STRING},
	{"config.Cmd", JSON_KIND_ARRAY},
	{"config.Cmd[]", JSON_KIND_STRING},
	{"config.Env", JSON_KIND_ARRAY},
	{"config.Env[]", JSON_KIND_STRING},
	{"config.Volumes", JSON_KIND_OBJECT},
	{"config.User", JSON_KIND_STRING},
	{"config.WorkingDir", JSON_KIND_STRING},
	{"config.StopSignal", JSON_KIND_STRING},
};

/* The strings of an array, or the keys of an object; empty for NULL. */
static int copy_list(char ***ret, json_t *v)
{
	char **list = calloc(MAX_OF(json_array_size(v), json_object_size(v)) + 1, sizeof(*list));
	const char *key;
	json_t *child;
	size_t i, n = 0;

	*ret = list;
	if (!list)
		return -ENOMEM;
	json_array_foreach (v, i, child) {
		list[n] = strdup(json_string_value(child));
		if (!list[n++])
			return -ENOMEM;
	}
	json_object_foreach (v, key, child) {
		list[n] = strdup(key);
		if (!list[n++])
			return -ENOMEM;
	}
	return 0;
}

static int copy_text(char **ret, const json_t *v)
{
	*ret = strdup(json_is_string(v) ? json_string_value(v) : "");
	return *ret ? 0 : -ENOMEM;
}

static int copy_config(struct image_config *cfg, const json_t *from)
{
	int r = copy_list(&cfg->entrypoint, json_object_get(from, "Entrypoint"));

	if (r == 0)
		r = copy_list(&cfg->cmd, json_object_get(from, "Cmd"));
	if (r == 0)
		r = copy_list(&cfg->env, json_object_get(from, "Env"));
	if (r == 0)
		r = copy_list(&cfg->volumes, json_object_get(from, "Volumes"));
	if (r == 0)
		r = copy_text(&cfg->user, json_object_get(from, "User"));
	if (r == 0)
		r = copy_text(&cfg->working_dir, json_object_get(from, "WorkingDir"));
	if (r == 0)
		r = copy_text(&cfg->stop_signal, json_object_get(from, "StopSignal"));
	return r;
}

int image_config_parse(struct image_config *ret, const char *json, size_t len, struct err *err)
{
	struct image_config cfg = {0};
	json_t *root = NULL;
	int r = json_text_parse(&root, json, len, CONFIG_MAX, CONFIG_DEPTH, err);

	if (r == 0)
		r = json_check(root, rules, ARRAY_SIZE(rules), err);
	if (r < 0) {
		json_decref(root);
		return err_wrap(err, "image configuration"), r;
	}
	r = copy_config(&cfg, json_object_get(root, "config"));
	json_decref(root);
	if (r < 0) {
		image_config_fini(&cfg);
		return err_set(err, -r, "image configuration: out of memory");
	}
	*ret = cfg;
	return 0;
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void image_config_fini(struct image_config *cfg)
{
	free_list(cfg->entrypoint);
	free_list(cfg->cmd);
	free_list(cfg->env);
	free_list(cfg->volumes);
	free(cfg->user);
	free(cfg->working_dir);
	free(cfg->stop_signal);
	*cfg = (struct image_config){0};
}

/* Reads to the end of the file. */
static int read_file(struct buf *b, int fd, const char *path, struct err *err)
{
	for (;;) {
		void *p = buf_reserve(b, MIN_OF(b->limit - b->len, (size_t)16384));
		ssize_t n;

		if (!p)
			return err_set(err, ENOMEM, "image's /%s: out of memory", path);
		n = read(fd, p, MIN_OF(b->limit - b->len, (size_t)16384));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "image's /%s", path);
		if (n == 0)
			return 0;
		buf_added(b, (size_t)n);
		if (b->len == b->limit)
			return err_set(err, EFBIG, "image's /%s is larger than %u bytes", path, USER_FILE_MAX);
	}
}

/* 0, or 1: there is no such file. */
static int load(struct buf *b, int rootfs_fd, const char *path, struct err *err)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	auto_close int fd = (int)syscall(SYS_openat2, rootfs_fd, path, &how, sizeof(how));
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 1;
	if (fd < 0)
		return err_errno(err, "image's /%s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, "image's /%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "image's /%s is not a regular file", path);
	return read_file(b, fd, path, err);
}

int image_user_resolve(struct image_user *ret, int rootfs_fd, const char *user, struct err *err)
{
	auto_buf struct buf passwd = BUF_INIT(USER_FILE_MAX + 1);
	auto_buf struct buf group = BUF_INIT(USER_FILE_MAX + 1);
	struct user_db db = {0};
	int r = load(&passwd, rootfs_fd, "etc/passwd", err);

	if (r < 0)
		return r;
	if (r == 0) {
		db.passwd = passwd.len ? (const char *)buf_data(&passwd) : "";
		db.passwd_len = passwd.len;
	}
	r = load(&group, rootfs_fd, "etc/group", err);
	if (r < 0)
		return r;
	if (r == 0) {
		db.group = group.len ? (const char *)buf_data(&group) : "";
		db.group_len = group.len;
	}
	return user_db_find(ret, &db, user, err);
}
