/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * YAML text as a bounded tree of typed nodes, each with its line. Scalars get the types that the Kubernetes tools give them
 * (sigs.k8s.io/yaml, which follows YAML 1.1): a plain yes, no, on, off, y, n is a boolean, 0644 is octal, ~ is null.
 * Aliases become copies, so every node has one parent and one path; merge keys (<<) are applied.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kube/pool.h"

#define TREE_DEPTH_MAX 48
#define TREE_NODES_MAX 65536 /* in all documents, copies by alias included */
#define TREE_ANCHORS_MAX 1024
#define TREE_DOCUMENTS_MAX 256
#define TREE_PATH_MAX 192 /* bytes of a path in a message, NUL included */

enum tree_kind { TREE_NULL, TREE_BOOL, TREE_INT, TREE_FLOAT, TREE_STRING, TREE_LIST, TREE_MAP };

struct tree_node {
	enum tree_kind kind;
	uint32_t line;		  /* 1-based; of the value */
	uint32_t key_line;	  /* of the key, in a map */
	struct tree_node *parent; /* NULL: the top of a document */
	const char *key;	  /* in a map: ends with NUL and has none inside */
	size_t index;		  /* in a list or map, from 0 */
	/* scalars: the source text (unquoted, unescaped), with a NUL after it; a string may also have NULs inside */
	const char *text;
	size_t len;
	bool yes;	    /* TREE_BOOL */
	bool negative;	    /* TREE_INT */
	uint64_t magnitude; /* TREE_INT: |value| */
	double number;	    /* TREE_FLOAT: may be infinite or not a number */
	/* TREE_LIST, TREE_MAP: in the order of the source */
	struct tree_node **items;
	size_t n;
	struct tree_node **sorted; /* TREE_MAP: by key */
	uint32_t rank;		   /* while merging: 0 written here, else the number of the merged map */
	bool used;		   /* for the reader's bookkeeping */
};

struct tree {
	struct pool mem;
	struct tree_node *documents[TREE_DOCUMENTS_MAX]; /* empty documents are left out */
	size_t n;
};

/*
 * Reads all documents. Refused, with one line "NAME:LINE: what": text that is not YAML or not UTF-8, duplicate keys, keys that
 * are not scalars or that YAML turns into a boolean or another number, tags other than YAML's own scalar, map and seq, aliases
 * to nodes that are not finished, anything beyond the limits above. The tree is valid (tree_fini) in every case.
 */
int tree_parse(struct tree *ret, const char *name, const char *yaml, size_t len, struct err *err) must_check;
void tree_fini(struct tree *t);
#define auto_tree cleanup_with(tree_fini)

/* The value of `key` in a map; NULL when it is absent or `map` is no map. Does not mark it as used. */
struct tree_node *tree_find(const struct tree_node *map, const char *key);

/* Where a node is, as the Kubernetes API writes it: spec.containers[0].image, metadata.labels[app.kubernetes.io/name]. */
struct tree_text {
	char s[TREE_PATH_MAX];
};
struct tree_text tree_path(const struct tree_node *n);
/* The path of a member of `n` that need not be there. */
struct tree_text tree_path_of(const struct tree_node *n, const char *member);
/* Any bytes in double quotes, cut at 60 and made printable, for messages. */
struct tree_text tree_quote(const char *text, size_t len);
/* "a list", "the number 8080", "the boolean yes" ... for messages. */
struct tree_text tree_describe(const struct tree_node *n);

/* The type of an unquoted scalar: sets kind and value from text and len. */
void tree_resolve_scalar(struct pool *mem, struct tree_node *n);
