/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (landlock(7)): what seccomp cannot judge, because it sees numbers and no paths. Only the fs thread may
 * open files: it may do to files below the root whatever a file server does, but not execute them or make devices, and
 * nothing elsewhere, for instance through a descriptor that leads out. No TCP, no abstract unix socket, no signal
 * to a process outside. Rights that the running kernel does not know yet are left out, so an older kernel checks less.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/jail.h"

#define ABI_REFER 2 /* before, a file could not be renamed into another folder at all */
#define ABI_TRUNCATE 3
#define ABI_NET 4
#define ABI_IOCTL 5
#define ABI_SCOPE 6

/* Our own copy: the header of the build machine may be older than the kernel. */
#define FS_REFER (UINT64_C(1) << 13)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_ALL UINT64_C(3)
#define SCOPE_ALL UINT64_C(3)

struct attr {
	uint64_t fs, net, scoped;
};

static struct attr handled_by(long abi)
{
	struct attr a = {.fs = FS_REFER - 1};

	if (abi >= ABI_REFER)
		a.fs |= FS_REFER;
	if (abi >= ABI_TRUNCATE)
		a.fs |= FS_TRUNCATE;
	if (abi >= ABI_NET)
		a.net = NET_ALL;
	if (abi >= ABI_IOCTL)
		a.fs |= FS_IOCTL_DEV;
	if (abi >= ABI_SCOPE)
		a.scoped = SCOPE_ALL;
	return a;
}

static int allow_root(int ruleset, uint64_t handled, struct err *err)
{
	auto_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const uint64_t never = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
			       LANDLOCK_ACCESS_FS_MAKE_BLOCK | FS_IOCTL_DEV;
	struct landlock_path_beneath_attr rule = {.allowed_access = handled & ~never, .parent_fd = root};

	if (root < 0)
		return err_errno(err, "jail: open root");
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_errno(err, "jail: Landlock rule");
	return 0;
}

int landlock_apply(enum jail_kind kind, struct err *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	auto_close int ruleset = -1;
	struct attr attr;
	size_t size;
	int r;

	if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
		return 1;
	if (abi < 0)
		return err_errno(err, "jail: Landlock");
	if (jail_has_files(kind) && abi < ABI_REFER)
		return 1;
	attr = handled_by(abi);
	/* An old kernel refuses a longer structure only if what it does not know is set; so the whole of it is fine. */
	size = sizeof(attr);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return err_errno(err, "jail: Landlock rule set");
	if (jail_has_files(kind)) {
		r = allow_root(ruleset, attr.fs, err);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return err_errno(err, "jail: Landlock");
	return 0;
}
