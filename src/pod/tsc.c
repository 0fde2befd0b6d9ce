/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sample is the counter and the raw clock at one moment. The clock is read between two reads of the counter; of some tries
 * the one with the smallest gap counts, so an interrupt in the middle does no harm.
 */
#include "pod/tsc.h"

#include <time.h>
#include <x86intrin.h>

#define TRIES 16

void tsc_sample(struct tsc_sample *ret)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		struct timespec ts;
		uint64_t before = __rdtsc(), after;

		(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		after = __rdtsc();
		if (after - before >= best)
			continue;
		best = after - before;
		ret->tsc = before + best / 2;
		ret->ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	}
}

uint32_t tsc_khz(const struct tsc_sample *a, const struct tsc_sample *b)
{
	uint64_t ticks = b->tsc - a->tsc, ns = b->ns - a->ns;
	double khz;

	if (b->tsc <= a->tsc || b->ns <= a->ns || ns < TSC_SPAN_NS / 2)
		return 0;
	khz = (double)ticks * 1e6 / (double)ns;
	return khz >= 100e3 && khz <= 10e6 ? (uint32_t)(khz + 0.5) : 0;
}

uint32_t tsc_khz_since(const struct tsc_sample *a)
{
	struct tsc_sample b;

	do
		tsc_sample(&b);
	while (b.ns - a->ns < TSC_SPAN_NS);
	return tsc_khz(a, &b);
}
