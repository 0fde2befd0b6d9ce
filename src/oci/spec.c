/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime spec as a JSON document that stays whole. `rules` below is the list of every field that this file, or
 * code that gets at the document through it, takes for granted: a parsed spec obeys it, so nothing else looks at types
 * again.
 */
#include "oci/spec.h"

#include <errno.h>

#include "base/bytes.h"
#include "oci/json.h"
#include "oci/seccomp.h"

static const struct json_rule rules[] = {
	{"ociVersion", JSON_KIND_STRING},
	{"hostname", JSON_KIND_STRING},
	{"root", JSON_KIND_OBJECT},
	{"root.path", JSON_KIND_STRING},
	{"root.readonly", JSON_KIND_BOOL},
	{"annotations", JSON_KIND_OBJECT},
	{"annotations{}", JSON_KIND_STRING},
	{"mounts", JSON_KIND_ARRAY},
	{"mounts[]", JSON_KIND_OBJECT},
	{"mounts[].destination", JSON_KIND_STRING},
	{"mounts[].type", JSON_KIND_STRING},
	{"mounts[].source", JSON_KIND_STRING},
	{"mounts[].options", JSON_KIND_ARRAY},
	{"mounts[].options[]", JSON_KIND_STRING},
	{"process", JSON_KIND_OBJECT},
	{"process.terminal", JSON_KIND_BOOL},
	{"process.args", JSON_KIND_ARRAY},
	{"process.args[]", JSON_KIND_STRING},
	{"process.env", JSON_KIND_ARRAY},
	{"process.env[]", JSON_KIND_STRING},
	{"process.cwd", JSON_KIND_STRING},
	{"process.noNewPrivileges", JSON_KIND_BOOL},
	{"process.user", JSON_KIND_OBJECT},
	{"process.user.uid", JSON_KIND_U32},
	{"process.user.gid", JSON_KIND_U32},
	{"process.user.additionalGids", JSON_KIND_ARRAY},
	{"process.user.additionalGids[]", JSON_KIND_U32},
	{"process.capabilities", JSON_KIND_OBJECT},
	{"process.capabilities{}", JSON_KIND_ARRAY},
	{"process.capabilities{}[]", JSON_KIND_STRING},
	{"linux", JSON_KIND_OBJECT},
	{"linux.cgroupsPath", JSON_KIND_STRING},
	{"linux.sysctl", JSON_KIND_OBJECT},
	{"linux.sysctl{}", JSON_KIND_STRING},
	{"linux.namespaces", JSON_KIND_ARRAY},
	{"linux.namespaces[]", JSON_KIND_OBJECT},
	{"linux.namespaces[].type", JSON_KIND_STRING},
	{"linux.namespaces[].path", JSON_KIND_STRING},
	{"linux.maskedPaths", JSON_KIND_ARRAY},
	{"linux.maskedPaths[]", JSON_KIND_STRING},
	{"linux.readonlyPaths", JSON_KIND_ARRAY},
	{"linux.readonlyPaths[]", JSON_KIND_STRING},
	{"linux.resources", JSON_KIND_OBJECT},
	{"linux.resources.devices", JSON_KIND_ARRAY},
	{"linux.seccomp", JSON_KIND_OBJECT},
};

int oci_spec_parse(struct oci_spec *ret, const char *json, size_t len, struct err *err)
{
	json_t *root;
	int r = json_text_parse(&root, json, len, OCI_SPEC_MAX, OCI_DEPTH_MAX, err);

	if (r == 0) {
		r = json_check(root, rules, ARRAY_SIZE(rules), err);
		if (r < 0)
			json_decref(root);
	}
	if (r < 0)
		return err_wrap(err, "OCI spec"), r;
	*ret = (struct oci_spec){.root = root};
	return 0;
}

int oci_spec_write(const struct oci_spec *spec, char **ret, size_t *ret_len, struct err *err)
{
	return json_text_write(spec->root, ret, ret_len, err);
}

void oci_spec_fini(struct oci_spec *spec)
{
	json_decref(spec->default_seccomp);
	json_decref(spec->root);
	*spec = (struct oci_spec){0};
}

/* ---- setters ---- */

static json_t *process_of(struct oci_spec *spec)
{
	return json_member_object(spec->root, "process");
}

static json_t *linux_of(struct oci_spec *spec)
{
	return json_member_object(spec->root, "linux");
}

/* For the helpers below `object` may be NULL: no memory for it. */
static int set_text(json_t *object, const char *key, const char *text)
{
	return object ? json_set_string(object, key, text) : -ENOMEM;
}

static int set_value(json_t *object, const char *key, json_t *value)
{
	if (object)
		return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
	json_decref(value);
	return -ENOMEM;
}

static int set_texts(json_t *object, const char *key, const char *const *text, size_t n)
{
	json_t *array = json_array();
	int r = set_value(object, key, array);

	for (size_t i = 0; i < n && r == 0; i++)
		r = json_append_string(array, text[i]);
	return r;
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

int oci_set_version(struct oci_spec *spec, const char *version)
{
	return set_text(spec->root, "ociVersion", version);
}

int oci_set_root(struct oci_spec *spec, const char *path, bool readonly)
{
	json_t *root = json_member_object(spec->root, "root");
	int r = set_text(root, "path", path);

	return r < 0 ? r : set_value(root, "readonly", json_boolean(readonly));
}

int oci_set_hostname(struct oci_spec *spec, const char *hostname)
{
	return set_text(spec->root, "hostname", hostname);
}

int oci_set_args(struct oci_spec *spec, const char *const *args, size_t n)
{
	return set_texts(process_of(spec), "args", args, n);
}

int oci_set_env(struct oci_spec *spec, const char *const *env, size_t n)
{
	return set_texts(process_of(spec), "env", env, n);
}

int oci_set_cwd(struct oci_spec *spec, const char *cwd)
{
	return set_text(process_of(spec), "cwd", cwd);
}

int oci_set_user(struct oci_spec *spec, uint32_t uid, uint32_t gid, const uint32_t *groups, size_t n_groups)
{
	json_t *user = json_object();
	json_t *gids = json_array();
	int r = set_value(process_of(spec), "user", user);

	if (r == 0)
		r = set_value(user, "uid", json_integer(uid));
	if (r == 0)
		r = set_value(user, "gid", json_integer(gid));
	if (r < 0) {
		json_decref(gids);
		return r;
	}
	r = set_value(user, "additionalGids", gids);
	if (r == 0)
		r = json_array_append_new(gids, json_integer(gid));
	for (size_t i = 0; i < n_groups && r == 0; i++)
		if (groups[i] != gid)
			r = json_array_append_new(gids, json_integer(groups[i]));
	return r < 0 ? -ENOMEM : 0;
}

int oci_set_terminal(struct oci_spec *spec, bool terminal)
{
	return set_value(process_of(spec), "terminal", json_boolean(terminal));
}

int oci_set_no_new_privs(struct oci_spec *spec, bool on)
{
	return set_value(process_of(spec), "noNewPrivileges", json_boolean(on));
}

int oci_set_cgroups_path(struct oci_spec *spec, const char *path)
{
	return set_text(linux_of(spec), "cgroupsPath", path);
}

int oci_set_sysctl(struct oci_spec *spec, const char *key, const char *value)
{
	json_t *linux_ = linux_of(spec);
	json_t *sysctl = linux_ ? json_member_object(linux_, "sysctl") : NULL;

	return set_text(sysctl, key, value);
}

/* ---- mounts ---- */

int oci_add_mount(struct oci_spec *spec, const char *destination, const char *type, const char *source,
	const char *const *options)
{
	json_t *mounts = json_member_array(spec->root, "mounts");
	json_t *m = json_object();
	int r = set_text(m, "destination", destination);

	if (r == 0)
		r = set_text(m, "type", type);
	if (r == 0)
		r = set_text(m, "source", source);
	if (r == 0)
		r = set_texts(m, "options", options, count(options));
	if (r == 0 && (!mounts || json_array_append(mounts, m) < 0))
		r = -ENOMEM;
	json_decref(m);
	return r;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool text_is(const json_t *object, const char *key, const char *text)
{
	const char *v = text_of(object, key);

	return v && str_eq(v, text);
}

/* Drops the elements of `array` whose `key` is `text`. */
static void remove_where(json_t *array, const char *key, const char *text)
{
	for (size_t i = json_array_size(array); i > 0; i--)
		if (text_is(json_array_get(array, i - 1), key, text))
			(void)json_array_remove(array, i - 1);
}

void oci_remove_mount(struct oci_spec *spec, const char *destination)
{
	remove_where(json_object_get(spec->root, "mounts"), "destination", destination);
}

/* The mounts of that type lose the option "ro" and get "rw". */
static int make_writable(struct oci_spec *spec, const char *type)
{
	json_t *m;
	size_t i;

	json_array_foreach (json_object_get(spec->root, "mounts"), i, m) {
		json_t *options = json_object_get(m, "options");

		if (!text_is(m, "type", type))
			continue;
		for (size_t k = json_array_size(options); k > 0; k--)
			if (str_eq(json_string_value(json_array_get(options, k - 1)), "ro"))
				(void)json_array_remove(options, k - 1);
		if (options && json_array_append_new(options, json_string("rw")) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* ---- namespaces, capabilities, seccomp ---- */

static json_t *namespaces_of(struct oci_spec *spec)
{
	json_t *linux_ = linux_of(spec);

	return linux_ ? json_member_array(linux_, "namespaces") : NULL;
}

int oci_set_namespace(struct oci_spec *spec, const char *type, const char *path)
{
	json_t *list = namespaces_of(spec);
	json_t *ns = json_object();
	int r = set_text(ns, "type", type);

	if (r == 0 && path)
		r = set_text(ns, "path", path);
	if (r == 0) {
		remove_where(list, "type", type);
		if (!list || json_array_append(list, ns) < 0)
			r = -ENOMEM;
	}
	json_decref(ns);
	return r;
}

void oci_remove_namespace(struct oci_spec *spec, const char *type)
{
	remove_where(json_object_get(json_object_get(spec->root, "linux"), "namespaces"), "type", type);
}

int oci_set_capabilities(struct oci_spec *spec, const char *const *names)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	json_t *caps = json_object();
	json_t *linux_ = json_object_get(spec->root, "linux");
	int r = set_value(process_of(spec), "capabilities", caps);

	for (size_t i = 0; i < ARRAY_SIZE(sets) && r == 0; i++)
		r = set_texts(caps, sets[i], names, count(names));
	if (r == 0 && spec->default_seccomp && json_object_get(linux_, "seccomp") == spec->default_seccomp)
		r = oci_set_default_seccomp(spec);
	return r;
}

static void forget_default_seccomp(struct oci_spec *spec)
{
	json_decref(spec->default_seccomp);
	spec->default_seccomp = NULL;
}

int oci_set_default_seccomp(struct oci_spec *spec)
{
	json_t *caps = json_object_get(json_object_get(spec->root, "process"), "capabilities");
	json_t *profile = seccomp_default_profile(json_object_get(caps, "bounding"));
	int r = set_value(linux_of(spec), "seccomp", profile);

	if (r < 0)
		return r;
	forget_default_seccomp(spec);
	spec->default_seccomp = json_incref(profile);
	return 0;
}

int oci_set_seccomp(struct oci_spec *spec, const char *json, size_t len, struct err *err)
{
	json_t *profile;
	int r = json_text_parse(&profile, json, len, OCI_SPEC_MAX, OCI_DEPTH_MAX, err);

	if (r < 0)
		return err_wrap(err, "seccomp profile"), r;
	forget_default_seccomp(spec);
	r = set_value(linux_of(spec), "seccomp", profile);
	return r < 0 ? err_set(err, -r, "seccomp profile: out of memory") : 0;
}

void oci_clear_seccomp(struct oci_spec *spec)
{
	forget_default_seccomp(spec);
	(void)json_object_del(json_object_get(spec->root, "linux"), "seccomp");
}

/* ---- reading ---- */

const char *oci_root_path(const struct oci_spec *spec)
{
	return text_of(json_object_get(spec->root, "root"), "path");
}

bool oci_terminal(const struct oci_spec *spec)
{
	return json_is_true(json_object_get(oci_process(spec), "terminal"));
}

json_t *oci_process(const struct oci_spec *spec)
{
	return json_object_get(spec->root, "process");
}

json_t *oci_linux_resources(struct oci_spec *spec)
{
	json_t *linux_ = linux_of(spec);

	return linux_ ? json_member_object(linux_, "resources") : NULL;
}

const char *oci_annotation(const struct oci_spec *spec, const char *key)
{
	return text_of(json_object_get(spec->root, "annotations"), key);
}

/* ---- whole specs ---- */

static const char *const default_caps[] = {"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER",
	"CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID",
	"CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT", NULL};

static const char *const all_caps[] = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
	"CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN",
	"CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE", NULL};

/* What containerd masks by itself, and /proc/interrupts, which the kubelet adds since 1.33. */
static const char *const masked_paths[] = {"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore",
	"/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware"};

static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static const char *const namespaces[] = {"pid", "ipc", "uts", "mount", "network", "cgroup"};

static const struct {
	const char *destination, *type, *source;
	const char *options[8];
} mounts[] = {
	{"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
	{"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
	{"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	{"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
	{"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
	{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

static int set_devices(struct oci_spec *spec, bool allow)
{
	json_t *list = json_array();
	int r = set_value(oci_linux_resources(spec), "devices", list);

	if (r == 0)
		r = json_array_append_new(list, json_pack("{s:b, s:s}", "allow", (int)allow, "access", "rwm"));
	return r < 0 ? -ENOMEM : 0;
}

static int fill_default(struct oci_spec *spec)
{
	json_t *linux_ = linux_of(spec);
	int r = oci_set_version(spec, OCI_VERSION);

	for (size_t i = 0; i < ARRAY_SIZE(mounts) && r == 0; i++)
		r = oci_add_mount(spec, mounts[i].destination, mounts[i].type, mounts[i].source, mounts[i].options);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces) && r == 0; i++)
		r = oci_set_namespace(spec, namespaces[i], NULL);
	if (r == 0)
		r = oci_set_args(spec, NULL, 0);
	if (r == 0)
		r = oci_set_env(spec, NULL, 0);
	if (r == 0)
		r = oci_set_cwd(spec, "/");
	if (r == 0)
		r = oci_set_user(spec, 0, 0, NULL, 0);
	if (r == 0)
		r = oci_set_no_new_privs(spec, false);
	if (r == 0)
		r = oci_set_capabilities(spec, default_caps);
	if (r == 0)
		r = set_texts(linux_, "maskedPaths", masked_paths, ARRAY_SIZE(masked_paths));
	if (r == 0)
		r = set_texts(linux_, "readonlyPaths", readonly_paths, ARRAY_SIZE(readonly_paths));
	if (r == 0)
		r = set_devices(spec, false);
	return r < 0 ? r : oci_set_default_seccomp(spec);
}

int oci_spec_default(struct oci_spec *ret, struct err *err)
{
	auto_oci_spec struct oci_spec spec = {.root = json_object()};

	if (!spec.root || fill_default(&spec) < 0)
		return err_set(err, ENOMEM, "OCI spec: out of memory");
	*ret = spec;
	spec = (struct oci_spec){0};
	return 0;
}

int oci_set_privileged(struct oci_spec *spec)
{
	json_t *linux_ = linux_of(spec);
	int r;

	if (!linux_)
		return -ENOMEM;
	(void)json_object_del(linux_, "maskedPaths");
	(void)json_object_del(linux_, "readonlyPaths");
	oci_clear_seccomp(spec);
	oci_remove_namespace(spec, "cgroup");
	r = oci_set_capabilities(spec, all_caps);
	if (r == 0)
		r = make_writable(spec, "sysfs");
	if (r == 0)
		r = make_writable(spec, "cgroup");
	return r < 0 ? r : set_devices(spec, true);
}
