/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-pmem (virtio 1.2 §5.19) of a file that is only read: images. The file is mapped here; whoever runs the machine
 * puts the region at its address with a read-only memory slot, and into guest memory by guest_mem_add_ro, so that devices
 * may read from it. A flush has nothing to do and succeeds.
 */
#include "virtio/device.h"

#define PMEM_ALIGN (UINT64_C(2) << 20) /* of address and size: the guest maps it by huge pages */

struct pmem;

/* Maps the regular file `fd` (borrowed, only during the call) at gpa. The part from its end to the next 2 MiB is zeros. */
int pmem_new(struct pmem **ret, struct loop *loop, int fd, gpa_t gpa, struct err *err) must_check;
/* Unmaps; no memory slot and no guest_mem may refer to it any more. */
void pmem_free(struct pmem *p);
struct virtio_dev *pmem_dev(struct pmem *p);
const struct guest_region *pmem_region(const struct pmem *p);
