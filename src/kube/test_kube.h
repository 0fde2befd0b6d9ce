/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of this folder share: one context, one loader, checks that show what they found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "kube/kube.h"

#define POD                                                                                                            \
	"apiVersion: v1\n"                                                                                             \
	"kind: Pod\n"                                                                                                  \
	"metadata: {name: p}\n"                                                                                        \
	"spec:\n"                                                                                                      \
	"  containers:\n"                                                                                              \
	"  - name: a\n"                                                                                                \
	"    image: i\n"

#define CONFIG_MAP "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
#define SECRET "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"

static const struct kube_context test_context = {
	.uid = "7f3c9a52-0000-4000-8000-000000000001",
	.node_name = "node1",
	.host_ip = "192.0.2.1",
	.pod_ip = "10.0.2.15",
	.default_cpu_milli = 2000,
	.default_memory = 512u << 20,
	.max_memory = UINT64_C(64) << 30,
};

/* The pod, or a failed test that shows the error. */
static inline struct kube_pod *test_load(const char *yaml)
{
	struct kube_pod *pod = NULL;
	struct err err = {0};

	if (kube_load(&pod, "t.yaml", yaml, strlen(yaml), &test_context, &err) < 0)
		fail_msg("%s\n--- for ---\n%s", err.msg, yaml);
	return pod;
}

/* The value of a variable; NULL: not set. */
static inline const char *test_env(const struct kube_container *c, const char *name)
{
	for (size_t i = 0; i < c->n_env; i++)
		if (str_eq(c->env[i].key, name))
			return c->env[i].value;
	return NULL;
}

static inline const struct kube_file *test_file(const struct kube_volume *v, const char *path)
{
	for (size_t i = 0; i < v->n_files; i++)
		if (str_eq(v->files[i].path, path))
			return &v->files[i];
	fail_msg("no file %s in volume %s", path, v->name);
	return NULL;
}
