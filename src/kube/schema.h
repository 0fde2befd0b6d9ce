/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a Pod, ConfigMap or Secret may contain: one table per object of the Kubernetes v1 API, complete, so that a field is
 * unknown only if Kubernetes does not know it either. Each field says what podvm does with it. docs/pod-yaml.md is made from
 * the same tables.
 */
#include "kube/tree.h"

enum schema_type {
	SCHEMA_STRING,
	SCHEMA_BOOL,
	SCHEMA_INT, /* min..max */
	SCHEMA_INT_OR_STRING,
	SCHEMA_QUANTITY,
	SCHEMA_OBJECT,	     /* `object` */
	SCHEMA_STRING_MAP,   /* any key -> string */
	SCHEMA_QUANTITY_MAP, /* any key -> quantity */
	SCHEMA_ANY,	     /* not looked into */
};

enum schema_status {
	SCHEMA_SUPPORTED,   /* acted upon */
	SCHEMA_IGNORED,	    /* accepted, named once in the pod's notes */
	SCHEMA_UNSUPPORTED, /* an error unless empty */
};

struct schema_object;

struct schema_field {
	const char *name;
	enum schema_type type;
	enum schema_status status;
	bool list;     /* a list of `type` */
	bool required; /* present and not empty */
	const struct schema_object *object;
	const char *const *values; /* of a string: NULL-terminated list of what is allowed; NULL: anything */
	int64_t min, max;	   /* of an int; both 0: what an int32 holds */
	const char *why;	   /* IGNORED: why it does nothing here; UNSUPPORTED: why not and what to do instead */
	const char *quiet;	   /* IGNORED: a value that needs no note, because it asks for what is done anyway */
	bool silent;		   /* IGNORED: no note at all: it changes nothing in a cluster's pod either */
};

struct schema_object {
	const char *name; /* as the API reference calls it */
	const struct schema_field *fields;
	size_t n;
};

extern const struct schema_object schema_pod, schema_config_map, schema_secret;

/* Gets every error and note on its way; `at` is where. */
struct schema_sink {
	void *ctx;
	/* Returns -EINVAL. */
	int (*error)(void *ctx, uint32_t line, const char *path, const char *what);
	/* The first time that an ignored field is met. 0 or -ENOMEM. */
	int (*note)(void *ctx, uint32_t line, const char *path, const char *what);
};

#define SCHEMA_NOTES_MAX 256

/* Fields that were noted already; zero it once per pod. */
struct schema_seen {
	const struct schema_field *fields[SCHEMA_NOTES_MAX];
	size_t n;
};

/*
 * Checks a whole document against `object`: every field known and not unsupported, every value of its type, every required field
 * there. Ignored fields are checked like the others. Null is the same as absent.
 */
int schema_check(const struct schema_object *object, struct tree_node *map, struct schema_seen *seen,
	const struct schema_sink *sink) must_check;

/* The first supported field below `map` that is there but was never marked `used`; NULL when all were. */
const struct tree_node *schema_unused(const struct schema_object *object, const struct tree_node *map);

/* The field of that name; NULL: none. */
const struct schema_field *schema_field(const struct schema_object *object, const char *name);

/* Null, false, "", an empty list: the same as saying nothing. */
bool schema_is_empty(const struct tree_node *n);

/* The nearest of `n` names to `name`; *ret_distance (may be NULL) is how far. NULL when n is 0. */
const char *schema_nearest(const char *name, const char *const *names, size_t n, unsigned *ret_distance);

struct buf;
/* The table of fields as Markdown, for docs/pod-yaml.md. 0 or -errno. */
int schema_markdown(struct buf *out) must_check;
