/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Descriptors: whole reads and writes, files, descriptor passing, and time. Every descriptor made here is O_CLOEXEC. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define FD_PASS_MAX 32

/* Reads exactly n bytes (EINTR and short reads are retried). 0, 1 = end of file before the first byte, -EPIPE = end
 * of file in the middle, or another -errno. */
int fd_read_all(int fd, void *dst, size_t n) must_check;
/* Writes exactly n bytes; on a non-blocking descriptor it waits with poll(2). 0 or -errno. Never raises SIGPIPE on sockets
 * (other writers must ignore the signal). */
int fd_write_all(int fd, const void *src, size_t n) must_check;
int fd_set_nonblock(int fd, bool on, struct err *err) must_check;
/* Clears or sets FD_CLOEXEC. */
int fd_set_cloexec(int fd, bool on, struct err *err) must_check;

/*
 * The whole of a regular file, at most `max` bytes (-EFBIG beyond), with a NUL after the last byte.
 * *ret is malloc'ed and the caller's; *ret_len (may be NULL) does not count the NUL. dirfd may be AT_FDCWD.
 */
int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err) must_check;
/* Opens the file, made if need be, and waits for its exclusive flock(2); closing *ret releases it. */
int file_lock(const char *path, int *ret, struct err *err) must_check;
/* Writes a file by a temporary name in the same folder and rename(2), so a reader sees the old or the new, never a part. */
int file_write_atomic(
	int dirfd, const char *path, const void *bytes, size_t n, mode_t mode, struct err *err) must_check;
/* mkdir -p: every missing folder of `path` is made with `mode`. An existing folder is fine. */
int dir_make_all(const char *path, mode_t mode, struct err *err) must_check;
/*
 * rm -rf of `name` below dirfd, without following symbolic links and without leaving the file system (a mount point
 * inside is an error -EBUSY and stays). A name that does not exist is success.
 */
int dir_remove_all(int dirfd, const char *name, struct err *err);

/* Sends `n` bytes (n > 0) and `n_fds` <= FD_PASS_MAX descriptors in one message of a unix socket. */
int fd_send(int sock, const void *bytes, size_t n, const int *fds, unsigned n_fds, struct err *err) must_check;
/*
 * Receives one read's worth of bytes and the descriptors that came with it. *ret_n is 0 at end of file.
 * `fds` has room for FD_PASS_MAX; *ret_n_fds are the caller's (O_CLOEXEC). -EAGAIN when nothing is there on a
 * non-blocking socket (no message in err for that).
 */
int fd_recv(int sock, void *dst, size_t size, size_t *ret_n, int *fds, unsigned *ret_n_fds, struct err *err) must_check;

/* CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. */
uint64_t time_mono_ns(void);
uint64_t time_real_ns(void);
/* `ns` since the epoch as 2026-11-23T08:26:00.123456789Z; dst has room for 31 bytes. */
void time_format(char dst[31], uint64_t ns);
