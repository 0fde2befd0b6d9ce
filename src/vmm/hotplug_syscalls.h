/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the main thread needs for what its owner asks while the guest runs (see seccomp_gen.c for the form): vCPUs are kicked, to stand;
 * for a device that comes, descriptors that were sent are looked at, events are made, KVM is told which addresses kick them. While
 * vCPUs stand KVM says which of them the guest has on line.
 */
MUSL(ALLOW(tkill))
GLIBC(ALLOW(getpid))
GLIBC(ALLOW_EQUAL(tgkill, 0, 1))
ALLOW(eventfd2)
ALLOW_EQUAL(ioctl, 1, KVM_IOEVENTFD)
ALLOW_EQUAL(ioctl, 1, KVM_GET_MP_STATE)
ALLOW_EQUAL(ioctl, 1, BLKGETSIZE64)
ALLOW_EQUAL(ioctl, 1, TUNSETVNETHDRSZ)
MUSL(ALLOW(fstat))
GLIBC(ALLOW_EQUAL(newfstatat, 3, AT_EMPTY_PATH)) /* its fstat */
ALLOW_EQUAL(fcntl, 1, F_GETFL)			 /* a tap is made not to block */
ALLOW_EQUAL(fcntl, 1, F_SETFL)
