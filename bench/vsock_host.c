/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of bench/vsock: starts QEMU with a virtio-serial port and, over vhost-user, podvm-vmm's vsock; moves the same
 * bytes through both, in turn, in both directions, and prints figures. Usage: vsock_host PODVM_VMM KERNEL INITRD MIB ROUNDS
 */
#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "agent/pump.h" /* the guest's program reads and writes as much at once as the agent */
#include "base/bytes.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "guest/io.h"
#include "pod/tsc.h"

#define CHUNK 65536
#define PINGS 2000
#define ROUNDS_MAX 50
#define BOOT_NS (60 * UINT64_C(1000000000))
#define STALL_S 60 /* and a second for each MiB: a round that takes longer stands still */

struct rig {
	int vmm, qemu; /* pidfds */
	clockid_t vmm_cpu, qemu_cpu;
	int serial;	 /* our end of the serial port */
	int console;	 /* what the guest prints */
	char path[108];	 /* of the vsock socket */
	bool vsock_only; /* without the other side of the comparison */
};

static _Noreturn void die(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "vsock_host: %s%s%s\n", what, err ? ": " : "", err ? err->msg : "");
	exit(1);
}

static bool vsock_turn; /* whose round it is */

/* A figure that never comes has to name whose it is. QEMU and podvm-vmm end with this process. */
static void on_stall(int signo unused_arg)
{
	static const char ours[] = "vsock_host: no end of a round over vsock: it stands still\n",
			  qemus[] = "vsock_host: no end of a round over QEMU's virtio-serial: it stands still\n";

	(void)!write(2, vsock_turn ? ours : qemus, vsock_turn ? sizeof(ours) - 1 : sizeof(qemus) - 1);
	_exit(1);
}

static void pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair", NULL);
}

static int listen_at(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path) || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(fd, 64) < 0)
		die("listen", NULL);
	return fd;
}

static void start(struct rig *rig, const char *vmm, const char *kernel, const char *initrd)
{
	const char *vmm_argv[] = {"podvm-vmm", "--vhost-user", "--id", "bench", "--vsock-sock", "3", "--vsock-listen",
		"4", "--cid", "3", NULL};
	char cmdline[256];
	/*
	 * Room for a second CPU, though there is none: else QEMU leaves out the guest's memory barriers, and a kick or an interrupt
	 * may be lost, over virtio-serial too.
	 */
	const char *qemu_argv[] = {"qemu-system-x86_64", "-M",
		"microvm,rtc=on,isa-serial=on,pcie=off,ioapic2=off,memory-backend=mem", "-global",
		"virtio-mmio.force-legacy=false", "-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-m",
		"256M", "-smp", "cpus=1,maxcpus=2,sockets=1,cores=2,threads=1", "-accel", "tcg", "-cpu",
		"max,erms=off,fsrm=off,la57=off", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", cmdline, "-chardev", "socket,id=con,fd=3", "-serial",
		"chardev:con", "-chardev", "socket,id=v,fd=4", "-device", "vhost-user-vsock-device,chardev=v",
		"-chardev", "socket,id=s,fd=5", "-device", "virtio-serial-device", "-device",
		"virtserialport,chardev=s,name=bench", NULL};
	struct spawn sv = {.file = vmm, .argv = vmm_argv, .clone_flags = CLONE_NEWPID},
		     sq = {.file = qemu_argv[0], .argv = qemu_argv, .search_path = true};
	int vhost[2], serial[2], console[2], listener = listen_at(rig->path);
	struct tsc_sample tsc;
	pid_t vmm_pid, qemu_pid;
	struct err err;

	/* A guest that measures the counter itself fails to on a busy machine, and is of no use then. */
	tsc_sample(&tsc);
	(void)snprintf(cmdline, sizeof(cmdline),
		"console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests preempt=none clearcpuid=rep_good "
		"tsc_early_khz=%u tsc=reliable no_timer_check%s%s",
		tsc_khz_since(&tsc), getenv("CMDLINE") ? " " : "", getenv("CMDLINE") ? getenv("CMDLINE") : "");
	pair(vhost);
	pair(serial);
	pair(console);
	sv.fds[sv.n_fds++] = (struct spawn_fd){vhost[0], 3};
	sv.fds[sv.n_fds++] = (struct spawn_fd){listener, 4};
	sv.fds[sv.n_fds++] = (struct spawn_fd){2, 2};
	sq.fds[sq.n_fds++] = (struct spawn_fd){console[1], 3};
	sq.fds[sq.n_fds++] = (struct spawn_fd){vhost[1], 4};
	sq.fds[sq.n_fds++] = (struct spawn_fd){serial[1], 5};
	sq.fds[sq.n_fds++] = (struct spawn_fd){2, 2};
	if (spawn_start(&sv, &vmm_pid, &rig->vmm, &err) < 0 || spawn_start(&sq, &qemu_pid, &rig->qemu, &err) < 0)
		die("start", &err);
	if (clock_getcpuclockid(vmm_pid, &rig->vmm_cpu) != 0 || clock_getcpuclockid(qemu_pid, &rig->qemu_cpu) != 0)
		die("no processor clocks", NULL);
	rig->serial = serial[0];
	rig->console = console[0];
	close(vhost[0]);
	close(vhost[1]);
	close(serial[1]);
	close(console[1]);
	close(listener);
}

static void wait_ready(struct rig *rig)
{
	char text[65536] = "";
	size_t n = 0;
	uint64_t end = time_mono_ns() + BOOT_NS;

	while (n < sizeof(text) - 1 && time_mono_ns() < end) {
		struct pollfd p = {.fd = rig->console, .events = POLLIN};
		ssize_t r = poll(&p, 1, 1000) > 0 ? read(rig->console, text + n, sizeof(text) - 1 - n) : -EAGAIN;

		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
		text[n] = '\0';
		if (strstr(text, "BENCH FAILED"))
			break;
		if (strstr(text, "BENCH READY"))
			return;
	}
	(void)fprintf(stderr, "%s\n", text);
	die("the guest did not come up", NULL);
}

static int connect_guest(const struct rig *rig)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[64] = "";

	(void)str_copy(sa.sun_path, sizeof(sa.sun_path), rig->path);
	(void)snprintf(line, sizeof(line), "CONNECT %d\n", IO_PORT);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || fd_write_all(fd, line, strlen(line)) < 0 ||
		read(fd, line, sizeof(line)) < 3 || memcmp(line, "OK ", 3) != 0)
		die("cannot connect over vsock", NULL);
	return fd;
}

/* The time of one request, in seconds. */
static double measure(int fd, enum io_op op, uint64_t bytes, uint32_t chunk)
{
	static char data[IO_CHUNK_MAX];
	struct io_request rq = {op, chunk, bytes};
	uint64_t t = time_mono_ns(), answer = 0;
	int r = fd_write_all(fd, &rq, sizeof(rq));

	if (op == IO_SINK) {
		for (uint64_t left = bytes; r == 0 && left;) {
			size_t n = MIN_OF(left, CHUNK);

			r = fd_write_all(fd, data, n);
			left -= n;
		}
		if (r == 0)
			r = fd_read_all(fd, &answer, sizeof(answer));
		r = r == 0 && answer != bytes ? -EIO : r;
	} else if (op == IO_SOURCE) {
		for (uint64_t left = bytes; r == 0 && left;) {
			ssize_t n = read(fd, data, MIN_OF(left, sizeof(data)));

			r = n > 0 ? 0 : -EIO;
			left -= n > 0 ? (uint64_t)n : 0;
		}
	} else {
		for (uint64_t i = 0; r == 0 && i < bytes; i++) {
			r = fd_write_all(fd, data, chunk);
			if (r == 0)
				r = fd_read_all(fd, data, chunk);
		}
	}
	if (r != 0)
		die("transfer failed", NULL);
	return (double)(time_mono_ns() - t) / 1e9;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

/* The processor time of both processes so far, in seconds. */
static double cpu(const struct rig *rig)
{
	double sum = 0;

	for (int i = 0; i < 2; i++) {
		struct timespec ts = {0};

		if (clock_gettime(i ? rig->vmm_cpu : rig->qemu_cpu, &ts) < 0)
			die("cannot read a processor clock", NULL);
		sum += (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	}
	return sum;
}

struct series {
	double took[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

static void one_round(const struct rig *rig, int fd, enum io_op op, uint64_t bytes, struct series *s, unsigned i)
{
	double before = cpu(rig);

	vsock_turn = fd != rig->serial;
	(void)alarm(STALL_S + (op == IO_ECHO ? 0 : (unsigned)(bytes >> 20)));
	s->took[i] = measure(fd, op, bytes, op == IO_ECHO ? 1 : PUMP_CHUNK);
	(void)alarm(0);
	s->cpu[i] = cpu(rig) - before;
}

static void compare(const struct rig *rig, const char *what, enum io_op op, uint64_t bytes, unsigned rounds)
{
	static struct series vsock, serial;
	double units = op == IO_ECHO ? (double)bytes : (double)bytes / (1 << 20), v, s, vc, sc;
	int fd = connect_guest(rig);

	/* In turn, so that a machine whose speed drifts does not matter. */
	for (unsigned i = 0; i < rounds; i++) {
		one_round(rig, fd, op, bytes, &vsock, i);
		if (!rig->vsock_only)
			one_round(rig, rig->serial, op, bytes, &serial, i);
	}
	close(fd);
	v = median(vsock.took, rounds);
	vc = median(vsock.cpu, rounds);
	if (rig->vsock_only) {
		printf("%-21s vsock %8.1f %s   processor time each %.0f us\n", what,
			op == IO_ECHO ? v / units * 1e6 : units / v, op == IO_ECHO ? "us" : "MiB/s", vc / units * 1e6);
		(void)fflush(stdout);
		return;
	}
	s = median(serial.took, rounds);
	sc = median(serial.cpu, rounds);
	if (op == IO_ECHO)
		printf("%-21s vsock %8.1f us     virtio-serial %8.1f us     ratio %.2f", what, v / units * 1e6,
			s / units * 1e6, s / v);
	else
		printf("%-21s vsock %8.1f MiB/s  virtio-serial %8.1f MiB/s  ratio %.2f", what, units / v, units / s,
			s / v);
	printf("   processor time each %.0f us, %.0f us, ratio %.2f\n", vc / units * 1e6, sc / units * 1e6, sc / vc);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	struct rig rig = {.vmm = -1, .qemu = -1, .vsock_only = getenv("VSOCK_ONLY") != NULL};
	struct io_request off = {IO_POWEROFF, 1, 0};
	uint64_t mib, rounds;
	struct err err;
	int fd;

	if (argc != 6 || str_to_u64(argv[4], 4096, &mib, &err) < 0 ||
		str_to_u64(argv[5], ROUNDS_MAX, &rounds, &err) < 0 || !rounds) {
		(void)fprintf(stderr, "usage: vsock_host PODVM_VMM KERNEL INITRD MIB ROUNDS\n");
		return 2;
	}
	(void)snprintf(rig.path, sizeof(rig.path), "/tmp/podvm-bench-vsock-%d", (int)getpid());
	(void)signal(SIGALRM, on_stall);
	start(&rig, argv[1], argv[2], argv[3]);
	wait_ready(&rig);
	compare(&rig, "host to guest", IO_SINK, mib << 20, (unsigned)rounds);
	compare(&rig, "guest to host", IO_SOURCE, mib << 20, (unsigned)rounds);
	compare(&rig, "round trip of a byte", IO_ECHO, PINGS, (unsigned)rounds);
	fd = connect_guest(&rig);
	if (fd_write_all(fd, &off, sizeof(off)) < 0)
		die("cannot ask for power off", NULL);
	(void)spawn_wait(rig.qemu);
	if (spawn_wait(rig.vmm) != 0)
		die("podvm-vmm failed", NULL);
	(void)unlink(rig.path);
	return 0;
}
