/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every thread of podvm-vmm calls once it is jailed (see seccomp_gen.c for the form): the event loop, the log, memory,
 * and the C library on its own account. No way to create a descriptor, a thread or a process is among them.
 */

/* base/loop.c, base/fd.c, base/log.c */
ALLOW(epoll_pwait)
ALLOW(epoll_ctl)
ALLOW(read) /* eventfds, signalfd */
ALLOW(write)
ALLOW(close)
ALLOW(poll) /* fd_write_all */
ALLOW(clock_gettime)
ALLOW(restart_syscall)

/* Memory, never executable. malloc, and the guest's memory from QEMU's descriptors. */
ALLOW(brk)
ALLOW_MASKED(mmap, 2, PROT_EXEC, 0)
ALLOW_MASKED(mprotect, 2, PROT_EXEC, 0)
ALLOW(munmap)
ALLOW(mremap)
ALLOW_EQUAL(madvise, 2, MADV_DONTNEED)
MUSL(ALLOW_EQUAL(madvise, 2, MADV_FREE)) /* its heap */

/* The C library: locks, random numbers of malloc, end of a thread or the process. */
ALLOW(futex)
ALLOW(getrandom)
ALLOW(rt_sigreturn)
ALLOW(rt_sigprocmask)
ALLOW(exit)
ALLOW(exit_group)

/*
 * The message of an assertion that fails. What abort(3) calls is not here: its signal is none to the first process of a PID namespace, and
 * the filter ends the process as well.
 */
ALLOW(writev)
