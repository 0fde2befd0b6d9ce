/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From documents to a pod, in the order in which one thing needs another: the schema of every document; ConfigMaps and Secrets;
 * metadata and the pod's settings; what containers are; volumes (whose files may tell container limits); what containers see
 * (variables, then paths made from variables). At the end every supported field must have been read, or podvm says so.
 *
 * Nothing has to be undone on the way: the tree and the pod own their memory as a whole. Every count and every text that
 * can be multiplied by references ($(VAR), volume items, aliases) has a limit in load.h.
 */
#include "kube/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

#define POD_MEMORY_MAX (96u << 20)

/* ---- errors and notes ---- */

static int error_at(struct loader *l, uint32_t line, const char *path, const char *what)
{
	return err_set(l->err, EINVAL, "%.120s:%u: %s: %s", l->file, line, path, what);
}

int load_error(struct loader *l, const struct tree_node *at, const char *fmt, ...)
{
	char what[320];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_at(l, at->line, tree_path(at).s, what);
}

int load_error_of(struct loader *l, const struct tree_node *parent, const char *member, const char *fmt, ...)
{
	char what[320];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_at(l, parent->line, tree_path_of(parent, member).s, what);
}

int load_where(struct loader *l, char **ret, const struct tree_node *at)
{
	*ret = pool_printf(l->mem, "%.120s:%u: %s", l->file, at->line, tree_path(at).s);
	return *ret ? 0 : load_no_memory(l);
}

int load_no_memory(struct loader *l)
{
	if (l->mem && l->mem->full)
		return err_set(l->err, E2BIG, "%.120s: the pod is larger than %u MiB with all references followed",
			l->file, POD_MEMORY_MAX >> 20);
	return err_set(l->err, ENOMEM, "%.120s: out of memory", l->file);
}

static int add_note(struct loader *l, uint32_t line, const char *path, const char *what)
{
	struct kube_strings *notes = &l->pod->notes;

	if (notes->n == l->notes_cap) {
		size_t cap = l->notes_cap ? 2 * l->notes_cap : 16;
		char **v = pool_array(l->mem, cap, sizeof(char *));

		if (!v)
			return load_no_memory(l);
		if (notes->n)
			memcpy(v, notes->v, notes->n * sizeof(char *));
		notes->v = v;
		l->notes_cap = cap;
	}
	notes->v[notes->n] = pool_printf(l->mem, "%.120s:%u: %s: %s", l->file, line, path, what);
	if (!notes->v[notes->n])
		return load_no_memory(l);
	notes->n++;
	return 0;
}

int load_note(struct loader *l, const struct tree_node *at, const char *fmt, ...)
{
	char what[320];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* Once is enough, also where another container has the same. */
	for (size_t i = 0; i < l->pod->notes.n; i++)
		if (str_has_suffix(l->pod->notes.v[i], what))
			return 0;
	if (l->pod->notes.n >= 2 * SCHEMA_NOTES_MAX)
		return 0;
	return add_note(l, at->line, tree_path(at).s, what);
}

static int sink_error(void *ctx, uint32_t line, const char *path, const char *what)
{
	return error_at(ctx, line, path, what);
}

static int sink_note(void *ctx, uint32_t line, const char *path, const char *what)
{
	return add_note(ctx, line, path, what);
}

/* ---- getters ---- */

struct tree_node *load_get(struct tree_node *obj, const char *name)
{
	struct tree_node *n = tree_find(obj, name);

	if (!n || n->kind == TREE_NULL)
		return NULL;
	n->used = true;
	return n;
}

const char *load_str(struct tree_node *obj, const char *name)
{
	const struct tree_node *n = load_get(obj, name);

	return n && n->kind == TREE_STRING && n->len ? n->text : NULL;
}

bool load_bool(struct tree_node *obj, const char *name, bool otherwise)
{
	const struct tree_node *n = load_get(obj, name);

	return n ? n->yes : otherwise;
}

int64_t load_int_value(const struct tree_node *n)
{
	if (n->kind == TREE_FLOAT)
		return (int64_t)n->number;
	return n->negative ? (int64_t)-n->magnitude : (int64_t)n->magnitude;
}

int64_t load_int(struct tree_node *obj, const char *name, int64_t otherwise)
{
	const struct tree_node *n = load_get(obj, name);

	return n ? load_int_value(n) : otherwise;
}

uint64_t load_quantity(const struct tree_node *n, uint64_t unit)
{
	struct value_quantity q;

	return value_quantity_parse(n->text, &q) < 0 ? 0 : value_quantity_ceil(&q, unit);
}

int load_copy(struct loader *l, char **ret, const char *text, const char *otherwise)
{
	*ret = pool_str(l->mem, text ? text : otherwise);
	return *ret ? 0 : load_no_memory(l);
}

int load_strings(struct loader *l, struct kube_strings *ret, struct tree_node *list, size_t max,
	const char *(*check)(const char *text))
{
	if (!list || !list->n)
		return 0;
	if (list->n > max)
		return load_error(l, list, "%zu entries; at most %zu are taken", list->n, max);
	ret->v = pool_array(l->mem, list->n, sizeof(char *));
	if (!ret->v)
		return load_no_memory(l);
	for (; ret->n < list->n; ret->n++) {
		const struct tree_node *n = list->items[ret->n];
		const char *wrong = check ? check(n->text) : NULL;

		if (wrong)
			return load_error(l, n, "%s %s", tree_quote(n->text, n->len).s, wrong);
		ret->v[ret->n] = pool_copy(l->mem, n->text, n->len);
		if (!ret->v[ret->n])
			return load_no_memory(l);
	}
	return 0;
}

int load_pairs(struct loader *l, struct kube_pair **ret, size_t *ret_n, const struct tree_node *map)
{
	*ret = NULL;
	*ret_n = 0;
	if (!map || !map->n)
		return 0;
	*ret = pool_array(l->mem, map->n, sizeof(**ret));
	if (!*ret)
		return load_no_memory(l);
	for (; *ret_n < map->n; ++*ret_n) {
		const struct tree_node *n = map->items[*ret_n];
		struct kube_pair *pair = &(*ret)[*ret_n];

		pair->key = pool_str(l->mem, n->key);
		pair->value = n->kind == TREE_NULL ? pool_str(l->mem, "") : pool_copy(l->mem, n->text, n->len);
		if (!pair->key || !pair->value)
			return load_no_memory(l);
	}
	return 0;
}

/* ---- documents ---- */

/* The documents with the items of Lists in their place. */
struct documents {
	struct tree_node **v;
	size_t n, cap;
};

static int add_document(struct loader *l, struct documents *d, struct tree_node *doc)
{
	if (d->n == TREE_DOCUMENTS_MAX)
		return load_error(l, doc, "more than %u documents", TREE_DOCUMENTS_MAX);
	d->v[d->n++] = doc;
	return 0;
}

static int expand_lists(struct loader *l, const struct tree *tree, struct documents *d)
{
	int r = 0;

	d->v = pool_array(l->mem, TREE_DOCUMENTS_MAX, sizeof(*d->v));
	if (!d->v)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < tree->n; i++) {
		struct tree_node *doc = tree->documents[i], *items = tree_find(doc, "items");
		const char *kind = load_str(doc, "kind");

		if (!kind || !str_eq(kind, "List")) {
			r = add_document(l, d, doc);
			continue;
		}
		if (!items || items->kind != TREE_LIST)
			return load_error_of(l, doc, "items", "a List needs a list of items");
		for (size_t k = 0; r == 0 && k < items->n; k++)
			r = add_document(l, d, items->items[k]);
	}
	return r;
}

/* Kinds that hold a pod template: what to say instead of "not supported". */
static int refuse_kind(struct loader *l, const struct tree_node *at, const char *kind)
{
	static const char *const templates[] = {"Deployment", "Job", "StatefulSet", "DaemonSet", "ReplicaSet",
		"ReplicationController", "CronJob", "PodTemplate"};
	static const char *const kinds[] = {"Pod", "ConfigMap", "Secret"};
	const char *nearest;
	unsigned distance = 0;

	for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
		if (str_eq(kind, templates[i]))
			return load_error(l, at,
				"%s is not run here, only Pod, ConfigMap and Secret; make a Pod from its pod "
				"template (%s)",
				kind,
				str_eq(kind, "CronJob")	      ? "spec.jobTemplate.spec.template"
				: str_eq(kind, "PodTemplate") ? "template"
							      : "spec.template");
	nearest = schema_nearest(kind, kinds, ARRAY_SIZE(kinds), &distance);
	if (distance <= 2)
		return load_error(
			l, at, "unknown kind %s; did you mean \"%s\"?", tree_quote(kind, strlen(kind)).s, nearest);
	return load_error(l, at, "%s is not supported; only Pod, ConfigMap and Secret are: take it out of the file",
		tree_quote(kind, strlen(kind)).s);
}

/* Reads apiVersion and kind, and checks the document against its schema. */
static int check_document(struct loader *l, struct tree_node *doc, const struct schema_object **ret)
{
	static const struct schema_object *const objects[] = {&schema_pod, &schema_config_map, &schema_secret};
	const struct schema_sink sink = {.ctx = l, .error = sink_error, .note = sink_note};
	const char *kind = load_str(doc, "kind"), *version = load_str(doc, "apiVersion");

	*ret = NULL;
	if (doc->kind != TREE_MAP)
		return load_error(
			l, doc, "expected a Kubernetes object (apiVersion, kind, ...), found %s", tree_describe(doc).s);
	if (!kind && load_get(doc, "kind"))
		return load_error(l, load_get(doc, "kind"), "expected a string, found %s",
			tree_describe(load_get(doc, "kind")).s);
	if (!kind)
		return load_error_of(l, doc, "kind", "is required; for example: kind: Pod");
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (str_eq(kind, objects[i]->name))
			*ret = objects[i];
	if (!*ret)
		return refuse_kind(l, load_get(doc, "kind"), kind);
	if (!version)
		return load_error_of(l, doc, "apiVersion", "is required; write apiVersion: v1");
	if (!str_eq(version, "v1"))
		return load_error(l, load_get(doc, "apiVersion"), "a %s has apiVersion v1, found %s", kind,
			tree_quote(version, strlen(version)).s);
	return schema_check(*ret, doc, &l->seen, &sink);
}

static int load_pod(struct loader *l, struct tree_node *doc)
{
	struct tree_node *spec = load_get(doc, "spec");
	int r = load_pod_settings(l, spec);

	if (r == 0)
		r = load_dns(l, spec);
	if (r == 0)
		r = load_containers(l, spec);
	if (r == 0)
		r = load_check_memory(l, spec);
	if (r == 0)
		r = load_volumes(l, spec);
	for (size_t i = 0; r == 0 && i < l->pod->n_containers; i++) {
		r = load_container_rest(l, &l->pod->containers[i], l->container_nodes[i]);
		if (r == 0)
			r = load_mounts(l, &l->pod->containers[i], l->container_nodes[i]);
	}
	return r;
}

static int check_all_used(struct loader *l, const struct documents *d, const struct schema_object *const *objects)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct tree_node *n = schema_unused(objects[i], d->v[i]);

		if (!n)
			continue;
		(void)load_error(l, n, "was not acted upon, which is a bug in podvm; please report it");
		if (l->err)
			l->err->code = ENOSYS;
		return -ENOSYS;
	}
	return 0;
}

static int load_documents(struct loader *l, const struct documents *d)
{
	const struct schema_object **objects = pool_array(l->mem, TREE_DOCUMENTS_MAX, sizeof(*objects));
	struct tree_node *pod = NULL;
	int r = 0;

	l->configs = pool_array(l->mem, d->n, sizeof(*l->configs));
	if (!objects || !l->configs)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < d->n; i++) {
		r = check_document(l, d->v[i], &objects[i]);
		if (r < 0 || objects[i] != &schema_pod)
			continue;
		if (pod)
			return load_error(
				l, d->v[i], "a second Pod (the first is on line %u); run one Pod a file", pod->line);
		pod = d->v[i];
	}
	if (r < 0)
		return r;
	if (!pod)
		return err_set(l->err, EINVAL, "%.120s:1: no Pod in the file; add a document with kind: Pod", l->file);
	r = load_meta(l, pod);
	for (size_t i = 0; r == 0 && i < d->n; i++)
		if (objects[i] != &schema_pod)
			r = load_config(l, d->v[i], objects[i] == &schema_secret);
	if (r == 0)
		r = load_pod(l, pod);
	return r < 0 ? r : check_all_used(l, d, objects);
}

static struct kube_pod *new_pod(void)
{
	struct pool *mem = calloc(1, sizeof(*mem));
	struct kube_pod *pod;

	if (!mem)
		return NULL;
	mem->limit = POD_MEMORY_MAX;
	pod = pool_alloc(mem, sizeof(*pod));
	if (pod)
		pod->pool = mem;
	else
		free(mem);
	return pod;
}

void kube_pod_free(struct kube_pod *pod)
{
	struct pool *mem = pod ? pod->pool : NULL;

	if (!mem)
		return;
	pool_fini(mem);
	free(mem);
}

int kube_load(struct kube_pod **ret, const char *name, const char *yaml, size_t len, const struct kube_context *ctx,
	struct err *err)
{
	auto_tree struct tree tree = {0};
	struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
	struct loader l = {.file = name, .ctx = ctx, .err = err};
	struct documents documents = {0};
	int r;

	*ret = NULL;
	if (len > KUBE_YAML_MAX)
		return err_set(
			err, E2BIG, "%.120s: larger than %u MiB; is this the right file?", name, KUBE_YAML_MAX >> 20);
	r = tree_parse(&tree, name, yaml, len, err);
	if (r < 0)
		return r;
	pod = new_pod();
	if (!pod)
		return load_no_memory(&l);
	l.pod = pod;
	l.mem = pod->pool;
	r = expand_lists(&l, &tree, &documents);
	if (r == 0)
		r = load_documents(&l, &documents);
	if (r < 0)
		return r;
	*ret = take_ptr(pod);
	return 0;
}
