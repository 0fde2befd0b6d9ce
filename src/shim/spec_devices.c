/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of the host in a spec. The path of a device entry is the container's own; which device of the host is meant, its numbers tell
 * alone. What the container may do with it is what the cgroup rules leave of "rwm", in their order.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "oci/json.h"
#include "shim/spec.h"

enum { MAY_READ = 1, MAY_WRITE = 2, MAY_MAKE = 4, MAY_ALL = 7 };

static json_t *rules_of(const struct oci_spec *spec)
{
	const json_t *resources = json_object_get(json_object_get(spec->root, "linux"), "resources");

	return json_object_get(resources, "devices");
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static bool has_number(const json_t *d, const char *key, json_int_t number)
{
	const json_t *v = json_object_get(d, key);

	return !v || (json_is_integer(v) && json_integer_value(v) == number);
}

/* What the guest's kernel has too, under the same number, whatever the host: numbers that are absent are known. */
static bool is_common(const json_t *d)
{
	static const struct {
		const char *path;
		int major, minor;
	} common[] = {{"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7}, {"/dev/random", 1, 8},
		{"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}, {"/dev/console", 5, 1}, {"/dev/ptmx", 5, 2}};
	const char *path = text_of(d, "path"), *type = text_of(d, "type");

	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		if (str_eq(path, common[i].path))
			return (!*type || str_eq(type, "c") || str_eq(type, "u")) &&
			       has_number(d, "major", common[i].major) && has_number(d, "minor", common[i].minor);
	return false;
}

/* ---- cgroup rules ---- */

static unsigned access_bits(const json_t *rule)
{
	const char *text = text_of(rule, "access");

	if (!*text)
		return MAY_ALL;
	return (strchr(text, 'r') ? MAY_READ : 0u) | (strchr(text, 'w') ? MAY_WRITE : 0u) |
	       (strchr(text, 'm') ? MAY_MAKE : 0u);
}

/* A number that is absent, null or negative stands for all of them. */
static bool covers(const json_t *rule, const char *key, unsigned number)
{
	const json_t *v = json_object_get(rule, key);

	return !json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) == (json_int_t)number;
}

static unsigned allowed(const struct oci_spec *spec, unsigned major, unsigned minor)
{
	json_t *rules = rules_of(spec), *rule;
	unsigned bits = 0;
	size_t i;

	json_array_foreach (rules, i, rule) {
		const char *type = text_of(rule, "type");

		if ((*type && !str_eq(type, "a") && !str_eq(type, "b")) || !covers(rule, "major", major) ||
			!covers(rule, "minor", minor))
			continue;
		if (json_is_true(json_object_get(rule, "allow")))
			bits |= access_bits(rule);
		else
			bits &= ~access_bits(rule);
	}
	return bits;
}

static bool is_exactly(const json_t *rule, unsigned major, unsigned minor)
{
	const json_t *a = json_object_get(rule, "major"), *b = json_object_get(rule, "minor");

	return str_eq(text_of(rule, "type"), "b") && json_is_integer(a) && json_is_integer(b) &&
	       json_integer_value(a) == (json_int_t)major && json_integer_value(b) == (json_int_t)minor;
}

/* The host's numbers mean another device in the guest, or none. */
static void drop_rules(const struct oci_spec *spec, unsigned major, unsigned minor)
{
	json_t *rules = rules_of(spec);

	for (size_t i = json_array_size(rules); i-- > 0;)
		if (is_exactly(json_array_get(rules, i), major, minor))
			(void)json_array_remove(rules, i);
}

/* A privileged container may use every device: those of the host are named in its spec because of that alone. */
bool spec_is_privileged(const struct oci_spec *spec)
{
	json_t *rules = rules_of(spec), *rule;
	size_t i;

	json_array_foreach (rules, i, rule)
		if (json_is_true(json_object_get(rule, "allow")) && !json_object_get(rule, "major") &&
			!json_object_get(rule, "minor") && access_bits(rule) & MAY_WRITE)
			return true;
	return false;
}

/* ---- device entries ---- */

/* Where in a container a device may be. */
static bool is_place(const char *path)
{
	for (const char *at = path; (at = strstr(at, "/..")); at += 3)
		if (at[3] == '/' || at[3] == '\0')
			return false;
	return *path == '/' && path[strspn(path, "/")];
}

static int take_disk(const struct oci_spec *spec, const json_t *d, const struct spec_guest *g, struct err *err)
{
	struct spec_disk disk = {.path = text_of(d, "path")};
	const json_t *major = json_object_get(d, "major"), *minor = json_object_get(d, "minor");
	unsigned bits;

	if (!is_place(disk.path))
		return err_set(err, EINVAL, "its path is not absolute, or has '..' in it; change its devicePath");
	if (!json_is_integer(major) || !json_is_integer(minor) || json_integer_value(major) < 0 ||
		json_integer_value(major) > SPEC_MAJOR_MAX || json_integer_value(minor) < 0 ||
		json_integer_value(minor) > SPEC_MINOR_MAX)
		return err_set(err, EINVAL, "its major and minor are no device number");
	disk.major = (unsigned)json_integer_value(major);
	disk.minor = (unsigned)json_integer_value(minor);
	bits = allowed(spec, disk.major, disk.minor);
	if (!(bits & (MAY_READ | MAY_WRITE)))
		return err_set(err, EINVAL,
			"linux.resources.devices lets the container neither read nor write block device %u:%u",
			disk.major, disk.minor);
	(void)snprintf(disk.access, sizeof(disk.access), "%s%s%s", bits & MAY_READ ? "r" : "",
		bits & MAY_WRITE ? "w" : "", bits & MAY_MAKE ? "m" : "");
	return g->disk(g->ctx, &disk, err);
}

static int refuse(const char *type, struct err *err)
{
	if (str_eq(type, "b"))
		return err_set(err, EINVAL, "block devices are not supported here");
	return err_set(err, EINVAL,
		"a character device of the node cannot be used in a VM, only block devices can; run the pod with the "
		"default runtime class");
}

/* The rules are left as they are until all devices have been judged by them. */
static int take_devices(struct oci_spec *spec, const struct spec_guest *g, unsigned *ret_dropped, struct err *err)
{
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "devices"), *d;
	bool privileged = spec_is_privileged(spec);
	size_t i = 0;

	while ((d = json_array_get(list, i))) {
		const char *path = text_of(d, "path"), *type = text_of(d, "type");
		int r;

		if (is_common(d)) {
			i++;
			continue;
		}
		if (privileged) {
			(void)json_array_remove(list, i);
			++*ret_dropped;
			continue;
		}
		r = str_eq(type, "b") && g->disk ? take_disk(spec, d, g, err) : refuse(type, err);
		if (r < 0)
			return err_wrap(err, "device '%.200s'", path);
		i++;
	}
	return 0;
}

int spec_adjust_devices(struct oci_spec *spec, const struct spec_guest *g, struct err *err)
{
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "devices"), *d;
	unsigned dropped = 0;
	char text[100];
	size_t i;
	int r = take_devices(spec, g, &dropped, err);

	if (r < 0)
		return r;
	json_array_foreach (list, i, d)
		if (str_eq(text_of(d, "type"), "b"))
			drop_rules(spec, (unsigned)json_integer_value(json_object_get(d, "major")),
				(unsigned)json_integer_value(json_object_get(d, "minor")));
	if (dropped) {
		(void)snprintf(text, sizeof(text), "privileged: %u devices of the node are left out", dropped);
		g->note(g->ctx, text);
	}
	return 0;
}

/* ---- once the guest has it ---- */

int spec_set_disk(struct oci_spec *spec, const struct spec_disk *disk, struct err *err)
{
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "devices"), *d;
	json_t *resources = oci_linux_resources(spec);
	json_t *rules = resources ? json_member_array(resources, "devices") : NULL;
	size_t i;
	int r = rules ? 0 : -1;

	json_array_foreach (list, i, d)
		if (r == 0 && str_eq(text_of(d, "path"), disk->path))
			r = json_object_set_new(d, "major", json_integer(disk->major)) |
			    json_object_set_new(d, "minor", json_integer(disk->minor));
	if (r == 0)
		r = json_array_append_new(
			rules, json_pack("{s:b s:s s:i s:i s:s}", "allow", 1, "type", "b", "major", (int)disk->major,
				       "minor", (int)disk->minor, "access", disk->access));
	return r == 0 ? 0 : err_set(err, ENOMEM, "devices: out of memory");
}
