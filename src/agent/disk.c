/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel tells of a new disk by a uevent, but the disk's serial number, which says whose it is, has to be read in any case; so
 * while somebody waits /sys/block is looked at, and else never.
 */
#include "agent/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/modules.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define SYS "/sys"
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

/* Where a link in sysfs leads: .../0000:01:00.0/virtio5/block/vda. The function of the card, "0000:01:00.0", or "". */
static void card_of(int dir, const char *name, char *dst, size_t size)
{
	char link[DISK_PATH_LEN], *end, *card;
	ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);

	*dst = '\0';
	link[n > 0 ? n : 0] = '\0';
	end = strstr(link, "/virtio");
	if (!end)
		return;
	*end = '\0';
	card = strrchr(link, '/');
	if (card)
		(void)str_copy(dst, size, card + 1);
}

/* A slot's address is its card's without the function. */
static void find_slot(const char *sys, const char *card, char power[DISK_PATH_LEN])
{
	char path[DISK_PATH_LEN], address[32];
	size_t n = strcspn(card, ".");
	struct dirent *e;
	DIR *list;

	if (!n || str_format(path, sizeof(path), NULL, "%s/bus/pci/slots", sys) < 0)
		return;
	list = opendir(path);
	while (list && !*power && (e = readdir(list)))
		if (read_text(dirfd(list), e->d_name, "address", address, sizeof(address)) && strlen(address) == n &&
			memcmp(address, card, n) == 0 &&
			str_format(power, DISK_PATH_LEN, NULL, "%s/%s/power", path, e->d_name) < 0)
			*power = '\0';
	if (list)
		(void)closedir(list);
}

int disk_look(const char *sys, const char *serial, struct disk_place *ret)
{
	char path[DISK_PATH_LEN], text[64];
	struct dirent *e;
	DIR *list = NULL;
	int found = 0;

	if (str_format(path, sizeof(path), NULL, "%s/block", sys) >= 0)
		list = opendir(path);
	/* Only virtio's disks: loop devices and what else a container may have made have no serial number, or one of their own. */
	while (list && !found && (e = readdir(list))) {
		found = str_has_prefix(e->d_name, "vd") &&
			read_text(dirfd(list), e->d_name, "serial", text, sizeof(text)) && str_eq(text, serial) &&
			read_text(dirfd(list), e->d_name, "dev", text, sizeof(text)) &&
			sscanf(text, "%u:%u", &ret->major, &ret->minor) == 2;
		if (found)
			card_of(dirfd(list), e->d_name, text, sizeof(text));
	}
	if (list)
		(void)closedir(list);
	*ret->power = '\0';
	if (found)
		find_slot(sys, text, ret->power);
	return found;
}

static bool is_serial(const char *text)
{
	return *text && strlen(text) <= SERIAL_MAX;
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
	struct disk_place place;
	struct err err = {0};

	if (disk_look(SYS, w->serial, &place)) {
		answer(take_ptr(w->rq), place.major, place.minor);
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
	if (!is_serial(req->serial))
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

/* ---- letting go ---- */

/*
 * The kernel's write returns when all is done, more than a second later: not for the agent itself. Meanwhile no end of a container's
 * streams may stay open because of this copy.
 */
static _Noreturn void child(const char *power)
{
	int fd;

	(void)close_range(0, UINT_MAX, 0);
	fd = open(power, O_WRONLY | O_CLOEXEC);
	_exit(fd < 0 || write(fd, "0", 1) != 1 ? errno & 0xff : 0);
}

void disk_release(struct agent *a, struct ttrpc_request *rq, const char *serial)
{
	struct disk_release *job = NULL;
	struct disk_place place;
	struct err err = {0};
	pid_t pid;

	for (unsigned i = 0; i < DISK_RELEASES_MAX && !job; i++)
		if (!a->disks.releases[i].pid)
			job = &a->disks.releases[i];
	if (!is_serial(serial))
		(void)err_set(&err, EINVAL, "serial '%.40s' has not 1 to %d bytes", serial, SERIAL_MAX);
	else if (!job)
		(void)err_set(&err, ENOBUFS, "%d disks are being released already", DISK_RELEASES_MAX);
	else if (!disk_look(SYS, serial, &place))
		(void)err_set(&err, ENOENT, "no disk '%.40s'", serial);
	else if (!*place.power)
		(void)err_set(&err, EBUSY, "disk '%.40s' is in no slot", serial);
	if (err.code) {
		ttrpc_fail(rq, &err);
		return;
	}
	pid = fork();
	if (pid == 0)
		child(place.power);
	if (pid < 0) {
		(void)err_errno(&err, "fork");
		ttrpc_fail(rq, &err);
		return;
	}
	*job = (struct disk_release){.pid = pid, .rq = rq};
}

bool disk_reaped(struct agent *a, pid_t pid, int status)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct err err = {0};

	for (unsigned i = 0; i < DISK_RELEASES_MAX; i++) {
		struct disk_release *job = &a->disks.releases[i];

		if (!job->pid || job->pid != pid)
			continue;
		job->pid = 0;
		if (status == 0) {
			ttrpc_reply(take_ptr(job->rq), &reply.base);
			return true;
		}
		(void)err_set(&err, EIO, "take the power off its slot: %s",
			WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
		ttrpc_fail(take_ptr(job->rq), &err);
		return true;
	}
	return false;
}
