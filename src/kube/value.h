/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The small grammars of the Kubernetes API, as the API server checks them. A check returns NULL when the text is fine, or
 * else what is wanted, in words that end a message ("must be ..."). Pure functions of their arguments.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

__extension__ typedef unsigned __int128 value_u128;

/* resource.Quantity: "1", "0.5", "500m", "1Gi", "12e6" ... */
struct value_quantity {
	bool negative;
	value_u128 nano; /* |value| in units of 10^-9, rounded up */
};

#define VALUE_UNIT 1000000000u /* in nano */
#define VALUE_MILLI 1000000u

/* 0; -EINVAL: no quantity; -ERANGE: more than 2^63 - 1. */
int value_quantity_parse(const char *text, struct value_quantity *ret) must_check;
/* The value in units of `unit` nano (> 0), rounded up, at most UINT64_MAX. The sign is not looked at. */
uint64_t value_quantity_ceil(const struct value_quantity *q, value_u128 unit);

const char *value_check_dns_label(const char *text);	  /* RFC 1123 label, 1 to 63 */
const char *value_check_dns_subdomain(const char *text);  /* RFC 1123 subdomain, 1 to 253 */
const char *value_check_port_name(const char *text);	  /* IANA service name, 1 to 15 */
const char *value_check_qualified_name(const char *text); /* [prefix/]name, of labels, annotations, resources */
const char *value_check_label_value(const char *text);
const char *value_check_config_key(const char *text); /* of ConfigMap and Secret */
const char *value_check_env_name(const char *text);   /* printable ASCII without "=" (the rule since Kubernetes 1.32) */
const char *value_check_ip(const char *text);	      /* IPv4 or IPv6, no zone */
const char *value_check_sysctl(const char *text);
const char *value_check_dns_search(const char *text); /* of dnsConfig.searches: underscores and a last dot are fine */
/* A relative path that stays below its root: not empty, no "..", at most 1023 bytes, parts of at most 255. */
const char *value_check_inner_path(const char *text);
/* An absolute path without "..", at most 1023 bytes. */
const char *value_check_absolute_path(const char *text);

/* Index of a capability by its name without CAP_, in upper case; -1: unknown. */
int value_capability(const char *name);
#define VALUE_CAPABILITIES 41					     /* Linux 5.9 and later */
extern const char *const value_capability_names[VALUE_CAPABILITIES]; /* "CHOWN", ... by number */

/*
 * Standard base64 (RFC 4648 §4), line breaks ignored, padding required. `dst` has room for 3 * (len / 4) + 3 bytes; the length goes
 * to *ret. -EINVAL.
 */
int value_base64_decode(const char *text, size_t len, uint8_t *dst, size_t *ret) must_check;

/* True for well-formed UTF-8 without NUL. */
bool value_is_text(const uint8_t *bytes, size_t len);

/* Edits (insert, delete, replace, swap of neighbours) from a to b without regard to case. Texts beyond 63 bytes are far from all. */
unsigned value_distance(const char *a, const char *b);
