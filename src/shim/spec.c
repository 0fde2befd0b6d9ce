/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "oci/json.h"
#include "oci/seccomp_bpf.h"

#define GUEST_SHM "/run/podvm/shm"
#define PERIOD_DEFAULT 100000

int spec_read(struct oci_spec *ret, const char *bundle, struct err *err)
{
	char path[PATH_LEN * 2];
	auto_free char *text = NULL;
	size_t len;
	int r = str_format(path, sizeof(path), err, "%s/config.json", bundle);

	if (r == 0)
		r = file_read(AT_FDCWD, path, OCI_SPEC_MAX, &text, &len, err);
	if (r < 0)
		return r;
	if (str_eq(text, "null") || !*text)
		return err_set(err, ENODATA, "'%s' has no spec", path);
	r = oci_spec_parse(ret, text, len, err);
	return r < 0 ? err_wrap(err, "'%s'", path) : 0;
}

const char *spec_text(const struct oci_spec *spec, const char *key)
{
	const char *text = spec->root ? oci_annotation(spec, key) : NULL;

	return text ? text : "";
}

int spec_kind(const struct oci_spec *spec, enum spec_kind *ret, struct err *err)
{
	const char *type = spec_text(spec, ANNOTATION_TYPE);

	if (!*type)
		*ret = SPEC_SINGLE;
	else if (str_eq(type, "sandbox"))
		*ret = SPEC_SANDBOX;
	else if (str_eq(type, "container"))
		*ret = SPEC_CONTAINER;
	else
		return err_set(err, EINVAL, "annotation " ANNOTATION_TYPE " is '%.60s'", type);
	if (*ret == SPEC_CONTAINER && !*spec_text(spec, ANNOTATION_SANDBOX))
		return err_set(err, EINVAL, "a container without the annotation " ANNOTATION_SANDBOX);
	return 0;
}

/* ---- namespaces ---- */

static json_t *namespace_of(const struct oci_spec *spec, const char *type)
{
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "namespaces"), *ns;
	size_t i;

	json_array_foreach (list, i, ns) {
		const char *text = json_string_value(json_object_get(ns, "type"));

		if (text && str_eq(text, type))
			return ns;
	}
	return NULL;
}

const char *spec_namespace_path(const struct oci_spec *spec, const char *type)
{
	const char *path = json_string_value(json_object_get(namespace_of(spec, type), "path"));

	return path && *path ? path : NULL;
}

int spec_pid_namespace(const struct oci_spec *spec, uint32_t *ret, struct err *err)
{
	const char *path = spec_namespace_path(spec, "pid"), *rest = path;
	char number[16] = "";
	uint64_t pid = 0;
	size_t n;

	*ret = 0;
	if (!path)
		return 0;
	if (str_has_prefix(path, "/proc/")) {
		rest += strlen("/proc/");
		n = strcspn(rest, "/");
		(void)snprintf(number, sizeof(number), "%.*s", (int)MIN_OF(n, sizeof(number) - 1), rest);
		rest += n;
	}
	if (!str_eq(rest, "/ns/pid") || str_to_u64(number, INT32_MAX, &pid, NULL) < 0 || pid == 0)
		return err_set(err, EINVAL, "linux.namespaces: pid: '%.200s' is not /proc/PID/ns/pid", path);
	*ret = (uint32_t)pid;
	return 0;
}

static const struct {
	const char *type, *field, *instead;
} host_namespaces[] = {
	{"network", "hostNetwork", "publish ports with hostPort or a Service"},
	{"pid", "hostPID", "look into the pod with kubectl exec, or share the PID namespace of its containers"},
	{"ipc", "hostIPC", "share memory between containers of the pod, which have one IPC namespace"},
};

int spec_refuse_namespace(const char *type, struct err *err)
{
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(host_namespaces) && !str_eq(host_namespaces[i].type, type))
		i++;
	return err_set(err, EINVAL,
		"%s: the pod has a kernel of its own and cannot join the node's %s namespace; %s, or run it with the "
		"default runtime class",
		host_namespaces[i].field, type, host_namespaces[i].instead);
}

int spec_check_namespaces(const struct oci_spec *spec, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_namespaces); i++)
		if (!namespace_of(spec, host_namespaces[i].type))
			return spec_refuse_namespace(host_namespaces[i].type, err);
	return 0;
}

/* ---- size ---- */

static int annotation_number(const struct oci_spec *spec, const char *key, int64_t *ret, struct err *err)
{
	const char *text = spec_text(spec, key);
	uint64_t v;
	int r;

	*ret = 0;
	if (!*text || str_eq(text, "-1"))
		return 0;
	r = str_to_u64(text, INT64_MAX, &v, err);
	if (r < 0)
		return err_wrap(err, "annotation %s", key);
	*ret = (int64_t)v;
	return 0;
}

static int64_t limit_of(const struct oci_spec *spec, const char *section, const char *key)
{
	const json_t *resources = json_object_get(json_object_get(spec->root, "linux"), "resources");

	return json_integer_value(json_object_get(json_object_get(resources, section), key));
}

int spec_size(const struct oci_spec *spec, unsigned *ret_vcpus, uint64_t *ret_memory, struct err *err)
{
	int64_t quota, period, memory;
	int r = annotation_number(spec, "io.kubernetes.cri.sandbox-cpu-quota", &quota, err);

	if (r == 0)
		r = annotation_number(spec, "io.kubernetes.cri.sandbox-cpu-period", &period, err);
	if (r == 0)
		r = annotation_number(spec, "io.kubernetes.cri.sandbox-memory", &memory, err);
	if (r < 0)
		return r;
	if (!*spec_text(spec, ANNOTATION_TYPE)) {
		quota = limit_of(spec, "cpu", "quota");
		period = limit_of(spec, "cpu", "period");
		memory = limit_of(spec, "memory", "limit");
	}
	if (period <= 0)
		period = PERIOD_DEFAULT;
	quota = quota > 0 ? (quota - 1) / period + 1 : 0;
	*ret_vcpus = (unsigned)MIN_OF(quota, INT64_C(1) << 16);
	*ret_memory = memory > 0 ? (uint64_t)memory : 0;
	return 0;
}

const char *spec_cgroups_path(const struct oci_spec *spec)
{
	const char *path = json_string_value(json_object_get(json_object_get(spec->root, "linux"), "cgroupsPath"));

	return path ? path : "";
}

/* ---- mounts ---- */

static bool has_option(const json_t *m, const char *name)
{
	json_t *options = json_object_get(m, "options"), *o;
	size_t i;

	json_array_foreach (options, i, o)
		if (json_is_string(o) && str_eq(json_string_value(o), name))
			return true;
	return false;
}

static void drop_option(json_t *m, const char *name)
{
	json_t *options = json_object_get(m, "options");

	for (size_t i = json_array_size(options); i-- > 0;)
		if (str_eq(json_string_value(json_array_get(options, i)), name))
			(void)json_array_remove(options, i);
}

static bool is_pod_shm(const struct spec_guest *g, const struct spec_mount *m)
{
	return str_eq(m->destination, "/dev/shm") && str_has_suffix(m->source, "/shm") && *g->sandbox_id &&
	       strstr(m->source, g->sandbox_id);
}

/* What src/agent/hugetlb.h takes. */
static int huge_mount(json_t *mount, const struct spec_mount *m, const char *name, struct err *err)
{
	char page[40], mode[24], uid[24], gid[24];
	json_t *o;
	int r;

	(void)snprintf(page, sizeof(page), "pagesize=%llu", (unsigned long long)m->huge_page);
	(void)snprintf(mode, sizeof(mode), "mode=%o", m->mode);
	(void)snprintf(uid, sizeof(uid), "uid=%u", m->uid);
	(void)snprintf(gid, sizeof(gid), "gid=%u", m->gid);
	o = json_pack("{s:s s:s s:[s s s s]}", "type", "hugetlbfs", "source", name, "options", page, mode, uid, gid);
	r = o ? json_object_update(mount, o) : -1;
	if (r == 0 && m->read_only)
		r = json_array_append_new(json_object_get(mount, "options"), json_string("ro"));
	json_decref(o);
	return r < 0 ? err_set(err, ENOMEM, "mounts: out of memory") : 0;
}

static int adjust_bind(json_t *mount, size_t i, const struct spec_guest *g, struct err *err)
{
	const char *source = json_string_value(json_object_get(mount, "source"));
	struct spec_mount m = {.source = source ? source : "",
		.destination = json_string_value(json_object_get(mount, "destination")),
		.read_only = has_option(mount, "ro"),
		.recursive = has_option(mount, "rro"),
		.flat = !has_option(mount, "rbind"),
		.follow = has_option(mount, "rslave") || has_option(mount, "slave")};
	char guest[PATH_LEN] = GUEST_SHM;
	int r = 0;

	if (!m.destination)
		return err_set(err, EINVAL, "a mount without a destination");
	if (has_option(mount, "rshared") || has_option(mount, "shared"))
		return err_set(err, EINVAL,
			"mount '%.200s': mountPropagation Bidirectional: mounts made in the VM cannot appear on the "
			"node; use HostToContainer or None",
			m.destination);
	if (!is_pod_shm(g, &m))
		r = g->bind(g->ctx, i, &m, guest, err);
	if (r < 0)
		return err_wrap(err, "mount '%.200s'", m.destination);
	if (m.huge_page)
		return huge_mount(mount, &m, guest, err);
	if (m.guest_writable)
		drop_option(mount, "ro");
	return json_set_string(mount, "source", guest) < 0 ? err_set(err, ENOMEM, "mounts: out of memory") : 0;
}

static int adjust_mounts(struct oci_spec *spec, const struct spec_guest *g, struct err *err)
{
	json_t *mounts = json_object_get(spec->root, "mounts"), *m;
	size_t i;

	json_array_foreach (mounts, i, m) {
		const char *type = json_string_value(json_object_get(m, "type"));
		int r = 0;

		if ((type && str_eq(type, "bind")) || has_option(m, "bind") || has_option(m, "rbind"))
			r = adjust_bind(m, i, g, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_mount(const struct oci_spec *spec, const char *destination)
{
	json_t *mounts = json_object_get(spec->root, "mounts"), *m;
	size_t i;

	json_array_foreach (mounts, i, m) {
		const char *text = json_string_value(json_object_get(m, "destination"));

		if (text && str_eq(text, destination))
			return true;
	}
	return false;
}

static bool has_tmpfs_shm(const struct oci_spec *spec)
{
	json_t *mounts = json_object_get(spec->root, "mounts"), *m;
	size_t i;

	json_array_foreach (mounts, i, m) {
		const char *text = json_string_value(json_object_get(m, "destination"));
		const char *type = json_string_value(json_object_get(m, "type"));

		if (text && type && str_eq(text, "/dev/shm") && str_eq(type, "tmpfs"))
			return true;
	}
	return false;
}

/* Without a pause container the files of the pod, and its /dev/shm, are ours to give. */
static int add_pod_files(struct oci_spec *spec, const char *folder)
{
	static const char *const files[] = {"hosts", "hostname", "resolv.conf"};
	const json_t *root = json_object_get(spec->root, "root");
	const char *access = json_is_true(json_object_get(root, "readonly")) ? "ro" : "rw";
	const char *const options[] = {"rbind", "rprivate", access, NULL}, *const shm[] = {"rbind", "rprivate", NULL};
	char destination[64], source[PATH_LEN];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) {
		(void)snprintf(destination, sizeof(destination), "/etc/%s", files[i]);
		(void)snprintf(source, sizeof(source), "%s/%s", folder, files[i]);
		if (!has_mount(spec, destination))
			r = oci_add_mount(spec, destination, "bind", source, options);
	}
	if (r < 0)
		return r;
	/* A volume at that place is the user's own. */
	if (!has_tmpfs_shm(spec) && has_mount(spec, "/dev/shm"))
		return 0;
	oci_remove_mount(spec, "/dev/shm");
	return oci_add_mount(spec, "/dev/shm", "bind", GUEST_SHM, shm);
}

/* ---- rights ---- */

/*
 * A privileged container as the CRI writes it has every capability that containerd itself has on the node. In a guest of its own
 * "every" can be meant.
 */
static bool is_unconfined(const struct oci_spec *spec)
{
	const json_t *linux_ = json_object_get(spec->root, "linux");
	json_t *caps = json_object_get(json_object_get(oci_process(spec), "capabilities"), "bounding"), *c;
	size_t i;

	if (!spec_is_privileged(spec) || json_object_get(linux_, "seccomp") ||
		json_array_size(json_object_get(linux_, "maskedPaths")) > 0)
		return false;
	json_array_foreach (caps, i, c)
		if (json_is_string(c) && str_eq(json_string_value(c), "CAP_SYS_ADMIN"))
			return true;
	return false;
}

/* ---- resources ---- */

static void drop_zero_limits(json_t *resources, const char *key)
{
	json_t *list = json_object_get(resources, key);

	for (size_t i = json_array_size(list); i-- > 0;)
		if (json_integer_value(json_object_get(json_array_get(list, i), "limit")) == 0)
			(void)json_array_remove(list, i);
	if (list && json_array_size(list) == 0)
		(void)json_object_del(resources, key);
}

/* cgroup v1 of the host against v2 of the guest. */
void spec_adjust_resources(json_t *resources)
{
	static const char *const memory[] = {"swappiness", "kernel", "kernelTCP", "disableOOMKiller", "useHierarchy"};
	json_t *m = json_object_get(resources, "memory"), *cpu = json_object_get(resources, "cpu");

	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		(void)json_object_del(m, memory[i]);
	(void)json_object_del(cpu, "realtimePeriod");
	(void)json_object_del(cpu, "realtimeRuntime");
	(void)json_object_del(resources, "network");
	drop_zero_limits(resources, "hugepageLimits");
}

/* Annotations that steer crun belong to us: one of the user's must not pass for the compiled filter. */
static void drop_annotations(struct oci_spec *spec)
{
	json_t *annotations = json_object_get(spec->root, "annotations"), *v;
	const char *key;
	void *tmp;

	json_object_foreach_safe (annotations, tmp, key, v)
		if (str_has_prefix(key, "run.oci."))
			(void)json_object_del(annotations, key);
}

int spec_adjust(struct oci_spec *spec, const struct spec_guest *g, struct err *err)
{
	json_t *linux_ = json_object_get(spec->root, "linux");
	json_t *root = json_object_get(spec->root, "root"), *resources;
	int r = spec_adjust_devices(spec, g, err);

	if (r == 0)
		r = adjust_mounts(spec, g, err);
	if (r < 0)
		return r;
	if (g->pod_files)
		r = add_pod_files(spec, g->pod_files);
	if (r < 0)
		return err_set(err, ENOMEM, "spec: out of memory");
	resources = json_object_get(linux_, "resources");
	spec_adjust_resources(resources);
	if (g->limits)
		resize_read(g->limits, resources);
	(void)json_object_del(json_object_get(resources, "cpu"), "cpus");
	(void)json_object_del(json_object_get(resources, "cpu"), "mems");
	drop_annotations(spec);
	/* The pod's own are set once, by Configure. */
	(void)json_object_del(linux_, "sysctl");
	(void)json_object_del(linux_, "rootfsPropagation");
	r = is_unconfined(spec) ? oci_set_privileged(spec) : 0;
	if (r == 0)
		r = oci_set_root(spec, g->rootfs, json_is_true(json_object_get(root, "readonly")));
	if (r == 0)
		r = oci_set_version(spec, OCI_VERSION);
	if (r < 0)
		return err_set(err, ENOMEM, "spec: out of memory");
	return oci_compile_seccomp(spec, path_run(), err);
}
