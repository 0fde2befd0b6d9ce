// SPDX-License-Identifier: Apache-2.0
// watch FOLDER NAME: prints "watching", waits until inotify tells of something with that name in the folder, and prints "changed". At most
// 60 s. For tests of volumes that the host changes.
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int fd = inotify_init1(IN_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	const uint32_t changes = IN_CREATE | IN_MOVED_TO | IN_MODIFY;

	if (argc != 3 || fd < 0 || inotify_add_watch(fd, argv[1], IN_ALL_EVENTS) < 0) {
		perror("watch");
		return 2;
	}
	puts("watching");
	fflush(stdout);
	while (poll(&p, 1, 60000) > 0) {
		ssize_t n = read(fd, buf, sizeof(buf));

		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(buf + at);

			if (e->len && strcmp(e->name, argv[2]) == 0 && (e->mask & changes)) {
				puts("changed");
				return 0;
			}
			at += (ssize_t)sizeof(*e) + (ssize_t)e->len;
		}
	}
	puts("nothing within 60 s");
	return 1;
}
