/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread calls whose devices belong to our own machine: interrupts. */
ALLOW_EQUAL(ioctl, 1, KVM_SIGNAL_MSI)
