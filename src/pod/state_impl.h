/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What state.c and home.c share. */
#include <dirent.h>

#include "base/cleanup.h"
#include "pod/state.h"

bool pod_id_valid(const char *id);
/* Whether a supervisor holds the pod's lock. */
bool pod_alive(const char *id);

/* Reads state.json; what is missing or damaged is an empty object. Only memory that runs out is an error. */
int pod_entry_load(struct pod_entry *e, const char *id) must_check;
/* The value at a path like "vm.processes", borrowed, or NULL. */
json_t *pod_entry_at(const struct pod_entry *e, const char *path);

/* Opens the folder `pods` below base; *ret is NULL when there is none. */
int pod_open_all(DIR **ret, const char *base, struct err *err) must_check;
void pod_close_all(DIR **dir);

/* When the process started, in clock ticks since boot (field 22 of /proc/PID/stat); 0 when there is no such process. */
long long pod_process_start(pid_t pid);
/* A pidfd of the process, or -1 unless it still is the one that started at `ticks`. */
int pod_process_open(pid_t pid, long long ticks);
