/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim reads and writes without doing anything: options, bootstrap, answers, ids, specs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "shim/disks.h"
#include "shim/start.h"

/* ---- options ---- */

static void options_are_read(void **state)
{
	char text[] = "# mine\ndriver = \"qemu\"\n  vcpus = 2   # two\n\nmemory=1024\r\ndisks = 8\n",
	     none[] = "disks = 0";
	const struct bootstrap nothing = {0};
	struct shim_options o;

	assert_int_equal(bootstrap_options(&nothing, &o, NULL), 0);
	assert_int_equal(o.disks, SHIM_DISKS_DEFAULT);
	assert_int_equal(options_parse(&o, text, sizeof(text) - 1, NULL), 0);
	assert_int_equal(o.driver, DRIVER_QEMU);
	assert_int_equal(o.vcpus, 2);
	assert_int_equal(o.memory, UINT64_C(1) << 30);
	assert_int_equal(o.disks, 8);
	assert_int_equal(options_parse(&o, none, sizeof(none) - 1, NULL), 0);
	assert_int_equal(o.disks, 0);
}

static void bad_options_are_named(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{"vcpu = 1", "line 1: unknown key 'vcpu'"},
		{"\n\nvcpus", "line 3: 'vcpus' is not KEY = VALUE"},
		{"vcpus = 0", "vcpus is too small"},
		{"vcpus = 33", "vcpus"},
		{"vcpus = -1", "vcpus"},
		{"memory = 63", "memory is too small"},
		{"disks = 9", "disks"},
		{"memory = 99999999999999999999", "memory"},
		{"driver = qemu", "driver is"},
		{"driver = \"kvm\"", "driver is"},
		{"[options]", "line 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct shim_options o = {0};
		struct err err = {0};
		char text[100];

		assert_true(str_copy(text, sizeof(text), rows[i].text));
		assert_int_equal(options_parse(&o, text, strlen(text), &err) < 0, 1);
		if (!strstr(err.msg, rows[i].message))
			fail_msg("row %zu: '%s' has not '%s'", i, err.msg, rows[i].message);
	}
}

/* ---- what start gets and answers ---- */

static size_t pack_any(uint8_t *dst, const char *type, const char *path)
{
	Ctrd__RuntimeOptions o = CTRD__RUNTIME_OPTIONS__INIT;
	Ctrd__Any any = CTRD__ANY__INIT;
	uint8_t value[300];

	o.config_path = (char *)(uintptr_t)path;
	any.type_url = (char *)(uintptr_t)type;
	any.value.data = value;
	any.value.len = ctrd__runtime_options__pack(&o, value);
	return ctrd__any__pack(&any, dst);
}

static void stdin_with_options(void **state)
{
	struct bootstrap b;
	uint8_t bytes[500];
	size_t n = pack_any(bytes, "runtimeoptions.v1.Options", "/etc/podvm.toml");

	assert_int_equal(bootstrap_parse(&b, "x", bytes, n, NULL), 0);
	assert_string_equal(b.config_path, "/etc/podvm.toml");
	assert_string_equal(b.version, "");
	bootstrap_fini(&b);
	n = pack_any(bytes, "containerd.runc.v1.Options", "/not/ours");
	assert_int_equal(bootstrap_parse(&b, "x", bytes, n, NULL), 0);
	assert_string_equal(b.config_path, "");
	assert_int_equal(bootstrap_parse(&b, "x", NULL, 0, NULL), 0);
}

static void stdin_with_parameters(void **state)
{
	Ctrd__BootstrapParams p = CTRD__BOOTSTRAP_PARAMS__INIT;
	struct bootstrap b;
	uint8_t bytes[500];
	size_t n;

	p.instance_id = (char *)(uintptr_t) "abc";
	p.containerd_version = (char *)(uintptr_t) "v2.3.0";
	p.ttrpc_address = (char *)(uintptr_t) "/run/c.ttrpc";
	n = ctrd__bootstrap_params__pack(&p, bytes);
	assert_int_equal(bootstrap_parse(&b, "abc", bytes, n, NULL), 0);
	assert_string_equal(b.version, "v2.3.0");
	assert_string_equal(b.ttrpc_address, "/run/c.ttrpc");
	bootstrap_fini(&b);
}

static void stdin_hostile(void **state)
{
	static const char *const rows[] = {"\xff\xff\xff", "hello", "\x0a\x7f", "\x0a\x01"};
	struct bootstrap b;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = {0};

		assert_int_equal(bootstrap_parse(&b, "x", (const uint8_t *)rows[i], strlen(rows[i]), &err), -EINVAL);
		assert_true(*err.msg != '\0');
	}
}

static void answers_fit_the_version(void **state)
{
	static const struct {
		const char *version, *oci;
		bool json;
		const char *answer;
	} rows[] = {
		{"", "1.0.2-dev", false, "unix:///s"},
		{"", "1.1.0", true, "{\"version\":2,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}"},
		{"", "1.2.1", true, "{\"version\":3,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}"},
		{"", "", true, "{\"version\":2,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}"},
		{"v2.3.1", "", true, "{\"version\":3,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}"},
		{"1.7.30", "1.2.1", true, "{\"version\":2,\"address\":\"unix:///s\",\"protocol\":\"ttrpc\"}"},
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(
			shim_answer(text, sizeof(text), "unix:///s", rows[i].version, rows[i].oci, rows[i].json, NULL),
			0);
		assert_string_equal(text, rows[i].answer);
	}
}

static void ids(void **state)
{
	const char *cri = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char a[POD_ID_LEN + 1], b[POD_ID_LEN + 1], id[STREAM_ID_MAX + 1];

	shim_pod_id(a, "k8s.io", cri);
	assert_string_equal(a, "0123456789ab");
	shim_pod_id(a, "default", "web");
	shim_pod_id(b, "moby", "web");
	assert_string_not_equal(a, b);
	assert_int_equal(strspn(a, "0123456789abcdef"), POD_ID_LEN);
	task_agent_id(id, "web");
	assert_string_equal(id, "web");
	task_agent_id(id, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg");
	assert_int_equal(strlen(id), 64);
	assert_true(task_id_valid("a.b-c_D9"));
	assert_false(task_id_valid(""));
	assert_false(task_id_valid("../x"));
	assert_false(task_id_valid("a/b"));
	assert_false(task_id_valid(".x"));
}

/* ---- specs ---- */

#define NAMESPACES                                                                                                     \
	"\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":\"/run/netns/"                                      \
	"a\"},{\"type\":\"pid\"},{\"type\":\"ipc\"}]"

static void parse(struct oci_spec *spec, const char *json)
{
	struct err err = {0};

	if (oci_spec_parse(spec, json, strlen(json), &err) < 0)
		fail_msg("%s: %s", json, err.msg);
}

static void host_namespaces_are_refused(void **state)
{
	static const struct {
		const char *json, *word;
	} rows[] = {
		{"{" NAMESPACES "}}", NULL},
		{"{\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"}]}}", "hostNetwork"},
		{"{\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"ipc\"}]}}", "hostPID"},
		{"{\"linux\":{\"namespaces\":[{\"type\":\"network\"},{\"type\":\"pid\"}]}}", "hostIPC"},
		{"{}", "hostNetwork"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};

		parse(&spec, rows[i].json);
		assert_int_equal(spec_check_namespaces(&spec, &err), rows[i].word ? -EINVAL : 0);
		assert_true(!rows[i].word || strstr(err.msg, rows[i].word));
	}
}

static void pid_namespaces_by_path(void **state)
{
	static const struct {
		const char *path; /* JSON */
		int r;
		uint32_t pid;
	} rows[] = {
		{"\"/proc/1234/ns/pid\"", 0, 1234},
		{"\"/proc/4194305/ns/pid\"", 0, 4194305},
		{"\"/proc/2147483647/ns/pid\"", 0, 2147483647},
		{"\"\"", 0, 0},
		{"null", 0, 0},
		{"\"/proc/0/ns/pid\"", -EINVAL, 0},
		{"\"/proc/2147483648/ns/pid\"", -EINVAL, 0},
		{"\"/proc/99999999999999999999/ns/pid\"", -EINVAL, 0},
		{"\"/proc/self/ns/pid\"", -EINVAL, 0},
		{"\"/proc//ns/pid\"", -EINVAL, 0},
		{"\"/proc/12/ns/net\"", -EINVAL, 0},
		{"\"/proc/12/ns/pid/x\"", -EINVAL, 0},
		{"\"/run/ns/pid\"", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		char json[200];
		uint32_t pid = 7;
		int r;

		(void)snprintf(json, sizeof(json), "{\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":%s}]}}",
			rows[i].path);
		parse(&spec, json);
		r = spec_pid_namespace(&spec, &pid, NULL);
		if (r != rows[i].r || pid != rows[i].pid)
			fail_msg("%s: %d, pid %u", rows[i].path, r, pid);
	}
}

static void size_of_the_pod(void **state)
{
	static const struct {
		const char *json;
		int r;
		unsigned vcpus;
		uint64_t memory;
	} rows[] = {
		{"{}", 0, 0, 0},
		{"{\"linux\":{\"resources\":{\"cpu\":{\"quota\":150000,\"period\":100000},\"memory\":{\"limit\":"
		 "1048576}}}}",
			0, 2, 1048576},
		{"{\"linux\":{\"resources\":{\"cpu\":{\"quota\":-1},\"memory\":{\"limit\":-1}}}}", 0, 0, 0},
		{"{\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\",\"io.kubernetes.cri.sandbox-cpu-"
		 "quota\":"
		 "\"50000\",\"io.kubernetes.cri.sandbox-cpu-period\":\"100000\",\"io.kubernetes.cri.sandbox-memory\":"
		 "\"4096\"}}",
			0, 1, 4096},
		{"{\"annotations\":{\"io.kubernetes.cri.sandbox-memory\":\"lots\"}}", -EINVAL, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		unsigned vcpus = 0;
		uint64_t memory = 0;
		struct err err = {0};

		parse(&spec, rows[i].json);
		assert_int_equal(spec_size(&spec, &vcpus, &memory, &err), rows[i].r);
		assert_int_equal(vcpus, rows[i].vcpus);
		assert_int_equal(memory, rows[i].memory);
	}
}

static int fake_bind(void *ctx, size_t i, struct spec_mount *m, char ret_guest[PATH_LEN], struct err *err)
{
	(void)snprintf(ret_guest, PATH_LEN, "/guest/%zu", i);
	m->guest_writable = str_eq(m->destination, "/tree");
	return str_eq(m->source, "/bad") ? err_set(err, EINVAL, "bad") : 0;
}

static unsigned notes;

static void fake_note(void *ctx, const char *text)
{
	notes++;
}

static char disks[400]; /* what fake_disk was given, a line each */

static int fake_disk(void *ctx, const struct spec_disk *d, struct err *err)
{
	size_t n = strlen(disks);

	(void)snprintf(disks + n, sizeof(disks) - n, "%s %u:%u %s\n", d->path, d->major, d->minor, d->access);
	return d->minor == 13 ? err_set(err, ENODEV, "not there") : 0;
}

static int adjust(const char *json, struct oci_spec *spec, struct err *err)
{
	struct spec_guest g = {.rootfs = "/guest/rootfs",
		.sandbox_id = "box",
		.bind = fake_bind,
		.disk = fake_disk,
		.note = fake_note};

	parse(spec, json);
	return spec_adjust(spec, &g, err);
}

static void mounts_become_the_guests(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	json_t *mounts;
	const char *json =
		"{\"ociVersion\":\"1.2.1\",\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"mounts\":["
		"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/run/sandboxes/box/"
		"shm\",\"options\":[\"rbind\"]},"
		"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/vol\",\"options\":[\"rbind\",\"ro\"]},"
		"{\"destination\":\"/tree\",\"type\":\"bind\",\"source\":\"/vol\",\"options\":[\"rbind\",\"ro\"]}],"
		"\"annotations\":{\"run.oci.seccomp_bpf_data\":\"x\",\"mine\":\"y\"}}";

	assert_int_equal(adjust(json, &spec, &err), 0);
	mounts = json_object_get(spec.root, "mounts");
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 0), "source")), "proc");
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 1), "source")), "/run/podvm/shm");
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 2), "source")), "/guest/2");
	assert_int_equal(json_array_size(json_object_get(json_array_get(mounts, 2), "options")), 2);
	assert_int_equal(json_array_size(json_object_get(json_array_get(mounts, 3), "options")), 1);
	assert_string_equal(oci_root_path(&spec), "/guest/rootfs");
	assert_true(json_is_true(json_object_get(json_object_get(spec.root, "root"), "readonly")));
	assert_string_equal(json_string_value(json_object_get(spec.root, "ociVersion")), OCI_VERSION);
	assert_string_equal(spec_text(&spec, "mine"), "y");
	assert_string_equal(spec_text(&spec, "run.oci.seccomp_bpf_data"), "");
}

#define DISK(path, minor) "{\"path\":\"" path "\",\"type\":\"b\",\"major\":7,\"minor\":" minor "}"
#define RULE(minor, access) "{\"allow\":true,\"type\":\"b\",\"major\":7,\"minor\":" minor ",\"access\":\"" access "\"}"
#define RULES(list) "\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}," list "]}"

static void what_a_vm_cannot_do(void **state)
{
	static const struct {
		const char *json, *words;
	} rows[] = {
		{"{\"mounts\":[{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/"
		 "v\",\"options\":[\"rbind\",\"rshared\"]}]}",
			"Bidirectional"},
		{"{\"mounts\":[{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/bad\"}]}", "mount '/d': bad"},
		{"{\"linux\":{\"devices\":[{\"path\":\"/dev/sda\"}]}}", "device '/dev/sda': a character device"},
		{"{\"linux\":{\"devices\":[{\"path\":\"/dev/kvm\",\"type\":\"c\",\"major\":10,\"minor\":232}]}}",
			"device '/dev/kvm': a character device"},
		{"{\"linux\":{\"devices\":[" DISK("data", "8") "]," RULES(RULE("8", "rw")) "}}", "not absolute"},
		{"{\"linux\":{\"devices\":[" DISK("/", "8") "]," RULES(RULE("8", "rw")) "}}", "not absolute"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/../data", "8") "]," RULES(RULE("8", "rw")) "}}", "'..' in it"},
		{"{\"linux\":{\"devices\":[" DISK("/x/..", "8") "]," RULES(RULE("8", "rw")) "}}", "'..' in it"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/x", "8") "]," RULES(RULE("8", "m")) "}}",
			"neither read nor write"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/x", "8") "]," RULES(RULE("9", "rw")) "}}",
			"neither read nor write"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/x", "8") "]}}", "neither read nor write"},
		{"{\"linux\":{\"devices\":[{\"path\":\"/dev/null\",\"type\":\"c\",\"major\":10,\"minor\":232}]}}",
			"device '/dev/null': a character device"},
		{"{\"linux\":{\"devices\":[{\"path\":\"/dev/tty\",\"type\":\"p\"}]}}", "device '/dev/tty'"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/x", "-1") "]}}", "no device number"},
		{"{\"linux\":{\"devices\":[" DISK("/dev/x", "1048576") "]}}", "no device number"},
		{"{\"linux\":{\"devices\":[{\"path\":\"/dev/x\",\"type\":\"b\",\"major\":\"8\",\"minor\":1}]}}",
			"no device number"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};

		assert_int_equal(adjust(rows[i].json, &spec, &err), -EINVAL);
		if (!strstr(err.msg, rows[i].words))
			fail_msg("row %zu: '%s' has not '%s'", i, err.msg, rows[i].words);
	}
}

/* Entries keep their owners and modes; of the rules only those for the host's number go. */
static void disks_become_the_guests(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct spec_disk got = {.path = "/dev/x", .major = 254, .minor = 16, .access = "rw"};
	struct err err = {0};
	json_t *list, *rules;
	char *text;

	*disks = '\0';
	assert_int_equal(
		adjust("{\"linux\":{\"devices\":[{\"path\":\"/dev/null\"}," DISK("/dev/x", "1") "," DISK(
			       "/dev/y", "2") "," DISK("/mnt/..z",
			       "3") "]," RULES("{\"allow\":true,\"type\":\"c\",\"major\":7,\"minor\":1,\"access\":"
					       "\"rw\"}," RULE("1", "rw") "," RULE("2", "rm") "," RULE("3",
						       "rwm") ","
							      "{\"allow\":false,\"type\":\"b\",\"major\":7,\"minor\":3,"
							      "\"access\":\"w\"},"
							      "{\"allow\":true,\"type\":\"b\",\"major\":-1,\"minor\":-"
							      "1,\"access\":\"m\"}") "}}",
			&spec, &err),
		0);
	assert_string_equal(disks, "/dev/x 7:1 rwm\n/dev/y 7:2 rm\n/mnt/..z 7:3 rm\n");
	rules = json_object_get(json_object_get(json_object_get(spec.root, "linux"), "resources"), "devices");
	text = json_dumps(rules, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"access\":\"rwm\",\"allow\":false},"
				  "{\"access\":\"rw\",\"allow\":true,\"major\":7,\"minor\":1,\"type\":\"c\"},"
				  "{\"access\":\"m\",\"allow\":true,\"major\":-1,\"minor\":-1,\"type\":\"b\"}]");
	free(text);
	assert_int_equal(spec_set_disk(&spec, &got, &err), 0);
	list = json_object_get(json_object_get(spec.root, "linux"), "devices");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "major")), 254);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "minor")), 16);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 2), "major")), 7);
	text = json_dumps(json_array_get(rules, 3), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"access\":\"rw\",\"allow\":true,\"major\":254,\"minor\":16,\"type\":\"b\"}");
	free(text);
	oci_spec_fini(&spec);
	assert_int_equal(
		adjust("{\"linux\":{\"devices\":[" DISK("/dev/x", "13") "]," RULES(RULE("13", "r")) "}}", &spec, &err),
		-ENODEV);
	assert_string_equal(err.msg, "device '/dev/x': not there");
	/* In the place of a device that every kernel has it is a block device all the same. */
	oci_spec_fini(&spec);
	assert_int_equal(adjust("{\"linux\":{\"devices\":[" DISK("/dev/null", "13") "]," RULES(RULE("13", "r")) "}}",
				 &spec, &err),
		-ENODEV);
}

/* Found by its number, and nothing else is taken for it. */
static void nodes_of_block_devices(void **state)
{
	struct err err = {0};
	int fd = -1;

	assert_int_equal(disks_open(4000, 77, true, &fd, &err), -ENODEV);
	assert_string_equal(err.msg, "the node has no block device 4000:77");
	assert_int_equal(fd, -1);
}

static void privileged_has_the_guests_devices(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	json_t *devices;

	notes = 0;
	*disks = '\0';
	assert_int_equal(adjust("{\"linux\":{\"devices\":[" DISK("/dev/sda",
					"1") ",{\"path\":\"/dev/null\"}],"
					     "\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}}}",
				 &spec, &err),
		0);
	devices = json_object_get(json_object_get(spec.root, "linux"), "devices");
	assert_int_equal(json_array_size(devices), 1);
	assert_int_equal(notes, 1);
	assert_string_equal(disks, "");
	/* To make any node, as Docker allows everybody, is no such right. */
	oci_spec_fini(&spec);
	assert_int_equal(adjust("{\"linux\":{\"devices\":[{\"path\":\"/dev/kvm\",\"type\":\"c\"}],"
				"\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"c\",\"access\":\"m\"}]}}}",
				 &spec, &err),
		-EINVAL);
}

static void limits_of_version_1_go(void **state)
{
	json_t *r = json_loads(
		"{\"memory\":{\"limit\":1,\"swappiness\":0,\"kernel\":5},\"cpu\":{\"cpus\":\"0-3\",\"shares\":2},"
		"\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":0},{\"pageSize\":\"1GB\",\"limit\":9}]}",
		0, NULL);

	spec_adjust_resources(r);
	assert_int_equal(json_object_size(json_object_get(r, "memory")), 1);
	assert_int_equal(json_object_size(json_object_get(r, "cpu")), 2);
	assert_int_equal(json_array_size(json_object_get(r, "hugepageLimits")), 1);
	json_decref(r);
}

static void changes_of_limits(void **state)
{
	static const struct {
		const char *json, *word; /* the update; what the refusal names, NULL: none */
	} rows[] = {
		{"{}", NULL},
		{"{\"cpu\":{\"cpus\":\"0-3\",\"mems\":\"0\",\"quota\":900000,\"period\":100000},\"memory\":{\"limit\":"
		 "300000000}}",
			NULL},
		{"{\"cpu\":{\"cpus\":\"0-2\"}}", "cpu.cpus"},
		{"{\"cpu\":{\"mems\":\"0,1\"}}", "cpu.mems"},
		{"{\"cpu\":{\"quota\":200000,\"period\":100000}}", NULL},
		{"{\"cpu\":{\"quota\":200001,\"period\":100000}}", "cpu.quota"},
		{"{\"cpu\":{\"quota\":200001}}", "cpu.quota"},
		{"{\"cpu\":{\"quota\":9223372036854775807,\"period\":1}}", "cpu.quota"},
		{"{\"cpu\":{\"quota\":-1,\"period\":1}}", NULL},
		{"{\"memory\":{\"limit\":268435456}}", NULL},
		{"{\"memory\":{\"limit\":268435457}}", "memory.limit"},
		{"{\"memory\":{\"limit\":-1}}", NULL},
		{"{\"hugepageLimits\":[{\"limit\":9,\"pageSize\":\"2MB\"}]}", NULL},
	};
	const struct resize_limits created = {.cpus = "0-3",
		.mems = "0",
		.quota = 900000,
		.period = 100000,
		.huge = "[{\"limit\":9,\"pageSize\":\"2MB\"}]",
		.memory = 300000000};
	const struct resize_vm vm = {.vcpus = 2, .memory = 256 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *r = json_loads(rows[i].json, 0, NULL), *cpu = json_object_get(r, "cpu");
		struct err err = {0};
		int status = resize_check(r, &created, &vm, &err);

		if (status != (rows[i].word ? -EINVAL : 0) || (rows[i].word && !strstr(err.msg, rows[i].word)))
			fail_msg("%s: %d, %s", rows[i].json, status, err.msg);
		assert_true(status < 0 || (!json_object_get(cpu, "cpus") && !json_object_get(cpu, "mems")));
		assert_null(json_object_get(r, "hugepageLimits"));
		json_decref(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(bad_options_are_named),
		cmocka_unit_test(stdin_with_options),
		cmocka_unit_test(stdin_with_parameters),
		cmocka_unit_test(stdin_hostile),
		cmocka_unit_test(answers_fit_the_version),
		cmocka_unit_test(ids),
		cmocka_unit_test(host_namespaces_are_refused),
		cmocka_unit_test(pid_namespaces_by_path),
		cmocka_unit_test(size_of_the_pod),
		cmocka_unit_test(mounts_become_the_guests),
		cmocka_unit_test(what_a_vm_cannot_do),
		cmocka_unit_test(disks_become_the_guests),
		cmocka_unit_test(nodes_of_block_devices),
		cmocka_unit_test(privileged_has_the_guests_devices),
		cmocka_unit_test(limits_of_version_1_go),
		cmocka_unit_test(changes_of_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
