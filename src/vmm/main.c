/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm-vmm: parse, enter the jail, and either run a machine (monitor.c) or serve devices to QEMU: the fs thread is started, vsock
 * served in this one. It ends, with everything the guest had, when the guest or a front end does, when the parent does, or on
 * SIGTERM; nothing here is worth a slow good-bye.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/heap.h"
#include "base/relro.h"
#include "virtio/vsock.h"
#include "vmm/dial.h"
#include "vmm/fs_thread.h"
#include "vmm/monitor.h"
#include "vmm/options.h"
#include "vmm/probe.h"
#include "vmm/serve.h"

#define EXIT_USAGE 2

struct vmm {
	struct options opts;
	struct loop *loop;
	struct vsock *vsock;
	struct serve serve;
	struct dial dial;
	struct fs_thread fs;
	struct loop_fd fs_end;
	struct monitor *monitor; /* of --vm */
	struct err why;		 /* code 0: an ordinary end */
};

static void on_end(void *ctx, const struct err *why)
{
	struct vmm *v = ctx;

	v->why = *why;
	loop_stop(v->loop, 0);
}

static void on_fs_end(struct loop_fd *src, uint32_t events unused_arg)
{
	struct vmm *v = container_of(src, struct vmm, fs_end);

	on_end(v, &v->fs.why);
}

static void on_signal(void *ctx, int signo)
{
	struct vmm *v = ctx;

	if (signo == SIGUSR1) {
		if (v->monitor)
			monitor_explain(v->monitor);
		return;
	}
	log_debug("signal %d, ending", signo);
	if (v->monitor)
		monitor_stop(v->monitor);
	else
		loop_stop(v->loop, 0);
}

/* With a descriptor's number, the path behind it as /proc tells; else the path as it is. */
static int root_path(const char *text, char dst[PATH_MAX], struct err *err)
{
	char link[64];
	uint64_t fd;
	ssize_t n;

	if (str_to_u64(text, INT_MAX, &fd, NULL) < 0)
		return str_format(dst, PATH_MAX, err, "%s", text);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", (int)fd);
	n = readlink(link, dst, PATH_MAX - 1);
	if (n < 0)
		return err_errno(err, "--fs-root %s", text);
	dst[n] = '\0';
	return 0;
}

static int enter_jail(const struct options *o, struct jail *ret, struct err *err)
{
	char path[PATH_MAX] = "";
	int r = o->fs_root ? root_path(o->fs_root, path, err) : 0;

	if (r < 0)
		return r;
	if (!o->no_jail)
		return jail_enter(o->fs_root ? path : NULL, ret, err);
	log_warn("running without a jail");
	if (!o->fs_root)
		return 0;
	ret->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->root_fd < 0)
		return err_errno(err, "open '%s'", path);
	ret->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return ret->proc_fd < 0 ? err_errno(err, "open /proc/self/fd") : 0;
}

/* What has to exist before the filter of the main thread: it cannot make descriptors any more. */
static int prepare(struct vmm *v, struct err *err)
{
	sigset_t set;
	int r = loop_new(&v->loop, err);

	if (r < 0)
		return r;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (v->opts.vm)
		(void)sigaddset(&set, SIGUSR1);
	return loop_add_signals(v->loop, &set, on_signal, v, err);
}

static int start_fs(struct vmm *v, struct jail *jail, struct err *err)
{
	int r;

	if (v->opts.fs_sock < 0)
		return 0;
	r = fs_thread_start(&v->fs, &v->opts, take_fd(&jail->root_fd), take_fd(&jail->proc_fd), err);
	if (r < 0)
		return r;
	return loop_add_fd(v->loop, &v->fs_end, v->fs.end_fd, EPOLLIN, on_fs_end, err);
}

static int start_vsock(struct vmm *v, struct err *err)
{
	const struct options *o = &v->opts;
	struct vsock_options vo = {.cid = o->cid, .listen_fd = o->vsock_listen, .dial = dial_request, .ctx = &v->dial};
	int r = 0;

	v->dial.fd = -1;
	if (o->broker >= 0)
		r = dial_start(&v->dial, v->loop, o->broker, on_end, v, err);
	if (r < 0 || o->vsock_sock < 0)
		return r;
	r = vsock_new(&v->vsock, v->loop, &vo, err);
	if (r < 0)
		return r;
	v->dial.vs = v->vsock;
	return serve_start(&v->serve, v->loop, vsock_dev(v->vsock), o->vsock_sock, on_end, v, err);
}

/* Returns the exit status, or -errno. */
static int run_machine(struct vmm *v, struct err *err)
{
	static struct monitor monitor;
	struct jail jail = {.root_fd = -1, .proc_fd = -1};
	int kvm_fd, r;

	monitor.phases[PHASE_MAIN] = time_mono_ns();
	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0)
		return err_errno(err, "open /dev/kvm");
	r = enter_jail(&v->opts, &jail, err);
	if (r == 0)
		r = prepare(v, err);
	if (r == 0 && v->opts.control >= 0)
		r = control_open(&monitor.control, v->loop, v->opts.control, err);
	if (r == 0 && v->opts.kernel < 0) {
		r = control_idle(&monitor.control, &v->opts, err);
		if (r == 0) {
			control_ended(&monitor.control, "poweroff", "stopped by its owner before there was a machine");
			return VMM_POWEROFF;
		}
	}
	if (r >= 0)
		r = monitor_start(&monitor, &v->opts, v->loop, kvm_fd, &jail, err);
	close_fd(&jail.root_fd);
	close_fd(&jail.proc_fd);
	if (r < 0) {
		control_ended(&monitor.control, "failed", err->msg);
		return r;
	}
	v->monitor = &monitor;
	r = loop_run(v->loop);
	return r < 0 ? err_set(err, -r, "event loop") : (int)monitor_finish(&monitor);
}

static int run(struct vmm *v, struct err *err)
{
	struct jail jail = {.root_fd = -1, .proc_fd = -1};
	bool landlock = true;
	int r = enter_jail(&v->opts, &jail, err);

	if (r == 0)
		r = prepare(v, err);
	if (r == 0)
		r = start_fs(v, &jail, err);
	close_fd(&jail.root_fd);
	close_fd(&jail.proc_fd);
	if (r == 0 && !v->opts.no_jail)
		r = jail_thread(JAIL_VSOCK, v->opts.seccomp, &landlock, err);
	if (r == 0 && !landlock)
		log_debug("no Landlock on this kernel, going on without");
	if (r == 0)
		r = start_vsock(v, err);
	if (r == 0)
		r = loop_run(v->loop);
	if (r < 0)
		return err->code ? r : err_set(err, -r, "event loop");
	if (v->why.code)
		*err = v->why;
	return -v->why.code;
}

int main(int argc, char **argv)
{
	static struct vmm v;
	struct err err = {0};
	int r;

	log_init(STDERR_FILENO, LOG_INFO, "vmm", NULL);
	if (relro_protect(&err) < 0) {
		log_error("%s", err.msg);
		return VMM_FAILED;
	}
	if (options_parse(argc, argv, &v.opts, &err) < 0) {
		log_error("%s", err.msg);
		return EXIT_USAGE;
	}
	if (v.opts.help || v.opts.version) {
		if (v.opts.help)
			options_help();
		else
			(void)puts("podvm-vmm " PODVM_VERSION);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (v.opts.probe)
		return probe_main();
	log_init(STDERR_FILENO, v.opts.log_level, "vmm", v.opts.id);
	(void)signal(SIGPIPE, SIG_IGN);
	heap_small();
	r = v.opts.vm ? run_machine(&v, &err) : run(&v, &err);
	if (r < 0) {
		log_error("%s", err.msg);
		_exit(VMM_FAILED);
	}
	/* The fs thread may hang in a file system, so nothing is waited for or freed. */
	_exit(r);
}
