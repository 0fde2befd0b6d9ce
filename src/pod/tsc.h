/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The frequency of this machine's time stamp counter, which a guest under TCG sees unchanged. */
#include <stdint.h>

struct tsc_sample {
	uint64_t tsc, ns;
};

#define TSC_SPAN_NS UINT64_C(2000000) /* apart by so much, two samples give the frequency to about 10 ppm */

void tsc_sample(struct tsc_sample *ret);
/* kHz from two samples; 0 when they make no sense (under 100 MHz, over 10 GHz, in the wrong order, too near). */
uint32_t tsc_khz(const struct tsc_sample *a, const struct tsc_sample *b);
/* Takes the second sample, waiting until it is TSC_SPAN_NS after `a`. */
uint32_t tsc_khz_since(const struct tsc_sample *a);
