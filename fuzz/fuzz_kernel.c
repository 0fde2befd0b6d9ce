/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile kernel file for the loader of podvm-vmm: whatever it says, only guest memory is written, and the entry is in it. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/boot.h"

#define SIZE (UINT64_C(64) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_close int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct boot_result b = {0};
	struct ram ram = {0};

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || ram_init(&ram, SIZE, false, NULL) < 0)
		abort();
	if (boot_load_kernel(&ram, fd, &b, NULL) == 0 &&
		(b.entry < b.kernel_start || b.entry >= b.kernel_end || !guest_mem_at(&ram.mem, b.entry, 1)))
		abort();
	(void)munmap(ram.base - RAM_GUARD, SIZE + 2 * RAM_GUARD);
	return 0;
}
