/* SPDX-License-Identifier: Apache-2.0 */
/* The program made on the host: what becomes one, what stays crun's business, and that the kernel takes and obeys it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
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
	assert_int_equal(oci_compile_seccomp(&spec, &err), 0);
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
		assert_int_equal(oci_compile_seccomp(&spec, &err), 0);
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
	assert_int_equal(oci_compile_seccomp(&spec, &err), 0);
	assert_null(oci_annotation(&spec, ANNOTATION));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_profile),
		cmocka_unit_test(left_to_crun),
		cmocka_unit_test(unconfined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
