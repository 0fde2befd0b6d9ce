/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for network tests: sends back what it gets, over TCP (until the client's end of file, which it answers with
 * its own) and UDP, at one address and port.
 *
 * Usage: net_peer ADDRESS PORT. "::" serves IPv4 too. Prints "ready" when it listens.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int server(int type, const char *address, int port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int is6 = strchr(address, ':') != NULL, one = 1;
	int fd = socket(is6 ? AF_INET6 : AF_INET, type, 0);

	if (fd < 0 ||
		inet_pton(is6 ? AF_INET6 : AF_INET, address, is6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, is6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, is6 ? sizeof(v6) : sizeof(v4)) < 0 ||
		(type == SOCK_STREAM && listen(fd, 1024) < 0)) {
		perror(address);
		exit(1);
	}
	return fd;
}

static void echo_stream(int fd)
{
	static char bytes[65536];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(fd, bytes + done, (size_t)(n - done));

			if (w <= 0)
				exit(1);
			done += w;
		}
	exit(0);
}

static void echo_datagram(int fd)
{
	static char bytes[65536];
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);

	if (n >= 0)
		(void)sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
}

int main(int argc, char **argv)
{
	struct pollfd fds[2];

	if (argc != 3) {
		fprintf(stderr, "usage: net_peer ADDRESS PORT\n");
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);
	fds[0] = (struct pollfd){.fd = server(SOCK_STREAM, argv[1], atoi(argv[2])), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = server(SOCK_DGRAM, argv[1], atoi(argv[2])), .events = POLLIN};
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			echo_datagram(fds[1].fd);
		if (fds[0].revents) {
			int fd = accept(fds[0].fd, NULL, NULL);

			if (fd >= 0 && fork() == 0)
				echo_stream(fd);
			close(fd);
		}
	}
}
