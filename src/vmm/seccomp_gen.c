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
 * or, where only one C library needs it, GLIBC(ALLOW(name)), MUSL(ALLOW(name)); kept beside the code that makes the calls. Everything
 * else, and every other instruction set, kills the process.
 *
 * With SECCOMP_MUSL defined, a program with glibc has the filters for musl: the tests of podvm-vmm's own.
 *
 * --rules glibc|musl prints the lists instead, for tests: kind of thread, name, number, and argument, mask and value or "-".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LINES_MAX 4096
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

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

#define GLIBC(...) __VA_ARGS__
#define MUSL(...)
#define SET(name_) glibc_##name_
#include "vmm/seccomp_sets.h"
#undef GLIBC
#undef MUSL
#undef SET
#define GLIBC(...)
#define MUSL(...) __VA_ARGS__
#define SET(name_) musl_##name_
#include "vmm/seccomp_sets.h"

static const struct kind {
	const char *name;
	const struct rule *glibc, *musl;
} kinds[] = {
	{"vsock", glibc_vsock, musl_vsock},
	{"fs", glibc_fs, musl_fs},
	{"devices", glibc_devices, musl_devices},
	{"vm_fs", glibc_vm_fs, musl_vm_fs},
	{"vcpu", glibc_vcpu, musl_vcpu},
};

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

static void print_rules(const char *kind, const struct rule *rules)
{
	for (const struct rule *p = rules; p->name; p++) {
		(void)printf("%s %s %d", kind, p->name, seccomp_syscall_resolve_name(p->name));
		if (p->form == EQUAL || p->form == MASKED)
			(void)printf(" %u 0x%" PRIx64 " 0x%" PRIx64 "\n", p->arg,
				p->form == EQUAL ? UINT64_C(0xffffffff) : p->mask, p->value);
		else
			(void)printf(" - - -\n");
	}
}

static int generate_all(void)
{
	int r = 0;

	(void)printf("/* Made by seccomp_gen.c. */\n#if defined(__GLIBC__) && !defined(SECCOMP_MUSL)\n");
	for (size_t i = 0; i < N_KINDS && r == 0; i++)
		r = generate(kinds[i].name, kinds[i].glibc);
	(void)printf("#else\n");
	for (size_t i = 0; i < N_KINDS && r == 0; i++)
		r = generate(kinds[i].name, kinds[i].musl);
	(void)printf("#endif\n");
	return r;
}

int main(int argc, char **argv)
{
	const char *libc = argc == 3 && strcmp(argv[1], "--rules") == 0 ? argv[2] : "";

	if (strcmp(libc, "glibc") == 0 || strcmp(libc, "musl") == 0) {
		for (size_t i = 0; i < N_KINDS; i++)
			print_rules(kinds[i].name, *libc == 'g' ? kinds[i].glibc : kinds[i].musl);
	} else if (argc != 1) {
		(void)fprintf(stderr, "usage: seccomp_gen [--rules glibc|musl]\n");
		return 2;
	} else if (generate_all() < 0) {
		return 1;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
