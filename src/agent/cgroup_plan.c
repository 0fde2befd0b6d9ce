/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources (OCI runtime-spec 1.1, config-linux.md) as cgroup v2 files. A table names every field that is known;
 * any other that is not null is refused, so a limit cannot get lost on the way. The files of one container are written
 * one after the other; when one is refused, those before it get back what they held.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/cgroup.h"
#include "base/bytes.h"

struct plan {
	struct cgroup_change *changes;
	int n;
	struct err *err;
};

static int add(struct plan *p, const char *file, const char *fmt, ...) printf_like(3, 4);

static int add(struct plan *p, const char *file, const char *fmt, ...)
{
	struct cgroup_change *c = &p->changes[p->n];
	va_list ap;
	int n;

	if (p->n == CGROUP_CHANGES_MAX)
		return err_set(p->err, EINVAL, "resources: more than %d changes", CGROUP_CHANGES_MAX);
	if (!str_copy(c->file, sizeof(c->file), file))
		return err_set(p->err, EINVAL, "resources: '%.60s' is no cgroup file", file);
	va_start(ap, fmt);
	n = vsnprintf(c->value, sizeof(c->value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(c->value))
		return err_set(p->err, EINVAL, "resources: the value for '%s' is too long", file);
	p->n++;
	return 0;
}

/* An integer member. 1: there, 0: absent or null, -EINVAL. */
static int number(const struct plan *p, const json_t *o, const char *section, const char *key, json_int_t *ret)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return err_set(p->err, EINVAL, "resources.%s.%s: not an integer", section, key);
	*ret = json_integer_value(v);
	return 1;
}

static int add_limit(struct plan *p, const char *file, json_int_t v)
{
	/* -1 is the spec's "no limit"; 0 is what callers send that mean "not given". */
	if (v == -1)
		return add(p, file, "max");
	if (v < 0)
		return err_set(p->err, EINVAL, "resources: %lld for '%s'", (long long)v, file);
	return v == 0 ? 0 : add(p, file, "%lld", (long long)v);
}

static int plan_memory(struct plan *p, const json_t *o)
{
	json_int_t limit = 0, low = 0, swap = 0;
	int r = number(p, o, "memory", "limit", &limit);

	if (r > 0)
		r = add_limit(p, "memory.max", limit);
	if (r >= 0)
		r = number(p, o, "memory", "reservation", &low);
	if (r > 0)
		r = add_limit(p, "memory.low", low);
	if (r >= 0)
		r = number(p, o, "memory", "swap", &swap);
	if (r <= 0 || swap == 0)
		return r < 0 ? r : 0;
	if (swap == -1)
		return add(p, "memory.swap.max", "max");
	/* In the spec it is memory and swap together. */
	if (limit <= 0 || swap < limit)
		return err_set(p->err, EINVAL, "resources.memory.swap: needs a limit, and not less than it");
	return add(p, "memory.swap.max", "%lld", (long long)(swap - limit));
}

static int plan_cpu(struct plan *p, const json_t *o)
{
	json_int_t shares = 0, quota = 0, period = 0;
	int r = number(p, o, "cpu", "shares", &shares);

	if (r > 0 && shares != 0) {
		if (shares < 2 || shares > 262144)
			return err_set(p->err, EINVAL, "resources.cpu.shares: %lld", (long long)shares);
		/* The range 2..262144 onto 1..10000, as runc and crun do it. */
		r = add(p, "cpu.weight", "%lld", (long long)(1 + (shares - 2) * 9999 / 262142));
	}
	if (r >= 0)
		r = number(p, o, "cpu", "quota", &quota);
	if (r >= 0)
		r = number(p, o, "cpu", "period", &period);
	if (r < 0 || (quota == 0 && period == 0))
		return r < 0 ? r : 0;
	if (quota < -1 || period < 0)
		return err_set(
			p->err, EINVAL, "resources.cpu: quota %lld, period %lld", (long long)quota, (long long)period);
	if (period == 0)
		period = 100000;
	if (quota <= 0)
		return add(p, "cpu.max", "max %lld", (long long)period);
	return add(p, "cpu.max", "%lld %lld", (long long)quota, (long long)period);
}

static int plan_pids(struct plan *p, const json_t *o)
{
	json_int_t limit = 0;
	int r = number(p, o, "pids", "limit", &limit);

	return r > 0 ? add_limit(p, "pids.max", limit) : r;
}

static int plan_unified(struct plan *p, const json_t *o)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		int r;

		/* "cgroup.*" would let limits be escaped and processes be killed or frozen behind the agent's back. */
		if (strchr(key, '/') || !strchr(key, '.') || *key == '.' || str_has_prefix(key, "cgroup."))
			return err_set(p->err, EINVAL, "resources.unified: '%.60s' is not allowed", key);
		if (!json_is_string(v))
			return err_set(p->err, EINVAL, "resources.unified: '%.60s' is no text", key);
		r = add(p, key, "%s", json_string_value(v));
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct section {
	const char *name;
	const char *fields[8];
	int (*plan)(struct plan *p, const json_t *o);
} sections[] = {
	{"memory", {"limit", "reservation", "swap"}, plan_memory},
	{"cpu", {"shares", "quota", "period"}, plan_cpu},
	{"pids", {"limit"}, plan_pids},
	{"unified", {NULL}, plan_unified},
};

static bool means_nothing(const json_t *v)
{
	return json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0) || (json_is_integer(v) && json_integer_value(v) == 0) ||
	       (json_is_string(v) && *json_string_value(v) == '\0') || json_is_false(v);
}

static int plan_section(struct plan *p, const struct section *s, const json_t *o)
{
	const char *key;
	json_t *v;

	if (!json_is_object(o))
		return err_set(p->err, EINVAL, "resources.%s: not an object", s->name);
	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		bool known = s->plan == plan_unified;

		for (size_t i = 0; i < ARRAY_SIZE(s->fields) && s->fields[i]; i++)
			known = known || str_eq(s->fields[i], key);
		if (!known && !means_nothing(v))
			return err_set(p->err, EINVAL, "resources.%s.%.60s cannot be changed", s->name, key);
	}
	return s->plan(p, o);
}

int cgroup_plan(const json_t *resources, struct cgroup_change ret[CGROUP_CHANGES_MAX], struct err *err)
{
	struct plan p = {.changes = ret, .err = err};
	const char *key;
	json_t *v;

	if (!json_is_object(resources))
		return err_set(err, EINVAL, "resources: not an object");
	json_object_foreach ((json_t *)(uintptr_t)resources, key, v) {
		const struct section *s = NULL;
		int r;

		if (means_nothing(v))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(sections) && !s; i++)
			s = str_eq(sections[i].name, key) ? &sections[i] : NULL;
		if (!s)
			return err_set(err, EINVAL, "resources.%.60s cannot be changed", key);
		r = plan_section(&p, s, v);
		if (r < 0)
			return r;
	}
	return p.n;
}

static int read_old(int dirfd, const char *file, char dst[64], struct err *err)
{
	auto_close int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, dst, 63);

	if (n < 0)
		return err_set(err, EINVAL, "the guest's kernel has no '%s': %s", file, strerror(errno));
	dst[n] = '\0';
	dst[strcspn(dst, "\n")] = '\0';
	return 0;
}

int cgroup_apply(int dirfd, const struct cgroup_change *changes, size_t n, struct err *err)
{
	char old[CGROUP_CHANGES_MAX][64];
	struct err why = {0};
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = read_old(dirfd, changes[i].file, old[i], err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (cgroup_write(dirfd, changes[i].file, changes[i].value, &why) == 0)
			continue;
		while (i-- > 0)
			(void)!cgroup_write(dirfd, changes[i].file, old[i], NULL);
		return err_set(err, why.code == ENOMEM ? ENOMEM : EINVAL, "%s", why.msg);
	}
	return 0;
}
