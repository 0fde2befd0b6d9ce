/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables, and what is made of them: command and args. The rules are the kubelet's: envFrom first, then env in order; a
 * value sees the variables set before it; command and args see all of them; an unknown $(NAME) stays as it is.
 *
 * Values can multiply by $(A)$(A), so each string and their sum per container have limits, those of execve(2) at most.
 */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "kube/value.h"

/* ---- $(NAME) ---- */

static const char *find_env(const struct kube_container *c, const char *name, size_t len)
{
	for (size_t i = 0; i < c->n_env; i++)
		if (strncmp(c->env[i].key, name, len) == 0 && !c->env[i].key[len])
			return c->env[i].value;
	return NULL;
}

/* Where a text is read and to where. */
struct expansion {
	const struct kube_container *c;
	struct buf out;
	const char *last; /* the last ')' of the text: behind it no search is needed, so the time stays linear */
	const char **missing;
};

/* What stands at `text`, which begins with '$'. Appends its meaning, *ret_n is the bytes of text that it took. */
static int expand_one(struct loader *l, struct expansion *e, const char *text, size_t *ret_n)
{
	const char *end = text[1] == '(' && e->last && e->last > text ? strchr(text, ')') : NULL, *value;
	struct buf *out = &e->out;

	if (text[1] == '$') {
		*ret_n = 2;
		return buf_append(out, "$", 1);
	}
	if (!end) {
		/* "$x" and an unclosed "$(" mean themselves, both characters at once. */
		*ret_n = text[1] ? 2 : 1;
		return buf_append(out, text, *ret_n);
	}
	*ret_n = (size_t)(end - text) + 1;
	value = find_env(e->c, text + 2, *ret_n - 3);
	if (value)
		return buf_append_str(out, value);
	if (e->missing && !*e->missing)
		*e->missing = pool_copy(l->mem, text + 2, *ret_n - 3);
	return buf_append(out, text, *ret_n);
}

int load_expand(struct loader *l, char **ret, const char *text, const struct kube_container *c, const char **missing)
{
	struct expansion e = {.c = c, .out = BUF_INIT(LOAD_STRING_MAX), .last = strrchr(text, ')'), .missing = missing};
	int r = 0;

	if (missing)
		*missing = NULL;
	while (r == 0 && *text) {
		size_t n = strcspn(text, "$");

		r = buf_append(&e.out, text, n);
		text += n;
		if (r < 0 || !*text)
			break;
		r = expand_one(l, &e, text, &n);
		text += n;
	}
	*ret = r == 0 ? pool_copy(l->mem, buf_data(&e.out), e.out.len) : NULL;
	buf_fini(&e.out);
	if (r == -ENOBUFS)
		return -E2BIG;
	return *ret ? 0 : load_no_memory(l);
}

/* load_expand with a message for what is too long. */
static int expand_at(struct loader *l, char **ret, const struct tree_node *at, const struct kube_container *c)
{
	int r = load_expand(l, ret, at->text, c, NULL);

	return r == -E2BIG ? load_error(l, at, "is longer than 128 KiB with its variables; shorten it or use a volume")
			   : r;
}

/* ---- variables ---- */

static size_t strings_size(const struct kube_container *c)
{
	size_t total = 0;

	for (size_t i = 0; i < c->n_env; i++)
		total += strlen(c->env[i].key) + strlen(c->env[i].value) + 2;
	for (size_t i = 0; i < c->command.n; i++)
		total += strlen(c->command.v[i]) + 1;
	for (size_t i = 0; i < c->args.n; i++)
		total += strlen(c->args.v[i]) + 1;
	return total;
}

static int check_size(struct loader *l, const struct kube_container *c, const struct tree_node *at)
{
	if (strings_size(c) <= LOAD_STRINGS_MAX)
		return 0;
	return load_error(l, at, "command, args and env are larger than 1 MiB together; use a volume");
}

/* Room for one more variable: the array doubles, so that most pods, which have few, stay small. */
static int grow_env(struct loader *l, struct kube_container *c)
{
	size_t cap = c->n_env ? 2 * c->n_env : 8;
	struct kube_pair *env;

	/* Full at 0, 8, 16, ...: the only lengths that were ever a capacity. */
	if (c->n_env && (c->n_env < 8 || (c->n_env & (c->n_env - 1))))
		return 0;
	env = pool_array(l->mem, cap, sizeof(*env));
	if (!env)
		return load_no_memory(l);
	if (c->n_env)
		memcpy(env, c->env, c->n_env * sizeof(*env));
	c->env = env;
	return 0;
}

/* Sets a variable; an earlier one of that name gets the new value. `value` is the pod's or lives as long. */
static int set_env(
	struct loader *l, struct kube_container *c, const struct tree_node *at, const char *name, char *value)
{
	struct kube_pair *pair = NULL;

	if (strlen(name) + strlen(value) + 1 > LOAD_STRING_MAX)
		return load_error(l, at, "the variable is longer than 128 KiB; use a volume");
	for (size_t i = 0; i < c->n_env && !pair; i++)
		if (str_eq(c->env[i].key, name))
			pair = &c->env[i];
	if (!pair && c->n_env == LOAD_ENV_MAX)
		return load_error(l, at, "more than %u variables", LOAD_ENV_MAX);
	if (!pair) {
		int r = grow_env(l, c);

		if (r < 0)
			return r;
		pair = &c->env[c->n_env];
		pair->key = pool_str(l->mem, name);
		if (!pair->key)
			return load_no_memory(l);
		c->n_env++;
	}
	pair->value = value;
	return 0;
}

static int set_env_key(struct loader *l, struct kube_container *c, const struct tree_node *at, const char *name,
	const struct load_key *key)
{
	char *value;

	if (!value_is_text(key->data, key->len))
		return load_error(l, at, "the key %s is not UTF-8 text, which no variable can hold; use a volume",
			tree_quote(key->key, strlen(key->key)).s);
	value = pool_copy(l->mem, key->data, key->len);
	return value ? set_env(l, c, at, name, value) : load_no_memory(l);
}

static int load_env_from(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct tree_node *refs[] = {load_get(n, "configMapRef"), load_get(n, "secretRef")};
	const char *prefix = load_str(n, "prefix"), *wrong = prefix ? value_check_env_name(prefix) : NULL;
	const struct load_config *config;
	bool secret = refs[1] != NULL;
	struct tree_node *ref = refs[secret];
	int r;

	if (wrong)
		return load_error(l, load_get(n, "prefix"), "%s %s", tree_quote(prefix, strlen(prefix)).s, wrong);
	if (!ref || (refs[0] && refs[1]))
		return load_error(l, n, "needs one of configMapRef and secretRef");
	r = load_find_config(l, &config, load_get(ref, "name"), secret, load_bool(ref, "optional", false));
	if (r)
		return r < 0 ? r : 0;
	for (size_t i = 0; r == 0 && i < config->n; i++) {
		char name[600];

		if (!config->keys[i].text)
			continue;
		if (snprintf(name, sizeof(name), "%s%s", prefix ? prefix : "", config->keys[i].key) >=
			(int)sizeof(name))
			return load_error(l, load_get(n, "prefix"), "is too long; shorten it");
		r = set_env_key(l, c, n, name, &config->keys[i]);
	}
	return r;
}

/* 1: optional and not there. */
static int load_key_ref(
	struct loader *l, struct kube_container *c, const char *name, struct tree_node *ref, bool secret)
{
	struct tree_node *key_node = load_get(ref, "key");
	bool optional = load_bool(ref, "optional", false);
	const struct load_config *config;
	const struct load_key *key;
	int r = load_find_config(l, &config, load_get(ref, "name"), secret, optional);

	if (r)
		return r;
	key = load_find_key(config, key_node->text);
	if (key && key->text)
		return set_env_key(l, c, key_node, name, key);
	if (optional)
		return 1;
	if (key)
		return load_error(l, key_node, "is in binaryData, which no variable can show; use a volume");
	return load_error(l, key_node, "no key %s in %s %s (line %u)", tree_quote(key_node->text, key_node->len).s,
		secret ? "Secret" : "ConfigMap", config->name, config->line);
}

static int load_value_from(struct loader *l, struct kube_container *c, const char *name, struct tree_node *from)
{
	static const char *const sources[] = {"configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"};
	struct tree_node *ref = NULL;
	size_t which = 0, n = 0;
	char *value = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct tree_node *found = load_get(from, sources[i]);

		if (!found)
			continue;
		ref = found;
		which = i;
		n++;
	}
	if (n != 1)
		return load_error(l, from, "needs one of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef");
	if (which < 2) {
		r = load_key_ref(l, c, name, ref, which == 1);
		return r < 0 ? r : 0;
	}
	r = which == 2 ? load_field_ref(l, &value, ref, c) : load_resource_ref(l, &value, ref, c);
	return r < 0 ? r : set_env(l, c, ref, name, value);
}

static int load_env_entry(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	const char *name = load_str(n, "name"), *text = load_str(n, "value"), *wrong = value_check_env_name(name);
	struct tree_node *from = load_get(n, "valueFrom");
	char *value = NULL;
	int r;

	if (wrong)
		return load_error(l, load_get(n, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
	if (text && from)
		return load_error(l, from, "does not go with value; remove one");
	if (from)
		return load_value_from(l, c, name, from);
	r = text ? expand_at(l, &value, load_get(n, "value"), c) : load_copy(l, &value, NULL, "");
	return r < 0 ? r : set_env(l, c, n, name, value);
}

static int load_env(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct tree_node *from = load_get(n, "envFrom"), *env = load_get(n, "env");
	int r = 0;

	if (!from && !env)
		return 0;
	for (size_t i = 0; r == 0 && from && i < from->n; i++)
		r = load_env_from(l, c, from->items[i]);
	for (size_t i = 0; r == 0 && env && i < env->n; i++)
		r = load_env_entry(l, c, env->items[i]);
	return r < 0 ? r : check_size(l, c, env ? env : from);
}

/* ---- command and args ---- */

static int load_command(struct loader *l, struct kube_container *c, struct kube_strings *ret, struct tree_node *list)
{
	int r = 0;

	if (!list || !list->n)
		return 0;
	ret->v = pool_array(l->mem, list->n, sizeof(char *));
	if (!ret->v)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		r = expand_at(l, &ret->v[i], list->items[i], c);
		if (r == 0)
			ret->n++;
	}
	return r < 0 ? r : check_size(l, c, list);
}

int load_container_rest(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct tree_node *command = load_get(n, "command"), *args = load_get(n, "args");
	int r = load_env(l, c, n);

	c->has_command = command && command->n;
	c->has_args = args && args->n;
	if (r == 0)
		r = load_command(l, c, &c->command, command);
	return r < 0 ? r : load_command(l, c, &c->args, args);
}
