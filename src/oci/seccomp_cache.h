/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Finished seccomp programs, kept as files RUN/seccomp/<slot>, where RUN is PODVM_RUN, for the next container with the same profile: most of a
 * node's have the default one, and libseccomp takes ten times as long as the rest of a container's spec. There are 64 slots of 192 KiB at most,
 * and a profile has one of them, so there is nothing to evict. A file has the whole profile in it and is used only where that is equal.
 *
 * Whatever is wrong with the folder or a file, a program is made anew; nothing here fails a container. A file comes into being
 * whole (O_TMPFILE), so a kill leaves nothing.
 */
#include <stddef.h>

#define SECCOMP_CACHE_PROGRAM_MAX 65536u /* bytes: base64 of the 4096 instructions that the kernel takes, and more */

/* The program of `profile`, `len` bytes of text; malloc'ed, the caller's. NULL: there is none. */
char *seccomp_cache_get(const char *run, const char *profile, size_t len);
/* `program`: text without '\n', not empty. Nothing happens where `run` does not exist. */
void seccomp_cache_put(const char *run, const char *profile, size_t len, const char *program);
