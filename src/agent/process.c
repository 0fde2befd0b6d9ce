/* SPDX-License-Identifier: Apache-2.0 */
/* See process.h. The pumps carry the bytes; here is who holds which end, and when the end of a process may be told. */
#include "agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "agent/container.h"
#include "agent/stream.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

/* ---- table ---- */

struct process *process_find(struct agent *a, const char *container, const char *id)
{
	for (unsigned i = 0; i < AGENT_PROCESSES_MAX; i++) {
		struct process *p = &a->processes[i];

		if (p->state != PROCESS_FREE && str_eq(p->id, id) && str_eq(p->container->id, container))
			return p;
	}
	return NULL;
}

struct process *process_of_pid(struct agent *a, pid_t pid)
{
	for (unsigned i = 0; i < AGENT_PROCESSES_MAX; i++) {
		struct process *p = &a->processes[i];

		if (p->pid == pid && (p->state == PROCESS_RUNNING || p->state == PROCESS_CREATED))
			return p;
	}
	return NULL;
}

static void on_pump_ended(struct pump *pump, enum pump_why why);

/* Output: our end is read. Input: our end is written. */
static int make_pipe(struct process *p, unsigned fd, struct err *err)
{
	struct process_io *io = &p->io[fd];
	int ends[2], ours;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	ours = fd == 0 ? ends[1] : ends[0];
	io->child_fd = fd == 0 ? ends[0] : ends[1];
	pump_end_open(&io->end, p->agent->loop, ours, false);
	/* With a small pipe the writer would wait for every turn of ours. It is faster, not needed. */
	if (fd > 0)
		(void)fcntl(ours, F_SETPIPE_SZ, PUMP_PIPE);
	return fd_set_nonblock(ours, true, err);
}

int process_new(
	struct process **ret, struct container *c, const char *id, bool with_stdin, bool terminal, struct err *err)
{
	struct agent *a = c->agent;
	struct process *p = NULL;
	int r = 0;

	for (unsigned i = 0; i < AGENT_PROCESSES_MAX && !p; i++)
		if (a->processes[i].state == PROCESS_FREE)
			p = &a->processes[i];
	if (!p)
		return err_set(err, ENOBUFS, "%d processes exist already", AGENT_PROCESSES_MAX);
	*p = (struct process){
		.agent = a, .container = c, .state = PROCESS_CREATING, .terminal = terminal, .console_fd = -1};
	(void)str_copy(p->id, sizeof(p->id), id);
	for (unsigned i = 0; i < 3; i++) {
		pump_init(&p->io[i].pump, on_pump_ended, p);
		p->io[i].child_fd = p->io[i].end.fd = -1;
		p->io[i].pump.gathers = i > 0;
		p->io[i].pump.prompt = i > 0 ? &p->io[0].pump : NULL;
	}
	if (!terminal && with_stdin)
		r = make_pipe(p, 0, err);
	for (unsigned i = 1; i < 3 && r == 0 && !terminal; i++)
		r = make_pipe(p, i, err);
	p->io[0].closed = !with_stdin;
	if (r < 0) {
		process_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

static void stream_drop(struct process_io *io)
{
	struct stream *s = take_ptr(io->stream);

	pump_stop(&io->pump);
	if (s)
		stream_finish(s);
}

static void waiters_fail(struct process *p, const struct err *why)
{
	for (unsigned i = 0; i < AGENT_WAITERS_MAX; i++) {
		struct waiter *w = &p->agent->waiters[i];

		if (w->rq && w->process == p)
			ttrpc_fail(take_ptr(w->rq), why);
	}
	if (p->start_rq)
		ttrpc_fail(take_ptr(p->start_rq), why);
}

void process_free(struct process *p)
{
	struct err err = {0};

	(void)err_set(&err, ESRCH, "container %s%s%s: was deleted", p->container->id, *p->id ? " exec " : "", p->id);
	waiters_fail(p, &err);
	loop_timer_cancel(&p->grace);
	loop_timer_cancel(&p->hang_up_timer);
	for (unsigned i = 0; i < 3; i++) {
		stream_drop(&p->io[i]);
		pump_fini(&p->io[i].pump);
		close_fd(&p->io[i].child_fd);
	}
	for (unsigned i = 0; i < 3; i++)
		pump_end_close(&p->io[i].end);
	close_fd(&p->console_fd);
	p->state = PROCESS_FREE;
	p->pid = 0;
}

/* ---- descriptors ---- */

void process_stdio(const struct process *p, int stdio[3])
{
	for (int i = 0; i < 3; i++)
		stdio[i] = p->io[i].child_fd;
}

void process_handed_over(struct process *p)
{
	for (int i = 0; i < 3; i++)
		close_fd(&p->io[i].child_fd);
}

int process_console_listen(struct process *p, const char *path, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(err, "console socket");
	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(err, ENAMETOOLONG, "console socket '%s': the path is too long", path);
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return err_errno(err, "console socket '%s'", path);
	p->console_fd = take_fd(&fd);
	return 0;
}

/* ---- streams ---- */

/* All output has been handed over, as far as there is somebody to hand it to. */
static bool drained(const struct process *p)
{
	return !p->io[1].pump.from && !p->io[2].pump.from;
}

static void answer(struct process *p, struct ttrpc_request *rq)
{
	Podvm__Agent__V1__WaitProcessResponse reply = PODVM__AGENT__V1__WAIT_PROCESS_RESPONSE__INIT;

	reply.exit_code = p->exit_code;
	reply.oom_killed = p->container->oom_kills > 0;
	reply.exited_at_ns = p->exited_at_ns;
	ttrpc_reply(rq, &reply.base);
}

static void tell_if_done(struct process *p)
{
	if (p->state != PROCESS_EXITED || p->drained || !drained(p))
		return;
	p->drained = true;
	loop_timer_cancel(&p->grace);
	stream_drop(&p->io[0]);
	for (unsigned i = 0; i < AGENT_WAITERS_MAX; i++) {
		struct waiter *w = &p->agent->waiters[i];

		if (w->rq && w->process == p)
			answer(p, take_ptr(w->rq));
	}
}

/* No more input: the process reads its end of file. A terminal has none; it stays open as containerd leaves it. */
static void input_over(struct process *p)
{
	p->io[0].closed = true;
	pump_end_close(&p->io[0].end);
}

/* Told at the next turn: a pump that has just ended may be on the stack. */
static void on_hang_up(struct loop_timer *t)
{
	container_abandon(container_of(t, struct process, hang_up_timer));
}

void process_hang_up(struct process *p)
{
	p->hang_up = true;
	loop_timer_set(p->agent->loop, &p->hang_up_timer, PROCESS_ATTACH_NS, on_hang_up);
}

/* The host closed an output stream. */
static void reader_gone(struct process *p, struct process_io *io)
{
	if (!p->hang_up)
		return;
	io->closed = true;
	if (p->terminal)
		pump_stop(&p->io[0].pump); /* it writes to the same end */
	pump_end_close(&io->end);
	if (!p->io[1].stream && !p->io[2].stream && p->state != PROCESS_EXITED)
		loop_timer_set(p->agent->loop, &p->hang_up_timer, 0, on_hang_up);
}

static void on_pump_ended(struct pump *pump, enum pump_why why)
{
	struct process *p = pump->ctx;
	struct process_io *io = container_of(pump, struct process_io, pump);

	stream_drop(io);
	if (io == &p->io[0])
		input_over(p);
	else if (why == PUMP_EOF)
		io->closed = true;
	else
		reader_gone(p, io);
	tell_if_done(p);
}

/* Does nothing while the terminal is still to come. */
static void io_start(struct process *p, unsigned fd)
{
	struct process_io *io = &p->io[fd];
	struct pump_end *ours = p->terminal ? &p->io[1].end : &io->end;

	if (!io->stream || io->pump.from || ours->fd < 0)
		return;
	p->drained = false;
	if (fd == 0)
		pump_start(&io->pump, io->conn, ours);
	else
		pump_start(&io->pump, ours, io->conn);
}

int process_attach(struct process *p, unsigned fd, struct stream *s, struct pump_end *conn, struct err *err)
{
	struct process_io *io = &p->io[fd];

	if (io->stream)
		return err_set(err, EBUSY, "descriptor %u has a stream already", fd);
	if (io->closed || (p->terminal && fd == 2))
		return err_set(err, EPIPE, "descriptor %u is closed", fd);
	io->stream = s;
	io->conn = conn;
	conn->one_way = fd > 0;
	if (fd > 0)
		loop_timer_cancel(&p->hang_up_timer);
	io_start(p, fd);
	return 0;
}

int process_take_console(struct process *p, struct err *err)
{
	auto_close int listener = take_fd(&p->console_fd);
	auto_close int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int fds[FD_PASS_MAX];
	unsigned n_fds = 0;
	char bytes[256];
	size_t n;
	int r;

	if (conn < 0)
		return err_errno(err, "crun did not connect to the console socket");
	r = fd_recv(conn, bytes, sizeof(bytes), &n, fds, &n_fds, err);
	if (r < 0)
		return r == -EAGAIN ? err_set(err, EIO, "crun sent no terminal") : r;
	for (unsigned i = 1; i < n_fds; i++)
		(void)close(fds[i]);
	if (n_fds == 0)
		return err_set(err, EIO, "crun sent no terminal");
	r = fd_set_nonblock(fds[0], true, err);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	pump_end_open(&p->io[1].end, p->agent->loop, fds[0], false);
	io_start(p, 0);
	io_start(p, 1);
	return 0;
}

void process_close_stdin(struct process *p)
{
	struct process_io *io = &p->io[0];

	/* With a stream attached its own end does it, after its last byte, which this call may have overtaken. */
	if (!p->terminal && !io->closed && !io->pump.from)
		input_over(p);
}

int process_resize(struct process *p, unsigned rows, unsigned columns, struct err *err)
{
	struct winsize ws = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

	if (!p->terminal)
		return err_set(err, ENOTTY, "the process has no terminal");
	if (rows > 65535 || columns > 65535)
		return err_set(err, EINVAL, "a terminal of %u rows and %u columns", rows, columns);
	if (p->io[1].end.fd < 0)
		return err_set(err, EBUSY, "the terminal is not there yet");
	if (ioctl(p->io[1].end.fd, TIOCSWINSZ, &ws) < 0)
		return err_errno(err, "resize the terminal");
	return 0;
}

/* ---- end ---- */

/* The process is gone but its pipe is held: by a child in the background, or nothing more has come yet. */
static void on_grace(struct loop_timer *t)
{
	struct process *p = container_of(t, struct process, grace);
	bool busy = false;

	for (unsigned i = 1; i < 3; i++) {
		struct pump *pump = &p->io[i].pump;

		pump->close_when_idle = true;
		pump_run(pump);
		busy = busy || pump->from;
	}
	if (busy) /* the reader is slow; it will be waited for */
		loop_timer_set(p->agent->loop, &p->grace, PROCESS_GRACE_NS, on_grace);
}

void process_exited(struct process *p, int status)
{
	struct event e = {.kind = PODVM__AGENT__V1__EVENT_KIND__EVENT_EXIT};

	p->state = PROCESS_EXITED;
	p->pid = 0;
	p->exit_code = (uint8_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	p->exited_at_ns = time_real_ns();
	container_check_oom(p->container);
	if (!*p->id)
		container_ended(p->container);
	(void)str_copy(e.container, sizeof(e.container), p->container->id);
	(void)str_copy(e.exec, sizeof(e.exec), p->id);
	e.exit_code = p->exit_code;
	events_add(&p->agent->events, &e);
	pump_run(&p->io[1].pump);
	pump_run(&p->io[2].pump);
	tell_if_done(p);
	if (!p->drained)
		loop_timer_set(p->agent->loop, &p->grace, PROCESS_GRACE_NS, on_grace);
	if (*p->id)
		container_exec_ended(p);
}

void process_failed(struct process *p, const struct err *why)
{
	p->state = PROCESS_EXITED;
	p->exit_code = 255;
	p->exited_at_ns = time_real_ns();
	waiters_fail(p, why);
	for (unsigned i = 0; i < 3; i++)
		stream_drop(&p->io[i]);
	p->drained = true;
}

static void on_waiter_gone(void *ctx)
{
	struct waiter *w = ctx;
	struct err err = {.code = ECANCELED};

	ttrpc_fail(take_ptr(w->rq), &err);
}

void process_wait(struct process *p, struct ttrpc_request *rq)
{
	struct err err = {0};

	if (p->state == PROCESS_EXITED && p->drained) {
		answer(p, rq);
		return;
	}
	for (unsigned i = 0; i < AGENT_WAITERS_MAX; i++) {
		struct waiter *w = &p->agent->waiters[i];

		if (w->rq)
			continue;
		*w = (struct waiter){.agent = p->agent, .process = p, .rq = rq};
		ttrpc_on_gone(rq, on_waiter_gone, w);
		return;
	}
	(void)err_set(&err, ENOBUFS, "%d callers wait already", AGENT_WAITERS_MAX);
	ttrpc_fail(rq, &err);
}
