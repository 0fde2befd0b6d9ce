/* SPDX-License-Identifier: Apache-2.0 */
/* OCI specs made from pods and images. What a case does not say is what oci_spec_default makes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kube/test_kube.h"
#include "oci/image_config.h"
#include "oci/spec.h"

/* An image's root with a few users: web is 1000 and in group 33 (www) and 44 (video). */
static int make_rootfs(void **state)
{
	static const char passwd[] = "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n";
	static const char group[] = "root:x:0:\nwww:x:33:web\nvideo:x:44:root,web\nadm:x:4:root\n";
	char dir[] = "/tmp/podvm-test-spec-XXXXXX";
	struct err err = {0};
	int fd;

	if (!mkdtemp(dir))
		return -1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || mkdirat(fd, "etc", 0755) < 0)
		return -1;
	if (file_write_atomic(fd, "etc/passwd", passwd, strlen(passwd), 0644, &err) < 0 ||
		file_write_atomic(fd, "etc/group", group, strlen(group), 0644, &err) < 0)
		return -1;
	*state = malloc(sizeof(dir) + sizeof(int));
	if (!*state)
		return -1;
	memcpy(*state, &fd, sizeof(fd));
	memcpy((char *)*state + sizeof(int), dir, sizeof(dir));
	return 0;
}

static int remove_rootfs(void **state)
{
	struct err err = {0};
	int r = dir_remove_all(AT_FDCWD, (char *)*state + sizeof(int), &err);

	(void)close(*(int *)*state);
	free(*state);
	return r;
}

#define IMAGE                                                                                                          \
	"\"Entrypoint\": [\"/entry\", \"-e\"], \"Cmd\": [\"cmd\", \"arg\"], \"WorkingDir\": \"/srv\", "                \
	"\"Env\": [\"PATH=/bin\", \"FROM=image\", \"BAD\"]"

struct spec_case {
	const char *yaml;  /* what follows POD */
	const char *image; /* members of the image's "config"; NULL: IMAGE */
	const char *seccomp;
};

static const char *const sources[] = {"/g/v0", "/g/v1", "/g/v2", "/g/v3"};

static int build(struct oci_spec *ret, int rootfs_fd, const struct spec_case *sc, struct err *err)
{
	static const struct kube_spec_paths paths = {
		.rootfs = "/g/rootfs",
		.mount_sources = sources,
		.hosts = "/g/hosts",
		.resolv_conf = "/g/resolv.conf",
		.hostname_file = "/g/hostname",
		.termination_log = "/g/log",
		.shm = "/g/shm",
	};
	struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
	struct image_config image = {0};
	char text[4096];
	int r;

	(void)snprintf(text, sizeof(text), POD "%s", sc->yaml);
	pod = test_load(text);
	(void)snprintf(text, sizeof(text), "{\"config\": {%s}}", sc->image ? sc->image : IMAGE);
	if (image_config_parse(&image, text, strlen(text), err) < 0)
		fail_msg("%s", err->msg);
	r = kube_container_spec(ret, pod, &pod->containers[0], &image, rootfs_fd, &paths, sc->seccomp, err);
	image_config_fini(&image);
	return r;
}

/* The member at a path of names, "process.user"; NULL: absent. */
static const json_t *member(const struct oci_spec *spec, const char *path)
{
	const json_t *at = spec->root;
	char name[64];

	while (at && *path) {
		size_t n = strcspn(path, ".");

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, path);
		at = json_object_get(at, name);
		path += n + (path[n] == '.');
	}
	return at;
}

/* Fails unless the member is the JSON text (NULL: absent). */
static void check_json(const struct oci_spec *spec, const char *path, const char *wanted, const char *yaml)
{
	const json_t *found = member(spec, path);
	json_t *want = wanted ? json_loads(wanted, JSON_DECODE_ANY, NULL) : NULL;

	if (wanted && !want)
		fail_msg("bad test: %s", wanted);
	if (!found != !want || (found && !json_equal(found, want)))
		fail_msg("%s is %s\ninstead of %s\nfor\n%s", path,
			found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : "absent",
			wanted ? wanted : "absent", yaml);
	json_decref(want);
}

#define BIND(destination, source, access)                                                                              \
	"{\"destination\": \"" destination "\", \"type\": \"bind\", \"source\": \"" source                             \
	"\", \"options\": [\"rbind\", \"rprivate\", \"" access "\"]}"
#define CAPS                                                                                                           \
	"[\"CAP_AUDIT_WRITE\", \"CAP_CHOWN\", \"CAP_DAC_OVERRIDE\", \"CAP_FOWNER\", \"CAP_FSETID\", \"CAP_KILL\", "    \
	"\"CAP_MKNOD\", \"CAP_NET_BIND_SERVICE\", \"CAP_NET_RAW\", \"CAP_SETFCAP\", \"CAP_SETGID\", "                  \
	"\"CAP_SETPCAP\", \"CAP_SETUID\", \"CAP_SYS_CHROOT\"]"
#define DEFAULT_MOUNTS                                                                                                 \
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","                                            \
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"                                                              \
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","                                           \
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"                                      \
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","                                     \
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"              \
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","                                  \
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"                                                              \
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","                                           \
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"                                                       \
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","                               \
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]},"

/* The whole of what a plain container gets, seccomp and path lists aside. */
static void test_golden(void **state)
{
	const struct spec_case sc = {.yaml = ""};
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};

	if (build(&spec, *(int *)*state, &sc, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(json_array_size(member(&spec, "linux.maskedPaths")) > 5);
	assert_true(json_array_size(member(&spec, "linux.readonlyPaths")) > 3);
	assert_true(json_is_object(member(&spec, "linux.seccomp")));
	for (size_t i = 0; i < 3; i++) {
		static const char *const aside[] = {"seccomp", "maskedPaths", "readonlyPaths"};

		assert_int_equal(json_object_del(json_object_get(spec.root, "linux"), aside[i]), 0);
	}
	check_json(&spec, "",
		"{\"ociVersion\": \"1.0.2\", \"root\": {\"path\": \"/g/rootfs\", \"readonly\": false},"
		"\"process\": {\"args\": [\"/entry\", \"-e\", \"cmd\", \"arg\"],"
		"\"env\": [\"PATH=/bin\", \"HOSTNAME=p\", \"FROM=image\"], \"cwd\": \"/srv\", \"terminal\": false,"
		"\"user\": {\"uid\": 0, \"gid\": 0, \"additionalGids\": [0, 4, 44]}, \"noNewPrivileges\": false,"
		"\"capabilities\": {\"bounding\": " CAPS ", \"effective\": " CAPS ", \"permitted\": " CAPS "}},"
		"\"mounts\": [" DEFAULT_MOUNTS BIND("/dev/termination-log", "/g/log", "rw") "," BIND(
			"/etc/hosts", "/g/hosts", "rw") "," BIND("/etc/resolv.conf", "/g/resolv.conf",
			"rw") "," BIND("/etc/hostname", "/g/hostname", "rw") "," BIND("/dev/shm", "/g/shm",
			"rw") "],"
			      "\"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"ipc\"}, {\"type\": "
			      "\"uts\"},"
			      "{\"type\": \"mount\"}, {\"type\": \"network\"}, {\"type\": \"cgroup\"}],"
			      "\"resources\": {\"devices\": [{\"allow\": false, \"access\": \"rwm\"}], \"cpu\": "
			      "{\"shares\": 2},"
			      "\"unified\": {\"memory.oom.group\": \"1\"}}}}",
		sc.yaml);
}

#define USER(uid, gid, groups) "{\"uid\": " uid ", \"gid\": " gid ", \"additionalGids\": [" groups "]}"

static const struct {
	struct spec_case sc;
	const char *path, *json;
} facts[] = {
	/* arguments */
	{{"    command: [a, b]\n", NULL}, "process.args", "[\"a\", \"b\"]"},
	{{"    args: [x]\n", NULL}, "process.args", "[\"/entry\", \"-e\", \"x\"]"},
	{{"    command: [a]\n    args: [x]\n", NULL}, "process.args", "[\"a\", \"x\"]"},
	{{"", "\"Cmd\": [\"only\"]"}, "process.args", "[\"only\"]"},
	{{"", "\"Entrypoint\": [\"\"], \"Cmd\": [\"only\"]"}, "process.args", "[\"only\"]"},
	{{"    args: [x]\n", "\"Entrypoint\": [\"\"]"}, "process.args", "[\"x\"]"},
	/* environment */
	{{"    env: [{name: FROM, value: pod}, {name: B, value: \"\"}]\n", NULL}, "process.env",
		"[\"PATH=/bin\", \"HOSTNAME=p\", \"FROM=pod\", \"B=\"]"},
	{{"    tty: true\n", "\"Cmd\": [\"a\"]"}, "process.env",
		"[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\", \"TERM=xterm\", "
		"\"HOSTNAME=p\"]"},
	{{"    tty: true\n    env: [{name: TERM, value: dumb}, {name: HOSTNAME, value: x}]\n", "\"Cmd\": [\"a\"]"},
		"process.env",
		"[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\", \"TERM=dumb\", "
		"\"HOSTNAME=x\"]"},
	{{"    env: [{name: FROMX, value: yy}]\n", NULL}, "process.env",
		"[\"PATH=/bin\", \"HOSTNAME=p\", \"FROM=image\", \"FROMX=yy\"]"},
	{{"    tty: true\n", NULL}, "process.terminal", "true"},
	/* working directory */
	{{"    workingDir: /w\n", NULL}, "process.cwd", "\"/w\""},
	{{"", "\"Cmd\": [\"a\"]"}, "process.cwd", "\"/\""},
	/* user */
	{{"", "\"Cmd\": [\"a\"], \"User\": \"web\""}, "process.user", USER("1000", "1001", "1001, 33, 44")},
	{{"", "\"Cmd\": [\"a\"], \"User\": \"1000:5\""}, "process.user", USER("1000", "1001", "1001, 33, 44")},
	{{"", "\"Cmd\": [\"a\"], \"User\": \"77:5\""}, "process.user", USER("77", "0", "0")},
	{{"    securityContext: {runAsUser: 1000}\n", NULL}, "process.user", USER("1000", "1001", "1001, 33, 44")},
	{{"    securityContext: {runAsUser: 5}\n", NULL}, "process.user", USER("5", "0", "0")},
	{{"    securityContext: {runAsGroup: 7}\n", "\"Cmd\": [\"a\"], \"User\": \"web\""}, "process.user",
		USER("1000", "7", "7, 33, 44")},
	{{"    securityContext: {runAsUser: 5, runAsGroup: 7, runAsNonRoot: true}\n", NULL}, "process.user",
		USER("5", "7", "7")},
	{{"  securityContext: {runAsUser: 1000, fsGroup: 9, supplementalGroups: [33, 8]}\n", NULL}, "process.user",
		USER("1000", "1001", "1001, 8, 9, 33, 44")},
	{{"  securityContext: {runAsUser: 1000, fsGroup: 9, supplementalGroupsPolicy: Strict}\n", NULL}, "process.user",
		USER("1000", "1001", "1001, 9")},
	/* security */
	{{"    securityContext: {allowPrivilegeEscalation: false}\n", NULL}, "process.noNewPrivileges", "true"},
	{{"    securityContext: {readOnlyRootFilesystem: true}\n", NULL}, "root",
		"{\"path\": \"/g/rootfs\", \"readonly\": true}"},
	{{"    securityContext: {capabilities: {drop: [ALL]}}\n", NULL}, "process.capabilities.bounding", "[]"},
	{{"    securityContext: {capabilities: {drop: [ALL], add: [chown, NET_ADMIN]}}\n", NULL},
		"process.capabilities.effective", "[\"CAP_CHOWN\", \"CAP_NET_ADMIN\"]"},
	{{"    securityContext: {capabilities: {drop: [KILL, MKNOD, SETUID, SETGID, SETPCAP, FSETID, FOWNER, "
	  "CHOWN]}}\n",
		 NULL},
		"process.capabilities.permitted",
		"[\"CAP_DAC_OVERRIDE\", \"CAP_NET_BIND_SERVICE\", \"CAP_NET_RAW\", \"CAP_SYS_CHROOT\", "
		"\"CAP_AUDIT_WRITE\", "
		"\"CAP_SETFCAP\"]"},
	{{"    securityContext: {capabilities: {add: [ALL, SYS_TIME], drop: [ALL, SYS_TIME, BPF]}}\n", NULL},
		"process.capabilities.permitted", "[]"},
	{{"    securityContext: {seccompProfile: {type: Unconfined}}\n", NULL}, "linux.seccomp", NULL},
	{{"    securityContext: {seccompProfile: {type: Localhost, localhostProfile: x}}\n", NULL,
		 "{\"defaultAction\": \"A\"}"},
		"linux.seccomp", "{\"defaultAction\": \"A\"}"},
	{{"    securityContext: {privileged: true}\n", NULL}, "linux.seccomp", NULL},
	{{"    securityContext: {privileged: true}\n", NULL}, "linux.maskedPaths", NULL},
	{{"    securityContext: {privileged: true, seccompProfile: {type: RuntimeDefault}}\n", NULL}, "linux.seccomp",
		NULL},
	{{"    securityContext: {procMount: Unmasked}\n", NULL}, "linux.maskedPaths", NULL},
	{{"    securityContext: {procMount: Unmasked}\n", NULL}, "linux.readonlyPaths", NULL},
	/* resources */
	{{"    resources: {limits: {cpu: 1500m}}\n", NULL}, "linux.resources.cpu",
		"{\"shares\": 1536, \"quota\": 150000, \"period\": 100000}"},
	{{"    resources: {limits: {cpu: 1m}}\n", NULL}, "linux.resources.cpu",
		"{\"shares\": 2, \"quota\": 1000, \"period\": 100000}"},
	{{"    resources: {requests: {cpu: 250m}}\n", NULL}, "linux.resources.cpu", "{\"shares\": 256}"},
	{{"    resources: {requests: {cpu: 1000000}}\n", NULL}, "linux.resources.cpu", "{\"shares\": 262144}"},
	{{"    resources: {limits: {cpu: 9223372036854775807}}\n", NULL}, "linux.resources.cpu",
		"{\"shares\": 262144, \"quota\": 109951162777600, \"period\": 100000}"},
	{{"    resources: {limits: {memory: 64Mi}}\n", NULL}, "linux.resources.memory", "{\"limit\": 67108864}"},
	{{"    resources: {requests: {memory: 64Mi}}\n", NULL}, "linux.resources.memory", NULL},
};

static void test_facts(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};

		if (build(&spec, *(int *)*state, &facts[i].sc, &err) < 0)
			fail_msg("%s\n%s", err.msg, facts[i].sc.yaml);
		check_json(&spec, facts[i].path, facts[i].json, facts[i].sc.yaml);
	}
}

static void test_capabilities_change_seccomp(void **state)
{
	const struct spec_case with = {.yaml = "    securityContext: {capabilities: {add: [SYS_ADMIN]}}\n"},
			       without = {.yaml = ""};
	auto_oci_spec struct oci_spec a = {0}, b = {0};
	struct err err = {0};

	assert_int_equal(build(&a, *(int *)*state, &with, &err), 0);
	assert_int_equal(build(&b, *(int *)*state, &without, &err), 0);
	assert_true(json_is_object(member(&a, "linux.seccomp")));
	assert_false(json_equal(member(&a, "linux.seccomp"), member(&b, "linux.seccomp")));
}

static void test_privileged_has_all_capabilities(void **state)
{
	const struct spec_case sc = {.yaml = "    securityContext: {privileged: true, capabilities: {drop: [ALL]}}\n"};
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};

	assert_int_equal(build(&spec, *(int *)*state, &sc, &err), 0);
	assert_int_equal(json_array_size(member(&spec, "process.capabilities.bounding")), 41);
}

/* ---- mounts ---- */

/* "destination source access" of every bind mount, in order. */
static void list_binds(const struct oci_spec *spec, char dst[1024])
{
	const json_t *mounts = member(spec, "mounts"), *m;
	size_t i, at = 0;

	json_array_foreach (mounts, i, m) {
		const json_t *options = json_object_get(m, "options");

		if (str_eq(json_string_value(json_object_get(m, "type")), "bind"))
			at += (size_t)snprintf(dst + at, 1024 - at, "%s %s %s\n",
				json_string_value(json_object_get(m, "destination")),
				json_string_value(json_object_get(m, "source")),
				json_string_value(json_array_get(options, json_array_size(options) - 1)));
	}
}

static void test_mounts(void **state)
{
	static const struct {
		const char *yaml, *binds;
	} table[] = {
		/* Deeper paths come later, whatever the order in the pod. */
		{"    volumeMounts: [{name: v, mountPath: /a/b/c}, {name: v, mountPath: /a}, {name: v, mountPath: "
		 "/a/b, readOnly: true}]\n",
			"/a /g/v1 rw\n/a/b /g/v2 ro\n/dev/termination-log /g/log rw\n/etc/hosts /g/hosts rw\n"
			"/etc/resolv.conf /g/resolv.conf rw\n/etc/hostname /g/hostname rw\n/dev/shm /g/shm rw\n"
			"/a/b/c /g/v0 rw\n"},
		/* What the pod mounts replaces what the runtime would. */
		{"    volumeMounts: [{name: v, mountPath: /dev/shm}, {name: v, mountPath: /etc/hosts},\n"
		 "      {name: v, mountPath: /etc/resolv.conf/}]\n    terminationMessagePath: /tmp/log\n",
			"/dev/shm /g/v0 rw\n/etc/hosts /g/v1 rw\n/etc/resolv.conf /g/v2 rw\n/tmp/log /g/log rw\n"
			"/etc/hostname /g/hostname rw\n"},
		/* A read-only root makes the files of /etc read-only too. */
		{"    securityContext: {readOnlyRootFilesystem: true}\n"
		 "    volumeMounts: [{name: v, mountPath: /r, readOnly: true, recursiveReadOnly: Enabled}]\n",
			"/r /g/v0 rro\n/dev/termination-log /g/log rw\n/etc/hosts /g/hosts ro\n"
			"/etc/resolv.conf /g/resolv.conf ro\n/etc/hostname /g/hostname ro\n/dev/shm /g/shm rw\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};
		char yaml[1024], binds[1024] = "";
		struct spec_case sc = {.yaml = yaml};

		(void)snprintf(yaml, sizeof(yaml), "%s  volumes: [{name: v, emptyDir: {}}]\n", table[i].yaml);
		assert_int_equal(build(&spec, *(int *)*state, &sc, &err), 0);
		list_binds(&spec, binds);
		assert_string_equal(binds, table[i].binds);
	}
}

static void test_mount_over_dev(void **state)
{
	const struct spec_case sc = {
		.yaml = "    volumeMounts: [{name: v, mountPath: /dev}, {name: v, mountPath: /proc}]\n"
			"  volumes: [{name: v, emptyDir: {}}]\n"};
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	const json_t *m;
	size_t i, dev = 0;

	assert_int_equal(build(&spec, *(int *)*state, &sc, &err), 0);
	json_array_foreach (member(&spec, "mounts"), i, m) {
		const char *path = json_string_value(json_object_get(m, "destination"));

		assert_string_not_equal(path, "/dev/pts");
		assert_string_not_equal(path, "/dev/mqueue");
		if (str_eq(path, "/dev") || str_eq(path, "/proc"))
			assert_string_equal(json_string_value(json_object_get(m, "type")), "bind");
		dev += str_eq(path, "/dev") || str_eq(path, "/proc");
	}
	assert_int_equal(dev, 2);
}

/* ---- what cannot be ---- */

static void test_errors(void **state)
{
	static const struct {
		struct spec_case sc;
		int code;
		const char *message;
	} table[] = {
		{{"", "\"Env\": []"}, EINVAL,
			"no command: neither the image i nor the pod gives one; add command to the "
			"container"},
		{{"    securityContext: {runAsNonRoot: true}\n", NULL}, EINVAL,
			"runAsNonRoot is set, but the image i runs as root; set runAsUser"},
		{{"    securityContext: {runAsNonRoot: true}\n", "\"Cmd\": [\"a\"], \"User\": \"root\""}, EINVAL,
			"runAsNonRoot is set, but the image i runs as root; set runAsUser"},
		{{"", "\"Cmd\": [\"a\"], \"User\": \"nobody\""}, ENOENT,
			"user 'nobody' is not in the image's /etc/passwd"},
		{{"    securityContext: {seccompProfile: {type: Localhost, localhostProfile: p.json}}\n", NULL}, EINVAL,
			"the seccomp profile p.json was not read"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};

		assert_int_equal(build(&spec, *(int *)*state, &table[i].sc, &err), -table[i].code);
		assert_string_equal(err.msg, table[i].message);
		assert_null(spec.root);
	}
}

static void test_bad_seccomp_profile(void **state)
{
	const struct spec_case sc = {
		"    securityContext: {seccompProfile: {type: Localhost, localhostProfile: p.json}}\n", NULL, "{"};
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};

	assert_true(build(&spec, *(int *)*state, &sc, &err) < 0);
	assert_true(str_has_prefix(err.msg, "p.json: seccomp profile: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_capabilities_change_seccomp),
		cmocka_unit_test(test_privileged_has_all_capabilities),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_mount_over_dev),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_bad_seccomp_profile),
	};

	return cmocka_run_group_tests(tests, make_rootfs, remove_rootfs);
}
