/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMaps and Secrets: their keys as bytes, and how other fields find them. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

static int compare_keys(const void *a, const void *b)
{
	const struct load_key *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int add_key(struct loader *l, struct load_config *config, const struct tree_node *n, bool base64, size_t *total)
{
	struct load_key *k = &config->keys[config->n];
	const char *wrong = value_check_config_key(n->key);
	uint8_t *bytes;

	if (wrong)
		return load_error(l, n, "the key %s", wrong);
	*k = (struct load_key){.key = pool_str(l->mem, n->key), .text = true};
	if (base64 && n->kind == TREE_STRING) {
		bytes = pool_alloc(l->mem, 3 * (n->len / 4) + 4);
		if (bytes && value_base64_decode(n->text, n->len, bytes, &k->len) < 0)
			return load_error(l, n, "is not base64; encode it (base64 -w0), or use %s for plain text",
				config->secret ? "stringData" : "data");
	} else {
		k->len = n->kind == TREE_STRING ? n->len : 0;
		bytes = (uint8_t *)pool_copy(l->mem, k->len ? n->text : "", k->len);
	}
	if (!bytes || !k->key)
		return load_no_memory(l);
	k->data = bytes;
	*total += k->len;
	if (*total > LOAD_CONFIG_MAX)
		return load_error(
			l, n, "the %s is larger than 1 MiB here; split it", config->secret ? "Secret" : "ConfigMap");
	config->n++;
	return 0;
}

/* Adds the keys of one map. A ConfigMap must not have a key in the map `against` too. */
static int add_keys(struct loader *l, struct load_config *config, struct tree_node *map, const char *against)
{
	struct tree_node *before = against ? tree_find(map->parent, against) : NULL;
	bool base64 = str_eq(map->key, "binaryData") || (config->secret && str_eq(map->key, "data"));
	size_t total = 0;
	int r = 0;

	for (size_t i = 0; i < config->n; i++)
		total += config->keys[i].len;
	for (size_t i = 0; r == 0 && i < map->n; i++) {
		const struct tree_node *n = map->items[i];

		if (!config->secret && before && tree_find(before, n->key))
			return load_error(l, n, "the key is in data too; remove one");
		r = add_key(l, config, n, base64, &total);
		if (r == 0)
			config->keys[config->n - 1].text = config->secret || !base64;
	}
	return r;
}

/* stringData wins over data, so what it replaces is not even decoded into place. */
static void drop_replaced(struct load_config *config, const struct tree_node *string_data)
{
	size_t kept = 0;

	for (size_t i = 0; i < config->n; i++)
		if (!tree_find(string_data, config->keys[i].key))
			config->keys[kept++] = config->keys[i];
	config->n = kept;
}

static int read_identity(struct loader *l, struct load_config *config, struct tree_node *doc)
{
	struct tree_node *meta = load_get(doc, "metadata");
	const char *name = load_str(meta, "name"), *ns = load_str(meta, "namespace"), *wrong;
	const char *kind = config->secret ? "Secret" : "ConfigMap";

	if (!name)
		return load_error_of(
			l, meta ? meta : doc, meta ? "name" : "metadata", "a %s needs metadata.name", kind);
	wrong = value_check_dns_subdomain(name);
	if (wrong)
		return load_error(l, load_get(meta, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
	wrong = ns ? value_check_dns_label(ns) : NULL;
	if (wrong)
		return load_error(l, load_get(meta, "namespace"), "%s %s", tree_quote(ns, strlen(ns)).s, wrong);
	config->name = name;
	/* A file is written for one namespace: an object that names none belongs to the pod's. */
	config->ns = ns ? ns : l->pod->ns;
	config->line = doc->line;
	for (size_t i = 0; i < l->n_configs; i++) {
		const struct load_config *other = &l->configs[i];

		if (other->secret == config->secret && str_eq(other->name, name) && str_eq(other->ns, config->ns))
			return load_error(l, load_get(meta, "name"),
				"a second %s %s (the first is on line %u); remove one", kind,
				tree_quote(name, strlen(name)).s, other->line);
	}
	return 0;
}

int load_config(struct loader *l, struct tree_node *doc, bool secret)
{
	struct load_config *config = &l->configs[l->n_configs];
	struct tree_node *data = load_get(doc, "data"), *other = load_get(doc, secret ? "stringData" : "binaryData");
	int r;

	*config = (struct load_config){.secret = secret};
	config->keys = pool_array(l->mem, (data ? data->n : 0) + (other ? other->n : 0), sizeof(*config->keys));
	if (!config->keys)
		return load_no_memory(l);
	r = read_identity(l, config, doc);
	if (r == 0 && data)
		r = add_keys(l, config, data, NULL);
	if (r == 0 && other && secret)
		drop_replaced(config, other);
	if (r == 0 && other)
		r = add_keys(l, config, other, "data");
	if (r < 0)
		return r;
	if (config->n)
		qsort(config->keys, config->n, sizeof(config->keys[0]), compare_keys);
	l->n_configs++;
	return 0;
}

int load_find_config(
	struct loader *l, const struct load_config **ret, const struct tree_node *at, bool secret, bool optional)
{
	const char *kind = secret ? "Secret" : "ConfigMap", *names[TREE_DOCUMENTS_MAX], *nearest;
	const struct load_config *elsewhere = NULL;
	size_t n = 0;

	for (size_t i = 0; i < l->n_configs; i++) {
		const struct load_config *config = &l->configs[i];
		bool here = str_eq(config->ns, l->pod->ns);

		if (config->secret != secret)
			continue;
		if (here)
			names[n++] = config->name;
		if (!str_eq(config->name, at->text))
			continue;
		*ret = config;
		if (here)
			return 0;
		elsewhere = config;
	}
	*ret = NULL;
	if (optional)
		return 1;
	if (elsewhere)
		return load_error(l, at, "the %s %s on line %u is in namespace %s, but the pod in %s; make them agree",
			kind, tree_quote(at->text, at->len).s, elsewhere->line, elsewhere->ns, l->pod->ns);
	nearest = schema_nearest(at->text, names, n, NULL);
	if (nearest)
		return load_error(l, at, "no %s %s in the file; the nearest is \"%s\"", kind,
			tree_quote(at->text, at->len).s, nearest);
	return load_error(l, at, "no %s %s in the file; add it as a document of its own, after a line ---", kind,
		tree_quote(at->text, at->len).s);
}

const struct load_key *load_find_key(const struct load_config *config, const char *key)
{
	struct load_key wanted = {.key = key};

	if (!config->n)
		return NULL;
	return bsearch(&wanted, config->keys, config->n, sizeof(config->keys[0]), compare_keys);
}
