/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containerd makes of the user of an image, "user[:group]": digits are an id, never a name, and need no entry; a
 * name needs one. Without a group the user's own from passwd counts, or 0. Supplementary groups are those of group(5)
 * that list the user's name, in the order of the file; more than we can hold is an error, because leaving one out
 * would give access that "no access for the group" takes away.
 */
#include "oci/user_db.h"

#include <errno.h>

#include "base/bytes.h"

struct text { /* borrowed */
	const char *p;
	size_t n;
};

#define FIELDS_MAX 7

/* A name for a message: it comes from the image and may be anything. */
struct shown {
	char text[65];
};

static struct shown show(const struct text *t)
{
	struct shown s = {0};

	for (size_t i = 0; i < MIN_OF(t->n, sizeof(s.text) - 1); i++)
		s.text[i] = t->p[i] >= 0x20 && t->p[i] < 0x7f ? t->p[i] : '?';
	return s;
}

/* The next line without its newline; false at the end. */
static bool next_line(struct text *rest, struct text *ret)
{
	const char *end;

	if (!rest->n)
		return false;
	end = memchr(rest->p, '\n', rest->n);
	ret->p = rest->p;
	ret->n = end ? (size_t)(end - rest->p) : rest->n;
	rest->p += ret->n + (end != NULL);
	rest->n -= ret->n + (end != NULL);
	return true;
}

/* Takes what is before the next `sep`, and the separator, off *rest. */
static struct text take_until(struct text *rest, char sep)
{
	const char *end = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
	struct text field = {rest->p, end ? (size_t)(end - rest->p) : rest->n};

	rest->p += field.n + (end != NULL);
	rest->n -= field.n + (end != NULL);
	return field;
}

static unsigned split(struct text line, struct text fields[FIELDS_MAX])
{
	unsigned n = 0;

	while (line.n && n < FIELDS_MAX)
		fields[n++] = take_until(&line, ':');
	return n;
}

static bool text_is(const struct text *a, const struct text *b)
{
	return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

static bool is_number(const struct text *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->p[i] < '0' || t->p[i] > '9')
			return false;
	return t->n > 0;
}

/* UINT32_MAX is not an id: the kernel takes it for "no change". */
static bool to_id(const struct text *t, uint32_t *ret)
{
	uint64_t v = 0;

	if (!is_number(t))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		v = v * 10 + (uint64_t)(t->p[i] - '0');
		if (v >= UINT32_MAX)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

/* name:password:uid:gid:... of the user with that name, or with that uid when name->n is 0. */
static bool find_passwd(const struct user_db *db, struct text *name, uint32_t *uid, uint32_t *gid)
{
	struct text rest = {db->passwd, db->passwd_len};
	struct text line, f[FIELDS_MAX];

	while (next_line(&rest, &line)) {
		uint32_t u, g;

		if (split(line, f) < 4 || !f[0].n || !to_id(&f[2], &u) || !to_id(&f[3], &g))
			continue;
		if (name->n ? !text_is(&f[0], name) : u != *uid)
			continue;
		*name = f[0];
		*uid = u;
		*gid = g;
		return true;
	}
	return false;
}

/* name:password:gid:member,member. 1: this line is a group, f[0] its name, f[3] its members. */
static bool next_group(struct text *rest, struct text f[FIELDS_MAX], uint32_t *ret_gid)
{
	struct text line;

	while (next_line(rest, &line)) {
		unsigned n = split(line, f);

		if (n < 3 || !f[0].n || !to_id(&f[2], ret_gid))
			continue;
		if (n == 3)
			f[3] = (struct text){line.p, 0};
		return true;
	}
	return false;
}

static bool find_group(const struct user_db *db, const struct text *name, uint32_t *ret_gid)
{
	struct text rest = {db->group, db->group_len};
	struct text f[FIELDS_MAX];

	while (next_group(&rest, f, ret_gid))
		if (text_is(&f[0], name))
			return true;
	return false;
}

static bool lists(struct text members, const struct text *name)
{
	while (members.n) {
		struct text m = take_until(&members, ',');

		if (text_is(&m, name))
			return true;
	}
	return false;
}

static int add_groups(struct image_user *u, const struct user_db *db, const struct text *name, struct err *err)
{
	struct text rest = {db->group, db->group_len};
	struct text f[FIELDS_MAX];
	uint32_t gid;

	while (next_group(&rest, f, &gid)) {
		bool known = false;

		if (!lists(f[3], name))
			continue;
		for (size_t i = 0; i < u->n_groups; i++)
			known |= u->groups[i] == gid;
		if (known)
			continue;
		if (u->n_groups == ARRAY_SIZE(u->groups))
			return err_set(err, E2BIG, "user '%s' is in more than %zu groups of the image's /etc/group",
				show(name).text, ARRAY_SIZE(u->groups));
		u->groups[u->n_groups++] = gid;
	}
	return 0;
}

static int find_user(struct image_user *u, const struct user_db *db, struct text *name, struct err *err)
{
	if (is_number(name)) {
		if (!to_id(name, &u->uid))
			return err_set(err, EINVAL, "user id '%s' is more than %u", show(name).text, UINT32_MAX - 1);
		name->n = 0;
	}
	/* Looked up by id, an entry is welcome but not needed. */
	if (find_passwd(db, name, &u->uid, &u->gid) || !name->n)
		return 0;
	return err_set(err, ENOENT, "user '%s' is not in the image's /etc/passwd%s", show(name).text,
		db->passwd ? "" : " (there is no such file)");
}

static int find_own_group(struct image_user *u, const struct user_db *db, const struct text *name, struct err *err)
{
	if (!name->n)
		return 0;
	if (is_number(name) && !to_id(name, &u->gid))
		return err_set(err, EINVAL, "group id '%s' is more than %u", show(name).text, UINT32_MAX - 1);
	if (is_number(name) || find_group(db, name, &u->gid))
		return 0;
	return err_set(err, ENOENT, "group '%s' is not in the image's /etc/group%s", show(name).text,
		db->group ? "" : " (there is no such file)");
}

int user_db_find(struct image_user *ret, const struct user_db *db, const char *user, struct err *err)
{
	struct text group = {user, strlen(user)};
	struct text name = take_until(&group, ':');
	struct image_user u = {0};
	int r = find_user(&u, db, &name, err);

	if (r == 0)
		r = find_own_group(&u, db, &group, err);
	if (r == 0 && name.n)
		r = add_groups(&u, db, &name, err);
	if (r < 0)
		return r;
	*ret = u;
	return 0;
}
