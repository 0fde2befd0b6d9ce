/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of QEMU for a pod: every option, and why. */
#include "pod/driver.h"

#define QEMU_ARGS_MAX 128
#define QEMU_ARGS_TEXT 8192

/* Descriptors that QEMU inherits, by number; taps from QEMU_FD_TAP on. */
enum qemu_fd {
	QEMU_FD_QMP = 3,
	QEMU_FD_CONSOLE,
	QEMU_FD_FS,
	QEMU_FD_VSOCK,
	QEMU_FD_KERNEL,
	QEMU_FD_INITRD,
	QEMU_FD_TAP
};

struct qemu_args {
	const char *v[QEMU_ARGS_MAX]; /* argv; ends with NULL */
	unsigned n;
	char text[QEMU_ARGS_TEXT];
	size_t used;
	int failed; /* -E2BIG once something did not fit */
};

/* Fills `a` for the program `qemu`. tsc_khz is of this machine and only looked at without KVM. -E2BIG, -EINVAL. */
int qemu_args_fill(struct qemu_args *a, const char *qemu, const struct vm_config *cfg, uint32_t tsc_khz,
	struct err *err) must_check;
