/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/fs_thread.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/fs.h"
#include "virtio/vsock.h"
#include "vmm/serve.h"

#define STACK_BYTES (256u * 1024u) /* only what is used is ever backed by memory */
#define REQUEST_QUEUES 1
#define WORKERS 2
#define FDS_OTHER 128 /* sockets, kicks, loops */

static void on_ended(void *ctx, const struct err *why)
{
	struct fs_thread *t = ctx;

	t->why = *why;
}

static int serve(struct fs_thread *t, struct loop *loop, struct err *err)
{
	const struct fs_options fo = {
		.tag = t->opts->fs_tag,
		.root_fd = t->root_fd,
		.proc_fd = t->proc_fd,
		.n_request_queues = REQUEST_QUEUES,
		.fds_max = t->fds_max,
		.workers = WORKERS,
	};
	const uint64_t one = 1;
	struct serve s = {0};
	struct fs *fs = NULL;
	int r = fs_new(&fs, loop, &fo, err);

	if (r < 0)
		return r;
	t->why.code = -1;
	if (t->attach) {
		r = t->attach(t->ctx, fs_dev(fs), err);
		if (r == 0)
			(void)!write(t->attached_fd, &one, sizeof(one));
	} else {
		r = serve_start(&s, loop, fs_dev(fs), t->opts->fs_sock, on_ended, t, err);
	}
	while (r == 0 && t->why.code < 0)
		r = loop_turn(loop, -1);
	serve_stop(&s);
	fs_free(fs);
	return r < 0 && !err->code ? err_set(err, -r, "fs: event loop") : r;
}

static void *run(void *arg)
{
	struct fs_thread *t = arg;
	const uint64_t one = 1;
	struct loop *loop = NULL;
	struct err err = {0};
	bool landlock = true;
	int r = loop_new(&loop, &err);

	(void)prctl(PR_SET_NAME, "fs");
	if (r == 0 && !t->opts->no_jail)
		r = jail_thread(t->attach ? JAIL_VM_FS : JAIL_FS, t->opts->seccomp, &landlock, &err);
	if (r == 0 && !landlock)
		log_debug("no Landlock for files on this kernel, going on without");
	if (r == 0)
		r = serve(t, loop, &err);
	if (r < 0)
		t->why = err;
	loop_free(loop);
	(void)!write(t->end_fd, &one, sizeof(one));
	if (t->attach)
		(void)!write(t->attached_fd, &one, sizeof(one));
	return NULL;
}

static int spawn_thread(struct fs_thread *t)
{
	pthread_attr_t attr;
	pthread_t id;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return r;
	r = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (r == 0)
		r = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (r == 0)
		r = pthread_create(&id, &attr, run, t);
	(void)pthread_attr_destroy(&attr);
	return r;
}

static int wait_attached(struct fs_thread *t, struct err *err)
{
	uint64_t n;

	if (read(t->attached_fd, &n, sizeof(n)) != sizeof(n))
		return err_errno(err, "fs: wait for its thread");
	if (t->why.code <= 0)
		return 0;
	*err = t->why;
	return -err->code;
}

int fs_thread_start(struct fs_thread *t, const struct options *opts, int root_fd, int proc_fd, struct err *err)
{
	const rlim_t others = VSOCK_CONNS_MAX + FDS_OTHER;
	struct rlimit rl = {0};
	int r = 0;

	t->opts = opts;
	t->root_fd = root_fd;
	t->proc_fd = proc_fd;
	t->end_fd = t->attached_fd = -1;
	t->why = (struct err){0};
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		r = err_errno(err, "fs: limit of descriptors");
	else if (rl.rlim_cur < 2 * others)
		r = err_set(err, EMFILE, "fs: %llu descriptors are too few, %llu are needed",
			(unsigned long long)rl.rlim_cur, (unsigned long long)(2 * others));
	if (r == 0) {
		t->fds_max = (unsigned)MIN_OF(rl.rlim_cur - others, (rlim_t)1 << 16);
		t->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		t->attached_fd = t->attach ? eventfd(0, EFD_CLOEXEC) : -1;
		r = t->end_fd < 0 || (t->attach && t->attached_fd < 0) ? err_errno(err, "fs: eventfd") : 0;
	}
	if (r == 0) {
		r = spawn_thread(t);
		if (r == 0)
			return t->attach ? wait_attached(t, err) : 0;
		r = err_set(err, r, "fs: start a thread: %s", strerror(r));
	}
	close_fd(&t->end_fd);
	close_fd(&t->attached_fd);
	close_fd(&root_fd);
	close_fd(&proc_fd);
	return r;
}
