/* SPDX-License-Identifier: Apache-2.0 */
/* What balloon.c calls (see vmm/seccomp_gen.c for the form). */
ALLOW_EQUAL(madvise, 2, MADV_DONTNEED) /* pages that the guest gives up */
