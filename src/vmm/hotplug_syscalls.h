/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device that comes while the guest runs needs on the main thread (see seccomp_gen.c for the form): descriptors that the
 * owner sent are looked at, events are made, KVM is told which addresses kick them.
 */
ALLOW(eventfd2)
ALLOW_EQUAL(ioctl, 1, KVM_IOEVENTFD)
ALLOW_EQUAL(ioctl, 1, BLKGETSIZE64)
ALLOW_EQUAL(ioctl, 1, TUNSETVNETHDRSZ)
MUSL(ALLOW(fstat))
GLIBC(ALLOW_EQUAL(newfstatat, 3, AT_EMPTY_PATH)) /* its fstat */
ALLOW_EQUAL(fcntl, 1, F_GETFD)			 /* a descriptor of a request: close-on-exec, not blocking */
ALLOW_EQUAL(fcntl, 1, F_SETFD)
ALLOW_EQUAL(fcntl, 1, F_GETFL)
ALLOW_EQUAL(fcntl, 1, F_SETFL)
