/* SPDX-License-Identifier: Apache-2.0 */
/* A disk of 64 sectors in memory, by threads or by io_uring as the first byte says; the file may shrink under it. */
#include "fuzz_dev.h"
#include "virtio/blk.h"

#define SECTORS 64

static void event(struct fuzz_dev *f, uint8_t what)
{
	const int *fd = f->ctx;

	if (ftruncate(*fd, what & 1 ? SECTORS * BLK_SECTOR : what * 1024) < 0)
		return;
	(void)loop_turn(f->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_options opts = {.id = "disk"};
	struct blk *b = NULL;
	int fd;

	if (size == 0)
		return 0;
	opts.engine = data[0] & 1 ? BLK_ENGINE_THREADS : BLK_ENGINE_AUTO;
	opts.read_only = data[0] & 2;
	fd = opts.fd = memfd_create("disk", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, SECTORS * BLK_SECTOR) < 0 || blk_new(&b, fuzz_loop(), &opts, NULL) < 0)
		return 0;
	fuzz_play(blk_dev(b), fuzz_loop(), data + 1, size - 1, event, &fd);
	blk_free(b);
	return 0;
}
