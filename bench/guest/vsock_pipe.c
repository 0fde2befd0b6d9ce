/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For bench/devices, in the guest: accepts one connection at a vsock port and reads it to its end, or writes so many MiB to it.
 * Usage: vsock_pipe PORT [MIB]
 */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char buf[64 * 1024];
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	long left = argc == 3 ? atol(argv[2]) << 20 : 0;
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	ssize_t n = 1;

	if (argc < 2 || fd < 0)
		return 2;
	sa.svm_port = (unsigned)atoi(argv[1]);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return 3;
	fd = accept(fd, NULL, NULL);
	if (argc == 2)
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			;
	for (; left > 0 && n > 0; left -= n)
		n = write(fd, buf, sizeof(buf));
	return fd < 0 || n < 0;
}
