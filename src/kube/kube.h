/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Kubernetes documents for one machine: a Pod and the ConfigMaps and Secrets that it names, read from one YAML file,
 * checked, and resolved (defaults applied, references followed, $(VAR) expanded) into plain structs. Nothing here does I/O.
 *
 * Everything that hangs on a struct kube_pod is freed with it, at once. No string is NULL unless its comment says so.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KUBE_YAML_MAX (3u << 20) /* bytes of input */

struct pool;
struct buf;

struct kube_strings { /* n strings */
	char **v;
	size_t n;
};

struct kube_pair {
	char *key, *value;
};

enum kube_pull { KUBE_PULL_IF_NOT_PRESENT, KUBE_PULL_ALWAYS, KUBE_PULL_NEVER };
enum kube_restart { KUBE_RESTART_ALWAYS, KUBE_RESTART_ON_FAILURE, KUBE_RESTART_NEVER };
enum kube_protocol { KUBE_TCP, KUBE_UDP, KUBE_SCTP };
enum kube_volume_kind { KUBE_VOLUME_EMPTY_DIR, KUBE_VOLUME_HOST_PATH, KUBE_VOLUME_FILES };
enum kube_host_path { /* hostPath.type */
	KUBE_HOST_ANY,
	KUBE_HOST_DIRECTORY,
	KUBE_HOST_DIRECTORY_OR_CREATE,
	KUBE_HOST_FILE,
	KUBE_HOST_FILE_OR_CREATE,
};
enum kube_seccomp { KUBE_SECCOMP_RUNTIME_DEFAULT, KUBE_SECCOMP_UNCONFINED, KUBE_SECCOMP_LOCALHOST };

struct kube_file {     /* of a configMap, secret, projected or downwardAPI volume */
	char *path;    /* relative, no "..", may contain "/" */
	uint32_t mode; /* permission bits */
	uint8_t *data; /* len bytes */
	size_t len;
};

struct kube_volume {
	char *name;
	enum kube_volume_kind kind;
	/* emptyDir */
	bool memory;
	uint64_t size_limit; /* bytes; 0: none */
	/* hostPath */
	char *host_path;
	char *where; /* "FILE:LINE: FIELD.PATH" of it, for messages */
	enum kube_host_path host_type;
	/* files */
	struct kube_file *files;
	size_t n_files;
};

struct kube_mount {
	size_t volume;	/* index into pod->volumes */
	char *path;	/* absolute, in the container */
	char *sub_path; /* relative, no ".."; "" for none; subPathExpr is already expanded */
	bool read_only;
	bool recursive_read_only;
};

struct kube_port {
	uint16_t container_port;
	uint16_t host_port; /* 0: not given */
	enum kube_protocol protocol;
	char *name;  /* "" for none */
	char *where; /* "FILE:LINE: FIELD.PATH", for messages */
};

struct kube_id { /* an optional number */
	bool set;
	uint32_t v;
};

struct kube_security { /* of a container: pod and container contexts merged */
	struct kube_id run_as_user, run_as_group;
	bool run_as_non_root;
	bool privileged;
	bool read_only_rootfs;
	bool no_new_privs;		       /* allowPrivilegeEscalation: false */
	bool proc_unmasked;		       /* procMount: Unmasked */
	struct kube_strings cap_add, cap_drop; /* "NET_ADMIN", "ALL": no CAP_ prefix, upper case, known names only */
	enum kube_seccomp seccomp;
	char *seccomp_profile; /* localhostProfile or NULL */
};

struct kube_resources { /* 0: not given */
	uint64_t cpu_limit_milli, cpu_request_milli;
	uint64_t memory_limit, memory_request; /* bytes */
	uint64_t storage_limit,
		storage_request; /* ephemeral-storage, bytes; not enforced, only resourceFieldRef sees it */
};

struct kube_container {
	char *name, *image;
	bool init;    /* from initContainers */
	bool sidecar; /* init with restartPolicy: Always */
	enum kube_pull pull;
	struct kube_strings command, args; /* expanded; n == 0: the image's */
	bool has_command, has_args;
	char *working_dir;     /* NULL: the image's */
	struct kube_pair *env; /* resolved, in order, each name once; no NUL, no "=" in a name */
	size_t n_env;
	struct kube_mount *mounts;
	size_t n_mounts;
	struct kube_port *ports;
	size_t n_ports;
	struct kube_resources resources;
	struct kube_security security;
	bool stdin_open, stdin_once, tty;
	char *termination_message_path; /* default /dev/termination-log */
	bool termination_fallback_to_logs;
	char *stop_signal; /* lifecycle.stopSignal, "SIGUSR1", "SIGRTMIN+3"; "" for the image's */
};

struct kube_host_alias {
	char *ip;
	struct kube_strings hostnames;
};

struct kube_pod {
	char *name, *ns, *uid;
	struct kube_pair *labels, *annotations;
	size_t n_labels, n_annotations;
	struct kube_container *containers; /* init containers first, in order, then the others in order */
	size_t n_containers, n_init;
	struct kube_volume *volumes;
	size_t n_volumes;
	enum kube_restart restart;
	uint32_t grace_seconds;		  /* default 30 */
	uint64_t active_deadline_seconds; /* 0: none */
	char *hostname;			  /* 1 to 64 bytes; the FQDN with setHostnameAsFQDN */
	char *dns_domain; /* "<subdomain>.<namespace>.svc.cluster.local", for /etc/hosts only; "" for none */
	struct kube_strings dns_servers, dns_searches, dns_options; /* as resolv.conf wants them */
	bool dns_from_host; /* dnsPolicy Default or ClusterFirst: start from the host's resolv.conf */
	struct kube_host_alias *host_aliases;
	size_t n_host_aliases;
	bool share_pid;
	struct kube_id fs_group;
	uint32_t *supplemental_groups;
	size_t n_supplemental_groups;
	bool groups_strict;		 /* supplementalGroupsPolicy: Strict: no groups from the image's /etc/group */
	struct kube_resources resources; /* of the whole pod (spec.resources) */
	uint64_t default_cpu_milli, default_memory; /* from the context */
	struct kube_pair *sysctls;
	size_t n_sysctls;
	struct kube_strings notes; /* one line per field that is accepted and means nothing here; to be logged once */
	struct pool *pool;	   /* owns everything above and the pod itself */
};

struct kube_context {	 /* what fieldRef needs from outside the file */
	const char *uid; /* used when metadata.uid is absent */
	const char *node_name, *host_ip, *pod_ip;
	uint64_t default_cpu_milli, default_memory; /* resourceFieldRef without a limit */
	uint64_t max_memory;			    /* bytes that the containers may have in all; 0: no bound */
};

/*
 * Reads the documents in yaml[0..len): exactly one Pod, and ConfigMaps and Secrets; a `kind: List` stands for its items. An
 * error (-EINVAL; -E2BIG: too large) is one line, "NAME:LINE: FIELD.PATH: what is wrong; what to do", with the nearest known
 * field for an unknown one. *ret is the caller's, kube_pod_free.
 */
int kube_load(struct kube_pod **ret, const char *name, const char *yaml, size_t len, const struct kube_context *ctx,
	struct err *err) must_check;
void kube_pod_free(struct kube_pod *pod);
DEFINE_FREEP(kube_pod);

/*
 * The VM size that the pod asks for; 0: nothing is said. CPUs are whole, rounded up; memory is in bytes. Pod-level limits count
 * first. Else, as the kubelet does: the containers and sidecars together, or what an init container and the sidecars before
 * it need, whichever is more. A container without a limit counts with its request, and then the result is at least the
 * context's default.
 */
void kube_pod_size(const struct kube_pod *pod, unsigned *ret_cpus, uint64_t *ret_memory);

/*
 * The text of /etc/hosts as the kubelet writes it: localhost, the pod under `pod_ip`, hostAliases. Appended to `out`;
 * 0, -ENOBUFS or -ENOMEM.
 */
int kube_hosts_text(const struct kube_pod *pod, const char *pod_ip, struct buf *out) must_check;
/*
 * The text of /etc/resolv.conf: what `host` (the host's file, "" for none) says unless dnsPolicy is None, then dnsConfig, with
 * the kubelet's limits (3 servers, 32 searches). Servers on a loopback address are left out, because they are not reachable
 * from the guest. Appended to `out`; 0, -ENOBUFS or -ENOMEM.
 */
int kube_resolv_conf_text(const struct kube_pod *pod, const char *host, struct buf *out) must_check;

struct oci_spec;
struct image_config;

struct kube_spec_paths {				 /* guest paths for one container, made by the pod code */
	const char *rootfs;				 /* /run/podvm/shared/containers/<id>/rootfs */
	const char *const *mount_sources;		 /* one per container->mounts, sub_path already applied */
	const char *hosts, *resolv_conf, *hostname_file; /* bound to /etc/...; NULL: not */
	const char *termination_log;			 /* file bound to termination_message_path; NULL: not */
	const char *shm;				 /* bound to /dev/shm */
};

/*
 * The OCI spec of container `c` as the kubelet and containerd's CRI would make it: command and args over the image's entrypoint
 * and cmd, environment, user (rootfs_fd resolves names; -EINVAL for runAsNonRoot with uid 0), capabilities, seccomp,
 * limits, mounts. -EINVAL when there is no command at all. Errors do
 * not name the container: the caller does. `seccomp_json`: content of a localhost profile or NULL.
 */
int kube_container_spec(struct oci_spec *ret, const struct kube_pod *pod, const struct kube_container *c,
	const struct image_config *image, int rootfs_fd, const struct kube_spec_paths *paths, const char *seccomp_json,
	struct err *err) must_check;
