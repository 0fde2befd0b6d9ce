/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For bench/devices, in the guest, 64 KiB at once: accepts one connection at a vsock port and reads it to its end, or writes so many MiB to
 * it; or connects to a TCP port and writes.
 * Usage: stream PORT [MIB] | stream ADDRESS PORT MIB
 */
#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int accept_vsock(unsigned port)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return -1;
	return accept(fd, NULL, NULL);
}

static int connect_tcp(const char *address, unsigned port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1 ||
		connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	static char buf[64 * 1024];
	long left = argc > 2 ? atol(argv[argc - 1]) << 20 : 0;
	ssize_t n = 1;
	int fd;

	if (argc < 2 || argc > 4)
		return 2;
	fd = argc == 4 ? connect_tcp(argv[1], (unsigned)atoi(argv[2])) : accept_vsock((unsigned)atoi(argv[1]));
	if (argc == 2)
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			;
	for (; left > 0 && n > 0; left -= n)
		n = write(fd, buf, sizeof(buf));
	return fd < 0 || n < 0;
}
