/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An /init that compares two virtio-fs devices, for bench/fs: loads the modules named in /modules/order, mounts the tags "ours" and
 * "theirs", does the same file work on both in turn, ROUNDS times (argument fs_rounds=N of the kernel), prints the medians, also of
 * the rounds' ratios, in lines that begin with "fs: ", and powers off. Lines "fs: @PHASE SIDE START" tell the host when a phase
 * begins (START 1) and ends.
 *
 * What is dropped from memory before a phase is dropped for both sides, and what is read again was read on the same side just before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define BIG_MIB 64
#define CHUNK (1u << 20)
#define RANDOM_READS 4000
#define DIRS 20
#define FILES 50 /* in each */
#define FILE_BYTES 3000
#define ROUNDS_MAX 20

static char buf[CHUNK];
static const char *failed;

static void need(int ok, const char *what)
{
	if (!ok && !failed) {
		failed = what;
		printf("fs: FAILED %s: %s\n", what, strerror(errno));
	}
}

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* 1: file contents, 2: names and inodes, 3: both. */
static void forget(char what)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	need(write(fd, &what, 1) == 1, "drop_caches");
	(void)close(fd);
}

/* ---- one large file ---- */

static void write_large(void)
{
	int fd = open("large", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	for (int i = 0; i < BIG_MIB; i++)
		need(write(fd, buf, CHUNK) == CHUNK, "write large");
	need(close(fd) == 0, "close large");
}

static void read_large(void)
{
	int fd = open("large", O_RDONLY);

	for (int i = 0; i < BIG_MIB; i++)
		need(read(fd, buf, CHUNK) == CHUNK, "read large");
	(void)close(fd);
}

static void random_reads(void)
{
	int fd = open("large", O_RDONLY);
	uint64_t x = 1;

	for (int i = 0; i < RANDOM_READS; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		need(pread(fd, buf, 4096, (off_t)((x >> 33) % (BIG_MIB * 256)) * 4096) == 4096, "pread");
	}
	(void)close(fd);
}

static void map_large(void)
{
	int fd = open("large", O_RDONLY);
	volatile char *p = mmap(NULL, (size_t)BIG_MIB << 20, PROT_READ, MAP_SHARED, fd, 0);
	unsigned sum = 0;

	need(p != MAP_FAILED, "mmap");
	for (size_t i = 0; p != MAP_FAILED && i < (size_t)BIG_MIB << 20; i += 4096)
		sum += (unsigned char)p[i];
	(void)sum;
	(void)munmap((void *)(uintptr_t)p, (size_t)BIG_MIB << 20);
	(void)close(fd);
}

/* ---- a tree of small files ---- */

static void each(void (*fn)(const char *name))
{
	char name[64];

	for (int d = 0; d < DIRS; d++)
		for (int f = 0; f < FILES; f++) {
			(void)snprintf(name, sizeof(name), "tree/folder-%d/some-file-%d.c", d, f);
			fn(name);
		}
}

static void create_one(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	need(write(fd, buf, FILE_BYTES) == FILE_BYTES && close(fd) == 0, "create");
}

/* As tar does it. */
static void create_tree(void)
{
	char name[64];

	need(mkdir("tree", 0755) == 0, "mkdir tree");
	for (int d = 0; d < DIRS; d++) {
		(void)snprintf(name, sizeof(name), "tree/folder-%d", d);
		need(mkdir(name, 0755) == 0, "mkdir");
	}
	each(create_one);
}

static void set_one(const char *name)
{
	const struct timespec ts[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};

	need(chown(name, 1, 1) == 0 && chmod(name, 0640) == 0 && utimensat(AT_FDCWD, name, ts, 0) == 0,
		"set attributes");
}

static void set_tree(void)
{
	each(set_one);
}

static void read_one(const char *name)
{
	int fd = open(name, O_RDONLY);

	need(read(fd, buf, sizeof(buf)) == FILE_BYTES && read(fd, buf, 1) == 0 && close(fd) == 0, "read");
}

static void read_tree(void)
{
	each(read_one);
}

/* As compilers and interpreters do with what lies in one folder. */
static void read_again(void)
{
	char name[64];

	for (int n = 0; n < DIRS; n++)
		for (int f = 0; f < FILES; f++) {
			(void)snprintf(name, sizeof(name), "tree/folder-0/some-file-%d.c", f);
			read_one(name);
		}
}

static void stat_one(const char *name)
{
	struct stat st;

	need(stat(name, &st) == 0 && st.st_size == FILE_BYTES, "stat");
}

static void stat_tree(void)
{
	each(stat_one);
}

/* As find or ls -lR does it. */
static void walk_tree(void)
{
	char name[64];
	int n = 0;

	for (int d = 0; d < DIRS; d++) {
		struct dirent *e;
		struct stat st;
		DIR *dir;

		(void)snprintf(name, sizeof(name), "tree/folder-%d", d);
		dir = opendir(name);
		need(dir != NULL, "opendir");
		while (dir && (e = readdir(dir))) {
			need(fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
			n++;
		}
		(void)closedir(dir);
	}
	need(n == DIRS * (FILES + 2), "count");
}

/* As an editor or git saves: a new file, then rename over the old one. */
static void save_one(const char *name)
{
	int fd = open("tree/new", O_WRONLY | O_CREAT | O_EXCL, 0644);

	need(write(fd, buf, FILE_BYTES) == FILE_BYTES && close(fd) == 0 && rename("tree/new", name) == 0, "save");
}

static void save_tree(void)
{
	each(save_one);
}

static void remove_one(const char *name)
{
	need(unlink(name) == 0, "unlink");
}

static void remove_tree(void)
{
	char name[64];

	each(remove_one);
	for (int d = 0; d < DIRS; d++) {
		(void)snprintf(name, sizeof(name), "tree/folder-%d", d);
		need(rmdir(name) == 0, "rmdir");
	}
	need(rmdir("tree") == 0, "rmdir tree");
}

static const struct phase {
	const char *name;
	void (*fn)(void);
	char forget; /* before it, or 0 */
	double amount;
	const char *unit;
	void (*before)(void); /* not measured, or NULL */
} phases[] = {
	{"write 64 MiB", write_large, 0, BIG_MIB, "MiB/s", NULL},
	{"read 64 MiB", read_large, '1', BIG_MIB, "MiB/s", NULL},
	{"read again, cached", read_large, 0, BIG_MIB, "MiB/s", read_large},
	{"map and touch 64 MiB", map_large, '1', BIG_MIB, "MiB/s", NULL},
	{"random 4 KiB reads", random_reads, '1', RANDOM_READS, "/s", NULL},
	{"create files", create_tree, 0, DIRS *FILES, "/s", NULL},
	{"set owner, mode, times", set_tree, 0, DIRS *FILES, "/s", NULL},
	{"stat, cold", stat_tree, '3', DIRS *FILES, "/s", NULL},
	{"read files, cold", read_tree, '3', DIRS *FILES, "/s", NULL},
	{"read files, warm", read_again, 0, DIRS *FILES, "/s", NULL},
	{"list and stat, cold", walk_tree, '3', DIRS *FILES, "/s", NULL},
	{"save by rename", save_tree, 0, DIRS *FILES, "/s", NULL},
	{"remove files", remove_tree, 0, DIRS *FILES, "/s", NULL},
};
#define N_PHASES (sizeof(phases) / sizeof(phases[0]))

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void run(unsigned rounds)
{
	static double took[N_PHASES][2][ROUNDS_MAX];
	static const char *const mounts[2] = {"/ours", "/theirs"};

	for (unsigned r = 0; r < rounds && !failed; r++)
		for (size_t p = 0; p < N_PHASES; p++)
			for (unsigned m = 0; m < 2; m++) {
				unsigned which = (m + r) % 2;
				double t;

				need(chdir(mounts[which]) == 0, "chdir");
				if (phases[p].forget)
					forget(phases[p].forget);
				if (phases[p].before)
					phases[p].before();
				printf("fs: @%zu %u 1\n", p, which);
				t = now();
				phases[p].fn();
				took[p][which][r] = now() - t;
				printf("fs: @%zu %u 0\n", p, which);
			}
	for (size_t p = 0; p < N_PHASES && !failed; p++) {
		double ratio[ROUNDS_MAX], ours, theirs;

		/* Of each round by itself: what else the machine does changes from one to the next. */
		for (unsigned r = 0; r < rounds; r++)
			ratio[r] = took[p][1][r] / took[p][0][r];
		ours = median(took[p][0], rounds);
		theirs = median(took[p][1], rounds);
		printf("fs: %-24s ours %10.1f %-6s theirs %10.1f %-6s ratio %.2f\n", phases[p].name,
			phases[p].amount / ours, phases[p].unit, phases[p].amount / theirs, phases[p].unit,
			median(ratio, rounds));
	}
}

static void load_modules(void)
{
	FILE *f = fopen("/modules/order", "r");
	char name[128], path[160];

	while (f && fscanf(f, "%127s", name) == 1) {
		int fd;

		(void)snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			printf("fs: FAILED module %s: %s\n", name, strerror(errno));
		(void)close(fd);
	}
	if (f)
		(void)fclose(f);
}

static unsigned rounds_of_cmdline(void)
{
	static char text[4096];
	int fd = open("/proc/cmdline", O_RDONLY);
	const char *p;
	int n;

	if (read(fd, text, sizeof(text) - 1) <= 0)
		return 1;
	(void)close(fd);
	p = strstr(text, "fs_rounds=");
	n = p ? atoi(p + strlen("fs_rounds=")) : 5;
	return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : (unsigned)n;
}

int main(void)
{
	(void)mkdir("/dev", 0755);
	(void)mkdir("/proc", 0755);
	(void)mkdir("/ours", 0755);
	(void)mkdir("/theirs", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)!freopen("/dev/ttyS0", "w", stdout);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	need(mount("ours", "/ours", "virtiofs", 0, NULL) == 0, "mount ours");
	need(mount("theirs", "/theirs", "virtiofs", 0, NULL) == 0, "mount theirs");
	(void)memset(buf, 'x', sizeof(buf));
	if (!failed)
		run(rounds_of_cmdline());
	printf("fs: end\n");
	(void)fflush(stdout);
	(void)tcdrain(fileno(stdout)); /* or the end is lost */
	(void)reboot(RB_POWER_OFF);
	return 1;
}
