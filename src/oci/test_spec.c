/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/spec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "oci/seccomp.h"

static struct oci_spec parse(const char *text)
{
	struct oci_spec spec = {0};
	struct err err = {0};

	if (oci_spec_parse(&spec, text, strlen(text), &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return spec;
}

static void assert_written(const struct oci_spec *spec, const char *want)
{
	struct err err;
	char *text;
	size_t len;

	assert_int_equal(oci_spec_write(spec, &text, &len, &err), 0);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

static json_t *at(const struct oci_spec *spec, const char *path)
{
	json_t *v = spec->root;
	char name[64];

	while (*path && v) {
		size_t n = strcspn(path, ".");

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, path);
		v = json_object_get(v, name);
		path += n + (path[n] == '.');
	}
	return v;
}

static bool lists(const json_t *array, const char *text)
{
	const json_t *v;
	size_t i;

	json_array_foreach (array, i, v)
		if (json_is_string(v) && str_eq(json_string_value(v), text))
			return true;
	return false;
}

static json_t *mount_at(const struct oci_spec *spec, const char *destination)
{
	json_t *m;
	size_t i;

	json_array_foreach (at(spec, "mounts"), i, m)
		if (str_eq(json_string_value(json_object_get(m, "destination")), destination))
			return m;
	return NULL;
}

static json_t *namespace_of(const struct oci_spec *spec, const char *type)
{
	json_t *ns;
	size_t i;

	json_array_foreach (at(spec, "linux.namespaces"), i, ns)
		if (str_eq(json_string_value(json_object_get(ns, "type")), type))
			return ns;
	return NULL;
}

static void unknown_fields_stay(void **state)
{
	static const char text[] = "{\"ociVersion\":\"1.2.1\",\"hooks\":{\"prestart\":[{\"path\":\"/"
				   "x\"}]},\"process\":{\"rlimits\":[{\"type\":"
				   "\"RLIMIT_MEMLOCK\",\"hard\":18446744073709551615,\"soft\":65536}],\"ioPriority\":{"
				   "\"class\":\"X\"}},\"linux\":{"
				   "\"intelRdt\":{\"closID\":\"a\"},\"resources\":{\"unified\":{\"memory.high\":\"1\"},"
				   "\"memory\":{\"limit\":-1}}},"
				   "\"vendor.example\":[1,2.5,null,true]}";
	struct oci_spec spec = parse(text);

	assert_written(&spec, text);
	oci_spec_fini(&spec);
	oci_spec_fini(&spec);
}

static void wrong_shapes_are_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"{\"root\":[]}", "OCI spec: root is not an object"},
		{"{\"root\":{\"path\":1}}", "OCI spec: root.path is not a string"},
		{"{\"root\":{\"readonly\":\"yes\"}}", "OCI spec: root.readonly is not true or false"},
		{"{\"hostname\":7}", "OCI spec: hostname is not a string"},
		{"{\"ociVersion\":1}", "OCI spec: ociVersion is not a string"},
		{"{\"mounts\":{}}", "OCI spec: mounts is not an array"},
		{"{\"mounts\":[{},[]]}", "OCI spec: mounts[1] is not an object"},
		{"{\"mounts\":[{\"destination\":{}}]}", "OCI spec: mounts[0].destination is not a string"},
		{"{\"mounts\":[{\"options\":[\"ro\",1]}]}", "OCI spec: mounts[0].options[1] is not a string"},
		{"{\"process\":\"sh\"}", "OCI spec: process is not an object"},
		{"{\"process\":{\"args\":\"sh\"}}", "OCI spec: process.args is not an array"},
		{"{\"process\":{\"args\":[\"sh\",null]}}", "OCI spec: process.args[1] is not a string"},
		{"{\"process\":{\"env\":[[]]}}", "OCI spec: process.env[0] is not a string"},
		{"{\"process\":{\"terminal\":0}}", "OCI spec: process.terminal is not true or false"},
		{"{\"process\":{\"user\":{\"uid\":-1}}}",
			"OCI spec: process.user.uid is not an integer from 0 to 4294967295"},
		{"{\"process\":{\"user\":{\"additionalGids\":[1,\"2\"]}}}",
			"OCI spec: process.user.additionalGids[1] is not an integer from 0 to 4294967295"},
		{"{\"process\":{\"capabilities\":{\"bounding\":{}}}}",
			"OCI spec: process.capabilities.bounding is not an array"},
		{"{\"process\":{\"capabilities\":{\"effective\":[2]}}}",
			"OCI spec: process.capabilities.effective[0] is not a string"},
		{"{\"linux\":[]}", "OCI spec: linux is not an object"},
		{"{\"linux\":{\"namespaces\":[\"pid\"]}}", "OCI spec: linux.namespaces[0] is not an object"},
		{"{\"linux\":{\"namespaces\":[{\"type\":1}]}}", "OCI spec: linux.namespaces[0].type is not a string"},
		{"{\"linux\":{\"resources\":[]}}", "OCI spec: linux.resources is not an object"},
		{"{\"linux\":{\"seccomp\":true}}", "OCI spec: linux.seccomp is not an object"},
		{"{\"linux\":{\"sysctl\":{\"net.ipv4.ip_forward\":1}}}",
			"OCI spec: linux.sysctl.net.ipv4.ip_forward is not a string"},
		{"{\"linux\":{\"maskedPaths\":[0]}}", "OCI spec: linux.maskedPaths[0] is not a string"},
		{"{\"annotations\":{\"a\":[]}}", "OCI spec: annotations.a is not a string"},
		{"[]", "OCI spec: JSON: the document is not an object"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_spec spec = {0};
		struct err err = {0};
		int r = oci_spec_parse(&spec, cases[i].text, strlen(cases[i].text), &err);

		assert_null(spec.root);
		if (r != -EINVAL || strcmp(err.msg, cases[i].want) != 0)
			fail_msg("%s: %d '%s'", cases[i].text, r, err.msg);
	}
}

static void a_spec_too_large_is_refused(void **state)
{
	char *text = malloc(OCI_SPEC_MAX + 2);
	struct oci_spec spec = {0};
	struct err err;

	memset(text, ' ', OCI_SPEC_MAX + 2);
	memcpy(text, "{}", 2);
	assert_int_equal(oci_spec_parse(&spec, text, OCI_SPEC_MAX, &err), 0);
	oci_spec_fini(&spec);
	assert_int_equal(oci_spec_parse(&spec, text, OCI_SPEC_MAX + 1, &err), -EFBIG);
	assert_null(spec.root);
	free(text);
}

/* Every setter makes what is missing, and replaces what is there. */
static void setters_build_a_spec_from_nothing(void **state)
{
	static const char *const args[] = {"/bin/sh", "-c", "echo \"hi\""};
	static const char *const env[] = {"A=1", "B="};
	static const char *const options[] = {"ro", "bind", NULL};
	static const char *const caps[] = {"CAP_KILL", NULL};
	static const uint32_t groups[] = {5, 4294967294, 7};
	struct oci_spec spec = parse("{}");

	for (int round = 0; round < 2; round++) {
		assert_int_equal(oci_set_version(&spec, OCI_VERSION), 0);
		assert_int_equal(oci_set_root(&spec, "/r", round == 1), 0);
		assert_int_equal(oci_set_hostname(&spec, "h"), 0);
		assert_int_equal(oci_set_args(&spec, args, ARRAY_SIZE(args)), 0);
		assert_int_equal(oci_set_env(&spec, env, ARRAY_SIZE(env)), 0);
		assert_int_equal(oci_set_cwd(&spec, "/w"), 0);
		assert_int_equal(oci_set_user(&spec, 1000, 5, groups, ARRAY_SIZE(groups)), 0);
		assert_int_equal(oci_set_terminal(&spec, true), 0);
		assert_int_equal(oci_set_no_new_privs(&spec, true), 0);
		assert_int_equal(oci_set_capabilities(&spec, caps), 0);
		assert_int_equal(oci_set_cgroups_path(&spec, "/pod/c"), 0);
		assert_int_equal(oci_set_namespace(&spec, "pid", NULL), 0);
		assert_int_equal(oci_set_namespace(&spec, "ipc", "/run/ns/ipc"), 0);
		assert_int_equal(oci_set_sysctl(&spec, "net.ipv4.ip_forward", "1"), 0);
		if (round == 0)
			assert_int_equal(oci_add_mount(&spec, "/m", "none", "/src", options), 0);
	}
	assert_written(&spec,
		"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/"
		"r\",\"readonly\":true},\"hostname\":\"h\",\"process\":{\"args\":["
		"\"/bin/sh\",\"-c\",\"echo "
		"\\\"hi\\\"\"],\"env\":[\"A=1\",\"B=\"],\"cwd\":\"/w\",\"user\":{\"uid\":1000,\"gid\":5,"
		"\"additionalGids\":[5,4294967294,7]},\"terminal\":true,\"noNewPrivileges\":true,\"capabilities\":{"
		"\"bounding\":["
		"\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"]}},\"linux\":{\"cgroupsPath\":"
		"\"/pod/c\","
		"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\",\"path\":\"/run/ns/ipc\"}],\"sysctl\":{"
		"\"net.ipv4.ip_forward\":\"1\"}},\"mounts\":[{\"destination\":\"/m\",\"type\":\"none\",\"source\":\"/"
		"src\","
		"\"options\":[\"ro\",\"bind\"]}]}");
	assert_string_equal(oci_root_path(&spec), "/r");
	assert_true(oci_terminal(&spec));
	oci_spec_fini(&spec);
}

static void null_counts_as_absent(void **state)
{
	struct oci_spec spec = parse(
		"{\"process\":null,\"linux\":{\"namespaces\":null,\"sysctl\":null,\"resources\":null},"
		"\"mounts\":null,\"root\":null,\"annotations\":null}");
	static const char *const none[] = {NULL};

	assert_null(oci_root_path(&spec));
	assert_null(oci_process(&spec));
	assert_false(oci_terminal(&spec));
	assert_null(oci_annotation(&spec, "a"));
	assert_int_equal(oci_set_terminal(&spec, true), 0);
	assert_int_equal(oci_set_namespace(&spec, "pid", NULL), 0);
	assert_int_equal(oci_set_sysctl(&spec, "a", "b"), 0);
	assert_int_equal(oci_add_mount(&spec, "/m", "none", "/src", none), 0);
	assert_int_equal(oci_set_root(&spec, "/", false), 0);
	assert_true(json_is_object(oci_linux_resources(&spec)));
	oci_spec_fini(&spec);
}

static void removals_take_what_is_there(void **state)
{
	struct oci_spec spec = parse(
		"{\"mounts\":[{\"destination\":\"/a\"},{\"type\":\"x\"},{\"destination\":\"/b\"},{"
		"\"destination\":\"/a\"}],\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"/p\"},{},"
		"{\"type\":\"pid\"}],\"seccomp\":{\"a\":1}},\"annotations\":{\"k\":\"v\"}}");
	struct oci_spec empty = parse("{}");

	oci_remove_mount(&spec, "/a");
	oci_remove_mount(&spec, "/none");
	oci_remove_namespace(&spec, "pid");
	oci_clear_seccomp(&spec);
	assert_written(&spec, "{\"mounts\":[{\"type\":\"x\"},{\"destination\":\"/b\"}],\"linux\":{\"namespaces\":[{}]},"
			      "\"annotations\":{\"k\":\"v\"}}");
	assert_string_equal(oci_annotation(&spec, "k"), "v");
	oci_remove_mount(&empty, "/a");
	oci_remove_namespace(&empty, "pid");
	oci_clear_seccomp(&empty);
	assert_written(&empty, "{}");
	oci_spec_fini(&spec);
	oci_spec_fini(&empty);
}

static void text_that_json_cannot_hold_is_an_error(void **state)
{
	static const char *const bad[] = {"ok", "\xff", NULL};
	struct oci_spec spec = parse("{}");

	assert_int_equal(oci_set_hostname(&spec, "\xc3"), -EILSEQ);
	assert_int_equal(oci_set_args(&spec, bad, 2), -EILSEQ);
	assert_int_equal(oci_set_env(&spec, bad, 2), -EILSEQ);
	assert_int_equal(oci_add_mount(&spec, "/\xff", "none", "/", bad), -EILSEQ);
	assert_int_equal(oci_add_mount(&spec, "/x", "none", "/", bad), -EILSEQ);
	assert_int_equal(oci_set_namespace(&spec, "pid", "\xff"), -EILSEQ);
	assert_int_equal(oci_set_sysctl(&spec, "a", "\xff"), -EILSEQ);
	assert_int_equal(oci_set_sysctl(&spec, "\xff", "a"), -EILSEQ);
	assert_int_equal(oci_set_capabilities(&spec, bad), -EILSEQ);
	assert_int_equal(json_array_size(at(&spec, "mounts")), 0);
	assert_int_equal(json_object_size(at(&spec, "linux.sysctl")), 0);
	oci_spec_fini(&spec);
}

static void the_default_is_an_unprivileged_cri_container(void **state)
{
	static const char *const namespaces[] = {"pid", "ipc", "uts", "mount", "network", "cgroup"};
	static const char *const destinations[] = {
		"/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup"};
	static const char *const caps[] = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD",
		"CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"};
	static const char *const masked[] = {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
		"/sys/devices/virtual/powercap", "/proc/scsi"};
	struct oci_spec spec = {0}, again = {0};
	struct err err;
	char *text;
	size_t len;

	assert_int_equal(oci_spec_default(&spec, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		assert_non_null(namespace_of(&spec, namespaces[i]));
	assert_int_equal(json_array_size(at(&spec, "linux.namespaces")), ARRAY_SIZE(namespaces));
	for (size_t i = 0; i < ARRAY_SIZE(destinations); i++)
		assert_non_null(mount_at(&spec, destinations[i]));
	assert_int_equal(json_array_size(at(&spec, "mounts")), ARRAY_SIZE(destinations));
	assert_true(lists(json_object_get(mount_at(&spec, "/sys"), "options"), "ro"));
	assert_true(lists(json_object_get(mount_at(&spec, "/sys/fs/cgroup"), "options"), "ro"));
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		assert_true(lists(at(&spec, "process.capabilities.bounding"), caps[i]));
	assert_int_equal(json_array_size(at(&spec, "process.capabilities.bounding")), ARRAY_SIZE(caps));
	assert_true(
		json_equal(at(&spec, "process.capabilities.bounding"), at(&spec, "process.capabilities.effective")));
	assert_true(
		json_equal(at(&spec, "process.capabilities.bounding"), at(&spec, "process.capabilities.permitted")));
	assert_null(at(&spec, "process.capabilities.inheritable"));
	assert_null(at(&spec, "process.capabilities.ambient"));
	for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
		assert_true(lists(at(&spec, "linux.maskedPaths"), masked[i]));
	assert_true(lists(at(&spec, "linux.readonlyPaths"), "/proc/sys"));
	assert_true(json_is_false(at(&spec, "process.noNewPrivileges")));
	assert_null(at(&spec, "process.rlimits"));
	assert_string_equal(json_string_value(at(&spec, "linux.seccomp.defaultAction")), "SCMP_ACT_ERRNO");
	assert_true(json_is_false(json_object_get(json_array_get(at(&spec, "linux.resources.devices"), 0), "allow")));
	/* It is a spec by its own rules. */
	assert_int_equal(oci_spec_write(&spec, &text, &len, &err), 0);
	assert_int_equal(oci_spec_parse(&again, text, len, &err), 0);
	assert_true(json_equal(spec.root, again.root));
	free(text);
	oci_spec_fini(&spec);
	oci_spec_fini(&again);
}

/* The rules for `call`, as one line: "allow", "allow if 0 LT 38", "errno 38"; "" when there is none. */
static void describe(const struct oci_spec *spec, const char *call, char dst[300])
{
	json_t *rule, *arg;
	size_t i, k;

	dst[0] = '\0';
	json_array_foreach (at(spec, "linux.seccomp.syscalls"), i, rule) {
		size_t len = strlen(dst);
		const char *action = json_string_value(json_object_get(rule, "action"));

		if (!lists(json_object_get(rule, "names"), call))
			continue;
		len += (size_t)snprintf(dst + len, 300 - len, "%s%s", len ? "; " : "",
			str_eq(action, "SCMP_ACT_ALLOW") ? "allow" : "errno");
		if (json_object_get(rule, "errnoRet"))
			len += (size_t)snprintf(dst + len, 300 - len, " %d",
				(int)json_integer_value(json_object_get(rule, "errnoRet")));
		json_array_foreach (json_object_get(rule, "args"), k, arg)
			(void)snprintf(dst + len, 300 - len, " if %d %s %lld",
				(int)json_integer_value(json_object_get(arg, "index")),
				json_string_value(json_object_get(arg, "op")) + strlen("SCMP_CMP_"),
				(long long)json_integer_value(json_object_get(arg, "value")));
	}
}

static void the_seccomp_profile_follows_the_capabilities(void **state)
{
	static const char *const none[] = {NULL}, *const admin[] = {"CAP_SYS_ADMIN", NULL},
				 *const time_cap[] = {"CAP_SYS_TIME", "CAP_SYS_CHROOT", NULL};
	static const struct {
		const char *call, *defaults, *no_caps, *admin, *time;
	} cases[] = {
		{"read", "allow", "allow", "allow", "allow"},
		{"writev", "allow", "allow", "allow", "allow"},
		{"getrandom", "allow", "allow", "allow", "allow"},
		{"ptrace", "allow", "allow", "allow", "allow"},
		{"chroot", "allow", "", "", "allow"},
		{"mount", "", "", "allow", ""},
		{"unshare", "", "", "allow", ""},
		{"bpf", "", "", "allow", ""},
		{"settimeofday", "", "", "", "allow"},
		{"clone", "allow if 0 MASKED_EQ 2114060288", "allow if 0 MASKED_EQ 2114060288", "allow",
			"allow if 0 MASKED_EQ 2114060288"},
		{"clone3", "errno 38", "errno 38", "allow", "errno 38"},
		{"socket", "allow if 0 LT 38; allow if 0 EQ 39; allow if 0 GT 40",
			"allow if 0 LT 38; allow if 0 EQ 39; allow if 0 GT 40",
			"allow if 0 LT 38; allow if 0 EQ 39; allow if 0 GT 40",
			"allow if 0 LT 38; allow if 0 EQ 39; allow if 0 GT 40"},
		{"io_uring_setup", "", "", "", ""},
		{"keyctl", "", "", "", ""},
		{"userfaultfd", "", "", "", ""},
		{"kexec_load", "", "", "", ""},
		{"reboot", "", "", "", ""},
		{"", "", "", "", ""},
	};
	struct oci_spec spec = {0};
	char got[300];

	assert_int_equal(oci_spec_default(&spec, NULL), 0);
	for (int round = 0; round < 4; round++) {
		if (round)
			assert_int_equal(oci_set_capabilities(&spec, round == 1	  ? none
								     : round == 2 ? admin
										  : time_cap),
				0);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			const char *want[] = {cases[i].defaults, cases[i].no_caps, cases[i].admin, cases[i].time};

			describe(&spec, cases[i].call, got);
			if (strcmp(got, want[round]) != 0)
				fail_msg("round %d, %s: '%s', want '%s'", round, cases[i].call, got, want[round]);
		}
	}
	oci_spec_fini(&spec);
}

static void another_profile_is_left_alone(void **state)
{
	static const char *const admin[] = {"CAP_SYS_ADMIN", NULL};
	static const char profile[] = "{\"defaultAction\":\"SCMP_ACT_LOG\"}";
	struct oci_spec spec = {0};
	struct err err;

	assert_int_equal(oci_spec_default(&spec, NULL), 0);
	assert_int_equal(oci_set_seccomp(&spec, profile, strlen(profile), &err), 0);
	assert_int_equal(oci_set_capabilities(&spec, admin), 0);
	assert_string_equal(json_string_value(at(&spec, "linux.seccomp.defaultAction")), "SCMP_ACT_LOG");
	/* Also when it was put there by hand. */
	assert_int_equal(oci_set_default_seccomp(&spec), 0);
	assert_int_equal(json_object_set_new(at(&spec, "linux"), "seccomp", json_object()), 0);
	assert_int_equal(oci_set_capabilities(&spec, admin), 0);
	assert_int_equal(json_object_size(at(&spec, "linux.seccomp")), 0);
	oci_clear_seccomp(&spec);
	assert_int_equal(oci_set_capabilities(&spec, admin), 0);
	assert_null(at(&spec, "linux.seccomp"));
	assert_int_equal(oci_set_seccomp(&spec, "[]", 2, &err), -EINVAL);
	assert_string_equal(err.msg, "seccomp profile: JSON: the document is not an object");
	assert_int_equal(oci_set_seccomp(&spec, "{", 1, &err), -EINVAL);
	assert_null(at(&spec, "linux.seccomp"));
	oci_spec_fini(&spec);
}

static void privileged_opens_everything(void **state)
{
	struct oci_spec spec = {0};
	json_t *caps;

	assert_int_equal(oci_spec_default(&spec, NULL), 0);
	assert_int_equal(oci_set_privileged(&spec), 0);
	caps = at(&spec, "process.capabilities.bounding");
	assert_int_equal(json_array_size(caps), 41);
	assert_true(lists(caps, "CAP_SYS_ADMIN"));
	assert_true(lists(caps, "CAP_CHECKPOINT_RESTORE"));
	assert_null(at(&spec, "linux.seccomp"));
	assert_null(at(&spec, "linux.maskedPaths"));
	assert_null(at(&spec, "linux.readonlyPaths"));
	assert_null(namespace_of(&spec, "cgroup"));
	assert_false(lists(json_object_get(mount_at(&spec, "/sys"), "options"), "ro"));
	assert_true(lists(json_object_get(mount_at(&spec, "/sys"), "options"), "rw"));
	assert_false(lists(json_object_get(mount_at(&spec, "/sys/fs/cgroup"), "options"), "ro"));
	assert_true(json_is_true(json_object_get(json_array_get(at(&spec, "linux.resources.devices"), 0), "allow")));
	oci_spec_fini(&spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_fields_stay),
		cmocka_unit_test(wrong_shapes_are_refused),
		cmocka_unit_test(a_spec_too_large_is_refused),
		cmocka_unit_test(setters_build_a_spec_from_nothing),
		cmocka_unit_test(null_counts_as_absent),
		cmocka_unit_test(removals_take_what_is_there),
		cmocka_unit_test(text_that_json_cannot_hold_is_an_error),
		cmocka_unit_test(the_default_is_an_unprivileged_cri_container),
		cmocka_unit_test(the_seccomp_profile_follows_the_capabilities),
		cmocka_unit_test(another_profile_is_left_alone),
		cmocka_unit_test(privileged_opens_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
