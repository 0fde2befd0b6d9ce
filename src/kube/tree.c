/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events become nodes by recursive descent, at most TREE_DEPTH_MAX deep. Every node counts against
 * TREE_NODES_MAX when it is made, whether it was written or came by an alias, so a "billion laughs" file ends there. Copies
 * share their text with the original, so aliases multiply nodes only, never bytes.
 *
 * A map is finished by sorting its entries by key: that finds duplicates, lets merged entries give way to written ones,
 * and serves later look-ups.
 */
#include "kube/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/bytes.h"

#define TREE_MEMORY_MAX (64u << 20)
#define YAML_TAG "tag:yaml.org,2002:"

struct anchor {
	char *name;
	struct tree_node *node; /* NULL while the node is being read */
};

struct parser {
	yaml_parser_t yaml;
	struct tree *tree;
	const char *name, *input;
	size_t len;
	size_t nodes;
	struct anchor anchors[TREE_ANCHORS_MAX];
	size_t n_anchors;
	struct err *err;
};

/* The entries of a list or map while it grows. */
struct entries {
	struct tree_node **v;
	size_t n, cap;
};

static void cleanup_event(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static void cleanup_entries(struct entries *e)
{
	free(e->v);
}

static int fail(struct parser *p, size_t line, const char *fmt, ...) printf_like(3, 4);

static int fail(struct parser *p, size_t line, const char *fmt, ...)
{
	char msg[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_set(p->err, EINVAL, "%.120s:%zu: %s", p->name, line, msg);
}

static int no_memory(struct parser *p)
{
	return err_set(p->err, ENOMEM, "%.120s: out of memory", p->name);
}

static size_t line_of(const yaml_event_t *event)
{
	return event->start_mark.line + 1;
}

static size_t line_at(const struct parser *p, size_t offset)
{
	size_t line = 1;

	for (size_t i = 0; i < offset && i < p->len; i++)
		line += p->input[i] == '\n';
	return line;
}

/* The column of the first tab in what indents the line, list dashes included, from 1; 0: there is none. */
static size_t tab_in_indentation(const struct parser *p, size_t line)
{
	const char *at = p->input, *end = p->input + p->len;

	for (size_t i = 1; i < line && at; i++) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	for (size_t column = 1; at && at < end && (*at == ' ' || *at == '-' || *at == '\t'); column++)
		if (*at++ == '\t')
			return column;
	return 0;
}

static int next_event(struct parser *p, yaml_event_t *ret)
{
	size_t line, tab;

	if (yaml_parser_parse(&p->yaml, ret))
		return 0;
	memset(ret, 0, sizeof(*ret));
	if (p->yaml.error == YAML_MEMORY_ERROR)
		return no_memory(p);
	line = p->yaml.error == YAML_READER_ERROR ? line_at(p, p->yaml.problem_offset) : p->yaml.problem_mark.line + 1;
	tab = p->yaml.error == YAML_SCANNER_ERROR ? tab_in_indentation(p, line) : 0;
	if (tab)
		return fail(p, line, "not valid YAML: a tab in column %zu; indent with spaces", tab);
	/* An indentation or a quote that is wrong shows only later: where the trouble began is worth more then. */
	if (p->yaml.problem && p->yaml.context && p->yaml.context_mark.line + 1 < line)
		return fail(p, line, "not valid YAML: %s %s that begins on line %zu", p->yaml.problem, p->yaml.context,
			p->yaml.context_mark.line + 1);
	return fail(p, line, "not valid YAML: %s", p->yaml.problem ? p->yaml.problem : "syntax error");
}

static int new_node(struct parser *p, size_t line, struct tree_node *parent, struct tree_node **ret)
{
	if (p->nodes >= TREE_NODES_MAX)
		return fail(p, line, "more than %u values, aliases counted each time; split the file", TREE_NODES_MAX);
	p->nodes++;
	*ret = pool_alloc(&p->tree->mem, sizeof(**ret));
	if (!*ret)
		return no_memory(p);
	(*ret)->line = (uint32_t)line;
	(*ret)->parent = parent;
	return 0;
}

static int entries_add(struct parser *p, struct entries *e, struct tree_node *n)
{
	if (e->n == e->cap) {
		size_t cap = e->cap ? 2 * e->cap : 8;
		struct tree_node **v = reallocarray(e->v, cap, sizeof(*v)); /* NOLINT */

		if (!v)
			return no_memory(p);
		e->v = v;
		e->cap = cap;
	}
	e->v[e->n++] = n;
	return 0;
}

/* Gives the entries to the node, numbered. */
static int entries_store(struct parser *p, const struct entries *e, struct tree_node *n)
{
	n->items = pool_array(&p->tree->mem, e->n, sizeof(*n->items));
	if (!n->items)
		return no_memory(p);
	n->n = e->n;
	for (size_t i = 0; i < e->n; i++) {
		n->items[i] = e->v[i];
		e->v[i]->index = i;
		e->v[i]->parent = n;
	}
	return 0;
}

/* ---- scalars ---- */

static bool tag_is(const char *tag, const char *name)
{
	return tag && str_has_prefix(tag, YAML_TAG) && str_eq(tag + strlen(YAML_TAG), name);
}

/* "!!binary" for tag:yaml.org,2002:binary. */
static int refuse_tag(struct parser *p, const struct tree_node *n, const char *tag)
{
	char shorter[64];

	if (str_has_prefix(tag, YAML_TAG)) {
		(void)snprintf(shorter, sizeof(shorter), "!!%.40s", tag + strlen(YAML_TAG));
		tag = shorter;
	}
	return fail(p, n->line, "%s: the tag %s is not supported; leave it out", tree_path(n).s,
		tree_quote(tag, strlen(tag)).s);
}

static int apply_tag(struct parser *p, struct tree_node *n, const char *tag)
{
	static const struct {
		const char *name;
		enum tree_kind kind;
	} tags[] = {{"null", TREE_NULL}, {"bool", TREE_BOOL}, {"int", TREE_INT}, {"float", TREE_FLOAT}};

	n->kind = TREE_STRING;
	if (str_eq(tag, "!") || tag_is(tag, "str"))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		if (!tag_is(tag, tags[i].name))
			continue;
		tree_resolve_scalar(&p->tree->mem, n);
		if (n->kind == TREE_INT && tags[i].kind == TREE_FLOAT)
			n->kind = TREE_FLOAT, n->number = n->negative ? -(double)n->magnitude : (double)n->magnitude;
		if (n->kind != tags[i].kind)
			return fail(p, n->line, "%s: %s is no !!%s", tree_path(n).s, tree_quote(n->text, n->len).s,
				tags[i].name);
		return 0;
	}
	return refuse_tag(p, n, tag);
}

static int scalar_value(struct parser *p, const yaml_event_t *event, struct tree_node *n)
{
	const char *tag = (const char *)event->data.scalar.tag;

	n->len = event->data.scalar.length;
	n->text = pool_copy(&p->tree->mem, event->data.scalar.value, n->len);
	if (!n->text)
		return no_memory(p);
	if (tag)
		return apply_tag(p, n, tag);
	n->kind = TREE_STRING;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		tree_resolve_scalar(&p->tree->mem, n);
	return 0;
}

/* ---- anchors ---- */

/* Remembers the name before the node is read, so that a node that contains itself is seen. -1 in *ret: no anchor. */
static int anchor_open(struct parser *p, const yaml_char_t *name, size_t line, ssize_t *ret)
{
	*ret = -1;
	if (!name)
		return 0;
	if (p->n_anchors == TREE_ANCHORS_MAX)
		return fail(p, line, "more than %u anchors", TREE_ANCHORS_MAX);
	*ret = (ssize_t)p->n_anchors;
	p->anchors[p->n_anchors] = (struct anchor){.name = pool_str(&p->tree->mem, (const char *)name)};
	return p->anchors[p->n_anchors++].name ? 0 : no_memory(p);
}

static int copy_node(struct parser *p, const struct tree_node *from, struct tree_node *n, unsigned depth)
{
	struct tree_node *parent = n->parent;
	const char *key = n->key;
	uint32_t key_line = n->key_line, line = n->line;
	auto_free struct tree_node **v = NULL;
	struct entries e = {0};
	int r = 0;

	if (depth > TREE_DEPTH_MAX)
		return fail(p, line, "%s: nested more than %u deep", tree_path(n).s, TREE_DEPTH_MAX);
	*n = *from;
	n->parent = parent;
	n->key = key;
	n->key_line = key_line;
	if (from->kind != TREE_LIST && from->kind != TREE_MAP)
		return 0;
	n->items = n->sorted = NULL;
	n->n = 0;
	v = calloc(from->n + 1, sizeof(struct tree_node *));
	if (!v)
		return no_memory(p);
	for (e = (struct entries){.v = v, .cap = from->n}; r == 0 && e.n < from->n; e.n++) {
		r = new_node(p, line, n, &v[e.n]);
		if (r < 0)
			return r;
		v[e.n]->key = from->items[e.n]->key;
		v[e.n]->key_line = from->items[e.n]->key_line;
		v[e.n]->index = e.n;
		r = copy_node(p, from->items[e.n], v[e.n], depth + 1);
	}
	if (r == 0)
		r = entries_store(p, &e, n);
	if (r < 0 || from->kind == TREE_LIST)
		return r;
	n->sorted = pool_array(&p->tree->mem, n->n, sizeof(*n->sorted));
	if (!n->sorted)
		return no_memory(p);
	for (size_t i = 0; i < n->n; i++)
		n->sorted[i] = n->items[from->sorted[i]->index];
	return 0;
}

static int alias_value(struct parser *p, const yaml_event_t *event, struct tree_node *n, unsigned depth)
{
	const char *name = (const char *)event->data.alias.anchor;

	for (size_t i = p->n_anchors; i-- > 0;) {
		if (!str_eq(p->anchors[i].name, name))
			continue;
		if (!p->anchors[i].node)
			return fail(p, line_of(event), "%s: the alias *%.40s is inside of what it names",
				tree_path(n).s, name);
		return copy_node(p, p->anchors[i].node, n, depth);
	}
	return fail(
		p, line_of(event), "%s: the alias *%.40s has no anchor &%.40s before it", tree_path(n).s, name, name);
}

/* ---- maps ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct tree_node *x = *(struct tree_node *const *)a, *y = *(struct tree_node *const *)b;
	int r = strcmp(x->key, y->key);

	if (r)
		return r;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Sorts, refuses what was written twice, and drops merged entries that something of lower rank hides. */
static int map_finish(struct parser *p, struct entries *e, struct tree_node *map)
{
	struct tree_node **sorted = pool_array(&p->tree->mem, e->n, sizeof(*sorted));
	size_t kept = 0;

	if (!sorted)
		return no_memory(p);
	for (size_t i = 0; i < e->n; i++) {
		sorted[i] = e->v[i];
		e->v[i]->index = i;
		e->v[i]->parent = map;
	}
	if (e->n)
		qsort(sorted, e->n, sizeof(struct tree_node *), compare_entries);
	for (size_t i = 0; i < e->n; i++) {
		struct tree_node *before = kept ? sorted[kept - 1] : NULL;

		if (!before || !str_eq(before->key, sorted[i]->key)) {
			sorted[kept++] = sorted[i];
			continue;
		}
		if (!before->rank && !sorted[i]->rank)
			return fail(p, sorted[i]->key_line, "%s: is there twice, first on line %u; remove one",
				tree_path(sorted[i]).s, before->key_line);
		sorted[i]->index = SIZE_MAX;
	}
	map->sorted = sorted;
	kept = 0;
	for (size_t i = 0; i < e->n; i++)
		if (e->v[i]->index != SIZE_MAX)
			e->v[kept++] = e->v[i];
	e->n = kept;
	return entries_store(p, e, map);
}

/* A key must be text, and be the same text to every reader of YAML. */
static int check_key(struct parser *p, const struct tree_node *map, const struct tree_node *key)
{
	char decimal[32];

	(void)snprintf(
		decimal, sizeof(decimal), "%s%llu", key->negative ? "-" : "", (unsigned long long)key->magnitude);
	if (key->kind == TREE_STRING || (key->kind == TREE_INT && str_eq(decimal, key->text))) {
		if (strlen(key->text) == key->len)
			return 0;
		return fail(p, key->line, "%s: a key with a NUL character", tree_path(map).s);
	}
	if (key->kind == TREE_NULL)
		return fail(p, key->line, "%s: an empty key", tree_path(map).s);
	return fail(p, key->line, "%s: YAML reads the key %.40s as %s; put it in quotes", tree_path(map).s, key->text,
		key->kind == TREE_BOOL ? "a boolean" : "a number");
}

static int read_value(struct parser *p, const yaml_event_t *event, struct tree_node *n, unsigned depth);

/* Adds the entries of a merged map, or of each map of a list. */
static int merge_entries(struct parser *p, struct entries *e, const struct tree_node *from, uint32_t *rank)
{
	int r = 0;

	if (from->kind == TREE_LIST) {
		for (size_t i = 0; r == 0 && i < from->n; i++)
			r = from->items[i]->kind == TREE_MAP
				    ? merge_entries(p, e, from->items[i], rank)
				    : fail(p, from->line, "%s: << merges maps only", tree_path(from).s);
		return r;
	}
	if (from->kind != TREE_MAP)
		return fail(p, from->line, "%s: << merges maps only", tree_path(from).s);
	++*rank;
	for (size_t i = 0; r == 0 && i < from->n; i++) {
		from->items[i]->rank = *rank;
		r = entries_add(p, e, from->items[i]);
	}
	return r;
}

static int read_entry(struct parser *p, const yaml_event_t *event, struct entries *e, struct tree_node *map,
	struct tree_node **merge, unsigned depth)
{
	yaml_event_t next cleanup_with(cleanup_event) = {0};
	struct tree_node key = {.line = (uint32_t)line_of(event), .parent = map}, *n = NULL;
	bool merging;
	int r;

	if (event->type != YAML_SCALAR_EVENT)
		return fail(p, line_of(event), "%s: a key that is no plain text", tree_path(map).s);
	r = scalar_value(p, event, &key);
	merging = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && str_eq(key.text ? key.text : "", "<<");
	if (r == 0)
		r = check_key(p, map, &key);
	if (r == 0)
		r = new_node(p, key.line, map, &n);
	if (r == 0)
		r = next_event(p, &next);
	if (r < 0)
		return r;
	n->key = key.text;
	n->key_line = key.line;
	n->line = (uint32_t)line_of(&next);
	r = read_value(p, &next, n, depth);
	if (r < 0 || !merging)
		return r < 0 ? r : entries_add(p, e, n);
	if (*merge)
		return fail(p, key.line, "%s: << is there twice; merge a list of maps", tree_path(map).s);
	*merge = n;
	return 0;
}

static int read_map(struct parser *p, struct tree_node *map, unsigned depth)
{
	struct entries e cleanup_with(cleanup_entries) = {0};
	struct tree_node *merge = NULL;
	uint32_t rank = 0;
	int r = 0;

	map->kind = TREE_MAP;
	while (r == 0) {
		yaml_event_t event cleanup_with(cleanup_event) = {0};

		r = next_event(p, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_END_EVENT)
			break;
		r = read_entry(p, &event, &e, map, &merge, depth);
	}
	if (r == 0 && merge)
		r = merge_entries(p, &e, merge, &rank);
	return r < 0 ? r : map_finish(p, &e, map);
}

static int read_list(struct parser *p, struct tree_node *list, unsigned depth)
{
	struct entries e cleanup_with(cleanup_entries) = {0};
	int r = 0;

	list->kind = TREE_LIST;
	while (r == 0) {
		yaml_event_t event cleanup_with(cleanup_event) = {0};
		struct tree_node *n = NULL;

		r = next_event(p, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		r = new_node(p, line_of(&event), list, &n);
		if (r == 0) {
			n->index = e.n;
			r = read_value(p, &event, n, depth);
		}
		if (r == 0)
			r = entries_add(p, &e, n);
	}
	return r < 0 ? r : entries_store(p, &e, list);
}

static int check_collection(struct parser *p, const struct tree_node *n, const char *tag, const char *name)
{
	if (!tag || str_eq(tag, "!") || tag_is(tag, name))
		return 0;
	return refuse_tag(p, n, tag);
}

/* Reads the value that begins with `event` into n. */
static int read_value(struct parser *p, const yaml_event_t *event, struct tree_node *n, unsigned depth)
{
	ssize_t anchor = -1;
	int r = 0;

	if (depth > TREE_DEPTH_MAX)
		return fail(p, line_of(event), "%s: nested more than %u deep", tree_path(n).s, TREE_DEPTH_MAX);
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return alias_value(p, event, n, depth);
	case YAML_SCALAR_EVENT:
		r = anchor_open(p, event->data.scalar.anchor, n->line, &anchor);
		if (r == 0)
			r = scalar_value(p, event, n);
		break;
	case YAML_SEQUENCE_START_EVENT:
		r = anchor_open(p, event->data.sequence_start.anchor, n->line, &anchor);
		if (r == 0)
			r = check_collection(p, n, (const char *)event->data.sequence_start.tag, "seq");
		if (r == 0)
			r = read_list(p, n, depth + 1);
		break;
	case YAML_MAPPING_START_EVENT:
		r = anchor_open(p, event->data.mapping_start.anchor, n->line, &anchor);
		if (r == 0)
			r = check_collection(p, n, (const char *)event->data.mapping_start.tag, "map");
		if (r == 0)
			r = read_map(p, n, depth + 1);
		break;
	default:
		return fail(p, line_of(event), "not valid YAML: unexpected event");
	}
	if (r == 0 && anchor >= 0)
		p->anchors[anchor].node = n;
	return r;
}

static int read_document(struct parser *p, size_t line)
{
	yaml_event_t event cleanup_with(cleanup_event) = {0}, end cleanup_with(cleanup_event) = {0};
	struct tree_node *n = NULL;
	int r = next_event(p, &event);

	p->n_anchors = 0;
	if (r == 0)
		r = new_node(p, line_of(&event), NULL, &n);
	if (r == 0)
		r = read_value(p, &event, n, 1);
	if (r == 0)
		r = next_event(p, &end); /* the document's end */
	if (r < 0 || n->kind == TREE_NULL)
		return r;
	if (p->tree->n == TREE_DOCUMENTS_MAX)
		return fail(p, line, "more than %u documents", TREE_DOCUMENTS_MAX);
	p->tree->documents[p->tree->n++] = n;
	return 0;
}

static int read_stream(struct parser *p)
{
	int r = 0;

	while (r == 0) {
		yaml_event_t event cleanup_with(cleanup_event) = {0};

		r = next_event(p, &event);
		if (r < 0 || event.type == YAML_STREAM_END_EVENT)
			return r;
		if (event.type == YAML_DOCUMENT_START_EVENT)
			r = read_document(p, line_of(&event));
	}
	return r;
}

int tree_parse(struct tree *ret, const char *name, const char *yaml, size_t len, struct err *err)
{
	auto_free struct parser *p = calloc(1, sizeof(*p));
	int r;

	*ret = (struct tree){.mem.limit = TREE_MEMORY_MAX};
	if (!p)
		return err_set(err, ENOMEM, "%.120s: out of memory", name);
	p->tree = ret;
	p->name = name;
	p->input = yaml;
	p->len = len;
	p->err = err;
	if (!yaml_parser_initialize(&p->yaml))
		return no_memory(p);
	yaml_parser_set_input_string(&p->yaml, (const unsigned char *)yaml, len);
	r = read_stream(p);
	yaml_parser_delete(&p->yaml);
	return r;
}

void tree_fini(struct tree *t)
{
	pool_fini(&t->mem);
	t->n = 0;
}

struct tree_node *tree_find(const struct tree_node *map, const char *key)
{
	size_t low = 0, high;

	if (!map || map->kind != TREE_MAP)
		return NULL;
	for (high = map->n; low < high;) {
		size_t mid = low + (high - low) / 2;
		int r = strcmp(key, map->sorted[mid]->key);

		if (r == 0)
			return map->sorted[mid];
		if (r < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}
