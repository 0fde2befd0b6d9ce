/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Looking up a user in the text of passwd(5) and group(5) files. No I/O; lines that are malformed are passed over. */
#include "oci/image_config.h"

struct user_db {
	const char *passwd, *group; /* borrowed; NULL: the image has no such file */
	size_t passwd_len, group_len;
};

/* See image_user_resolve. */
int user_db_find(struct image_user *ret, const struct user_db *db, const char *user, struct err *err) must_check;
