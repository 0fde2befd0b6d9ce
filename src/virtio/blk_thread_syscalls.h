/* SPDX-License-Identifier: Apache-2.0 */
/* What blk_io.c calls on its threads, where there is no io_uring (see vmm/seccomp_gen.c for the form). */
ALLOW(preadv)
ALLOW(pwritev2)
ALLOW(fdatasync)
ALLOW_EQUAL(fallocate, 1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)
ALLOW_EQUAL(fallocate, 1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)
