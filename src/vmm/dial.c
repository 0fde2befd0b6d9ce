/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "virtio/vsock.h"
#include "vmm/broker.h"

static void end(struct dial *d, const struct err *why)
{
	loop_remove_fd(&d->src);
	d->ended(d->ctx, why);
}

/* Judges one packet; takes the descriptors of a good one. */
static int take_answer(
	struct dial *d, const struct broker_answer *a, size_t n, int *fds, unsigned n_fds, struct err *err)
{
	if (n != sizeof(*a) || a->ok > 1 || n_fds != a->ok)
		return err_set(err, EPROTO, "broker: an answer of %zu bytes with %u descriptors", n, n_fds);
	vsock_dialed(d->vs, a->token, a->ok ? take_fd(&fds[0]) : -1);
	return 0;
}

static void on_broker(struct loop_fd *src, uint32_t events unused_arg)
{
	struct dial *d = container_of(src, struct dial, src);
	struct broker_answer a;
	struct err err = {0};
	int fds[FD_PASS_MAX], r;
	unsigned n_fds = 0;
	size_t n = 0;

	r = fd_recv(d->fd, &a, sizeof(a), &n, fds, &n_fds, &err);
	if (r == -EAGAIN)
		return;
	if (r == 0 && n > 0)
		r = take_answer(d, &a, n, fds, n_fds, &err);
	else if (r == 0)
		r = 1; /* the parent hung up; err says nothing */
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	if (r != 0)
		end(d, &err);
}

int dial_start(struct dial *d, struct loop *loop, int fd, void (*ended)(void *ctx, const struct err *why), void *ctx,
	struct err *err)
{
	auto_close int owned = fd;
	int r;

	*d = (struct dial){.fd = -1, .ended = ended, .ctx = ctx};
	r = fd_set_nonblock(owned, true, err);
	if (r == 0)
		r = loop_add_fd(loop, &d->src, owned, EPOLLIN, on_broker, err);
	if (r < 0)
		return err_wrap(err, "broker");
	d->fd = take_fd(&owned);
	return 0;
}

void dial_stop(struct dial *d)
{
	loop_remove_fd(&d->src);
	close_fd(&d->fd);
}

void dial_request(void *ctx, uint32_t port, uint64_t token)
{
	struct dial *d = ctx;
	const struct broker_dial msg = {.token = token, .port = port};

	/* A full socket means a parent that is far behind: the guest may try again. */
	if (d->fd < 0 || send(d->fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(msg))
		vsock_dialed(d->vs, token, -1);
}
