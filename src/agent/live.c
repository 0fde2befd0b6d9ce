/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child is a fork without exec: it has all that it needs, and one that does not come back (a folder of the host that hangs) holds up
 * nothing but itself. What went wrong comes back in a page that both share.
 */
#include "agent/live.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/mirror.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define DEADLINE_NS (30 * NS_PER_S)
#define FOLDERS_MAX 256
#define INDEX_MAX 65535
#define LIVE_OPTIONS "mode=0755,size=64m,nr_inodes=65536"
#define LIVE_PATH_LEN 160

struct live_job {
	struct agent *agent;
	char container[STREAM_ID_MAX + 1];
	pid_t pid;		  /* 0: free */
	struct ttrpc_request *rq; /* NULL: answered */
	struct err *said;	  /* shared with the child */
	bool remove;		  /* when it has ended */
	struct loop_timer deadline;
};

static const char *copy_path(char dst[LIVE_PATH_LEN], const char *container, uint32_t i)
{
	(void)snprintf(dst, LIVE_PATH_LEN, LIVE_DIR "/%s/%u", container, i);
	return dst;
}

/* ---- in the child ---- */

static int open_source(const char *path, struct err *err)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	auto_close int base = open(SHARED_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (base < 0)
		return err_errno(err, "open '%s'", SHARED_DIR);
	if (!str_has_prefix(path, SHARED_DIR "/"))
		return err_set(err, EINVAL, "'%.200s' is not in the pod's share", path);
	fd = (int)syscall(SYS_openat2, base, path + sizeof(SHARED_DIR), &how, sizeof(how));
	return fd < 0 ? err_errno(err, "open '%.200s'", path) : fd;
}

static int copy_one(const char *container, const Podvm__Agent__V1__SyncFolder *f, struct err *err)
{
	auto_close int from = open_source(f->source, err), to = -1;
	char path[LIVE_PATH_LEN];

	if (from < 0)
		return from;
	if (mkdir(copy_path(path, container, f->index), 0700) < 0 && errno != EEXIST)
		return err_errno(err, "make '%s'", path);
	to = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return err_errno(err, "open '%s'", path);
	return mirror_folder(from, f->data, to, err);
}

static _Noreturn void child(const Podvm__Agent__V1__SyncFoldersRequest *req, struct err *said)
{
	int r = 0;

	/* This copy keeps no end of a container's streams open; nor does it write to the console. */
	(void)close_range(0, UINT_MAX, 0);
	for (size_t i = 0; i < req->n_folders && r == 0; i++)
		r = copy_one(req->container_id, req->folders[i], said);
	_exit(r < 0);
}

/* ---- jobs ---- */

struct live_job *live_table(void)
{
	return calloc(AGENT_CONTAINERS_MAX, sizeof(struct live_job));
}

static void free_job(struct live_job *job)
{
	loop_timer_cancel(&job->deadline);
	(void)munmap(job->said, sizeof(*job->said));
	job->said = NULL;
	job->pid = 0;
}

static void on_deadline(struct loop_timer *t)
{
	struct live_job *job = container_of(t, struct live_job, deadline);
	struct err err = {0};

	(void)kill(job->pid, SIGKILL);
	(void)err_set(&err, ETIMEDOUT, "folders of container %s were not copied in %u s", job->container,
		(unsigned)(DEADLINE_NS / NS_PER_S));
	if (job->rq)
		ttrpc_fail(take_ptr(job->rq), &err);
}

static struct live_job *find(struct agent *a, const char *container)
{
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->live[i].pid && str_eq(a->live[i].container, container))
			return &a->live[i];
	return NULL;
}

static struct live_job *unused(struct agent *a)
{
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (!a->live[i].pid)
			return &a->live[i];
	return NULL;
}

static int check(struct agent *a, const Podvm__Agent__V1__SyncFoldersRequest *req, struct err *err)
{
	if (!a->configured)
		return err_set(err, EBUSY, "the guest is not configured");
	if (!id_valid(req->container_id))
		return err_set(err, EINVAL, "container_id '%.80s' is not an id", req->container_id);
	if (req->n_folders > FOLDERS_MAX)
		return err_set(err, EINVAL, "more than %d folders", FOLDERS_MAX);
	for (size_t i = 0; i < req->n_folders; i++)
		if (req->folders[i]->index > INDEX_MAX)
			return err_set(err, EINVAL, "folder %u: at most %d", req->folders[i]->index, INDEX_MAX);
	if (find(a, req->container_id))
		return err_set(err, EAGAIN, "folders of container %s are being copied", req->container_id);
	return 0;
}

static int make_place(struct agent *a, const char *container, struct err *err)
{
	char path[LIVE_PATH_LEN];

	if (!a->live_mounted) {
		if (mkdir(LIVE_DIR, 0755) < 0 && errno != EEXIST)
			return err_errno(err, "make '%s'", LIVE_DIR);
		if (mount("tmpfs", LIVE_DIR, "tmpfs", MS_NOSUID | MS_NODEV, LIVE_OPTIONS) < 0)
			return err_errno(err, "mount '%s'", LIVE_DIR);
		a->live_mounted = true;
	}
	(void)snprintf(path, sizeof(path), LIVE_DIR "/%s", container);
	return mkdir(path, 0755) < 0 && errno != EEXIST ? err_errno(err, "make '%s'", path) : 0;
}

static int start(
	struct agent *a, struct live_job *job, const Podvm__Agent__V1__SyncFoldersRequest *req, struct err *err)
{
	int r = make_place(a, req->container_id, err);

	if (r < 0)
		return r;
	*job = (struct live_job){.agent = a};
	(void)str_copy(job->container, sizeof(job->container), req->container_id);
	job->said = mmap(NULL, sizeof(*job->said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job->said == MAP_FAILED)
		return err_errno(err, "map a page");
	job->pid = fork();
	if (job->pid == 0)
		child(req, job->said);
	if (job->pid < 0) {
		(void)err_errno(err, "fork");
		free_job(job);
		return -err->code;
	}
	loop_timer_set(a->loop, &job->deadline, DEADLINE_NS, on_deadline);
	return 0;
}

void live_sync(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__SyncFoldersRequest *req)
{
	struct live_job *job = unused(a);
	struct err err = {0};
	int r = check(a, req, &err);

	if (r == 0 && !job)
		r = err_set(&err, EAGAIN, "folders of %d containers are being copied", AGENT_CONTAINERS_MAX);
	if (r == 0)
		r = start(a, job, req, &err);
	if (r < 0)
		ttrpc_fail(rq, &err);
	else
		job->rq = rq;
}

static void explain(const struct live_job *job, int status, struct err *err)
{
	*err = *job->said;
	err->msg[sizeof(err->msg) - 1] = '\0';
	if (WIFSIGNALED(status))
		(void)err_set(err, EIO, "copying was ended by signal %d", WTERMSIG(status));
	else if (err->code <= 0)
		(void)err_set(err, EIO, "copying failed with exit code %d", WEXITSTATUS(status));
	(void)err_wrap(err, "folders of container %s", job->container);
}

bool live_reaped(struct agent *a, pid_t pid, int status)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct live_job *job = a->live;
	struct ttrpc_request *rq;
	struct err err = {0};
	char container[sizeof(job->container)];
	bool removal;

	while (job < a->live + AGENT_CONTAINERS_MAX && (!job->pid || job->pid != pid))
		job++;
	if (job == a->live + AGENT_CONTAINERS_MAX)
		return false;
	if (status != 0)
		explain(job, status, &err);
	rq = take_ptr(job->rq);
	removal = job->remove;
	(void)str_copy(container, sizeof(container), job->container);
	free_job(job);
	if (removal)
		live_remove(a, container);
	if (rq && err.code)
		ttrpc_fail(rq, &err);
	else if (rq)
		ttrpc_reply(rq, &reply.base);
	return true;
}

void live_remove(struct agent *a, const char *container)
{
	struct live_job *job = find(a, container);
	auto_close int dir = -1;
	struct err err = {0};

	if (!a->live_mounted)
		return;
	if (job) {
		job->remove = true;
		(void)kill(job->pid, SIGKILL);
		return;
	}
	dir = open(LIVE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && dir_remove_all(dir, container, &err) < 0)
		log_warn("container %s: %s, ignoring it", container, err.msg);
}
