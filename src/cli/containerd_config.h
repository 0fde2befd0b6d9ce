/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's configuration as far as `podvm install` touches it: text in, text out, no I/O.
 *
 * podvm's section stands between two comment lines, so it can be found and taken out again byte for byte. The file is TOML, but
 * only what is certain is read: the version, a list `imports` on one line, and whether a word occurs outside of comments.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/paths.h"

#define CONTAINERD_CONFIG_MAX (1u << 20)

struct containerd_config {
	unsigned version;	   /* 2 or 3 */
	bool installed;		   /* podvm's section is in it */
	bool has_runtimes;	   /* it names handlers */
	char import_dir[PATH_LEN]; /* absolute, of the first import that ends in "*.toml"; "" without one */
};

struct containerd_handler {
	const char *name;      /* of the handler; letters, digits and '-' */
	const char *sandboxer; /* "podsandbox" or "shim"; only version 3 knows it */
};

/*
 * What the text says. -EINVAL with the reason when it is not certain enough to be changed: a version that is not 2 or 3, a
 * template, CRI disabled, text that names the handler already, a section of podvm's without its end.
 */
int containerd_config_read(
	const char *text, const char *handler, struct containerd_config *ret, struct err *err) must_check;

/*
 * Appends podvm's section, comment lines included, to `out`. containerd 1 forgets its own handlers as soon as a file of version 2 names
 * one: `defaults`, what `containerd config dump` prints without the section, then gives those that are to be repeated. NULL: none.
 */
int containerd_config_section(unsigned version, const struct containerd_handler *handler, const char *defaults,
	struct buf *out, struct err *err) must_check;

/* Writes `text`, of which `c` tells, with the section at its end to `out`. */
int containerd_config_add(const char *text, const struct containerd_config *c, const struct containerd_handler *handler,
	const char *defaults, struct buf *out, struct err *err) must_check;

/* Writes `text` without the section to `out`: the very text that containerd_config_add was given. 1: there is none. */
int containerd_config_remove(const char *text, struct buf *out, struct err *err) must_check;

/*
 * Whether `after`, what `containerd config dump` prints with the section, is `before` and more, and has the handler.
 * -EINVAL names the first line that would be lost.
 */
int containerd_config_compare(const char *before, const char *after, const char *handler, struct err *err) must_check;
