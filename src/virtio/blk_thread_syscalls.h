/* SPDX-License-Identifier: Apache-2.0 */
/* What blk_io.c calls where there is no io_uring: its threads, and for them (see vmm/seccomp_gen.c for the form). */
ALLOW(preadv)
ALLOW(pwritev2)
ALLOW(fdatasync)
ALLOW_EQUAL(fallocate, 1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)
ALLOW_EQUAL(fallocate, 1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)

/* Never a process: CLONE_THREAD is demanded. clone3's flags cannot be seen, so glibc falls back. */
GLIBC(DENY(clone3, ENOSYS))
ALLOW_MASKED(clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM)
GLIBC(ALLOW(set_robust_list))
GLIBC(ALLOW(rseq))
GLIBC(ALLOW(sched_getaffinity))
