/* SPDX-License-Identifier: Apache-2.0 */
/* Variables: expansion, their order, and what they refer to. */
#include <stdio.h>

#include "kube/test_kube.h"

/* The cases of the kubelet's own expansion, k8s.io/kubernetes/third_party/forked/golang/expansion. */
static void test_expansion(void **state)
{
	static const struct {
		const char *text, *wanted;
	} table[] = {
		{"$(A)", "a"},
		{"___$(A)___", "___a___"},
		{"$(A)-$(B)", "a-b"},
		{"$(A)$(A)", "aa"},
		{"$$(A)", "$(A)"},
		{"$$$(A)", "$a"},
		{"$$$$(A)", "$$(A)"},
		{"$$", "$"},
		{"$$$", "$$"},
		{"$", "$"},
		{"f$", "f$"},
		{"$A", "$A"},
		{"$ (A)", "$ (A)"},
		{"$()", "$()"},
		{"$(NOPE)", "$(NOPE)"},
		{"$(", "$("},
		{"$(A", "$(A"},
		{"$(A)$(", "a$("},
		{"$($(A)", "$($(A)"},
		{"$($$(A)", "$($$(A)"},
		{"$(A))", "a)"},
		{"$(NESTED)", "$(A)"},
		{"$(A) $((B) $(B)", "a $((B) b"},
		{"\\$(A)", "\\a"},
		{"", ""},
		{"$(EMPTY)", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[1024];

		(void)snprintf(yaml, sizeof(yaml),
			POD "    env: [{name: A, value: a}, {name: B, value: b}, {name: NESTED, value: $$(A)},\n"
			    "      {name: EMPTY}, {name: X, value: '%s'}]\n"
			    "    command: ['%s']\n",
			table[i].text, table[i].text);
		pod = test_load(yaml);
		if (!str_eq(test_env(&pod->containers[0], "X"), table[i].wanted) ||
			!str_eq(pod->containers[0].command.v[0], table[i].wanted))
			fail_msg("'%s' is '%s', '%s'", table[i].text, test_env(&pod->containers[0], "X"),
				pod->containers[0].command.v[0]);
	}
}

static void test_order_of_variables(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(POD
		"    envFrom: [{configMapRef: {name: c}}, {secretRef: {name: s}}]\n"
		"    env:\n"
		"    - {name: LATE, value: $(AFTER)}\n"
		"    - {name: ONE, value: again $(ONE) $(TWO)}\n"
		"    - {name: AFTER, value: x}\n"
		"    - {name: GONE, valueFrom: {configMapKeyRef: {name: nope, key: k, optional: true}}}\n"
		"    - {name: GONE2, valueFrom: {configMapKeyRef: {name: c, key: nope, optional: true}}}\n" CONFIG_MAP
		"data: {ONE: c1, TWO: c2, 3: digits}\n" SECRET "stringData: {TWO: s2}\n");
	const struct kube_container *c = &pod->containers[0];

	/* A later source wins; a variable sees what was set before it, its own older value included. */
	assert_string_equal(test_env(c, "TWO"), "s2");
	assert_string_equal(test_env(c, "ONE"), "again c1 s2");
	assert_string_equal(test_env(c, "LATE"), "$(AFTER)");
	assert_string_equal(test_env(c, "3"), "digits");
	assert_null(test_env(c, "GONE"));
	assert_null(test_env(c, "GONE2"));
	assert_int_equal(c->n_env, 5);
}

static void test_field_refs(void **state)
{
	static const struct {
		const char *field, *value;
	} table[] = {
		{"metadata.name", "p"},
		{"metadata.namespace", "default"},
		{"metadata.uid", "7f3c9a52-0000-4000-8000-000000000001"},
		{"metadata.labels['app']", "web"},
		{"metadata.labels['absent']", ""},
		{"metadata.annotations['a.b/c']", "1"},
		{"spec.nodeName", "node1"},
		{"spec.serviceAccountName", "default"},
		{"status.hostIP", "192.0.2.1"},
		{"status.hostIPs", "192.0.2.1"},
		{"status.podIP", "10.0.2.15"},
		{"status.podIPs", "10.0.2.15"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[1024];

		(void)snprintf(yaml, sizeof(yaml),
			"apiVersion: v1\nkind: Pod\n"
			"metadata: {name: p, labels: {app: web}, annotations: {a.b/c: \"1\"}}\n"
			"spec: {containers: [{name: a, image: i,\n"
			"  env: [{name: X, valueFrom: {fieldRef: {fieldPath: \"%s\"}}}]}]}\n",
			table[i].field);
		pod = test_load(yaml);
		assert_string_equal(test_env(&pod->containers[0], "X"), table[i].value);
	}
}

static void test_resource_refs(void **state)
{
	static const struct {
		const char *ref, *value;
	} table[] = {
		{"resource: limits.cpu", "2"},
		{"resource: limits.cpu, divisor: 1m", "1500"},
		{"resource: limits.cpu, divisor: 0", "2"},
		{"resource: requests.cpu, divisor: 1m", "250"},
		{"resource: limits.memory", "104857600"},
		{"resource: limits.memory, divisor: 1Mi", "100"},
		{"resource: limits.memory, divisor: 1M", "105"},
		{"resource: limits.memory, divisor: 1Gi", "1"},
		{"resource: requests.memory, divisor: 1Mi", "100"},
		{"resource: limits.memory, containerName: b, divisor: 1Mi", "512"}, /* none: what the pod may have */
		{"resource: limits.cpu, containerName: b, divisor: \"1\"", "2"},
		{"resource: requests.cpu, containerName: b", "0"},
		{"resource: requests.ephemeral-storage, containerName: b", "0"},
		{"resource: limits.ephemeral-storage, divisor: 1k", "5"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[1024];

		(void)snprintf(yaml, sizeof(yaml),
			POD "    resources: {limits: {cpu: 1.5, memory: 100Mi, ephemeral-storage: 4097},\n"
			    "      requests: {cpu: 250m}}\n"
			    "    env: [{name: X, valueFrom: {resourceFieldRef: {%s}}}]\n"
			    "  - {name: b, image: i}\n",
			table[i].ref);
		pod = test_load(yaml);
		if (!str_eq(test_env(&pod->containers[0], "X"), table[i].value))
			fail_msg("%s is %s", table[i].ref, test_env(&pod->containers[0], "X"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expansion),
		cmocka_unit_test(test_order_of_variables),
		cmocka_unit_test(test_field_refs),
		cmocka_unit_test(test_resource_refs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
