/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of bench/fs: starts QEMU with two virtio-fs devices, "ours" served by podvm-vmm and "theirs" by QEMU's
 * virtiofsd, each on its own folder, and prints what the guest says of them.
 * Usage: fs_host PODVM_VMM VIRTIOFSD KERNEL INITRD FOLDER ROUNDS [QEMU_CPUS]
 */
#include <linux/sched.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "pod/tsc.h"

#define LIMIT_NS (600 * UINT64_C(1000000000))
#define START_NS (10 * UINT64_C(1000000000))
#define QUEUE "1024" /* a request of 1 MiB needs 260 places */

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

static int start_ours(const char *vmm, const char *folder, int sock)
{
	const char *argv[] = {"podvm-vmm", "--vhost-user", "--id", "bench", "--fs-sock", "3", "--fs-root", folder,
		"--fs-tag", "ours", NULL};
	struct spawn s = {.file = vmm, .argv = argv, .clone_flags = CLONE_NEWPID};
	struct err err;
	int pidfd;

	s.fds[s.n_fds++] = (struct spawn_fd){sock, 3};
	s.fds[s.n_fds++] = (struct spawn_fd){2, 2};
	if (spawn_start(&s, &(pid_t){0}, &pidfd, &err) < 0)
		die("podvm-vmm", &err);
	return pidfd;
}

static int start_theirs(const char *virtiofsd, const char *folder, const char *socket_path)
{
	char sock_arg[256], source[256];
	const char *argv[] = {"virtiofsd", sock_arg, "-o", source, NULL};
	struct spawn s = {.file = virtiofsd, .argv = argv};
	uint64_t end = time_mono_ns() + START_NS;
	struct stat st;
	struct err err;
	int pidfd;

	(void)snprintf(sock_arg, sizeof(sock_arg), "--socket-path=%s", socket_path);
	(void)snprintf(source, sizeof(source), "source=%s,xattr", folder);
	if (spawn_start(&s, &(pid_t){0}, &pidfd, &err) < 0)
		die("virtiofsd", &err);
	while (stat(socket_path, &st) < 0) {
		struct pollfd p = {.fd = pidfd, .events = POLLIN};

		if (poll(&p, 1, 10) != 0 || time_mono_ns() > end)
			die("virtiofsd did not start", NULL);
	}
	return pidfd;
}

static int start_qemu(char **argv, int console, int ours, const char *socket_path)
{
	char theirs[256], append[512], smp[80];
	const char *qemu[] = {"qemu-system-x86_64", "-M",
		"microvm,rtc=on,isa-serial=on,pcie=off,ioapic2=off,memory-backend=mem", "-global",
		"virtio-mmio.force-legacy=false", "-object", "memory-backend-memfd,id=mem,size=512M,share=on", "-m",
		"512M", "-smp", smp, "-accel", "tcg", "-cpu", "max,erms=off,fsrm=off,la57=off", "-nodefaults",
		"-no-user-config", "-nographic", "-no-reboot", "-kernel", argv[3], "-initrd", argv[4], "-append",
		append, "-chardev", "socket,id=con,fd=3", "-serial", "chardev:con", "-chardev", "socket,id=a,fd=4",
		"-device", "vhost-user-fs-device,chardev=a,tag=ours,queue-size=" QUEUE, "-chardev", theirs, "-device",
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
	if (spawn_start(&s, &(pid_t){0}, &pidfd, &err) < 0)
		die("qemu", &err);
	return pidfd;
}

/* Prints the guest's lines that are meant for us. 0 if it came to its end without a failure. */
static int relay(int console)
{
	uint64_t end = time_mono_ns() + LIMIT_NS;
	FILE *f = fdopen(console, "r");
	char line[512];
	int ended = 0, bad = 0;

	while (f && time_mono_ns() < end && fgets(line, sizeof(line), f)) {
		if (!str_has_prefix(line, "fs: "))
			continue;
		ended |= str_has_prefix(line, "fs: end");
		bad |= str_has_prefix(line, "fs: FAILED");
		if (!ended)
			(void)fputs(line + 4, stdout);
		(void)fflush(stdout);
	}
	return ended && !bad ? 0 : 1;
}

int main(int argc, char **argv)
{
	char ours[200], theirs[200], socket_path[108];
	int vhost[2], console[2], vmm, virtiofsd, qemu, r;

	if (argc < 7 || argc > 8) {
		(void)fprintf(stderr, "usage: fs_host PODVM_VMM VIRTIOFSD KERNEL INITRD FOLDER ROUNDS [CPUS]\n");
		return 2;
	}
	make_folder(ours, sizeof(ours), argv[5], "ours");
	make_folder(theirs, sizeof(theirs), argv[5], "theirs");
	(void)snprintf(socket_path, sizeof(socket_path), "%s/sock", argv[5]);
	pair(vhost);
	pair(console);
	vmm = start_ours(argv[1], ours, vhost[0]);
	virtiofsd = start_theirs(argv[2], theirs, socket_path);
	qemu = start_qemu(argv, console[1], vhost[1], socket_path);
	close(vhost[0]);
	close(vhost[1]);
	close(console[1]);
	r = relay(console[0]);
	spawn_kill(&qemu);
	spawn_kill(&virtiofsd);
	if (spawn_wait(vmm) != 0)
		die("podvm-vmm failed", NULL);
	return r;
}
