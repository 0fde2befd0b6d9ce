/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm run: reads the file, fetches the images, and becomes the pod's supervisor (pod/pod.h) until the pod ends. Detached, the
 * supervisor is a child in its own session, and the command returns when every container has started.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/term.h"
#include "cli/text.h"
#include "image/image.h"
#include "kube/kube.h"
#include "pod/net.h"
#include "pod/pod.h"
#include "pod/sandbox.h"
#include "pod/state.h"
#include "pod/storage.h"

#define SECCOMP_MAX (1u << 20)
#define STDIN_CHUNK 4096
#define STDIN_RETRY_NS (10 * NS_PER_MS)
#define CTRL_C 3
#define UNREAD_NS (5 * NS_PER_S) /* how long the last words wait for a reader that takes nothing, after a SIGTERM */

struct run {
	bool detach, timings, quiet;
	enum driver_choice driver;
	const char *file, *netns;
	char pod_ip[64];

	struct kube_pod *spec;
	struct image *images;
	int *locks;
	char **seccomp;

	struct loop *loop;
	struct pod *pod;
	struct loop_fd in_src;
	struct loop_timer in_timer;
	char in_bytes[STDIN_CHUNK];
	size_t in_from, in_to;
	bool in_eof;
	struct term term; /* raw from the moment when everything runs, if the container that reads has a terminal */
	struct out out;	  /* in the foreground */
	bool unread;	  /* the pod was told that nobody reads it any more */
	struct loop_timer unread_timer;

	int report_fd;	 /* to the waiting parent; -1 in the foreground or when told */
	unsigned stops;	 /* signals that asked for the end */
	bool terminated; /* one was SIGTERM: who sent it may wait for our end, and cannot see the reader */
	bool ended, told_why;
	int exit_code;
	char why[480];
	char trouble[400]; /* in the background: what kept a container from running */
};

/* ---- the file, the images ---- */

static int read_input(const char *file, char **ret, size_t *len, struct err *err)
{
	return file_read(AT_FDCWD, str_eq(file, "-") ? "/dev/stdin" : file, KUBE_YAML_MAX, ret, len, err);
}

static int load(struct run *run, struct err *err)
{
	auto_free char *yaml = NULL;
	char node[65] = "localhost", uid[37];
	uint8_t b[16];
	struct kube_context ctx = {.uid = uid,
		.node_name = node,
		.host_ip = "127.0.0.1",
		.pod_ip = run->pod_ip,
		.default_cpu_milli = 1000,
		.default_memory = UINT64_C(512) << 20,
		.max_memory = SANDBOX_CONTAINERS_MAX};
	size_t len;
	int r = read_input(run->file, &yaml, &len, err);

	if (r == 0 && run->netns)
		r = pod_net_lookup(run->netns, run->pod_ip, err);
	if (r < 0)
		return r;
	if (!*run->pod_ip)
		(void)str_copy(run->pod_ip, sizeof(run->pod_ip), "127.0.0.1");
	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return err_errno(err, "getrandom");
	b[6] = (b[6] & 0x0f) | 0x40; /* RFC 9562: version 4 */
	b[8] = (b[8] & 0x3f) | 0x80;
	(void)snprintf(uid, sizeof(uid), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	(void)gethostname(node, sizeof(node) - 1);
	return kube_load(&run->spec, run->file, yaml, len, &ctx, err);
}

static void show_progress(void *ctx, const char *line)
{
	const struct run *run = ctx;

	if (!run->quiet)
		(void)fprintf(stderr, "%s\n", line);
}

/* What of the file has no effect here; the pod's timeline has it too. */
static void show_notes(const struct run *run)
{
	for (size_t i = 0; i < run->spec->notes.n && !run->quiet; i++) {
		(void)fputs("podvm: warning: ", stderr);
		text_put_safe(stderr, run->spec->notes.v[i], strlen(run->spec->notes.v[i]));
		(void)fputc('\n', stderr);
	}
}

static int get_images(struct run *run, struct err *err)
{
	static const enum image_pull pulls[] = {[KUBE_PULL_IF_NOT_PRESENT] = IMAGE_PULL_MISSING,
		[KUBE_PULL_ALWAYS] = IMAGE_PULL_ALWAYS,
		[KUBE_PULL_NEVER] = IMAGE_PULL_NEVER};
	size_t n = run->spec->n_containers;

	run->images = calloc(n, sizeof(*run->images));
	run->locks = malloc(n * sizeof(*run->locks));
	run->seccomp = calloc(n, sizeof(*run->seccomp));
	if (!run->images || !run->locks || !run->seccomp)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		run->locks[i] = -1;
	for (size_t i = 0; i < n; i++) {
		const struct kube_container *c = &run->spec->containers[i];

		if (image_get(&run->images[i], &run->locks[i], c->image, NULL, pulls[c->pull], show_progress, run,
			    err) < 0)
			return err_wrap(err, "container %s", c->name);
	}
	return 0;
}

/* Localhost seccomp profiles: files below PODVM_STATE/seccomp, as the kubelet has them below its own folder. */
static int read_profiles(struct run *run, struct err *err)
{
	for (size_t i = 0; i < run->spec->n_containers; i++) {
		const struct kube_container *c = &run->spec->containers[i];
		char path[PATH_LEN];
		int r;

		if (c->security.seccomp != KUBE_SECCOMP_LOCALHOST)
			continue;
		r = str_format(path, sizeof(path), err, "%s/seccomp/%s", path_state(), c->security.seccomp_profile);
		if (r == 0)
			r = file_read(AT_FDCWD, path, SECCOMP_MAX, &run->seccomp[i], NULL, err);
		if (r < 0)
			return err_wrap(err, "container %s: seccomp profile", c->name);
	}
	return 0;
}

/* ---- what the pod tells ---- */

static void on_unread(struct loop_timer *t)
{
	struct run *run = container_of(t, struct run, unread_timer);

	loop_stop(run->loop, 0);
}

/* The end is there, but for what our reader has not taken yet. */
static void wait_for_reader(struct run *run)
{
	if (out_empty(&run->out))
		loop_stop(run->loop, 0);
	else if (run->terminated)
		loop_timer_set(run->loop, &run->unread_timer, UNREAD_NS, on_unread);
}

/* Called when our reader took something, or is gone. */
static void on_out(struct out *out)
{
	struct run *run = container_of(out, struct run, out);

	if (!run->unread && (out_gone(out, STDOUT_FILENO) || out_gone(out, STDERR_FILENO))) {
		run->unread = true;
		pod_stop(run->pod, "nobody reads the output any more");
	}
	pod_hold_output(run->pod, POD_STDOUT, out_full(out, STDOUT_FILENO));
	pod_hold_output(run->pod, POD_STDERR, out_full(out, STDERR_FILENO));
	if (run->ended)
		wait_for_reader(run);
}

static void on_output(void *ctx, const struct kube_container *c, enum pod_stream stream, const char *bytes, size_t n)
{
	struct run *run = ctx;
	int fd = stream == POD_STDERR ? STDERR_FILENO : STDOUT_FILENO;
	const char *end = run->term.raw ? "\r\n" : "\n";
	char front[80];

	(void)snprintf(front, sizeof(front), "[%s] ", c->name);
	if (!c->tty)
		out_put(&run->out, fd, front, strlen(front));
	out_put(&run->out, fd, bytes, n);
	if (!c->tty)
		out_put(&run->out, fd, end, strlen(end));
	/* pod_new has not returned yet when the pod fails at once. */
	if (run->pod && out_full(&run->out, fd))
		pod_hold_output(run->pod, stream, true);
}

/* A line of our own. They are few, but a pod that fails for days should not fill the memory with them when nobody reads. */
static void say(struct run *run, const char *text)
{
	char line[640];
	int n = snprintf(line, sizeof(line), "podvm: %s%s\n", text, run->term.raw ? "\r" : "");

	if (!out_full(&run->out, STDERR_FILENO))
		out_put(&run->out, STDERR_FILENO, line, MIN_OF((size_t)n, sizeof(line) - 1));
}

static void on_notice(void *ctx, const char *text)
{
	struct run *run = ctx;

	if (run->detach)
		(void)str_copy(run->trouble, sizeof(run->trouble), text);
	else
		say(run, text);
}

static void report(struct run *run, int ok)
{
	char text[600];
	int n = ok ? snprintf(text, sizeof(text), "+%s%s%s", pod_id(run->pod), *run->trouble ? "\n" : "", run->trouble)
		   : snprintf(text, sizeof(text), "-%s", run->why);

	if (run->report_fd < 0)
		return;
	if (fd_write_all(run->report_fd, text, MIN_OF((size_t)n, sizeof(text) - 1)) < 0)
		log_debug("the command that started this pod is gone");
	close_fd(&run->report_fd);
}

/* The container that reads our standard input; NULL: none, or we are in the background. */
static const struct kube_container *reader(const struct run *run)
{
	for (size_t i = run->spec->n_init; i < run->spec->n_containers && !run->detach; i++)
		if (run->spec->containers[i].stdin_open)
			return &run->spec->containers[i];
	return NULL;
}

static bool reader_has_terminal(const struct run *run)
{
	const struct kube_container *c = reader(run);

	return c && c->tty;
}

static void send_size(struct run *run)
{
	unsigned rows, columns;

	if (reader_has_terminal(run) && term_size(&rows, &columns))
		pod_resize(run->pod, rows, columns);
}

static void on_running(void *ctx)
{
	struct run *run = ctx;

	if (reader_has_terminal(run))
		(void)term_raw(&run->term);
	report(run, 1);
}

/* The last words wait for the reader like all before them. */
static void say_end(struct run *run)
{
	auto_free char *timings = run->timings ? pod_timings(run->pod) : NULL, *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return; /* no memory: supervise_and_report tells why */
	if (timings)
		(void)fputs(timings, f);
	if (*run->why) {
		(void)fputs("podvm: ", f);
		text_put_safe(f, run->why, strlen(run->why));
		(void)fputc('\n', f);
	}
	if (fclose(f) != 0)
		return;
	out_put(&run->out, STDERR_FILENO, text, n);
	run->told_why = true;
}

static void on_ended(void *ctx, int exit_code, const char *why)
{
	struct run *run = ctx;

	run->exit_code = exit_code;
	(void)str_copy(run->why, sizeof(run->why), why);
	run->ended = true;
	term_restore(&run->term);
	if (!run->detach)
		say_end(run);
	if (run->stops > 1) {
		out_flush(&run->out);
		loop_stop(run->loop, 0);
	} else {
		wait_for_reader(run);
	}
}

static void on_signal(void *ctx, int signo)
{
	struct run *run = ctx;
	char why[64];

	if (signo == SIGWINCH) {
		send_size(run);
		return;
	}
	run->stops++;
	run->terminated = run->terminated || signo == SIGTERM;
	if (run->ended) { /* all that is left is to wait for our reader */
		loop_stop(run->loop, 0);
		return;
	}
	(void)snprintf(why, sizeof(why), "signal %d", signo);
	if (run->stops == 1 && !run->quiet && !run->detach)
		say(run, "stopping (again to kill at once)");
	pod_stop(run->pod, why);
}

/* ---- stdin ---- */

static void in_push(struct run *run);

static void on_in_retry(struct loop_timer *t)
{
	in_push(container_of(t, struct run, in_timer));
}

static void on_in(struct loop_fd *src, uint32_t events)
{
	struct run *run = container_of(src, struct run, in_src);
	ssize_t n;

	/* What waits stays in front. */
	run->in_to -= run->in_from;
	memmove(run->in_bytes, run->in_bytes + run->in_from, run->in_to);
	run->in_from = 0;
	n = read(STDIN_FILENO, run->in_bytes + run->in_to, sizeof(run->in_bytes) - run->in_to);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	run->in_eof = n <= 0;
	run->in_to += n > 0 ? (size_t)n : 0;
	in_push(run);
}

/* A terminal is read on while bytes wait: the next one may be Ctrl-C. */
static bool reads_on(const struct run *run)
{
	return run->term.raw && !run->in_eof && run->in_to - run->in_from < sizeof(run->in_bytes);
}

/* Gives what was read to the pod; while it takes nothing (full, or the container has not started) it is asked again later. */
static void in_push(struct run *run)
{
	run->in_from += pod_stdin(run->pod, run->in_bytes + run->in_from, run->in_to - run->in_from);
	if (run->in_from < run->in_to) {
		/* In raw mode Ctrl-C is a byte for the container. One that does not run, or not read, must not hold us. */
		if (run->term.raw && memchr(run->in_bytes + run->in_from, CTRL_C, run->in_to - run->in_from)) {
			run->in_from = run->in_to;
			on_signal(run, SIGINT);
		}
		if (!reads_on(run))
			loop_remove_fd(&run->in_src);
		else if (!run->in_src.loop)
			(void)!loop_add_fd(run->loop, &run->in_src, STDIN_FILENO, EPOLLIN, on_in, NULL);
		loop_timer_set(run->loop, &run->in_timer, STDIN_RETRY_NS, on_in_retry);
		return;
	}
	if (run->in_eof) {
		loop_remove_fd(&run->in_src);
		pod_stdin_close(run->pod);
		return;
	}
	/* epoll refuses regular files, which are always ready. */
	if (!run->in_src.loop && loop_add_fd(run->loop, &run->in_src, STDIN_FILENO, EPOLLIN, on_in, NULL) < 0) {
		on_in(&run->in_src, EPOLLIN);
	}
}

/* ---- the supervisor ---- */

static int supervise(struct run *run, struct err *err)
{
	struct pod_options opts = {.spec = run->spec,
		.images = run->images,
		.seccomp = (const char *const *)run->seccomp,
		.source = run->file,
		.driver = run->driver,
		.netns = run->netns,
		.detached = run->detach,
		.output = run->detach ? NULL : on_output,
		.notice = on_notice,
		.running = on_running,
		.ended = on_ended,
		.ctx = run};
	sigset_t set;
	int r = share_enter(err);

	if (r == 0)
		r = loop_new(&run->loop, err);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigaddset(&set, SIGWINCH);
	(void)signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = loop_add_signals(run->loop, &set, on_signal, run, err);
	if (r == 0 && !run->detach)
		out_open(&run->out, run->loop, on_out);
	if (r == 0)
		r = pod_new(&run->pod, run->loop, &opts, err);
	if (r < 0)
		return r;
	if (reader(run))
		in_push(run);
	send_size(run);
	r = loop_run(run->loop);
	term_restore(&run->term);
	if (r < 0)
		err_set(err, -r, "event loop: %s", strerror(-r));
	loop_remove_fd(&run->in_src);
	loop_timer_cancel(&run->in_timer);
	loop_timer_cancel(&run->unread_timer);
	return r;
}

static int supervise_and_report(struct run *run)
{
	struct err err = {0};
	int code = run->exit_code;

	if (supervise(run, &err) < 0) {
		(void)str_copy(run->why, sizeof(run->why), err.msg);
		run->exit_code = 1;
	}
	code = run->exit_code;
	if (run->detach && run->report_fd >= 0 && code == 0 && !*run->why)
		report(run, 1); /* all through before it was "running": a short job */
	else
		report(run, 0);
	if (*run->why && !run->detach && !run->told_why) {
		(void)str_copy(err.msg, sizeof(err.msg), run->why);
		(void)cmd_fail(&err);
	}
	pod_free(run->pod);
	out_close(&run->out);
	loop_free(run->loop);
	return code;
}

/* The parent's side of a detached start: waits for the supervisor's one line. */
static int wait_for_report(int fd)
{
	char text[600] = "";
	struct err err = {0};
	size_t n = 0;

	while (n < sizeof(text) - 1) {
		ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (text[0] == '+') {
		char *trouble = strchr(text, '\n');

		if (trouble)
			*trouble++ = '\0';
		(void)puts(text + 1);
		if (trouble) {
			(void)fputs("podvm: ", stderr);
			text_put_safe(stderr, trouble, strlen(trouble));
			(void)fprintf(stderr, "; 'podvm logs --all %s' tells more\n", text + 1);
		}
		return 0;
	}
	(void)err_set(&err, EIO, "%s", n > 1 ? text + 1 : "the pod ended before its containers had started");
	return cmd_fail(&err);
}

static int detach(struct run *run, struct err *err)
{
	int p[2], null;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return err_errno(err, "fork");
	if (pid > 0) {
		(void)close(p[1]);
		return wait_for_report(p[0]);
	}
	(void)close(p[0]);
	run->report_fd = p[1];
	(void)setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	(void)close(null);
	if (chdir("/") < 0)
		_exit(1);
	_exit(supervise_and_report(run));
}

/* ---- the command ---- */

static int parse_driver(const char *name, enum driver_choice *ret)
{
	static const char *const names[] = {[DRIVER_AUTO] = "auto", [DRIVER_QEMU] = "qemu", [DRIVER_VMM] = "vmm"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i])) {
			*ret = (enum driver_choice)i;
			return 0;
		}
	return -EINVAL;
}

static void run_fini(struct run *run)
{
	size_t n = run->spec ? run->spec->n_containers : 0;

	for (size_t i = 0; i < n; i++) {
		if (run->images)
			image_fini(&run->images[i]);
		if (run->locks)
			close_fd(&run->locks[i]);
		if (run->seccomp)
			free(run->seccomp[i]);
	}
	free(run->images);
	free(run->locks);
	free(run->seccomp);
	kube_pod_free(run->spec);
}

static int run_main(const struct cmd *cmd, int argc, char **argv)
{
	struct run run = {.report_fd = -1};
	struct err err = {0};
	int o, r;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'd':
			run.detach = true;
			break;
		case 'q':
			run.quiet = true;
			break;
		case 't':
			run.timings = true;
			break;
		case 'D':
			if (parse_driver(optarg, &run.driver) < 0)
				return cmd_usage(cmd, "--driver '%s': give auto, qemu or vmm", optarg);
			break;
		case 'n':
			if (*optarg != '/')
				return cmd_usage(cmd, "--netns '%s': give an absolute path", optarg);
			run.netns = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	if (argc - optind != 1)
		return cmd_usage(cmd, "give one YAML file, or - for standard input");
	run.file = argv[optind];
	r = load(&run, &err);
	if (r == 0)
		show_notes(&run);
	if (r == 0)
		r = get_images(&run, &err);
	if (r == 0)
		r = read_profiles(&run, &err);
	if (r < 0)
		r = cmd_fail(&err);
	else if (run.detach)
		r = detach(&run, &err);
	else
		r = supervise_and_report(&run);
	if (r < 0)
		r = cmd_fail(&err);
	run_fini(&run);
	return r;
}

const struct cmd cmd_run = {
	.name = "run",
	.args = "FILE",
	.summary = "run a Pod from a YAML file in its own micro-VM",
	.description =
		"Reads one Pod document, and the ConfigMap and Secret documents in the same file (- reads "
		"standard input), fetches "
		"the images that are not there yet, and runs the Pod in a virtual machine of its own.\n"
		"\n"
		"In the foreground the containers' output is shown with their names in front, Ctrl-C stops the "
		"Pod within its "
		"terminationGracePeriodSeconds (a second one kills it at once), and nothing is left when the "
		"command returns. When the first container with stdin: true also has tty: true, the terminal is passed "
		"through to it, Ctrl-C included; end its program, or use podvm stop. Its "
		"exit status is that of the first container that failed, in the order of the file; 0 when all "
		"succeeded; 1 when "
		"the Pod could not run; 2 for wrong usage.",
	.examples =
		"podvm run examples/hello.yaml\trun in the foreground\n"
		"podvm run -d pod.yaml\trun in the background; prints the pod's id once all containers have started\n"
		"podvm run --netns /run/netns/x pod.yaml\tgive it the interfaces, addresses and routes of that "
		"namespace\n"
		"podvm run --timings job.yaml\tshow where the time goes\n",
	.completes = "file",
	.needs_root = true,
	.options = {{"detach", 'd', NULL, "run in the background"},
		{"driver", 'D', "auto|qemu|vmm", "how the VM runs (default: auto)"},
		{"netns", 'n', "PATH",
			"attach the pod to this network namespace, as a CNI set it up (default: loopback only)"},
		{"quiet", 'q', NULL, "no progress lines, no warnings"},
		{"timings", 't', NULL, "print a waterfall of the pod's phases at the end"}},
	.run = run_main,
};
