/* SPDX-License-Identifier: Apache-2.0 */
/* Further processes in a container: `crun exec --detach`, once for each. They end with the container at the latest. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "agent/container_impl.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "oci/json.h"

#define EXEC_JSON_MAX (256u * 1024)

static const char *exec_path(char dst[CONTAINER_PATH_LEN], const struct process *p, const char *suffix)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "exec-%u.%s", (unsigned)(p - p->agent->processes), suffix);
	return container_path(dst, p->container, name);
}

/* ---- create ---- */

static int write_exec(struct process *p, const Podvm__Agent__V1__CreateExecRequest *req, struct err *err)
{
	json_t *process;
	auto_free char *json = NULL;
	auto_close int fd = -1;
	char path[CONTAINER_PATH_LEN];
	size_t len;
	int r = json_text_parse(
		&process, (const char *)req->process.data, req->process.len, EXEC_JSON_MAX, OCI_DEPTH_MAX, err);

	if (r < 0)
		return err_wrap(err, "process");
	r = adjust_process(process, p->container->process, req->terminal, err);
	if (r == 0)
		r = adjust_env(process, (const char *const *)req->add_env, req->n_add_env, err);
	if (r == 0)
		r = json_text_write(process, &json, &len, err);
	container_name_program(p, process);
	json_decref(process);
	if (r < 0)
		return r;
	fd = open(exec_path(path, p, "json"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "make '%s'", path);
	r = fd_write_all(fd, json, len);
	return r < 0 ? err_set(err, -r, "write '%s': %s", path, strerror(-r)) : 0;
}

static int create_exec(struct container *c, const Podvm__Agent__V1__CreateExecRequest *req, struct err *err)
{
	struct process *p;
	int r;

	if (!id_valid(req->exec_id))
		return err_set(err, EINVAL, "exec id '%.80s' is not valid", req->exec_id);
	if (c->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is not running", c->id);
	if (process_find(c->agent, c->id, req->exec_id))
		return err_set(err, EEXIST, "exec %s exists", req->exec_id);
	r = process_new(&p, c, req->exec_id, req->stdin, req->terminal, err);
	if (r < 0)
		return r;
	r = write_exec(p, req, err);
	if (r < 0) {
		process_free(p);
		return r;
	}
	p->state = PROCESS_CREATED;
	if (req->hang_up)
		process_hang_up(p);
	return 0;
}

void container_exec(struct container *c, struct ttrpc_request *rq, const Podvm__Agent__V1__CreateExecRequest *req)
{
	struct err err = {0};

	if (create_exec(c, req, &err) < 0)
		ttrpc_fail(rq, &err);
	else
		agent_reply_empty(rq);
}

/* ---- start ---- */

static void on_exec_started(struct crun_job *job, int r, const struct err *err)
{
	struct process *p = container_of(job, struct process, job);
	struct ttrpc_request *rq = take_ptr(p->start_rq);
	struct agent *a = p->agent;
	struct err why = *err;
	char path[CONTAINER_PATH_LEN];
	pid_t pid = 0;

	(void)unlink(exec_path(path, p, "json"));
	(void)unlink(exec_path(path, p, "console"));
	if (r == 0)
		r = container_collect(p, &pid, exec_path(path, p, "pid"), &why);
	if (r < 0) {
		/* It never ran: it can be deleted, and who waits learns it. */
		process_failed(p, &why);
		if (p->abandoned)
			container_exec_ended(p);
		container_forget_orphans(a);
		ttrpc_fail(rq, &why);
		return;
	}
	agent_reply_started(rq, pid);
	p->state = PROCESS_RUNNING;
	container_got_pid(p, pid);
	container_forget_orphans(a);
	if (p->abandoned && p->state == PROCESS_RUNNING)
		container_abandon(p);
}

int exec_start(struct process *p, struct err *err)
{
	char json[CONTAINER_PATH_LEN], pid_file[CONTAINER_PATH_LEN], console[CONTAINER_PATH_LEN];
	struct container *c = p->container;
	struct crun_start cs = {.what = "exec",
		.program = p->program,
		.args = {"--detach", "--process", exec_path(json, p, "json"), "--pid-file",
			exec_path(pid_file, p, "pid")}};
	unsigned n = 5;
	int r = 0;

	if (p->state != PROCESS_CREATED)
		return err_set(err, EBUSY, "exec %s: was started already", p->id);
	if (c->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is not running", c->id);
	if (p->terminal) {
		r = process_console_listen(p, exec_path(console, p, "console"), err);
		cs.args[n++] = "--console-socket";
		cs.args[n++] = console;
	}
	cs.args[n++] = c->id;
	if (r < 0)
		return r;
	process_stdio(p, cs.stdio);
	r = crun_start(&c->agent->crun, &p->job, &cs, on_exec_started, err);
	if (r < 0)
		return r;
	process_handed_over(p);
	p->state = PROCESS_STARTING;
	return 0;
}

/* ---- the end ---- */

void exec_delete(struct process *p, struct ttrpc_request *rq)
{
	struct agent *a = p->agent;
	struct err err = {0};

	if (p->state == PROCESS_STARTING || p->delete_rq) {
		(void)err_set(&err, EBUSY, "exec %s is being %s", p->id, p->delete_rq ? "deleted" : "started");
		ttrpc_fail(rq, &err);
		return;
	}
	if (p->state == PROCESS_RUNNING) {
		p->delete_rq = rq;
		(void)kill(p->pid, SIGKILL);
		return; /* goes on in container_exec_ended */
	}
	container_remember_deleted(a, p->container->id, p->id);
	process_free(p);
	agent_reply_empty(rq);
}

void container_exec_ended(struct process *p)
{
	struct ttrpc_request *rq = take_ptr(p->delete_rq);

	if (!rq && !p->abandoned)
		return;
	container_remember_deleted(p->agent, p->container->id, p->id);
	process_free(p);
	if (rq)
		agent_reply_empty(rq);
}

void container_abandon(struct process *p)
{
	p->abandoned = true;
	switch (p->state) {
	case PROCESS_RUNNING:
		log_info("container %s: exec %s: its streams are gone: SIGHUP", p->container->id, p->id);
		(void)kill(p->pid, SIGHUP);
		break;
	case PROCESS_CREATED:
	case PROCESS_EXITED:
		container_exec_ended(p);
		break;
	default: /* STARTING: on_exec_started comes back here */
		break;
	}
}
