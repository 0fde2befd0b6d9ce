/* SPDX-License-Identifier: Apache-2.0 */
/* What vhost_user*.c calls (see vmm/seccomp_gen.c for the form). */
ALLOW(recvmsg) /* requests with descriptors */
ALLOW(sendmsg) /* replies */
ALLOW(sendto)
ALLOW_EQUAL(fcntl, 1, F_GETFL) /* kick, call and err descriptors become non-blocking */
ALLOW_EQUAL(fcntl, 1, F_SETFL)
MUSL(ALLOW(fstat))				 /* is a memory descriptor as large as the front end says? */
GLIBC(ALLOW_EQUAL(newfstatat, 3, AT_EMPTY_PATH)) /* its fstat */
ALLOW_EQUAL(madvise, 2, MADV_DONTDUMP)		 /* the guest's memory */
ALLOW_EQUAL(madvise, 2, MADV_DONTFORK)
ALLOW_EQUAL(madvise, 2, MADV_DONTNEED)
