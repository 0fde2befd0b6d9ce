/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's security settings: its own, and behind each the pod's. What a guest cannot enforce (AppArmor profiles) is
 * refused, never dropped: a pod must not run with less protection than its file says.
 */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

/* The member of the container's context, else of the pod's. Both count as read. */
static struct tree_node *merged(struct tree_node *own, struct tree_node *pod, const char *name)
{
	struct tree_node *mine = load_get(own, name), *shared = load_get(pod, name);

	return mine ? mine : shared;
}

static struct kube_id merged_id(struct tree_node *own, struct tree_node *pod, const char *name)
{
	const struct tree_node *n = merged(own, pod, name);

	return n ? (struct kube_id){.set = true, .v = (uint32_t)load_int_value(n)} : (struct kube_id){0};
}

/* ---- capabilities ---- */

static int unknown_capability(struct loader *l, const struct tree_node *n, const char *name)
{
	const char *bare = str_has_prefix(name, "CAP_") ? name + 4 : name;

	if (value_capability(bare) >= 0)
		return load_error(l, n, "capabilities are written without CAP_; write %s", bare);
	return load_error(l, n, "unknown capability %s; did you mean \"%s\"?", tree_quote(n->text, n->len).s,
		schema_nearest(bare, value_capability_names, VALUE_CAPABILITIES, NULL));
}

static int load_capability_list(struct loader *l, struct kube_strings *ret, struct tree_node *list)
{
	int r = load_strings(l, ret, list, 2 * VALUE_CAPABILITIES, NULL);

	for (size_t i = 0; r == 0 && i < ret->n; i++) {
		for (char *p = ret->v[i]; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		if (!str_eq(ret->v[i], "ALL") && value_capability(ret->v[i]) < 0)
			r = unknown_capability(l, list->items[i], ret->v[i]);
	}
	return r;
}

/* What the API server refuses, because each of these would undo allowPrivilegeEscalation: false. */
static int check_escalation(struct loader *l, const struct kube_security *s, struct tree_node *own)
{
	const struct tree_node *n = load_get(own, "allowPrivilegeEscalation");

	if (!s->no_new_privs)
		return 0;
	if (s->privileged)
		return load_error(l, n, "cannot be false in a privileged container; remove one of the two");
	for (size_t i = 0; i < s->cap_add.n; i++)
		if (str_eq(s->cap_add.v[i], "SYS_ADMIN"))
			return load_error(l, n, "cannot be false with the capability SYS_ADMIN; remove one of the two");
	return 0;
}

/* ---- profiles ---- */

static int load_seccomp(struct loader *l, struct kube_security *ret, struct tree_node *profile)
{
	const char *type = load_str(profile, "type"), *file = load_str(profile, "localhostProfile"), *wrong;

	ret->seccomp = KUBE_SECCOMP_RUNTIME_DEFAULT;
	if (!profile)
		return 0;
	if (str_eq(type, "Unconfined"))
		ret->seccomp = KUBE_SECCOMP_UNCONFINED;
	if (!str_eq(type, "Localhost"))
		return file ? load_error(l, load_get(profile, "localhostProfile"),
				      "goes only with type: Localhost; remove it")
			    : 0;
	ret->seccomp = KUBE_SECCOMP_LOCALHOST;
	if (!file)
		return load_error_of(l, profile, "localhostProfile", "is required with type: Localhost");
	wrong = value_check_inner_path(file);
	if (wrong)
		return load_error(
			l, load_get(profile, "localhostProfile"), "%s %s", tree_quote(file, strlen(file)).s, wrong);
	return load_copy(l, &ret->seccomp_profile, file, "");
}

static int check_apparmor(struct loader *l, struct tree_node *profile)
{
	const char *type = load_str(profile, "type");

	if (!profile || str_eq(type, "Unconfined"))
		return 0;
	if (str_eq(type, "Localhost"))
		return load_error(l, profile,
			"the guest's kernel has no AppArmor profiles; use seccompProfile, or type: Unconfined");
	return load_note(l, profile, "accepted, but does nothing here: the guest's kernel has no AppArmor profiles");
}

int load_security(struct loader *l, struct kube_security *ret, struct tree_node *own, struct tree_node *pod)
{
	struct tree_node *caps = load_get(own, "capabilities");
	const struct tree_node *non_root = merged(own, pod, "runAsNonRoot");
	const char *proc = load_str(own, "procMount");
	struct tree_node *pod_seccomp = load_get(pod, "seccompProfile"),
			 *pod_apparmor = load_get(pod, "appArmorProfile");
	struct kube_security ignored = {0};
	int r;

	ret->run_as_user = merged_id(own, pod, "runAsUser");
	ret->run_as_group = merged_id(own, pod, "runAsGroup");
	ret->run_as_non_root = non_root && non_root->yes;
	ret->privileged = load_bool(own, "privileged", false);
	ret->read_only_rootfs = load_bool(own, "readOnlyRootFilesystem", false);
	ret->no_new_privs = !load_bool(own, "allowPrivilegeEscalation", true);
	ret->proc_unmasked = proc && str_eq(proc, "Unmasked");
	if (ret->run_as_non_root && ret->run_as_user.set && ret->run_as_user.v == 0)
		return load_error(
			l, merged(own, pod, "runAsUser"), "is root, which runAsNonRoot forbids; change one of the two");
	r = load_capability_list(l, &ret->cap_add, load_get(caps, "add"));
	if (r == 0)
		r = load_capability_list(l, &ret->cap_drop, load_get(caps, "drop"));
	if (r == 0)
		r = check_escalation(l, ret, own);
	/* The pod's profile is checked even where every container has its own. */
	if (r == 0)
		r = load_seccomp(l, &ignored, pod_seccomp);
	if (r == 0)
		r = load_seccomp(l, ret, merged(own, pod, "seccompProfile"));
	if (r == 0 && pod_apparmor && l->pod->n_containers == 0)
		r = check_apparmor(l, pod_apparmor);
	return r < 0 ? r : check_apparmor(l, load_get(own, "appArmorProfile"));
}
