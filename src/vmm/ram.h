/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The guest's RAM: one anonymous private mapping, never reserved, zero until touched. Private memory is what large pages, free
 * page reporting and templates (copy on write from a file) need; nobody else maps it, since all devices are in this process.
 */
#include <stdbool.h>

#include "virtio/guest_mem.h"

struct ram {
	struct guest_mem mem;
	uint8_t *base; /* aligned to 2 MiB */
	uint64_t size;
};

/* `size` is a multiple of 2 MiB from MEMORY_MIN to MEMORY_MAX. `huge`: asks for large pages. Unmapped by the process's end. */
int ram_init(struct ram *ram, uint64_t size, bool huge, struct err *err) must_check;
/* Bytes before and behind guest memory that nobody may touch: to go on past its end is a fault. */
#define RAM_GUARD 4096u
/* Memory of that kind that belongs to no `struct ram`: what a device adds to the guest's. Aligned to 2 MiB. */
int ram_alloc(uint8_t **ret, uint64_t size, bool huge, struct err *err) must_check;

#define LARGE_PAGE (UINT64_C(2) << 20)
/* The 2 MiB around gpa get pages of 4 KiB, for the little that is about to be put there. Nothing happens outside guest memory. */
void ram_prefer_small(const struct ram *ram, gpa_t gpa);
/*
 * Copies bytes [off, off+len) of a file to gpa, into large pages where they fit. Mapping them would be quicker only until the
 * guest runs: a kernel writes to three in four pages of its code while it boots, and each would be copied then, at the price of
 * two faults. -EINVAL: not inside guest memory, or not inside the file.
 */
int ram_load(const struct ram *ram, gpa_t gpa, int fd, uint64_t off, uint64_t len, struct err *err) must_check;
