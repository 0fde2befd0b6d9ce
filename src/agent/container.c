/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers are made, started and removed by crun; signals, freezing and numbers go straight to the cgroup. What crun is asked
 * to do takes time, so each request waits in its container or process until crun's end is reaped.
 *
 * The pid of an exec is known only when crun has written it, and the process may have ended by then: the ends of
 * children that nobody knows are kept in a small ring (container_orphan) until the pid is read.
 */
#include "agent/container.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "agent/cgroup.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define SPEC_MAX (1u << 20)
#define PROCESS_MAX (256u << 10)
#define ORPHANS_MAX 64
#define DELETED_MAX 128
#define FREEZE_NS (5 * NS_PER_S)
#define FREEZE_STEP_NS (2 * NS_PER_MS)
#define PATH_MAX_LEN 192
#define ID_PAIR_MAX (2 * STREAM_ID_MAX + 2)

static struct {
	pid_t pid;
	int status;
} orphans[ORPHANS_MAX];
static unsigned orphan_next;

/* "container/exec" of what was deleted, the newest DELETED_MAX. */
static char deleted[DELETED_MAX][ID_PAIR_MAX];
static unsigned deleted_next;

struct container *container_find(struct agent *a, const char *id)
{
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->containers[i].state != CONTAINER_FREE && str_eq(a->containers[i].id, id))
			return &a->containers[i];
	return NULL;
}

bool container_was_deleted(const struct agent *a, const char *id, const char *exec)
{
	char pair[ID_PAIR_MAX];

	(void)snprintf(pair, sizeof(pair), "%s/%s", id, exec);
	for (unsigned i = 0; i < DELETED_MAX; i++)
		if (str_eq(deleted[i], pair))
			return true;
	return false;
}

static void remember_deleted(const char *id, const char *exec)
{
	(void)snprintf(deleted[deleted_next++ % DELETED_MAX], ID_PAIR_MAX, "%s/%s", id, exec);
}

static void bundle_path(char dst[PATH_MAX_LEN], const struct container *c, const char *name)
{
	(void)snprintf(dst, PATH_MAX_LEN, CONTAINERS_DIR "/%s%s%s", c->id, *name ? "/" : "", name);
}

/* ---- orphans ---- */

void container_orphan(struct agent *a, pid_t pid, int status)
{
	orphans[orphan_next].pid = pid;
	orphans[orphan_next].status = status;
	orphan_next = (orphan_next + 1) % ORPHANS_MAX;
}

/* The process has a pid now; perhaps it is over already. */
static void adopt(struct process *p, pid_t pid, enum process_state state)
{
	p->pid = pid;
	p->state = state;
	for (unsigned i = 0; i < ORPHANS_MAX; i++)
		if (orphans[i].pid == pid) {
			orphans[i].pid = 0;
			process_exited(p, orphans[i].status);
			return;
		}
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
	if (r == 0)
		*ret = (pid_t)pid;
	return r;
}

/* ---- out of memory ---- */

static void oom_watch(struct container *c)
{
	char path[PATH_MAX_LEN];

	(void)snprintf(path, sizeof(path), CGROUP_DIR "/" PODS_CGROUP "/%s/memory.events", c->id);
	c->oom_watch = inotify_add_watch(c->agent->oom_src.fd, path, IN_MODIFY);
}

void container_check_oom(struct container *c)
{
	uint64_t n = c->cgroup_fd >= 0 ? cgroup_oom_kills(c->cgroup_fd) : 0;
	struct event e = {.kind = PODVM__AGENT__V1__EVENT_KIND__EVENT_OOM};

	if (n <= c->oom_kills)
		return;
	c->oom_kills = n;
	(void)str_copy(e.container, sizeof(e.container), c->id);
	events_add(&c->agent->events, &e);
}

void container_on_oom(struct agent *a)
{
	_Alignas(struct inotify_event) char bytes[4096];
	ssize_t n;

	/* Which one does not matter: there are few containers, and looking is cheap. */
	while ((n = read(a->oom_src.fd, bytes, sizeof(bytes))) > 0)
		continue;
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->containers[i].state != CONTAINER_FREE)
			container_check_oom(&a->containers[i]);
}

/* ---- the end of a container ---- */

static void container_free(struct container *c)
{
	char path[PATH_MAX_LEN];

	for (unsigned i = 0; i < AGENT_PROCESSES_MAX; i++) {
		struct process *p = &c->agent->processes[i];

		if (p->state != PROCESS_FREE && p->container == c)
			process_free(p);
	}
	if (c->oom_watch >= 0)
		(void)inotify_rm_watch(c->agent->oom_src.fd, c->oom_watch);
	loop_timer_cancel(&c->freeze_timer);
	if (c->freeze_rq) {
		struct err err = {0};

		(void)err_set(&err, ENOENT, "container %s was deleted", c->id);
		ttrpc_fail(take_ptr(c->freeze_rq), &err);
	}
	adjust_close(&c->held);
	json_decref(c->process);
	close_fd(&c->cgroup_fd);
	bundle_path(path, c, "");
	(void)dir_remove_all(AT_FDCWD, path, NULL);
	c->process = NULL;
	c->state = CONTAINER_FREE;
}

static void on_deleted(struct crun_job *job, int r, const struct err *err)
{
	struct container *c = container_of(job, struct container, delete_job);
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct ttrpc_request *rq = take_ptr(c->delete_rq);
	struct err create_err = c->create_err;

	/* crun does not know a container whose creation failed early: that is no failure of the removal. */
	if (r < 0)
		log_debug("container %s: %s", c->id, err->msg);
	if (!create_err.code)
		remember_deleted(c->id, "");
	container_free(c);
	if (!rq)
		return;
	if (create_err.code)
		ttrpc_fail(rq, &create_err);
	else
		ttrpc_reply(rq, &reply.base);
}

static void remove_container(struct container *c, struct ttrpc_request *rq)
{
	struct crun_start start = {.what = "delete", .args = {"--force", c->id}, .stdio = {-1, -1, -1}};
	struct err err = {0};

	c->state = CONTAINER_DELETING;
	c->delete_rq = rq;
	if (c->cgroup_fd >= 0 && cgroup_kill(c->cgroup_fd, &err) < 0)
		log_debug("container %s: %s", c->id, err.msg);
	if (crun_start(&c->agent->crun, &c->delete_job, &start, on_deleted, &err) < 0)
		on_deleted(&c->delete_job, -err.code, &err);
}

void container_ended(struct container *c)
{
	if (c->state == CONTAINER_CREATED || c->state == CONTAINER_RUNNING)
		c->state = CONTAINER_ENDED;
}

/* ---- create ---- */

static void create_failed(struct container *c, struct ttrpc_request *rq, const struct err *err)
{
	c->create_err = *err;
	(void)err_wrap(&c->create_err, "container %s", c->id);
	remove_container(c, rq);
}

static int after_create(struct container *c, struct err *err)
{
	char path[PATH_MAX_LEN];
	pid_t pid = 0;
	int r;

	bundle_path(path, c, "pid");
	r = read_pid(path, &pid, err);
	if (r < 0)
		return r;
	c->cgroup_fd = openat(c->agent->cgroup_fd, c->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->cgroup_fd < 0)
		return err_errno(err, "open its cgroup");
	oom_watch(c);
	if (c->init->terminal)
		r = process_take_console(c->init, err);
	if (r < 0)
		return r;
	c->state = CONTAINER_CREATED;
	adopt(c->init, pid, PROCESS_CREATED);
	return 0;
}

static void on_created(struct crun_job *job, int r, const struct err *why)
{
	struct process *p = container_of(job, struct process, job);
	Podvm__Agent__V1__CreateContainerResponse reply = PODVM__AGENT__V1__CREATE_CONTAINER_RESPONSE__INIT;
	struct ttrpc_request *rq = take_ptr(p->start_rq);
	struct container *c = p->container;
	struct err err = {0};

	process_handed_over(p);
	adjust_close(&c->held);
	if (r == 0) {
		r = after_create(c, &err);
		why = &err;
	}
	if (r < 0) {
		create_failed(c, rq, why);
		return;
	}
	reply.pid = (uint32_t)(p->pid > 0 ? p->pid : 0);
	ttrpc_reply(rq, &reply.base);
}

static int write_bundle(struct container *c, const struct oci_spec *spec, struct err *err)
{
	auto_free char *json = NULL;
	char path[PATH_MAX_LEN];
	size_t len;
	int r = oci_spec_write(spec, &json, &len, err);

	if (r < 0)
		return r;
	bundle_path(path, c, "");
	if (mkdir(path, 0700) < 0)
		return err_errno(err, "make its bundle");
	bundle_path(path, c, "config.json");
	return file_write_atomic(AT_FDCWD, path, json, len, 0600, err);
}

static int prepare(struct container *c, const Podvm__Agent__V1__CreateContainerRequest *req, struct err *err)
{
	struct adjust how = {
		.id = c->id, .pid_ns_pid = c->agent->pid_ns_pid, .terminal = req->terminal, .sources = adjust_sources};
	auto_oci_spec struct oci_spec spec = {0};
	char cgroup[PATH_MAX_LEN];
	int r;

	if (req->oci_spec.len > SPEC_MAX)
		return err_set(err, EINVAL, "the spec is larger than %u bytes", SPEC_MAX);
	r = oci_spec_parse(&spec, (const char *)req->oci_spec.data, req->oci_spec.len, err);
	(void)snprintf(cgroup, sizeof(cgroup), "/" PODS_CGROUP "/%s", c->id);
	how.cgroup = cgroup;
	if (r == 0)
		r = adjust_spec(&spec, &how, &c->held, err);
	if (r < 0)
		return r;
	c->process = json_incref(oci_process(&spec));
	return write_bundle(c, &spec, err);
}

static int run_create(struct container *c, struct err *err)
{
	char bundle[PATH_MAX_LEN], pid_file[PATH_MAX_LEN], console[PATH_MAX_LEN];
	struct crun_start start = {.what = "create", .args = {"--bundle", bundle, "--pid-file", pid_file}};
	unsigned n = 4;
	int r = 0;

	bundle_path(bundle, c, "");
	bundle_path(pid_file, c, "pid");
	if (c->init->terminal) {
		/* A unix socket's path is short: ids may be 64 bytes long, this name fits. */
		bundle_path(console, c, "tty");
		r = process_console_listen(c->init, console, err);
		start.args[n++] = "--console-socket";
		start.args[n++] = console;
	}
	start.args[n++] = c->id;
	process_stdio(c->init, start.stdio);
	return r < 0 ? r : crun_start(&c->agent->crun, &c->init->job, &start, on_created, err);
}

static struct container *take_slot(struct agent *a, const char *id)
{
	for (unsigned i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		struct container *c = &a->containers[i];

		if (c->state != CONTAINER_FREE)
			continue;
		*c = (struct container){.agent = a, .state = CONTAINER_CREATING, .cgroup_fd = -1, .oom_watch = -1};
		(void)str_copy(c->id, sizeof(c->id), id);
		return c;
	}
	return NULL;
}

void container_create(struct agent *a, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateContainerRequest *req)
{
	struct container *c = NULL;
	struct err err = {0};
	int r = 0;

	if (container_find(a, req->container_id))
		r = err_set(&err, EEXIST, "container %s exists already", req->container_id);
	else if (!(c = take_slot(a, req->container_id)))
		r = err_set(&err, ENOBUFS, "%d containers exist already", AGENT_CONTAINERS_MAX);
	if (r == 0)
		r = process_new(&c->init, c, "", req->stdin, req->terminal, &err);
	if (r == 0)
		r = prepare(c, req, &err);
	if (r == 0) {
		c->init->start_rq = rq;
		r = run_create(c, &err);
	}
	if (r == 0)
		return;
	if (c && c->init)
		c->init->start_rq = NULL;
	if (c) {
		(void)err_wrap(&err, "container %s", c->id);
		container_free(c); /* crun has not seen it */
	}
	ttrpc_fail(rq, &err);
}

/* ---- exec ---- */

static void exec_path(char dst[PATH_MAX_LEN], const struct process *p, const char *suffix)
{
	/* Execs are numbered by their slot: ids of the host make no file names, and the path stays short enough for a socket. */
	(void)snprintf(dst, PATH_MAX_LEN, CONTAINERS_DIR "/%s/x%zu.%s", p->container->id,
		(size_t)(p - p->agent->processes), suffix);
}

static int exec_prepare(struct process *p, const Podvm__Agent__V1__CreateExecRequest *req, struct err *err)
{
	json_error_t at;
	json_t *process;
	auto_free char *text = NULL;
	char path[PATH_MAX_LEN];
	int r;

	if (req->process.len > PROCESS_MAX)
		return err_set(err, EINVAL, "the process is larger than %u bytes", PROCESS_MAX);
	process = json_loadb((const char *)req->process.data, req->process.len, JSON_REJECT_DUPLICATES, &at);
	if (!json_is_object(process)) {
		json_decref(process);
		return err_set(err, EINVAL, "the process is no JSON object: %s", at.text);
	}
	r = adjust_process(process, p->container->process, req->terminal, err);
	if (r == 0) {
		text = json_dumps(process, JSON_COMPACT);
		r = text ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	json_decref(process);
	if (r < 0)
		return r;
	exec_path(path, p, "json");
	return file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

void container_exec(struct container *c, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateExecRequest *req)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct process *p = NULL;
	struct err err = {0};
	int r = 0;

	if (c->state != CONTAINER_RUNNING)
		r = err_set(&err, EBUSY, "container %s is not running", c->id);
	else if (process_find(c->agent, c->id, req->exec_id))
		r = err_set(&err, EEXIST, "exec %s exists already", req->exec_id);
	if (r == 0)
		r = process_new(&p, c, req->exec_id, req->stdin, req->terminal, &err);
	if (r == 0)
		r = exec_prepare(p, req, &err);
	if (r < 0) {
		if (p)
			process_free(p);
		ttrpc_fail(rq, &err);
		return;
	}
	p->state = PROCESS_CREATED;
	ttrpc_reply(rq, &reply.base);
}

static void exec_files_remove(struct process *p)
{
	static const char *const suffixes[] = {"json", "pid", "tty"};
	char path[PATH_MAX_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		exec_path(path, p, suffixes[i]);
		(void)unlink(path);
	}
}

/* ---- start ---- */

static void start_reply(struct process *p, int r, const struct err *err)
{
	Podvm__Agent__V1__StartProcessResponse reply = PODVM__AGENT__V1__START_PROCESS_RESPONSE__INIT;
	struct ttrpc_request *rq = take_ptr(p->start_rq);

	if (!rq)
		return;
	reply.pid = (uint32_t)(p->pid > 0 ? p->pid : 0);
	if (r < 0)
		ttrpc_fail(rq, err);
	else
		ttrpc_reply(rq, &reply.base);
}

static void on_init_started(struct crun_job *job, int r, const struct err *err)
{
	struct process *p = container_of(job, struct process, job);

	if (r == 0 && p->state == PROCESS_CREATED) {
		p->state = PROCESS_RUNNING;
		p->container->state = CONTAINER_RUNNING;
	}
	start_reply(p, r, err);
}

static void on_exec_started(struct crun_job *job, int r, const struct err *why)
{
	struct process *p = container_of(job, struct process, job);
	char path[PATH_MAX_LEN];
	struct err err = {0};
	pid_t pid = 0;

	process_handed_over(p);
	if (r == 0) {
		exec_path(path, p, "pid");
		r = read_pid(path, &pid, &err);
		if (r == 0 && p->terminal)
			r = process_take_console(p, &err);
		why = &err;
	}
	exec_files_remove(p);
	if (r < 0) {
		start_reply(p, r, why);
		/* As a shell would: what could not be started has ended with 127. */
		if (p->state == PROCESS_STARTING)
			process_exited(p, 127 << 8);
		return;
	}
	p->pid = pid;
	start_reply(p, 0, NULL);
	adopt(p, pid, PROCESS_RUNNING);
}

static int start_exec(struct process *p, struct err *err)
{
	char process[PATH_MAX_LEN], pid_file[PATH_MAX_LEN], console[PATH_MAX_LEN];
	struct crun_start start = {.what = "exec", .args = {"--detach", "--process", process, "--pid-file", pid_file}};
	unsigned n = 5;
	int r = 0;

	exec_path(process, p, "json");
	exec_path(pid_file, p, "pid");
	if (p->terminal) {
		exec_path(console, p, "tty");
		r = process_console_listen(p, console, err);
		start.args[n++] = "--console-socket";
		start.args[n++] = console;
	}
	start.args[n++] = p->container->id;
	process_stdio(p, start.stdio);
	if (r == 0)
		r = crun_start(&p->agent->crun, &p->job, &start, on_exec_started, err);
	if (r == 0)
		p->state = PROCESS_STARTING;
	return r;
}

void container_start(struct process *p, struct ttrpc_request *rq)
{
	struct crun_start start = {.what = "start", .args = {p->container->id}, .stdio = {-1, -1, -1}};
	struct err err = {0};
	int r;

	if (p->state != PROCESS_CREATED || p->start_rq)
		r = err_set(&err, EBUSY, "container %s%s%s was started already", p->container->id,
			*p->id ? " exec " : "", p->id);
	else if (*p->id)
		r = start_exec(p, &err);
	else
		r = crun_start(&p->agent->crun, &p->job, &start, on_init_started, &err);
	if (r < 0)
		ttrpc_fail(rq, &err);
	else
		p->start_rq = rq;
}

/* ---- delete ---- */

void container_delete(struct process *p, struct ttrpc_request *rq)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct container *c = p->container;
	struct err err = {0};

	if (c->state == CONTAINER_CREATING || c->state == CONTAINER_DELETING || p->job.pid) {
		(void)err_set(&err, EBUSY, "container %s is being %s", c->id,
			c->state == CONTAINER_DELETING ? "deleted" : "started");
		ttrpc_fail(rq, &err);
		return;
	}
	if (!*p->id) {
		remove_container(c, rq);
		return;
	}
	if (p->state == PROCESS_RUNNING && p->pid > 0)
		(void)kill(p->pid, SIGKILL);
	exec_files_remove(p);
	remember_deleted(c->id, p->id);
	process_free(p);
	ttrpc_reply(rq, &reply.base);
}

/* ---- signals, freezing ---- */

static int signal_all(struct container *c, int signo, struct err *err)
{
	auto_free uint32_t *pids = NULL;
	size_t n = 0;
	int r;

	if (signo == SIGKILL)
		return cgroup_kill(c->cgroup_fd, err);
	r = cgroup_pids(c->cgroup_fd, &pids, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		(void)kill((pid_t)pids[i], signo);
	return r;
}

int container_signal(struct process *p, int signo, bool all, struct err *err)
{
	struct container *c = p->container;

	if (all && *p->id)
		return err_set(err, EINVAL, "'all' goes with the container, not with an exec");
	if (all && c->cgroup_fd >= 0)
		return signal_all(c, signo, err);
	if ((p->state != PROCESS_RUNNING && p->state != PROCESS_CREATED) || p->pid <= 0)
		return err_set(
			err, ENOENT, "container %s%s%s: the process has ended", c->id, *p->id ? " exec " : "", p->id);
	/* Reaped only by this loop, so the pid is still its own. */
	return kill(p->pid, signo) < 0 ? err_errno(err, "signal %d", signo) : 0;
}

static void on_freeze(struct loop_timer *t)
{
	struct container *c = container_of(t, struct container, freeze_timer);
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct err err = {0};

	if (cgroup_frozen(c->cgroup_fd)) {
		ttrpc_reply(take_ptr(c->freeze_rq), &reply.base);
	} else if (time_mono_ns() > c->freeze_until) {
		if (cgroup_freeze(c->cgroup_fd, false, &err) < 0)
			log_warn("container %s: %s, ignoring", c->id, err.msg);
		(void)err_set(&err, ETIMEDOUT, "container %s did not freeze", c->id);
		ttrpc_fail(take_ptr(c->freeze_rq), &err);
	} else {
		loop_timer_set(c->agent->loop, t, FREEZE_STEP_NS, on_freeze);
	}
}

void container_freeze(struct container *c, struct ttrpc_request *rq, bool on)
{
	Podvm__Agent__V1__Empty reply = PODVM__AGENT__V1__EMPTY__INIT;
	struct err err = {0};
	int r;

	if (c->state != CONTAINER_RUNNING || c->freeze_rq)
		r = err_set(&err, EBUSY, "container %s is not running, or is being frozen", c->id);
	else
		r = cgroup_freeze(c->cgroup_fd, on, &err);
	if (r < 0) {
		ttrpc_fail(rq, &err);
	} else if (!on) {
		ttrpc_reply(rq, &reply.base);
	} else {
		c->freeze_rq = rq;
		c->freeze_until = time_mono_ns() + FREEZE_NS;
		loop_timer_set(c->agent->loop, &c->freeze_timer, 0, on_freeze);
	}
}
