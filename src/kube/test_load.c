/* SPDX-License-Identifier: Apache-2.0 */
/* Good files and what comes out of them. argv[1] is the file that has every supported field. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "kube/schema.h"
#include "kube/test_kube.h"

static const char *everything_path;

static char *everything(void)
{
	struct err err = {0};
	char *text = NULL;

	if (file_read(AT_FDCWD, everything_path, KUBE_YAML_MAX, &text, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	return text;
}

/* ---- defaults ---- */

static void test_defaults(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(POD);
	const struct kube_container *c = &pod->containers[0];

	assert_string_equal(pod->name, "p");
	assert_string_equal(pod->ns, "default");
	assert_string_equal(pod->uid, test_context.uid);
	assert_string_equal(pod->hostname, "p");
	assert_string_equal(pod->dns_domain, "");
	assert_int_equal(pod->restart, KUBE_RESTART_ALWAYS);
	assert_int_equal(pod->grace_seconds, 30);
	assert_int_equal(pod->active_deadline_seconds, 0);
	assert_true(pod->dns_from_host);
	assert_false(pod->share_pid || pod->fs_group.set || pod->groups_strict);
	assert_int_equal(pod->n_containers, 1);
	assert_int_equal(pod->n_init + pod->n_volumes + pod->n_sysctls + pod->notes.n + pod->n_labels, 0);
	assert_string_equal(c->name, "a");
	assert_string_equal(c->image, "i");
	assert_int_equal(c->pull, KUBE_PULL_IF_NOT_PRESENT);
	assert_null(c->working_dir);
	assert_string_equal(c->termination_message_path, "/dev/termination-log");
	assert_string_equal(c->stop_signal, "");
	assert_false(
		c->has_command || c->has_args || c->tty || c->stdin_open || c->stdin_once || c->init || c->sidecar);
	assert_int_equal(c->security.seccomp, KUBE_SECCOMP_RUNTIME_DEFAULT);
	assert_false(c->security.no_new_privs || c->security.privileged || c->security.run_as_non_root ||
		     c->security.run_as_user.set);
	assert_int_equal(c->n_env + c->n_mounts + c->n_ports, 0);
}

static void test_null_and_empty_are_absent(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(POD "    command: ~\n"
									  "    args: []\n"
									  "    env:\n"
									  "    workingDir: \"\"\n"
									  "    imagePullPolicy: \"\"\n"
									  "    volumeDevices: []\n"
									  "  volumes: null\n"
									  "  restartPolicy: \"\"\n"
									  "  hostNetwork: false\n"
									  "  automountServiceAccountToken: no\n"
									  "  tolerations: []\n"
									  "  runtimeClassName: podvm\n"
									  "  ephemeralContainers: []\n");

	assert_int_equal(pod->notes.n, 0);
	assert_false(pod->containers[0].has_command);
	assert_null(pod->containers[0].working_dir);
}

/* ---- every field ---- */

struct nodes {
	const struct tree_node *v[64];
	size_t n;
};

static void collect(struct nodes *to, const struct tree_node *n, bool list)
{
	if (!list && to->n < ARRAY_SIZE(to->v))
		to->v[to->n++] = n;
	for (size_t i = 0; list && i < n->n; i++)
		collect(to, n->items[i], false);
}

/* The values of `f` in all nodes; with those of its siblings of the same kind (containers and initContainers). */
static void gather(struct nodes *below, const struct nodes *nodes, const struct schema_object *object,
	const struct schema_field *f)
{
	for (size_t i = 0; i < object->n; i++) {
		const struct schema_field *other = &object->fields[i];

		if (other != f && (!f->object || other->object != f->object))
			continue;
		for (size_t k = 0; k < nodes->n; k++) {
			const struct tree_node *n = tree_find(nodes->v[k], other->name);

			if (n)
				collect(below, n, other->list);
		}
	}
}

/* Fails unless each supported field of `object` is in one of `nodes`, and so below. */
static void check_covered(const struct schema_object *object, const struct nodes *nodes, const char *path)
{
	for (size_t i = 0; i < object->n; i++) {
		const struct schema_field *f = &object->fields[i];
		struct nodes below = {.n = 0};
		char member[300];

		if (f->status != SCHEMA_SUPPORTED)
			continue;
		(void)snprintf(member, sizeof(member), "%s.%s", path, f->name);
		gather(&below, nodes, object, f);
		if (!below.n)
			fail_msg("%s: %s is nowhere: add it, and check here what it does", everything_path, member);
		if (f->type == SCHEMA_OBJECT)
			check_covered(f->object, &below, member);
	}
}

/*
 * kube_load refuses a file in which a supported field was not read (ENOSYS). With every supported field in one file, that
 * proves the table's word for each of them.
 */
static void test_every_supported_field_is_read(void **state)
{
	static const struct schema_object *const kinds[] = {&schema_pod, &schema_config_map, &schema_secret};
	auto_free char *text = everything();
	auto_tree struct tree t = {0};
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	struct err err = {0};

	assert_non_null(pod);
	assert_int_equal(tree_parse(&t, "t.yaml", text, strlen(text), &err), 0);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct nodes documents = {.n = 0};

		for (size_t i = 0; i < t.n; i++)
			if (str_eq(tree_find(t.documents[i], "kind")->text, kinds[k]->name))
				collect(&documents, t.documents[i], false);
		check_covered(kinds[k], &documents, kinds[k]->name);
	}
}

/* The books behind that: a supported field that nobody asked for is found, wherever it is. */
static void test_unread_field_is_found(void **state)
{
	auto_tree struct tree t = {0};
	struct err err = {0};
	static const char yaml[] =
		"apiVersion: v1\nkind: ~\nstatus: {}\nspec: {affinity: {}, containers: [{name: a, image: i}]}\n";
	static const char *const wanted[] = {
		"apiVersion", "spec", "spec.containers", "spec.containers[0].name", "spec.containers[0].image"};

	assert_int_equal(tree_parse(&t, "t.yaml", yaml, strlen(yaml), &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct tree_node *n = schema_unused(&schema_pod, t.documents[0]);

		assert_non_null(n);
		assert_string_equal(tree_path(n).s, wanted[i]);
		((struct tree_node *)(uintptr_t)n)->used = true;
	}
	assert_null(schema_unused(&schema_pod, t.documents[0]));
}

static void test_pod_facts(void **state)
{
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);

	assert_string_equal(pod->uid, "0c6b8a1e-7a44-4b8e-9d0b-1f0c5d3e2a10");
	assert_string_equal(pod->ns, "test");
	assert_int_equal(pod->n_labels, 2);
	assert_string_equal(pod->labels[0].key, "app.kubernetes.io/name");
	assert_string_equal(pod->labels[1].value, "front");
	assert_int_equal(pod->restart, KUBE_RESTART_ON_FAILURE);
	assert_int_equal(pod->grace_seconds, 5);
	assert_int_equal(pod->active_deadline_seconds, 600);
	assert_true(pod->share_pid);
	assert_string_equal(pod->hostname, "every.example");
	assert_string_equal(pod->dns_domain, "");
	assert_false(pod->dns_from_host);
	assert_int_equal(pod->dns_servers.n, 2);
	assert_string_equal(pod->dns_searches.v[1], "_tcp.example.org.");
	assert_string_equal(pod->dns_options.v[0], "ndots:2");
	assert_string_equal(pod->dns_options.v[1], "edns0");
	assert_int_equal(pod->n_host_aliases, 2);
	assert_string_equal(pod->host_aliases[0].hostnames.v[1], "db.example.com");
	assert_true(pod->fs_group.set);
	assert_int_equal(pod->fs_group.v, 2000);
	assert_int_equal(pod->n_supplemental_groups, 2);
	assert_int_equal(pod->supplemental_groups[1], 3001);
	assert_true(pod->groups_strict);
	assert_int_equal(pod->n_sysctls, 2);
	assert_string_equal(pod->sysctls[1].key, "net.ipv4.conf.eth0/1.forwarding");
	assert_int_equal(pod->resources.cpu_limit_milli, 4000);
	assert_int_equal(pod->n_init, 2);
	assert_int_equal(pod->n_containers, 3);
}

static void test_container_facts(void **state)
{
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	const struct kube_container *setup = &pod->containers[0], *proxy = &pod->containers[1],
				    *c = &pod->containers[2];

	assert_true(setup->init && !setup->sidecar && setup->pull == KUBE_PULL_NEVER);
	assert_string_equal(setup->command.v[2], "echo hi > /disk/hello");
	assert_true(proxy->init && proxy->sidecar);
	assert_false(c->init || c->sidecar);
	assert_int_equal(c->pull, KUBE_PULL_ALWAYS);
	assert_int_equal(c->command.n, 2);
	assert_string_equal(c->args.v[0], "exec httpd -f -p 8080 -h /www/8080 $(PORT) $(MISSING)");
	assert_true(c->has_command && c->has_args && c->stdin_open && c->stdin_once && c->tty);
	assert_string_equal(c->working_dir, "/work");
	assert_string_equal(c->termination_message_path, "/tmp/last-words");
	assert_true(c->termination_fallback_to_logs);
	assert_string_equal(c->stop_signal, "SIGRTMIN+3");
	assert_int_equal(c->n_ports, 2);
	assert_string_equal(c->ports[0].name, "http");
	assert_int_equal(c->ports[0].container_port, 8080);
	assert_int_equal(c->ports[0].host_port, 18080);
	assert_int_equal(c->ports[1].protocol, KUBE_UDP);
	assert_int_equal(c->resources.cpu_limit_milli, 1500);
	assert_int_equal(c->resources.cpu_request_milli, 500);
	assert_int_equal(c->resources.memory_limit, 256u << 20);
	assert_int_equal(c->resources.storage_limit, 1u << 30);
	assert_int_equal(c->resources.storage_request, 1u << 30);
}

static void test_variable_facts(void **state)
{
	static const struct {
		const char *name, *value;
	} wanted[] = {{"CFG_motd", "welcome\n"}, {"PORT", "8080"}, {"ROOT", "/www/8080"}, {"MOTD", "welcome\n"},
		{"TOKEN", "s3cr3t"}, {"NODE", "node1"}, {"MEM", "256"}};
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	const struct kube_container *c = &pod->containers[2];

	/* In this order, and nothing else: not the binary key. */
	assert_int_equal(c->n_env, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_string_equal(c->env[i].key, wanted[i].name);
		assert_string_equal(c->env[i].value, wanted[i].value);
	}
}

static void test_mount_facts(void **state)
{
	static const struct {
		const char *volume, *path, *sub_path;
		bool read_only, recursive;
	} wanted[] = {{"disk", "/disk", "a/b", true, true}, {"ram", "/ram", "8080/x", false, false},
		{"host", "/host", "", false, false}, {"config", "/config", "", true, false},
		{"all", "/all", "", true, false}};
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	const struct kube_container *c = &pod->containers[2];

	assert_int_equal(c->n_mounts, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_string_equal(pod->volumes[c->mounts[i].volume].name, wanted[i].volume);
		assert_string_equal(c->mounts[i].path, wanted[i].path);
		assert_string_equal(c->mounts[i].sub_path, wanted[i].sub_path);
		assert_int_equal(c->mounts[i].read_only, wanted[i].read_only);
		assert_int_equal(c->mounts[i].recursive_read_only, wanted[i].recursive);
	}
}

static void test_volume_facts(void **state)
{
	static const struct {
		size_t volume;
		const char *path, *data;
		uint32_t mode;
	} files[] = {
		{3, "etc/motd", "welcome\n", 0400},
		{4, "token", "s3cr3t", 0400},
		{5, "labels", "app.kubernetes.io/name=\"everything\"\ntier=\"front\"", 0444},
		{5, "annotations", "build=\"7\"\nnote=\"two\\nlines, a \\\"quote\\\", \xc3\xa9 and \\u200b\"", 0400},
		{5, "cpu", "500", 0444},
		{6, "motd", "welcome\n", 0640},
		{6, "token", "s3cr3t", 0640},
		{6, "uid", "0c6b8a1e-7a44-4b8e-9d0b-1f0c5d3e2a10", 0640},
	};
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	const struct kube_volume *v = pod->volumes;

	assert_int_equal(pod->n_volumes, 7);
	assert_true(v[0].kind == KUBE_VOLUME_EMPTY_DIR && !v[0].memory && v[0].size_limit == 64u << 20);
	assert_true(v[1].kind == KUBE_VOLUME_EMPTY_DIR && v[1].memory && v[1].size_limit == 16000000);
	assert_true(v[2].kind == KUBE_VOLUME_HOST_PATH && v[2].host_type == KUBE_HOST_DIRECTORY_OR_CREATE);
	assert_string_equal(v[2].host_path, "/srv/data");
	assert_string_equal(v[2].where, "t.yaml:47: spec.volumes[2].hostPath.path");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const struct kube_file *f = test_file(&v[files[i].volume], files[i].path);

		if (f->mode != files[i].mode || f->len != strlen(files[i].data) ||
			memcmp(f->data, files[i].data, f->len) != 0)
			fail_msg("%s: mode %o, '%.*s'", f->path, f->mode, (int)f->len, (const char *)f->data);
	}
	assert_int_equal(v[3].n_files, 1);
	assert_int_equal(v[6].n_files, 4);
}

static void test_security_facts(void **state)
{
	auto_free char *text = everything();
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	const struct kube_security *mine = &pod->containers[2].security, *pods = &pod->containers[1].security;

	assert_int_equal(pods->run_as_user.v, 1000);
	assert_int_equal(pods->run_as_group.v, 1001);
	assert_true(pods->run_as_non_root);
	assert_int_equal(pods->seccomp, KUBE_SECCOMP_LOCALHOST);
	assert_string_equal(pods->seccomp_profile, "profiles/pod.json");
	assert_false(pods->no_new_privs || pods->read_only_rootfs);
	assert_int_equal(mine->run_as_user.v, 1002);
	assert_int_equal(mine->run_as_group.v, 1003);
	assert_true(mine->no_new_privs && mine->read_only_rootfs && !mine->privileged && !mine->proc_unmasked);
	assert_int_equal(mine->seccomp, KUBE_SECCOMP_LOCALHOST);
	assert_string_equal(mine->seccomp_profile, "profiles/web.json");
	assert_int_equal(mine->cap_add.n, 1);
	assert_string_equal(mine->cap_add.v[0], "NET_ADMIN");
	assert_string_equal(mine->cap_drop.v[0], "ALL");
}

/* ---- documents ---- */

static void test_sub_path_of_files(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(
		POD "    volumeMounts: [{name: v, mountPath: /a, subPath: sub}, {name: v, mountPath: /b, subPath: "
		    "sub/a.conf}]\n"
		    "  volumes: [{name: v, configMap: {name: c, items: [{key: a, path: sub/a.conf}]}}]\n" CONFIG_MAP
		    "data: {a: x}\n");

	assert_string_equal(pod->containers[0].mounts[0].sub_path, "sub");
	assert_string_equal(pod->containers[0].mounts[1].sub_path, "sub/a.conf");
}

static void test_list_and_aliases(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load("apiVersion: v1\n"
								      "kind: List\n"
								      "items:\n"
								      "- apiVersion: v1\n"
								      "  kind: ConfigMap\n"
								      "  metadata: {name: c}\n"
								      "  data: {k: v}\n"
								      "- apiVersion: v1\n"
								      "  kind: Pod\n"
								      "  metadata: {name: p}\n"
								      "  spec:\n"
								      "    containers:\n"
								      "    - &a\n"
								      "      name: a\n"
								      "      image: i\n"
								      "      envFrom: [{configMapRef: {name: c}}]\n"
								      "    - {<<: *a, name: b}\n");

	assert_int_equal(pod->n_containers, 2);
	assert_string_equal(pod->containers[1].name, "b");
	assert_string_equal(test_env(&pod->containers[1], "k"), "v");
}

static void test_generate_name(void **state)
{
	static const char yaml[] = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-%s}\n"
				   "spec: {containers: [{name: a, image: i}]}\n";
	char text[256];

	(void)snprintf(text, sizeof(text), yaml, "");
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(text);
	struct kube_pod *again cleanup_with(kube_pod_freep) = test_load(text);

	assert_int_equal(strlen(pod->name), 9);
	assert_memory_equal(pod->name, "web-", 4);
	assert_string_equal(pod->name, again->name);
	assert_string_equal(pod->name, pod->hostname);
}

static void test_hostname(void **state)
{
	static const struct {
		const char *spec, *hostname, *domain;
	} table[] = {
		{"", "p", ""},
		{"  hostname: h\n", "h", ""},
		{"  hostname: h\n  subdomain: s\n", "h", "s.default.svc.cluster.local"},
		{"  subdomain: s\n  setHostnameAsFQDN: true\n", "p.s.default.svc.cluster.local",
			"s.default.svc.cluster.local"},
		{"  setHostnameAsFQDN: true\n", "p", ""},
		{"  subdomain: s\n  hostname: h\n  hostnameOverride: a.b\n", "a.b", ""},
	};
	/* 61 letters, then what may not be at the end of a host name. */
	struct kube_pod *longer cleanup_with(kube_pod_freep) = test_load(
		"apiVersion: v1\nkind: Pod\nmetadata: {name: "
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa--b}\n"
		"spec: {containers: [{name: a, image: i}]}\n");

	assert_int_equal(strlen(longer->hostname), 61);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[512];

		(void)snprintf(yaml, sizeof(yaml), POD "%s", table[i].spec);
		pod = test_load(yaml);
		assert_string_equal(pod->hostname, table[i].hostname);
		assert_string_equal(pod->dns_domain, table[i].domain);
	}
}

/* What `kubectl get pod -o yaml` prints runs as it is. */
static const char from_a_cluster[] =
	"apiVersion: v1\n"
	"kind: Pod\n"
	"metadata:\n"
	"  creationTimestamp: \"2024-05-01T10:00:00Z\"\n"
	"  managedFields: [{apiVersion: v1, fieldsV1: {f:metadata: {}}}]\n"
	"  name: web-5d\n"
	"  namespace: shop\n"
	"  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, controller: true}]\n"
	"  resourceVersion: \"123\"\n"
	"  uid: 1d3f\n"
	"spec:\n"
	"  containers:\n"
	"  - image: nginx\n"
	"    imagePullPolicy: IfNotPresent\n"
	"    livenessProbe:\n"
	"      failureThreshold: 3\n"
	"      httpGet: {path: /, port: http, scheme: HTTP}\n"
	"    name: web\n"
	"    resources: {}\n"
	"    terminationMessagePath: /dev/termination-log\n"
	"    terminationMessagePolicy: File\n"
	"    volumeMounts:\n"
	"    - mountPath: /var/run/secrets/kubernetes.io/serviceaccount\n"
	"      name: kube-api-access-x\n"
	"      readOnly: true\n"
	"  - {name: b, image: i, livenessProbe: {grpc: {port: 1}}}\n"
	"  dnsPolicy: ClusterFirst\n"
	"  enableServiceLinks: true\n"
	"  nodeName: worker-1\n"
	"  preemptionPolicy: PreemptLowerPriority\n"
	"  priority: 0\n"
	"  restartPolicy: Always\n"
	"  schedulerName: default-scheduler\n"
	"  securityContext: {}\n"
	"  serviceAccount: default\n"
	"  serviceAccountName: default\n"
	"  terminationGracePeriodSeconds: 30\n"
	"  tolerations:\n"
	"  - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}\n"
	"  volumes:\n"
	"  - name: kube-api-access-x\n"
	"    projected:\n"
	"      defaultMode: 420\n"
	"      sources:\n"
	"      - serviceAccountToken: {expirationSeconds: 3607, path: token}\n"
	"      - configMap: {items: [{key: ca.crt, path: ca.crt}], name: kube-root-ca.crt, optional: true}\n"
	"      - downwardAPI: {items: [{fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}, path: "
	"namespace}]}\n"
	"status: {phase: Running}\n";

static void test_pod_from_a_cluster(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(from_a_cluster);

	assert_int_equal(pod->volumes[0].n_files, 1);
	assert_int_equal(pod->volumes[0].files[0].mode, 0644);
	/* One note for both containers' probes. */
	for (size_t i = 0; i < pod->notes.n; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(pod->notes.v[i], pod->notes.v[k]);
	assert_int_equal(pod->notes.n, 15);
	assert_string_equal(pod->notes.v[0],
		"t.yaml:4: metadata.creationTimestamp: accepted, but does nothing here: this is an API server's own "
		"record");
}

static void test_notes_are_said_once(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(
		POD "    livenessProbe: {exec: {command: [x]}}\n"
		    "    resources: {limits: {ephemeral-storage: 1Gi}}\n"
		    "    ports: [{containerPort: 80}]\n"
		    "  - name: b\n"
		    "    image: i\n"
		    "    livenessProbe: {exec: {command: [x]}}\n"
		    "    resources: {limits: {ephemeral-storage: 1Gi}}\n"
		    "    ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}, {containerPort: 81, hostIP: "
		    "0.0.0.0}]\n"
		    "  runtimeClassName: kata\n");
	static const char *const wanted[] = {
		"t.yaml:8: spec.containers[0].livenessProbe: accepted, but does nothing here: probes are run by a "
		"cluster's "
		"kubelet",
		"t.yaml:15: spec.containers[1].ports[2].hostIP: accepted, but does nothing here: ports are published "
		"on "
		"127.0.0.1",
		"t.yaml:16: spec.runtimeClassName: accepted, but does nothing here: podvm run always uses podvm",
		"t.yaml:9: spec.containers[0].resources.limits[ephemeral-storage]: accepted, but not enforced: use "
		"sizeLimit "
		"of an emptyDir",
		"t.yaml:15: spec.containers[1].ports[0]: port 80 is published for container a already",
	};

	assert_int_equal(pod->notes.n, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_string_equal(pod->notes.v[i], wanted[i]);
	assert_int_equal(pod->containers[1].n_ports, 2);
}

/* ---- volumes ---- */

static void test_projected_sources_replace(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(
		POD "  volumes:\n"
		    "  - name: v\n"
		    "    projected: {sources: [{configMap: {name: c}}, {secret: {name: s}}, {configMap: {name: none, "
		    "optional: true}}]}\n"
		    "  - name: w\n"
		    "    configMap: {name: c}\n"
		    "  - name: x\n"
		    "    secret: {secretName: none, optional: true, items: [{key: a, path: b}]}\n" CONFIG_MAP
		    "data: {k: config, other: x}\nbinaryData: {bin: AAEC}\n" SECRET "data: {k: c2VjcmV0}\n");
	const struct kube_file *f = test_file(&pod->volumes[0], "k");

	assert_int_equal(f->len, 6);
	assert_memory_equal(f->data, "secret", 6);
	assert_int_equal(pod->volumes[0].n_files, 3);
	f = test_file(&pod->volumes[1], "bin");
	assert_int_equal(f->len, 3);
	assert_memory_equal(f->data, "\0\1\2", 3);
	assert_int_equal(f->mode, 0644);
	assert_int_equal(pod->volumes[1].n_files, 3);
	assert_int_equal(pod->volumes[2].n_files, 0);
}

static void test_modes_are_octal_or_decimal(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(
		POD "  volumes: [{name: v, configMap: {name: c, defaultMode: 0400, items: [{key: k, path: a},\n"
		    "    {key: k, path: b, mode: 0755}, {key: k, path: c, mode: 292}, {key: k, path: d, mode: "
		    "0}]}}]\n" CONFIG_MAP "data: {k: v}\n");
	static const uint32_t modes[] = {0400, 0755, 0444, 0};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		assert_int_equal(pod->volumes[0].files[i].mode, modes[i]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_null_and_empty_are_absent),
		cmocka_unit_test(test_every_supported_field_is_read),
		cmocka_unit_test(test_unread_field_is_found),
		cmocka_unit_test(test_pod_facts),
		cmocka_unit_test(test_container_facts),
		cmocka_unit_test(test_variable_facts),
		cmocka_unit_test(test_mount_facts),
		cmocka_unit_test(test_volume_facts),
		cmocka_unit_test(test_security_facts),
		cmocka_unit_test(test_sub_path_of_files),
		cmocka_unit_test(test_list_and_aliases),
		cmocka_unit_test(test_generate_name),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_pod_from_a_cluster),
		cmocka_unit_test(test_notes_are_said_once),
		cmocka_unit_test(test_projected_sources_replace),
		cmocka_unit_test(test_modes_are_octal_or_decimal),
	};

	if (argc != 2)
		return 2;
	everything_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
