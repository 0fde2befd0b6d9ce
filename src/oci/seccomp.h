/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The seccomp profile that containerd gives a container which asks for RuntimeDefault. */
#include <jansson.h>
#include <stdbool.h>

/*
 * linux.seccomp for a container with the capabilities of `bounding` (an array of "CAP_..." strings, or NULL: none). A
 * new object, the caller's; NULL: no memory.
 */
json_t *seccomp_default_profile(const json_t *bounding);
