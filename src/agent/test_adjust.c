/* SPDX-License-Identifier: Apache-2.0 */
/* What a spec may not do in the guest: a hostile table, and one that is fine. Bind mounts need root; without it they are not tried. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/adjust.h"
#include "agent/hugetlb.h"
#include "base/bytes.h"
#include "base/fd.h"

static char top[] = "/tmp/podvm-adjust.XXXXXX";
static char shared[64], stage[64];

static int make_tree(void **state)
{
	char path[128];

	if (!mkdtemp(top))
		return -1;
	(void)snprintf(shared, sizeof(shared), "%s/shared", top);
	(void)snprintf(stage, sizeof(stage), "%s/stage", top);
	(void)snprintf(path, sizeof(path), "%s/rootfs", shared);
	if (mkdir(shared, 0755) < 0 || mkdir(stage, 0755) < 0 || mkdir(path, 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/link", shared);
	return symlink("/", path);
}

static int remove_tree(void **state)
{
	return dir_remove_all(AT_FDCWD, top, NULL);
}

/* `extra` goes into the spec's top level, `mount` becomes its only mount (or none). */
static int adjust(const char *extra, const char *mount_json, struct oci_spec *spec, struct err *err)
{
	const char *const sources[] = {shared, NULL};
	struct adjust how = {.id = "c", .cgroup = "/podvm/c", .stage = stage, .sources = sources};
	struct adjust_held held = {0};
	char json[2048];
	int n = snprintf(json, sizeof(json),
		"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"%s/"
		"rootfs\"},\"hostname\":\"x\",\"process\":{\"args\":[\"a\"],"
		"\"apparmorProfile\":\"p\"},\"mounts\":[%s],\"annotations\":{\"run.oci.handler\":\"krun\",\"a\":\"b\"}%"
		"s}",
		shared, mount_json, extra);
	int r;

	assert_true(n > 0 && (size_t)n < sizeof(json));
	assert_int_equal(oci_spec_parse(spec, json, strlen(json), err), 0);
	r = adjust_spec(spec, &how, &held, err);
	adjust_close(&held);
	return r;
}

static void plain_spec(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	const json_t *linux_, *ns;
	size_t i, n = 0;

	assert_int_equal(
		adjust(",\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"pid\",\"path\":\"/x\"}],"
		       "\"resources\":{\"cpu\":{\"cpus\":\"7\"}}}",
			"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}", &spec, &err),
		0);
	assert_null(json_object_get(spec.root, "hostname"));
	assert_null(json_object_get(oci_process(&spec), "apparmorProfile"));
	assert_null(oci_annotation(&spec, "run.oci.handler"));
	assert_non_null(oci_annotation(&spec, "a"));
	linux_ = json_object_get(spec.root, "linux");
	assert_string_equal(json_string_value(json_object_get(linux_, "cgroupsPath")), "/podvm/c");
	assert_null(json_object_get(json_object_get(json_object_get(linux_, "resources"), "cpu"), "cpus"));
	json_array_foreach (json_object_get(linux_, "namespaces"), i, ns) {
		const char *type = json_string_value(json_object_get(ns, "type"));

		assert_null(json_object_get(ns, "path"));
		assert_true(str_eq(type, "pid") || str_eq(type, "mount") || str_eq(type, "cgroup"));
		n++;
	}
	assert_int_equal(n, 3);
}

static void hostile_specs(void **state)
{
	static const struct {
		const char *extra, *mount; /* %s in a mount is the allowed folder */
	} bad[] = {
		{",\"hooks\":{\"prestart\":[{\"path\":\"/x\"}]}", ""},
		{",\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}", ""},
		{",\"linux\":{\"uidMappings\":[{\"hostID\":0}]}", ""},
		{"", "{\"destination\":\"/x\",\"type\":\"overlay\",\"source\":\"o\",\"options\":[\"lowerdir=/\"]}"},
		{"", "{\"destination\":\"/x\",\"type\":\"virtiofs\",\"source\":\"podvm\"}"},
		{"", "{\"destination\":\"/x\",\"source\":\"/\"}"},
		{"", "{\"type\":\"proc\",\"source\":\"proc\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/proc/1/root\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/run/crun\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"none\",\"source\":\"/etc\",\"options\":[\"rbind\"]}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s/../stage\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s/link\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s/link/etc\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%sevil\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s/absent\"}"},
		{"", "{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":[\"idmap=uids=0-1-2\"]}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};
		char m[512];
		const char *at = strstr(bad[i].mount, "%s");

		(void)snprintf(m, sizeof(m), "%.*s%s%s", at ? (int)(at - bad[i].mount) : 0, bad[i].mount,
			at ? shared : "", at ? at + 2 : bad[i].mount);
		if (adjust(bad[i].extra, m, &spec, &err) >= 0)
			fail_msg("accepted: %s%s", bad[i].extra, bad[i].mount);
		assert_true(err.code == EINVAL || err.code == EPERM);
	}
}

static void bind_is_staged(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	char m[256];
	const json_t *mounts;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	(void)snprintf(m, sizeof(m), "{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"%s/rootfs\"}", shared);
	assert_int_equal(adjust("", m, &spec, &err), 0);
	mounts = json_object_get(spec.root, "mounts");
	assert_true(str_has_prefix(json_string_value(json_object_get(json_array_get(mounts, 0), "source")), stage));
}

/* Outside of /dev a node is made here, with its owner, and mounted; below it crun does that. */
static void devices_outside_of_dev(void **state)
{
	static const char json[] =
		",\"linux\":{\"devices\":[{\"path\":\"/dev/a\",\"type\":\"b\",\"major\":254,\"minor\":1},"
		"{\"path\":\"/mnt/"
		"b\",\"type\":\"b\",\"major\":254,\"minor\":16,\"fileMode\":432,\"uid\":5,\"gid\":6}]}";
	const char *const sources[] = {shared, NULL};
	struct adjust how = {.id = "c", .cgroup = "/podvm/c", .stage = stage, .sources = sources};
	auto_oci_spec struct oci_spec spec = {0};
	struct adjust_held held = {0};
	const json_t *m, *devices;
	struct err err = {0};
	struct stat sb;
	char text[512];

	assert_int_equal(
		adjust(",\"linux\":{\"devices\":[{\"path\":\"/x\",\"type\":\"c\"}]}", "", &spec, &err), -EINVAL);
	assert_string_equal(err.msg, "device '/x': only a block device can be outside of /dev");
	oci_spec_fini(&spec);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	(void)snprintf(text, sizeof(text), "{\"root\":{\"path\":\"%s/rootfs\"},\"process\":{\"args\":[\"a\"]}%s}",
		shared, json);
	assert_int_equal(oci_spec_parse(&spec, text, strlen(text), &err), 0);
	assert_int_equal(adjust_spec(&spec, &how, &held, &err), 0);
	devices = json_object_get(json_object_get(spec.root, "linux"), "devices");
	assert_int_equal(json_array_size(devices), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(devices, 0), "path")), "/dev/a");
	m = json_array_get(json_object_get(spec.root, "mounts"), 0);
	assert_string_equal(json_string_value(json_object_get(m, "destination")), "/mnt/b");
	assert_int_equal(stat(json_string_value(json_object_get(m, "source")), &sb), 0);
	assert_true(sb.st_mode == (S_IFBLK | 0660) && sb.st_uid == 5 && sb.st_gid == 6);
	assert_true(sb.st_rdev == makedev(254, 16));
	adjust_close(&held);
	assert_int_equal(rmdir(stage), 0); /* empty */
	assert_int_equal(mkdir(stage, 0755), 0);
}

static void exec_inherits(void **state)
{
	json_t *p = json_loads("{\"args\":[\"a\"],\"cwd\":\"/own\",\"apparmorProfile\":\"p\"}", 0, NULL);
	json_t *base = json_loads("{\"cwd\":\"/base\",\"user\":{\"uid\":5},\"args\":[\"b\"]}", 0, NULL);
	json_t *none = json_loads("{\"args\":[]}", 0, NULL), *wrong = json_loads("{\"args\":[1]}", 0, NULL);
	struct err err = {0};

	assert_int_equal(adjust_process(p, base, true, &err), 0);
	assert_string_equal(json_string_value(json_object_get(p, "cwd")), "/own");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(p, "user"), "uid")), 5);
	assert_true(json_is_true(json_object_get(p, "terminal")));
	assert_null(json_object_get(p, "apparmorProfile"));
	assert_int_equal(adjust_process(none, base, false, &err), -EINVAL);
	assert_int_equal(adjust_process(wrong, base, false, &err), -EINVAL);
	json_decref(p);
	json_decref(base);
	json_decref(none);
	json_decref(wrong);
}

static void volumes_of_huge_pages(void **state)
{
	static const struct {
		const char *json, *word; /* a mount; what the refusal names, NULL: none */
	} rows[] = {
		{"{\"options\":[\"pagesize=2097152\",\"mode=1777\",\"uid=5\",\"gid=6\",\"ro\"]}", NULL},
		{"{\"options\":[\"pagesize=2097152\",\"mode=1777\",\"uid=5\",\"gid=6\"]}", NULL},
		{"{}", "only those of 2 MiB"},
		{"{\"options\":[\"pagesize=1073741824\"]}", "1048576 KiB"},
		{"{\"options\":[\"pagesize=\"]}", "pagesize="},
		{"{\"options\":[\"pagesize=2M\"]}", "pagesize=2M"},
		{"{\"options\":[\"pagesize=-1\"]}", "pagesize=-1"},
		{"{\"options\":[\"pagesize=99999999999999999999\"]}", "pagesize="},
		{"{\"options\":[\"pagesize=2097152\",\"mode=17777\"]}", "mode=17777"},
		{"{\"options\":[\"pagesize=2097152\",\"mode=08\"]}", "mode=08"},
		{"{\"options\":[\"pagesize=2097152\",\"uid=4294967295\"]}", "uid="},
		{"{\"options\":[\"pagesize=2097152\",\"size=1G\"]}", "size=1G"},
		{"{\"options\":[\"pagesize=2097152\",\"uid=1,size=1\"]}", "uid=1,size"},
		{"{\"options\":[7]}", "no text"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *m = json_loads(rows[i].json, 0, NULL);
		struct hugetlb_options o;
		struct err err = {0};
		int r = hugetlb_options(&o, m, &err);

		if (r != (rows[i].word ? -EINVAL : 0) || (rows[i].word && !strstr(err.msg, rows[i].word)))
			fail_msg("%s: %d, %s", rows[i].json, r, err.msg);
		assert_true(r < 0 || (o.mode == 01777 && o.uid == 5 && o.gid == 6 && o.ro == (i == 0)));
		json_decref(m);
	}
}

static void names_of_huge_volumes(void **state)
{
	static const char *const bad[] = {"", "huge", "x", "huge-/..", "../huge-1", "huge-1/2", "huge-1.",
		"huge-0-123456789012345678901234567890123456789"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *m = json_pack("{s:s s:[s]}", "source", bad[i], "options", "pagesize=2097152");
		struct err err = {0};

		assert_int_equal(hugetlb_volume(m, stage, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "no name of a volume"));
		json_decref(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volumes_of_huge_pages),
		cmocka_unit_test(names_of_huge_volumes),
		cmocka_unit_test(plain_spec),
		cmocka_unit_test(hostile_specs),
		cmocka_unit_test(bind_is_staged),
		cmocka_unit_test(devices_outside_of_dev),
		cmocka_unit_test(exec_inherits),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
