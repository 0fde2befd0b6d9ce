/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is "<who made it> <length of the program> <hash of what follows>\n<profile>\n<program>". Who made it is this very executable, with the
 * libseccomp in it or loaded by it: another version may make another program of the same profile. The hash is for what a disk did
 * not write before it lost power.
 */
#include "oci/seccomp_cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"

#define SLOTS 64u
#define HEAD_MAX 460
#define HASH_START UINT64_C(0xcbf29ce484222325)
#define PROFILE_MAX (128u << 10)
#define MAPS_MAX (1u << 20)

struct place {
	char maker[400], folder[PATH_LEN + 16], slot[8];
};

/* FNV-1a (Fowler, Noll, Vo). Nothing trusts it: a slot may be another profile's, and the whole profile is compared. */
static uint64_t hash(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void add_file(char *text, size_t size, const char *path)
{
	size_t n = strlen(text);
	struct stat st;

	if (stat(path, &st) == 0)
		(void)snprintf(text + n, size - n,
			"%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%lx.%" PRIx64 ".%lx,", (uint64_t)st.st_dev,
			(uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
			(unsigned long)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec,
			(unsigned long)st.st_ctim.tv_nsec);
}

/* True: `maker` tells which libseccomp this process has. An upgrade may have put another file at its path since. */
static bool add_library(char *maker, size_t size)
{
	auto_free char *maps = NULL;
	char *name, *line, path[PATH_LEN];
	unsigned long inode;
	struct stat st;

	if (file_read(AT_FDCWD, "/proc/self/maps", MAPS_MAX, &maps, NULL, NULL) < 0)
		return false;
	name = strstr(maps, "/libseccomp.");
	if (!name)
		return true; /* it is in the executable */
	name[strcspn(name, "\n")] = '\0';
	line = memrchr(maps, '\n', (size_t)(name - maps));
	/* addresses, permissions, offset, device, inode, path */
	if (sscanf(line ? line + 1 : maps, "%*s %*s %*s %*s %lu %255[^\n]", &inode, path) != 2 || stat(path, &st) < 0 ||
		st.st_ino != inode)
		return false;
	add_file(maker, size, path);
	return true;
}

static bool find_place(const char *run, const char *profile, size_t len, struct place *ret)
{
	uint64_t h;

	if (!run || len == 0 || len > PROFILE_MAX)
		return false;
	ret->maker[0] = '\0';
	add_file(ret->maker, sizeof(ret->maker), "/proc/self/exe");
	if (!ret->maker[0] || !add_library(ret->maker, sizeof(ret->maker)))
		return false;
	h = hash(HASH_START, ret->maker, strlen(ret->maker));
	h = hash(h, profile, len);
	(void)snprintf(ret->slot, sizeof(ret->slot), "%02u", (unsigned)((h ^ h >> 32) % SLOTS));
	return str_format(ret->folder, sizeof(ret->folder), NULL, "%s/seccomp", run) == 0;
}

/* The folder, if it is ours alone; else -1. */
static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022))
		close_fd(&fd);
	return fd;
}

/* The first line of a file. */
static size_t make_head(
	char dst[HEAD_MAX], const struct place *at, const char *profile, size_t len, const char *program)
{
	size_t n = strlen(program);

	return (size_t)snprintf(
		dst, HEAD_MAX, "%s %zu %" PRIx64 "\n", at->maker, n, hash(hash(HASH_START, profile, len), program, n));
}

char *seccomp_cache_get(const char *run, const char *profile, size_t len)
{
	auto_close int dir = -1;
	auto_free char *text = NULL;
	char head[HEAD_MAX];
	struct place at;
	const char *program;
	size_t n, head_len;

	if (!find_place(run, profile, len, &at))
		return NULL;
	dir = open_folder(at.folder);
	if (dir < 0 || file_read(dir, at.slot, PROFILE_MAX + 2 * SECCOMP_CACHE_PROGRAM_MAX, &text, &n, NULL) < 0)
		return NULL;
	program = memrchr(text, '\n', n);
	if (!program)
		return NULL;
	program++;
	head_len = make_head(head, &at, profile, len, program);
	/* All of the file is accounted for. */
	if (!*program || n != head_len + len + 1 + strlen(program) || memcmp(text, head, head_len) != 0 ||
		memcmp(text + head_len, profile, len) != 0 || text[head_len + len] != '\n')
		return NULL;
	return strdup(program);
}

void seccomp_cache_put(const char *run, const char *profile, size_t len, const char *program)
{
	auto_close int dir = -1, fd = -1;
	char head[HEAD_MAX], self[32];
	struct place at;

	if (!find_place(run, profile, len, &at) || strlen(program) > SECCOMP_CACHE_PROGRAM_MAX)
		return;
	(void)mkdir(at.folder, 0700);
	dir = open_folder(at.folder);
	fd = dir < 0 ? -1 : openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	(void)make_head(head, &at, profile, len, program);
	if (fd_write_all(fd, head, strlen(head)) < 0 || fd_write_all(fd, profile, len) < 0 ||
		fd_write_all(fd, "\n", 1) < 0 || fd_write_all(fd, program, strlen(program)) < 0)
		return;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* Between the two steps the slot is empty, and another process may take it: as good. */
	(void)unlinkat(dir, at.slot, 0);
	(void)!linkat(AT_FDCWD, self, dir, at.slot, AT_SYMLINK_FOLLOW);
}
