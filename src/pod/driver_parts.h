/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the drivers have in common. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Copies text for a message: everything but printable ASCII becomes '?'. */
void driver_printable(char *dst, size_t size, const char *src, size_t len);
/* What spawn_wait returned, in words: "ended with exit code 1", "was killed by signal 9 (Killed)". */
void driver_describe_status(char dst[64], int status);
/* If the line is a kernel's panic and dst is still empty, dst gets its reason. */
void driver_find_panic(char *dst, size_t size, const char *line, size_t len);
/* Opens the guest's kernel or initramfs (`what`), which must be a file that everyone may read. */
int driver_open_file(int *ret, const char *what, const char *path, struct err *err) must_check;
/* The host's side of vsock: binds and listens. *ret_bound: the socket exists in the file system, whatever is returned. */
int driver_listen(const char *path, bool *ret_bound, int *ret, struct err *err) must_check;
