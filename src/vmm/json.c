/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/json.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* What is left to read, and where decoded strings go: never ahead of what was read, so in place. */
struct cursor {
	const char *p, *end;
	const char *start;
	struct err *err;
};

static int bad(const struct cursor *c, const char *what)
{
	return err_set(c->err, EINVAL, "JSON: %s at byte %zu", what, (size_t)(c->p - c->start));
}

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r'))
		c->p++;
}

static bool take(struct cursor *c, char ch)
{
	skip_space(c);
	if (c->p == c->end || *c->p != ch)
		return false;
	c->p++;
	return true;
}

/* The character after a backslash; -1: not one that is known. Of \u only ASCII: keys and values here are nothing else. */
static int unescape(struct cursor *c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int v = 0;

	if (c->p == c->end)
		return -1;
	at = *c->p ? strchr(from, *c->p) : NULL;
	if (at) {
		c->p++;
		return to[at - from];
	}
	if (*c->p != 'u' || c->end - c->p < 5)
		return -1;
	for (int i = 1; i <= 4; i++) {
		char ch = c->p[i];

		if (ch >= '0' && ch <= '9')
			v = v << 4 | (ch - '0');
		else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f')
			v = v << 4 | ((ch | 0x20) - 'a' + 10);
		else
			return -1;
	}
	if (v == 0 || v >= 0x80)
		return -1;
	c->p += 5;
	return v;
}

static int parse_string(struct cursor *c, char *text, const char **ret)
{
	char *dst;

	if (!take(c, '"'))
		return bad(c, "no string");
	dst = text + (c->p - c->start);
	*ret = dst;
	for (;;) {
		int ch;

		if (c->p == c->end)
			return bad(c, "a string without end");
		ch = (unsigned char)*c->p;
		if (ch < 0x20)
			return bad(c, "a control character in a string");
		c->p++;
		if (ch == '"')
			break;
		if (ch == '\\')
			ch = unescape(c);
		if (ch < 0)
			return bad(c, "an unknown escape");
		*dst++ = (char)ch;
	}
	*dst = '\0'; /* at the latest where the closing quote was */
	return 0;
}

static int parse_number(struct cursor *c, uint64_t *ret)
{
	const char *first = c->p;
	uint64_t v = 0;

	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (unsigned)(*c->p - '0'), &v))
			return bad(c, "a number that is too large");
	if (c->p == first)
		return bad(c, "no value");
	if (*first == '0' && c->p - first > 1)
		return bad(c, "a number that begins with 0");
	if (c->p < c->end && (*c->p == '.' || *c->p == 'e' || *c->p == 'E'))
		return bad(c, "a number that is not whole");
	*ret = v;
	return 0;
}

static int parse_value(struct cursor *c, char *text, struct json_member *m)
{
	static const struct {
		const char *word;
		enum json_type type;
		uint64_t number;
	} words[] = {{"true", JSON_BOOL, 1}, {"false", JSON_BOOL, 0}, {"null", JSON_NULL, 0}};

	skip_space(c);
	if (c->p < c->end && *c->p == '"') {
		m->type = JSON_STRING;
		return parse_string(c, text, &m->string);
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].word);

		if ((size_t)(c->end - c->p) >= n && memcmp(c->p, words[i].word, n) == 0) {
			c->p += n;
			m->type = words[i].type;
			m->number = words[i].number;
			return 0;
		}
	}
	m->type = JSON_NUMBER;
	return parse_number(c, &m->number);
}

static int parse_member(struct cursor *c, char *text, struct json_object *obj)
{
	struct json_member *m = &obj->members[obj->n];
	int r;

	if (obj->n == JSON_MEMBERS_MAX)
		return bad(c, "too many members");
	r = parse_string(c, text, &m->key);
	if (r < 0)
		return r;
	if (json_find(obj, m->key))
		return bad(c, "the same key twice");
	if (!take(c, ':'))
		return bad(c, "no ':'");
	r = parse_value(c, text, m);
	obj->n += r == 0;
	return r;
}

int json_parse(char *text, size_t len, struct json_object *ret, struct err *err)
{
	struct cursor c = {.p = text, .start = text, .end = text + len, .err = err};
	int r;

	*ret = (struct json_object){0};
	if (!take(&c, '{'))
		return bad(&c, "no object");
	if (!take(&c, '}')) {
		do {
			r = parse_member(&c, text, ret);
			if (r < 0)
				return r;
		} while (take(&c, ','));
		if (!take(&c, '}'))
			return bad(&c, "neither ',' nor '}'");
	}
	skip_space(&c);
	return c.p == c.end ? 0 : bad(&c, "something after the object");
}

const struct json_member *json_find(const struct json_object *obj, const char *key)
{
	for (unsigned i = 0; i < obj->n; i++)
		if (str_eq(obj->members[i].key, key))
			return &obj->members[i];
	return NULL;
}

const char *json_escape(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; *src && n + 3 <= size; src++) {
		if (*src == '"' || *src == '\\')
			dst[n++] = '\\';
		dst[n++] = (unsigned char)*src < 0x20 ? '?' : *src;
	}
	dst[n < size ? n : size - 1] = '\0';
	return dst;
}
