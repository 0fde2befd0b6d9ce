/* SPDX-License-Identifier: Apache-2.0 */
/*
 * huge FILE MIB TEXT: maps a file of a hugetlbfs, touches every page, writes TEXT to the end, tells the size of its pages. huge FILE: tells that
 * text.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned page_kib(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, n;
	unsigned kib = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-", &n) == 1)
			start = n;
		if (start == (unsigned long)at && sscanf(line, "KernelPageSize: %u", &kib) == 1)
			break;
	}
	return kib;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], argc > 2 ? O_RDWR | O_CREAT : O_RDONLY, 0666) : -1;
	off_t size = argc > 2 ? (off_t)atol(argv[2]) << 20 : 0;
	struct stat st;
	char *p;

	if (fd < 0 || (size && ftruncate(fd, size) < 0) || fstat(fd, &st) < 0) {
		perror("huge: open");
		return 1;
	}
	p = mmap(NULL, (size_t)st.st_size, size ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		perror("huge: mmap");
		return 2;
	}
	if (size) {
		for (off_t i = 0; i < size; i += 4096)
			p[i] = 1;
		strcpy(p + size - 64, argv[3]);
		printf("pages of %u KiB\n", page_kib(p));
	} else {
		puts(p + st.st_size - 64);
	}
	return 0;
}
