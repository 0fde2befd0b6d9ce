/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is "<who made it> <length of the program>\n<profile>\n<program>". Who made it is this very executable: another version may
 * make another program of the same profile, and so may the libseccomp that is linked with it.
 */
#include "oci/seccomp_cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"

#define SLOTS 64u
#define PROFILE_MAX (1u << 20)

struct place {
	char maker[160], folder[PATH_LEN + 16], slot[8];
};

/* FNV-1a (Fowler, Noll, Vo). Only chooses the slot: a collision costs time. */
static uint64_t hash(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static bool find_place(const char *run, const char *profile, size_t len, struct place *ret)
{
	const struct scmp_version *v = seccomp_version();
	struct stat st;
	uint64_t h;

	if (!run || !v || len == 0 || len > PROFILE_MAX || stat("/proc/self/exe", &st) < 0)
		return false;
	(void)snprintf(ret->maker, sizeof(ret->maker), "%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%lx,%u.%u.%u",
		(uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
		(unsigned long)st.st_mtim.tv_nsec, v->major, v->minor, v->micro);
	h = hash(UINT64_C(0xcbf29ce484222325), ret->maker, strlen(ret->maker));
	h = hash(h, profile, len);
	(void)snprintf(ret->slot, sizeof(ret->slot), "%02u", (unsigned)((h ^ h >> 32) % SLOTS));
	return str_format(ret->folder, sizeof(ret->folder), NULL, "%s/seccomp", run) == 0;
}

char *seccomp_cache_get(const char *run, const char *profile, size_t len)
{
	auto_close int dir = -1;
	auto_free char *text = NULL;
	char head[200];
	struct place at;
	const char *program;
	size_t n, head_len;

	if (!find_place(run, profile, len, &at))
		return NULL;
	dir = open(at.folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || file_read(dir, at.slot, PROFILE_MAX + 2 * SECCOMP_CACHE_PROGRAM_MAX, &text, &n, NULL) < 0)
		return NULL;
	program = memrchr(text, '\n', n);
	if (!program)
		return NULL;
	program++;
	head_len = (size_t)snprintf(head, sizeof(head), "%s %zu\n", at.maker, strlen(program));
	/* All of the file is accounted for. */
	if (!*program || n != head_len + len + 1 + strlen(program) || memcmp(text, head, head_len) != 0 ||
		memcmp(text + head_len, profile, len) != 0 || text[head_len + len] != '\n')
		return NULL;
	return strdup(program);
}

void seccomp_cache_put(const char *run, const char *profile, size_t len, const char *program)
{
	auto_close int dir = -1, fd = -1;
	char head[200], self[32];
	struct place at;

	if (!find_place(run, profile, len, &at) || strlen(program) > SECCOMP_CACHE_PROGRAM_MAX)
		return;
	(void)mkdir(at.folder, 0700);
	dir = open(at.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd = dir < 0 ? -1 : openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	(void)snprintf(head, sizeof(head), "%s %zu\n", at.maker, strlen(program));
	if (fd_write_all(fd, head, strlen(head)) < 0 || fd_write_all(fd, profile, len) < 0 ||
		fd_write_all(fd, "\n", 1) < 0 || fd_write_all(fd, program, strlen(program)) < 0)
		return;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	/* Between the two steps the slot is empty, and another process may take it: as good. */
	(void)unlinkat(dir, at.slot, 0);
	(void)!linkat(AT_FDCWD, self, dir, at.slot, AT_SYMLINK_FOLLOW);
}
