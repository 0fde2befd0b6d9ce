/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of containers. crun makes them (create) and starts further processes in them (exec.c); the agent does by itself what
 * would only cost the start of one more program:
 *
 *   start    crun's container waits in a read of /run/crun/<id>/exec.fifo for one byte. `crun start` reads its state and the
 *            spec again, opens the fifo, unlinks it and writes that byte; so do we (crun 1.x, src/libcrun/status.c).
 *   signals  kill(2) on our own child, or cgroup.kill.
 *
 * A process is our child once crun has ended (the agent is PID 1), so its pid cannot be reused before we reap it. It may
 * end before we know its pid; such ends are kept in a->orphans until the crun job that made it has ended.
 */
#include "agent/container_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "agent/cgroup.h"
#include "agent/live.h"
#include "agent/pause.h"
#include "agent/submount.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define CRUN_STATE "/run/crun"
#define FREEZE_NS (10 * NS_PER_S)

/* ---- table ---- */

struct container *container_find(struct agent *a, const char *id)
{
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->containers[i].state != CONTAINER_FREE && str_eq(a->containers[i].id, id))
			return &a->containers[i];
	return NULL;
}

/* FNV-1a over both ids. */
static uint64_t key_of(const char *id, const char *exec)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	h = (h ^ '/') * UINT64_C(0x100000001b3);
	for (const char *p = exec; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	return h;
}

bool container_was_deleted(const struct agent *a, const char *id, const char *exec)
{
	uint64_t key = key_of(id, exec), whole = key_of(id, "");
	unsigned n = MIN_OF(a->n_deleted, AGENT_DELETED_MAX);

	for (unsigned i = 0; i < n; i++)
		if (a->deleted[i] == key || a->deleted[i] == whole)
			return true;
	return false;
}

void container_remember_deleted(struct agent *a, const char *id, const char *exec)
{
	a->deleted[a->n_deleted % AGENT_DELETED_MAX] = key_of(id, exec);
	/* Stays above the maximum once it has been there: the modulus goes on. */
	a->n_deleted++;
	if (a->n_deleted == 2 * AGENT_DELETED_MAX)
		a->n_deleted = AGENT_DELETED_MAX;
}

void agent_reply_empty(struct ttrpc_request *rq)
{
	Podvm__Agent__V1__Empty empty = PODVM__AGENT__V1__EMPTY__INIT;

	ttrpc_reply(rq, &empty.base);
}

const char *container_path(char dst[CONTAINER_PATH_LEN], const struct container *c, const char *name)
{
	(void)snprintf(dst, CONTAINER_PATH_LEN, "%s/%s%s%s", CONTAINERS_DIR, c->id, *name ? "/" : "", name);
	return dst;
}

static void remove_folder(const char *id)
{
	auto_close int dir = open(CONTAINERS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err = {0};

	if (dir >= 0 && dir_remove_all(dir, id, &err) < 0)
		log_warn("container %s: %s, ignoring it", id, err.msg);
}

/* Forgets the container: its processes, descriptors and folder. */
static void release(struct container *c)
{
	struct agent *a = c->agent;
	char share[CONTAINER_PATH_LEN];
	struct err err = {0};

	for (unsigned i = 0; i < AGENT_PROCESSES_MAX; i++)
		if (a->processes[i].state != PROCESS_FREE && a->processes[i].container == c)
			process_free(&a->processes[i]);
	loop_timer_cancel(&c->freeze_timer);
	(void)err_set(&err, ESRCH, "container %s was deleted", c->id);
	if (c->freeze_rq)
		ttrpc_fail(take_ptr(c->freeze_rq), &err);
	if (c->oom_watch >= 0)
		(void)inotify_rm_watch(a->oom_src.fd, c->oom_watch);
	adjust_close(&c->held);
	close_fd(&c->cgroup_fd);
	json_decref(c->process);
	remove_folder(c->id);
	live_remove(a, c->id);
	(void)snprintf(share, sizeof(share), SHARED_DIR "/containers/%s", c->id);
	submounts_drop(SHARED_DIR, share);
	c->process = NULL;
	c->init = NULL;
	c->state = CONTAINER_FREE;
}

/* ---- out of memory ---- */

void container_check_oom(struct container *c)
{
	struct event e = {.kind = PODVM__AGENT__V1__EVENT_KIND__EVENT_OOM};
	uint64_t kills;

	if (c->cgroup_fd < 0)
		return;
	kills = cgroup_oom_kills(c->cgroup_fd);
	if (kills <= c->oom_kills)
		return;
	c->oom_kills = kills;
	log_warn("container %s: the kernel killed a process for memory", c->id);
	(void)str_copy(e.container, sizeof(e.container), c->id);
	events_add(&c->agent->events, &e);
}

void container_on_oom(struct agent *a)
{
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	/* Which one it was does not matter: looking at all is a handful of small reads, and rare. */
	while (read(a->oom_src.fd, bytes, sizeof(bytes)) > 0)
		;
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->containers[i].state != CONTAINER_FREE)
			container_check_oom(&a->containers[i]);
}

static void watch_oom(struct container *c)
{
	char path[CONTAINER_PATH_LEN];

	(void)snprintf(path, sizeof(path), "%s/%s/%s/memory.events", CGROUP_DIR, PODS_CGROUP, c->id);
	c->oom_watch = inotify_add_watch(c->agent->oom_src.fd, path, IN_MODIFY);
	if (c->oom_watch < 0)
		log_warn("container %s: watch memory.events: %s, ignoring it", c->id, strerror(errno));
}

/* ---- pids ---- */

void container_orphan(struct agent *a, pid_t pid, int status)
{
	if (a->crun.jobs && a->n_orphans < AGENT_ORPHANS_MAX)
		a->orphans[a->n_orphans++] = (struct orphan){.pid = pid, .status = status};
}

void container_got_pid(struct process *p, pid_t pid)
{
	struct agent *a = p->agent;

	p->pid = pid;
	for (unsigned i = 0; i < a->n_orphans; i++)
		if (a->orphans[i].pid == pid) {
			int status = a->orphans[i].status;

			a->orphans[i] = a->orphans[--a->n_orphans];
			process_exited(p, status);
			return;
		}
}

void container_forget_orphans(struct agent *a)
{
	if (!a->crun.jobs)
		a->n_orphans = 0;
}

static int read_pid(const char *path, pid_t *ret, struct err *err)
{
	auto_free char *text = NULL;
	uint64_t pid;
	int r = file_read(AT_FDCWD, path, 32, &text, NULL, err);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	r = str_to_u64(text, INT32_MAX, &pid, err);
	if (r < 0)
		return r;
	if (pid < 2)
		return err_set(err, EIO, "crun wrote pid %u", (unsigned)pid);
	*ret = (pid_t)pid;
	return 0;
}

/* ---- delete ---- */

static void on_deleted(struct crun_job *job, int r, const struct err *err)
{
	struct container *c = container_of(job, struct container, delete_job);
	struct agent *a = c->agent;
	struct ttrpc_request *rq = take_ptr(c->delete_rq);
	struct err failed = c->create_err;

	if (r < 0) {
		/* Nothing to be done about it but to tell. Its name stays taken, so that no one meets the rests. */
		log_error("container %s: %s", c->id, err->msg);
		c->state = CONTAINER_ENDED;
	} else {
		if (!failed.code)
			container_remember_deleted(a, c->id, "");
		release(c);
	}
	container_forget_orphans(a);
	if (!rq)
		return;
	if (failed.code)
		ttrpc_fail(rq, &failed);
	else if (r < 0)
		ttrpc_fail(rq, err);
	else
		agent_reply_empty(rq);
}

/* Removes it with all its processes; answers rq then (with create_err, when that is set). */
static void start_delete(struct container *c, struct ttrpc_request *rq)
{
	struct crun_start cs = {.what = "delete", .args = {"--force", c->id}, .stdio = {-1, -1, -1}};
	struct err err = {0};

	c->state = CONTAINER_DELETING;
	c->delete_rq = rq;
	if (c->cgroup_fd >= 0 && (cgroup_freeze(c->cgroup_fd, false, &err) < 0 || cgroup_kill(c->cgroup_fd, &err) < 0))
		log_debug("container %s: %s", c->id, err.msg);
	if (crun_start(&c->agent->crun, &c->delete_job, &cs, on_deleted, &err) < 0)
		on_deleted(&c->delete_job, -err.code, &err);
}

void container_delete(struct process *p, struct ttrpc_request *rq)
{
	struct container *c = p->container;
	struct err err = {0};

	if (c->state == CONTAINER_DELETING || c->delete_rq) {
		(void)err_set(&err, EBUSY, "container %s is being deleted", c->id);
		ttrpc_fail(rq, &err);
		return;
	}
	if (c->state == CONTAINER_CREATING) {
		c->delete_rq = rq; /* on_created goes on */
		return;
	}
	if (*p->id)
		exec_delete(p, rq);
	else
		start_delete(c, rq);
}

void container_ended(struct container *c)
{
	struct err err = {0};

	if (c->state != CONTAINER_DELETING)
		c->state = CONTAINER_ENDED;
	/* In a shared PID namespace the kernel does not end the others with the first. */
	if (c->joined_pid && c->cgroup_fd >= 0 && cgroup_kill(c->cgroup_fd, &err) < 0)
		log_warn("container %s: %s, ignoring it", c->id, err.msg);
}

/* ---- create ---- */

int container_collect(struct process *p, pid_t *ret_pid, const char *pid_file, struct err *err)
{
	int r = read_pid(pid_file, ret_pid, err);

	(void)unlink(pid_file);
	if (r == 0 && p->terminal)
		r = process_take_console(p, err);
	return r;
}

static int created(struct container *c, pid_t *ret_pid, struct err *err)
{
	char path[CONTAINER_PATH_LEN];
	int r = container_collect(c->init, ret_pid, container_path(path, c, "pid"), err);

	if (r < 0)
		return r;
	c->cgroup_fd = openat(c->agent->cgroup_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->cgroup_fd < 0)
		return err_errno(err, "open its cgroup");
	watch_oom(c);
	return 0;
}

static int start_init(struct container *c, struct err *err);

static void on_created(struct crun_job *job, int r, const struct err *err)
{
	struct process *p = container_of(job, struct process, job);
	struct container *c = p->container;
	struct ttrpc_request *rq = take_ptr(p->start_rq);
	Podvm__Agent__V1__CreateContainerResponse reply = PODVM__AGENT__V1__CREATE_CONTAINER_RESPONSE__INIT;
	struct err why = *err;
	pid_t pid = 0;

	adjust_close(&c->held);
	if (c->delete_rq) {
		(void)err_set(&why, ECANCELED, "container %s was deleted while it was being created", c->id);
		ttrpc_fail(rq, &why);
		start_delete(c, take_ptr(c->delete_rq));
		return;
	}
	if (r == 0)
		r = created(c, &pid, &why);
	if (r < 0) {
		c->create_err = why;
		start_delete(c, rq);
		return;
	}
	c->state = CONTAINER_CREATED;
	p->state = PROCESS_CREATED;
	container_got_pid(p, pid);
	container_forget_orphans(c->agent);
	log_debug("container %s created, pid %d", c->id, (int)pid);
	if (c->start_at_once && start_init(c, &why) < 0) {
		c->create_err = why;
		start_delete(c, rq);
		return;
	}
	reply.pid = (uint32_t)pid;
	ttrpc_reply(rq, &reply.base);
}

/* A process in the PID namespace that the request names; 0: a new one. */
static int pid_namespace(struct container *c, const char *name, int *ret, struct err *err)
{
	struct agent *a = c->agent;
	struct container *other;
	int r = 0;

	if (str_eq(name, "*") && !a->pid_ns_pid)
		r = pause_start(&a->pid_ns_pid, err);
	*ret = a->pid_ns_pid;
	if (*name && !str_eq(name, "*")) {
		other = container_find(a, name);
		if (!other || other->state != CONTAINER_RUNNING || other->init->pid == 0)
			return err_set(err, EBUSY, "pid_namespace: container '%.80s' is not running", name);
		*ret = other->init->pid;
	} else if (!*name && !a->pid_ns_of_all) {
		*ret = 0;
	}
	c->joined_pid = *ret != 0;
	return r;
}

static int write_bundle(struct container *c, const Podvm__Agent__V1__CreateContainerRequest *req, struct err *err)
{
	auto_oci_spec struct oci_spec spec = {0};
	auto_close int dir = -1;
	auto_free char *json = NULL;
	char path[CONTAINER_PATH_LEN], stage[CONTAINER_PATH_LEN], cgroup[96];
	struct adjust how = {.id = c->id,
		.cgroup = cgroup,
		.terminal = req->terminal,
		.sources = adjust_sources,
		.volumes = VOLUMES_DIR};
	size_t len;
	int r = oci_spec_parse(&spec, (const char *)req->oci_spec.data, req->oci_spec.len, err);

	if (r == 0)
		r = pid_namespace(c, req->pid_namespace, &how.pid_ns_pid, err);
	if (r < 0)
		return r;
	(void)snprintf(cgroup, sizeof(cgroup), "/%s/%s", PODS_CGROUP, c->id);
	if (mkdir(container_path(path, c, ""), 0700) < 0 || mkdir(container_path(stage, c, "mounts"), 0700) < 0)
		return err_errno(err, "make '%s'", path);
	how.stage = stage;
	r = adjust_spec(&spec, &how, &c->held, err);
	if (r == 0)
		r = oci_spec_write(&spec, &json, &len, err);
	if (r < 0)
		return r;
	dir = open(container_path(path, c, "config.json"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (dir < 0)
		return err_errno(err, "make '%s'", path);
	r = fd_write_all(dir, json, len);
	if (r < 0)
		return err_set(err, -r, "write '%s': %s", path, strerror(-r));
	c->process = json_incref(oci_process(&spec));
	return 0;
}

void container_name_program(struct process *p, const json_t *process)
{
	const char *name = json_string_value(json_array_get(json_object_get(process, "args"), 0));

	(void)snprintf(p->program, sizeof(p->program), "%s", name ? name : "");
}

static int run_create(struct container *c, struct err *err)
{
	char bundle[CONTAINER_PATH_LEN], pid_file[CONTAINER_PATH_LEN], console[CONTAINER_PATH_LEN];
	struct process *p = c->init;
	struct crun_start cs = {.what = "create",
		.program = p->program,
		.args = {"--bundle", container_path(bundle, c, ""), "--pid-file", container_path(pid_file, c, "pid")}};
	unsigned n = 4;
	int r = 0;

	container_name_program(p, c->process);
	if (p->terminal) {
		r = process_console_listen(p, container_path(console, c, "console"), err);
		cs.args[n++] = "--console-socket";
		cs.args[n++] = console;
	}
	cs.args[n++] = c->id;
	if (r < 0)
		return r;
	process_stdio(p, cs.stdio);
	r = crun_start(&c->agent->crun, &p->job, &cs, on_created, err);
	process_handed_over(p);
	return r;
}

static int create(
	struct agent *a, const Podvm__Agent__V1__CreateContainerRequest *req, struct container **ret, struct err *err)
{
	struct container *c = NULL;
	int r;

	if (!id_valid(req->container_id))
		return err_set(err, EINVAL, "container id '%.80s' is not valid", req->container_id);
	if (!a->configured)
		return err_set(err, EBUSY, "the guest is not configured");
	if (container_find(a, req->container_id))
		return err_set(err, EEXIST, "container %s exists", req->container_id);
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX && !c; i++)
		if (a->containers[i].state == CONTAINER_FREE)
			c = &a->containers[i];
	if (!c)
		return err_set(err, ENOBUFS, "%d containers exist already", AGENT_CONTAINERS_MAX);
	*c = (struct container){.agent = a, .state = CONTAINER_CREATING, .cgroup_fd = -1, .oom_watch = -1};
	(void)str_copy(c->id, sizeof(c->id), req->container_id);
	c->start_at_once = req->start;
	r = write_bundle(c, req, err);
	if (r == 0)
		r = process_new(&c->init, c, "", req->stdin, req->terminal, err);
	if (r == 0)
		r = run_create(c, err);
	if (r < 0) {
		release(c);
		return r;
	}
	*ret = c;
	return 0;
}

void container_create(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateContainerRequest *req)
{
	struct container *c = NULL;
	struct err err = {0};

	if (create(a, req, &c, &err) < 0)
		ttrpc_fail(rq, &err);
	else
		c->init->start_rq = rq;
}

/* ---- start ---- */

static int start_init(struct container *c, struct err *err)
{
	char path[CONTAINER_PATH_LEN];
	auto_close int fd = -1;

	if (c->state != CONTAINER_CREATED)
		return err_set(err, EBUSY, "container %s: was started already", c->id);
	(void)snprintf(path, sizeof(path), "%s/%s/exec.fifo", CRUN_STATE, c->id);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "container %s: open '%s'", c->id, path);
	(void)unlink(path);
	if (write(fd, "", 1) != 1)
		return err_errno(err, "container %s: write '%s'", c->id, path);
	c->state = CONTAINER_RUNNING;
	c->init->state = PROCESS_RUNNING;
	return 0;
}

void agent_reply_started(struct ttrpc_request *rq, pid_t pid)
{
	Podvm__Agent__V1__StartProcessResponse reply = PODVM__AGENT__V1__START_PROCESS_RESPONSE__INIT;

	reply.pid = (uint32_t)pid;
	ttrpc_reply(rq, &reply.base);
}

void container_start(struct process *p, struct ttrpc_request *rq)
{
	struct err err = {0};
	int r = *p->id ? exec_start(p, &err) : start_init(p->container, &err);

	if (r < 0)
		ttrpc_fail(rq, &err);
	else if (*p->id)
		p->start_rq = rq;
	else
		agent_reply_started(rq, p->pid);
}

/* ---- signals, freezer ---- */

static int signal_all(struct container *c, int signo, struct err *err)
{
	auto_free uint32_t *pids = NULL;
	size_t n = 0;
	int r;

	if (c->cgroup_fd < 0 || c->state == CONTAINER_ENDED)
		return err_set(err, ESRCH, "container %s is not running", c->id);
	if (signo == SIGKILL)
		return cgroup_kill(c->cgroup_fd, err);
	r = cgroup_pids(c->cgroup_fd, &pids, &n, err);
	for (size_t i = 0; i < n && r == 0; i++)
		if (kill((pid_t)pids[i], signo) < 0 && errno != ESRCH)
			r = err_errno(err, "signal %d to process %u", signo, pids[i]);
	return r;
}

int container_signal(struct process *p, int signo, bool all, struct err *err)
{
	if (signo < 1 || signo > 64)
		return err_set(err, EINVAL, "signal %d does not exist", signo);
	if (all && *p->id)
		return err_set(err, EINVAL, "all: only for a whole container");
	if (all)
		return signal_all(p->container, signo, err);
	if (p->pid == 0)
		return err_set(err, ESRCH, "container %s%s%s: has no process", p->container->id, *p->id ? " exec " : "",
			p->id);
	return kill(p->pid, signo) < 0 ? err_errno(err, "signal %d to process %d", signo, (int)p->pid) : 0;
}

static void on_freeze_timer(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, freeze_timer);
	struct err err = {0};

	if (cgroup_frozen(c->cgroup_fd)) {
		agent_reply_empty(take_ptr(c->freeze_rq));
		return;
	}
	if (time_mono_ns() < c->freeze_until) {
		loop_timer_set(c->agent->loop, t, 5 * NS_PER_MS, on_freeze_timer);
		return;
	}
	(void)!cgroup_freeze(c->cgroup_fd, false, NULL);
	(void)err_set(&err, ETIMEDOUT, "container %s: does not freeze", c->id);
	ttrpc_fail(take_ptr(c->freeze_rq), &err);
}

void container_freeze(struct container *c, struct ttrpc_request *rq, bool on)
{
	struct err err = {0};
	int r = 0;

	if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_CREATED)
		r = err_set(&err, EBUSY, "container %s is not running", c->id);
	else if (c->freeze_rq)
		r = err_set(&err, EBUSY, "container %s is being paused", c->id);
	else
		r = cgroup_freeze(c->cgroup_fd, on, &err);
	if (r < 0) {
		ttrpc_fail(rq, &err);
	} else if (!on) {
		agent_reply_empty(rq);
	} else {
		c->freeze_rq = rq;
		c->freeze_until = time_mono_ns() + FREEZE_NS;
		loop_timer_set(c->agent->loop, &c->freeze_timer, 0, on_freeze_timer);
	}
}
