/* SPDX-License-Identifier: Apache-2.0 */
/* /init of bench/kernel: prints the time stamp counter, which counts from the machine's reset, and ends the VM. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>
#include <x86intrin.h>

int main(void)
{
	unsigned long long tsc = __rdtsc();
	int fd;

	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/dev/console", O_WRONLY | O_CLOEXEC);
	(void)dprintf(fd, "INIT REACHED %llu\n", tsc);
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
