/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the whole CPU in the guest, for ever: a real-time process without the kernel's reserve for others. It says "busy" half a second before,
 * so that this is still seen. Needs a writable /proc/sys and CAP_SYS_NICE; as many CPUs as there are need as many of it.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	const struct sched_param first = {.sched_priority = 99};
	const struct timespec half = {.tv_nsec = 500000000};
	int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY);

	if (fd < 0 || write(fd, "-1", 2) != 2 || sched_setscheduler(0, SCHED_FIFO, &first) < 0) {
		perror("greedy");
		return 1;
	}
	(void)puts("busy");
	(void)fflush(stdout);
	(void)nanosleep(&half, NULL);
	for (;;)
		;
}
