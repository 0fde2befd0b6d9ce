/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of images, as docker and podman read them (distribution reference grammar):
 *
 *   [domain/]path[:tag][@digest]
 *
 * The first part is a domain when it has a dot or a colon or is "localhost", else the domain is docker.io and a path of one
 * part is below library/. No tag means latest; a digest makes the tag meaningless, so it is dropped. Only sha256 digests are known.
 *
 * Images from a file or folder get a name below localhost/, from the file's name and the reference asked for.
 * Refused: other transports, hosts named like a transport, upper case in paths, names longer than IMAGE_NAME_MAX (they become
 * file names of the store).
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "image/store.h"

#define TAG_MAX 128
#define DOMAIN_DEFAULT "docker.io"

static const char *const local_transports[] = {"oci:", "oci-archive:", "docker-archive:"};
static const char *const other_transports[] = {
	"containers-storage:", "docker-daemon:", "dir:", "ostree:", "sif:", "tarball:", "http:", "https:", "file:"};

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Lower-case letters and digits in groups that ".", "_", "__" or any number of "-" join. */
static bool path_part_ok(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t start = i;

		while (i < n && is_lower(p[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		if (p[i] == '-')
			while (i < n && p[i] == '-')
				i++;
		else if (p[i] == '_')
			i += 1 + (i + 1 < n && p[i + 1] == '_');
		else if (p[i] == '.')
			i++;
		else
			return false;
	}
	return false;
}

static bool path_ok(const char *p, size_t n)
{
	while (n) {
		const char *slash = memchr(p, '/', n);
		size_t part = slash ? (size_t)(slash - p) : n;

		if (!path_part_ok(p, part))
			return false;
		if (!slash)
			return true;
		p += part + 1;
		n -= part + 1;
	}
	return false;
}

static bool domain_ok(const char *p, size_t n)
{
	const char *colon = memchr(p, ':', n);
	size_t host = colon ? (size_t)(colon - p) : n;
	bool start = true;

	for (size_t i = 0; i < host; i++) {
		bool joins = p[i] == '.' || p[i] == '-';

		if (!joins && (!is_word(p[i]) || p[i] == '_'))
			return false;
		if (joins && (start || i + 1 == host))
			return false;
		start = p[i] == '.';
	}
	if (!colon)
		return host > 0;
	if (host == 0 || n - host < 2 || n - host > 6)
		return false;
	for (size_t i = host + 1; i < n; i++)
		if (!isdigit((unsigned char)p[i]))
			return false;
	return true;
}

static bool tag_ok(const char *p, size_t n)
{
	if (n == 0 || n > TAG_MAX || !is_word(p[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_word(p[i]) && p[i] != '.' && p[i] != '-')
			return false;
	return true;
}

bool digest_ok(const char *text)
{
	if (!str_has_prefix(text, "sha256:") || strlen(text) != 7 + 64)
		return false;
	for (const char *p = text + 7; *p; p++)
		if (!(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'f'))
			return false;
	return true;
}

struct parts {
	const char *path;
	size_t path_len;
	char domain[IMAGE_NAME_MAX + 1];
	const char *tag; /* NULL: none */
	size_t tag_len;
	const char *digest; /* NULL: none */
};

static int split(struct parts *ret, const char *text, struct err *err)
{
	const char *at = strchr(text, '@'), *end = at ? at : text + strlen(text), *slash, *colon = NULL;
	size_t first;

	ret->digest = at ? at + 1 : NULL;
	if (at && !digest_ok(at + 1))
		return err_set(
			err, EINVAL, "image name '%s': what follows '@' must be sha256: and 64 hex digits", text);
	/* A colon after the last slash begins the tag; before it, it belongs to the domain. */
	for (const char *p = end; p > text && p[-1] != '/'; p--)
		if (p[-1] == ':')
			colon = p - 1;
	if (colon) {
		ret->tag = colon + 1;
		ret->tag_len = (size_t)(end - colon - 1);
		end = colon;
		if (!tag_ok(ret->tag, ret->tag_len))
			return err_set(err, EINVAL,
				"image name '%s': the tag after ':' must be 1 to %d of A-Z a-z 0-9 _ . - and not begin "
				"with . or -",
				text, TAG_MAX);
	}
	slash = memchr(text, '/', (size_t)(end - text));
	first = slash ? (size_t)(slash - text) : 0;
	ret->path = text;
	(void)str_copy(ret->domain, sizeof(ret->domain), DOMAIN_DEFAULT);
	if (slash && (memchr(text, '.', first) || memchr(text, ':', first) ||
			     (first == 9 && !memcmp(text, "localhost", 9)))) {
		if (!domain_ok(text, first))
			return err_set(
				err, EINVAL, "image name '%s': '%.*s' is no host[:port]", text, (int)first, text);
		(void)snprintf(ret->domain, sizeof(ret->domain), "%.*s", (int)first, text);
		ret->path = slash + 1;
	}
	ret->path_len = (size_t)(end - ret->path);
	if (path_ok(ret->path, ret->path_len))
		return 0;
	return err_set(err, EINVAL,
		"image name '%s': '%.*s' must be lower-case letters and digits, joined by single . _ or -, with / "
		"between "
		"parts",
		text, (int)ret->path_len, ret->path);
}

int image_ref_parse(const char *text, char dst[512], struct err *err)
{
	struct parts p = {0};
	const char *library = "";
	int r;

	if (strlen(text) > IMAGE_NAME_MAX)
		return err_set(err, EINVAL, "image name '%.40s...' is longer than %d characters", text, IMAGE_NAME_MAX);
	r = split(&p, text, err);
	if (r < 0)
		return r;
	if (str_eq(p.domain, "index.docker.io"))
		(void)str_copy(p.domain, sizeof(p.domain), DOMAIN_DEFAULT);
	if (str_eq(p.domain, DOMAIN_DEFAULT) && !memchr(p.path, '/', p.path_len))
		library = "library/";
	r = snprintf(dst, 512, "%s/%s%.*s%c%.*s", p.domain, library, (int)p.path_len, p.path, p.digest ? '@' : ':',
		p.digest ? 71
		: p.tag	 ? (int)p.tag_len
			 : 6,
		p.digest ? p.digest
		: p.tag	 ? p.tag
			 : "latest");
	if (r > IMAGE_NAME_MAX) {
		dst[0] = '\0';
		return err_set(err, EINVAL, "image name '%.40s...' is longer than %d characters", text, IMAGE_NAME_MAX);
	}
	/* A host named like a transport, with a port: its name could not be told from a path. */
	for (unsigned i = 0; i < ARRAY_SIZE(local_transports); i++)
		if (str_has_prefix(dst, local_transports[i]))
			return err_set(err, EINVAL, "image name '%s': a registry cannot be named '%.*s'", text,
				(int)strlen(local_transports[i]) - 1, dst);
	return 0;
}

/* A part of a name from a file's name: what does not belong becomes a dash, endings of archives go. */
static void base_name(char dst[64], const char *path, size_t len)
{
	static const char *const endings[] = {".gz", ".tgz", ".tar", ".oci"};
	char name[256];
	size_t n = 0;

	while (len && path[len - 1] == '/')
		len--;
	for (const char *p = path + len; p > path && p[-1] != '/' && n < sizeof(name) - 1; p--)
		n++;
	memcpy(name, path + len - n, n);
	name[n] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(endings); i++)
		if (n > strlen(endings[i]) && str_has_suffix(name, endings[i])) {
			n -= strlen(endings[i]);
			name[n] = '\0';
		}
	len = 0;
	for (size_t i = 0; i < n && len < 63; i++) {
		char c = (char)tolower((unsigned char)name[i]);

		if (is_lower(c))
			dst[len++] = c;
		else if (len && is_lower(dst[len - 1]))
			dst[len++] = c == '.' || c == '_' ? c : '-';
	}
	while (len && !is_lower(dst[len - 1]))
		len--;
	dst[len] = '\0';
	if (!len)
		(void)str_copy(dst, 64, "image");
}

static int parse_local(const char *text, const char *path, char dst[512], char src[768], struct err *err)
{
	const char *colon = strchr(path, ':'), *tag = colon ? strrchr(colon, ':') + 1 : "latest";
	size_t len = colon ? (size_t)(colon - path) : strlen(path);
	char base[64];

	if (len == 0)
		return err_set(err, EINVAL, "image source '%s': a path must follow the transport", text);
	if (colon && !colon[1])
		return err_set(err, EINVAL, "image source '%s': a reference must follow the ':'", text);
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < ' ')
			return err_set(err, EINVAL, "image source has a control character");
	if (!str_copy(src, 768, text))
		return err_set(err, EINVAL, "image source '%.40s...' is longer than 767 bytes", text);
	base_name(base, path, len);
	(void)snprintf(dst, 512, "localhost/%s:%s", base, tag_ok(tag, strlen(tag)) ? tag : "latest");
	return 0;
}

int image_name_parse(const char *text, char dst[512], char src[768], struct err *err)
{
	const char *name = str_has_prefix(text, "docker://") ? text + strlen("docker://") : text;
	int r;

	for (unsigned i = 0; i < ARRAY_SIZE(local_transports); i++)
		if (str_has_prefix(text, local_transports[i]))
			return parse_local(text, text + strlen(local_transports[i]), dst, src, err);
	for (unsigned i = 0; i < ARRAY_SIZE(other_transports); i++) {
		size_t n = strlen(other_transports[i]);

		/* "dir:1" may be a name with a tag; with a slash it cannot be one. */
		if (str_has_prefix(text, other_transports[i]) && (text[n] == '/' || text[n] == '.'))
			return err_set(err, EINVAL,
				"image source '%.200s': '%.*s' is not supported: use a name, docker://NAME, "
				"oci:DIR[:REF], "
				"oci-archive:FILE[:REF] or docker-archive:FILE[:REF]",
				text, (int)n, text);
	}
	if (!*name)
		return err_set(err, EINVAL, "image name is empty");
	r = image_ref_parse(name, dst, err);
	if (r < 0)
		return r;
	(void)snprintf(src, 768, "docker://%s", dst);
	return 0;
}
