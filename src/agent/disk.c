/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel tells of a new disk by a uevent, but the disk's serial number, which says whose it is, has to be read in any case; so
 * while somebody waits /sys/block is looked at, and else never.
 */
#include "agent/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/modules.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define SYS_BLOCK "/sys/block"
#define LOOK_NS (10 * NS_PER_MS)
#define SERIAL_MAX 20

/* ---- the driver ---- */

void disk_keep_driver(struct disks *d)
{
	struct modules m = {0};
	struct err err = {0};
	const char *name, *bad;

	if (d->kept)
		return;
	d->kept = true;
	if (access("/sys/bus/pci/devices/0000:00:00.0", F_OK) < 0)
		return;
	if (modules_open(&m, MODULES_DIR, &err) < 0) {
		log_error("driver of disks: %s", err.msg);
		return;
	}
	modules_skip(&m, MODULES_BLOCK_STAGE);
	while ((name = modules_next(&m, &bad)) != NULL) {
		char path[160];

		if (bad || d->n_modules == DISK_MODULES_MAX ||
			str_format(path, sizeof(path), NULL, MODULES_DIR "/%s", name) < 0) {
			log_error("driver of disks: module '%.100s' ignored", name);
			continue;
		}
		d->modules[d->n_modules] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (d->modules[d->n_modules] < 0)
			log_error("driver of disks: open %s: %s", path, strerror(errno));
		else
			d->n_modules++;
	}
	modules_close(&m);
}

static void load_driver(struct disks *d)
{
	disk_keep_driver(d);
	for (unsigned i = 0; i < d->n_modules; i++) {
		if (syscall(SYS_finit_module, d->modules[i], "", 0) < 0 && errno != EEXIST)
			log_error("driver of disks: module %u: %s", i, strerror(errno));
		close_fd(&d->modules[i]);
	}
	d->n_modules = 0;
}

/* ---- looking ---- */

static bool read_text(int dir, const char *name, const char *what, char *dst, size_t size)
{
	char path[NAME_MAX + 16];
	auto_close int fd = -1;
	ssize_t n;

	if (str_format(path, sizeof(path), NULL, "%s/%s", name, what) < 0)
		return false;
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, dst, size - 1) : -1;
	if (n < 0)
		return false;
	dst[n] = '\0';
	dst[strcspn(dst, "\n")] = '\0';
	return true;
}

int disk_look(const char *dir, const char *serial, unsigned *ret_major, unsigned *ret_minor)
{
	char text[64];
	struct dirent *e;
	DIR *list = opendir(dir);
	int found = 0;

	/* Only virtio's disks: loop devices and what else a container may have made have no serial number, or one of their own. */
	while (list && !found && (e = readdir(list)))
		found = str_has_prefix(e->d_name, "vd") &&
			read_text(dirfd(list), e->d_name, "serial", text, sizeof(text)) && str_eq(text, serial) &&
			read_text(dirfd(list), e->d_name, "dev", text, sizeof(text)) &&
			sscanf(text, "%u:%u", ret_major, ret_minor) == 2;
	if (list)
		(void)closedir(list);
	return found;
}

/* ---- waiting ---- */

static void answer(struct ttrpc_request *rq, unsigned major, unsigned minor)
{
	Podvm__Agent__V1__FindDiskResponse reply = PODVM__AGENT__V1__FIND_DISK_RESPONSE__INIT;

	reply.major = major;
	reply.minor = minor;
	ttrpc_reply(rq, &reply.base);
}

/* True: its caller has an answer. */
static bool try_one(struct disk_wait *w)
{
	unsigned major, minor;
	struct err err = {0};

	if (disk_look(SYS_BLOCK, w->serial, &major, &minor)) {
		answer(take_ptr(w->rq), major, minor);
		return true;
	}
	if (time_mono_ns() < w->deadline_ns)
		return false;
	(void)err_set(&err, ETIMEDOUT, "wait for disk '%s': the guest's kernel has not found it in time", w->serial);
	ttrpc_fail(take_ptr(w->rq), &err);
	return true;
}

static void on_look(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, disks.timer);
	bool more = false;

	for (unsigned i = 0; i < DISK_WAITS_MAX; i++)
		more |= a->disks.waits[i].rq && !try_one(&a->disks.waits[i]);
	if (more)
		loop_timer_set(a->loop, t, LOOK_NS, on_look);
}

void disk_find(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__FindDiskRequest *req)
{
	struct disk_wait *w = NULL;
	struct err err = {0};

	for (unsigned i = 0; i < DISK_WAITS_MAX && !w; i++)
		if (!a->disks.waits[i].rq)
			w = &a->disks.waits[i];
	if (!*req->serial || strlen(req->serial) > SERIAL_MAX)
		(void)err_set(&err, EINVAL, "serial '%.40s' has not 1 to %d bytes", req->serial, SERIAL_MAX);
	else if (req->timeout_ms > DISK_WAIT_MAX_MS)
		(void)err_set(&err, EINVAL, "timeout_ms %u is more than %d", req->timeout_ms, DISK_WAIT_MAX_MS);
	else if (!w)
		(void)err_set(&err, ENOBUFS, "%d calls wait for disks already", DISK_WAITS_MAX);
	if (err.code) {
		ttrpc_fail(rq, &err);
		return;
	}
	load_driver(&a->disks);
	*w = (struct disk_wait){.rq = rq, .deadline_ns = time_mono_ns() + req->timeout_ms * NS_PER_MS};
	(void)str_copy(w->serial, sizeof(w->serial), req->serial);
	if (!try_one(w) && !a->disks.timer.loop)
		loop_timer_set(a->loop, &a->disks.timer, LOOK_NS, on_look);
}
