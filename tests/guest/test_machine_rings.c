/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that no driver makes, on every device of podvm-vmm --vm: see broken.S, and machine_rig.h. Usage: test_machine_rings PODVM_VMM
 * FOLDER
 */
#include "machine_rig.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

/* What the guest says of each queue: nine rings that are broken, and a device that lives. */
#define BROKEN " bbbbbbbbb+\n"

/* In a network namespace of this process. */
static int open_tap(void)
{
	struct ifreq req = {.ifr_name = "ring0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = unshare(CLONE_NEWNET) < 0 ? -1 : open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) < 0)
		fail_msg("no tap: %s", strerror(errno));
	return fd;
}

/* Slots: 1 fs, 2 vsock, 3 rng, 4 net, 5 disk, 6 pmem, 7 balloon, 8 mem, 9 console. */
static const char *const with_all[] = {"podvm-vmm", "--vm", "--id", "rings", "--kernel", "3", "--console", "4",
	"--control", "5", "--memory", "64", "--fs-root", "/usr", "--cid", "3", "--rng", "--nic",
	"8,02:00:00:00:00:01,1500", "--disk", "6,threads", "--pmem", "7", "--balloon", "--memory-max", "128", "--hvc",
	"--explain",
#ifdef SANITIZED /* whose runtime makes calls of its own */
	"--no-jail",
#endif
	NULL};

static void every_device_calls_them_broken(void **state)
{
	static const char want[] = "rings\nfs, high priority" BROKEN "fs, requests" BROKEN "vsock, in" BROKEN
				   "vsock, out" BROKEN "rng" BROKEN "net, in" BROKEN "net, out" BROKEN "blk" BROKEN
				   "pmem" BROKEN "balloon, inflate" BROKEN "balloon, deflate" BROKEN
				   "balloon, statistics" BROKEN "balloon, hints" BROKEN "balloon, reports" BROKEN
				   "mem" BROKEN "console, out" BROKEN;
	char console[TEXT_MAX], log[TEXT_MAX];
	struct machine m;
	int status;

	launch_with(&m, with_all, open_guest("broken"), open_tap());
	talk(&m, NULL, "{\"hello\":*");
	read_text(m.console, console, NULL);
	read_text(m.log, log, "the guest powered off");
	status = finish(&m);
	if (status != VMM_POWEROFF || strcmp(console, want) != 0)
		fail_msg("status %d; console '%s', not '%s'; log '%s'", status, console, want, log);
	check_growth();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_device_calls_them_broken),
	};
	int r = rig_init(argc, argv);

	if (r == 0 && access("/dev/net/tun", R_OK | W_OK) < 0) {
		(void)fprintf(stderr, "skipped: needs /dev/net/tun\n");
		r = 77;
	}
	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
