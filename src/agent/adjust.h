/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The OCI spec as the host wrote it, made true in the guest and checked: a spec cannot bind anything of the guest's own
 * into a container, run a program outside of it (hooks), or leave its cgroup.
 */
#include "oci/spec.h"

#define ADJUST_MOUNTS_MAX 256
#define ADJUST_STAGE_MAX 192
#define ADJUST_ENV_MAX 256

struct adjust {
	const char *id;	    /* container */
	const char *cgroup; /* "/podvm/<id>" */
	int pid_ns_pid;	    /* a process in the PID namespace to join; 0: a new one */
	bool terminal;	    /* as the request said */
	const char *stage;  /* an empty folder of the agent's own, where sources are bound */
	/* Folders that bind mounts and the rootfs may come from, NULL-terminated; normally allowed_sources. */
	const char *const *sources;
	const char *volumes; /* the one of them where volumes of huge pages are made; NULL: such mounts are refused */
};

extern const char *const adjust_sources[];

/* Bind mounts at <stage>/<0..n), which must stay until crun has made its own from them. */
struct adjust_held {
	char stage[ADJUST_STAGE_MAX];
	size_t n;
};

/*
 * Changes `spec`: namespaces, cgroupsPath, hostname (the pod's is set by Configure), cpusets and LSM labels of the host,
 * annotations that steer crun. Sources of bind mounts are bound to how->stage and taken from there, so that what was
 * checked is what is mounted. Block devices outside of /dev become such mounts. -EINVAL or -EPERM name the field.
 * *held is the caller's to close in any case.
 */
int adjust_spec(struct oci_spec *spec, const struct adjust *how, struct adjust_held *held, struct err *err) must_check;
void adjust_close(struct adjust_held *held);

/*
 * The process object of an exec (JSON, changed in place): user, capabilities, rlimits, noNewPrivileges, cwd and env that
 * are absent come from `base`, the container's own.
 */
int adjust_process(json_t *process, const json_t *base, bool terminal, struct err *err) must_check;
/* Sets "NAME=VALUE" texts on top of process.env (which may be the base's own: it is copied). At most ADJUST_ENV_MAX. */
int adjust_env(json_t *process, const char *const *add, size_t n, struct err *err) must_check;
