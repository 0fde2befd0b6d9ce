/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread calls whose devices belong to our own machine: interrupts. Kicks of vCPUs are tkill, in thread_syscalls.h. */
ALLOW_EQUAL(ioctl, 1, KVM_SIGNAL_MSI)
