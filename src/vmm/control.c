/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: lines in, with their descriptors, lines out. What requests do is in control_ops.c. */
#include "vmm/control.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/json.h"
#include "vmm/monitor.h"

#define REPLY_MAX 32768

static void fail(struct control *c, const struct err *why)
{
	loop_remove_fd(&c->src);
	if (c->monitor) {
		monitor_fail(c->monitor, why);
		return;
	}
	c->why = *why;
	loop_stop(c->loop, 0);
}

/* ---- out ---- */

void control_send(struct control *c, struct buf *b)
{
	struct err err = {0};
	ssize_t n;

	if (buf_append_str(b, "\n") < 0) {
		(void)err_set(&err, ENOBUFS, "control socket: an answer that is too long");
	} else {
		n = send(c->fd, buf_data(b), b->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == (ssize_t)b->len)
			return;
		/* EPIPE is found again, and told, by the reading side. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		(void)err_set(&err, EAGAIN, "control socket: the owner does not read");
	}
	fail(c, &err);
}

void control_reply(struct control *c, uint64_t id)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":true}", id) == 0)
		control_send(c, &b);
}

void control_reply_error(struct control *c, uint64_t id, const char *code, const char *text)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	char escaped[512];

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":false,\"code\":\"%s\",\"error\":\"%s\"}", id, code,
		    json_escape(escaped, sizeof(escaped), text)) == 0)
		control_send(c, &b);
}

void control_on_removed(void *ctx, const char *name)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);

	/* Names hold nothing to escape. */
	if (buf_printf(&b, "{\"event\":\"removed\",\"name\":\"%s\"}", name) == 0)
		control_send(ctx, &b);
}

void control_ended(struct control *c, const char *how, const char *why)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	char escaped[512];

	if (c->state != CONTROL_NONE && buf_printf(&b, "{\"event\":\"ended\",\"how\":\"%s\",\"why\":\"%s\"}", how,
						json_escape(escaped, sizeof(escaped), why)) == 0)
		control_send(c, &b);
}

/* ---- in ---- */

static void drop_fds(struct control *c)
{
	for (unsigned i = 0; i < c->n_fds; i++)
		close_fd(&c->fds[i]);
	c->n_fds = 0;
}

static void serve_line(struct control *c, char *line, size_t len)
{
	struct json_object obj;
	const struct json_member *op, *id;
	struct err err = {0};

	if (json_parse(line, len, &obj, &err) < 0) {
		control_reply_error(c, 0, "INVALID", err.msg);
		return;
	}
	id = json_find(&obj, "id");
	op = json_find(&obj, "op");
	if (!id || id->type != JSON_NUMBER || !op || op->type != JSON_STRING) {
		control_reply_error(c, id && id->type == JSON_NUMBER ? id->number : 0, "INVALID",
			"a request has a number \"id\" and a string \"op\"");
		return;
	}
	control_serve(c, id->number, op->string, &obj);
}

/* Bytes, and the descriptors that came with them; more of these than a request may have are an error. */
static ssize_t receive(struct control *c, struct err *err)
{
	union {
		struct cmsghdr align;
		uint8_t room[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
	} cmsgs;
	struct iovec iov = {c->line + c->len, sizeof(c->line) - c->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cmsgs, .msg_controllen = sizeof(cmsgs)};
	ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	bool many = n >= 0 && msg.msg_flags & MSG_CTRUNC;
	const unsigned before = c->n_fds;

	for (struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; h; h = CMSG_NXTHDR(&msg, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
			if (c->n_fds < CONTROL_FDS_MAX) {
				c->fds[c->n_fds++] = fd;
				continue;
			}
			close_fd(&fd);
			many = true;
		}
	}
	/* The kernel ends a read behind the bytes that had descriptors with them; earlier lines may be in front. */
	if (c->n_fds > before)
		c->fds_end = c->len + (size_t)n;
	if (many)
		return err_set(
			err, EMSGSIZE, "control socket: more than %d descriptors with a request", CONTROL_FDS_MAX);
	return n;
}

/* While a machine is being made for "start", what follows waits for it. */
static void serve_lines(struct control *c)
{
	struct err err = {0};
	char *start = c->line, *end;

	while (c->src.loop && c->state != CONTROL_STARTING && (end = memchr(start, '\n', c->len)) != NULL) {
		size_t used = (size_t)(end - start) + 1;
		unsigned later = used < c->fds_end ? c->n_fds : 0;

		c->n_fds -= later;
		serve_line(c, start, used - 1);
		if (later) {
			c->n_fds = later;
			c->fds_end -= used;
		} else {
			drop_fds(c);
			c->fds_end = 0;
		}
		start += used;
		c->len -= used;
	}
	memmove(c->line, start, c->len);
	if (c->src.loop && c->state != CONTROL_STARTING && c->len == sizeof(c->line)) {
		(void)err_set(&err, EMSGSIZE, "control socket: a line of more than %d bytes", CONTROL_LINE_MAX);
		fail(c, &err);
	}
}

static void on_readable(struct loop_fd *src, uint32_t events unused_arg)
{
	struct control *c = container_of(src, struct control, src);
	struct err err = {0};
	ssize_t n = receive(c, &err);

	if (err.code) {
		fail(c, &err);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_remove_fd(&c->src);
		if (c->monitor)
			vm_end(&c->monitor->vm, VM_POWEROFF, "the owner hung up");
		else
			loop_stop(c->loop, 0);
		return;
	}
	c->len += (size_t)n;
	serve_lines(c);
}

static void on_parked(struct loop_fd *src, uint32_t events unused_arg)
{
	struct control *c = container_of(src, struct control, parked_src);
	uint64_t n;
	ssize_t r = read(src->fd, &n, sizeof(n));

	(void)r;
	control_settle(c);
}

/* ---- life ---- */

int control_open(struct control *c, struct loop *loop, int fd, struct err *err)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	int r = fd_set_nonblock(fd, true, err);

	c->loop = loop;
	c->fd = fd;
	if (r == 0)
		r = loop_add_fd(loop, &c->src, fd, EPOLLIN, on_readable, err);
	if (r < 0)
		return err_wrap(err, "control socket");
	c->state = CONTROL_IDLE;
	if (buf_printf(&b, "{\"hello\":\"podvm-vmm\",\"api\":%d,\"version\":\"%s\"}", CONTROL_API, PODVM_VERSION) == 0)
		control_send(c, &b);
	return 0;
}

int control_idle(struct control *c, struct options *opts, struct err *err)
{
	int r;

	c->options = opts;
	r = loop_run(c->loop);
	c->options = NULL;
	if (r < 0)
		return err_set(err, -r, "event loop");
	if (c->why.code) {
		*err = c->why;
		return -err->code;
	}
	return c->state == CONTROL_STARTING;
}

int control_attach(struct control *c, struct monitor *m, bool paused, struct err *err)
{
	int r = loop_add_fd(c->loop, &c->parked_src, m->vm.parked_fd, EPOLLIN, on_parked, err);

	if (r < 0)
		return err_wrap(err, "control socket");
	c->monitor = m;
	c->paused = paused;
	if (c->state == CONTROL_STARTING)
		control_reply(c, c->start_id);
	c->state = CONTROL_RUNNING;
	serve_lines(c);
	return 0;
}
