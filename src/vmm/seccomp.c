/* SPDX-License-Identifier: Apache-2.0 */
/* Installs a filter that seccomp_gen.c made at build time, for the calling thread only. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "seccomp_filters.h"
#include "vmm/jail.h"

static const struct {
	const struct sock_filter *code;
	unsigned short n;
} filters[] = {
	[JAIL_VSOCK] = {vsock_filter, ARRAY_SIZE(vsock_filter)},
	[JAIL_FS] = {fs_filter, ARRAY_SIZE(fs_filter)},
	[JAIL_DEVICES] = {devices_filter, ARRAY_SIZE(devices_filter)},
	[JAIL_VM_FS] = {vm_fs_filter, ARRAY_SIZE(vm_fs_filter)},
	[JAIL_VCPU] = {vcpu_filter, ARRAY_SIZE(vcpu_filter)},
};
_Static_assert(ARRAY_SIZE(filters) == JAIL_KINDS, "a filter for every kind of thread");

static int install(const struct sock_filter *code, unsigned short n, struct err *err)
{
	struct sock_fprog prog = {.len = n, .filter = (struct sock_filter *)(uintptr_t)code};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return err_errno(err, "jail: seccomp");
	return 0;
}

int seccomp_apply(enum jail_kind kind, enum jail_seccomp mode, struct err *err)
{
	const struct sock_filter *code = filters[kind].code;
	unsigned short n = filters[kind].n;
	struct sock_filter *copy;
	int r;

	if (mode == JAIL_SECCOMP_OFF)
		return 0;
	if (mode == JAIL_SECCOMP_KILL)
		return install(code, n, err);
	copy = malloc(n * sizeof(*copy));
	if (!copy)
		return err_set(err, ENOMEM, "jail: seccomp: out of memory");
	memcpy(copy, code, n * sizeof(*copy));
	for (unsigned short i = 0; i < n; i++)
		if (copy[i].code == (BPF_RET | BPF_K) && copy[i].k == SECCOMP_RET_KILL_PROCESS)
			copy[i].k = SECCOMP_RET_LOG;
	r = install(copy, n, err);
	free(copy);
	return r;
}
