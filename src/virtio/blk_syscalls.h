/* SPDX-License-Identifier: Apache-2.0 */
/* What blk*.c call on the device's loop (see vmm/seccomp_gen.c for the form); the ring is set up before the filter. */
ALLOW(io_uring_enter)
