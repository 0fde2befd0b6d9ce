/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs at build time: turns the lists of system calls into BPF programs with libseccomp and writes them to stdout as C.
 * So podvm-vmm starts without compiling filters and carries neither the library nor its tables.
 *
 * A list is a header of lines
 *   ALLOW(name)                          any arguments
 *   ALLOW_EQUAL(name, arg, value)        if argument `arg` (counted from 0) equals value; several lines: any of them
 *   ALLOW_MASKED(name, arg, mask, value) if argument & mask equals value
 *   DENY(name, code)                     fails with errno `code`, for calls that the C library tries first
 * kept beside the code that makes the calls. Everything else, and every other instruction set, kills the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LINES_MAX 4096

enum form { ANY, EQUAL, MASKED, FAIL };

struct rule {
	const char *name;
	enum form form;
	unsigned arg;
	uint64_t mask, value;
};

#define ALLOW(name_) {.name = #name_, .form = ANY},
#define ALLOW_EQUAL(name_, arg_, value_) {.name = #name_, .form = EQUAL, .arg = (arg_), .value = (uint32_t)(value_)},
#define ALLOW_MASKED(name_, arg_, mask_, value_)                                                                       \
	{.name = #name_, .form = MASKED, .arg = (arg_), .mask = (mask_), .value = (value_)},
#define DENY(name_, code_) {.name = #name_, .form = FAIL, .value = (code_)},

static const struct rule vsock_rules[] = {
#include "virtio/vhost_user_syscalls.h"
#include "virtio/vsock_syscalls.h"
#include "vmm/thread_syscalls.h"
	{0}};

static const struct rule fs_rules[] = {
#include "virtio/fs_syscalls.h"
#include "virtio/vhost_user_syscalls.h"
#include "vmm/thread_syscalls.h"
	{0}};

static const struct rule devices_rules[] = {
#include "virtio/balloon_syscalls.h"
#include "virtio/blk_syscalls.h"
#include "virtio/blk_thread_syscalls.h"
#include "virtio/mem_syscalls.h"
#include "virtio/net_syscalls.h"
#include "virtio/rng_syscalls.h"
#include "virtio/vsock_syscalls.h"
#include "vmm/hotplug_syscalls.h"
#include "vmm/thread_syscalls.h"
#include "vmm/vm_syscalls.h"
	{0}};

static const struct rule vm_fs_rules[] = {ALLOW(eventfd2) /* the device is put on its bus in its own thread */
#include "virtio/fs_syscalls.h"
#include "vmm/thread_syscalls.h"
#include "vmm/vm_syscalls.h"
	{0}};

static const struct rule vcpu_rules[] = {
#include "vmm/vcpu_syscalls.h"
	{0}};

static int add(scmp_filter_ctx ctx, const struct rule *r)
{
	int nr = seccomp_syscall_resolve_name(r->name);

	if (nr == __NR_SCMP_ERROR)
		return -ENOENT;
	switch (r->form) {
	case EQUAL:
		return seccomp_rule_add_exact(ctx, SCMP_ACT_ALLOW, nr, 1,
			SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, UINT64_C(0xffffffff), r->value));
	case MASKED:
		return seccomp_rule_add_exact(
			ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, r->mask, r->value));
	case FAIL:
		return seccomp_rule_add_exact(ctx, SCMP_ACT_ERRNO((uint16_t)r->value), nr, 0);
	default:
		return seccomp_rule_add_exact(ctx, SCMP_ACT_ALLOW, nr, 0);
	}
}

static int print_filter(scmp_filter_ctx ctx, const char *name)
{
	static struct sock_filter code[LINES_MAX];
	int fd = memfd_create("bpf", MFD_CLOEXEC), r;
	ssize_t n;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	n = pread(fd, code, sizeof(code), 0);
	(void)close(fd);
	if (r < 0)
		return r;
	if (n <= 0 || (size_t)n >= sizeof(code))
		return -EFBIG;
	(void)printf("static const struct sock_filter %s_filter[] = {\n", name);
	for (size_t i = 0; i < (size_t)n / sizeof(code[0]); i++)
		(void)printf("\t{0x%02x, %u, %u, 0x%08x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
	(void)printf("};\n");
	return 0;
}

static int generate(const char *name, const struct rule *rules)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	for (const struct rule *p = rules; p->name && r >= 0; p++) {
		r = add(ctx, p);
		if (r == -EEXIST)
			r = 0; /* two modules need the same call */
		if (r < 0)
			(void)fprintf(stderr, "seccomp_gen: %s: %s: %s\n", name, p->name, strerror(-r));
	}
	if (r >= 0)
		r = print_filter(ctx, name);
	seccomp_release(ctx);
	return r;
}

int main(void)
{
	(void)printf("/* Made by seccomp_gen.c. */\n");
	if (generate("vsock", vsock_rules) < 0 || generate("fs", fs_rules) < 0 ||
		generate("devices", devices_rules) < 0 || generate("vm_fs", vm_fs_rules) < 0 ||
		generate("vcpu", vcpu_rules) < 0)
		return 1;
	return fflush(stdout) == 0 ? 0 : 1;
}
