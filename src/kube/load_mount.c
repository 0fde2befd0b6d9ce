/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container sees the pod's volumes. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

static int find_volume(struct loader *l, struct kube_mount *m, const struct tree_node *at)
{
	const char *names[LOAD_VOLUMES_MAX], *nearest;

	for (size_t i = 0; i < l->pod->n_volumes; i++) {
		names[i] = l->pod->volumes[i].name;
		if (!str_eq(names[i], at->text))
			continue;
		m->volume = i;
		return 0;
	}
	nearest = schema_nearest(at->text, names, l->pod->n_volumes, NULL);
	if (nearest)
		return load_error(l, at, "no volume %s in spec.volumes; the nearest is \"%s\"",
			tree_quote(at->text, at->len).s, nearest);
	return load_error(l, at, "no volume %s in spec.volumes; add it there", tree_quote(at->text, at->len).s);
}

/* Absolute, without "//", "/./" and a slash at the end, so that equal places are equal texts. */
static int clean_path(struct loader *l, char **ret, const char *path)
{
	size_t at = 0;

	*ret = pool_alloc(l->mem, strlen(path) + 2);
	if (!*ret)
		return load_no_memory(l);
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n && !(n == 1 && *path == '.')) {
			(*ret)[at++] = '/';
			memcpy(*ret + at, path, n);
			at += n;
		}
		path += n;
		path += *path == '/';
	}
	if (!at)
		(*ret)[at++] = '/';
	(*ret)[at] = '\0';
	return 0;
}

static int load_mount_path(struct loader *l, struct kube_container *c, struct kube_mount *m, const struct tree_node *at)
{
	const char *wrong = *at->text == '/' ? value_check_absolute_path(at->text) : value_check_inner_path(at->text);
	int r;

	if (wrong)
		return load_error(
			l, at, "%s must be a path without '..', at most 1023 bytes", tree_quote(at->text, at->len).s);
	/* The kubelet takes a relative path from the root. */
	r = clean_path(l, &m->path, at->text);
	if (r < 0)
		return r;
	if (str_eq(m->path, "/"))
		return load_error(l, at, "a volume cannot replace the whole root; mount it below");
	for (size_t i = 0; i < c->n_mounts; i++)
		if (str_eq(c->mounts[i].path, m->path))
			return load_error(l, at, "%s is the place of another volume; use another path",
				tree_quote(at->text, at->len).s);
	return 0;
}

static int load_sub_path(struct loader *l, struct kube_container *c, struct kube_mount *m, struct tree_node *n)
{
	const struct tree_node *plain = load_get(n, "subPath"), *expr = load_get(n, "subPathExpr"), *at;
	const char *wrong, *missing = NULL;
	int r;

	if (plain && !plain->len)
		plain = NULL;
	if (expr && !expr->len)
		expr = NULL;
	if (plain && expr)
		return load_error(l, expr, "does not go with subPath; remove one");
	at = plain ? plain : expr;
	if (expr)
		r = load_expand(l, &m->sub_path, expr->text, c, &missing);
	else
		r = load_copy(l, &m->sub_path, plain ? plain->text : NULL, "");
	if (r == -E2BIG)
		return load_error(l, at, "is too long with its variables");
	if (r < 0)
		return r;
	if (missing)
		return load_error(
			l, at, "no variable %s in the container's env; add it", tree_quote(missing, strlen(missing)).s);
	wrong = at ? value_check_inner_path(m->sub_path) : NULL;
	if (wrong)
		return load_error(l, at, "%s %s", tree_quote(m->sub_path, strlen(m->sub_path)).s, wrong);
	return 0;
}

/* What is made from the API's objects is known by now; Kubernetes would show an empty folder in place of a file that is not there. */
static int check_sub_path(struct loader *l, const struct kube_mount *m, struct tree_node *n)
{
	const struct kube_volume *v = &l->pod->volumes[m->volume];
	const struct tree_node *plain = load_get(n, "subPath");
	auto_free const char **names = NULL;
	const char *nearest;
	size_t len = strlen(m->sub_path);

	if (v->kind != KUBE_VOLUME_FILES || !len)
		return 0;
	names = calloc(v->n_files + 1, sizeof(*names));
	if (!names)
		return load_no_memory(l);
	for (size_t i = 0; i < v->n_files; i++) {
		const char *path = v->files[i].path;

		if (strncmp(path, m->sub_path, len) == 0 && (!path[len] || path[len] == '/'))
			return 0;
		names[i] = path;
	}
	nearest = schema_nearest(m->sub_path, names, v->n_files, NULL);
	return load_error(l, plain && plain->len ? plain : load_get(n, "subPathExpr"),
		"no file %s in volume \"%s\"%s%s", tree_quote(m->sub_path, len).s, v->name,
		nearest ? "; the nearest is " : ", which is empty",
		nearest ? tree_quote(nearest, strlen(nearest)).s : "");
}

static int load_access(struct loader *l, struct kube_mount *m, struct tree_node *n)
{
	struct tree_node *recursive = load_get(n, "recursiveReadOnly"), *propagation = load_get(n, "mountPropagation");
	bool whole = recursive && recursive->len && !str_eq(recursive->text, "Disabled");

	m->read_only = load_bool(n, "readOnly", false);
	if (propagation && str_eq(propagation->text, "Bidirectional"))
		return load_error(
			l, propagation, "mounts made in a VM do not reach the host; use None or leave it out");
	if (whole && !m->read_only)
		return load_error(l, recursive, "goes only with readOnly: true");
	if (whole && propagation && str_eq(propagation->text, "HostToContainer"))
		return load_error(l, recursive, "goes only with mountPropagation: None");
	m->recursive_read_only = whole;
	/* As in Kubernetes: what is made from the API's objects cannot be written to. */
	if (l->pod->volumes[m->volume].kind == KUBE_VOLUME_FILES)
		m->read_only = true;
	return 0;
}

int load_mounts(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct tree_node *list = load_get(n, "volumeMounts");
	int r = 0;

	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_MOUNTS_MAX)
		return load_error(l, list, "%zu mounts; at most %u are taken", list->n, LOAD_MOUNTS_MAX);
	c->mounts = pool_array(l->mem, list->n, sizeof(*c->mounts));
	if (!c->mounts)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		struct tree_node *entry = list->items[i];
		struct kube_mount *m = &c->mounts[c->n_mounts];

		r = find_volume(l, m, load_get(entry, "name"));
		if (r == 0)
			r = load_mount_path(l, c, m, load_get(entry, "mountPath"));
		if (r == 0)
			r = load_sub_path(l, c, m, entry);
		if (r == 0)
			r = check_sub_path(l, m, entry);
		if (r == 0)
			r = load_access(l, m, entry);
		c->n_mounts++;
	}
	return r;
}
