/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/idle.h"
#include "base/log.h"

#define STDIN_MAX (1u << 20)
#define BACKLOG 64
#define QUIT_GRACE_MS 1500 /* containerd gives "delete" 5 s */

void shim_pod_id(char dst[POD_ID_LEN + 1], const char *ns, const char *id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	if (strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64) {
		(void)str_copy(dst, POD_ID_LEN + 1, id);
		return;
	}
	for (const char *p = ns; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	h = (h ^ '/') * UINT64_C(0x100000001b3);
	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	(void)snprintf(dst, POD_ID_LEN + 1, "%012llx", (unsigned long long)(h & UINT64_C(0xffffffffffff)));
}

/* ---- what the bundle says ---- */

struct bundle {
	enum spec_kind kind;
	char group[SHIM_ID_MAX + 1]; /* the id of the sandbox */
	char oci_version[32], name[256], pod_ns[256];
};

static int read_bundle(const struct shim_args *args, struct bundle *ret, struct err *err)
{
	auto_oci_spec struct oci_spec spec = {0};
	const char *group, *version;
	int r = spec_read(&spec, args->bundle, err);

	*ret = (struct bundle){.kind = SPEC_SANDBOX};
	(void)str_copy(ret->group, sizeof(ret->group), args->id);
	(void)str_copy(ret->name, sizeof(ret->name), args->id);
	(void)str_copy(ret->pod_ns, sizeof(ret->pod_ns), args->ns);
	if (r == -ENODATA || r == -ENOENT)
		return 0; /* the Sandbox API makes a pod without a spec */
	if (r == 0)
		r = spec_kind(&spec, &ret->kind, err);
	if (r < 0)
		return r;
	version = json_string_value(json_object_get(spec.root, "ociVersion"));
	(void)str_copy(ret->oci_version, sizeof(ret->oci_version), version ? version : "");
	group = spec_text(&spec, ANNOTATION_SANDBOX);
	if (ret->kind == SPEC_CONTAINER && !task_id_valid(group))
		return err_set(err, EINVAL, "annotation " ANNOTATION_SANDBOX " '%.80s' is not an id", group);
	if (ret->kind == SPEC_CONTAINER)
		(void)str_copy(ret->group, sizeof(ret->group), group);
	if (*spec_text(&spec, ANNOTATION_SANDBOX_NAME)) {
		(void)str_copy(ret->name, sizeof(ret->name), spec_text(&spec, ANNOTATION_SANDBOX_NAME));
		(void)str_copy(ret->pod_ns, sizeof(ret->pod_ns), spec_text(&spec, ANNOTATION_SANDBOX_NAMESPACE));
	}
	return 0;
}

static int read_stdin(uint8_t **ret, size_t *ret_n, struct err *err)
{
	auto_free uint8_t *bytes = malloc(STDIN_MAX);
	size_t n = 0;
	ssize_t got = 1;

	if (!bytes)
		return err_set(err, ENOMEM, "out of memory");
	while (!isatty(STDIN_FILENO) && n < STDIN_MAX && got > 0) {
		got = read(STDIN_FILENO, bytes + n, STDIN_MAX - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	if (n == STDIN_MAX)
		return err_set(err, EFBIG, "stdin has more than %u bytes", STDIN_MAX);
	*ret = take_ptr(bytes);
	*ret_n = n;
	return 0;
}

int shim_answer(char *dst, size_t size, const char *address, const char *version, const char *oci_version,
	bool knows_json, struct err *err)
{
	bool v3 = strncmp(oci_version, "1.", 2) == 0 && oci_version[2] >= '2' && oci_version[2] <= '9';

	version += *version == 'v';
	if (*version)
		v3 = *version >= '2';
	if (!v3 && !knows_json)
		return str_format(dst, size, err, "%s", address);
	return str_format(
		dst, size, err, "{\"version\":%d,\"address\":\"%s\",\"protocol\":\"ttrpc\"}", v3 ? 3 : 2, address);
}

/* Answers, and leaves the address in the bundle, where containerd 1.6 looks after a restart. */
static int answer(const struct shim_args *args, const char *pod, const struct bundle *b, const struct bootstrap *boot,
	struct err *err)
{
	char path[PATH_LEN], address[PATH_LEN + 8], text[PATH_LEN + 80], file[PATH_LEN * 3];
	int r = pod_run_path(path, pod, "shim.sock", err);

	if (r == 0)
		r = str_format(address, sizeof(address), err, "unix://%s", path);
	if (r == 0)
		r = shim_answer(text, sizeof(text), address, boot->version, b->oci_version,
			getenv("MAX_SHIM_VERSION") != NULL, err);
	if (r == 0)
		r = str_format(file, sizeof(file), err, "%s/address", args->bundle);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, file, address, strlen(address), 0600, err);
	if (r == 0 && fd_write_all(STDOUT_FILENO, text, strlen(text)) < 0)
		r = err_errno(err, "write to stdout");
	return r;
}

/* ---- the daemon ---- */

struct sink {
	int fd; /* containerd's log pipe, which it copies into its own log as it is; or -1 */
	const char *pod;
	struct sandbox *sb;
};

static void on_log(void *ctx, enum log_level level, const char *line)
{
	struct sink *s = ctx;
	char text[LOG_LINE_MAX + POD_ID_LEN + 16];
	int n = snprintf(text, sizeof(text), "podvm[%s]: %s\n", s->pod, line);

	/* Non-blocking: while nobody reads, lines are lost here, but not in the timeline. */
	if (s->fd >= 0)
		(void)!write(s->fd, text, MIN_OF((size_t)n, sizeof(text) - 1));
	if (s->sb->log)
		podlog_write(s->sb->log, "shim", "-", line, strlen(line));
}

static void on_signal(void *ctx, int signo)
{
	vm_kill(ctx, 137, "the shim was asked to end");
}

static int catch_signals(struct shim *sh, struct err *err)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	return loop_add_signals(sh->loop, &set, on_signal, sh, err);
}

static int detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || setsid() < 0 || chdir("/") < 0)
		return -1;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -1;
	return null > 2 ? close(null) : 0;
}

static int open_log(const struct shim_args *args)
{
	char path[PATH_LEN * 3];

	if (str_format(path, sizeof(path), NULL, "%s/log", args->bundle) < 0)
		return -1;
	/* Reading too, so that it stays a pipe with a reader while containerd restarts. */
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

static int serve(struct shim *sh, const struct shim_args *args, const struct pod_home *home, int listener, int ready,
	struct err *err)
{
	cleanup_with(loop_freep) struct loop *loop = NULL;
	struct idle idle = {0};
	int r = share_enter_from(&sh->host, err);

	if (r == 0)
		r = loop_new(&loop, err);
	if (r == 0)
		r = vm_init(sh, loop, args, home, err);
	if (r == 0)
		r = catch_signals(sh, err);
	if (r == 0)
		r = service_new(sh, listener, err);
	if (r == 0) {
		vm_record(sh);
		(void)close(ready);
		/* There is one for each pod, and most of the time most of them do nothing. */
		idle_start(&idle, loop, NULL, NULL);
		r = loop_run(loop);
		idle_stop(&idle);
	} else {
		(void)!write(ready, err->msg, strlen(err->msg));
		(void)close(ready);
	}
	ttrpc_server_free(sh->server);
	vm_fini(sh);
	return r;
}

static int daemon_main(const struct shim_args *args, const struct pod_home *home, const struct bundle *b,
	const struct shim_options *options, int listener, int ready)
{
	static struct shim sh;
	struct sink sink = {.fd = open_log(args), .pod = home->id, .sb = &sh.sb};
	struct err err = {0};
	int r;

	sh.options = *options;
	(void)str_copy(sh.pod_name, sizeof(sh.pod_name), b->name);
	(void)str_copy(sh.pod_ns, sizeof(sh.pod_ns), b->pod_ns);
	log_init(STDERR_FILENO, args->debug ? LOG_DEBUG : LOG_INFO, "shim", home->id);
	log_set_hook(on_log, &sink);
	r = detach() < 0 ? err_errno(&err, "become a daemon") : 0;
	if (r < 0) {
		(void)!write(ready, err.msg, strlen(err.msg));
		return 1;
	}
	return serve(&sh, args, home, listener, ready, &err) < 0;
}

/* ---- start ---- */

static int listen_at(const char *pod, int *ret, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char path[PATH_LEN];
	int r = pod_run_path(path, pod, "shim.sock", err);

	if (r < 0)
		return r;
	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(err, ENAMETOOLONG, "socket '%s' is longer than %zu bytes; PODVM_RUN must be shorter",
			path, sizeof(sa.sun_path) - 1);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0600) < 0 ||
		listen(fd, BACKLOG) < 0)
		return err_errno(err, "listen on '%s'", path);
	*ret = take_fd(&fd);
	return 0;
}

/* Forks; returns in the parent when the daemon serves or has said why not. */
static int spawn_daemon(const struct shim_args *args, struct pod_home *home, const struct bundle *b,
	const struct shim_options *options, struct err *err)
{
	auto_close int listener = -1;
	char text[sizeof(err->msg)];
	int ready[2], r = listen_at(home->id, &listener, err);
	ssize_t n;
	pid_t pid;

	if (r < 0)
		return r;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	pid = fork();
	if (pid == 0) {
		(void)close(ready[0]);
		_exit(daemon_main(args, home, b, options, listener, ready[1]));
	}
	(void)close(ready[1]);
	if (pid < 0) {
		(void)close(ready[0]);
		return err_errno(err, "fork");
	}
	n = read(ready[0], text, sizeof(text) - 1);
	(void)close(ready[0]);
	if (n == 0)
		return 0;
	text[n > 0 ? n : 0] = '\0';
	return err_set(err, EIO, "%s", *text ? text : "the shim's daemon did not start");
}

static int new_pod(const struct shim_args *args, const char *pod, const struct bundle *b, const struct bootstrap *boot,
	struct err *err)
{
	struct shim_options options;
	struct pod_home home;
	int r = bootstrap_options(boot, &options, err);

	if (r == 0)
		r = pod_home_named(&home, pod, b->pod_ns, b->name, err);
	if (r != 0)
		return r;
	r = spawn_daemon(args, &home, b, &options, err);
	if (r < 0)
		pod_home_free(&home, false);
	return r;
}

int shim_start(struct shim_args *args, struct err *err)
{
	struct bootstrap boot = {0};
	auto_free uint8_t *bytes = NULL;
	char pod[POD_ID_LEN + 1];
	struct bundle b;
	size_t n = 0;
	int r = getcwd(args->bundle, sizeof(args->bundle)) ? 0 : err_errno(err, "the bundle's folder");

	if (r == 0)
		r = read_stdin(&bytes, &n, err);
	if (r == 0)
		r = bootstrap_parse(&boot, args->id, bytes, n, err);
	if (r == 0)
		r = read_bundle(args, &b, err);
	if (r == 0) {
		if (*boot.ttrpc_address)
			(void)str_copy(args->ttrpc_address, sizeof(args->ttrpc_address), boot.ttrpc_address);
		shim_pod_id(pod, args->ns, b.group);
		if (b.kind != SPEC_CONTAINER)
			r = new_pod(args, pod, &b, &boot, err);
		else if (pod_bury(pod, false, err) != 1)
			r = err_set(err, ENOENT, "sandbox '%s' of container '%s' is not running", b.group, args->id);
	}
	if (r >= 0)
		r = answer(args, pod, &b, &boot, err);
	bootstrap_fini(&boot);
	return r;
}

/* ---- delete, -info ---- */

int shim_delete(struct shim_args *args, struct err *err)
{
	Ctrd__DeleteResponse reply = CTRD__DELETE_RESPONSE__INIT;
	Ctrd__Timestamp now = events_time(time_real_ns());
	char pod[POD_ID_LEN + 1];
	uint8_t bytes[64];
	struct bundle b;
	int r;

	if (!*args->bundle && !getcwd(args->bundle, sizeof(args->bundle)))
		return err_errno(err, "the bundle's folder");
	/* What cannot be read any more does not keep a pod from being removed. */
	if (read_bundle(args, &b, NULL) < 0)
		(void)str_copy(b.group, sizeof(b.group), args->id);
	shim_pod_id(pod, args->ns, b.group);
	/*
	 * containerd 1.6 can take a shim for dead because it closed its own connection for one task, while over another one it is
	 * about to delete the next: killed in that, the deletion fails, and that container stays "running" until a retry.
	 */
	if (b.kind != SPEC_CONTAINER)
		pod_await_end(pod, QUIT_GRACE_MS);
	/* A container has nothing of its own outside of its pod's shim. */
	r = pod_bury(pod, b.kind != SPEC_CONTAINER, err);
	if (r < 0)
		return r;
	reply.exit_status = 137;
	reply.exited_at = &now;
	r = fd_write_all(STDOUT_FILENO, bytes, ctrd__delete_response__pack(&reply, bytes));
	return r < 0 ? err_set(err, -r, "write to stdout: %s", strerrordesc_np(-r)) : 0;
}

#define TYPE_FEATURES "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

/*
 * What the kubelet has to know before it hands us a Pod: a volume can be read-only with all that is mounted below it ("rro"); there are no
 * user namespaces. containerd 2.1 asks runc only, newer ones any runtime.
 */
static const char features[] =
	"{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.1.0\","
	"\"mountOptions\":[\"bind\",\"private\",\"rbind\",\"ro\",\"rprivate\",\"rro\",\"rslave\",\"rw\",\"slave\"],"
	"\"linux\":{\"namespaces\":[\"cgroup\",\"ipc\",\"mount\",\"network\",\"pid\",\"uts\"],"
	"\"cgroup\":{\"v1\":false,\"v2\":true},\"seccomp\":{\"enabled\":true},"
	"\"apparmor\":{\"enabled\":false},\"selinux\":{\"enabled\":false},"
	"\"mountExtensions\":{\"idmap\":{\"enabled\":false}}}}";

int shim_info(struct err *err)
{
	Ctrd__RuntimeInfo info = CTRD__RUNTIME_INFO__INIT;
	Ctrd__RuntimeVersion version = CTRD__RUNTIME_VERSION__INIT;
	Ctrd__Any any = CTRD__ANY__INIT;
	uint8_t bytes[sizeof(features) + 256];
	int r;

	version.version = (char *)(uintptr_t)PODVM_VERSION;
	info.name = (char *)(uintptr_t) "io.containerd.podvm.v2";
	info.version = &version;
	any.type_url = (char *)(uintptr_t)TYPE_FEATURES;
	any.value.data = (uint8_t *)(uintptr_t)features;
	any.value.len = sizeof(features) - 1;
	info.features = &any;
	r = fd_write_all(STDOUT_FILENO, bytes, ctrd__runtime_info__pack(&info, bytes));
	return r < 0 ? err_set(err, -r, "write to stdout: %s", strerrordesc_np(-r)) : 0;
}
