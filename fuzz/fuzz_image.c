/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image names from hostile text, and what is kept of a failed tool's last words. A name that is taken must be one again, the same, must
 * fit a file's name once "/" is replaced, and cannot climb out of a folder; a local source must reach skopeo as it was written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "image/store.h"
#include "image/tool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_name(const char *text)
{
	char name[512], src[768], again[512], src_again[768];
	struct err err = {0};
	int r = image_name_parse(text, name, src, &err);

	if (r < 0) {
		must(r == -EINVAL && err.code == EINVAL && err.msg[0]);
		return;
	}
	must(strlen(name) <= IMAGE_NAME_MAX && name[0] != '/' && name[0] != '.');
	must(!strstr(name, "/.") && !strstr(name, "//") && !strchr(name, '%'));
	for (const char *p = name; *p; p++)
		must(*p > ' ' && *p < 0x7f);
	must(image_name_parse(name, again, src_again, &err) == 0);
	must(str_eq(name, again));
	if (str_has_prefix(src, "docker://"))
		must(str_eq(src + strlen("docker://"), name) && str_eq(src, src_again));
	else
		must(str_eq(src, text) && str_has_prefix(name, "localhost/"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	char said[64];

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_name(text);
	tool_message(said, sizeof(said), text);
	must(strlen(said) < sizeof(said));
	for (const char *p = said; *p; p++)
		must((unsigned char)*p >= ' ' && *p != 0x7f);
	return 0;
}
