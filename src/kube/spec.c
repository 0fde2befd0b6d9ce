/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's OCI spec, made the way the kubelet and containerd's CRI plugin make it together: the default spec, then what
 * the image says, then what the pod says. Namespaces by path, cgroup path and devices are the agent's to fill in.
 *
 * Differences from a cluster, on purpose: no swap settings (the guest has none), and runAsNonRoot also works with a user
 * name in the image, because the name is looked up before the check.
 */
#include "kube/kube.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/pool.h"
#include "kube/value.h"
#include "oci/image_config.h"
#include "oci/spec.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SCRATCH_MAX (16u << 20)
#define CPU_PERIOD 100000u
#define CPU_QUOTA_MIN 1000u
#define CPU_SHARES_MIN 2u
#define CPU_SHARES_MAX 262144u

struct build {
	struct oci_spec *spec;
	const struct kube_pod *pod;
	const struct kube_container *c;
	const struct image_config *image;
	struct pool scratch;
	struct err *err;
};

/* Turns a setter's code into a message. */
static int check(struct build *b, int r, const char *what)
{
	if (r == 0)
		return 0;
	if (r == -EILSEQ)
		return err_set(b->err, EINVAL, "%s of the image: not UTF-8 text", what);
	return err_set(b->err, -r, "%s: out of memory", what);
}

/* ---- arguments and environment ---- */

static size_t count(char *const *list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

static int set_args(struct build *b)
{
	const struct kube_container *c = b->c;
	/* An entrypoint of one empty string is how an image says that it has none. */
	bool no_entrypoint = !b->image->entrypoint[0] ||
			     (str_eq(b->image->entrypoint[0], "") && !b->image->entrypoint[1]);
	char *const *first = c->has_command ? c->command.v : b->image->entrypoint;
	size_t n_first = c->has_command ? c->command.n : no_entrypoint ? 0 : count(b->image->entrypoint);
	/* With a command of its own the image's arguments mean nothing. */
	char *const *rest = c->has_args ? c->args.v : b->image->cmd;
	size_t n_rest = c->has_args ? c->args.n : c->has_command ? 0 : count(b->image->cmd);
	const char **args = pool_array(&b->scratch, n_first + n_rest + 1, sizeof(*args));

	if (!args)
		return check(b, -ENOMEM, "arguments");
	for (size_t i = 0; i < n_first; i++)
		args[i] = first[i];
	for (size_t i = 0; i < n_rest; i++)
		args[n_first + i] = rest[i];
	if (n_first + n_rest == 0)
		return err_set(b->err, EINVAL,
			"no command: neither the image %s nor the pod gives one; add command to the container",
			c->image);
	return check(b, oci_set_args(b->spec, args, n_first + n_rest), "arguments");
}

struct env {
	const char **v;
	size_t n;
};

/* "K=V" in the place of an earlier K, else at the end. */
static void env_put(struct env *e, const char *entry)
{
	size_t key = strcspn(entry, "=");
	size_t i = 0;

	if (!key || !entry[key])
		return;
	while (i < e->n && strncmp(e->v[i], entry, key + 1) != 0)
		i++;
	e->v[i] = entry;
	e->n += i == e->n;
}

static int set_env(struct build *b)
{
	struct env e = {.v = pool_array(&b->scratch, 3 + count(b->image->env) + b->c->n_env, sizeof(char *))};
	char *hostname = pool_printf(&b->scratch, "HOSTNAME=%s", b->pod->hostname);

	if (!e.v || !hostname)
		return check(b, -ENOMEM, "environment");
	env_put(&e, DEFAULT_PATH);
	if (b->c->tty)
		env_put(&e, "TERM=xterm");
	env_put(&e, hostname);
	for (size_t i = 0; b->image->env[i]; i++)
		env_put(&e, b->image->env[i]);
	for (size_t i = 0; i < b->c->n_env; i++) {
		char *entry = pool_printf(&b->scratch, "%s=%s", b->c->env[i].key, b->c->env[i].value);

		if (!entry)
			return check(b, -ENOMEM, "environment");
		env_put(&e, entry);
	}
	return check(b, oci_set_env(b->spec, e.v, e.n), "environment");
}

/* ---- user ---- */

static int compare_ids(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The image's groups of the user (unless the policy is Strict), the pod's groups and fsGroup, each once. */
static int set_groups(struct build *b, const struct image_user *user)
{
	const struct kube_pod *pod = b->pod;
	size_t n = 0, kept = 0, n_image = pod->groups_strict ? 0 : user->n_groups;
	uint32_t *groups = pool_array(&b->scratch, n_image + pod->n_supplemental_groups + 1, sizeof(*groups));

	if (!groups)
		return check(b, -ENOMEM, "groups");
	for (size_t i = 0; i < n_image; i++)
		groups[n++] = user->groups[i];
	for (size_t i = 0; i < pod->n_supplemental_groups; i++)
		groups[n++] = pod->supplemental_groups[i];
	if (pod->fs_group.set)
		groups[n++] = pod->fs_group.v;
	qsort(groups, n, sizeof(*groups), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (!kept || groups[kept - 1] != groups[i])
			groups[kept++] = groups[i];
	return check(b, oci_set_user(b->spec, user->uid, user->gid, groups, kept), "user");
}

/*
 * The kubelet tells the runtime the user of an image without its group ("1000:2000" is "1000"), so the group is the one of
 * /etc/passwd, or root, unless the pod names one.
 */
static int set_user(struct build *b, int rootfs_fd)
{
	const struct kube_security *s = &b->c->security;
	size_t n = strcspn(b->image->user, ":");
	struct image_user user = {0};
	char text[300];
	int r, len;

	if (s->run_as_user.set)
		len = snprintf(text, sizeof(text), "%u", s->run_as_user.v);
	else
		len = snprintf(
			text, sizeof(text), "%.*s", n ? (int)MIN_OF(n, sizeof(text)) : 1, n ? b->image->user : "0");
	if (len >= 0 && (size_t)len < sizeof(text) && s->run_as_group.set)
		len += snprintf(text + len, sizeof(text) - (size_t)len, ":%u", s->run_as_group.v);
	if (len < 0 || (size_t)len >= sizeof(text))
		return err_set(b->err, EINVAL, "the user name of the image is too long");
	r = image_user_resolve(&user, rootfs_fd, text, b->err);
	if (r < 0)
		return r;
	if (s->run_as_non_root && user.uid == 0)
		return err_set(b->err, EINVAL, "runAsNonRoot is set, but the image %s runs as root; set runAsUser",
			b->c->image);
	return set_groups(b, &user);
}

/* ---- security ---- */

static uint64_t capability_bit(const char *name)
{
	int i = value_capability(name);

	return i < 0 ? 0 : 1ull << i;
}

static uint64_t capability_list(const struct kube_strings *list, bool *ret_all)
{
	uint64_t bits = 0;

	*ret_all = false;
	for (size_t i = 0; i < list->n; i++) {
		*ret_all |= str_eq(list->v[i], "ALL");
		bits |= capability_bit(list->v[i]);
	}
	return bits;
}

/* ALL first, on either side, then single ones: add ALL, drop CHOWN leaves all but CHOWN; drop ALL, add CHOWN leaves CHOWN. */
static int set_capabilities(struct build *b)
{
	const json_t *caps = json_object_get(oci_process(b->spec), "capabilities");
	const json_t *bounding = json_object_get(caps, "bounding");
	char names[VALUE_CAPABILITIES][24];
	const char *list[VALUE_CAPABILITIES + 1];
	bool add_all, drop_all;
	uint64_t set = 0, add = capability_list(&b->c->security.cap_add, &add_all),
		 drop = capability_list(&b->c->security.cap_drop, &drop_all);
	size_t n = 0;

	if (!b->c->security.cap_add.n && !b->c->security.cap_drop.n)
		return 0;
	for (size_t i = 0; i < json_array_size(bounding); i++)
		set |= capability_bit(json_string_value(json_array_get(bounding, i)) + strlen("CAP_"));
	if (add_all)
		set = (1ull << VALUE_CAPABILITIES) - 1;
	if (drop_all)
		set = 0;
	set = (set | add) & ~drop;
	for (size_t i = 0; i < VALUE_CAPABILITIES; i++) {
		if (!(set & 1ull << i))
			continue;
		(void)snprintf(names[n], sizeof(names[n]), "CAP_%s", value_capability_names[i]);
		list[n] = names[n];
		n++;
	}
	list[n] = NULL;
	return check(b, oci_set_capabilities(b->spec, list), "capabilities");
}

static int set_seccomp(struct build *b, const char *profile)
{
	const struct kube_security *s = &b->c->security;

	switch (s->seccomp) {
	case KUBE_SECCOMP_RUNTIME_DEFAULT:
		return 0;
	case KUBE_SECCOMP_UNCONFINED:
		oci_clear_seccomp(b->spec);
		return 0;
	case KUBE_SECCOMP_LOCALHOST:
		break;
	}
	if (!profile)
		return err_set(b->err, EINVAL, "the seccomp profile %s was not read", s->seccomp_profile);
	if (oci_set_seccomp(b->spec, profile, strlen(profile), b->err) < 0)
		return err_wrap(b->err, "%s", s->seccomp_profile);
	return 0;
}

static int set_security(struct build *b, const char *seccomp_json)
{
	const struct kube_security *s = &b->c->security;
	json_t *linux_ = json_object_get(b->spec->root, "linux");
	int r = check(b, oci_set_no_new_privs(b->spec, s->no_new_privs), "no_new_privs");

	/* Containerd gives a privileged container all capabilities and no filter, whatever else is written. */
	if (r == 0 && s->privileged)
		return check(b, oci_set_privileged(b->spec), "privileges");
	if (r == 0 && s->proc_unmasked) {
		(void)json_object_del(linux_, "maskedPaths");
		(void)json_object_del(linux_, "readonlyPaths");
	}
	if (r == 0)
		r = set_capabilities(b);
	return r < 0 ? r : set_seccomp(b, seccomp_json);
}

/* ---- resources ---- */

static int put_integer(json_t *object, const char *key, uint64_t v)
{
	return json_object_set_new(object, key, json_integer((json_int_t)v)) < 0 ? -ENOMEM : 0;
}

static int put_object(json_t *object, const char *key, json_t **ret)
{
	*ret = json_object();
	return json_object_set_new(object, key, *ret) < 0 ? -ENOMEM : 0;
}

static int put_cpu(json_t *cpu, const struct kube_resources *res)
{
	uint64_t shares = res->cpu_request_milli / 1000 * 1024 + res->cpu_request_milli % 1000 * 1024 / 1000;
	uint64_t limit = MIN_OF(res->cpu_limit_milli, (uint64_t)1 << 40), quota = limit * (CPU_PERIOD / 1000);
	int r = put_integer(cpu, "shares", MAX_OF(MIN_OF(shares, CPU_SHARES_MAX), CPU_SHARES_MIN));

	if (r < 0 || !limit)
		return r;
	r = put_integer(cpu, "quota", MAX_OF(quota, CPU_QUOTA_MIN));
	return r < 0 ? r : put_integer(cpu, "period", CPU_PERIOD);
}

static int set_resources(struct build *b)
{
	const struct kube_resources *res = &b->c->resources;
	json_t *resources = oci_linux_resources(b->spec), *cpu = NULL, *memory = NULL, *unified = NULL;
	int r = resources ? put_object(resources, "cpu", &cpu) : -ENOMEM;

	if (r == 0)
		r = put_cpu(cpu, res);
	if (r == 0 && res->memory_limit) {
		r = put_object(resources, "memory", &memory);
		if (r == 0)
			r = put_integer(memory, "limit", MIN_OF(res->memory_limit, (uint64_t)INT64_MAX));
	}
	/* A container out of memory ends as a whole, not with a random process missing: the kubelet's choice on cgroup v2. */
	if (r == 0)
		r = put_object(resources, "unified", &unified);
	if (r == 0 && json_object_set_new(unified, "memory.oom.group", json_string("1")) < 0)
		r = -ENOMEM;
	return check(b, r, "resources");
}

/* ---- mounts ---- */

struct mount {
	const char *path, *source;
	const char *access; /* "rw", "ro", "rro" */
	size_t depth;	    /* parts of the path */
	size_t order;
};

struct mounts {
	struct mount *v;
	size_t n;
};

static size_t depth_of(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path != '/' && (path[1] == '/' || !path[1]);
	return n;
}

static void add_mount(struct mounts *m, const char *path, const char *source, const char *access)
{
	m->v[m->n] = (struct mount){
		.path = path, .source = source, .access = access, .depth = depth_of(path), .order = m->n};
	m->n++;
}

static bool is_mounted(const struct kube_container *c, const char *path)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (str_eq(c->mounts[i].path, path))
			return true;
	return false;
}

/* What the runtime puts into a container, unless the pod mounts something of its own there. */
static void add_default(
	struct mounts *m, const struct kube_container *c, const char *path, const char *source, const char *access)
{
	if (source && !is_mounted(c, path))
		add_mount(m, path, source, access);
}

static int compare_mounts(const void *a, const void *b)
{
	const struct mount *x = a, *y = b;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* A mount of the pod on /dev hides the runtime's own below it. */
static void remove_replaced(struct oci_spec *spec, const struct kube_container *c)
{
	json_t *list = json_object_get(spec->root, "mounts");

	for (size_t i = 0; i < c->n_mounts; i++)
		oci_remove_mount(spec, c->mounts[i].path);
	for (size_t i = is_mounted(c, "/dev") ? json_array_size(list) : 0; i > 0; i--) {
		const json_t *path = json_object_get(json_array_get(list, i - 1), "destination");

		if (str_has_prefix(json_string_value(path), "/dev/"))
			(void)json_array_remove(list, i - 1);
	}
}

static int set_mounts(struct build *b, const struct kube_spec_paths *paths)
{
	const struct kube_container *c = b->c;
	const char *etc = c->security.read_only_rootfs ? "ro" : "rw";
	struct mounts m = {.v = pool_array(&b->scratch, c->n_mounts + 5, sizeof(*m.v))};
	int r = 0;

	if (!m.v)
		return check(b, -ENOMEM, "mounts");
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct kube_mount *mount = &c->mounts[i];

		add_mount(&m, mount->path, paths->mount_sources[i],
			!mount->read_only	     ? "rw"
			: mount->recursive_read_only ? "rro"
						     : "ro");
	}
	add_default(&m, c, c->termination_message_path, paths->termination_log, "rw");
	add_default(&m, c, "/etc/hosts", paths->hosts, etc);
	add_default(&m, c, "/etc/resolv.conf", paths->resolv_conf, etc);
	add_default(&m, c, "/etc/hostname", paths->hostname_file, etc);
	add_default(&m, c, "/dev/shm", paths->shm, "rw");
	if (m.n)
		qsort(m.v, m.n, sizeof(*m.v), compare_mounts);
	remove_replaced(b->spec, c);
	for (size_t i = 0; r == 0 && i < m.n; i++) {
		const char *options[] = {"rbind", "rprivate", m.v[i].access, NULL};

		r = oci_add_mount(b->spec, m.v[i].path, "bind", m.v[i].source, options);
	}
	return check(b, r, "mounts");
}

/* ---- the spec ---- */

static int build_spec(struct build *b, int rootfs_fd, const struct kube_spec_paths *paths, const char *seccomp_json)
{
	const char *cwd = b->c->working_dir ? b->c->working_dir : b->image->working_dir;
	int r = check(b, oci_set_root(b->spec, paths->rootfs, b->c->security.read_only_rootfs), "root");

	if (r == 0)
		r = set_args(b);
	if (r == 0)
		r = set_env(b);
	if (r == 0)
		r = check(b, oci_set_cwd(b->spec, *cwd ? cwd : "/"), "working directory");
	if (r == 0)
		r = check(b, oci_set_terminal(b->spec, b->c->tty), "terminal");
	if (r == 0)
		r = set_user(b, rootfs_fd);
	if (r == 0)
		r = set_mounts(b, paths);
	if (r == 0)
		r = set_resources(b);
	return r < 0 ? r : set_security(b, seccomp_json);
}

int kube_container_spec(struct oci_spec *ret, const struct kube_pod *pod, const struct kube_container *c,
	const struct image_config *image, int rootfs_fd, const struct kube_spec_paths *paths, const char *seccomp_json,
	struct err *err)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct build b = {.spec = &spec, .pod = pod, .c = c, .image = image, .scratch.limit = SCRATCH_MAX, .err = err};
	int r = oci_spec_default(&spec, err);

	if (r == 0)
		r = build_spec(&b, rootfs_fd, paths, seccomp_json);
	pool_fini(&b.scratch);
	if (r < 0)
		return r;
	*ret = spec;
	spec = (struct oci_spec){0};
	return 0;
}
