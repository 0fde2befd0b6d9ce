/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A container's cgroup (v2): numbers out, limits in, freeze, kill. Files are addressed below a folder descriptor. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent.pb-c.h"
#include "base/err.h"

#define CGROUP_FILE_MAX 65536 /* bytes read of one file */
#define CGROUP_PIDS_MAX 65536

/* The number in a file; "max" is *ret 0. -ENOENT and so on, without a message in any log. */
int cgroup_read_u64(int dirfd, const char *name, uint64_t *ret, struct err *err) must_check;
/* The value of `key` in flat-keyed text ("key value\n"); false when it is not there or no number. */
bool cgroup_keyed(const char *text, const char *key, uint64_t *ret);
/* Sums rbytes= and wbytes= over the lines of an io.stat. */
void cgroup_io_sum(const char *text, uint64_t *ret_read, uint64_t *ret_written);
/* What one cgroup counts; what is missing stays 0. */
void cgroup_stats(int dirfd, Podvm__Agent__V1__GetStatsResponse *ret);
/* oom_kill of memory.events; 0 when it cannot be read. */
uint64_t cgroup_oom_kills(int dirfd);

int cgroup_write(int dirfd, const char *name, const char *text, struct err *err) must_check;
int cgroup_kill(int dirfd, struct err *err) must_check;
int cgroup_freeze(int dirfd, bool on, struct err *err) must_check;
/* cgroup.events says frozen, as asked for. */
bool cgroup_frozen(int dirfd);
/* Process ids of the cgroup and those below it. *ret is malloc'ed. */
int cgroup_pids(int dirfd, uint32_t **ret, size_t *ret_n, struct err *err) must_check;

#define CGROUP_CHANGES_MAX 32

struct cgroup_change {
	char file[48];
	char value[64];
};

/*
 * linux.resources of the OCI spec as cgroup v2 files. Returns how many changes, or -EINVAL for what cgroup v2 or a guest
 * cannot do (devices, blockIO by device, realtime ...): nothing is left out silently. `cpus` of the host mean nothing here.
 */
int cgroup_plan(const json_t *resources, struct cgroup_change ret[CGROUP_CHANGES_MAX], struct err *err) must_check;
/* Writes all, or restores what was there and fails. */
int cgroup_apply(int dirfd, const struct cgroup_change *changes, size_t n, struct err *err) must_check;
