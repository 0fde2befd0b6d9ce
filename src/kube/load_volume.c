/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's volumes. ConfigMaps, Secrets and the downward API become lists of files, with all paths and modes known
 * before anything is written: two files in one place, or a file where another needs a folder, are found here.
 *
 * A file's bytes are shared with the ConfigMap or Secret in the pod's memory; what may be written in all is limited
 * (LOAD_FILES_MAX, LOAD_FILES_BYTES_MAX), because one key can be named by many items.
 */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

#define MODE_DEFAULT 0644

/* A volume's files while they are gathered. */
struct files {
	struct kube_volume *volume;
	size_t cap;
	uint32_t mode;	/* defaultMode */
	bool projected; /* later sources replace files of earlier ones, as the kubelet does */
};

/* ---- files ---- */

/* No empty parts, no ".": the text is the place. And not the names that the kubelet keeps for itself. */
static bool is_plain_path(const char *path)
{
	if (value_check_inner_path(path) || str_has_prefix(path, ".."))
		return false;
	for (;;) {
		size_t n = strcspn(path, "/");

		if (!n || (n == 1 && *path == '.'))
			return false;
		path += n;
		if (!*path)
			return true;
		path++;
	}
}

static int grow(struct loader *l, struct files *f)
{
	size_t cap = f->cap ? 2 * f->cap : 8;
	struct kube_file *files = pool_array(l->mem, cap, sizeof(*files));

	if (!files)
		return load_no_memory(l);
	if (f->volume->n_files)
		memcpy(files, f->volume->files, f->volume->n_files * sizeof(*files));
	f->volume->files = files;
	f->cap = cap;
	return 0;
}

/* `explicit_path`: written in the file, so a second one of the same path is a mistake. */
static int add_file(
	struct loader *l, struct files *f, const struct tree_node *at, const struct kube_file *file, bool explicit_path)
{
	struct kube_volume *v = f->volume;
	struct kube_file *place = NULL;
	int r;

	if (!is_plain_path(file->path))
		return load_error(l, at, "%s must be a relative path that does not begin with '..'",
			tree_quote(file->path, strlen(file->path)).s);
	for (size_t i = 0; i < v->n_files && !place; i++)
		if (str_eq(v->files[i].path, file->path))
			place = &v->files[i];
	if (place && (explicit_path || !f->projected))
		return load_error(l, at, "a second file %s in the volume; use another path",
			tree_quote(file->path, strlen(file->path)).s);
	l->files_bytes += file->len;
	if (l->files_bytes > LOAD_FILES_BYTES_MAX || l->n_files == LOAD_FILES_MAX)
		return load_error(l, at, "more than %u files or %u MiB in all volumes", LOAD_FILES_MAX,
			LOAD_FILES_BYTES_MAX >> 20);
	l->n_files++;
	if (place) {
		*place = *file;
		return 0;
	}
	r = v->n_files == f->cap ? grow(l, f) : 0;
	if (r == 0)
		v->files[v->n_files++] = *file;
	return r;
}

static int compare_files(const void *a, const void *b)
{
	const struct kube_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* A file "a" and a file "a/b" exclude each other. `files` is sorted. */
static int check_folders(struct loader *l, const struct kube_volume *v, const struct tree_node *at)
{
	for (size_t i = 0; i < v->n_files; i++) {
		char folder[1024];
		struct kube_file wanted = {.path = folder};

		(void)str_copy(folder, sizeof(folder), v->files[i].path);
		for (char *slash = strrchr(folder, '/'); slash; slash = strrchr(folder, '/')) {
			*slash = '\0';
			if (bsearch(&wanted, v->files, v->n_files, sizeof(v->files[0]), compare_files))
				return load_error(l, at, "%s is a file and a folder too; rename one",
					tree_quote(folder, strlen(folder)).s);
		}
	}
	return 0;
}

static uint32_t mode_of(struct tree_node *obj, const char *name, uint32_t otherwise)
{
	return (uint32_t)load_int(obj, name, otherwise);
}

/* ---- sources ---- */

static int add_key(struct loader *l, struct files *f, const struct tree_node *at, const struct load_key *key,
	const char *path, uint32_t mode)
{
	struct kube_file file = {.mode = mode, .len = key->len};

	file.path = pool_str(l->mem, path ? path : key->key);
	if (!file.path)
		return load_no_memory(l);
	/* Shared: the keys live in the pod's memory too. */
	file.data = key->data;
	return add_file(l, f, at, &file, path != NULL);
}

static int add_item(
	struct loader *l, struct files *f, const struct load_config *config, struct tree_node *item, bool optional)
{
	const struct tree_node *path = load_get(item, "path"), *key_node = load_get(item, "key");
	uint32_t mode = mode_of(item, "mode", f->mode);
	const struct load_key *key = config ? load_find_key(config, key_node->text) : NULL;

	if (key)
		return add_key(l, f, path, key, path->text, mode);
	if (optional)
		return 0;
	return load_error(l, key_node, "no key %s in %s %s (line %u)", tree_quote(key_node->text, key_node->len).s,
		config->secret ? "Secret" : "ConfigMap", config->name, config->line);
}

/* A ConfigMap or Secret: all keys, or those of `items`. `name` is its field with the name. */
static int add_config(struct loader *l, struct files *f, struct tree_node *source, const char *name, bool secret)
{
	struct tree_node *items = load_get(source, "items");
	bool optional = load_bool(source, "optional", false);
	const struct load_config *config;
	int r = load_find_config(l, &config, load_get(source, name), secret, optional);

	if (r < 0)
		return r;
	r = 0;
	for (size_t i = 0; r == 0 && items && i < items->n; i++)
		r = add_item(l, f, config, items->items[i], optional);
	for (size_t i = 0; r == 0 && (!items || !items->n) && config && i < config->n; i++)
		r = add_key(l, f, source, &config->keys[i], NULL, f->mode);
	return r;
}

static int add_downward(struct loader *l, struct files *f, struct tree_node *source)
{
	struct tree_node *items = load_get(source, "items");
	int r = 0;

	for (size_t i = 0; r == 0 && items && i < items->n; i++) {
		struct tree_node *n = items->items[i], *field = load_get(n, "fieldRef"),
				 *resource = load_get(n, "resourceFieldRef");
		const struct tree_node *path = load_get(n, "path");
		struct kube_file file = {.mode = mode_of(n, "mode", f->mode)};
		char *text = NULL;

		if (!field == !resource)
			return load_error(l, n, "needs one of fieldRef and resourceFieldRef");
		r = field ? load_field_ref(l, &text, field, NULL) : load_resource_ref(l, &text, resource, NULL);
		if (r == 0)
			r = load_copy(l, &file.path, path->text, "");
		if (r < 0)
			return r;
		file.data = (uint8_t *)text;
		file.len = strlen(text);
		r = add_file(l, f, path, &file, true);
	}
	return r;
}

static int add_projection(struct loader *l, struct files *f, struct tree_node *n)
{
	struct tree_node *config_map = load_get(n, "configMap"), *secret = load_get(n, "secret");
	struct tree_node *downward = load_get(n, "downwardAPI"), *token = load_get(n, "serviceAccountToken");

	if (!!config_map + !!secret + !!downward + !!token != 1)
		return load_error(l, n, "needs one of configMap, secret, downwardAPI, serviceAccountToken");
	if (config_map)
		return add_config(l, f, config_map, "name", false);
	if (secret)
		return add_config(l, f, secret, "name", true);
	return downward ? add_downward(l, f, downward) : 0;
}

static int add_projected(struct loader *l, struct files *f, struct tree_node *source)
{
	struct tree_node *sources = load_get(source, "sources");
	int r = 0;

	f->projected = true;
	for (size_t i = 0; r == 0 && sources && i < sources->n; i++)
		r = add_projection(l, f, sources->items[i]);
	return r;
}

/* ---- kinds ---- */

static int load_empty_dir(struct loader *l, struct kube_volume *v, struct tree_node *source)
{
	const char *medium = load_str(source, "medium");
	const struct tree_node *limit = load_get(source, "sizeLimit");

	v->kind = KUBE_VOLUME_EMPTY_DIR;
	v->size_limit = limit ? load_quantity(limit, VALUE_UNIT) : 0;
	v->memory = medium && str_eq(medium, "Memory");
	if (!medium || v->memory)
		return 0;
	if (str_has_prefix(medium, "HugePages"))
		return load_error(
			l, load_get(source, "medium"), "huge pages are not set aside in the guest; use Memory");
	return load_error(l, load_get(source, "medium"), "unknown medium %s; use Memory, or leave it out for disk",
		tree_quote(medium, strlen(medium)).s);
}

static int load_host_path(struct loader *l, struct kube_volume *v, struct tree_node *source)
{
	static const struct {
		const char *name;
		enum kube_host_path type;
	} types[] = {
		{"DirectoryOrCreate", KUBE_HOST_DIRECTORY_OR_CREATE},
		{"Directory", KUBE_HOST_DIRECTORY},
		{"FileOrCreate", KUBE_HOST_FILE_OR_CREATE},
		{"File", KUBE_HOST_FILE},
	};
	const char *path = load_str(source, "path"), *type = load_str(source, "type");
	const char *wrong = value_check_absolute_path(path);

	v->kind = KUBE_VOLUME_HOST_PATH;
	v->host_type = KUBE_HOST_ANY;
	if (wrong)
		return load_error(l, load_get(source, "path"), "%s %s", tree_quote(path, strlen(path)).s, wrong);
	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		if (str_eq(types[i].name, type))
			v->host_type = types[i].type;
	if (type && v->host_type == KUBE_HOST_ANY)
		return load_error(l, load_get(source, "type"),
			"a host's %s does not work inside of a VM; share files, or publish a port",
			str_eq(type, "Socket") ? "socket" : "device");
	if (load_where(l, &v->where, load_get(source, "path")) < 0)
		return -ENOMEM;
	return load_copy(l, &v->host_path, path, "");
}

static int load_files(struct loader *l, struct kube_volume *v, struct tree_node *source)
{
	struct files f = {.volume = v, .mode = mode_of(source, "defaultMode", MODE_DEFAULT)};
	int r;

	v->kind = KUBE_VOLUME_FILES;
	if (str_eq(source->key, "configMap"))
		r = add_config(l, &f, source, "name", false);
	else if (str_eq(source->key, "secret"))
		r = add_config(l, &f, source, "secretName", true);
	else if (str_eq(source->key, "downwardAPI"))
		r = add_downward(l, &f, source);
	else
		r = add_projected(l, &f, source);
	if (r < 0)
		return r;
	if (v->n_files)
		qsort(v->files, v->n_files, sizeof(v->files[0]), compare_files);
	return check_folders(l, v, source);
}

static int load_volume(struct loader *l, struct kube_volume *v, struct tree_node *n)
{
	static const struct {
		const char *name;
		int (*load)(struct loader *l, struct kube_volume *v, struct tree_node *source);
	} kinds[] = {
		{"emptyDir", load_empty_dir},
		{"hostPath", load_host_path},
		{"configMap", load_files},
		{"secret", load_files},
		{"downwardAPI", load_files},
		{"projected", load_files},
	};
	const char *name = load_str(n, "name"), *wrong = value_check_dns_label(name);
	int r = load_copy(l, &v->name, name, "");
	size_t found = 0;

	if (wrong)
		return load_error(l, load_get(n, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
	for (const struct kube_volume *other = l->pod->volumes; other < v; other++)
		if (str_eq(other->name, name))
			return load_error(l, load_get(n, "name"), "a second volume %s; rename one",
				tree_quote(name, strlen(name)).s);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
		struct tree_node *source = load_get(n, kinds[i].name);

		if (!source)
			continue;
		if (found++)
			return load_error(l, source, "a volume has one kind; this is its second");
		r = kinds[i].load(l, v, source);
	}
	return r < 0 || found ? r : load_error(l, n, "what kind of volume? Add for example emptyDir: {}");
}

int load_volumes(struct loader *l, struct tree_node *spec)
{
	struct tree_node *list = load_get(spec, "volumes");
	int r = 0;

	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_VOLUMES_MAX)
		return load_error(l, list, "%zu volumes; at most %u are taken", list->n, LOAD_VOLUMES_MAX);
	l->pod->volumes = pool_array(l->mem, list->n, sizeof(*l->pod->volumes));
	if (!l->pod->volumes)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		r = load_volume(l, &l->pod->volumes[i], list->items[i]);
		l->pod->n_volumes++;
	}
	return r;
}
