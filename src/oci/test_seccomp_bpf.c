/* SPDX-License-Identifier: Apache-2.0 */
/* The program made on the host: what becomes one, what stays crun's business, and that the kernel takes and obeys it. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "oci/seccomp_bpf.h"

#define ANNOTATION "run.oci.seccomp_bpf_data"

static size_t decode(const char *text, uint8_t *dst)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;
	uint32_t v = 0;
	unsigned bits = 0;

	for (; *text && *text != '='; text++) {
		v = v << 6 | (uint32_t)(strchr(digits, *text) - digits);
		bits += 6;
		if (bits >= 8)
			dst[n++] = (uint8_t)(v >> (bits -= 8));
	}
	return n;
}

/* What the kernel answers for a system call without arguments that matter: the classic BPF that libseccomp uses. */
static uint32_t evaluate(const struct sock_filter *f, size_t n, const struct seccomp_data *data, size_t *steps)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &f[pc];

		++*steps;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k + sizeof(a) <= sizeof(*data));
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction 0x%x", i->code);
		}
	}
	fail_msg("no end");
	return 0;
}

/* 0: unshare is EPERM and getppid works under the filter. */
static int child(struct sock_fprog *prog)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog) < 0)
		return 1;
	if (unshare(CLONE_NEWUSER) == 0 || errno != EPERM)
		return 2;
	return getppid() > 0 ? 0 : 3;
}

static void default_profile(void **state)
{
	static uint8_t bytes[65536];
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	struct sock_fprog prog;
	const char *text;
	size_t n;
	pid_t pid;
	int status;

	assert_int_equal(oci_spec_default(&spec, &err), 0);
	assert_int_equal(oci_compile_seccomp(&spec, NULL, &err), 0);
	assert_null(json_object_get(json_object_get(spec.root, "linux"), "seccomp"));
	text = oci_annotation(&spec, ANNOTATION);
	assert_non_null(text);
	assert_true(strlen(text) < sizeof(bytes));
	n = decode(text, bytes);
	assert_true(n > 0 && n % sizeof(struct sock_filter) == 0);
	prog = (struct sock_fprog){.len = (unsigned short)(n / sizeof(struct sock_filter)), .filter = (void *)bytes};
	pid = fork();
	if (pid == 0)
		_exit(child(&prog));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* How the default profile speaks of a system call: 1 always allowed, 0 not a word, -1 something else. */
static int allowed(const json_t *profile, const char *name)
{
	const json_t *rule, *n;
	size_t i, k;
	int r = 0;

	json_array_foreach (json_object_get(profile, "syscalls"), i, rule)
		json_array_foreach (json_object_get(rule, "names"), k, n)
			if (strcmp(json_string_value(n), name) == 0) {
				if (strcmp(json_string_value(json_object_get(rule, "action")), "SCMP_ACT_ALLOW") == 0 &&
					json_array_size(json_object_get(rule, "args")) == 0)
					return 1;
				r = -1;
			}
	return r;
}

/* Every system call of both architectures, against the profile read as text. */
static void obeys_the_profile(void **state)
{
	static const struct {
		uint32_t audit, scmp;
	} archs[] = {{AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64}, {AUDIT_ARCH_I386, SCMP_ARCH_X86}};
	static uint8_t bytes[65536];
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};
	json_t *profile;
	size_t n, yes = 0, no = 0, steps = 0;

	assert_int_equal(oci_spec_default(&spec, &err), 0);
	profile = json_deep_copy(json_object_get(json_object_get(spec.root, "linux"), "seccomp"));
	assert_int_equal(oci_compile_seccomp(&spec, NULL, &err), 0);
	n = decode(oci_annotation(&spec, ANNOTATION), bytes) / sizeof(struct sock_filter);
	for (size_t k = 0; k < ARRAY_SIZE(archs); k++)
		for (int nr = 0; nr < 460; nr++) {
			const struct seccomp_data data = {.nr = nr, .arch = archs[k].audit};
			auto_free char *name = seccomp_syscall_resolve_num_arch(archs[k].scmp, nr);
			uint32_t action = evaluate((const void *)bytes, n, &data, &steps);
			int want = name ? allowed(profile, name) : 0; /* no number: no rule */

			if (want >= 0 && action != (want ? SECCOMP_RET_ALLOW : (SECCOMP_RET_ERRNO | EPERM)))
				fail_msg("%s (%d, architecture %zu): 0x%x", name ? name : "unknown", nr, k, action);
			yes += want == 1;
			no += want == 0;
		}
	assert_true(yes > 500 && no > 100);
	/* A tree: 15 for each call. A list would be more than 100. */
	assert_true(steps / (2 * 460) < 25);
	json_decref(profile);
}

/* ---- programs that are kept ---- */

static char run[] = "/tmp/podvm-test-XXXXXX";

static int make_run(void **state)
{
	return mkdtemp(run) ? 0 : -1;
}

static int remove_run(void **state)
{
	struct err err = {0};

	return dir_remove_all(AT_FDCWD, run, &err);
}

static char *program_of(const char *profile)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};

	assert_int_equal(oci_spec_default(&spec, &err), 0);
	if (profile)
		assert_int_equal(oci_set_seccomp(&spec, profile, strlen(profile), &err), 0);
	assert_int_equal(oci_compile_seccomp(&spec, run, &err), 0);
	return strdup(oci_annotation(&spec, ANNOTATION));
}

/* The only file there; its bytes from `at` on are replaced if `bytes` is not NULL. */
static void spoil(size_t at_end, const char *bytes, size_t n)
{
	char path[300];
	glob_t g;

	(void)snprintf(path, sizeof(path), "%s/seccomp/*", run);
	assert_int_equal(glob(path, 0, NULL, &g), 0);
	assert_int_equal(g.gl_pathc, 1);
	{
		auto_close int fd = open(g.gl_pathv[0], O_RDWR | O_CLOEXEC);
		struct stat st;

		assert_true(fd >= 0 && fstat(fd, &st) == 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		if (bytes)
			assert_int_equal(pwrite(fd, bytes, n, st.st_size - (off_t)at_end), (ssize_t)n);
		else
			assert_int_equal(ftruncate(fd, st.st_size - (off_t)at_end), 0);
	}
	globfree(&g);
}

static ino_t inode_of_kept(void)
{
	char path[300];
	struct stat st;
	glob_t g;

	(void)snprintf(path, sizeof(path), "%s/seccomp/*", run);
	assert_int_equal(glob(path, 0, NULL, &g), 0);
	assert_int_equal(g.gl_pathc, 1);
	assert_int_equal(stat(g.gl_pathv[0], &st), 0);
	globfree(&g);
	return st.st_ino;
}

/* A program that is made anew is a new file. */
static void kept(void **state)
{
	static const char other[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}";
	auto_free char *first = program_of(NULL), *again = NULL, *second = NULL, *back = NULL;
	ino_t ino = inode_of_kept();

	again = program_of(NULL);
	assert_string_equal(again, first);
	assert_int_equal(inode_of_kept(), ino);
	second = program_of(other);
	assert_string_not_equal(second, first);
	back = program_of(NULL);
	assert_string_equal(back, first);
}

/* Files that are not what they should be: none is used. */
static void spoilt(void **state)
{
	auto_free char *first = NULL;
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/seccomp", run);
	assert_int_equal(dir_remove_all(AT_FDCWD, path, NULL), 0);
	first = program_of(NULL);
	for (unsigned i = 0; i < 6; i++) {
		auto_free char *again = NULL;
		ino_t ino = inode_of_kept();

		switch (i) {
		case 0: /* the program is cut */
			spoil(16, NULL, 0);
			break;
		case 1: /* never written by the disk */
			spoil(16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
			break;
		case 2: /* another profile, another maker */
			spoil(strlen(first) + 20, "x", 1);
			break;
		case 3: /* one character of the program */
			spoil(8, first[strlen(first) - 8] == 'z' ? "y" : "z", 1);
			break;
		case 4:
			spoil(strlen(first) + 2, "\n", 1);
			break;
		default: /* empty */
			spoil(0, NULL, 0);
			spoil(strlen(first), NULL, 0);
		}
		again = program_of(NULL);
		assert_string_equal(again, first);
		/* And a good one is back. */
		assert_int_not_equal(inode_of_kept(), ino);
	}
	/* No folder can be made: it works all the same. */
	assert_int_equal(dir_remove_all(AT_FDCWD, path, NULL), 0);
	assert_int_equal(symlink("/nowhere", path), 0);
	{
		auto_free char *again = program_of(NULL);

		assert_string_equal(again, first);
	}
	assert_int_equal(unlink(path), 0);
	/* Others may write there. */
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	{
		auto_free char *again = program_of(NULL);

		assert_string_equal(again, first);
		assert_int_equal(rmdir(path), 0);
	}
}

static void left_to_crun(void **state)
{
	static const char *const profiles[] = {
		"{\"defaultAction\":\"SCMP_ACT_TRACE\"}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_MIPS\"]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
		"NOTIFY\"}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
		"ERRNO\","
		"\"args\":[{\"index\":9,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_"
		"ERRNO\","
		"\"args\":[{\"index\":1,\"value\":-1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[3]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		auto_oci_spec struct oci_spec spec = {0};
		struct err err = {0};

		assert_int_equal(oci_spec_default(&spec, &err), 0);
		assert_int_equal(oci_set_seccomp(&spec, profiles[i], strlen(profiles[i]), &err), 0);
		assert_int_equal(oci_compile_seccomp(&spec, NULL, &err), 0);
		if (oci_annotation(&spec, ANNOTATION))
			fail_msg("compiled: %s", profiles[i]);
		assert_non_null(json_object_get(json_object_get(spec.root, "linux"), "seccomp"));
	}
}

static void unconfined(void **state)
{
	auto_oci_spec struct oci_spec spec = {0};
	struct err err = {0};

	assert_int_equal(oci_spec_default(&spec, &err), 0);
	oci_clear_seccomp(&spec);
	assert_int_equal(oci_compile_seccomp(&spec, NULL, &err), 0);
	assert_null(oci_annotation(&spec, ANNOTATION));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_profile),
		cmocka_unit_test(left_to_crun),
		cmocka_unit_test(unconfined),
		cmocka_unit_test(obeys_the_profile),
		cmocka_unit_test(kept),
		cmocka_unit_test(spoilt),
	};

	return cmocka_run_group_tests(tests, make_run, remove_run);
}
