/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm exec: one more process in a running container.
 *
 *   CreateExec -> streams attached -> StartProcess -> bytes both ways, WaitProcess pending -> exit code -> DeleteProcess
 *
 * Two connections to the agent: one for the calls that follow each other, one for those that come while the process runs. The
 * process belongs to this command: when the command ends early, DeleteProcess kills it; when it is killed itself, the agent sees the
 * streams go and sends SIGHUP.
 *
 * Standard input and output are shared with whoever started us, so they are never made non-blocking: input is read only when epoll
 * says so (or when it is a file, which never blocks), output is written as it comes, which also slows the process down.
 * With a terminal of our own, -i -t puts it into raw mode; it is restored on every way out but SIGKILL.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/loop.h"
#include "cli/cmd.h"
#include "cli/exec_process.h"
#include "cli/out.h"
#include "cli/term.h"
#include "pod/sandbox.h"
#include "rpc/ttrpc.h"

#define PENDING_MAX 65536
#define DRAIN_NS (5 * NS_PER_S)
#define ENV_MAX 256
#define EXIT_CANNOT_START 126
#define EXIT_NOT_FOUND 127

struct output {
	struct exec *x;
	struct loop_fd src;
	int fd; /* the stream; -1: ended */
	int to;
};

struct exec {
	/* What was asked for. */
	bool interactive, tty;
	const char *container, *cwd, *user;
	char *env[ENV_MAX];
	size_t n_env;
	char **args;

	struct pod_entry pod;
	char container_id[65], exec_id[24];
	int calls; /* for the calls one after the other */
	bool created;

	struct loop *loop;
	struct ttrpc_client *client;
	struct output out[2];
	struct out to; /* our own standard output and error */
	struct loop_fd in_src, to_src;
	int in_stream; /* -1: closed */
	bool in_is_file, in_ended;
	struct buf pending; /* read from our stdin, not yet sent */
	struct loop_timer drain;

	struct term term;

	bool ended;
	int status;
	unsigned interrupts;
	struct err err; /* why it could not go on; code 0: nothing */
};

/* ---- the end ---- */

static void stop(struct exec *x, int status)
{
	x->status = status;
	loop_stop(x->loop, 0);
}

static void check_end(struct exec *x)
{
	if (x->ended && x->out[0].fd < 0 && x->out[1].fd < 0 && out_empty(&x->to))
		loop_stop(x->loop, 0);
}

/* A stream is silent and does not end: somebody in the guest holds it. Or our reader is slow, which is waited for. */
static void on_drain_timeout(struct loop_timer *t)
{
	struct exec *x = container_of(t, struct exec, drain);

	if (out_empty(&x->to))
		loop_stop(x->loop, 0);
	else
		loop_timer_set(x->loop, &x->drain, DRAIN_NS, on_drain_timeout);
}

static void on_wait(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__WaitProcessResponse *r = (const Podvm__Agent__V1__WaitProcessResponse *)reply;
	struct exec *x = ctx;

	if (!r) {
		x->err = *err;
		(void)err_wrap(&x->err, "pod '%s' went away", pod_state_text(&x->pod, "name"));
		stop(x, 1);
		return;
	}
	x->ended = true;
	x->status = (int)(r->exit_code & 255);
	loop_timer_set(x->loop, &x->drain, DRAIN_NS, on_drain_timeout);
	check_end(x);
}

static void on_closed(void *ctx, const struct err *why)
{
	/* WaitProcess is pending all the time, and has told. */
}

/* ---- bytes ---- */

static void output_end(struct output *o)
{
	loop_remove_fd(&o->src);
	close_fd(&o->fd);
	check_end(o->x);
}

static void on_output(struct loop_fd *src, uint32_t events)
{
	struct output *o = container_of(src, struct output, src);
	char bytes[16384];
	ssize_t n = recv(o->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		output_end(o);
		return;
	}
	if (o->x->ended)
		loop_timer_set(o->x->loop, &o->x->drain, DRAIN_NS, on_drain_timeout);
	out_put(&o->x->to, o->to, bytes, (size_t)n);
	if (out_full(&o->x->to, o->to))
		loop_remove_fd(src); /* until on_out: epoll would report its hang-up over and over */
}

/* Our reader took something, or is gone. */
static void on_out(struct out *to)
{
	struct exec *x = container_of(to, struct exec, to);

	for (unsigned i = 0; i < ARRAY_SIZE(x->out); i++) {
		struct output *o = &x->out[i];

		if (o->fd < 0)
			continue;
		/* A reader that has gone ends the stream, and that the process: it gets SIGPIPE or EPIPE in the guest. */
		if (out_gone(to, o->to) || (!out_full(to, o->to) && !o->src.loop &&
						   loop_add_fd(x->loop, &o->src, o->fd, EPOLLIN, on_output, NULL) < 0))
			output_end(o);
	}
	check_end(x);
}

static void input_close(struct exec *x)
{
	loop_remove_fd(&x->to_src);
	loop_remove_fd(&x->in_src);
	close_fd(&x->in_stream);
}

static void on_simple(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	/* A process that has just ended cannot be told anything: WaitProcess says so. */
}

static void tell(struct exec *x, const char *method, const ProtobufCMessage *req)
{
	struct err err = {0};

	if (ttrpc_call(x->client, AGENT_SERVICE_NAME, method, req, &podvm__agent__v1__empty__descriptor, 10000,
		    on_simple, x, NULL, &err) < 0 &&
		!x->err.code) {
		x->err = err;
		stop(x, 1);
	}
}

static void input_finish(struct exec *x)
{
	/* The end comes after the last byte; a call, on a connection of its own, could overtake it. */
	(void)shutdown(x->in_stream, SHUT_WR);
	input_close(x);
}

static void on_input(struct loop_fd *src, uint32_t events);

/* Sends what is pending; what does not go now waits for EPOLLOUT, and our stdin waits with it. */
static void input_push(struct exec *x)
{
	while (x->pending.len) {
		ssize_t n = send(x->in_stream, buf_data(&x->pending), x->pending.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			input_close(x); /* the process does not read any more */
			return;
		}
		if (n < 0)
			break;
		buf_consume(&x->pending, (size_t)n);
	}
	if (!x->pending.len && x->in_ended) {
		input_finish(x);
		return;
	}
	loop_mod_fd(&x->to_src, x->pending.len || x->in_is_file ? EPOLLOUT : 0);
	if (!x->in_is_file)
		loop_mod_fd(&x->in_src, x->pending.len ? 0 : EPOLLIN);
}

static void input_read(struct exec *x)
{
	char *p = buf_reserve(&x->pending, PENDING_MAX / 4);
	ssize_t n = p ? read(STDIN_FILENO, p, PENDING_MAX / 4) : -1;

	if (n < 0 && p && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0)
		buf_added(&x->pending, (size_t)n);
	else
		x->in_ended = true;
	input_push(x);
}

static void on_input(struct loop_fd *src, uint32_t events)
{
	input_read(container_of(src, struct exec, in_src));
}

static void on_to_guest(struct loop_fd *src, uint32_t events)
{
	struct exec *x = container_of(src, struct exec, to_src);

	if (events & (EPOLLHUP | EPOLLERR))
		input_close(x);
	else if (!x->pending.len && x->in_is_file && !x->in_ended)
		input_read(x);
	else
		input_push(x);
}

/* ---- signals ---- */

static void send_size(struct exec *x)
{
	Podvm__Agent__V1__ResizePtyRequest req = PODVM__AGENT__V1__RESIZE_PTY_REQUEST__INIT;

	if (!x->tty || !term_size(&req.rows, &req.columns))
		return;
	req.container_id = x->container_id;
	req.exec_id = x->exec_id;
	tell(x, "ResizePty", &req.base);
}

/*
 * The first interrupt goes to the process, which may want to clean up; a second one, and any other signal, ends this command,
 * and the process with it.
 */
static void on_signal(void *ctx, int signo)
{
	Podvm__Agent__V1__SignalProcessRequest req = PODVM__AGENT__V1__SIGNAL_PROCESS_REQUEST__INIT;
	struct exec *x = ctx;

	if (signo == SIGWINCH) {
		send_size(x);
		return;
	}
	if (signo == SIGHUP || signo == SIGTERM || x->interrupts++ > 0) {
		stop(x, 128 + signo);
		return;
	}
	req.container_id = x->container_id;
	req.exec_id = x->exec_id;
	req.signal = (uint32_t)signo;
	tell(x, "SignalProcess", &req.base);
}

/* ---- the start ---- */

static int new_id(struct exec *x, struct err *err)
{
	uint8_t random[8];
	char hex[17];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, "getrandom");
	hex_encode(hex, random, sizeof(random));
	(void)snprintf(x->exec_id, sizeof(x->exec_id), "exec-%s", hex);
	return 0;
}

static int find_container(struct exec *x, const char *pod, struct err *err)
{
	const json_t *c = NULL;
	int r = pod_find_alive(&x->pod, pod, err);

	if (r == 0)
		r = x->container ? pod_container_find(&x->pod, x->container, &c, err)
				 : pod_container_default(&x->pod, &c, err);
	if (r < 0)
		return r;
	x->container = json_text(c, "name");
	if (!str_eq(json_text(c, "state"), "Running"))
		return err_set(err, ESRCH, "container '%s' of pod '%s' is not running: it is %s", x->container,
			pod_state_text(&x->pod, "name"), json_text(c, "state"));
	if (!str_copy(x->container_id, sizeof(x->container_id), json_text(c, "id")))
		return err_set(err, EPROTO, "the state of pod '%s' is damaged", pod);
	return 0;
}

/* A call with an empty answer, waited for. */
static int call(struct exec *x, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *type,
	struct err *err)
{
	ProtobufCMessage *reply = NULL;
	int r = agent_call(x->calls, method, req, type, &reply, err);

	if (r == 0)
		protobuf_c_message_free_unpacked(reply, NULL);
	return r;
}

static int create(struct exec *x, struct err *err)
{
	Podvm__Agent__V1__CreateExecRequest req = PODVM__AGENT__V1__CREATE_EXEC_REQUEST__INIT;
	struct exec_process p = {.pod = &x->pod,
		.container = x->container,
		.container_id = x->container_id,
		.args = x->args,
		.cwd = x->cwd,
		.user = x->user,
		.terminal = x->tty};
	auto_free char *process = NULL;
	int r = new_id(x, err);

	if (x->tty)
		(void)term_size(&p.rows, &p.columns);
	if (r == 0)
		r = exec_process_make(&p, &process, err);
	if (r == 0)
		r = agent_open(&x->pod, &x->calls, err);
	if (r < 0)
		return r;
	req.container_id = x->container_id;
	req.exec_id = x->exec_id;
	req.process.data = (uint8_t *)process;
	req.process.len = strlen(process);
	req.stdin = x->interactive;
	req.terminal = x->tty;
	req.hang_up = true; /* a kill -9 of this command must not leave it behind */
	req.add_env = x->env;
	req.n_add_env = x->n_env;
	r = call(x, "CreateExec", &req.base, &podvm__agent__v1__empty__descriptor, err);
	x->created = r == 0;
	return r;
}

static int attach_output(struct exec *x, unsigned i, struct err *err)
{
	struct output *o = &x->out[i];
	int r = pod_attach(&x->pod, x->container_id, x->exec_id, (int)i + 1, &o->fd, err);

	o->x = x;
	o->to = i ? STDERR_FILENO : STDOUT_FILENO;
	return r < 0 ? r : loop_add_fd(x->loop, &o->src, o->fd, EPOLLIN, on_output, err);
}

static int attach_input(struct exec *x, struct err *err)
{
	int r = pod_attach(&x->pod, x->container_id, x->exec_id, 0, &x->in_stream, err);

	if (r == 0)
		r = loop_add_fd(x->loop, &x->to_src, x->in_stream, 0, on_to_guest, err);
	if (r < 0)
		return r;
	/* epoll refuses what is always ready. */
	r = loop_add_fd(x->loop, &x->in_src, STDIN_FILENO, EPOLLIN, on_input, err);
	x->in_is_file = r == -EPERM;
	if (x->in_is_file)
		loop_mod_fd(&x->to_src, EPOLLOUT);
	return x->in_is_file ? 0 : r;
}

static int attach(struct exec *x, struct err *err)
{
	int r = attach_output(x, 0, err);

	if (r == 0 && !x->tty)
		r = attach_output(x, 1, err);
	if (r == 0 && x->interactive)
		r = attach_input(x, err);
	return r;
}

static int start(struct exec *x, struct err *err)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;
	int sock = -1, r = agent_open(&x->pod, &sock, err);

	if (r == 0)
		r = ttrpc_client_new(&x->client, x->loop, sock, on_closed, x, err);
	if (r < 0)
		return r;
	ttrpc_client_unknown(x->client, AGENT_TOO_OLD);
	req.container_id = x->container_id;
	req.exec_id = x->exec_id;
	r = call(x, "StartProcess", &req.base, &podvm__agent__v1__start_process_response__descriptor, err);
	if (r < 0) {
		x->status = err->code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_START;
		return err_wrap(err, "container '%s' of pod '%s'", x->container, pod_state_text(&x->pod, "name"));
	}
	send_size(x);
	return ttrpc_call(x->client, AGENT_SERVICE_NAME, "WaitProcess", &req.base,
		&podvm__agent__v1__wait_process_response__descriptor, 0, on_wait, x, NULL, err);
}

static int watch_signals(struct exec *x, struct err *err)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(&set, signals[i]);
	return loop_add_signals(x->loop, &set, on_signal, x, err);
}

static void forget(struct exec *x)
{
	Podvm__Agent__V1__ProcessRequest req = PODVM__AGENT__V1__PROCESS_REQUEST__INIT;

	if (!x->created)
		return;
	req.container_id = x->container_id;
	req.exec_id = x->exec_id;
	/* When the pod has gone, so has the process. */
	(void)call(x, "DeleteProcess", &req.base, &podvm__agent__v1__empty__descriptor, NULL);
}

static void exec_fini(struct exec *x)
{
	term_restore(&x->term);
	ttrpc_client_free(x->client);
	loop_timer_cancel(&x->drain);
	out_flush(&x->to);
	out_close(&x->to);
	for (unsigned i = 0; i < ARRAY_SIZE(x->out); i++) {
		loop_remove_fd(&x->out[i].src);
		close_fd(&x->out[i].fd);
	}
	input_close(x);
	forget(x);
	close_fd(&x->calls);
	buf_fini(&x->pending);
	loop_free(x->loop);
	pod_entry_fini(&x->pod);
}

static int exec_all(struct exec *x, const char *pod, struct err *err)
{
	int r = find_container(x, pod, err);

	if (r == 0)
		r = loop_new(&x->loop, err);
	if (r == 0)
		r = watch_signals(x, err);
	if (r == 0)
		out_open(&x->to, x->loop, on_out);
	if (r == 0)
		r = create(x, err);
	if (r == 0)
		r = attach(x, err);
	if (r == 0)
		r = start(x, err);
	if (r < 0)
		return r;
	if (x->tty && x->interactive)
		(void)term_raw(&x->term);
	r = loop_run(x->loop);
	term_restore(&x->term);
	if (r < 0)
		return err_set(err, -r, "event loop: %s", strerror(-r));
	if (x->err.code) {
		*err = x->err;
		return -err->code;
	}
	return 0;
}

static int parse_options(const struct cmd *cmd, int argc, char **argv, struct exec *x)
{
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'i':
			x->interactive = true;
			break;
		case 't':
			x->tty = true;
			break;
		case 'c':
			x->container = optarg;
			break;
		case 'e':
			if (!strchr(optarg, '=') || optarg[0] == '=')
				return cmd_usage(cmd, "--env '%s': give NAME=VALUE", optarg);
			if (x->n_env == ENV_MAX)
				return cmd_usage(cmd, "--env: at most %d", ENV_MAX);
			x->env[x->n_env++] = optarg;
			break;
		case 'w':
			if (optarg[0] != '/')
				return cmd_usage(cmd, "--workdir '%s': give an absolute path", optarg);
			x->cwd = optarg;
			break;
		case 'u':
			x->user = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	return 0;
}

static int exec_run(const struct cmd *cmd, int argc, char **argv)
{
	struct exec x = {.calls = -1,
		.in_stream = -1,
		.out = {{.fd = -1}, {.fd = -1}},
		.pending = BUF_INIT(PENDING_MAX),
		.status = 1};
	struct err err = {0};
	const char *pod;
	int r = parse_options(cmd, argc, argv, &x);

	if (r)
		return r;
	if (argc == optind)
		return cmd_usage(cmd, "give the name or id of a pod, and a command");
	pod = argv[optind++];
	if (optind < argc && str_eq(argv[optind], "--"))
		optind++;
	if (optind == argc)
		return cmd_usage(cmd, "give the command to run in pod '%s'", pod);
	x.args = argv + optind;
	/* As kubectl does: a pipe has an end, which a terminal in the guest would wait for for ever. */
	if (x.tty && x.interactive && !isatty(STDIN_FILENO)) {
		(void)fprintf(stderr, "podvm exec: standard input is no terminal, going on without one\n");
		x.tty = false;
	}
	r = exec_all(&x, pod, &err);
	exec_fini(&x);
	if (r < 0)
		(void)cmd_fail(&err);
	return r < 0 && x.status == 0 ? 1 : x.status;
}

const struct cmd cmd_exec = {
	.name = "exec",
	.args = "POD [--] COMMAND [ARGUMENT]...",
	.summary = "run a command in a container of a running pod",
	.description = "Runs one more process in the container, with the container's user, environment, folder, "
		       "capabilities and limits "
		       "where the options say nothing else. Without --container it is the pod's first. Options stand "
		       "before the pod.\n\n"
		       "It ends with the exit status of the process; 126 when it could not be started, 127 when there "
		       "is no such program. "
		       "Ctrl-C goes to the process; the second one ends podvm exec, and the process with it.",
	.examples = "podvm exec web -- ls -l /\tone command\n"
		    "podvm exec -it web -- sh\ta shell with a terminal\n"
		    "podvm exec -i -c db web -- sh -c 'cat >/data/dump' <dump\tfrom standard input\n",
	.completes = "pod",
	.needs_root = true,
	.options_first = true,
	.options = {{"interactive", 'i', NULL, "pass standard input on"}, {"tty", 't', NULL, "with a terminal"},
		{"container", 'c', "CONTAINER", "in this container"},
		{"env", 'e', "NAME=VALUE", "set a variable, besides the container's own; may be repeated"},
		{"workdir", 'w', "DIR", "in this folder"},
		{"user", 'u', "USER[:GROUP]", "as this user, by name or number"}},
	.run = exec_run,
};
