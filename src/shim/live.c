/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch is on the bind below the share, so it is of the very folder that the guest sees. Its ..data is read here and sent along: the
 * guest may have an old answer cached. IN_ATTRIB is watched because older kubelets give files to the fsGroup after they are in place.
 */
#include "shim/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "pod/share.h"

#define GUEST_LIVE "/run/podvm/live"
#define DEPTH_MAX 16
#define FOLDERS_MAX 256
#define SETTLE_NS (50 * NS_PER_MS)
#define RETRY_NS (2 * NS_PER_S)
#define RETRY_MAX_NS (60 * NS_PER_S)
#define SYNC_TIMEOUT_MS 40000
#define WATCHED (IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR)

struct live_folder {
	uint32_t index;
	int wd;
	bool dirty;
	char data[NAME_MAX + 1]; /* during a call */
};

struct live {
	struct task *task;
	struct live_folder *folders;
	size_t n;
	uint64_t bytes;	   /* at the beginning, of all */
	uint32_t call_id;  /* 0: none under way */
	bool made;	   /* the first copies are there */
	unsigned failures; /* in a row */
	struct loop_timer timer;
};

/* ---- what it is ---- */

struct sizes {
	unsigned files;
	uint64_t bytes;
};

static DIR *open_list(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;

	if (fd >= 0 && !list)
		(void)close(fd);
	return list;
}

static bool is_dots(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..");
}

/* Adds up what is below; false: more than is allowed, or what is no file, folder or link. */
static bool measure(int dir, const char *name, unsigned depth, struct sizes *s)
{
	DIR *list = depth < DEPTH_MAX ? open_list(dir, name) : NULL;
	bool fits = list != NULL;
	struct dirent *d;
	struct stat sb;

	while (fits && (d = readdir(list))) {
		if (is_dots(d->d_name))
			continue;
		fits = ++s->files <= LIVE_FILES_MAX && fstatat(dirfd(list), d->d_name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		       (S_ISREG(sb.st_mode) || S_ISDIR(sb.st_mode) || S_ISLNK(sb.st_mode));
		if (fits && S_ISREG(sb.st_mode))
			s->bytes += (uint64_t)sb.st_size;
		if (fits && S_ISDIR(sb.st_mode))
			fits = measure(dirfd(list), d->d_name, depth + 1, s);
		fits = fits && s->bytes <= LIVE_BYTES_MAX;
	}
	if (list)
		(void)closedir(list);
	return fits;
}

static bool read_link(int dir, const char *name, char *dst, size_t size)
{
	ssize_t n = readlinkat(dir, name, dst, size);

	if (n <= 0 || (size_t)n >= size)
		return false;
	dst[n] = '\0';
	return true;
}

static bool read_data(int dir, char *dst, size_t size)
{
	return read_link(dir, "..data", dst, size) && str_has_prefix(dst, "..") && dst[2] && !strchr(dst, '/');
}

/* Are all its names ..something, or links into ..data of the same name? */
static bool is_of_links(int dir)
{
	char target[NAME_MAX + 16];
	DIR *list = open_list(dir, ".");
	bool good = list != NULL;
	unsigned n = 0;
	struct dirent *d;

	while (good && (d = readdir(list))) {
		good = ++n <= LIVE_FILES_MAX;
		if (str_has_prefix(d->d_name, "..") || str_eq(d->d_name, "."))
			continue;
		good = good && read_link(dir, d->d_name, target, sizeof(target)) && str_has_prefix(target, "..data/") &&
		       str_eq(target + strlen("..data/"), d->d_name);
	}
	if (list)
		(void)closedir(list);
	return good;
}

int live_recognise(int dir, char *ret, size_t ret_size, uint64_t *ret_bytes)
{
	struct sizes s = {0};

	if (!read_data(dir, ret, ret_size) || !is_of_links(dir))
		return 0;
	if (!measure(dir, ret, 0, &s))
		return -EFBIG;
	*ret_bytes = s.bytes;
	return 1;
}

/* ---- events ---- */

static void sync_soon(struct live *l, uint64_t ns);

static void on_event(struct shim *sh, const struct inotify_event *e)
{
	for (struct task *t = sh->tasks; t; t = t->next)
		for (size_t i = 0; t->live && i < t->live->n; i++) {
			struct live_folder *f = &t->live->folders[i];

			if (f->wd != e->wd && !(e->mask & IN_Q_OVERFLOW))
				continue;
			f->dirty = true;
			if (!t->live->timer.loop && !t->live->call_id && t->live->made)
				sync_soon(t->live, SETTLE_NS);
		}
}

static void on_events(struct loop_fd *src, uint32_t events)
{
	struct shim *sh = container_of(src, struct shim, live_src);
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(
		src->fd, bytes, sizeof(bytes)); /* once a turn: who makes many does not keep us from the rest */

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(bytes + at);

		on_event(sh, e);
		at += (ssize_t)sizeof(*e) + (ssize_t)e->len;
	}
}

static int open_watch(struct shim *sh, struct err *err)
{
	int fd, r;

	if (sh->live_src.loop)
		return 0;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return err_errno(err, "inotify");
	r = loop_add_fd(sh->loop, &sh->live_src, fd, EPOLLIN, on_events, err);
	if (r < 0)
		(void)close(fd);
	return r;
}

static uint64_t pod_bytes(const struct shim *sh)
{
	uint64_t sum = 0;

	for (const struct task *t = sh->tasks; t; t = t->next)
		sum += t->live ? t->live->bytes : 0;
	return sum;
}

void live_fini(struct shim *sh)
{
	int fd = sh->live_src.fd;

	if (!sh->live_src.loop)
		return;
	loop_remove_fd(&sh->live_src);
	(void)close(fd);
}

/* ---- folders ---- */

static int add(struct task *t, size_t i, int wd, uint64_t bytes, struct err *err)
{
	struct live_folder *more;

	if (!t->live)
		t->live = calloc(1, sizeof(*t->live));
	more = t->live ? realloc(t->live->folders, (t->live->n + 1) * sizeof(*more)) : NULL;
	if (!more)
		return err_set(err, ENOMEM, "out of memory");
	t->live->task = t;
	t->live->bytes += bytes;
	t->live->folders = more;
	more[t->live->n++] = (struct live_folder){.index = (uint32_t)i, .wd = wd, .dirty = true};
	return 0;
}

/* It stays a bind of the host's folder. */
static int without(const struct task *t, size_t i, const char *why)
{
	log_warn("task %s: volume %zu: %s; inotify in the guest will not tell of its changes", t->id, i, why);
	return 0;
}

int live_take(struct task *t, size_t i, const char *within, char guest[PATH_LEN], struct err *err)
{
	struct shim *sh = t->shim;
	char path[PATH_LEN * 2], data[NAME_MAX + 1];
	auto_close int dir = openat(sh->share.fd, within, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t bytes = 0;
	int wd, r;

	if (dir < 0 || i > UINT16_MAX)
		return 0;
	r = live_recognise(dir, data, sizeof(data), &bytes);
	if (r > 0 && t->live && t->live->n == FOLDERS_MAX)
		return without(t, i, "the container has too many copies already");
	if (r == -EFBIG || (r > 0 && bytes + pod_bytes(sh) > LIVE_POD_BYTES_MAX))
		return without(t, i, "larger than a copy may be, or the pod's copies are");
	if (r <= 0)
		return r;
	r = str_format(path, sizeof(path), err, "%s/%s", sh->share.path, within);
	if (r < 0)
		return r;
	/* Root's limits on instances and watches are shared with all that runs on the node. */
	if (open_watch(sh, err) < 0)
		return without(t, i, err->msg);
	wd = inotify_add_watch(sh->live_src.fd, path, WATCHED);
	if (wd < 0)
		return without(t, i, strerror(errno));
	r = add(t, i, wd, bytes, err);
	if (r == 0)
		r = str_format(guest, PATH_LEN, err, GUEST_LIVE "/%s/%zu", t->agent_id, i);
	return r < 0 ? r : 1;
}

/* Two containers with the same volume have the same watch. */
static bool is_watched(const struct shim *sh, const struct task *but, int wd)
{
	for (const struct task *t = sh->tasks; t; t = t->next)
		for (size_t i = 0; t != but && t->live && i < t->live->n; i++)
			if (t->live->folders[i].wd == wd)
				return true;
	return false;
}

void live_free(struct task *t)
{
	struct live *l = take_ptr(t->live);

	if (!l)
		return;
	loop_timer_cancel(&l->timer);
	sandbox_cancel(&t->shim->sb, l->call_id);
	for (size_t i = 0; i < l->n; i++)
		if (!is_watched(t->shim, t, l->folders[i].wd))
			(void)inotify_rm_watch(t->shim->live_src.fd, l->folders[i].wd);
	free(l->folders);
	free(l);
}

/* ---- copies ---- */

/* Takes down what ..data says of those that changed. False: nothing to be done. */
static bool look(struct live *l)
{
	struct task *t = l->task;
	char within[PATH_LEN];
	bool any = false;

	for (size_t i = 0; i < l->n; i++) {
		struct live_folder *f = &l->folders[i];
		auto_close int dir = -1;

		*f->data = '\0';
		if (!f->dirty)
			continue;
		f->dirty = false;
		if (str_format(within, sizeof(within), NULL, "containers/%s/m/%u", t->agent_id, f->index) == 0)
			dir = openat(t->shim->share.fd, within, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		/* Gone or something else now: what is in the guest stays as it is. */
		if (dir < 0 || !read_data(dir, f->data, sizeof(f->data)))
			*f->data = '\0';
		any |= *f->data != '\0';
	}
	return any;
}

static void on_synced(void *ctx, const ProtobufCMessage *reply, const struct err *err);

static int call(struct live *l, struct err *err)
{
	Podvm__Agent__V1__SyncFoldersRequest req = PODVM__AGENT__V1__SYNC_FOLDERS_REQUEST__INIT;
	auto_free Podvm__Agent__V1__SyncFolder *list = calloc(l->n, sizeof(*list));
	auto_free Podvm__Agent__V1__SyncFolder **ptrs = calloc(l->n, sizeof(*ptrs));
	auto_free char(*sources)[PATH_LEN] = calloc(l->n, sizeof(*sources));
	int r = 0;

	if (!list || !ptrs || !sources)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < l->n && r == 0; i++) {
		struct live_folder *f = &l->folders[i];

		if (!*f->data)
			continue;
		r = str_format(
			sources[i], PATH_LEN, err, GUEST_SHARE "/containers/%s/m/%u", l->task->agent_id, f->index);
		podvm__agent__v1__sync_folder__init(&list[i]);
		list[i].index = f->index;
		list[i].source = sources[i];
		list[i].data = f->data;
		ptrs[req.n_folders++] = &list[i];
	}
	if (r < 0)
		return r;
	req.container_id = l->task->agent_id;
	req.folders = ptrs;
	l->task->in_guest = true;
	return sandbox_call(&l->task->shim->sb, "SyncFolders", &req.base, &podvm__agent__v1__empty__descriptor,
		SYNC_TIMEOUT_MS, on_synced, l, &l->call_id, err);
}

/* After a failure all that was asked for is asked for again, later and later. */
static void failed(struct live *l, const struct err *err)
{
	uint64_t ns = RETRY_NS << MIN_OF(l->failures, 5u);

	for (size_t i = 0; i < l->n; i++)
		l->folders[i].dirty |= *l->folders[i].data != '\0';
	if (l->failures++ == 0)
		log_warn("task %s: volumes not refreshed: %s; trying again", l->task->id, err->msg);
	sync_soon(l, MIN_OF(ns, RETRY_MAX_NS));
}

static void on_synced(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct live *l = ctx;
	struct task *t = l->task;
	bool more = false;

	l->call_id = 0;
	for (size_t i = 0; i < l->n; i++)
		more |= l->folders[i].dirty;
	if (!err) {
		l->failures = 0;
		if (more)
			sync_soon(l, SETTLE_NS);
		if (!l->made) {
			l->made = true;
			task_send_create(t); /* it may be gone afterwards */
		}
	} else if (l->made) {
		failed(l, err);
	} else if (err->code == ENOENT && l->failures < 5) { /* the kubelet was at work */
		failed(l, err);
	} else {
		task_create_failed(&t->init, err);
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct live *l = container_of(timer, struct live, timer);
	struct err err = {0};

	if (l->task->shim->vm != VM_UP || l->task->init.state == PROC_STOPPED)
		return;
	if (!look(l)) {
		(void)err_set(&err, EINVAL, "a volume of the task was taken away before it was used");
		if (!l->made)
			task_create_failed(&l->task->init, &err);
		return;
	}
	if (call(l, &err) < 0)
		on_synced(l, NULL, &err);
}

static void sync_soon(struct live *l, uint64_t ns)
{
	loop_timer_set(l->task->shim->loop, &l->timer, ns, on_timer);
}

bool live_ready(struct task *t)
{
	struct live *l = t->live;

	if (!l || l->made)
		return true;
	if (!l->call_id && !l->timer.loop)
		sync_soon(l, 0);
	return false;
}
