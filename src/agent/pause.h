/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The first process of a PID namespace that all containers share: reaps, and does nothing else. */
#include "base/err.h"

/* *ret_pid: its pid in the guest. It lives until the guest ends. */
int pause_start(int *ret_pid, struct err *err) must_check;
