/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * As much JSON as the control socket speaks (docs/vmm-api.md): one flat object a line, with strings, whole numbers, true, false
 * and null; no object or list inside another. Anything else is an error, never a guess.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define JSON_MEMBERS_MAX 16

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING };

struct json_member {
	const char *key, *string; /* UTF-8 as it came, NUL-terminated; in the text that was parsed */
	enum json_type type;
	uint64_t number; /* JSON_BOOL: 0 or 1 */
};

struct json_object {
	unsigned n;
	struct json_member members[JSON_MEMBERS_MAX];
};

/* Parses text[0..len), which is changed and must live as long as *ret; -EINVAL. */
int json_parse(char *text, size_t len, struct json_object *ret, struct err *err) must_check;
/* NULL: there is none with that key. */
const struct json_member *json_find(const struct json_object *obj, const char *key);

/* `src` as a JSON string without its quotes, cut to fit; NUL-terminated. Returns dst. */
const char *json_escape(char *dst, size_t size, const char *src);
