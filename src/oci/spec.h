/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The OCI runtime spec (config.json, runtime-spec 1.1) as we read, change and write it. The document stays whole:
 * fields that we do not know are kept. The parse checks the shape of every field that this code touches later, so that
 * the other functions cannot meet a wrong type.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define OCI_SPEC_MAX (1u << 20) /* bytes of JSON */
#define OCI_DEPTH_MAX 32

/*
 * What oci_spec_default writes; crun 1.8 takes no specification without "1.0" in its version, so the agent sets this.
 */
#define OCI_VERSION "1.0.2"

struct oci_spec {		 /* zero is an empty one */
	json_t *root;		 /* owned */
	json_t *default_seccomp; /* private: owned; linux.seccomp as oci_set_default_seccomp made it, or NULL */
};

/* Parses and checks. The error names the JSON path. */
int oci_spec_parse(struct oci_spec *ret, const char *json, size_t len, struct err *err) must_check;
/*
 * A Linux spec as containerd's CRI makes one for an unprivileged container on cgroup v2: default mounts (proc, dev,
 * devpts, mqueue, sysfs ro, cgroup ro), default capabilities, masked and read-only paths, default seccomp profile, all
 * devices denied (the runtime adds null, zero and so on), new namespaces pid, ipc, uts, mount, network, cgroup. No
 * rlimits: the container has those of the runtime's caller. args and env are empty, cwd "/", user 0:0, no_new_privs
 * false.
 */
int oci_spec_default(struct oci_spec *ret, struct err *err) must_check;
/* Compact JSON, malloc'ed, the caller's. */
int oci_spec_write(const struct oci_spec *spec, char **ret, size_t *ret_len, struct err *err) must_check;
void oci_spec_fini(struct oci_spec *spec);
#define auto_oci_spec cleanup_with(oci_spec_fini)

/*
 * Setters make the missing objects on the way. 0, -ENOMEM, or -EILSEQ for text that is not UTF-8: JSON cannot hold it.
 */
int oci_set_version(struct oci_spec *spec, const char *version) must_check;
int oci_set_root(struct oci_spec *spec, const char *path, bool readonly) must_check;
int oci_set_hostname(struct oci_spec *spec, const char *hostname) must_check;
int oci_set_args(struct oci_spec *spec, const char *const *args, size_t n) must_check;
int oci_set_env(struct oci_spec *spec, const char *const *env, size_t n) must_check; /* "K=V" */
int oci_set_cwd(struct oci_spec *spec, const char *cwd) must_check;
/* additionalGids gets gid first, as containerd does it (else a group's "no access" could be escaped), then `groups`. */
int oci_set_user(struct oci_spec *spec, uint32_t uid, uint32_t gid, const uint32_t *groups, size_t n_groups) must_check;
int oci_set_terminal(struct oci_spec *spec, bool terminal) must_check;
int oci_set_cgroups_path(struct oci_spec *spec, const char *path) must_check;
/* options: NULL-terminated. */
int oci_add_mount(struct oci_spec *spec, const char *destination, const char *type, const char *source,
	const char *const *options) must_check;
/* Removes the mount with that destination; absent is fine. */
void oci_remove_mount(struct oci_spec *spec, const char *destination);
/* Replaces the namespace of that type ("pid", "network", ...): path NULL: a new one. */
int oci_set_namespace(struct oci_spec *spec, const char *type, const char *path) must_check;
void oci_remove_namespace(struct oci_spec *spec, const char *type);
/*
 * process.capabilities: bounding, effective and permitted become `names` (NULL-terminated, "CAP_..."); inheritable and
 * ambient are dropped, as in containerd's CRI. A default seccomp profile that is still in place follows.
 */
int oci_set_capabilities(struct oci_spec *spec, const char *const *names) must_check;
int oci_set_no_new_privs(struct oci_spec *spec, bool on) must_check;
int oci_set_sysctl(struct oci_spec *spec, const char *key, const char *value) must_check;
/* linux.seccomp becomes the default profile for the capabilities that the spec has now. */
int oci_set_default_seccomp(struct oci_spec *spec) must_check;
/* linux.seccomp becomes the JSON object in `json` (a Localhost profile). */
int oci_set_seccomp(struct oci_spec *spec, const char *json, size_t len, struct err *err) must_check;
/* Drops linux.seccomp (unconfined). */
void oci_clear_seccomp(struct oci_spec *spec);
/*
 * Privileged inside the guest: drops masked and read-only paths, seccomp and the cgroup namespace; all capabilities;
 * /sys and cgroup writable; all devices allowed. Calls before it for these have no effect, later ones do.
 */
int oci_set_privileged(struct oci_spec *spec) must_check;

/* Read access: NULL or default when the field is absent. Borrowed strings. */
const char *oci_root_path(const struct oci_spec *spec);
bool oci_terminal(const struct oci_spec *spec);
json_t *oci_process(const struct oci_spec *spec);   /* borrowed object or NULL */
json_t *oci_linux_resources(struct oci_spec *spec); /* borrowed object, made when missing; NULL: no memory */
const char *oci_annotation(const struct oci_spec *spec, const char *key);
