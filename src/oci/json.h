/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Hostile JSON, read into jansson's tree within bounds, and its shape checked by a table, so that the code behind it
 * never meets a wrong type.
 */
#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* Values in one document; each costs some hundred bytes of memory, so the bytes alone would be no bound. */
#define JSON_VALUES_MAX 65536

/*
 * Parses an object: valid UTF-8, no NUL, no key twice, nothing after it, at most `max` bytes, JSON_VALUES_MAX values
 * and `depth` levels. Integers from 2^63 to 2^64-1, which the OCI spec knows and jansson does not, are kept: the tree
 * has them as marked strings, which json_text_write turns back. -EFBIG, -EINVAL (one line that says where), -ENOMEM.
 */
int json_text_parse(json_t **ret, const char *text, size_t len, size_t max, unsigned depth, struct err *err) must_check;
/* Compact JSON, malloc'ed, the caller's. */
int json_text_write(const json_t *root, char **ret, size_t *ret_len, struct err *err) must_check;

enum json_kind { JSON_KIND_OBJECT, JSON_KIND_ARRAY, JSON_KIND_STRING, JSON_KIND_BOOL, JSON_KIND_U32 };

struct json_rule {
	const char *path; /* "process.user.uid"; "[]" after a name means each element, "{}" each member */
	enum json_kind kind;
};

/*
 * Every value that a rule's path leads to must be of its kind. Absent is fine; null counts as absent and is removed on
 * the way. Rules come in order: a container before what is in it. -EINVAL names the path.
 */
int json_check(json_t *root, const struct json_rule *rules, size_t n, struct err *err) must_check;

/* 0, -ENOMEM, or -EILSEQ when a text is not UTF-8, which JSON cannot hold, or starts with our mark. */
int json_set_string(json_t *object, const char *key, const char *text) must_check;
int json_append_string(json_t *array, const char *text) must_check;
/* A text for people to read, as JSON can hold it: bytes that are not UTF-8 become '?'. NULL: no memory. */
json_t *json_lossy(const char *text);
/* The member `key`, made as an empty object (array) when it is absent. Borrowed. NULL: no memory. */
json_t *json_member_object(json_t *object, const char *key);
json_t *json_member_array(json_t *object, const char *key);
