/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU thread calls: KVM_RUN, and what register accesses need (wake the device's loop and wait for it, a line to the
 * console). See seccomp_gen.c for the form.
 */
ALLOW_EQUAL(ioctl, 1, KVM_RUN)
ALLOW_EQUAL(ioctl, 1, KVM_GET_REGS)   /* to tell where KVM failed */
ALLOW_EQUAL(ioctl, 1, KVM_SIGNAL_MSI) /* a vector that was pending is unmasked */
ALLOW(write)			      /* eventfds, console, log */
ALLOW(futex)
ALLOW(rt_sigreturn)
ALLOW(clock_gettime)
ALLOW(restart_syscall)

/* The message of an assertion that fails; then as in thread_syscalls.h. */
ALLOW(writev)
GLIBC(ALLOW_MASKED(mmap, 2, PROT_EXEC, 0))
