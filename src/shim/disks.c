/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   NEW        opened, the VM may still be booting
 *   PLUGGING   podvm-vmm was given the descriptor
 *   FINDING    the agent waits for its kernel to find it
 *   READY      the guest's number is known
 *   FAILED     those who wait for it get `why`; never used again
 *   GOING      nobody has it any more: the agent is to switch its slot off, which takes Linux a second; then podvm-vmm takes it out, or,
 *              where the agent could not, has the guest asked by the slot's button, which takes six
 *
 * What wakes the tasks that wait runs from a timer, never inside of the driver's callback: a creation that fails may end the VM.
 */
#include "shim/disks.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define FIND_MS 30000
#define FIND_SLACK_MS 5000
#define RELEASE_MS 10000
/* podvm-vmm takes a request to ask again after ten seconds only. */
#define ASK_AGAIN_NS (11 * NS_PER_S)
#define ASK_MAX 20

enum disk_state { DISK_NEW, DISK_PLUGGING, DISK_FINDING, DISK_READY, DISK_FAILED, DISK_GOING };

struct disk {
	struct disk *next;
	struct shim *shim;
	enum disk_state state;
	char name[VM_DISK_NAME_MAX + 1];
	dev_t dev; /* of the host */
	bool read_only;
	bool asked;   /* add_disk has not answered yet */
	bool plugged; /* ... and it may be in the VM */
	int fd;	      /* of NEW; -1 */
	unsigned users, tries;
	uint32_t call_id;	 /* FindDisk, ReleaseDisk; 0: none */
	unsigned major, minor;	 /* of the guest */
	struct loop_timer timer; /* wakes tasks; GOING: asks again */
	struct err why;
};

/* What a task has of it. */
struct task_disk {
	struct disk *disk;
	char *path; /* in the container */
	char access[4];
	bool told; /* the task has been woken since the disk settled */
};

struct task_disks {
	struct task_disk list[DISKS_OF_TASK_MAX];
	unsigned n;
	bool written; /* into the spec */
};

/* ---- the list ---- */

static void disk_free(struct disk *d)
{
	for (struct disk **at = &d->shim->disks; *at; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			break;
		}
	loop_timer_cancel(&d->timer);
	sandbox_cancel(&d->shim->sb, d->call_id);
	close_fd(&d->fd);
	free(d);
}

static struct disk *find_usable(const struct shim *sh, dev_t dev)
{
	for (struct disk *d = sh->disks; d; d = d->next)
		if (d->dev == dev && d->state != DISK_FAILED && d->state != DISK_GOING)
			return d;
	return NULL;
}

static int check_room(const struct shim *sh, struct err *err)
{
	unsigned n = 0, going = 0;

	for (const struct disk *d = sh->disks; d; d = d->next) {
		n++;
		going += d->state == DISK_GOING;
	}
	if (n < sh->disk_slots)
		return 0;
	if (!sh->disk_slots)
		return err_set(err, ENOSPC,
			"the runtime's configuration gives the pod's VM no slots for block devices (disks = 0)");
	return err_set(err, ENOSPC,
		"the pod's VM has slots for %u block devices, and they are taken%s; disks = N in the runtime's "
		"configuration makes up to %d",
		sh->disk_slots, going ? " (the guest is about to let go of some)" : "", VM_DISK_SLOTS_MAX);
}

static int disk_new(struct shim *sh, const struct spec_disk *want, bool read_only, struct disk **ret, struct err *err)
{
	struct disk *d;
	int fd = -1, r = check_room(sh, err);

	if (r == 0)
		r = disks_open(want->major, want->minor, read_only, &fd, err);
	if (r < 0)
		return r;
	d = calloc(1, sizeof(*d));
	if (!d) {
		(void)close(fd);
		return err_set(err, ENOMEM, "out of memory");
	}
	*d = (struct disk){.next = sh->disks,
		.shim = sh,
		.dev = makedev(want->major, want->minor),
		.read_only = read_only,
		.fd = fd};
	/* Never one that was there before: the guest may still be about to let go of that. */
	(void)snprintf(d->name, sizeof(d->name), "podvm-%u", ++sh->last_disk);
	sh->disks = *ret = d;
	return 0;
}

int disks_take(struct task *t, const struct spec_disk *want, struct err *err)
{
	bool read_only = !strchr(want->access, 'w');
	struct task_disk *td;
	struct disk *d;
	int r = sandbox_check_disks(&t->shim->sb, err);

	if (r < 0)
		return r;
	if (!t->disks)
		t->disks = calloc(1, sizeof(*t->disks));
	if (!t->disks)
		return err_set(err, ENOMEM, "out of memory");
	if (t->disks->n == DISKS_OF_TASK_MAX)
		return err_set(err, ENOSPC, "the container has %d block devices already", DISKS_OF_TASK_MAX);
	d = find_usable(t->shim, makedev(want->major, want->minor));
	if (d && d->read_only && !read_only)
		return err_set(err, EBUSY,
			"another container of the pod has block device %u:%u for reading only, so the VM cannot write "
			"to it",
			want->major, want->minor);
	if (!d)
		r = disk_new(t->shim, want, read_only, &d, err);
	if (r < 0)
		return r;
	td = &t->disks->list[t->disks->n];
	td->path = strdup(want->path);
	d->users++;
	td->disk = d;
	t->disks->n++; /* from here on disks_release gives it back */
	memcpy(td->access, want->access, sizeof(td->access));
	return td->path ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* ---- plugging in ---- */

/* Does the task wait for it, without having been told that it need not? It counts as told from now on. */
static bool tell(struct task *t, const struct disk *d)
{
	if (!t->disks || !t->json || t->init.state != PROC_NEW)
		return false;
	for (unsigned i = 0; i < t->disks->n; i++) {
		struct task_disk *td = &t->disks->list[i];

		if (td->disk == d && !td->told) {
			td->told = true;
			return true;
		}
	}
	return false;
}

/* Those that wait for it go on, or fail. A task may be gone after that, and others with it when the VM ends. */
static void on_settled(struct loop_timer *timer)
{
	struct disk *d = container_of(timer, struct disk, timer);
	struct shim *sh = d->shim;
	struct task *t = sh->tasks;

	while (t && !tell(t, d))
		t = t->next;
	if (!t || sh->vm != VM_UP)
		return;
	/* One a turn: the list is another one afterwards. It has sent its spec by then, or waits for something else, which wakes it. */
	loop_timer_set(sh->loop, timer, 0, on_settled);
	task_send_create(t);
}

static void settle(struct disk *d, enum disk_state state, const struct err *why)
{
	d->state = state;
	if (why)
		d->why = *why;
	loop_timer_set(d->shim->loop, &d->timer, 0, on_settled);
}

static void on_found(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__FindDiskResponse *r = (const void *)reply;
	struct disk *d = ctx;
	struct err bad = {0};

	d->call_id = 0;
	if (!err && (r->major == 0 || r->major > SPEC_MAJOR_MAX || r->minor > SPEC_MINOR_MAX)) {
		(void)err_set(&bad, EPROTO, "the agent says that the disk is %u:%u", r->major, r->minor);
		err = &bad;
	}
	if (err) {
		settle(d, DISK_FAILED, err);
		return;
	}
	d->major = r->major;
	d->minor = r->minor;
	sandbox_note(&d->shim->sb, "block device %u:%u of the node is disk %s, %u:%u of the guest", major(d->dev),
		minor(d->dev), d->name, d->major, d->minor);
	settle(d, DISK_READY, NULL);
}

static void ask_to_let_go(struct disk *d);

static void on_plugged(void *ctx, const struct err *err)
{
	Podvm__Agent__V1__FindDiskRequest req = PODVM__AGENT__V1__FIND_DISK_REQUEST__INIT;
	struct disk *d = ctx;
	struct err failed = {0};

	d->asked = false;
	if (err && err->code != ETIMEDOUT)
		d->plugged = false;
	if (d->state == DISK_GOING) {
		if (!d->plugged)
			disk_free(d);
		return;
	}
	if (err) {
		settle(d, DISK_FAILED, err);
		return;
	}
	d->state = DISK_FINDING;
	req.serial = d->name;
	req.timeout_ms = FIND_MS;
	if (sandbox_call(&d->shim->sb, "FindDisk", &req.base, &podvm__agent__v1__find_disk_response__descriptor,
		    FIND_MS + FIND_SLACK_MS, on_found, d, &d->call_id, &failed) < 0)
		settle(d, DISK_FAILED, &failed);
}

static void plug_in(struct disk *d)
{
	struct vm_disk disk = {.name = d->name, .fd = d->fd, .read_only = d->read_only};
	struct err err = {0};

	d->state = DISK_PLUGGING;
	d->asked = d->plugged = sandbox_add_disk(&d->shim->sb, &disk, on_plugged, d, &err) == 0;
	close_fd(&d->fd);
	if (!d->asked)
		settle(d, DISK_FAILED, &err);
}

/* ---- the spec ---- */

static int write_numbers(struct task *t, struct err *err)
{
	auto_oci_spec struct oci_spec spec = {0};
	char *json = NULL;
	size_t len = 0;
	int r = oci_spec_parse(&spec, t->json, t->json_len, err);

	for (unsigned i = 0; i < t->disks->n && r == 0; i++) {
		const struct task_disk *td = &t->disks->list[i];
		struct spec_disk disk = {.path = td->path, .major = td->disk->major, .minor = td->disk->minor};

		memcpy(disk.access, td->access, sizeof(disk.access));
		r = spec_set_disk(&spec, &disk, err);
	}
	if (r == 0)
		r = oci_spec_write(&spec, &json, &len, err);
	if (r < 0)
		return r;
	free(t->json);
	t->json = json;
	t->json_len = len;
	t->disks->written = true;
	return 0;
}

bool disks_ready(struct task *t)
{
	struct task_disks *all = t->disks;
	struct err err = {0};
	bool ready = true;

	if (!all || all->written)
		return true;
	for (unsigned i = 0; i < all->n; i++) {
		struct disk *d = all->list[i].disk;

		if (d->state == DISK_NEW)
			plug_in(d);
		if (d->state == DISK_FAILED) {
			err = d->why;
			(void)err_wrap(&err, "device '%.200s'", all->list[i].path);
			task_create_failed(&t->init, &err);
			return false;
		}
		ready = ready && d->state == DISK_READY;
	}
	if (ready && write_numbers(t, &err) < 0) {
		task_create_failed(&t->init, &err);
		return false;
	}
	return ready;
}

/* ---- taking out ---- */

static void on_ask_again(struct loop_timer *timer)
{
	struct disk *d = container_of(timer, struct disk, timer);

	if (d->tries < ASK_MAX)
		ask_to_let_go(d);
	else
		log_warn("disk %s: the guest does not let go of it; its slot stays taken", d->name);
}

static void ask_to_let_go(struct disk *d)
{
	struct err err = {0};

	d->tries++;
	if (sandbox_remove_disk(&d->shim->sb, d->name, &err) < 0)
		log_warn("disk %s: ask the guest to let go of it: %s", d->name, err.msg);
	loop_timer_set(d->shim->loop, &d->timer, ASK_AGAIN_NS, on_ask_again);
}

static void on_released(void *ctx, const ProtobufCMessage *reply unused_arg, const struct err *err)
{
	struct disk *d = ctx;

	d->call_id = 0;
	if (err && err->code == ECONNRESET)
		return; /* the VM ends, and disks_fini follows */
	if (err)
		log_warn("disk %s: the agent does not release it, so the guest is asked: %s", d->name, err->msg);
	ask_to_let_go(d);
}

static void unused(struct disk *d)
{
	Podvm__Agent__V1__ReleaseDiskRequest req = PODVM__AGENT__V1__RELEASE_DISK_REQUEST__INIT;
	bool found = d->state == DISK_READY;

	if (d->shim->vm != VM_UP || !d->plugged) {
		disk_free(d);
		return;
	}
	sandbox_cancel(&d->shim->sb, d->call_id);
	d->call_id = 0;
	d->state = DISK_GOING;
	req.serial = d->name;
	if (!found || sandbox_call(&d->shim->sb, "ReleaseDisk", &req.base, &podvm__agent__v1__empty__descriptor,
			      RELEASE_MS, on_released, d, &d->call_id, NULL) < 0)
		ask_to_let_go(d);
}

void disks_release(struct task *t)
{
	struct task_disks *all = take_ptr(t->disks);

	for (unsigned i = 0; all && i < all->n; i++) {
		free(all->list[i].path);
		if (--all->list[i].disk->users == 0)
			unused(all->list[i].disk);
	}
	free(all);
}

void disks_removed(struct shim *sh, const char *name)
{
	for (struct disk *d = sh->disks; d; d = d->next) {
		if (!str_eq(d->name, name) || d->asked || d->state != DISK_GOING)
			continue;
		sandbox_note(&sh->sb, "disk %s is out", d->name);
		disk_free(d);
		return;
	}
}

void disks_fini(struct shim *sh)
{
	while (sh->disks)
		disk_free(sh->disks);
}
