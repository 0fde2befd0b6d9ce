/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why mount sources are staged: volumes are written by containers, so a component of a source path can become a symbolic link to the
 * guest's own root at any moment (the subPath attack). openat2(2) resolves each source once, below an allowed folder and
 * without any symbolic link, and the agent binds what it found to a folder of its own, where nobody can change it; crun mounts
 * from there. (A descriptor of ours under /proc cannot be bound in crun's mount namespace: it belongs to another one.)
 *
 * Namespaces: the VM is the pod. Network, IPC and UTS namespaces of the pod are the guest's first ones: the agent uses
 * nothing in them that a container could turn against it (AF_VSOCK is guarded by the peer's CID). PID, mount and cgroup
 * namespaces are each container's own; a shared PID namespace has an init of its own (pause.c), never the agent.
 */
#include "agent/adjust.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "agent/agent.h"
#include "agent/hugetlb.h"
#include "agent/submount.h"
#include "base/bytes.h"
#include "oci/json.h"

#define BPF_ANNOTATION "run.oci.seccomp_bpf_data"

const char *const adjust_sources[] = {SHARED_DIR, VOLUMES_DIR, SHM_DIR, LIVE_DIR, NULL};

/* Sources of these types are no paths. */
static const char *const fs_types[] = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"};

void adjust_close(struct adjust_held *held)
{
	char path[ADJUST_STAGE_MAX + 24];

	while (held->n > 0) {
		(void)snprintf(path, sizeof(path), "%s/%zu", held->stage, --held->n);
		(void)umount2(path, MNT_DETACH);
		(void)remove(path);
	}
}

/* The part of `path` below `base` ("." for base itself), or NULL. */
static const char *below(const char *path, const char *base)
{
	size_t n = strlen(base);

	if (strncmp(path, base, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	path += n;
	path += strspn(path, "/");
	return *path ? path : ".";
}

/* Opens `path` (O_PATH), which must be at or below one of the folders and be reached without symbolic links. */
static int open_allowed(const struct adjust *how, const char *path, const char *what, struct err *err)
{
	struct open_how oh = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

	for (size_t i = 0; how->sources[i]; i++) {
		const char *rest = below(path, how->sources[i]);
		auto_close int base = -1;
		int fd;

		if (!rest)
			continue;
		base = open(how->sources[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (base < 0)
			return err_errno(err, "%s '%.200s': open '%s'", what, path, how->sources[i]);
		submount_take(base, rest);
		fd = (int)syscall(SYS_openat2, base, rest, &oh, sizeof(oh));
		if (fd >= 0)
			return fd;
		if (errno == EXDEV || errno == ELOOP)
			return err_set(
				err, EPERM, "%s '%.200s': leads through a link or out of its folder", what, path);
		return err_set(err, EINVAL, "%s '%.200s': %s", what, path, strerror(errno));
	}
	return err_set(err, EPERM, "%s '%.200s': is not a folder of the pod", what, path);
}

static bool has_option(const json_t *options, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach (options, i, o)
		if (str_eq(json_string_value(o), name))
			return true;
	return false;
}

/* Binds what `fd` is to `path`, a new file or folder. */
static int bind_to(int fd, const char *path, struct err *err)
{
	char from[40];
	struct stat sb;
	int made;

	if (fstat(fd, &sb) < 0)
		return err_errno(err, "look at the source");
	made = S_ISDIR(sb.st_mode) ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0);
	if (made < 0)
		return err_errno(err, "make '%s'", path);
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (mount(from, path, NULL, MS_BIND | MS_REC, NULL) == 0)
		return 0;
	(void)err_errno(err, "bind to '%s'", path);
	(void)remove(path);
	return -err->code;
}

static int hold_source(json_t *m, const struct adjust *how, struct adjust_held *held, struct err *err)
{
	const char *source = json_string_value(json_object_get(m, "source"));
	char path[ADJUST_STAGE_MAX + 24];
	auto_close int fd = -1;
	int r;

	if (!source)
		return err_set(err, EINVAL, "a bind mount without a source");
	fd = open_allowed(how, source, "mount source", err);
	if (fd < 0)
		return fd;
	(void)snprintf(path, sizeof(path), "%s/%zu", held->stage, held->n);
	r = bind_to(fd, path, err);
	if (r < 0)
		return err_wrap(err, "mount source '%.200s'", source);
	held->n++;
	if (json_object_set_new(m, "source", json_string(path)) < 0)
		return err_set(err, ENOMEM, "mounts: out of memory");
	return 0;
}

static int check_mount(json_t *m, const struct adjust *how, struct adjust_held *held, struct err *err)
{
	const char *type = json_string_value(json_object_get(m, "type"));
	const char *destination = json_string_value(json_object_get(m, "destination"));
	const json_t *options = json_object_get(m, "options");
	json_t *o;
	size_t i;

	if (!destination)
		return err_set(err, EINVAL, "a mount without a destination");
	json_array_foreach (options, i, o) {
		/* Options that make crun follow or keep links, or need id maps. */
		const char *text = json_string_value(o);

		if (str_has_prefix(text, "idmap") || str_eq(text, "copy-symlink") || str_eq(text, "src-nofollow"))
			return err_set(err, EINVAL, "mount '%.200s': option '%.60s' is not allowed", destination, text);
	}
	if (type && str_eq(type, "hugetlbfs") && how->volumes) {
		int r = hugetlb_volume(m, how->volumes, err);

		return r < 0 ? err_wrap(err, "mount '%.200s'", destination) : hold_source(m, how, held, err);
	}
	if ((type && str_eq(type, "bind")) || has_option(options, "bind") || has_option(options, "rbind"))
		return hold_source(m, how, held, err);
	for (i = 0; type && i < ARRAY_SIZE(fs_types); i++)
		if (str_eq(type, fs_types[i]))
			return 0;
	return err_set(err, EINVAL, "mount '%.200s': type '%.60s' is not allowed", destination, type ? type : "");
}

static int check_mounts(struct oci_spec *spec, const struct adjust *how, struct adjust_held *held, struct err *err)
{
	json_t *mounts = json_object_get(spec->root, "mounts"), *m;
	size_t i;

	if (json_array_size(mounts) > ADJUST_MOUNTS_MAX)
		return err_set(err, EINVAL, "more than %d mounts", ADJUST_MOUNTS_MAX);
	json_array_foreach (mounts, i, m) {
		int r = check_mount(m, how, held, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A node in the container's root file system, which is the host's: the file server there makes none. So it is made here, and bound like
 * a volume; below /dev, which is the container's own, crun makes it. The stage is on a file system without devices: the bind is with them.
 */
static int hold_device(const json_t *d, struct adjust_held *held, json_t *mounts, struct err *err)
{
	const json_t *mode = json_object_get(d, "fileMode");
	unsigned perms = json_is_integer(mode) ? (unsigned)json_integer_value(mode) & 07777 : 0666;
	dev_t dev = makedev((unsigned)json_integer_value(json_object_get(d, "major")),
		(unsigned)json_integer_value(json_object_get(d, "minor")));
	const char *type = json_string_value(json_object_get(d, "type"));
	char path[ADJUST_STAGE_MAX + 24];

	if (!type || !str_eq(type, "b"))
		return err_set(err, EINVAL, "only a block device can be outside of /dev");
	if (json_array_size(mounts) >= ADJUST_MOUNTS_MAX)
		return err_set(err, EINVAL, "more than %d mounts", ADJUST_MOUNTS_MAX);
	(void)snprintf(path, sizeof(path), "%s/%zu", held->stage, held->n);
	if (mknod(path, S_IFBLK | 0600, dev) < 0)
		return err_errno(err, "make '%s'", path);
	held->n++;
	if (chown(path, (uid_t)json_integer_value(json_object_get(d, "uid")),
		    (gid_t)json_integer_value(json_object_get(d, "gid"))) < 0 ||
		chmod(path, perms) < 0)
		return err_errno(err, "set the owner of '%s'", path);
	if (mount(path, path, NULL, MS_BIND, NULL) < 0 ||
		mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NOEXEC, NULL) < 0)
		return err_errno(err, "bind '%s'", path);
	if (json_array_append_new(mounts, json_pack("{s:O s:s s:s s:[s]}", "destination", json_object_get(d, "path"),
						  "type", "bind", "source", path, "options", "bind")) < 0)
		return err_set(err, ENOMEM, "mounts: out of memory");
	return 0;
}

static int check_devices(struct oci_spec *spec, struct adjust_held *held, struct err *err)
{
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "devices"), *d;
	json_t *mounts = NULL;
	size_t i = 0;

	while ((d = json_array_get(list, i))) {
		const char *path = json_string_value(json_object_get(d, "path"));
		int r;

		if (!path || str_has_prefix(path, "/dev/")) {
			i++;
			continue;
		}
		if (!mounts)
			mounts = json_member_array(spec->root, "mounts");
		r = mounts ? hold_device(d, held, mounts, err) : err_set(err, ENOMEM, "mounts: out of memory");
		if (r < 0)
			return err_wrap(err, "device '%.200s'", path);
		(void)json_array_remove(list, i);
	}
	return 0;
}

static int check_root(struct oci_spec *spec, const struct adjust *how, struct err *err)
{
	const char *path = oci_root_path(spec);
	auto_close int fd = -1;

	if (!path)
		return err_set(err, EINVAL, "root.path is missing");
	fd = open_allowed(how, path, "root.path", err);
	return fd < 0 ? fd : 0;
}

static int set_namespaces(struct oci_spec *spec, const struct adjust *how, struct err *err)
{
	static const char *const pods[] = {"network", "ipc", "uts"};
	json_t *list = json_object_get(json_object_get(spec->root, "linux"), "namespaces"), *ns;
	char path[40];
	size_t i;
	int r;

	json_array_foreach (list, i, ns) {
		const char *type = json_string_value(json_object_get(ns, "type"));

		if (type && (str_eq(type, "user") || str_eq(type, "time")))
			return err_set(err, EINVAL, "linux.namespaces: '%s' is not supported", type);
	}
	for (i = 0; i < ARRAY_SIZE(pods); i++)
		oci_remove_namespace(spec, pods[i]);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", how->pid_ns_pid);
	r = oci_set_namespace(spec, "pid", how->pid_ns_pid ? path : NULL);
	if (r == 0)
		r = oci_set_namespace(spec, "mount", NULL);
	if (r == 0)
		r = oci_set_namespace(spec, "cgroup", NULL);
	return r < 0 ? err_set(err, -r, "linux.namespaces: out of memory") : 0;
}

/* Annotations that crun itself acts on; only the compiled seccomp filter is wanted. */
static void drop_annotations(struct oci_spec *spec)
{
	json_t *annotations = json_object_get(spec->root, "annotations"), *v;
	const char *key;
	void *tmp;

	json_object_foreach_safe (annotations, tmp, key, v)
		if ((str_has_prefix(key, "run.oci.") || str_has_prefix(key, "module.wasm.") ||
			    str_has_prefix(key, "org.systemd.")) &&
			!str_eq(key, BPF_ANNOTATION))
			(void)json_object_del(annotations, key);
}

/* What only means something on the host, or is the pod's and not the container's. */
static void drop_host_fields(struct oci_spec *spec)
{
	json_t *linux_ = json_object_get(spec->root, "linux");
	json_t *cpu = json_object_get(json_object_get(linux_, "resources"), "cpu");
	json_t *process = oci_process(spec);

	(void)json_object_del(spec->root, "hostname");
	(void)json_object_del(spec->root, "domainname");
	(void)json_object_del(process, "apparmorProfile");
	(void)json_object_del(process, "selinuxLabel");
	(void)json_object_del(linux_, "mountLabel");
	(void)json_object_del(linux_, "intelRdt");
	(void)json_object_del(cpu, "cpus");
	(void)json_object_del(cpu, "mems");
}

static int check_fields(const struct oci_spec *spec, const struct adjust *how, struct err *err)
{
	static const char *const refused[] = {"hooks", "solaris", "windows", "vm", "zos"};
	const json_t *linux_ = json_object_get(spec->root, "linux");
	const json_t *maps = json_object_get(linux_, "uidMappings");

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const json_t *v = json_object_get(spec->root, refused[i]);

		if (v && !json_is_null(v) && (!json_is_object(v) || json_object_size(v) > 0))
			return err_set(err, EINVAL, "'%s' is not supported", refused[i]);
	}
	if (json_array_size(maps) > 0 || json_array_size(json_object_get(linux_, "gidMappings")) > 0)
		return err_set(err, EINVAL, "linux.uidMappings: user namespaces are not supported");
	if (json_object_size(json_object_get(linux_, "sysctl")) > 0)
		return err_set(err, EINVAL, "linux.sysctl: kernel settings are the pod's, give them to Configure");
	if (!oci_process(spec) || json_array_size(json_object_get(oci_process(spec), "args")) == 0)
		return err_set(err, EINVAL, "process.args is empty");
	if (oci_terminal(spec) != how->terminal)
		return err_set(err, EINVAL, "process.terminal and the request do not agree");
	return 0;
}

int adjust_spec(struct oci_spec *spec, const struct adjust *how, struct adjust_held *held, struct err *err)
{
	int r = check_fields(spec, how, err);

	held->n = 0;
	(void)str_copy(held->stage, sizeof(held->stage), how->stage);
	if (r == 0)
		r = check_root(spec, how, err);
	if (r == 0)
		r = check_mounts(spec, how, held, err);
	if (r == 0)
		r = check_devices(spec, held, err);
	if (r == 0)
		r = set_namespaces(spec, how, err);
	if (r < 0)
		return r;
	drop_annotations(spec);
	drop_host_fields(spec);
	r = oci_set_cgroups_path(spec, how->cgroup);
	return r < 0 ? err_set(err, -r, "linux.cgroupsPath: out of memory") : 0;
}

int adjust_process(json_t *process, const json_t *base, bool terminal, struct err *err)
{
	static const char *const inherited[] = {"user", "capabilities", "rlimits", "noNewPrivileges", "cwd", "env"};
	const json_t *args = json_object_get(process, "args");
	json_t *arg;
	size_t i;

	if (json_array_size(args) == 0)
		return err_set(err, EINVAL, "process.args is empty");
	json_array_foreach (args, i, arg)
		if (!json_is_string(arg))
			return err_set(err, EINVAL, "process.args[%zu] is no text", i);
	for (i = 0; i < ARRAY_SIZE(inherited); i++) {
		const json_t *own = json_object_get(process, inherited[i]);
		json_t *from = json_object_get(base, inherited[i]);

		if ((!own || json_is_null(own)) && from && json_object_set(process, inherited[i], from) < 0)
			return err_set(err, ENOMEM, "process: out of memory");
	}
	(void)json_object_del(process, "apparmorProfile");
	(void)json_object_del(process, "selinuxLabel");
	if (json_object_set_new(process, "terminal", json_boolean(terminal)) < 0)
		return err_set(err, ENOMEM, "process: out of memory");
	return 0;
}

int adjust_env(json_t *process, const char *const *add, size_t n, struct err *err)
{
	json_t *env = n ? json_copy(json_object_get(process, "env")) : NULL;
	int r = 0;

	if (n == 0)
		return 0;
	if (!env)
		env = json_array();
	if (n > ADJUST_ENV_MAX)
		r = err_set(err, EINVAL, "more than %d variables", ADJUST_ENV_MAX);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *eq = strchr(add[i], '=');
		size_t k = 0, name = eq ? (size_t)(eq - add[i]) + 1 : 0;
		json_t *old;

		if (name < 2) {
			r = err_set(err, EINVAL, "variable '%.80s' is not NAME=VALUE", add[i]);
			break;
		}
		json_array_foreach (env, k, old)
			if (json_is_string(old) && strncmp(json_string_value(old), add[i], name) == 0)
				break;
		if (k < json_array_size(env) ? json_array_set_new(env, k, json_string(add[i]))
					     : json_array_append_new(env, json_string(add[i])))
			r = err_set(err, EINVAL, "variable '%.80s' is no UTF-8", add[i]);
	}
	if (r == 0 && json_object_set(process, "env", env) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	json_decref(env);
	return r;
}
