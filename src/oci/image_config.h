/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The OCI image configuration (image-spec 1.1 config.md): what an image says about how to run it. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct image_config {
	char **entrypoint; /* NULL-terminated, never NULL */
	char **cmd;
	char **env;	   /* "K=V" */
	char *user;	   /* "" when not given; "uid", "user", "user:group" ... */
	char *working_dir; /* "" when not given */
	char *stop_signal; /* "" when not given */
	char **volumes;	   /* paths */
};

/* `json` is the image configuration blob (with its "config" member) . */
int image_config_parse(struct image_config *ret, const char *json, size_t len, struct err *err) must_check;
void image_config_fini(struct image_config *cfg);

struct image_user {
	uint32_t uid, gid;
	uint32_t groups[64]; /* supplementary groups from /etc/group, when the user has a name there */
	size_t n_groups;
};

/*
 * Resolves "user[:group]" (names or numbers; "" is root) against etc/passwd and etc/group of the root filesystem at
 * rootfs_fd, read without leaving it. -ENOENT: no such name; the message says which file was looked at.
 */
int image_user_resolve(struct image_user *ret, int rootfs_fd, const char *user, struct err *err) must_check;
