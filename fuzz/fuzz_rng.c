/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_dev.h"
#include "virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rng *rng = NULL;

	if (rng_new(&rng, fuzz_loop(), NULL) < 0)
		return 0;
	fuzz_play(rng_dev(rng), fuzz_loop(), data, size, NULL, NULL);
	rng_free(rng);
	return 0;
}
