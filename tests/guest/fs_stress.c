/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File work in the guest, on a folder of any file system, checked step by step: what a disk would do is expected.
 * Usage: fs_stress FOLDER [SECONDS [SEED]]. One line a check, "ok NAME" or "FAILED NAME: why"; exit code 1 if any failed.
 * Static, runs as root, needs nothing but the folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX (512 * 1024)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char why[512];
static unsigned seconds = 5;
static uint64_t rng_state = 1;

/* Ends the check that calls it. */
#define NEED(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			int e_ = errno;                                                                                \
			snprintf(why, sizeof(why), "line %d: %s (%s)", __LINE__, #cond, strerror(e_));                 \
			return -1;                                                                                     \
		}                                                                                                      \
	} while (0)
#define FAILS(expr, code) NEED((expr) < 0 && errno == (code))

static uint32_t rnd(uint32_t n)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 33) % n;
}

static int put_file(const char *name, const void *bytes, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || close(fd) < 0)
		return -1;
	return 0;
}

static bool has_content(const char *name, const void *bytes, size_t n)
{
	static char buf[65536];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	close(fd);
	return got == (ssize_t)n && memcmp(buf, bytes, n) == 0;
}

/* ---- random operations on one file against a copy in memory ---- */

struct shadow {
	int fd, fd2; /* two descriptions of the same file */
	uint8_t *data, *buf;
	size_t size;
	char last[128];
};

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd(256);
}

static size_t pick(size_t *len, size_t limit)
{
	size_t off = rnd((uint32_t)limit);

	*len = 1 + rnd(rnd(4) ? 20000 : 200000);
	if (off + *len > limit)
		*len = limit - off;
	return off;
}

static void grow(struct shadow *s, size_t end)
{
	if (end <= s->size)
		return;
	memset(s->data + s->size, 0, end - s->size);
	s->size = end;
}

static int op_write(struct shadow *s)
{
	size_t len, off = pick(&len, FILE_MAX);

	snprintf(s->last, sizeof(s->last), "write %zu at %zu", len, off);
	fill(s->buf, len);
	NEED(pwrite(rnd(2) ? s->fd : s->fd2, s->buf, len, (off_t)off) == (ssize_t)len);
	grow(s, off);
	memcpy(s->data + off, s->buf, len);
	if (off + len > s->size)
		s->size = off + len;
	return 0;
}

static int op_read(struct shadow *s)
{
	size_t len, off = pick(&len, FILE_MAX), want = off >= s->size ? 0 : len < s->size - off ? len : s->size - off;

	snprintf(s->last, sizeof(s->last), "read %zu at %zu", len, off);
	NEED(pread(rnd(2) ? s->fd : s->fd2, s->buf, len, (off_t)off) == (ssize_t)want);
	NEED(memcmp(s->buf, s->data + off, want) == 0);
	return 0;
}

static int op_truncate(struct shadow *s)
{
	size_t size = rnd(FILE_MAX);

	snprintf(s->last, sizeof(s->last), "truncate to %zu", size);
	NEED((rnd(2) ? ftruncate(s->fd, (off_t)size) : truncate("fsx", (off_t)size)) == 0);
	grow(s, size);
	s->size = size;
	return 0;
}

static int op_mmap_read(struct shadow *s)
{
	uint8_t *p;
	size_t len, off;

	if (s->size == 0)
		return 0;
	off = pick(&len, s->size);
	snprintf(s->last, sizeof(s->last), "mapped read %zu at %zu", len, off);
	p = mmap(NULL, s->size, PROT_READ, MAP_SHARED, s->fd, 0);
	NEED(p != MAP_FAILED);
	NEED(memcmp(p + off, s->data + off, len) == 0);
	NEED(munmap(p, s->size) == 0);
	return 0;
}

static int op_mmap_write(struct shadow *s)
{
	uint8_t *p;
	size_t len, off;

	if (s->size == 0)
		return 0;
	off = pick(&len, s->size);
	snprintf(s->last, sizeof(s->last), "mapped write %zu at %zu", len, off);
	p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	NEED(p != MAP_FAILED);
	fill(s->data + off, len);
	memcpy(p + off, s->data + off, len);
	if (rnd(2))
		NEED(msync(p, s->size, MS_SYNC) == 0);
	NEED(munmap(p, s->size) == 0);
	return 0;
}

static int op_fallocate(struct shadow *s)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	size_t len, off = pick(&len, FILE_MAX), end = off + len;
	int mode = modes[rnd(ARRAY_SIZE(modes))];

	snprintf(s->last, sizeof(s->last), "fallocate %d, %zu at %zu", mode, len, off);
	if (fallocate(s->fd, mode, (off_t)off, (off_t)len) < 0) {
		NEED(errno == EOPNOTSUPP);
		return 0;
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(s, end);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && off < s->size)
		memset(s->data + off, 0, (end < s->size ? end : s->size) - off);
	return 0;
}

static int op_copy(struct shadow *s)
{
	size_t len, off = pick(&len, FILE_MAX / 2);
	loff_t in = (loff_t)off, out = FILE_MAX / 2 + rnd(FILE_MAX / 4);
	ssize_t n;

	if (len > FILE_MAX / 4)
		len = FILE_MAX / 4;
	if ((loff_t)(off + len) > out)
		return 0;
	snprintf(s->last, sizeof(s->last), "copy %zu from %zu to %lld", len, off, (long long)out);
	n = copy_file_range(s->fd, &in, s->fd2, &out, len, 0);
	NEED(n >= 0);
	NEED(n == (ssize_t)(off >= s->size ? 0 : len < s->size - off ? len : s->size - off));
	if (n > 0) {
		grow(s, (size_t)out);
		memcpy(s->data + out - n, s->data + off, (size_t)n);
	}
	return 0;
}

static int op_append(struct shadow *s)
{
	int fd = open("fsx", O_WRONLY | O_APPEND | O_CLOEXEC);
	size_t len = 1 + rnd(5000);

	if (s->size + len > FILE_MAX) {
		close(fd);
		return 0;
	}
	snprintf(s->last, sizeof(s->last), "append %zu", len);
	fill(s->data + s->size, len);
	NEED(fd >= 0 && write(fd, s->data + s->size, len) == (ssize_t)len && close(fd) == 0);
	s->size += len;
	return 0;
}

static int op_reopen(struct shadow *s)
{
	snprintf(s->last, sizeof(s->last), "reopen");
	NEED(close(s->fd2) == 0);
	s->fd2 = open("fsx", O_RDWR | O_CLOEXEC);
	NEED(s->fd2 >= 0);
	if (rnd(4) == 0)
		NEED(fsync(s->fd) == 0);
	return 0;
}

static int op_rename(struct shadow *s)
{
	struct stat st;

	snprintf(s->last, sizeof(s->last), "rename, stat");
	NEED(rename("fsx", "fsx2") == 0 && rename("fsx2", "fsx") == 0);
	NEED(stat("fsx", &st) == 0 && st.st_size == (off_t)s->size);
	NEED(fstat(s->fd, &st) == 0 && st.st_size == (off_t)s->size);
	return 0;
}

static int fsx(void)
{
	static int (*const ops[])(struct shadow *) = {op_write, op_write, op_read, op_read, op_truncate, op_mmap_read,
		op_mmap_write, op_fallocate, op_copy, op_append, op_reopen, op_rename};
	struct shadow s = {.data = calloc(1, FILE_MAX), .buf = calloc(1, FILE_MAX)};
	time_t end = time(NULL) + seconds;
	unsigned n = 0;

	s.fd = open("fsx", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	s.fd2 = open("fsx", O_RDWR | O_CLOEXEC);
	NEED(s.fd >= 0 && s.fd2 >= 0 && s.data && s.buf);
	for (; time(NULL) < end; n++) {
		if (ops[rnd(ARRAY_SIZE(ops))](&s) < 0) {
			size_t used = strlen(why);

			snprintf(why + used, sizeof(why) - used, " in operation %u: %s, size %zu", n, s.last, s.size);
			return -1;
		}
	}
	NEED(has_content("fsx", s.data, s.size < 65536 ? s.size : 65536));
	printf("   %u random operations\n", n);
	close(s.fd);
	close(s.fd2);
	free(s.data);
	free(s.buf);
	return unlink("fsx");
}

/* ---- one behaviour each ---- */

static int rename_rules(void)
{
	NEED(put_file("a", "a", 1) == 0 && put_file("b", "b", 1) == 0);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	NEED(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
	NEED(has_content("a", "b", 1) && has_content("b", "a", 1));
	NEED(rename("a", "b") == 0);
	NEED(has_content("b", "b", 1) && access("a", F_OK) < 0);
	NEED(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0 && put_file("d/e/f", "f", 1) == 0);
	FAILS(rename("d", "d/e/g"), EINVAL);
	FAILS(rename("b", "d"), EISDIR);
	FAILS(rename("d", "b"), ENOTDIR);
	NEED(rename("d/e", "e") == 0 && has_content("e/f", "f", 1));
	/* As git does with objects and the index. */
	for (int i = 0; i < 200; i++) {
		char tmp[32], name[32];

		snprintf(tmp, sizeof(tmp), "d/tmp_%d", i);
		snprintf(name, sizeof(name), "d/obj%d", i % 20);
		NEED(put_file(tmp, tmp, strlen(tmp)) == 0);
		if (i < 20)
			NEED(link(tmp, name) == 0 && unlink(tmp) == 0);
		else
			NEED(rename(tmp, name) == 0);
		NEED(has_content(name, tmp, strlen(tmp)));
	}
	return 0;
}

static int links(void)
{
	char buf[64];
	struct stat st;

	NEED(put_file("f", "data", 4) == 0);
	NEED(link("f", "g") == 0 && stat("f", &st) == 0 && st.st_nlink == 2);
	NEED(unlink("f") == 0 && has_content("g", "data", 4) && stat("g", &st) == 0 && st.st_nlink == 1);
	NEED(link("g", "f") == 0 && put_file("f", "new", 3) == 0 && has_content("g", "new", 3));
	NEED(symlink("g", "s") == 0 && has_content("s", "new", 3));
	NEED(readlink("s", buf, sizeof(buf)) == 1 && lstat("s", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 1);
	NEED(link("s", "s2") == 0 && readlink("s2", buf, sizeof(buf)) == 1);
	NEED(symlink("loop", "loop") == 0);
	FAILS(open("loop", O_RDONLY), ELOOP);
	FAILS(link("nothing", "h"), ENOENT);
	/* The target changes: the next look sees it. */
	NEED(put_file("t1", "1", 1) == 0 && put_file("t2", "2", 1) == 0);
	for (int i = 0; i < 20; i++) {
		NEED(symlink(i % 2 ? "t1" : "t2", "cur.tmp") == 0 && rename("cur.tmp", "cur") == 0);
		NEED(has_content("cur", i % 2 ? "1" : "2", 1));
	}
	return 0;
}

static int deleted_but_open(void)
{
	char buf[64], path[64];
	int fd, fd2, dir;
	struct stat st;

	NEED(put_file("f", "data", 4) == 0);
	fd = open("f", O_RDWR | O_CLOEXEC);
	NEED(fd >= 0 && unlink("f") == 0);
	NEED(write(fd, "DA", 2) == 2 && pread(fd, buf, 64, 0) == 4 && memcmp(buf, "DAta", 4) == 0);
	NEED(fstat(fd, &st) == 0 && st.st_nlink == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd2 = open(path, O_RDONLY | O_CLOEXEC);
	NEED(fd2 >= 0 && read(fd2, buf, 64) == 4);
	NEED(fchmod(fd, 0600) == 0 && ftruncate(fd, 1) == 0 && fstat(fd2, &st) == 0 && st.st_size == 1);
	close(fd);
	close(fd2);
	/* O_PATH does not open anything at the server, yet holds the inode. */
	NEED(put_file("g", "x", 1) == 0);
	fd = open("g", O_PATH | O_CLOEXEC);
	NEED(fd >= 0 && unlink("g") == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0);
	close(fd);
	/* A removed working folder. */
	NEED(mkdir("d", 0755) == 0);
	dir = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	NEED(dir >= 0 && rmdir("d") == 0);
	FAILS(openat(dir, "x", O_CREAT | O_WRONLY, 0600), ENOENT);
	NEED(fstat(dir, &st) == 0);
	close(dir);
	return 0;
}

static int tmpfile_linked(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	char path[64];
	struct stat st;

	if (fd < 0 && errno == EOPNOTSUPP) {
		printf("   O_TMPFILE is not supported here\n");
		return 0;
	}
	NEED(fd >= 0 && write(fd, "tmp", 3) == 3);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	NEED(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
	NEED(close(fd) == 0 && has_content("named", "tmp", 3) && stat("named", &st) == 0 &&
		(st.st_mode & 0777) == 0640);
	return 0;
}

static int attributes(void)
{
	const struct timespec ts[2] = {{.tv_sec = 1000, .tv_nsec = 123456789}, {.tv_sec = -5, .tv_nsec = 1}};
	struct stat st;

	NEED(put_file("f", "f", 1) == 0 && chmod("f", 04755) == 0 && stat("f", &st) == 0 &&
		st.st_mode == (S_IFREG | 04755));
	NEED(chown("f", 1000, 2000) == 0 && stat("f", &st) == 0 && st.st_uid == 1000 && st.st_gid == 2000);
	NEED(st.st_mode == (S_IFREG | 0755)); /* chown takes setuid away, for root too */
	NEED(utimensat(AT_FDCWD, "f", ts, 0) == 0 && stat("f", &st) == 0);
	NEED(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 123456789 && st.st_mtim.tv_sec == -5);
	NEED(symlink("f", "l") == 0 && lchown("l", 5, 6) == 0 && lstat("l", &st) == 0 && st.st_uid == 5);
	NEED(utimensat(AT_FDCWD, "l", ts, AT_SYMLINK_NOFOLLOW) == 0 && lstat("l", &st) == 0 && st.st_mtim.tv_sec == -5);
	NEED(mkdir("d", 01777) == 0 && chmod("d", 02775) == 0 && chown("d", 0, 77) == 0 && chmod("d", 02775) == 0);
	NEED(mkdir("d/sub", 0755) == 0 && stat("d/sub", &st) == 0 && st.st_gid == 77 && st.st_mode & S_ISGID);
	NEED(put_file("d/f", "", 0) == 0 && stat("d/f", &st) == 0 && st.st_gid == 77);
	NEED(mkfifo("p", 0600) == 0 && stat("p", &st) == 0 && S_ISFIFO(st.st_mode));
	return 0;
}

static int as_user(int (*fn)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int r;

		if (setgid(1000) < 0 || setuid(1000) < 0)
			_exit(99);
		r = fn();
		if (r < 0)
			printf("   as a user: %s\n", why);
		fflush(stdout);
		_exit(r < 0);
	}
	NEED(pid > 0 && waitpid(pid, &status, 0) == pid);
	NEED(status == 0);
	return 0;
}

static int user_part(void)
{
	struct stat st;

	FAILS(open("root-only", O_RDONLY), EACCES);
	FAILS(put_file("not-mine/x", "", 0), EACCES);
	NEED(put_file("mine/f", "x", 1) == 0 && stat("mine/f", &st) == 0 && st.st_uid == 1000 && st.st_gid == 1000);
	FAILS(chown("mine/f", 0, 0), EPERM);
	FAILS(chmod("root-only", 0777), EPERM);
	FAILS(unlink("sticky/f"), EPERM);
	/* Writing to a setuid program takes the bit away. */
	NEED(put_file("shared", "x", 1) == 0 && stat("shared", &st) == 0 && !(st.st_mode & S_ISUID));
	return 0;
}

static int permissions(void)
{
	NEED(chmod(".", 0755) == 0);
	NEED(put_file("root-only", "x", 1) == 0 && chmod("root-only", 0600) == 0);
	NEED(mkdir("not-mine", 0755) == 0 && mkdir("mine", 0755) == 0 && chown("mine", 1000, 1000) == 0);
	NEED(mkdir("sticky", 0755) == 0 && chmod("sticky", 01777) == 0 && put_file("sticky/f", "", 0) == 0);
	NEED(put_file("shared", "abc", 3) == 0 && chmod("shared", 04777) == 0);
	return as_user(user_part);
}

static int user_acl(void)
{
	NEED(access("acl", R_OK) == 0);
	FAILS(access("acl", W_OK), EACCES);
	return 0;
}

static int xattrs(void)
{
	/* version 2; user::rw-, user:1000:r--, group::---, mask::r--, other::--- */
	static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 0, 0,
		255, 255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255};
	char buf[4096];

	NEED(put_file("f", "f", 1) == 0);
	if (setxattr("f", "user.one", "value", 5, XATTR_CREATE) < 0 && errno == EOPNOTSUPP) {
		printf("   no user attributes here\n"); /* tmpfs before Linux 6.6 */
		return 0;
	}
	NEED(getxattr("f", "user.one", NULL, 0) == 5);
	FAILS(setxattr("f", "user.one", "x", 1, XATTR_CREATE), EEXIST);
	NEED(getxattr("f", "user.one", buf, sizeof(buf)) == 5 && memcmp(buf, "value", 5) == 0);
	FAILS(getxattr("f", "user.one", buf, 2), ERANGE);
	NEED(listxattr("f", buf, sizeof(buf)) == 9 && strcmp(buf, "user.one") == 0);
	memset(buf, 'x', sizeof(buf));
	NEED(setxattr("f", "user.big", buf, 2000, 0) == 0 && getxattr("f", "user.big", NULL, 0) == 2000);
	NEED(removexattr("f", "user.one") == 0);
	FAILS(getxattr("f", "user.one", buf, sizeof(buf)), ENODATA);
	NEED(put_file("acl", "x", 1) == 0 && chmod("acl", 0600) == 0);
	if (setxattr("acl", "system.posix_acl_access", acl, sizeof(acl), 0) < 0) {
		NEED(errno == EOPNOTSUPP);
		printf("   no ACLs here\n");
		return 0;
	}
	NEED(chmod(".", 0755) == 0);
	return as_user(user_acl);
}

static int big_folder(void)
{
	unsigned seen[40] = {0}, n = 0;
	struct dirent *d;
	char name[300];
	DIR *dir;
	long pos = 0;

	NEED(mkdir("big", 0755) == 0);
	for (int i = 0; i < 1200; i++) {
		snprintf(name, sizeof(name), "big/%04d-%0*d", i, i % 200 + 1, i);
		NEED(put_file(name, "", 0) == 0);
	}
	for (int pass = 0; pass < 3; pass++) {
		n = 0;
		dir = opendir("big");
		NEED(dir);
		memset(seen, 0, sizeof(seen));
		while ((d = readdir(dir))) {
			unsigned i = (unsigned)atoi(d->d_name);

			if (d->d_name[0] == '.')
				continue;
			NEED(d->d_type == DT_REG);
			NEED(!(seen[i / 32] >> (i % 32) & 1));
			seen[i / 32] |= 1u << (i % 32);
			if (++n == 600)
				pos = telldir(dir);
		}
		NEED(n == 1200);
		seekdir(dir, pos);
		for (n = 0; readdir(dir);)
			n++;
		NEED(n >= 600 && n <= 602);
		closedir(dir);
	}
	/* Removed while it is read. */
	dir = opendir("big");
	n = 0;
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		NEED(unlinkat(dirfd(dir), d->d_name, 0) == 0);
		n++;
	}
	closedir(dir);
	NEED(n == 1200 && rmdir("big") == 0);
	snprintf(name, sizeof(name), "%0255d", 1);
	NEED(put_file(name, "", 0) == 0 && unlink(name) == 0);
	snprintf(name, sizeof(name), "%0256d", 1);
	FAILS(put_file(name, "", 0), ENAMETOOLONG);
	return 0;
}

static int sparse(void)
{
	int fd = open("s", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	struct stat st;
	char c = 'x';

	NEED(fd >= 0 && pwrite(fd, &c, 1, INT64_C(5) << 30) == 1);
	NEED(fstat(fd, &st) == 0 && st.st_size == (INT64_C(5) << 30) + 1 && st.st_blocks < 1000);
	NEED(lseek(fd, 0, SEEK_DATA) == (INT64_C(5) << 30));
	NEED(lseek(fd, 0, SEEK_HOLE) == 0);
	NEED(pread(fd, &c, 1, 12345) == 1 && c == 0);
	close(fd);
	return 0;
}

/* The other process; it tells by `to` and is told by `from`. */
static int lock_child(int from, int to)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	int fd = open("lock", O_RDWR | O_CLOEXEC);
	char c;

	if (fd < 0 || fcntl(fd, F_SETLK, &fl) < 0 || flock(fd, LOCK_EX) < 0 || write(to, "l", 1) != 1)
		return 1;
	if (read(from, &c, 1) != 1)
		return 2;
	/* close drops the fcntl lock, the flock goes with the description */
	close(open("lock", O_RDONLY));
	if (write(to, "c", 1) != 1 || read(from, &c, 1) != 1)
		return 3;
	return 0;
}

static int locks(void)
{
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1}, try = fl;
	int in[2], out[2], fd, status;
	pid_t pid;
	char c;

	NEED(put_file("lock", "0123456789", 10) == 0 && pipe(in) == 0 && pipe(out) == 0);
	pid = fork();
	if (pid == 0)
		_exit(lock_child(out[0], in[1]));
	fd = open("lock", O_RDWR | O_CLOEXEC);
	NEED(fd >= 0 && read(in[0], &c, 1) == 1);
	FAILS(fcntl(fd, F_SETLK, &try), EAGAIN);
	NEED(fcntl(fd, F_GETLK, &try) == 0 && try.l_type == F_WRLCK && try.l_start == 0 && try.l_len == 10);
	NEED(try.l_pid == pid || try.l_pid == 0);
	try = fl;
	try.l_start = 10;
	NEED(fcntl(fd, F_SETLK, &try) == 0);
	FAILS(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	/* Waits until the child closes a descriptor. */
	NEED(write(out[1], "g", 1) == 1 && fcntl(fd, F_SETLKW, &fl) == 0 && read(in[0], &c, 1) == 1);
	NEED(write(out[1], "g", 1) == 1 && flock(fd, LOCK_EX) == 0);
	NEED(waitpid(pid, &status, 0) == pid && status == 0);
	NEED(close(fd) == 0);
	return 0;
}

static void read_lock_child(int tell, int wait_for)
{
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd = open("lock", O_RDONLY | O_CLOEXEC);
	char c;

	if (fcntl(fd, F_SETLK, &fl) < 0 || write(tell, "l", 1) != 1 || read(wait_for, &c, 1) != 1)
		_exit(1);
	close(fd);
	fd = open("lock", O_RDONLY | O_CLOEXEC);
	if (write(tell, "c", 1) != 1 || read(wait_for, &c, 1) != 1)
		_exit(2);
	if (fcntl(fd, F_SETLK, &fl) < 0 || write(tell, "l", 1) != 1)
		_exit(3);
	(void)pause();
}

/* Locks on a descriptor that cannot write: they are there, and go when it is closed, or its process killed. */
static int read_locks(void)
{
	struct flock wr = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, un = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	int to[2], from[2], fd, status;
	pid_t pid;
	char c;

	NEED(put_file("lock", "0", 1) == 0 && pipe(to) == 0 && pipe(from) == 0);
	fd = open("lock", O_RDWR | O_CLOEXEC);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		read_lock_child(from[1], to[0]);
	NEED(read(from[0], &c, 1) == 1);
	FAILS(fcntl(fd, F_SETLK, &wr), EAGAIN);
	NEED(write(to[1], "g", 1) == 1 && read(from[0], &c, 1) == 1);
	NEED(fcntl(fd, F_SETLK, &wr) == 0 && fcntl(fd, F_SETLK, &un) == 0);
	NEED(write(to[1], "g", 1) == 1 && read(from[0], &c, 1) == 1);
	FAILS(fcntl(fd, F_SETLK, &wr), EAGAIN);
	NEED(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
	NEED(fcntl(fd, F_SETLK, &wr) == 0);
	close(fd);
	return 0;
}

/* Four processes count up a number in a file, each time under a lock. */
static int counting(void)
{
	int status, value = 0, fd;

	NEED(put_file("count", &value, sizeof(value)) == 0);
	fflush(stdout);
	for (int p = 0; p < 4; p++) {
		if (fork() != 0)
			continue;
		fd = open("count", O_RDWR | O_CLOEXEC);
		for (int i = 0; i < 50; i++) {
			struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

			if ((p % 2 ? flock(fd, LOCK_EX) : 0) < 0 || fcntl(fd, F_SETLKW, &fl) < 0 ||
				pread(fd, &value, sizeof(value), 0) != sizeof(value))
				_exit(1);
			value++;
			if (pwrite(fd, &value, sizeof(value), 0) != sizeof(value))
				_exit(2);
			fl.l_type = F_UNLCK;
			if (fcntl(fd, F_SETLK, &fl) < 0 || flock(fd, LOCK_UN) < 0)
				_exit(3);
		}
		_exit(0);
	}
	for (int p = 0; p < 4; p++)
		NEED(wait(&status) > 0 && status == 0);
	fd = open("count", O_RDONLY | O_CLOEXEC);
	NEED(read(fd, &value, sizeof(value)) == sizeof(value) && value == 200);
	close(fd);
	return 0;
}

static int program(void)
{
	static char buf[65536];
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), out = open("prog", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	int status = -1;
	ssize_t n;
	pid_t pid;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		NEED(write(out, buf, (size_t)n) == n);
	close(in);
	NEED(n == 0 && close(out) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl("./prog", "prog", "--true", (char *)NULL);
		_exit(98);
	}
	NEED(waitpid(pid, &status, 0) == pid && status == 0);
	return 0;
}

/* Sum of a file much larger than a request, written in odd pieces, read in others. */
static int large_file(void)
{
	uint64_t sum = 0, back = 0;
	size_t total = 0;
	static uint8_t buf[300007];
	int fd = open("large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ssize_t n;

	NEED(fd >= 0);
	while (total < 24u << 20) {
		size_t len = 1 + rnd(sizeof(buf));

		fill(buf, len < 4096 ? len : 4096);
		for (size_t i = 0; i < len; i++)
			sum = sum * 31 + buf[i];
		NEED(write(fd, buf, len) == (ssize_t)len);
		total += len;
	}
	NEED(fsync(fd) == 0 && close(fd) == 0);
	fd = open("large", O_RDONLY | O_CLOEXEC);
	NEED(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	while ((n = read(fd, buf, 100003)) > 0)
		for (ssize_t i = 0; i < n; i++)
			back = back * 31 + buf[i];
	NEED(n == 0 && back == sum);
	close(fd);
	return 0;
}

static int deep(void)
{
	char name[16];

	NEED(mkdir("deep", 0755) == 0 && chdir("deep") == 0);
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "level%d", i);
		NEED(mkdir(name, 0755) == 0 && chdir(name) == 0);
	}
	NEED(put_file("bottom", "x", 1) == 0 && unlink("bottom") == 0);
	for (int i = 599; i >= 0; i--) {
		snprintf(name, sizeof(name), "level%d", i);
		NEED(chdir("..") == 0 && rmdir(name) == 0);
	}
	NEED(chdir("..") == 0);
	return rmdir("deep");
}

/* What our server refuses and a disk does not. */
static int refusals(void)
{
	struct statfs sfs;
	char c;

	NEED(statfs(".", &sfs) == 0);
	if (sfs.f_type != FUSE_SUPER_MAGIC)
		return 0;
	FAILS(mknod("dev", S_IFCHR | 0600, 0x103), EPERM);
	FAILS(mknod("dev", S_IFBLK | 0600, 0x103), EPERM);
	NEED(put_file("f", "x", 1) == 0);
	FAILS(setxattr("f", "trusted.x", "y", 1, 0), EPERM);
	/* Debian's kernel asks us; ours, without the LSM that lets it pass there, refuses it itself. */
	NEED(setxattr("f", "security.selinux", "y", 1, 0) < 0 && (errno == EOPNOTSUPP || errno == EPERM));
	FAILS(getxattr("f", "trusted.x", &c, 1), ENODATA);
	FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_WHITEOUT), EINVAL);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(void);
} checks[] = {
	{"rename", rename_rules},
	{"links", links},
	{"deleted", deleted_but_open},
	{"tmpfile", tmpfile_linked},
	{"attributes", attributes},
	{"permissions", permissions},
	{"xattrs", xattrs},
	{"folder", big_folder},
	{"sparse", sparse},
	{"locks", locks},
	{"read locks", read_locks},
	{"counting", counting},
	{"program", program},
	{"large", large_file},
	{"deep", deep},
	{"refusals", refusals},
	{"fsx", fsx},
};

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 2 && strcmp(argv[1], "--true") == 0)
		return 0;
	if (argc < 2 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: fs_stress FOLDER [SECONDS [SEED]]\n");
		return 2;
	}
	(void)umask(022);
	if (argc > 2)
		seconds = (unsigned)atoi(argv[2]);
	if (argc > 3)
		rng_state = strtoull(argv[3], NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		int r;

		if (mkdir(checks[i].name, 0755) < 0 || chdir(checks[i].name) < 0) {
			printf("FAILED %s: cannot make its folder: %s\n", checks[i].name, strerror(errno));
			return 1;
		}
		r = checks[i].fn();
		if (r == 0)
			printf("ok %s\n", checks[i].name);
		else
			printf("FAILED %s: %s\n", checks[i].name, why);
		fflush(stdout);
		failed += r != 0;
		/* A check may have left its folder in a hurry. */
		if (chdir(argv[1]) < 0)
			return 1;
	}
	return failed ? 1 : 0;
}
