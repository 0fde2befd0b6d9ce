/* SPDX-License-Identifier: Apache-2.0 */
/* An /init that says so on the serial console and powers off: marks the moment at which a kernel reaches user space. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	int fd;

	(void)mkdir("/dev", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	if (fd >= 0)
		(void)!write(fd, "INIT REACHED\n", 13);
	(void)reboot(RB_POWER_OFF);
	return 1;
}
