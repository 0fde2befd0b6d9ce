/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "vmm/layout.h"

int ram_alloc(uint8_t **ret, uint64_t size, bool huge, struct err *err)
{
	uint8_t *p, *room = mmap(
			    NULL, size + 2 * LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return err_errno(err, "guest memory of %" PRIu64 " bytes", size);
	p = room + LARGE_PAGE - (uintptr_t)room % LARGE_PAGE;
	(void)munmap(room, (size_t)(p - room) - RAM_GUARD);
	(void)munmap(p + size + RAM_GUARD, (size_t)(room + 2 * LARGE_PAGE - p) - RAM_GUARD);
	if (mprotect(p, size, PROT_READ | PROT_WRITE) < 0)
		return err_errno(err, "guest memory of %" PRIu64 " bytes: mprotect", size);
	if (madvise(p, size, MADV_DONTDUMP) < 0 || (huge && madvise(p, size, MADV_HUGEPAGE) < 0))
		return err_errno(err, "guest memory: madvise");
	*ret = p;
	return 0;
}

int ram_init(struct ram *ram, uint64_t size, bool huge, struct err *err)
{
	uint64_t low = MIN_OF(size, LAYOUT_LOW_MAX);
	int r;

	if (size < MEMORY_MIN || size > MEMORY_MAX || size % LARGE_PAGE)
		return err_set(
			err, EINVAL, "guest memory of %" PRIu64 " bytes: must be 64 MiB to 64 GiB, in 2 MiB", size);
	r = ram_alloc(&ram->base, size, huge, err);
	if (r < 0)
		return r;
	ram->size = size;
	ram->mem = (struct guest_mem){0};
	r = guest_mem_add(&ram->mem, 0, low, ram->base, err);
	if (r == 0 && size > low)
		r = guest_mem_add(&ram->mem, LAYOUT_HIGH, size - low, ram->base + low, err);
	return r;
}

static int read_at(uint8_t *dst, int fd, uint64_t off, uint64_t len, struct err *err)
{
	while (len) {
		ssize_t n = pread(fd, dst, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read at %" PRIu64, off);
		if (n == 0)
			return err_set(err, EINVAL, "the file ends at %" PRIu64, off);
		dst += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Large pages for what is about to be filled whole; without them, where the host has none, it is only slower. */
static void prefer_large(const struct ram *ram, const uint8_t *dst, uint64_t len)
{
	uint64_t from = (uint64_t)(dst - ram->base) & ~(LARGE_PAGE - 1);
	uint64_t to = ((uint64_t)(dst - ram->base) + len) & ~(LARGE_PAGE - 1);

	if (to > from)
		(void)madvise(ram->base + from, to - from, MADV_HUGEPAGE);
}

void ram_prefer_small(const struct ram *ram, gpa_t gpa)
{
	uint8_t *at = guest_mem_at(&ram->mem, gpa & ~(LARGE_PAGE - 1), LARGE_PAGE);

	if (at)
		(void)madvise(at, LARGE_PAGE, MADV_NOHUGEPAGE);
}

int ram_load(const struct ram *ram, gpa_t gpa, int fd, uint64_t off, uint64_t len, struct err *err)
{
	uint8_t *dst = guest_mem_at(&ram->mem, gpa, len);

	if (!dst)
		return err_set(err, EINVAL, "%" PRIu64 " bytes at 0x%" PRIx64 " are not inside guest memory", len, gpa);
	if (off > INT64_MAX || len > INT64_MAX - off)
		return err_set(err, EINVAL, "bytes %" PRIu64 "+%" PRIu64 " are not inside the file", off, len);
	prefer_large(ram, dst, len);
	return read_at(dst, fd, off, len, err);
}
