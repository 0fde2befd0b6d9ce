/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_dev.h"
#include "virtio/balloon.h"

static void event(struct fuzz_dev *f, uint8_t what)
{
	struct balloon *b = f->ctx;

	if (what & 1)
		(void)balloon_poll_stats(b);
	else
		balloon_set_target(b, what);
	assert(balloon_get_stats(b)->valid <= UINT16_MAX);
}

/* Only guest memory is given back, and what was in it is lost: a guest may do that to its own rings. */
static void on_give_back(void *ctx, void *hva, uint64_t len)
{
	uint64_t at = (uint64_t)((uint8_t *)hva - fuzz_playing.vm.mem);

	assert(len > 0 && len % BALLOON_PAGE == 0 && at % BALLOON_PAGE == 0);
	assert(at < FUZZ_MEM && len <= FUZZ_MEM - at);
	if (at < FUZZ_BUFS)
		fuzz_playing.hostile = true;
	memset(hva, 0, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct balloon_options opts = {.give_back = on_give_back};
	struct balloon *b = NULL;

	if (balloon_new(&b, fuzz_loop(), &opts, NULL) < 0)
		return 0;
	fuzz_play(balloon_dev(b), fuzz_loop(), data, size, event, b);
	balloon_free(b);
	return 0;
}
