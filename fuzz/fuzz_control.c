/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile lines for the JSON parser of podvm-vmm's control socket: what it takes is terminated, inside the line, and unique. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const char *text, size_t size, const char *s)
{
	if (s < text || s >= text + size || !memchr(s, 0, size - (size_t)(s - text)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size ? size : 1);
	struct json_object obj;

	if (!text)
		abort();
	memcpy(text, data, size);
	if (json_parse(text, size, &obj, NULL) < 0)
		return 0;
	for (unsigned i = 0; i < obj.n; i++) {
		check_inside(text, size, obj.members[i].key);
		if (obj.members[i].type == JSON_STRING)
			check_inside(text, size, obj.members[i].string);
		if (json_find(&obj, obj.members[i].key) != &obj.members[i])
			abort();
	}
	return 0;
}
