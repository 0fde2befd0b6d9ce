/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm exec against an agent that runs the processes right here: a child process that holds the pod's lock, listens on its
 * vsock.sock, and gives the streams to /bin/sh as its standard descriptors. "Modes" make it misbehave as a hostile guest would.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/spawn.h"
#include "cli/cmd.h"
#include "cli/pods.h"
#include "rpc/stream.h"
#include "rpc/ttrpc.h"

#define ID "0123456789ab"

const struct cmd *const cmd_table[] = {&cmd_exec, NULL};

enum mode {
	HONEST,
	OLD_CREATE,
	OLD_WAIT,
	REFUSE_CREATE,
	REFUSE_START,
	REFUSE_STREAM,
	DIE_AT_START,
	NEVER_CLOSE,
	NONSENSE
};

struct agent {
	enum mode mode;
	struct loop *loop;
	struct ttrpc_server *server;
	struct loop_fd listener, exited;
	int io[3];
	char command[4096], env[1024];
	int pidfd;
	pid_t pid;
	struct ttrpc_request *waiter;
};

static char dir[64];
static pid_t agent_pid;

/* ---- the agent ---- */

static void answer_empty(struct ttrpc_request *rq)
{
	Podvm__Agent__V1__Empty e = PODVM__AGENT__V1__EMPTY__INIT;

	ttrpc_reply(rq, &e.base);
}

static void refuse(struct ttrpc_request *rq, int code, const char *why)
{
	struct err err = {0};

	(void)err_set(&err, code, "%s", why);
	ttrpc_fail(rq, &err);
}

static void on_create(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__CreateExecRequest *req = (const Podvm__Agent__V1__CreateExecRequest *)msg;
	struct agent *a = ctx;
	json_t *process = json_loadb((const char *)req->process.data, req->process.len, 0, NULL);
	const json_t *args = json_object_get(process, "args");

	if (a->mode == REFUSE_CREATE) {
		json_decref(process);
		refuse(rq, EINVAL, "no such thing \x1b[2J");
		return;
	}
	/* The last argument is the script: sh -c SCRIPT. */
	(void)str_copy(
		a->command, sizeof(a->command), json_string_value(json_array_get(args, json_array_size(args) - 1)));
	(void)str_copy(a->env, sizeof(a->env), req->n_add_env ? req->add_env[0] : "NONE=1");
	json_decref(process);
	answer_empty(rq);
}

static void on_exited(struct loop_fd *src, uint32_t events)
{
	struct agent *a = container_of(src, struct agent, exited);
	Podvm__Agent__V1__WaitProcessResponse r = PODVM__AGENT__V1__WAIT_PROCESS_RESPONSE__INIT;

	if (!a->waiter)
		return;
	loop_remove_fd(src);
	r.exit_code = (uint32_t)spawn_wait(a->pidfd);
	if (a->mode == NONSENSE)
		r.exit_code = UINT32_MAX;
	ttrpc_reply(take_ptr(a->waiter), &r.base);
}

static void on_start(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	Podvm__Agent__V1__StartProcessResponse r = PODVM__AGENT__V1__START_PROCESS_RESPONSE__INIT;
	struct agent *a = ctx;
	const char *const argv[] = {"/bin/sh", "-c", a->command, NULL};
	const char *const envp[] = {"PATH=/usr/bin:/bin", a->env, NULL};
	struct spawn sp = {.file = "/bin/sh", .argv = argv, .envp = envp};

	if (a->mode == DIE_AT_START)
		_exit(0);
	if (a->mode == REFUSE_START) {
		refuse(rq, ENOENT, "executable file 'nope' not found in $PATH");
		return;
	}
	for (int i = 0; i < 3; i++)
		if (a->io[i] >= 0)
			sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = a->io[i], .child = i};
	if (spawn_start(&sp, &a->pid, &a->pidfd, NULL) < 0)
		_exit(9);
	for (int i = 0; i < 3; i++)
		if (a->mode != NEVER_CLOSE)
			close_fd(&a->io[i]);
	ttrpc_reply(rq, &r.base);
}

static void on_wait(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct agent *a = ctx;

	a->waiter = rq;
	if (loop_add_fd(a->loop, &a->exited, a->pidfd, EPOLLIN, on_exited, NULL) < 0)
		_exit(8);
}

static void on_signal_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct agent *a = ctx;

	(void)kill(a->pid, (int)((const Podvm__Agent__V1__SignalProcessRequest *)msg)->signal);
	answer_empty(rq);
}

static void on_delete(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct agent *a = ctx;

	if (a->pidfd >= 0)
		(void)kill(a->pid, SIGKILL);
	answer_empty(rq);
}

static void on_other(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	answer_empty(rq);
}

static void read_line(int fd, char line[32])
{
	size_t n = 0;

	while (n < 31 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
}

static void take_stream(struct agent *a, int fd)
{
	uint8_t bytes[STREAM_HEADER_MAX], ok = a->mode == REFUSE_STREAM ? ENOENT : 0;
	struct stream_header h;
	size_t n = 0;

	while (n < sizeof(bytes) && read(fd, bytes + n, 1) == 1) {
		n++;
		if (stream_header_decode(&h, bytes, n) > 0)
			break;
	}
	a->io[h.fd] = fd;
	(void)!write(fd, &ok, 1);
}

static void on_connection(struct loop_fd *src, uint32_t events)
{
	struct agent *a = container_of(src, struct agent, listener);
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
	char line[32];

	read_line(fd, line);
	(void)!write(fd, "OK 1\n", 5);
	if (str_eq(line, "CONNECT 1025"))
		take_stream(a, fd);
	else if (fd_set_nonblock(fd, true, NULL) < 0 || ttrpc_server_add(a->server, fd, NULL) < 0)
		_exit(7);
}

static _Noreturn void agent_main(enum mode mode, int listener, int ready)
{
	static const struct ttrpc_method methods[] = {
		{"CreateExec", &podvm__agent__v1__create_exec_request__descriptor, on_create},
		{"StartProcess", &podvm__agent__v1__process_request__descriptor, on_start},
		{"SignalProcess", &podvm__agent__v1__signal_process_request__descriptor, on_signal_process},
		{"DeleteProcess", &podvm__agent__v1__process_request__descriptor, on_delete},
		{"CloseStdin", &podvm__agent__v1__process_request__descriptor, on_other},
		{"ResizePty", &podvm__agent__v1__resize_pty_request__descriptor, on_other},
		{"WaitProcess", &podvm__agent__v1__process_request__descriptor, on_wait},
	};
	/* An agent of an older podvm knows fewer of them. */
	unsigned first = mode == OLD_CREATE, last = ARRAY_SIZE(methods) - (mode == OLD_WAIT);
	struct agent a = {.mode = mode, .io = {-1, -1, -1}, .pidfd = -1};
	const struct ttrpc_service service = {
		.name = AGENT_SERVICE_NAME, .methods = methods + first, .n_methods = last - first, .ctx = &a};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (loop_new(&a.loop, NULL) < 0 || ttrpc_server_new(&a.server, a.loop, &service, 1, 8, 8, NULL) < 0 ||
		loop_add_fd(a.loop, &a.listener, listener, EPOLLIN, on_connection, NULL) < 0)
		_exit(6);
	(void)!write(ready, "", 1);
	(void)loop_run(a.loop);
	_exit(5);
}

/* ---- the pod ---- */

static void path_of(char dst[128], const char *name)
{
	(void)snprintf(dst, 128, "%s/pods/" ID "/%s", dir, name);
}

static void start_pod(enum mode mode)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int ready[2], listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), lock;
	char path[128], state[512], byte;
	struct err err = {0};

	(void)str_copy(dir, sizeof(dir), "/tmp/podvm-test-exec.XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("PODVM_RUN", dir, 1);
	setenv("PODVM_STATE", dir, 1);
	path_of(path, "");
	assert_int_equal(dir_make_all(path, 0700, &err), 0);
	path_of(path, "vsock.sock");
	assert_true(str_copy(sa.sun_path, sizeof(sa.sun_path), path));
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 8), 0);
	path_of(path, "lock");
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	agent_pid = fork();
	if (agent_pid == 0)
		agent_main(mode, listener, ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(listener);
	(void)close(lock); /* the agent's copy holds it */
	(void)snprintf(state, sizeof(state),
		"{\"name\":\"web\",\"phase\":\"Running\",\"pid\":%d,\"containers\":[{\"name\":\"main\",\"id\":\"main-"
		"0\","
		"\"state\":\"Running\"}]}",
		agent_pid);
	path_of(path, "state.json");
	assert_int_equal(file_write_atomic(AT_FDCWD, path, state, strlen(state), 0600, &err), 0);
}

static void stop_pod(void)
{
	struct err err = {0};

	(void)kill(agent_pid, SIGKILL);
	(void)waitpid(agent_pid, NULL, 0);
	assert_int_equal(dir_remove_all(AT_FDCWD, dir, &err), 0);
}

struct result {
	int status;
	char *out, *errs;
	size_t out_len;
};

static char *slurp(int fd, size_t *ret_len)
{
	size_t len = 0, room = 1 << 16;
	char *mem = malloc(room + 1);
	ssize_t n;

	while ((n = read(fd, mem + len, room - len)) > 0) {
		len += (size_t)n;
		if (len == room)
			mem = realloc(mem, (room *= 2) + 1);
	}
	mem[len] = '\0';
	*ret_len = len;
	return mem;
}

/* Where the standard descriptors of the command go: to files, so that nothing has to be read meanwhile. */
static int scratch(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* Starts `podvm exec ARGUMENTS...` with that stdin; the child's pid. */
static pid_t start_exec(const char *const *args, int in, int out, int errs)
{
	pid_t pid = fork();

	if (pid == 0) {
		int argc = 0;

		while (args[argc])
			argc++;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(in, 0);
		(void)dup2(out, 1);
		(void)dup2(errs, 2);
		(void)close_range(3, ~0u, 0); /* a copy of the reading end would keep a pipe whole */
		_exit(cmd_exec.run(&cmd_exec, argc, (char **)(uintptr_t)args));
	}
	return pid;
}

static int wait_status(pid_t pid)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int status;

	if (poll(&p, 1, 60000) != 1) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		fail_msg("podvm exec did not end");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct result run(int in, const char *const *args)
{
	int out = scratch("out"), errs = scratch("errs");
	struct result r = {0};
	size_t len;

	r.status = wait_status(start_exec(args, in, out, errs));
	(void)lseek(out, 0, SEEK_SET);
	(void)lseek(errs, 0, SEEK_SET);
	r.out = slurp(out, &r.out_len);
	r.errs = slurp(errs, &len);
	(void)close(out);
	(void)close(errs);
	return r;
}

static void result_fini(struct result *r)
{
	free(r->out);
	free(r->errs);
}

static int null_in(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- tests ---- */

static void output_and_exit_code_come_back(void **state)
{
	static const char *const args[] = {"exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7", NULL};
	struct result r;
	int in = null_in();

	start_pod(HONEST);
	r = run(in, args);
	assert_int_equal(r.status, 7);
	assert_string_equal(r.out, "out\n");
	assert_string_equal(r.errs, "err\n");
	result_fini(&r);
	(void)close(in);
	stop_pod();
}

static void a_signal_counts_as_128_and_more(void **state)
{
	static const char *const args[] = {"exec", "web", "sh", "-c", "kill -9 $$", NULL};
	struct result r;
	int in = null_in();

	start_pod(HONEST);
	r = run(in, args);
	assert_int_equal(r.status, 137);
	result_fini(&r);
	(void)close(in);
	stop_pod();
}

static void variables_are_passed(void **state)
{
	static const char *const args[] = {"exec", "-e", "COLOUR=blue", "web", "sh", "-c", "echo $COLOUR", NULL};
	struct result r;
	int in = null_in();

	start_pod(HONEST);
	r = run(in, args);
	assert_string_equal(r.out, "blue\n");
	result_fini(&r);
	(void)close(in);
	stop_pod();
}

/* Files, which epoll refuses, and pipes, with more than all buffers hold. */
static void input_goes_through_whole(void **state)
{
	static const char *const args[] = {"exec", "-i", "web", "sh", "-c", "cat", NULL};
	size_t size = 3000000;
	char *bytes = malloc(size);
	struct result r;
	int in, p[2];
	pid_t writer;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7 + i / 999);
	start_pod(HONEST);
	in = scratch("in");
	assert_int_equal(fd_write_all(in, bytes, size), 0);
	(void)lseek(in, 0, SEEK_SET);
	r = run(in, args);
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out_len, size);
	assert_memory_equal(r.out, bytes, size);
	result_fini(&r);
	(void)close(in);

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	writer = fork();
	if (writer == 0)
		_exit(fd_write_all(p[1], bytes, size) < 0);
	(void)close(p[1]);
	r = run(p[0], args);
	(void)waitpid(writer, NULL, 0);
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out_len, size);
	assert_memory_equal(r.out, bytes, size);
	result_fini(&r);
	(void)close(p[0]);
	free(bytes);
	stop_pod();
}

static void without_i_nothing_is_read(void **state)
{
	static const char *const args[] = {"exec", "web", "sh", "-c", "wc -c", NULL};
	struct result r;
	int p[2];

	start_pod(HONEST);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], "kept\n", 5), 5);
	r = run(p[0], args);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "0\n");
	result_fini(&r);
	{
		char back[8];

		assert_int_equal(read(p[0], back, sizeof(back)), 5);
	}
	(void)close(p[0]);
	(void)close(p[1]);
	stop_pod();
}

/* Nobody reads the output: the process is told by its own broken pipe, and its code still comes. */
static void a_reader_that_goes_ends_the_process(void **state)
{
	static const char *const args[] = {"exec", "web", "sh", "-c", "yes 2>/dev/null; exit 3", NULL};
	int in = null_in(), errs, p[2];
	pid_t pid;

	start_pod(HONEST);
	errs = scratch("errs");
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = start_exec(args, in, p[1], errs);
	(void)close(p[1]);
	{
		char byte;

		assert_int_equal(read(p[0], &byte, 1), 1);
	}
	(void)close(p[0]);
	assert_int_equal(wait_status(pid), 3);
	(void)close(in);
	(void)close(errs);
	stop_pod();
}

static void wait_for_output(const char *text)
{
	char path[128], got[64];

	(void)snprintf(path, sizeof(path), "%s/out", dir);
	for (unsigned i = 0; i < 12000; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, got, sizeof(got) - 1);

		(void)close(fd);
		got[n > 0 ? n : 0] = '\0';
		if (strstr(got, text))
			return;
		(void)poll(NULL, 0, 5);
	}
	fail_msg("no '%s'", text);
}

static void the_first_interrupt_is_for_the_process(void **state)
{
	static const char *const args[] = {"exec", "web", "sh", "-c",
		"trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done", NULL};
	int in = null_in(), out, errs;
	pid_t pid;

	start_pod(HONEST);
	out = scratch("out");
	errs = scratch("errs");
	pid = start_exec(args, in, out, errs);
	wait_for_output("ready");
	(void)kill(pid, SIGINT);
	assert_int_equal(wait_status(pid), 4);
	wait_for_output("caught");
	(void)close(in);
	(void)close(out);
	(void)close(errs);
	stop_pod();
}

/* A process that does not care is ended by a second interrupt, or by a SIGTERM, with the command. */
static void whoever_is_meant_ends(int first, int second, int status)
{
	static const char *const args[] = {"exec", "web", "sh", "-c",
		"trap 'echo caught' INT; trap '' TERM; echo ready; while :; do sleep 0.05; done", NULL};
	int in = null_in(), out, errs;
	pid_t pid;

	start_pod(HONEST);
	out = scratch("out");
	errs = scratch("errs");
	pid = start_exec(args, in, out, errs);
	wait_for_output("ready");
	if (first) {
		(void)kill(pid, first);
		wait_for_output("caught");
	}
	(void)kill(pid, second);
	assert_int_equal(wait_status(pid), status);
	(void)close(in);
	(void)close(out);
	(void)close(errs);
	stop_pod();
}

static void the_second_interrupt_ends_it(void **state)
{
	whoever_is_meant_ends(SIGINT, SIGINT, 130);
}

static void a_termination_ends_it(void **state)
{
	whoever_is_meant_ends(0, SIGTERM, 143);
	whoever_is_meant_ends(0, SIGHUP, 129);
}

/* Nobody reads the output: interrupts are heard all the same, and when somebody reads again nothing is missing. */
static void a_reader_that_stands_still(void **state)
{
	static const char *const args[] = {
		"exec", "web", "sh", "-c", "trap 'echo caught >&2' INT; seq 1 600000 & wait; wait; wait; exit 5", NULL};
	static char got[1 << 16];
	int in = null_in(), errs, p[2], there = 0;
	size_t sum = 0;
	ssize_t n;
	pid_t pid;

	for (int reads = 0; reads < 2; reads++) {
		start_pod(HONEST);
		errs = scratch("out"); /* where wait_for_output looks */
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		pid = start_exec(args, in, p[1], errs);
		(void)close(p[1]);
		for (unsigned i = 0; i < 12000 && there < 40000; i++) {
			assert_int_equal(ioctl(p[0], FIONREAD, &there), 0);
			(void)poll(NULL, 0, 5);
		}
		assert_true(there >= 40000); /* how much it holds depends on the pieces in it */
		(void)kill(pid, SIGINT);
		wait_for_output("caught");
		if (!reads) {
			(void)kill(pid, SIGINT);
			assert_int_equal(wait_status(pid), 130);
		}
		while (reads && (n = read(p[0], got, sizeof(got))) > 0)
			sum += (size_t)n;
		if (reads) {
			assert_int_equal(wait_status(pid), 5);
			assert_int_equal(sum, 4088895);
		}
		(void)close(p[0]);
		(void)close(errs);
		stop_pod();
		there = 0;
	}
	(void)close(in);
}

static void hostile_agents_are_survived(void **state)
{
	static const char *const args[] = {"exec", "web", "sh", "-c", "echo out; exit 3", NULL};
	static const struct {
		enum mode mode;
		int status;
		const char *out, *says; /* out NULL: some of it may have come */
	} t[] = {
		{OLD_CREATE, 1, "", "CreateExec: the pod's guest image is older than podvm; make a new one with"},
		{OLD_WAIT, 1, NULL, "WaitProcess: the pod's guest image is older than podvm; make a new one with"},
		{REFUSE_CREATE, 1, "", "no such thing"},
		{REFUSE_START, 127, "", "not found"},
		{REFUSE_STREAM, 1, "", "refused the stream"},
		{DIE_AT_START, 126, "", "StartProcess"},
		{NEVER_CLOSE, 3, "out\n", ""}, /* the streams stay open after the end of the process */
		{NONSENSE, 255, "out\n", ""},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct result r;
		int in = null_in();

		start_pod(t[i].mode);
		r = run(in, args);
		if (r.status != t[i].status || (t[i].out && !str_eq(r.out, t[i].out)) || !strstr(r.errs, t[i].says))
			fail_msg("mode %d: status %d, out '%s', errs '%s'", t[i].mode, r.status, r.out, r.errs);
		assert_null(strchr(r.errs, '\x1b'));
		result_fini(&r);
		(void)close(in);
		stop_pod();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_exit_code_come_back),
		cmocka_unit_test(a_signal_counts_as_128_and_more),
		cmocka_unit_test(variables_are_passed),
		cmocka_unit_test(input_goes_through_whole),
		cmocka_unit_test(without_i_nothing_is_read),
		cmocka_unit_test(a_reader_that_goes_ends_the_process),
		cmocka_unit_test(the_first_interrupt_is_for_the_process),
		cmocka_unit_test(the_second_interrupt_ends_it),
		cmocka_unit_test(a_termination_ends_it),
		cmocka_unit_test(a_reader_that_stands_still),
		cmocka_unit_test(hostile_agents_are_survived),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
