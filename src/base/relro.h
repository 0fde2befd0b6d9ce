/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

/*
 * Makes the tables that were relocated (PT_GNU_RELRO: function pointers, the GOT) read-only. glibc's start files do so; musl's of a
 * static-pie (1.2.3) do not, so there main does it first thing. Elsewhere a no-op. -errno of mprotect(2).
 */
int relro_protect(struct err *err) must_check;
