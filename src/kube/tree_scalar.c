/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of plain scalars, and the words for them in messages.
 *
 * The Kubernetes tools read YAML as a YAML 1.1 dialect: words for booleans and null from a fixed list, integers with the
 * prefixes 0x, 0o, 0b and 0 and with underscores anywhere, then decimal floats; everything else, dates included, is a
 * string. A file must mean the same to podvm and to kubectl, so this follows that dialect and not YAML 1.2.
 */
#include "kube/tree.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static const struct {
	const char *word;
	enum tree_kind kind;
	bool yes;
} words[] = {
	{"y", TREE_BOOL, true},
	{"Y", TREE_BOOL, true},
	{"yes", TREE_BOOL, true},
	{"Yes", TREE_BOOL, true},
	{"YES", TREE_BOOL, true},
	{"true", TREE_BOOL, true},
	{"True", TREE_BOOL, true},
	{"TRUE", TREE_BOOL, true},
	{"on", TREE_BOOL, true},
	{"On", TREE_BOOL, true},
	{"ON", TREE_BOOL, true},
	{"n", TREE_BOOL, false},
	{"N", TREE_BOOL, false},
	{"no", TREE_BOOL, false},
	{"No", TREE_BOOL, false},
	{"NO", TREE_BOOL, false},
	{"false", TREE_BOOL, false},
	{"False", TREE_BOOL, false},
	{"FALSE", TREE_BOOL, false},
	{"off", TREE_BOOL, false},
	{"Off", TREE_BOOL, false},
	{"OFF", TREE_BOOL, false},
	{"", TREE_NULL, false},
	{"~", TREE_NULL, false},
	{"null", TREE_NULL, false},
	{"Null", TREE_NULL, false},
	{"NULL", TREE_NULL, false},
};

static bool resolve_word(struct tree_node *n)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!str_eq(n->text, words[i].word))
			continue;
		n->kind = words[i].kind;
		n->yes = words[i].yes;
		return true;
	}
	return false;
}

static bool resolve_special_float(struct tree_node *n)
{
	static const char *const infinite[] = {".inf", ".Inf", ".INF"}, *const nan_words[] = {".nan", ".NaN", ".NAN"};
	const char *t = n->text;
	double sign = *t == '-' ? -1.0 : 1.0;

	for (size_t i = 0; i < ARRAY_SIZE(nan_words); i++)
		if (str_eq(t, nan_words[i]))
			n->number = NAN;
	if (*t == '-' || *t == '+')
		t++;
	for (size_t i = 0; i < ARRAY_SIZE(infinite); i++)
		if (str_eq(t, infinite[i]))
			n->number = sign * (double)INFINITY;
	if (n->number == 0.0)
		return false;
	n->kind = TREE_FLOAT;
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* `t` has no underscores. */
static bool resolve_int(struct tree_node *n, const char *t)
{
	uint64_t v = 0;
	unsigned base = 10;
	bool negative = *t == '-';

	if (*t == '-' || *t == '+')
		t++;
	if (t[0] == '0' && t[1]) {
		char c = (char)(t[1] | 0x20);

		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		t += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (!*t)
		return false;
	for (; *t; t++) {
		unsigned d = (unsigned)digit_of(*t);

		if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
			return false;
	}
	if (negative && v > (uint64_t)INT64_MAX + 1)
		return false;
	n->kind = TREE_INT;
	n->negative = negative && v;
	n->magnitude = v;
	return true;
}

static const char *skip_digits(const char *t)
{
	while (*t >= '0' && *t <= '9')
		t++;
	return t;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool resolve_float(struct tree_node *n, const char *t)
{
	const char *p = t + (*t == '-' || *t == '+'), *end = skip_digits(p);
	bool whole = end > p;

	if (*end == '.') {
		p = end + 1;
		end = skip_digits(p);
		if (!whole && end == p)
			return false;
	} else if (!whole) {
		return false;
	}
	if (*end == 'e' || *end == 'E') {
		p = end + 1;
		p += *p == '-' || *p == '+';
		end = skip_digits(p);
		if (end == p)
			return false;
	}
	if (*end)
		return false;
	n->number = strtod(t, NULL);
	if (!isfinite(n->number))
		return false;
	n->kind = TREE_FLOAT;
	return true;
}

void tree_resolve_scalar(struct pool *mem, struct tree_node *n)
{
	char first = n->text[0], *plain;
	size_t len = 0;

	n->kind = TREE_STRING;
	if (resolve_word(n) || resolve_special_float(n))
		return;
	if (!((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.') || n->len > 512)
		return;
	plain = pool_copy(mem, n->text, n->len);
	if (!plain)
		return; /* the next allocation reports it */
	for (size_t i = 0; i < n->len; i++)
		if (n->text[i] != '_' || first == '.')
			plain[len++] = n->text[i];
	plain[len] = '\0';
	if (first == '.' ? resolve_float(n, plain) : resolve_int(n, plain) || resolve_float(n, plain))
		n->text = plain, n->len = len;
}

/* ---- words for messages ---- */

struct tree_text tree_quote(const char *text, size_t len)
{
	struct tree_text r;
	size_t at = 0, cut = MIN_OF(len, (size_t)60);

	/* Not in the middle of a UTF-8 character. */
	while (cut < len && cut && ((unsigned char)text[cut] & 0xc0) == 0x80)
		cut--;
	r.s[at++] = '"';
	for (size_t i = 0; i < cut; i++) {
		unsigned char c = (unsigned char)text[i];

		r.s[at++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	if (cut < len) {
		memcpy(r.s + at, "...", 3);
		at += 3;
	}
	r.s[at++] = '"';
	r.s[at] = '\0';
	return r;
}

struct tree_text tree_describe(const struct tree_node *n)
{
	struct tree_text r, q;

	switch (n->kind) {
	case TREE_NULL:
		(void)str_copy(r.s, sizeof(r.s), "nothing");
		break;
	case TREE_BOOL:
	case TREE_INT:
	case TREE_FLOAT:
		(void)snprintf(r.s, sizeof(r.s), "the %s %.40s", n->kind == TREE_BOOL ? "boolean" : "number", n->text);
		break;
	case TREE_STRING:
		q = tree_quote(n->text, n->len);
		(void)snprintf(r.s, sizeof(r.s), "the string %.90s", q.s);
		break;
	case TREE_LIST:
		(void)str_copy(r.s, sizeof(r.s), "a list");
		break;
	case TREE_MAP:
		(void)str_copy(r.s, sizeof(r.s), "a map");
		break;
	}
	return r;
}

static bool simple_key(const char *key)
{
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return n && n <= 48 && !key[n];
}

static void key_text(char dst[72], const char *key)
{
	struct tree_text q;

	if (simple_key(key)) {
		(void)snprintf(dst, 72, ".%s", key);
		return;
	}
	q = tree_quote(key, strlen(key));
	q.s[0] = '[';
	q.s[strlen(q.s) - 1] = ']';
	(void)snprintf(dst, 72, "%.70s", q.s);
}

/* Puts `part` in front of what is in r. False: it does not fit, "..." stands for the rest. */
static bool prepend(struct tree_text *r, const char *part)
{
	size_t have = strlen(r->s), n = strlen(part);
	bool fits = n + have < sizeof(r->s) - 4;

	if (!fits) {
		part = "...";
		n = 3;
	}
	memmove(r->s + n, r->s, have + 1);
	memcpy(r->s, part, n);
	return fits;
}

static struct tree_text path_with(const struct tree_node *n, const char *last)
{
	struct tree_text r = {""};
	char part[72];

	(void)prepend(&r, last);
	for (; n->parent; n = n->parent) {
		if (n->key)
			key_text(part, n->key);
		else
			(void)snprintf(part, sizeof(part), "[%zu]", n->index);
		if (!prepend(&r, part))
			break;
	}
	if (r.s[0] == '.') /* of the first name, or one of the four of a path that was cut */
		memmove(r.s, r.s + 1, strlen(r.s));
	if (!r.s[0])
		(void)str_copy(r.s, sizeof(r.s), "document");
	return r;
}

struct tree_text tree_path(const struct tree_node *n)
{
	return path_with(n, "");
}

struct tree_text tree_path_of(const struct tree_node *n, const char *member)
{
	char part[72];

	key_text(part, member);
	return path_with(n, part);
}
