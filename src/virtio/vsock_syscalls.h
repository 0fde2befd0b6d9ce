/* SPDX-License-Identifier: Apache-2.0 */
/* What vsock*.c and the broker call (see vmm/seccomp_gen.c for the form). */
ALLOW(accept4)	/* clients */
ALLOW(recvfrom) /* their CONNECT lines */
ALLOW(recvmsg)	/* payload into guest memory; the broker's answers */
ALLOW(sendmsg)	/* payload out of guest memory */
ALLOW(sendto)	/* "OK", buffered payload, dials to the broker */
ALLOW(shutdown)
ALLOW_EQUAL(ioctl, 1, SIOCINQ) /* how much is there to read? */
