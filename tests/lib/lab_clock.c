/* SPDX-License-Identifier: Apache-2.0 */
/* How long 100 million instructions take by the clock, in microseconds, three times: for tests/lab-time.bats. */
#include <stdio.h>
#include <time.h>

static long long now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

int main(void)
{
	for (int i = 0; i < 3; i++) {
		unsigned long n = 50000000;
		long long start = now_us();

		__asm__ volatile("1:	dec %0\n"
				 "	jnz 1b"
				 : "+r"(n)
				 :
				 : "cc");
		(void)printf("%lld\n", now_us() - start);
	}
	return 0;
}
