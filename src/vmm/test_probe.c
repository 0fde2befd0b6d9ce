/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/probe.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/probe_guest.h"

extern const uint8_t probe_text[], probe_text_end[], probe_traps[], probe_fault[], probe_user[], probe_user_end[];

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void on_alarm(int signo)
{
}

/* Whatever this machine is: a verdict, in time, in one line that fits into JSON, and nothing is left behind. */
static void a_verdict_always(void **state)
{
	struct sigaction mine = {.sa_handler = on_alarm}, after;
	struct kvm_probe_result res;
	unsigned fds = count_fds();
	struct itimerval t;

	(void)sigaction(SIGALRM, &mine, NULL);
	memset(&res, 0xff, sizeof(res));
	kvm_probe(&res);
	assert_int_equal(count_fds(), fds);
	assert_non_null(memchr(res.reason, 0, sizeof(res.reason)));
	assert_true(strlen(res.reason) > 10);
	for (const char *p = res.reason; *p; p++)
		assert_true(*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\');
	assert_in_range(res.took_us, 1, 60000000);
	assert_int_equal(getitimer(ITIMER_REAL, &t), 0);
	assert_int_equal(t.it_value.tv_sec + t.it_value.tv_usec, 0);
	assert_int_equal(sigaction(SIGALRM, NULL, &after), 0);
	assert_ptr_equal(after.sa_handler, on_alarm);
	print_message("KVM here: %s: %s\n", res.usable ? "usable" : "not usable", res.reason);
	assert_int_equal(access("/dev/kvm", R_OK | W_OK) == 0 || !res.usable, 1);
}

/* What probe.c takes for granted of the assembler's work. */
static void the_guest_has_its_shape(void **state)
{
	assert_in_range(probe_text_end - probe_text, 200, 4096);
	assert_in_range(probe_user_end - probe_user, 5, 64);
	assert_in_range(probe_fault - probe_text, 1, probe_traps - probe_text - 1);
	assert_in_range(probe_traps - probe_text, 1, probe_text_end - probe_text - 1);
	for (int v = 0; v < VECTORS; v++) {
		const uint8_t *entry = probe_traps + v * GATE_SIZE;

		assert_true(entry + GATE_SIZE <= probe_text_end);
		assert_int_equal(entry[0], 0x6a); /* push imm8 */
		assert_int_equal(entry[1], v);
	}
	assert_memory_equal(probe_user + (probe_user_end - probe_user) - 2, "\x0f\x05", 2); /* ends with syscall */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict_always),
		cmocka_unit_test(the_guest_has_its_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
