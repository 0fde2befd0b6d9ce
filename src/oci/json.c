/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson does the parsing. What it leaves open is done here: a count of values before the first allocation, a limit on
 * depth, integers beyond int64, and shapes.
 *
 * The specs of containers do hold such integers: an unlimited rlimit is 18446744073709551615. Before the parse they
 * become strings that start with a mark (U+0001, which no sane document holds), and the writer strips the mark. A
 * document that comes with the mark itself is refused.
 */
#include "oci/json.h"

#include <errno.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/utf8.h"

/* As it stands in JSON text, between quotes; and as it is in memory. */
#define MARK_TEXT "\"\\u0001u64:"
#define MARK "\001u64:"
#define PATH_MAX_LEN 200

/* ---- parse ---- */

struct scan {
	size_t values; /* an upper bound: every bracket and comma starts one at the most */
	size_t wide;   /* integers beyond int64 */
	struct buf out;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits_len(const char *p, size_t n)
{
	size_t len = 0;

	while (len < n && is_digit(p[len]))
		len++;
	return len;
}

/* Are the `len` digits at text[i] a whole number beyond int64, not beyond uint64? */
static bool is_wide(const char *text, size_t size, size_t i, size_t len)
{
	static const char least[] = "9223372036854775808", most[] = "18446744073709551615";
	char before = i ? text[i - 1] : '\0', after = i + len < size ? text[i + len] : '\0';

	if (before == '-' || before == '.' || after == '.' || after == 'e' || after == 'E')
		return false;
	if (len == sizeof(least) - 1)
		return memcmp(text + i, least, len) >= 0;
	return len == sizeof(most) - 1 && memcmp(text + i, most, len) <= 0;
}

static size_t string_len(const char *p, size_t n)
{
	size_t i = 1;

	while (i < n && p[i] != '"')
		i += p[i] == '\\' ? 2 : 1;
	return MIN_OF(i + 1, n);
}

/*
 * Walks over the tokens. With `out` the text is copied there, wide integers as marked strings. Broken text needs no
 * care here: it is copied as it is, and the parser refuses it.
 */
static int scan_text(struct scan *s, const char *text, size_t len, bool copy)
{
	size_t i = 0;

	while (i < len) {
		size_t n = 1;
		bool wide = false;
		int r = 0;

		if (text[i] == '"') {
			n = string_len(text + i, len - i);
		} else if (is_digit(text[i])) {
			n = digits_len(text + i, len - i);
			wide = is_wide(text, len, i, n);
		} else if (text[i] == '[' || text[i] == '{' || text[i] == ',') {
			s->values++;
		}
		s->wide += wide;
		if (copy && wide)
			r = buf_append_str(&s->out, MARK_TEXT);
		if (copy && r == 0)
			r = buf_append(&s->out, text + i, n);
		if (copy && r == 0 && wide)
			r = buf_append_str(&s->out, "\"");
		if (r < 0)
			return r;
		i += n;
	}
	return 0;
}

/* jansson quotes the text around an error, which may be anything. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			*text = '?';
}

static int parse(json_t **ret, const char *text, size_t len, struct err *err)
{
	json_error_t e;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);

	if (!root && json_error_code(&e) == json_error_out_of_memory)
		return err_set(err, ENOMEM, "JSON: out of memory");
	if (!root) {
		make_printable(e.text);
		return err_set(err, EINVAL, "JSON, line %d column %d: %s", e.line, e.column, e.text);
	}
	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(err, EINVAL, "JSON: the document is not an object");
	}
	*ret = root;
	return 0;
}

/* ---- depth ---- */

/* Where a walk is, for messages: cut when it is long. */
struct path {
	char text[PATH_MAX_LEN];
};

/* Returns what path_pop takes. */
static size_t path_push_key(struct path *p, const char *key)
{
	size_t len = strlen(p->text);

	(void)snprintf(p->text + len, sizeof(p->text) - len, "%s%.60s", len ? "." : "", key);
	make_printable(p->text + len);
	return len;
}

static size_t path_push_index(struct path *p, size_t index)
{
	size_t len = strlen(p->text);

	(void)snprintf(p->text + len, sizeof(p->text) - len, "[%zu]", index);
	return len;
}

static void path_pop(struct path *p, size_t len)
{
	p->text[len] = '\0';
}

struct walk {
	unsigned depth_max;
	size_t wide; /* marks met, in keys too */
	struct path path;
};

static int walk_value(struct walk *w, json_t *v, unsigned depth, struct err *err)
{
	const char *key;
	size_t i;
	json_t *child;
	int r = 0;

	if (json_is_string(v) && str_has_prefix(json_string_value(v), MARK))
		w->wide++;
	if (!json_is_object(v) && !json_is_array(v))
		return 0;
	if (depth > w->depth_max)
		return err_set(err, EINVAL, "%s is nested deeper than %u levels", w->path.text, w->depth_max);
	json_object_foreach (v, key, child) {
		size_t at = path_push_key(&w->path, key);

		w->wide += str_has_prefix(key, MARK);
		r = walk_value(w, child, depth + 1, err);
		if (r < 0)
			return r;
		path_pop(&w->path, at);
	}
	json_array_foreach (v, i, child) {
		size_t at = path_push_index(&w->path, i);

		r = walk_value(w, child, depth + 1, err);
		if (r < 0)
			return r;
		path_pop(&w->path, at);
	}
	return 0;
}

int json_text_parse(json_t **ret, const char *text, size_t len, size_t max, unsigned depth, struct err *err)
{
	struct scan s = {.out = BUF_INIT(0)};
	struct walk w = {.depth_max = depth};
	json_t *root = NULL;
	int r;

	if (len > max)
		return err_set(err, EFBIG, "JSON: %zu bytes are more than %zu", len, max);
	(void)scan_text(&s, text, len, false);
	if (s.values >= JSON_VALUES_MAX)
		return err_set(err, EINVAL, "JSON: more than %d values", JSON_VALUES_MAX);
	if (s.wide) {
		s.out.limit = len + s.wide * sizeof(MARK_TEXT);
		r = scan_text(&s, text, len, true);
		if (r < 0) {
			buf_fini(&s.out);
			return err_set(err, -r, "JSON: out of memory");
		}
		s.wide /= 2; /* counted twice */
		text = (const char *)buf_data(&s.out);
		len = s.out.len;
	}
	r = parse(&root, text, len, err);
	buf_fini(&s.out);
	if (r < 0)
		return r;
	r = walk_value(&w, root, 1, err);
	if (r == 0 && w.wide != s.wide)
		r = err_set(err, EINVAL, "JSON: a string starts with the control character U+0001");
	if (r < 0)
		json_decref(root);
	else
		*ret = root;
	return r;
}

/* ---- write ---- */

/* Marked strings become numbers, in place: what replaces a mark is shorter. Returns the new length. */
static size_t unmark(char *text, size_t len)
{
	size_t from = 0, to = 0;

	/* By token, because the inside of another string may look like a mark. */
	while (from < len) {
		size_t n = text[from] == '"' ? string_len(text + from, len - from) : 1;
		size_t skip = 0, cut = 0;

		if (n > sizeof(MARK_TEXT) - 1 && memcmp(text + from, MARK_TEXT, sizeof(MARK_TEXT) - 1) == 0) {
			skip = sizeof(MARK_TEXT) - 1;
			cut = 1;
		}
		memmove(text + to, text + from + skip, n - skip - cut);
		to += n - skip - cut;
		from += n;
	}
	text[to] = '\0';
	return to;
}

int json_text_write(const json_t *root, char **ret, size_t *ret_len, struct err *err)
{
	char *text = json_dumps(root, JSON_COMPACT);
	size_t len;

	if (!text)
		return err_set(err, ENOMEM, "JSON: out of memory");
	len = strlen(text);
	*ret_len = strstr(text, MARK_TEXT) ? unmark(text, len) : len;
	*ret = text;
	return 0;
}

/* ---- shape ---- */

static const char *const kind_text[] = {
	[JSON_KIND_OBJECT] = "an object",
	[JSON_KIND_ARRAY] = "an array",
	[JSON_KIND_STRING] = "a string",
	[JSON_KIND_BOOL] = "true or false",
	[JSON_KIND_U32] = "an integer from 0 to 4294967295",
};

static bool is_kind(const json_t *v, enum json_kind kind)
{
	switch (kind) {
	case JSON_KIND_OBJECT:
		return json_is_object(v);
	case JSON_KIND_ARRAY:
		return json_is_array(v);
	case JSON_KIND_STRING:
		return json_is_string(v) && !str_has_prefix(json_string_value(v), MARK);
	case JSON_KIND_BOOL:
		return json_is_boolean(v);
	case JSON_KIND_U32:
		return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= UINT32_MAX;
	}
	return false;
}

struct check {
	enum json_kind kind;
	struct path path;
	struct err *err;
};

static int check_value(struct check *c, json_t *v, const char *rest);

static int check_elements(struct check *c, json_t *v, const char *rest)
{
	const char *key;
	void *next;
	size_t i;
	json_t *child;
	int r;

	json_array_foreach (v, i, child) {
		size_t at = path_push_index(&c->path, i);

		r = check_value(c, child, rest);
		if (r < 0)
			return r;
		path_pop(&c->path, at);
	}
	json_object_foreach_safe (v, next, key, child) {
		size_t at = path_push_key(&c->path, key);

		if (json_is_null(child))
			r = json_object_del(v, key);
		else
			r = check_value(c, child, rest);
		if (r < 0)
			return r;
		path_pop(&c->path, at);
	}
	return 0;
}

/* `rest` is what is left of the rule's path below v. */
static int check_value(struct check *c, json_t *v, const char *rest)
{
	char key[40];
	json_t *child;
	size_t at;
	int r;

	if (!*rest && is_kind(v, c->kind))
		return 0;
	if (!*rest)
		return err_set(c->err, EINVAL, "%s is not %s", c->path.text, kind_text[c->kind]);
	if (*rest == '[' || *rest == '{')
		return check_elements(c, v, rest + 2 + (rest[2] == '.'));
	(void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(rest, ".[{"), rest);
	child = json_object_get(v, key);
	if (json_is_null(child)) {
		(void)json_object_del(v, key);
		return 0;
	}
	if (!child)
		return 0;
	rest += strlen(key);
	at = path_push_key(&c->path, key);
	r = check_value(c, child, rest + (*rest == '.'));
	path_pop(&c->path, at);
	return r;
}

int json_check(json_t *root, const struct json_rule *rules, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct check c = {.kind = rules[i].kind, .err = err};
		int r = check_value(&c, root, rules[i].path);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- building ---- */

static int new_string(const char *text, json_t **ret)
{
	json_t *v;
	json_t *any;

	if (str_has_prefix(text, MARK))
		return -EILSEQ;
	v = json_string(text);
	if (!v) {
		/* jansson does not tell the two reasons apart. */
		any = json_string_nocheck(text);
		json_decref(any);
		return any ? -EILSEQ : -ENOMEM;
	}
	*ret = v;
	return 0;
}

int json_set_string(json_t *object, const char *key, const char *text)
{
	json_t *v;
	int r = new_string(text, &v);

	if (r < 0)
		return r;
	if (str_has_prefix(key, MARK)) {
		json_decref(v);
		return -EILSEQ;
	}
	if (json_object_set_new(object, key, v) == 0)
		return 0;
	/* No memory, or a bad key? */
	r = new_string(key, &v);
	if (r < 0)
		return r;
	json_decref(v);
	return -ENOMEM;
}

int json_append_string(json_t *array, const char *text)
{
	json_t *v;
	int r = new_string(text, &v);

	if (r < 0)
		return r;
	return json_array_append_new(array, v) < 0 ? -ENOMEM : 0;
}

static json_t *member_or(json_t *object, const char *key, json_t *made)
{
	json_t *v = json_object_get(object, key);

	if (v) {
		json_decref(made);
		return v;
	}
	return made && json_object_set_new(object, key, made) == 0 ? made : NULL;
}

json_t *json_lossy(const char *text)
{
	auto_free char *copy = strdup(text);

	if (!copy)
		return NULL;
	utf8_repair(copy);
	return json_string(copy);
}

json_t *json_member_object(json_t *object, const char *key)
{
	return member_or(object, key, json_object());
}

json_t *json_member_array(json_t *object, const char *key)
{
	return member_or(object, key, json_array());
}
