/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of guest memory. It holds few regions (QEMU's machines have one to four), so a linear search is the
 * fastest one; a queue keeps the region that it hit last (guest_mem_at_hot) and rarely searches.
 *
 * Every check is a subtraction from a bound that is known not to wrap: gpa + size of a region never passes 2^64 - 1,
 * because guest_mem_add refuses it, so no sum is formed from an address that the guest chose.
 */
#include "virtio/guest_mem.h"

#include <errno.h>
#include <inttypes.h>

int guest_mem_add(struct guest_mem *mem, gpa_t gpa, uint64_t size, void *hva, struct err *err)
{
	uint64_t end, hva_end;

	if (size == 0 || !hva)
		return err_set(err, EINVAL, "guest memory at 0x%" PRIx64 ": empty region", gpa);
	if (__builtin_add_overflow(gpa, size, &end) || __builtin_add_overflow((uint64_t)(uintptr_t)hva, size, &hva_end))
		return err_set(err, EINVAL, "guest memory at 0x%" PRIx64 ": size 0x%" PRIx64 " wraps", gpa, size);
	for (unsigned i = 0; i < mem->n; i++) {
		const struct guest_region *r = &mem->regions[i];

		if (gpa < r->gpa + r->size && r->gpa < end)
			return err_set(err, EINVAL,
				"guest memory at 0x%" PRIx64 ", size 0x%" PRIx64 " overlaps the region at 0x%" PRIx64,
				gpa, size, r->gpa);
	}
	if (mem->n == GUEST_MEM_REGIONS_MAX)
		return err_set(err, ENOSPC, "guest memory has more than %d regions", GUEST_MEM_REGIONS_MAX);
	mem->regions[mem->n++] = (struct guest_region){.gpa = gpa, .size = size, .hva = hva};
	return 0;
}

int guest_mem_add_ro(struct guest_mem *mem, gpa_t gpa, uint64_t size, void *hva, struct err *err)
{
	int r = guest_mem_add(mem, gpa, size, hva, err);

	if (r == 0)
		mem->regions[mem->n - 1].readonly = true;
	return r;
}

void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->n; i++) {
		void *p = guest_region_at(&mem->regions[i], gpa, len);

		if (p)
			return mem->regions[i].readonly ? NULL : p;
	}
	return NULL;
}

void *guest_mem_at_hot_miss(const struct guest_mem *mem, struct guest_region *hot, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->n; i++) {
		void *p = guest_region_at(&mem->regions[i], gpa, len);

		if (!p)
			continue;
		*hot = mem->regions[i];
		return p;
	}
	return NULL;
}
