/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An /init that moves bytes, for bench/vsock: loads the modules named in /modules/order and serves requests on vsock port
 * IO_PORT and on the first virtio-serial port, each in a process of its own. Static, no shell, powers off with a request.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "rpc/stream.h"

static char buf[IO_CHUNK_MAX];

static void say(const char *text)
{
	int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);

	if (fd >= 0)
		(void)!write(fd, text, strlen(text));
	(void)close(fd);
}

static void load_modules(void)
{
	FILE *f = fopen("/modules/order", "r");
	char name[128], path[160];

	while (f && fscanf(f, "%127s", name) == 1) {
		int fd;

		(void)snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) {
			say("cannot load ");
			say(name);
			say("\nBENCH FAILED\n");
		}
		(void)close(fd);
	}
}

static int move(int fd, int out, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = out ? write(fd, (char *)p + done, n - done) : read(fd, (char *)p + done, n - done);

		if (r <= 0)
			return -1;
		done += (size_t)r;
	}
	return 0;
}

static int sink(int fd, const struct io_request *rq)
{
	uint64_t got = 0;

	while (got < rq->bytes) {
		size_t n = rq->bytes - got < rq->chunk ? rq->bytes - got : rq->chunk;
		ssize_t r = read(fd, buf, n);

		if (r <= 0)
			return -1;
		got += (uint64_t)r;
	}
	return move(fd, 1, &got, sizeof(got));
}

static int source(int fd, const struct io_request *rq)
{
	for (uint64_t left = rq->bytes; left;) {
		size_t n = left < rq->chunk ? left : rq->chunk;

		if (move(fd, 1, buf, n) < 0)
			return -1;
		left -= n;
	}
	return 0;
}

static int echo(int fd, const struct io_request *rq)
{
	for (uint64_t i = 0; i < rq->bytes; i++)
		if (move(fd, 0, buf, rq->chunk) < 0 || move(fd, 1, buf, rq->chunk) < 0)
			return -1;
	return 0;
}

static void serve(int fd)
{
	struct io_request rq;

	while (move(fd, 0, &rq, sizeof(rq)) == 0 && rq.chunk && rq.chunk <= sizeof(buf)) {
		int r = 0;

		switch (rq.op) {
		case IO_SINK:
			r = sink(fd, &rq);
			break;
		case IO_SOURCE:
			r = source(fd, &rq);
			break;
		case IO_ECHO:
			r = echo(fd, &rq);
			break;
		default:
			(void)reboot(RB_POWER_OFF);
		}
		if (r < 0)
			return;
	}
}

static void serve_vsock(void)
{
	const uint64_t buffer = STREAM_SOCKET_BUFFER; /* as the agent has it */
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = IO_PORT};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &buffer, sizeof(buffer)) < 0 ||
		setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &buffer, sizeof(buffer)) < 0 ||
		bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0)
		say("cannot listen on vsock\nBENCH FAILED\n");
	say("BENCH READY\n");
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c >= 0 && fork() == 0) {
			serve(c);
			_exit(0);
		}
		(void)close(c);
	}
}

static void serve_serial(void)
{
	int fd = open("/dev/vport0p1", O_RDWR);

	if (fd < 0)
		fd = open("/dev/vport1p1", O_RDWR);
	if (fd < 0)
		fd = open("/dev/vport2p1", O_RDWR);
	if (fd < 0)
		_exit(0);
	for (;;)
		serve(fd);
}

int main(void)
{
	(void)signal(SIGCHLD, SIG_IGN);
	(void)mkdir("/dev", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	if (fork() == 0)
		serve_serial();
	serve_vsock();
}
