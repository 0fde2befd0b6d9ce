/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Errors: one readable line with an errno, in the caller's frame (nothing to allocate, nothing to free).
 *
 * Convention for every function that takes a `struct err *`:
 *   0    success; *err is untouched
 *   < 0  -errno; *err is filled, and the caller passes the same value up, adding context only where it adds a name
 *   > 0  an outcome that the function's comment lists; the caller handles it, *err is untouched
 * Errors are printed once, by main or by the event handler that drops them.
 * `err` may be NULL where the caller only wants the code.
 */
#include "base/cleanup.h"

struct err {
	int code; /* errno value, > 0 when set */
	char msg[480];
};

/* Sets the error to `code` (an errno value > 0) and the formatted message. Returns -code. */
int err_set(struct err *err, int code, const char *fmt, ...) printf_like(3, 4);

/* Sets the error from errno: the formatted message, then ": " and the errno's text. Returns -errno (-EIO if errno is 0). */
int err_errno(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Puts "context: " in front of the message. Returns the same -code. */
int err_wrap(struct err *err, const char *fmt, ...) printf_like(2, 3);
