/* SPDX-License-Identifier: Apache-2.0 */
#include "base/relro.h"

#ifdef __GLIBC__

int relro_protect(struct err *err)
{
	return 0;
}

#else

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int protect(struct dl_phdr_info *info, size_t size unused_arg, void *ctx)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		/* The linker ends it on a page's end; what shares the first page is read-only too. */
		uintptr_t start = (info->dlpi_addr + ph->p_vaddr) & ~(page - 1);
		uintptr_t end = (info->dlpi_addr + ph->p_vaddr + ph->p_memsz) & ~(page - 1);

		if (ph->p_type == PT_GNU_RELRO && mprotect((void *)start, end - start, PROT_READ) < 0)
			return err_errno(ctx, "mprotect of what was relocated");
	}
	return 0;
}

int relro_protect(struct err *err)
{
	return dl_iterate_phdr(protect, err);
}

#endif
