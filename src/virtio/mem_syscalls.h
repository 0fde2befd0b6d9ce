/* SPDX-License-Identifier: Apache-2.0 */
/* What mem.c calls (see vmm/seccomp_gen.c for the form). */
ALLOW_EQUAL(madvise, 2, MADV_DONTNEED) /* blocks that were unplugged */
