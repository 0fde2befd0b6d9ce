/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What procfs says of a process. */
#include <stdint.h>
#include <sys/types.h>

/* A number of /proc/PID/stat by its field as proc(5) counts them, from 4 on; 0 when there is no such process. */
uint64_t proc_stat(pid_t pid, unsigned field);
