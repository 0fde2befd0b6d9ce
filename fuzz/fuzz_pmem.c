/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_dev.h"
#include "virtio/pmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct pmem *p = NULL;

	if (fd < 0)
		fd = memfd_create("image", MFD_CLOEXEC);
	if (ftruncate(fd, 8192) < 0 || pmem_new(&p, fuzz_loop(), fd, UINT64_C(1) << 32, NULL) < 0)
		return 0;
	fuzz_play(pmem_dev(p), fuzz_loop(), data, size, NULL, NULL);
	pmem_free(p);
	return 0;
}
