/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and killing; limits are in cgroup_plan.c. The files are the kernel's own, their text is still bounded. */
#include "agent/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"

#define DEPTH_MAX 16

/* The whole of a small file into dst. */
static int slurp(int dirfd, const char *name, char *dst, size_t size)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	*dst = '\0';
	if (fd < 0)
		return -errno;
	while (len + 1 < size) {
		ssize_t n = read(fd, dst + len, size - 1 - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	dst[len] = '\0';
	return 0;
}

static bool parse_u64(const char *text, size_t n, uint64_t *ret)
{
	char digits[24];

	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	return str_to_u64(digits, UINT64_MAX, ret, NULL) == 0;
}

int cgroup_read_u64(int dirfd, const char *name, uint64_t *ret, struct err *err)
{
	char text[64];
	int r = slurp(dirfd, name, text, sizeof(text));

	if (r < 0)
		return err_set(err, -r, "read '%s': %s", name, strerror(-r));
	text[strcspn(text, "\n")] = '\0';
	if (str_eq(text, "max")) {
		*ret = 0;
		return 0;
	}
	return str_to_u64(text, UINT64_MAX, ret, err);
}

bool cgroup_keyed(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return parse_u64(line + len + 1, strcspn(line + len + 1, "\n"), ret);
	return false;
}

void cgroup_io_sum(const char *text, uint64_t *ret_read, uint64_t *ret_written)
{
	for (const char *p = text; *p; p += strcspn(p, " \n"), p += strspn(p, " \n")) {
		uint64_t *sum = strncmp(p, "rbytes=", 7) == 0	? ret_read
				: strncmp(p, "wbytes=", 7) == 0 ? ret_written
								: NULL;
		uint64_t v;

		if (sum && parse_u64(p + 7, strcspn(p + 7, " \n"), &v))
			*sum += v;
	}
}

struct keyed {
	const char *key;
	uint64_t *ret;
	uint64_t scale; /* to the unit of the reply */
};

static void read_keyed(int dirfd, const char *name, const struct keyed *keys, size_t n)
{
	char text[4096];

	if (slurp(dirfd, name, text, sizeof(text)) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		uint64_t v;

		if (cgroup_keyed(text, keys[i].key, &v))
			*keys[i].ret = v * keys[i].scale;
	}
}

static void read_number(int dirfd, const char *name, uint64_t *ret)
{
	uint64_t v;

	if (cgroup_read_u64(dirfd, name, &v, NULL) == 0)
		*ret = v;
}

void cgroup_stats(int dirfd, Podvm__Agent__V1__GetStatsResponse *ret)
{
	uint64_t inactive_file = 0;
	const struct keyed cpu[] = {
		{"usage_usec", &ret->cpu_usage_ns, 1000},
		{"user_usec", &ret->cpu_user_ns, 1000},
		{"system_usec", &ret->cpu_system_ns, 1000},
		{"nr_periods", &ret->cpu_periods, 1},
		{"nr_throttled", &ret->cpu_throttled_periods, 1},
		{"throttled_usec", &ret->cpu_throttled_ns, 1000},
	};
	const struct keyed memory[] = {
		{"anon", &ret->memory_anon, 1},
		{"file", &ret->memory_file, 1},
		{"kernel", &ret->memory_kernel, 1},
		{"inactive_file", &inactive_file, 1},
		{"pgfault", &ret->memory_page_faults, 1},
		{"pgmajfault", &ret->memory_major_page_faults, 1},
	};
	char io[4096];

	read_keyed(dirfd, "cpu.stat", cpu, ARRAY_SIZE(cpu));
	read_keyed(dirfd, "memory.stat", memory, ARRAY_SIZE(memory));
	read_number(dirfd, "memory.current", &ret->memory_usage);
	read_number(dirfd, "memory.max", &ret->memory_limit);
	read_number(dirfd, "memory.peak", &ret->memory_peak);
	read_number(dirfd, "memory.swap.current", &ret->swap_usage);
	read_number(dirfd, "pids.current", &ret->pids_current);
	read_number(dirfd, "pids.max", &ret->pids_limit);
	ret->memory_working_set = ret->memory_usage > inactive_file ? ret->memory_usage - inactive_file : 0;
	ret->oom_kills = cgroup_oom_kills(dirfd);
	if (slurp(dirfd, "io.stat", io, sizeof(io)) == 0)
		cgroup_io_sum(io, &ret->io_read_bytes, &ret->io_write_bytes);
}

uint64_t cgroup_oom_kills(int dirfd)
{
	uint64_t n = 0;
	const struct keyed kills = {"oom_kill", &n, 1};

	read_keyed(dirfd, "memory.events", &kills, 1);
	return n;
}

int cgroup_write(int dirfd, const char *name, const char *text, struct err *err)
{
	auto_close int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, "open cgroup file '%s'", name);
	if (write(fd, text, strlen(text)) < 0)
		return err_errno(err, "write '%s' to cgroup file '%s'", text, name);
	return 0;
}

int cgroup_kill(int dirfd, struct err *err)
{
	return cgroup_write(dirfd, "cgroup.kill", "1", err);
}

int cgroup_freeze(int dirfd, bool on, struct err *err)
{
	return cgroup_write(dirfd, "cgroup.freeze", on ? "1" : "0", err);
}

bool cgroup_frozen(int dirfd)
{
	uint64_t frozen = 0;
	const struct keyed key = {"frozen", &frozen, 1};

	read_keyed(dirfd, "cgroup.events", &key, 1);
	return frozen != 0;
}

struct pid_list {
	uint32_t *pids;
	size_t n, cap;
};

static int add_pid(struct pid_list *l, uint64_t pid, struct err *err)
{
	if (l->n == CGROUP_PIDS_MAX)
		return err_set(err, EFBIG, "more than %d processes", CGROUP_PIDS_MAX);
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		uint32_t *more = realloc(l->pids, cap * sizeof(*more));

		if (!more)
			return err_set(err, ENOMEM, "list of processes: out of memory");
		l->pids = more;
		l->cap = cap;
	}
	l->pids[l->n++] = (uint32_t)pid;
	return 0;
}

static int add_pids(int dirfd, struct pid_list *l, struct err *err)
{
	auto_close int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	auto_fclose FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[32];
	uint64_t pid;
	int r = 0;

	if (!f)
		return err_errno(err, "open 'cgroup.procs'");
	(void)take_fd(&fd);
	while (r == 0 && fgets(line, sizeof(line), f))
		if (parse_u64(line, strcspn(line, "\n"), &pid) && pid != 0)
			r = add_pid(l, pid, err);
	return r;
}

/* The container may have made cgroups of its own below. */
static int walk(int dirfd, unsigned depth, struct pid_list *l, struct err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r;

	if (!d) {
		r = err_errno(err, "open cgroup folder");
		close_fd(&fd);
		return r;
	}
	r = add_pids(dirfd, l, err);
	while (r == 0 && depth < DEPTH_MAX && (e = readdir(d)) != NULL) {
		auto_close int sub = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0)
			r = walk(sub, depth + 1, l, err);
	}
	(void)closedir(d);
	return r;
}

int cgroup_pids(int dirfd, uint32_t **ret, size_t *ret_n, struct err *err)
{
	struct pid_list l = {0};
	int r = walk(dirfd, 0, &l, err);

	if (r < 0) {
		free(l.pids);
		return r;
	}
	*ret = l.pids;
	*ret_n = l.n;
	return 0;
}
