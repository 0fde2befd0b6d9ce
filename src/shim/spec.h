/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The OCI spec as containerd wrote it for a container on the host: what it says of the pod, what a VM cannot do, and how it becomes one
 * for the guest. Does no I/O but spec_read.
 */
#include "base/paths.h"
#include "oci/spec.h"
#include "shim/resize.h"

#define ANNOTATION_TYPE "io.kubernetes.cri.container-type" /* "sandbox", "container"; absent: a pod of its own */
#define ANNOTATION_SANDBOX "io.kubernetes.cri.sandbox-id"
#define ANNOTATION_SANDBOX_NAME "io.kubernetes.cri.sandbox-name"
#define ANNOTATION_SANDBOX_NAMESPACE "io.kubernetes.cri.sandbox-namespace"
#define ANNOTATION_SANDBOX_UID "io.kubernetes.cri.sandbox-uid"
#define ANNOTATION_CONTAINER "io.kubernetes.cri.container-name"
#define ANNOTATION_IMAGE "io.kubernetes.cri.image-name"

enum spec_kind {
	SPEC_SINGLE,	/* a container and its VM, in one: ctr, nerdctl, docker */
	SPEC_SANDBOX,	/* the pause container: the VM itself */
	SPEC_CONTAINER, /* joins the sandbox of its annotation */
};

/* <bundle>/config.json. -ENODATA when it is "null": a sandbox that has no spec (Sandbox API). */
int spec_read(struct oci_spec *ret, const char *bundle, struct err *err) must_check;
/* -EINVAL: an unknown type, or a container that does not say of which sandbox. */
int spec_kind(const struct oci_spec *spec, enum spec_kind *ret, struct err *err) must_check;
const char *spec_text(const struct oci_spec *spec, const char *key); /* an annotation, or "" */

/* -EINVAL when the pod wants the host's network, PID or IPC namespace (spec of a sandbox or single container). */
int spec_check_namespaces(const struct oci_spec *spec, struct err *err) must_check;
/* That error, for "network", "pid" or "ipc". */
int spec_refuse_namespace(const char *type, struct err *err) must_check;
/*
 * The pid in "/proc/PID/ns/pid", when the spec names a PID namespace to join by such a path; 0: it is a new one. -EINVAL: another
 * kind of path.
 */
int spec_pid_namespace(const struct oci_spec *spec, uint32_t *ret, struct err *err) must_check;
/* The path of the namespace of that type, NULL when it is a new one, or absent. Borrowed. */
const char *spec_namespace_path(const struct oci_spec *spec, const char *type);
/*
 * CPUs (rounded up) and bytes that the pod may use: of the sandbox's annotations, else of the container's own limits. 0: no
 * limit. -EINVAL: no numbers, or absurd ones.
 */
int spec_size(const struct oci_spec *spec, unsigned *ret_vcpus, uint64_t *ret_memory, struct err *err) must_check;
/* "linux.cgroupsPath", "" when absent. */
const char *spec_cgroups_path(const struct oci_spec *spec);

#define SPEC_HUGE_PAGE (UINT64_C(2) << 20) /* the only size that a guest can make */

struct spec_mount {
	const char *source, *destination; /* of the host; borrowed */
	bool read_only, recursive;	  /* recursive: "rro" */
	bool flat;			  /* "bind", not "rbind" */
	bool guest_writable;		  /* set by `bind`: the host enforces "ro", the guest must not */
	bool follow;			  /* later mounts of the host are to appear (HostToContainer) */
	/* Set by `bind`: it is a hugetlbfs, of which the guest makes one of its own; the guest path is its name then. */
	uint64_t huge_page; /* bytes; 0: it is not */
	uint32_t mode, uid, gid;
};

#define SPEC_MAJOR_MAX 4095 /* of Linux: 12 bits */
#define SPEC_MINOR_MAX 1048575

/* A block device that a container may use. */
struct spec_disk {
	const char *path; /* in the container; borrowed */
	unsigned major, minor;
	char access[4]; /* what the cgroup rules leave of "rwm" */
};

struct spec_guest {
	const char *rootfs;	/* guest path */
	const char *sandbox_id; /* a source below a folder of that name, ending in /shm, is the pod's /dev/shm */
	const char *pod_files;	/* guest folder with hosts, hostname, resolv.conf for those who lack them; NULL: none */
	/* Makes the source of mount number `i` visible in the guest, and says where. */
	int (*bind)(void *ctx, size_t i, struct spec_mount *m, char ret_guest[PATH_LEN], struct err *err);
	/* A block device of the host. Its entry keeps the host's numbers, without a rule, until spec_set_disk. NULL: they are refused. */
	int (*disk)(void *ctx, const struct spec_disk *disk, struct err *err);
	/* Something of the spec that is left out on purpose: one line for the log. */
	void (*note)(void *ctx, const char *text);
	void *ctx;
	struct resize_limits *limits; /* filled: what the container is created with; or NULL */
};

/*
 * Changes the spec for the guest: root, sources of bind mounts, limits of cgroup v1, devices of the host, versions; and compiles
 * seccomp. -EINVAL with the field and the reason for what a VM cannot do (character devices of the host, Bidirectional propagation).
 */
int spec_adjust(struct oci_spec *spec, const struct spec_guest *g, struct err *err) must_check;
/* The same for linux.resources alone (Update): what only cgroup v1 has is left out. resize.h has the rest. */
void spec_adjust_resources(json_t *resources);

/* ---- spec_devices.c ---- */

/* Part of spec_adjust: devices of the host go to g->disk, or are refused; of a privileged container they are left out. */
int spec_adjust_devices(struct oci_spec *spec, const struct spec_guest *g, struct err *err) must_check;
/* The entry with that path becomes the guest's device with these numbers, and a rule allows `access` to it. */
int spec_set_disk(struct oci_spec *spec, const struct spec_disk *disk, struct err *err) must_check;
/* Every device is allowed. */
bool spec_is_privileged(const struct oci_spec *spec);
