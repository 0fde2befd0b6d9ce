/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one thing that podvm-vmm may ask for. The port is the guest's choice, so it names a socket below a path that the pod owns,
 * and nothing else: a number is appended, nothing is looked up. connect(2) to a unix socket answers at once or fails;
 * a listener whose backlog is full is a refusal, as in TCP.
 */
#include "pod/vm_broker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "vmm/broker.h"

#define DIALS_PER_EVENT 16

static void give_up(struct vm_broker *b, const struct err *why)
{
	loop_remove_fd(&b->src);
	close_fd(&b->fd);
	b->failed(b->ctx, why);
}

/* A connected socket, or -1. */
static int connect_port(const char *path, uint32_t port)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s_%" PRIu32, path, port);
	auto_close int fd = -1;

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return take_fd(&fd);
}

static int answer(struct vm_broker *b, const struct broker_dial *dial, struct err *err)
{
	auto_close int fd = connect_port(b->path, dial->port);
	struct broker_answer a = {.token = dial->token, .ok = fd >= 0};

	return fd_send(b->fd, &a, sizeof(a), &fd, fd >= 0, err);
}

/* 1: one dial was answered. 0: nothing there, or the end. */
static int serve_one(struct vm_broker *b, struct err *err)
{
	union {
		struct broker_dial dial;
		char longer[2 * sizeof(struct broker_dial)]; /* a packet that is too long must show */
	} in;
	int fds[FD_PASS_MAX], r;
	unsigned n_fds = 0;
	size_t n = 0;

	r = fd_recv(b->fd, &in, sizeof(in), &n, fds, &n_fds, err);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	if (n == 0) {
		/* The process ended; its pidfd tells more than we could. */
		loop_remove_fd(&b->src);
		close_fd(&b->fd);
		return 0;
	}
	if (n != sizeof(in.dial) || n_fds)
		return err_set(err, EPROTO, "broker: a request of %zu bytes with %u descriptors", n, n_fds);
	r = answer(b, &in.dial, err);
	return r < 0 ? err_wrap(err, "broker: answer") : 1;
}

static void on_readable(struct loop_fd *src, uint32_t events)
{
	struct vm_broker *b = container_of(src, struct vm_broker, src);
	struct err e = {0};
	int r = 1;

	for (unsigned i = 0; i < DIALS_PER_EVENT && r > 0; i++)
		r = serve_one(b, &e);
	if (r < 0)
		give_up(b, &e);
}

int vm_broker_init(struct vm_broker *b, struct loop *loop, int fd, const char *path,
	void (*failed)(void *ctx, const struct err *why), void *ctx, struct err *err)
{
	int r;

	b->fd = fd;
	b->path = path;
	b->failed = failed;
	b->ctx = ctx;
	r = fd_set_nonblock(fd, true, err);
	if (r == 0)
		r = loop_add_fd(loop, &b->src, fd, EPOLLIN, on_readable, err);
	if (r < 0)
		close_fd(&b->fd);
	return r;
}

void vm_broker_fini(struct vm_broker *b)
{
	if (!b->failed)
		return;
	loop_remove_fd(&b->src);
	close_fd(&b->fd);
}
