/* SPDX-License-Identifier: Apache-2.0 */
/* The downward API: fields of the pod and its containers as text, in the kubelet's formats. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "kube/value.h"

/* A map with all its values escaped may not become larger than this. */
#define FIELD_BYTES_MAX (1u << 20)

/* ---- labels and annotations ---- */

static int compare_pairs(const void *a, const void *b)
{
	const struct kube_pair *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* Code points beyond ASCII that Go's strconv.Quote escapes: controls, spaces other than ' ', and invisible format characters. */
static bool is_unprintable(uint32_t c)
{
	static const uint32_t ranges[][2] = {{0x80, 0xa0}, {0xad, 0xad}, {0x1680, 0x1680}, {0x180e, 0x180e},
		{0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0xd800, 0xf8ff},
		{0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xf0000, 0x10ffff}};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

/* As Go's %q. */
static int append_quoted(struct buf *out, const char *text)
{
	static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
	const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);
	int r = buf_append_str(out, "\"");
	size_t n;

	for (; r == 0 && p < end; p += n) {
		uint32_t c = *p;
		const char *escape = NULL;

		/* Never 0: libyaml lets nothing but UTF-8 through. */
		n = MAX_OF(utf8_next(p, (size_t)(end - p), &c), (size_t)1);

		for (size_t i = 0; i < sizeof(escapes) - 1; i += 2)
			if (c == (uint32_t)escapes[i])
				escape = &escapes[i + 1];
		if (escape)
			r = buf_printf(out, "\\%c", *escape);
		else if (c < 0x20 || c == 0x7f)
			r = buf_printf(out, "\\x%02x", c);
		else if (c >= 0x80 && is_unprintable(c))
			r = buf_printf(out, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
		else
			r = buf_append(out, p, n);
	}
	return r == 0 ? buf_append_str(out, "\"") : r;
}

/* All of a map: key="value" lines, sorted, no newline at the end. */
static int format_map(struct loader *l, char **ret, const struct kube_pair *pairs, size_t n)
{
	auto_buf struct buf out = BUF_INIT(FIELD_BYTES_MAX);
	auto_free const struct kube_pair **sorted = calloc(n + 1, sizeof(*sorted));
	int r = 0;

	if (!sorted)
		return load_no_memory(l);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &pairs[i];
	if (n)
		qsort((void *)sorted, n, sizeof(*sorted), compare_pairs);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = buf_printf(&out, "%s%s=", i ? "\n" : "", sorted[i]->key);
		if (r == 0)
			r = append_quoted(&out, sorted[i]->value);
	}
	*ret = r == 0 ? pool_copy(l->mem, buf_data(&out), out.len) : NULL;
	return *ret ? 0 : load_no_memory(l);
}

/* metadata.labels['key'] or metadata.annotations['key']: 1 when `path` is of that form, and *ret set. */
static int subscript(struct loader *l, char **ret, const struct tree_node *path)
{
	static const char *const maps[] = {"metadata.labels['", "metadata.annotations['"};

	for (size_t m = 0; m < ARRAY_SIZE(maps); m++) {
		const struct kube_pair *pairs = m ? l->pod->annotations : l->pod->labels;
		size_t n = m ? l->pod->n_annotations : l->pod->n_labels, prefix = strlen(maps[m]), key;

		if (!str_has_prefix(path->text, maps[m]) || !str_has_suffix(path->text, "']") || path->len < prefix + 3)
			continue;
		key = path->len - prefix - 2;
		for (size_t i = 0; i < n; i++)
			if (strlen(pairs[i].key) == key && memcmp(pairs[i].key, path->text + prefix, key) == 0)
				return load_copy(l, ret, pairs[i].value, "") < 0 ? -ENOMEM : 1;
		return load_copy(l, ret, NULL, "") < 0 ? -ENOMEM : 1; /* as the kubelet: absent is empty */
	}
	return 0;
}

/* ---- fieldRef ---- */

static int simple_field(struct loader *l, char **ret, const struct tree_node *path, bool volume)
{
	const struct kube_context *ctx = l->ctx;
	const struct {
		const char *path, *value;
		bool in_volume;
	} fields[] = {
		{"metadata.name", l->pod->name, true},
		{"metadata.namespace", l->pod->ns, true},
		{"metadata.uid", l->pod->uid, true},
		{"spec.nodeName", ctx->node_name, false},
		{"spec.serviceAccountName", l->service_account, false},
		{"status.hostIP", ctx->host_ip, false},
		{"status.hostIPs", ctx->host_ip, false},
		{"status.podIP", ctx->pod_ip, false},
		{"status.podIPs", ctx->pod_ip, false},
	};
	const char *names[ARRAY_SIZE(fields) + 2];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (volume && !fields[i].in_volume)
			continue;
		names[n++] = fields[i].path;
		if (str_eq(fields[i].path, path->text))
			return load_copy(l, ret, fields[i].value, "");
	}
	names[n++] = "metadata.labels['KEY']";
	names[n++] = "metadata.annotations['KEY']";
	return load_error(l, path, "%s is no field that %s can show; the nearest is \"%s\"",
		tree_quote(path->text, path->len).s, volume ? "a file" : "a variable",
		schema_nearest(path->text, names, n, NULL));
}

int load_field_ref(struct loader *l, char **ret, struct tree_node *ref, const struct kube_container *c)
{
	const struct tree_node *path = load_get(ref, "fieldPath");
	int r;

	(void)load_get(ref, "apiVersion");
	if (!c && str_eq(path->text, "metadata.labels"))
		return format_map(l, ret, l->pod->labels, l->pod->n_labels);
	if (!c && str_eq(path->text, "metadata.annotations"))
		return format_map(l, ret, l->pod->annotations, l->pod->n_annotations);
	r = subscript(l, ret, path);
	if (r)
		return r < 0 ? load_no_memory(l) : 0;
	return simple_field(l, ret, path, !c);
}

/* ---- resourceFieldRef ---- */

static const struct kube_container *find_container(struct loader *l, const char *name)
{
	for (size_t i = 0; i < l->pod->n_containers; i++)
		if (str_eq(l->pod->containers[i].name, name))
			return &l->pod->containers[i];
	return NULL;
}

/* The value of `name` in milli (cpu) or bytes; limits that are not given are what the pod has. False: nothing to tell. */
static bool resource_value(const struct loader *l, const struct kube_resources *r, const char *name, uint64_t *ret)
{
	const struct kube_resources *pod = &l->pod->resources;

	if (str_eq(name, "limits.cpu"))
		*ret = r->cpu_limit_milli     ? r->cpu_limit_milli
		       : pod->cpu_limit_milli ? pod->cpu_limit_milli
					      : l->ctx->default_cpu_milli;
	else if (str_eq(name, "limits.memory"))
		*ret = r->memory_limit	   ? r->memory_limit
		       : pod->memory_limit ? pod->memory_limit
					   : l->ctx->default_memory;
	else if (str_eq(name, "requests.cpu"))
		*ret = r->cpu_request_milli;
	else if (str_eq(name, "requests.memory"))
		*ret = r->memory_request;
	else if (str_eq(name, "requests.ephemeral-storage"))
		*ret = r->storage_request;
	else
		*ret = r->storage_limit;
	return !str_eq(name, "limits.ephemeral-storage") || *ret;
}

/* The divisors that the API server takes. */
static bool divisor_allowed(const char *divisor, bool cpu)
{
	static const char *const cpus[] = {"0", "1m", "1"};
	static const char *const bytes[] = {
		"0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"};
	const char *const *list = cpu ? cpus : bytes;

	for (size_t i = 0; i < (cpu ? ARRAY_SIZE(cpus) : ARRAY_SIZE(bytes)); i++)
		if (str_eq(divisor, list[i]))
			return true;
	return false;
}

int load_resource_ref(struct loader *l, char **ret, struct tree_node *ref, const struct kube_container *c)
{
	const char *name = load_str(ref, "containerName"), *resource = load_str(ref, "resource");
	const struct tree_node *divisor = load_get(ref, "divisor");
	bool cpu = str_has_suffix(resource, ".cpu");
	uint64_t value, unit = cpu ? 1000 : 1;

	if (name)
		c = find_container(l, name);
	else if (!c)
		return load_error_of(l, ref, "containerName", "is required in a volume");
	if (!c)
		return load_error(l, load_get(ref, "containerName"), "no container %s in the pod",
			tree_quote(name, strlen(name)).s);
	if (divisor && !divisor_allowed(divisor->text, cpu))
		return load_error(l, divisor, "%s does not divide here; use %s",
			tree_quote(divisor->text, divisor->len).s,
			cpu ? "1m or 1" : "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi or 1Ei");
	if (divisor && !str_eq(divisor->text, "0"))
		unit = load_quantity(divisor, cpu ? VALUE_MILLI : VALUE_UNIT);
	if (!resource_value(l, &c->resources, resource, &value))
		return load_error(l, load_get(ref, "resource"),
			"container %s has no limit for ephemeral-storage; give it one", c->name);
	*ret = pool_printf(l->mem, "%llu", (unsigned long long)(value / unit + (value % unit != 0)));
	return *ret ? 0 : load_no_memory(l);
}
