/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's identity and the settings that belong to the pod as a whole. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

/* The API server's limit for all keys and values of the annotations. */
#define ANNOTATIONS_MAX (256u << 10)

static int check_labels(struct loader *l, const struct tree_node *map)
{
	for (size_t i = 0; map && i < map->n; i++) {
		const struct tree_node *n = map->items[i];
		const char *wrong = value_check_qualified_name(n->key);

		if (wrong)
			return load_error(l, n, "the key %s", wrong);
		wrong = n->kind == TREE_STRING ? value_check_label_value(n->text) : NULL;
		if (wrong || (n->kind == TREE_STRING && strlen(n->text) != n->len))
			return load_error(
				l, n, "%s %s", tree_quote(n->text, n->len).s, wrong ? wrong : "has a NUL character");
	}
	return 0;
}

static int check_annotations(struct loader *l, const struct tree_node *map)
{
	size_t total = 0;

	for (size_t i = 0; map && i < map->n; i++) {
		const struct tree_node *n = map->items[i];
		const char *wrong = value_check_qualified_name(n->key);

		if (wrong)
			return load_error(l, n, "the key %s", wrong);
		if (n->kind == TREE_STRING && strlen(n->text) != n->len)
			return load_error(l, n, "has a NUL character");
		total += strlen(n->key) + (n->kind == TREE_STRING ? n->len : 0);
		if (total > ANNOTATIONS_MAX)
			return load_error(
				l, n, "the annotations are larger than 256 KiB here; put data into a ConfigMap");
	}
	return 0;
}

/* generateName and five characters that follow from the uid, in the alphabet of the API server. */
static int generate_name(struct loader *l, const struct tree_node *at, const char *prefix)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	char suffix[6] = "";

	if (!*l->pod->uid)
		return load_error(l, at, "needs a uid to make a name from; give metadata.name");
	for (const char *p = l->pod->uid; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 1099511628211u;
	for (size_t i = 0; i < 5; i++, hash /= sizeof(alphabet) - 1)
		suffix[i] = alphabet[hash % (sizeof(alphabet) - 1)];
	l->pod->name = pool_printf(l->mem, "%.58s%s", prefix, suffix);
	return l->pod->name ? 0 : load_no_memory(l);
}

static int load_name(struct loader *l, struct tree_node *doc, struct tree_node *meta)
{
	const char *name = load_str(meta, "name"), *prefix = load_str(meta, "generateName"), *wrong;
	int r;

	if (!name && !prefix)
		return load_error_of(l, meta ? meta : doc, meta ? "name" : "metadata", "a Pod needs metadata.name");
	r = name ? load_copy(l, &l->pod->name, name, "") : generate_name(l, load_get(meta, "generateName"), prefix);
	if (r < 0)
		return r;
	wrong = value_check_dns_subdomain(l->pod->name);
	if (wrong)
		return load_error(l, load_get(meta, name ? "name" : "generateName"), "%s %s",
			tree_quote(l->pod->name, strlen(l->pod->name)).s, wrong);
	return 0;
}

int load_meta(struct loader *l, struct tree_node *doc)
{
	struct tree_node *meta = load_get(doc, "metadata"), *labels = load_get(meta, "labels"),
			 *annotations = load_get(meta, "annotations");
	const char *uid = load_str(meta, "uid"), *ns = load_str(meta, "namespace"), *wrong;
	int r;

	(void)load_get(doc, "apiVersion");
	wrong = ns ? value_check_dns_label(ns) : NULL;
	if (wrong)
		return load_error(l, load_get(meta, "namespace"), "%s %s", tree_quote(ns, strlen(ns)).s, wrong);
	wrong = uid ? value_check_label_value(uid) : NULL;
	if (wrong)
		return load_error(l, load_get(meta, "uid"), "%s %s", tree_quote(uid, strlen(uid)).s, wrong);
	r = load_copy(l, &l->pod->uid, uid ? uid : l->ctx->uid, "");
	if (r == 0)
		r = load_copy(l, &l->pod->ns, ns, "default");
	if (r == 0)
		r = load_name(l, doc, meta);
	if (r == 0)
		r = check_labels(l, labels);
	if (r == 0)
		r = check_annotations(l, annotations);
	if (r == 0)
		r = load_pairs(l, &l->pod->labels, &l->pod->n_labels, labels);
	if (r == 0)
		r = load_pairs(l, &l->pod->annotations, &l->pod->n_annotations, annotations);
	return r;
}

/* ---- settings ---- */

static enum kube_restart restart_policy(const char *text)
{
	if (text && str_eq(text, "OnFailure"))
		return KUBE_RESTART_ON_FAILURE;
	return text && str_eq(text, "Never") ? KUBE_RESTART_NEVER : KUBE_RESTART_ALWAYS;
}

static int load_groups(struct loader *l, struct tree_node *security)
{
	struct kube_pod *pod = l->pod;
	struct tree_node *list = load_get(security, "supplementalGroups"), *group = load_get(security, "fsGroup");
	const char *policy = load_str(security, "supplementalGroupsPolicy");

	pod->groups_strict = policy && str_eq(policy, "Strict");
	if (group)
		pod->fs_group = (struct kube_id){.set = true, .v = (uint32_t)load_int_value(group)};
	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_GROUPS_MAX)
		return load_error(l, list, "%zu groups; at most %u are taken", list->n, LOAD_GROUPS_MAX);
	pod->supplemental_groups = pool_array(l->mem, list->n, sizeof(uint32_t));
	if (!pod->supplemental_groups)
		return load_no_memory(l);
	for (; pod->n_supplemental_groups < list->n; pod->n_supplemental_groups++)
		pod->supplemental_groups[pod->n_supplemental_groups] = (uint32_t)load_int_value(
			list->items[pod->n_supplemental_groups]);
	return 0;
}

/* kernel/shm_rmid_forced is the same parameter as kernel.shm_rmid_forced; dots inside of a name are written as slashes then. */
static void sysctl_normalise(char *name)
{
	size_t first = strcspn(name, "./");

	if (name[first] != '/')
		return;
	for (; *name; name++)
		*name = *name == '/' ? '.' : *name == '.' ? '/' : *name;
}

static int load_sysctls(struct loader *l, struct tree_node *security)
{
	struct tree_node *list = load_get(security, "sysctls");
	struct kube_pod *pod = l->pod;

	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_SYSCTLS_MAX)
		return load_error(l, list, "%zu sysctls; at most %u are taken", list->n, LOAD_SYSCTLS_MAX);
	pod->sysctls = pool_array(l->mem, list->n, sizeof(*pod->sysctls));
	if (!pod->sysctls)
		return load_no_memory(l);
	for (size_t i = 0; i < list->n; i++) {
		struct tree_node *n = list->items[i];
		const char *name = load_str(n, "name"), *wrong = value_check_sysctl(name);
		struct kube_pair *pair = &pod->sysctls[i];
		int r;

		if (wrong)
			return load_error(l, load_get(n, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
		r = load_copy(l, &pair->key, name, "");
		if (r == 0)
			r = load_copy(l, &pair->value, load_str(n, "value"), "");
		if (r < 0)
			return r;
		sysctl_normalise(pair->key);
		for (size_t k = 0; k < i; k++)
			if (str_eq(pod->sysctls[k].key, pair->key))
				return load_error(l, load_get(n, "name"), "%s is set twice; remove one",
					tree_quote(name, strlen(name)).s);
		pod->n_sysctls = i + 1;
	}
	return 0;
}

/* The pod's half of what load_security merges is read there; the profile types are looked at even without containers. */
int load_pod_settings(struct loader *l, struct tree_node *spec)
{
	struct kube_pod *pod = l->pod;
	struct tree_node *security = load_get(spec, "securityContext"), *resources = load_get(spec, "resources");
	struct tree_node *os = load_get(spec, "os");
	const char *account = load_str(spec, "serviceAccountName"), *os_name = load_str(os, "name");
	int r;

	l->service_account = account ? account : "default";
	pod->restart = restart_policy(load_str(spec, "restartPolicy"));
	pod->grace_seconds = (uint32_t)load_int(spec, "terminationGracePeriodSeconds", 30);
	pod->active_deadline_seconds = (uint64_t)load_int(spec, "activeDeadlineSeconds", 0);
	pod->share_pid = load_bool(spec, "shareProcessNamespace", false);
	pod->default_cpu_milli = l->ctx->default_cpu_milli;
	pod->default_memory = l->ctx->default_memory;
	if (os_name && str_eq(os_name, "windows"))
		return load_error(l, load_get(os, "name"), "windows containers do not run here; use linux");
	r = load_groups(l, security);
	if (r == 0)
		r = load_sysctls(l, security);
	if (r == 0 && resources)
		r = load_resources(l, &pod->resources, resources);
	return r;
}
