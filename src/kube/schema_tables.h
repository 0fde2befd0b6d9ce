/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Words in which the tables of schema_*.c are written, and the objects that they share. */
#include "base/cleanup.h"
#include "kube/schema.h"

#define STR(n) .name = (n), .type = SCHEMA_STRING
#define BOOL(n) .name = (n), .type = SCHEMA_BOOL
#define INT(n) .name = (n), .type = SCHEMA_INT
#define INT_OR_STR(n) .name = (n), .type = SCHEMA_INT_OR_STRING
#define QUANTITY(n) .name = (n), .type = SCHEMA_QUANTITY
#define STR_MAP(n) .name = (n), .type = SCHEMA_STRING_MAP
#define QUANTITY_MAP(n) .name = (n), .type = SCHEMA_QUANTITY_MAP
#define ANY(n) .name = (n), .type = SCHEMA_ANY
#define OBJ(n, o) .name = (n), .type = SCHEMA_OBJECT, .object = &(o)

#define LIST .list = true
#define REQUIRED .required = true
#define RANGE(a, b) .min = (a), .max = (b)
#define WORDS(...)                                                                                                     \
	.values = (const char *const[])                                                                                \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}
#define IGNORED(w) .status = SCHEMA_IGNORED, .why = (w)
#define REFUSED(w) .status = SCHEMA_UNSUPPORTED, .why = (w)
#define QUIET(v) .quiet = (v)
#define SILENT .silent = true
#define HINT(w) .why = (w)

/* The object `id` made of the array id##_fields. */
#define OBJECT(id, title)                                                                                              \
	{                                                                                                              \
		.name = (title), .fields = id##_fields, .n = ARRAY_SIZE(id##_fields)                                   \
	}

/* Objects that podvm only checks: schema_ignored.c. */
extern const struct schema_object schema_affinity, schema_toleration, schema_topology_spread, schema_probe,
	schema_lifecycle, schema_readiness_gate, schema_named, schema_resize_policy, schema_selinux,
	schema_scheduling_group, schema_eviction_responder, schema_token_projection, schema_owner_reference;
/* A pod's volumes: schema_volume.c. */
extern const struct schema_object schema_volume, schema_field_ref, schema_resource_field_ref;
