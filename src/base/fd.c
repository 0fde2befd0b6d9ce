/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"

#define REMOVE_DEPTH_MAX 200

static int wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int fd_read_all(int fd, void *dst, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)dst + done, n - done);

		if (r > 0) {
			done += (size_t)r;
		} else if (r == 0) {
			return done ? -EPIPE : 1;
		} else if (errno == EAGAIN) {
			int w = wait_for(fd, POLLIN);

			if (w < 0)
				return w;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int fd_write_all(int fd, const void *src, size_t n)
{
	size_t done = 0;
	bool is_sock = true;

	while (done < n) {
		const char *p = (const char *)src + done;
		ssize_t r = is_sock ? send(fd, p, n - done, MSG_NOSIGNAL) : write(fd, p, n - done);

		if (r >= 0) {
			done += (size_t)r;
		} else if (errno == ENOTSOCK) {
			is_sock = false;
		} else if (errno == EAGAIN) {
			int w = wait_for(fd, POLLOUT);

			if (w < 0)
				return w;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0)
		return -1;
	return fcntl(fd, set, on ? flags | flag : flags & ~flag);
}

int fd_set_nonblock(int fd, bool on, struct err *err)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on) < 0 ? err_errno(err, "set O_NONBLOCK") : 0;
}

int fd_set_cloexec(int fd, bool on, struct err *err)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on) < 0 ? err_errno(err, "set FD_CLOEXEC") : 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err)
{
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	auto_buf struct buf b = BUF_INIT(max + 2);

	if (fd < 0)
		return err_errno(err, "open '%s'", path);
	for (;;) {
		size_t room = MIN_OF(b.limit - b.len, (size_t)65536);
		char *p = buf_reserve(&b, room);
		ssize_t n;

		if (!p)
			return err_set(err, ENOMEM, "read '%s': out of memory", path);
		n = read(fd, p, room - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read '%s'", path);
		if (n == 0) {
			p[0] = '\0';
			break;
		}
		buf_added(&b, (size_t)n);
		if (b.len > max)
			return err_set(err, EFBIG, "'%s' is larger than %zu bytes", path, max);
	}
	if (b.start)
		memmove(b.mem, b.mem + b.start, b.len + 1);
	if (ret_len)
		*ret_len = b.len;
	*ret = (char *)take_ptr(b.mem);
	return 0;
}

int file_write_atomic(int dirfd, const char *path, const void *bytes, size_t n, mode_t mode, struct err *err)
{
	char tmp[300];
	uint64_t nonce = 0;
	auto_close int fd = -1;
	int r;

	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return err_errno(err, "getrandom");
	r = str_format(tmp, sizeof(tmp), err, "%s.%016llx.tmp", path, (unsigned long long)nonce);
	if (r < 0)
		return r;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_errno(err, "create '%s'", tmp);
	r = fd_write_all(fd, bytes, n);
	if (r < 0) {
		errno = -r;
		(void)err_errno(err, "write '%s'", path);
	} else if (fchmod(fd, mode) < 0 || renameat(dirfd, tmp, dirfd, path) < 0) {
		r = err_errno(err, "write '%s'", path);
	}
	if (r < 0)
		(void)unlinkat(dirfd, tmp, 0);
	return r;
}

int dir_make_all(const char *path, mode_t mode, struct err *err)
{
	char part[4096];

	if (!str_copy(part, sizeof(part), path) || !*path)
		return err_set(err, ENAMETOOLONG, "make folder '%.80s...': the path is empty or too long", path);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_errno(err, "make folder '%s'", part);
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return err_errno(err, "make folder '%s'", part);
	return 0;
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/*
 * One removal. Depth is whatever a guest or an image made it, so neither stack nor descriptors may follow it: a folder that
 * is too deep is moved up into the folder where the removal began, which is then scanned once more.
 */
struct removal {
	int top; /* borrowed from the frame of depth 0 */
	dev_t dev;
	unsigned moved;
	uint64_t nonce;
};

static int remove_at(struct removal *rm, int parent, const char *name, unsigned depth, struct err *err);

static int move_up(struct removal *rm, int parent, const char *name, struct err *err)
{
	char to[40];

	(void)snprintf(to, sizeof(to), ".%016llx-%u", (unsigned long long)rm->nonce, rm->moved++);
	return renameat(parent, name, rm->top, to) < 0 ? err_errno(err, "remove '%s': move it up", name) : 0;
}

static int remove_entries(struct removal *rm, DIR *dir, const char *name, unsigned depth, struct err *err)
{
	struct dirent *e;

	while ((errno = 0, e = readdir(dir))) {
		int r;

		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		r = remove_at(rm, dirfd(dir), e->d_name, depth + 1, err);
		if (r < 0)
			return r;
	}
	return errno ? err_errno(err, "read folder '%s'", name) : 0;
}

static int remove_at(struct removal *rm, int parent, const char *name, unsigned depth, struct err *err)
{
	cleanup_with(cleanup_dir) DIR *dir = NULL;
	auto_close int fd = -1;
	struct stat st;
	unsigned moved;
	int r;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(err, "remove '%s'", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "remove '%s'", name);
	if (fstat(fd, &st) < 0)
		return err_errno(err, "remove '%s'", name);
	if (st.st_dev != rm->dev)
		return err_set(err, EBUSY, "remove '%s': something is mounted there", name);
	if (depth > REMOVE_DEPTH_MAX)
		return move_up(rm, parent, name, err);
	dir = fdopendir(fd);
	if (!dir)
		return err_errno(err, "remove '%s'", name);
	(void)take_fd(&fd);
	if (depth == 0)
		rm->top = dirfd(dir);
	do {
		moved = rm->moved;
		rewinddir(dir);
		r = remove_entries(rm, dir, name, depth, err);
		if (r < 0)
			return r;
	} while (depth == 0 && moved != rm->moved);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(err, "remove '%s'", name);
	return 0;
}

int dir_remove_all(int dirfd, const char *name, struct err *err)
{
	struct removal rm = {.top = -1};
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, "remove '%s'", name);
	if (getrandom(&rm.nonce, sizeof(rm.nonce), 0) != sizeof(rm.nonce))
		return err_errno(err, "getrandom");
	rm.dev = st.st_dev;
	return remove_at(&rm, dirfd, name, 0, err);
}

int fd_send(int sock, const void *bytes, size_t n, const int *fds, unsigned n_fds, struct err *err)
{
	union {
		struct cmsghdr hdr;
		char mem[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (n_fds > FD_PASS_MAX)
		return err_set(err, E2BIG, "send %u descriptors: at most %d", n_fds, FD_PASS_MAX);
	if (n_fds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(&control.hdr), fds, sizeof(int) * n_fds);
	}
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return err_errno(err, "send message");
	if ((size_t)sent < n) {
		int r = fd_write_all(sock, (const char *)bytes + sent, n - (size_t)sent);

		if (r < 0) {
			errno = -r;
			return err_errno(err, "send message");
		}
	}
	return 0;
}

int fd_recv(int sock, void *dst, size_t size, size_t *ret_n, int *fds, unsigned *ret_n_fds, struct err *err)
{
	union {
		struct cmsghdr hdr;
		char mem[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	struct iovec iov = {.iov_base = dst, .iov_len = size};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	unsigned n_fds = 0;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : err_errno(err, "receive message");
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n_fds < FD_PASS_MAX)
				fds[n_fds++] = fd;
			else
				(void)close(fd);
		}
	}
	*ret_n = (size_t)n;
	*ret_n_fds = n_fds;
	return 0;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t time_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t time_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void time_format(char dst[31], uint64_t ns)
{
	const uint64_t s = ns / UINT64_C(1000000000);
	/* Days since 1 March 0000, split into 400, 100, 4 years and one: so leap days come last. */
	uint64_t days = s / 86400 + 719468, era = days / 146097, year;
	unsigned in_era = (unsigned)(days % 146097), month, day, of_day = (unsigned)(s % 86400);
	char text[64];

	/* Not gmtime_r(3): that opens /etc/localtime at its first call, which a jailed thread may not. */
	year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	day = in_era - (unsigned)(365 * year + year / 4 - year / 100);
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	year += era * 400 + (month >= 10);
	(void)snprintf(text, sizeof(text), "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", (unsigned)(year % 10000),
		month < 10 ? month + 3 : month - 9, day + 1, of_day / 3600, of_day / 60 % 60, of_day % 60,
		(unsigned)(ns % UINT64_C(1000000000)));
	(void)str_copy(dst, 31, text);
}

int file_lock(const char *path, int *ret, struct err *err)
{
	auto_close int fd = -1;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, "open '%s'", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(err, "lock '%s'", path);
	*ret = take_fd(&fd);
	return 0;
}
