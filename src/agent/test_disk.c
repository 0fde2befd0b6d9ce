/* SPDX-License-Identifier: Apache-2.0 */
/* Which disk has a serial number, and which file switches the power of its slot: in folders that look like /sys. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/disk.h"
#include "base/bytes.h"
#include "base/fd.h"

static char sys[] = "/tmp/podvm-disk.XXXXXX";

static void put(const char *name, const char *text)
{
	char path[200];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", sys, name);
	for (char *at = path + sizeof(sys); (at = strchr(at, '/')); *at++ = '/') {
		*at = '\0';
		(void)mkdir(path, 0755);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

/* As /sys/block/NAME: a link to where the device is. */
static void put_disk(const char *name, const char *where, const char *serial, const char *number)
{
	char path[200], link[200];

	(void)snprintf(path, sizeof(path), "devices/%s/serial", where);
	put(path, serial);
	(void)snprintf(path, sizeof(path), "devices/%s/dev", where);
	put(path, number);
	(void)snprintf(path, sizeof(path), "%s/block", sys);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/block/%s", sys, name);
	(void)snprintf(link, sizeof(link), "../devices/%s", where);
	assert_int_equal(symlink(link, path), 0);
}

static int set_up(void **state)
{
	if (!mkdtemp(sys))
		return -1;
	put_disk("loop0", "virtual/block/loop0", "podvm-1\n", "7:0\n");
	put_disk("vda", "pci0000:00/0000:00:1f.0/0000:01:00.0/virtio5/block/vda", "podvm-1\n", "254:0\n");
	put_disk("vdb", "pci0000:00/0000:00:1e.0/0000:02:00.0/virtio6/block/vdb", "podvm-12\n", "254:16\n");
	put_disk("vdc", "pci0000:00/0000:00:03.0/virtio2/block/vdc", "disk0\n", "254:32\n");
	put_disk("vdd", "platform/odd/block/vdd", "odd\n", "254:48\n");
	put_disk("vde", "pci0000:00/0000:00:1d.0/0000:03:00.0/virtio7/block/vde", "bad\n", "254\n");
	put("bus/pci/slots/1/address", "0000:01:00\n");
	put("bus/pci/slots/2/address", "0000:02:00\n");
	put("bus/pci/slots/empty/address", "\n");
	put("bus/pci/slots/short/address", "0000:0\n");
	return 0;
}

static int tear_down(void **state)
{
	return dir_remove_all(AT_FDCWD, sys, NULL);
}

static void disks_and_their_slots(void **state)
{
	static const struct {
		const char *serial;
		unsigned minor;
		const char *slot; /* NULL: in none */
	} rows[] = {{"podvm-1", 0, "1"}, {"podvm-12", 16, "2"}, {"disk0", 32, NULL}, {"odd", 48, NULL}};
	struct disk_place place;
	char want[200];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(disk_look(sys, rows[i].serial, &place), 1);
		assert_true(place.major == 254 && place.minor == rows[i].minor);
		(void)snprintf(want, sizeof(want), "%s/bus/pci/slots/%s/power", sys, rows[i].slot ? rows[i].slot : "");
		assert_string_equal(place.power, rows[i].slot ? want : "");
	}
	assert_int_equal(disk_look(sys, "podvm-", &place), 0);
	assert_int_equal(disk_look(sys, "", &place), 0);
	assert_int_equal(disk_look(sys, "bad", &place), 0);
	assert_int_equal(disk_look("/nowhere", "podvm-1", &place), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_and_their_slots),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
