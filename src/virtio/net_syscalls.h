/* SPDX-License-Identifier: Apache-2.0 */
/* What net.c calls (see vmm/seccomp_gen.c for the form). */
ALLOW(readv)  /* frames from the tap into guest memory */
ALLOW(writev) /* frames out of guest memory */
ALLOW_EQUAL(ioctl, 1, TUNSETOFFLOAD)
