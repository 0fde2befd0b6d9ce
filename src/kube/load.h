/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How the files of load_*.c work together. By the time that they run, the schema was checked: a field that is there has
 * its type, and null counts as absent. They read each field once through the getters below, which mark it as used.
 */
#include "kube/kube.h"
#include "kube/pool.h"
#include "kube/schema.h"

#define LOAD_CONTAINERS_MAX 64
#define LOAD_VOLUMES_MAX 64
#define LOAD_MOUNTS_MAX 256   /* per container */
#define LOAD_PORTS_MAX 256    /* per container */
#define LOAD_ENV_MAX 1024     /* per container */
#define LOAD_ALIASES_MAX 1024 /* host aliases, and names per alias */
#define LOAD_SYSCTLS_MAX 64
#define LOAD_GROUPS_MAX 64
#define LOAD_FILES_MAX 4096 /* in all volumes */
#define LOAD_FILES_BYTES_MAX (64u << 20)
#define LOAD_STRING_MAX ((128u << 10) - 1) /* one argument or K=V for execve(2), NUL included */
#define LOAD_STRINGS_MAX (1u << 20)	   /* command, args and env of one container together */
#define LOAD_CONFIG_MAX (1u << 20)	   /* bytes of values in one ConfigMap or Secret */

/* A ConfigMap or Secret. */
struct load_key {
	const char *key;
	uint8_t *data; /* len bytes and a NUL, the pod's */
	size_t len;
	bool text; /* may become a variable: not from binaryData */
};

struct load_config {
	bool secret;
	const char *name, *ns;
	uint32_t line;
	struct load_key *keys; /* sorted by key */
	size_t n;
};

struct loader {
	const char *file;
	const struct kube_context *ctx;
	struct pool *mem; /* the pod's */
	struct kube_pod *pod;
	struct load_config *configs;
	size_t n_configs;
	const char *service_account;	    /* spec.serviceAccountName, default "default" */
	struct tree_node **container_nodes; /* one per pod->containers */
	size_t n_files, files_bytes;
	struct schema_seen seen;
	size_t notes_cap;
	struct err *err;
};

/* ---- errors and notes: load.c ---- */

/* "FILE:LINE: PATH: message" at a node that is there. Returns -EINVAL. */
int load_error(struct loader *l, const struct tree_node *at, const char *fmt, ...) printf_like(3, 4);
/* The same for a member of `parent` that is not there. */
int load_error_of(struct loader *l, const struct tree_node *parent, const char *member, const char *fmt, ...)
	printf_like(4, 5);
int load_no_memory(struct loader *l);
/* "FILE:LINE: PATH", for errors that only show when the pod is made. The pod's. */
int load_where(struct loader *l, char **ret, const struct tree_node *at) must_check;
/* Adds a line to the pod's notes. 0 or -ENOMEM. */
int load_note(struct loader *l, const struct tree_node *at, const char *fmt, ...) printf_like(3, 4);

/* ---- getters: load.c ---- */

/* The member, NULL when absent or null. `obj` may be NULL. */
struct tree_node *load_get(struct tree_node *obj, const char *name);
/* The text of a string member; NULL when absent, null or empty. */
const char *load_str(struct tree_node *obj, const char *name);
bool load_bool(struct tree_node *obj, const char *name, bool otherwise);
int64_t load_int(struct tree_node *obj, const char *name, int64_t otherwise);
/* The value of an int or float node that the schema found whole. */
int64_t load_int_value(const struct tree_node *n);
/* The quantity of a node that the schema accepted, in units of `unit` nano, rounded up. */
uint64_t load_quantity(const struct tree_node *n, uint64_t unit);
/* Copies a text into the pod; NULL stands for `otherwise` (not NULL). */
int load_copy(struct loader *l, char **ret, const char *text, const char *otherwise) must_check;
/* Copies a list of strings; `check` (may be NULL) says what is wrong with one. At most `max`. */
int load_strings(struct loader *l, struct kube_strings *ret, struct tree_node *list, size_t max,
	const char *(*check)(const char *text)) must_check;
/* Copies a map of strings. */
int load_pairs(struct loader *l, struct kube_pair **ret, size_t *ret_n, const struct tree_node *map) must_check;

/* ---- ConfigMaps and Secrets: load_config.c ---- */

int load_config(struct loader *l, struct tree_node *doc, bool secret) must_check;
/*
 * The ConfigMap or Secret of that name in the pod's namespace. 0: found. 1: absent and `optional`. `at` is where it is named.
 */
int load_find_config(struct loader *l, const struct load_config **ret, const struct tree_node *at, bool secret,
	bool optional) must_check;
const struct load_key *load_find_key(const struct load_config *config, const char *key);

/* ---- downward API: load_field.c ---- */

/* The value of a fieldRef or resourceFieldRef object. `c` is the container that asks; NULL: a volume asks. */
int load_field_ref(struct loader *l, char **ret, struct tree_node *ref, const struct kube_container *c) must_check;
int load_resource_ref(struct loader *l, char **ret, struct tree_node *ref, const struct kube_container *c) must_check;

/* ---- parts of the pod ---- */

int load_meta(struct loader *l, struct tree_node *doc) must_check;	    /* load_pod.c */
int load_pod_settings(struct loader *l, struct tree_node *spec) must_check; /* load_pod.c */
int load_dns(struct loader *l, struct tree_node *spec) must_check;	    /* load_dns.c: hostname, DNS, aliases */
/* Names, images, ports, resources, security, of all containers. */
int load_containers(struct loader *l, struct tree_node *spec) must_check; /* load_container.c */
/* What they ask for together is not more than the context's max_memory. */
int load_check_memory(struct loader *l, struct tree_node *spec) must_check; /* load_container.c */
/* What needs volumes and the other containers: environment, command, mounts. */
int load_container_rest(struct loader *l, struct kube_container *c, struct tree_node *n) must_check; /* load_env.c */
int load_mounts(struct loader *l, struct kube_container *c, struct tree_node *n) must_check;	     /* load_mount.c */
int load_volumes(struct loader *l, struct tree_node *spec) must_check;				     /* load_volume.c */
int load_resources(struct loader *l, struct kube_resources *ret, struct tree_node *resources) must_check;
/* Container security, from the container's and the pod's contexts. */
int load_security(struct loader *l, struct kube_security *ret, struct tree_node *own, struct tree_node *pod) must_check;

/*
 * Expands $(NAME) from c->env, and $$ to $, as the kubelet does. A name that is not there stays as it is written; with `missing` set it
 * gets the first such name (to be refused). -E2BIG: longer than LOAD_STRING_MAX.
 */
int load_expand(struct loader *l, char **ret, const char *text, const struct kube_container *c,
	const char **missing) must_check;
