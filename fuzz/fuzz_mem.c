/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_dev.h"
#include "virtio/mem.h"

#define BLOCK 4096u
#define BLOCKS 64u
#define GPA (UINT64_C(1) << 32)

static uint8_t region[BLOCKS * BLOCK] __attribute__((aligned(4096)));
static uint64_t requested;

static void on_give_back(void *ctx, void *hva, uint64_t len)
{
	uint64_t off = (uint64_t)((uint8_t *)hva - region);

	assert(off % BLOCK == 0 && len % BLOCK == 0 && len > 0 && off <= sizeof(region) && len <= sizeof(region) - off);
}

static void event(struct fuzz_dev *f, uint8_t what)
{
	struct mem *m = f->ctx;
	int r = mem_set_requested(m, (uint64_t)(what * 2) * BLOCK, NULL);

	assert(r == 0);
	(void)r;
	requested = MAX_OF(requested, (uint64_t)(what * 2) * BLOCK);
	assert(mem_plugged(m) <= requested);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mem_options opts = {
		.gpa = GPA, .hva = region, .size = sizeof(region), .block_size = BLOCK, .give_back = on_give_back};
	struct mem *m = NULL;

	if (mem_new(&m, fuzz_loop(), &opts, NULL) < 0)
		return 0;
	requested = 0;
	fuzz_play(mem_dev(m), fuzz_loop(), data, size, event, m);
	assert(mem_plugged(m) <= requested && mem_plugged(m) % BLOCK == 0);
	mem_free(m);
	return 0;
}
