/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over a document beside its tables. Types, names and allowed words are settled here, so that the code that reads
 * values afterwards meets only what it expects, and cannot forget a field silently: what a table calls supported and nobody
 * read is found by a second walk (schema_unused).
 *
 * The recursion follows the tables, which do not recurse, and the tree, which is at most TREE_DEPTH_MAX deep.
 */
#include "kube/schema.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "kube/value.h"

struct check {
	struct schema_seen *seen;
	const struct schema_sink *sink;
};

static int report(const struct check *c, uint32_t line, struct tree_text path, const char *fmt, ...) printf_like(4, 5);

static int report(const struct check *c, uint32_t line, struct tree_text path, const char *fmt, ...)
{
	char what[320];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return c->sink->error(c->sink->ctx, line, path.s, what);
}

const struct schema_field *schema_field(const struct schema_object *object, const char *name)
{
	for (size_t i = 0; i < object->n; i++)
		if (str_eq(object->fields[i].name, name))
			return &object->fields[i];
	return NULL;
}

bool schema_is_empty(const struct tree_node *n)
{
	switch (n->kind) {
	case TREE_NULL:
		return true;
	case TREE_BOOL:
		return !n->yes;
	case TREE_STRING:
		return !n->len;
	case TREE_LIST:
		return !n->n;
	case TREE_INT:
	case TREE_FLOAT:
	case TREE_MAP:
		break;
	}
	return false;
}

const char *schema_nearest(const char *name, const char *const *names, size_t n, unsigned *ret_distance)
{
	const char *best = NULL;
	unsigned least = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned d = value_distance(name, names[i]);

		if (best && d >= least)
			continue;
		best = names[i];
		least = d;
	}
	if (best && ret_distance)
		*ret_distance = least;
	return best;
}

/* ---- unknown fields ---- */

/*
 * The one object at or below `object` that has a field `name`, for a field that slipped to the wrong level. *several: more
 * than one has it, so nothing can be said.
 */
static void find_owner(const struct schema_object *object, const char *name, unsigned depth,
	const struct schema_object **owner, bool *several)
{
	if (schema_field(object, name)) {
		*several |= *owner && *owner != object;
		*owner = object;
	}
	for (size_t i = 0; depth && i < object->n; i++)
		if (object->fields[i].object && object->fields[i].status == SCHEMA_SUPPORTED)
			find_owner(object->fields[i].object, name, depth - 1, owner, several);
}

/* "name" for "secretName": the only part that people remember. */
static const char *find_longer(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; strlen(name) >= 4 && i < n; i++)
		if (strcasestr(names[i], name))
			return names[i];
	return NULL;
}

static int unknown_field(const struct check *c, const struct schema_object *object, const struct tree_node *n)
{
	const struct schema_object *owner = NULL;
	const char *names[64], *nearest, *longer;
	unsigned distance = 0;
	bool several = false;
	size_t i;

	for (i = 0; i < object->n && i < ARRAY_SIZE(names); i++)
		names[i] = object->fields[i].name;
	nearest = schema_nearest(n->key, names, i, &distance);
	longer = find_longer(n->key, names, i);
	if (nearest && distance <= MAX_OF(strlen(n->key) / 3, (size_t)1))
		return report(c, n->key_line, tree_path(n), "unknown field; did you mean \"%s\"?", nearest);
	find_owner(&schema_pod, n->key, 5, &owner, &several);
	if (owner && !several)
		return report(c, n->key_line, tree_path(n),
			"unknown field here; it belongs to %s (look at the indentation); nearest known field: \"%s\"",
			owner->name, nearest);
	if (longer)
		return report(c, n->key_line, tree_path(n), "unknown field; did you mean \"%s\"?", longer);
	return report(c, n->key_line, tree_path(n), "unknown field; nearest known field: \"%s\"", nearest);
}

/* ---- values ---- */

static int wrong_type(const struct check *c, const struct tree_node *n, const char *wanted)
{
	bool scalar = n->kind == TREE_BOOL || n->kind == TREE_INT || n->kind == TREE_FLOAT;
	uint64_t number;

	if (str_eq(wanted, "a string") && scalar)
		return report(
			c, n->line, tree_path(n), "expected a string, found %s; put it in quotes", tree_describe(n).s);
	if (str_eq(wanted, "a list"))
		return report(c, n->line, tree_path(n),
			"expected a list, found %s; write [A, B], or - A on lines of their own", tree_describe(n).s);
	if (str_eq(wanted, "a whole number") && n->kind == TREE_STRING &&
		str_to_u64(n->text, UINT64_MAX, &number, NULL) == 0)
		return report(c, n->line, tree_path(n), "expected a whole number, found %s; take the quotes off",
			tree_describe(n).s);
	return report(c, n->line, tree_path(n), "expected %s, found %s", wanted, tree_describe(n).s);
}

/* A string without NUL; texts that may have any bytes (ConfigMap data) are string maps and not checked here. */
static int check_string(const struct check *c, const struct schema_field *f, const struct tree_node *n)
{
	char allowed[200] = "";
	size_t at = 0, count = 0;
	const char *nearest;
	unsigned distance = 0;

	if (n->kind != TREE_STRING)
		return wrong_type(c, n, "a string");
	if (strlen(n->text) != n->len)
		return report(c, n->line, tree_path(n), "has a NUL character");
	if (!f->values)
		return 0;
	for (; f->values[count]; count++) {
		if (str_eq(n->text, f->values[count]))
			return 0;
		if (*f->values[count])
			at += (size_t)snprintf(
				allowed + at, sizeof(allowed) - at, "%s\"%s\"", at ? ", " : "", f->values[count]);
		if (at >= sizeof(allowed))
			at = sizeof(allowed) - 1;
	}
	nearest = schema_nearest(n->text, f->values, count, &distance);
	if (nearest && *nearest && distance <= MAX_OF(n->len / 3, (size_t)1))
		return report(c, n->line, tree_path(n), "unknown value %s; did you mean \"%s\"?",
			tree_quote(n->text, n->len).s, nearest);
	return report(
		c, n->line, tree_path(n), "unknown value %s; use one of %s", tree_quote(n->text, n->len).s, allowed);
}

/* 1e3 and 2.0 are whole numbers to Kubernetes. So are all that a double can hold beyond 2^53, but they fit no field. */
static bool is_whole(double d)
{
	if (d > -9e15 && d < 9e15)
		return d == (double)(int64_t)d;
	return d > -INFINITY && d < INFINITY;
}

static int check_int(const struct check *c, const struct schema_field *f, const struct tree_node *n)
{
	int64_t min = f->min || f->max ? f->min : INT32_MIN, max = f->min || f->max ? f->max : INT32_MAX;
	bool fits;

	if (n->kind != TREE_INT && !(n->kind == TREE_FLOAT && is_whole(n->number)))
		return wrong_type(c, n, "a whole number");
	if (n->kind == TREE_FLOAT)
		fits = n->number < 0x1p63 && n->number >= (double)min && n->number <= (double)max;
	else if (n->negative)
		fits = min < 0 && n->magnitude <= (uint64_t) - (min + 1) + 1;
	else
		fits = max >= 0 && n->magnitude <= (uint64_t)max && (min <= 0 || n->magnitude >= (uint64_t)min);
	if (fits)
		return 0;
	if (max == 0777)
		return report(c, n->line, tree_path(n),
			"%.40s is out of range; use 0000 to 0777, octal with its leading 0", n->text);
	return report(c, n->line, tree_path(n), "%.40s is out of range; use %lld to %lld", n->text, (long long)min,
		(long long)max);
}

static int check_quantity(const struct check *c, const struct tree_node *n)
{
	struct value_quantity q;
	int r;

	if (n->kind != TREE_STRING && n->kind != TREE_INT && n->kind != TREE_FLOAT)
		return wrong_type(c, n, "a quantity such as 500m or 64Mi");
	r = strlen(n->text) == n->len ? value_quantity_parse(n->text, &q) : -EINVAL;
	/* Octal and hexadecimal integers have no meaning as text, and are surely a mistake. */
	if (r == -EINVAL || (n->kind == TREE_INT && n->text[0] == '0' && n->text[1]))
		return report(c, n->line, tree_path(n), "%s is not a quantity; write for example 500m, 2, 64Mi or 1G",
			tree_quote(n->text, n->len).s);
	if (r == -ERANGE)
		return report(c, n->line, tree_path(n), "%s is too large a quantity", tree_quote(n->text, n->len).s);
	if (q.negative && q.nano)
		return report(c, n->line, tree_path(n), "%s is negative; use 0 or more", tree_quote(n->text, n->len).s);
	return 0;
}

static int check_map(const struct check *c, const struct schema_field *f, const struct tree_node *map)
{
	int r = 0;

	if (map->kind != TREE_MAP)
		return wrong_type(c, map, "a map");
	for (size_t i = 0; r == 0 && i < map->n; i++) {
		const struct tree_node *n = map->items[i];

		if (f->type == SCHEMA_QUANTITY_MAP)
			r = check_quantity(c, n);
		else if (n->kind == TREE_LIST || n->kind == TREE_MAP)
			r = wrong_type(c, n, "a string");
		else if (n->kind != TREE_STRING && n->kind != TREE_NULL)
			/* Without the value, which may be a password. */
			r = report(c, n->line, tree_path(n), "expected a string, found a %s; put it in quotes",
				n->kind == TREE_BOOL ? "boolean" : "number");
	}
	return r;
}

static int check_object(const struct check *c, const struct schema_object *object, struct tree_node *map);

static int check_value(const struct check *c, const struct schema_field *f, struct tree_node *n)
{
	switch (f->type) {
	case SCHEMA_STRING:
		return check_string(c, f, n);
	case SCHEMA_BOOL:
		return n->kind == TREE_BOOL ? 0 : wrong_type(c, n, "true or false");
	case SCHEMA_INT:
		return check_int(c, f, n);
	case SCHEMA_INT_OR_STRING:
		return n->kind == TREE_INT || n->kind == TREE_STRING ? 0 : wrong_type(c, n, "a number or a name");
	case SCHEMA_QUANTITY:
		return check_quantity(c, n);
	case SCHEMA_OBJECT:
		return n->kind == TREE_MAP ? check_object(c, f->object, n) : wrong_type(c, n, "a map");
	case SCHEMA_STRING_MAP:
	case SCHEMA_QUANTITY_MAP:
		return check_map(c, f, n);
	case SCHEMA_ANY:
		break;
	}
	return 0;
}

static int check_list(const struct check *c, const struct schema_field *f, struct tree_node *n)
{
	int r = 0;

	if (n->kind != TREE_LIST)
		return wrong_type(c, n, "a list");
	for (size_t i = 0; r == 0 && i < n->n; i++)
		r = check_value(c, f, n->items[i]);
	return r;
}

static int note_ignored(const struct check *c, const struct schema_field *f, const struct tree_node *n)
{
	char what[320];

	if (f->silent || schema_is_empty(n) || (n->kind == TREE_MAP && !n->n) ||
		(f->quiet && n->kind == TREE_STRING && str_eq(n->text, f->quiet)))
		return 0;
	for (size_t i = 0; i < c->seen->n; i++)
		if (c->seen->fields[i] == f)
			return 0;
	if (c->seen->n == SCHEMA_NOTES_MAX)
		return 0;
	c->seen->fields[c->seen->n++] = f;
	(void)snprintf(what, sizeof(what), "accepted, but does nothing here: %s", f->why);
	return c->sink->note(c->sink->ctx, n->key_line, tree_path(n).s, what);
}

static int check_field(const struct check *c, const struct schema_field *f, struct tree_node *n)
{
	int r;

	if (f->status == SCHEMA_UNSUPPORTED && !schema_is_empty(n))
		return report(c, n->key_line, tree_path(n), "not supported: %s", f->why);
	r = f->list ? check_list(c, f, n) : check_value(c, f, n);
	if (r < 0 || f->status != SCHEMA_IGNORED)
		return r;
	return note_ignored(c, f, n);
}

static int check_object(const struct check *c, const struct schema_object *object, struct tree_node *map)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct schema_field *f = schema_field(object, map->items[i]->key);
		int r;

		if (!f)
			return unknown_field(c, object, map->items[i]);
		r = map->items[i]->kind == TREE_NULL ? 0 : check_field(c, f, map->items[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < object->n; i++) {
		const struct schema_field *f = &object->fields[i];
		const struct tree_node *n = f->required ? tree_find(map, f->name) : NULL;

		/* 0 and false are values; "" and [] are not. */
		if (f->required && (!n || (schema_is_empty(n) && n->kind != TREE_BOOL)))
			return report(c, n ? n->line : map->line, tree_path_of(map, f->name), "is required; add it");
	}
	return 0;
}

int schema_check(const struct schema_object *object, struct tree_node *map, struct schema_seen *seen,
	const struct schema_sink *sink)
{
	struct check c = {.seen = seen, .sink = sink};

	return map->kind == TREE_MAP ? check_object(&c, object, map) : wrong_type(&c, map, "a map");
}

/* ---- what nobody read ---- */

const struct tree_node *schema_unused(const struct schema_object *object, const struct tree_node *map)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct tree_node *n = map->items[i], *found = NULL;
		const struct schema_field *f = schema_field(object, n->key);

		if (!f || f->status != SCHEMA_SUPPORTED || n->kind == TREE_NULL)
			continue;
		if (!n->used)
			return n;
		if (f->type != SCHEMA_OBJECT)
			continue;
		for (size_t k = 0; f->list && !found && k < n->n; k++)
			found = schema_unused(f->object, n->items[k]);
		if (!f->list)
			found = schema_unused(f->object, n);
		if (found)
			return found;
	}
	return NULL;
}

/* ---- documentation ---- */

static const char *type_name(const struct schema_field *f)
{
	switch (f->type) {
	case SCHEMA_STRING:
		return "string";
	case SCHEMA_BOOL:
		return "bool";
	case SCHEMA_INT:
		return "int";
	case SCHEMA_INT_OR_STRING:
		return "int or string";
	case SCHEMA_QUANTITY:
		return "quantity";
	case SCHEMA_OBJECT:
	case SCHEMA_ANY:
		return "object";
	case SCHEMA_STRING_MAP:
		return "map of strings";
	case SCHEMA_QUANTITY_MAP:
		return "map of quantities";
	}
	return "";
}

/* A later member of the same kind, which is shown in full; NULL: none. */
static const struct schema_field *same_below(const struct schema_object *object, size_t i)
{
	for (size_t k = i + 1; object->fields[i].object && k < object->n; k++)
		if (object->fields[k].object == object->fields[i].object)
			return &object->fields[k];
	return NULL;
}

static int markdown_field(
	struct buf *out, const char *member, const struct schema_field *f, const struct schema_field *as)
{
	static const char *const status[] = {"supported", "ignored", "**error**"};
	int r = buf_printf(out, "| `%s` | %s%s | %s | %s%s%s", member, f->list ? "list of " : "", type_name(f),
		status[f->status], f->required ? "required" : "", f->required && f->why ? "; " : "",
		f->why ? f->why : "");

	if (r == 0 && as && f->status == SCHEMA_SUPPORTED)
		r = buf_printf(out, "as `%s` below", as->name);
	return r < 0 ? r : buf_append_str(out, " |\n");
}

static int markdown_object(struct buf *out, const char *path, const struct schema_object *object)
{
	char member[256];
	int r = 0;

	for (size_t i = 0; r == 0 && i < object->n; i++) {
		const struct schema_field *f = &object->fields[i], *as = same_below(object, i);

		(void)snprintf(
			member, sizeof(member), "%s%s%s%s", path, *path ? "." : "", f->name, f->list ? "[]" : "");
		r = markdown_field(out, member, f, as);
		if (r == 0 && f->object && !as && f->status == SCHEMA_SUPPORTED)
			r = markdown_object(out, member, f->object);
	}
	return r;
}

int schema_markdown(struct buf *out)
{
	static const struct {
		const char *title;
		const struct schema_object *object;
	} kinds[] = {{"Pod", &schema_pod}, {"ConfigMap", &schema_config_map}, {"Secret", &schema_secret}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
		r = buf_printf(out, "### %s\n\n| field | type | podvm | |\n|---|---|---|---|\n", kinds[i].title);
		if (r == 0)
			r = markdown_object(out, "", kinds[i].object);
		if (r == 0)
			r = buf_append_str(out, "\n");
	}
	return r;
}
