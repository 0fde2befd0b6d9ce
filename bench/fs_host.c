/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of bench/fs: starts QEMU with two virtio-fs devices, "ours" served by podvm-vmm and "theirs" by QEMU's
 * virtiofsd, each on its own folder, and prints what the guest says of them, and the processor time of each phase: of the server
 * alone ("server") and of QEMU with it ("all"), theirs to ours, the median of the rounds.
 *
 * Both keep names and attributes for a second, each with its defaults otherwise. virtiofsd's are cache=auto, no thread pool, no locks
 * and no ACLs, but extended attributes, which are asked for. VIRTIOFSD_OPTIONS=posix_acl,killpriv_v2,posix_lock,flock adds what podvm-vmm always does.
 * Usage: fs_host PODVM_VMM VIRTIOFSD KERNEL INITRD FOLDER ROUNDS [QEMU_CPUS]
 */
#include <linux/sched.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "pod/tsc.h"

#define LIMIT_NS (600 * UINT64_C(1000000000))
#define START_NS (10 * UINT64_C(1000000000))
#define QUEUE "1024" /* a request of 1 MiB needs 260 places */
#define PHASES_MAX 32
#define ROUNDS_MAX 20

enum { OURS, THEIRS, QEMU, PROCS };

struct phase_cpu {
	double server[2][ROUNDS_MAX], all[2][ROUNDS_MAX]; /* seconds, by side and round */
	unsigned rounds[2];
};

static _Noreturn void die(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "fs_host: %s%s%s\n", what, err ? ": " : "", err ? err->msg : "");
	exit(1);
}

static void pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair", NULL);
}

static void make_folder(char *dst, size_t size, const char *base, const char *name)
{
	(void)snprintf(dst, size, "%s/%s", base, name);
	if (mkdir(dst, 0755) < 0)
		die("cannot make the shared folders", NULL);
}

static int start_ours(const char *vmm, const char *folder, int sock, pid_t *ret_pid)
{
	const char *argv[] = {"podvm-vmm", "--vhost-user", "--id", "bench", "--fs-sock", "3", "--fs-root", folder,
		"--fs-tag", "ours", NULL};
	struct spawn s = {.file = vmm, .argv = argv, .clone_flags = CLONE_NEWPID};
	struct err err;
	int pidfd;

	s.fds[s.n_fds++] = (struct spawn_fd){sock, 3};
	s.fds[s.n_fds++] = (struct spawn_fd){2, 2};
	if (spawn_start(&s, ret_pid, &pidfd, &err) < 0)
		die("podvm-vmm", &err);
	return pidfd;
}

static int start_theirs(const char *virtiofsd, const char *folder, const char *socket_path, pid_t *ret_pid)
{
	const char *more = getenv("VIRTIOFSD_OPTIONS");
	char sock_arg[256], source[512];
	const char *argv[] = {"virtiofsd", sock_arg, "-o", source, NULL};
	struct spawn s = {.file = virtiofsd, .argv = argv};
	uint64_t end = time_mono_ns() + START_NS;
	struct stat st;
	struct err err;
	int pidfd;

	(void)snprintf(sock_arg, sizeof(sock_arg), "--socket-path=%s", socket_path);
	(void)snprintf(source, sizeof(source), "source=%s,xattr%s%s", folder, more ? "," : "", more ? more : "");
	if (spawn_start(&s, ret_pid, &pidfd, &err) < 0)
		die("virtiofsd", &err);
	while (stat(socket_path, &st) < 0) {
		struct pollfd p = {.fd = pidfd, .events = POLLIN};

		if (poll(&p, 1, 10) != 0 || time_mono_ns() > end)
			die("virtiofsd did not start", NULL);
	}
	return pidfd;
}

static int start_qemu(char **argv, int console, int ours, const char *socket_path, pid_t *ret_pid)
{
	char theirs[256], append[512], smp[80];
	const char *qemu[] = {"qemu-system-x86_64", "-M",
		"microvm,rtc=on,isa-serial=on,pcie=off,ioapic2=off,memory-backend=mem", "-global",
		"virtio-mmio.force-legacy=false", "-object", "memory-backend-memfd,id=mem,size=512M,share=on", "-m",
		"512M", "-smp", smp, "-accel", getenv("ACCEL") ? getenv("ACCEL") : "tcg", "-cpu",
		"max,erms=off,fsrm=off,la57=off", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
		"-kernel", argv[3], "-initrd", argv[4], "-append", append, "-chardev", "socket,id=con,fd=3", "-serial",
		"chardev:con", "-chardev", "socket,id=a,fd=4", "-device",
		"vhost-user-fs-device,chardev=a,tag=ours,queue-size=" QUEUE, "-chardev", theirs, "-device",
		"vhost-user-fs-device,chardev=b,tag=theirs,queue-size=" QUEUE, NULL};
	struct spawn s = {.file = qemu[0], .argv = qemu, .search_path = true};
	struct tsc_sample tsc;
	struct err err;
	int pidfd;

	/* A guest that measures the counter itself fails to on a busy machine, and is of no use then. */
	tsc_sample(&tsc);
	(void)snprintf(theirs, sizeof(theirs), "socket,id=b,path=%s", socket_path);
	/* More CPUs than there are: else QEMU leaves out the guest's memory barriers, which devices in other processes need. */
	(void)snprintf(smp, sizeof(smp), "cpus=%s,maxcpus=8,sockets=1,cores=8,threads=1", argv[7] ? argv[7] : "1");
	(void)snprintf(append, sizeof(append),
		"console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests mitigations=off clearcpuid=rep_good "
		"tsc_early_khz=%u tsc=reliable no_timer_check fs_rounds=%s %s",
		tsc_khz_since(&tsc), argv[6], getenv("APPEND") ? getenv("APPEND") : "");
	s.fds[s.n_fds++] = (struct spawn_fd){console, 3};
	s.fds[s.n_fds++] = (struct spawn_fd){ours, 4};
	s.fds[s.n_fds++] = (struct spawn_fd){2, 2};
	if (spawn_start(&s, ret_pid, &pidfd, &err) < 0)
		die("qemu", &err);
	return pidfd;
}

/* The process that does the work: virtiofsd leaves it to a child. */
static pid_t worker_of(pid_t pid)
{
	char path[64], text[64] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	if (f) {
		(void)!fgets(text, sizeof(text), f);
		(void)fclose(f);
	}
	return atoi(text) > 0 ? worker_of(atoi(text)) : pid;
}

static void read_clocks(const pid_t pids[PROCS], double ret[PROCS])
{
	for (int i = 0; i < PROCS; i++) {
		struct timespec ts = {0};
		clockid_t clock;

		if (clock_getcpuclockid(worker_of(pids[i]), &clock) != 0 || clock_gettime(clock, &ts) < 0)
			die("cannot read a processor clock", NULL);
		ret[i] = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	}
}

/* A line of the guest that tells of the begin or the end of a phase. */
static void on_mark(const char *line, const pid_t pids[PROCS], struct phase_cpu *cpu)
{
	static double began[PROCS];
	double now[PROCS];
	unsigned phase, side, start;

	if (sscanf(line, "@%u %u %u", &phase, &side, &start) != 3 || phase >= PHASES_MAX || side > THEIRS)
		die("cannot read a mark of the guest", NULL);
	read_clocks(pids, now);
	if (!start && cpu[phase].rounds[side] < ROUNDS_MAX) {
		unsigned round = cpu[phase].rounds[side]++;

		cpu[phase].server[side][round] = now[side] - began[side];
		cpu[phase].all[side][round] = now[side] - began[side] + now[QEMU] - began[QEMU];
	}
	memcpy(began, now, sizeof(began));
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of theirs to ours, round by round. */
static double ratio_of(double v[2][ROUNDS_MAX], unsigned n)
{
	double ratio[ROUNDS_MAX] = {0};

	for (unsigned r = 0; r < n; r++)
		ratio[r] = v[THEIRS][r] / v[OURS][r];
	qsort(ratio, n, sizeof(ratio[0]), by_size);
	return n == 0 ? 0 : n % 2 ? ratio[n / 2] : (ratio[n / 2 - 1] + ratio[n / 2]) / 2;
}

/* Prints the guest's lines that are meant for us. 0 if it came to its end without a failure. */
static int relay(int console, const pid_t pids[PROCS])
{
	static struct phase_cpu cpu[PHASES_MAX];
	uint64_t end = time_mono_ns() + LIMIT_NS;
	FILE *f = fdopen(console, "r");
	unsigned ended = 0, bad = 0, n = 0;
	char line[512];

	while (f && time_mono_ns() < end && fgets(line, sizeof(line), f)) {
		if (!str_has_prefix(line, "fs: "))
			continue;
		ended |= str_has_prefix(line, "fs: end");
		bad |= str_has_prefix(line, "fs: FAILED");
		if (line[4] == '@') {
			on_mark(line + 4, pids, cpu);
			continue;
		}
		line[strcspn(line, "\r\n")] = '\0';
		if (strstr(line, " ratio ") && n < PHASES_MAX) {
			(void)printf("%s server %.2f all %.2f\n", line + 4,
				ratio_of(cpu[n].server, cpu[n].rounds[THEIRS]),
				ratio_of(cpu[n].all, cpu[n].rounds[THEIRS]));
			n++;
		} else if (!ended) {
			(void)puts(line + 4);
		}
		(void)fflush(stdout);
	}
	return ended && !bad ? 0 : 1;
}

int main(int argc, char **argv)
{
	char ours[200], theirs[200], socket_path[108];
	int vhost[2], console[2], vmm, virtiofsd, qemu, r;
	pid_t pids[PROCS];

	if (argc < 7 || argc > 8) {
		(void)fprintf(stderr, "usage: fs_host PODVM_VMM VIRTIOFSD KERNEL INITRD FOLDER ROUNDS [CPUS]\n");
		return 2;
	}
	make_folder(ours, sizeof(ours), argv[5], "ours");
	make_folder(theirs, sizeof(theirs), argv[5], "theirs");
	(void)snprintf(socket_path, sizeof(socket_path), "%s/sock", argv[5]);
	pair(vhost);
	pair(console);
	vmm = start_ours(argv[1], ours, vhost[0], &pids[OURS]);
	virtiofsd = start_theirs(argv[2], theirs, socket_path, &pids[THEIRS]);
	qemu = start_qemu(argv, console[1], vhost[1], socket_path, &pids[QEMU]);
	close(vhost[0]);
	close(vhost[1]);
	close(console[1]);
	r = relay(console[0], pids);
	spawn_kill(&qemu);
	spawn_kill(&virtiofsd);
	if (spawn_wait(vmm) != 0)
		die("podvm-vmm failed", NULL);
	return r;
}
