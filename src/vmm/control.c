/* SPDX-License-Identifier: Apache-2.0 */
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
	monitor_fail(c->monitor, why);
}

/* Sends a line of `b`, all of it. */
static void send_line(struct control *c, struct buf *b)
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

static void reply(struct control *c, uint64_t id)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":true}", id) == 0)
		send_line(c, &b);
}

static void reply_error(struct control *c, uint64_t id, const char *code, const char *text)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	char escaped[512];

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":false,\"code\":\"%s\",\"error\":\"%s\"}", id, code,
		    json_escape(escaped, sizeof(escaped), text)) == 0)
		send_line(c, &b);
}

/* ---- requests ---- */

static void answer_pause(struct control *c)
{
	if (!c->pausing || !vm_is_parked(&c->monitor->vm))
		return;
	c->pausing = false;
	reply(c, c->pause_id);
}

static void on_parked(struct loop_fd *src, uint32_t events unused_arg)
{
	struct control *c = container_of(src, struct control, parked_src);
	uint64_t n;
	ssize_t r = read(src->fd, &n, sizeof(n));

	(void)r;
	answer_pause(c);
}

static void do_pause(struct control *c, uint64_t id)
{
	if (c->pausing) {
		reply_error(c, id, "BUSY", "another pause is under way");
		return;
	}
	c->pausing = true;
	c->pause_id = id;
	vm_pause(&c->monitor->vm);
	answer_pause(c);
}

static void do_resume(struct control *c, uint64_t id)
{
	if (c->pausing)
		reply_error(c, c->pause_id, "CANCELLED", "resumed before all vCPUs stood");
	c->pausing = false;
	vm_resume(&c->monitor->vm);
	reply(c, id);
}

static void do_stop(struct control *c, uint64_t id)
{
	reply(c, id);
	monitor_stop(c->monitor);
}

static void do_counters(struct control *c, uint64_t id)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":true,", id) == 0 && counters_put(c->monitor, &b) == 0 &&
		buf_append_str(&b, "}") == 0)
		send_line(c, &b);
	else
		reply_error(c, id, "FAILED", "the counters do not fit");
}

static void do_unsupported(struct control *c, uint64_t id)
{
	reply_error(c, id, "UNSUPPORTED", "not part of this version");
}

static const struct {
	const char *name;
	void (*fn)(struct control *c, uint64_t id);
} ops[] = {
	{"pause", do_pause},
	{"resume", do_resume},
	{"start", do_resume},
	{"counters", do_counters},
	{"stop", do_stop},
	{"configure", do_unsupported},
	{"add-device", do_unsupported},
	{"remove-device", do_unsupported},
	{"resize", do_unsupported},
};

static void serve_line(struct control *c, char *line, size_t len)
{
	struct json_object obj;
	const struct json_member *op, *id;
	struct err err = {0};

	if (json_parse(line, len, &obj, &err) < 0) {
		reply_error(c, 0, "INVALID", err.msg);
		return;
	}
	id = json_find(&obj, "id");
	op = json_find(&obj, "op");
	if (!id || id->type != JSON_NUMBER || !op || op->type != JSON_STRING) {
		reply_error(c, id && id->type == JSON_NUMBER ? id->number : 0, "INVALID",
			"a request has a number \"id\" and a string \"op\"");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (str_eq(op->string, ops[i].name)) {
			/* None of these takes anything else. */
			if (obj.n > 2 && ops[i].fn != do_unsupported)
				reply_error(c, id->number, "INVALID", "a member that this request does not know");
			else
				ops[i].fn(c, id->number);
			return;
		}
	reply_error(c, id->number, "UNKNOWN", "no such request");
}

/* ---- the socket ---- */

static void on_readable(struct loop_fd *src, uint32_t events unused_arg)
{
	struct control *c = container_of(src, struct control, src);
	struct err err = {0};
	ssize_t n = read(c->fd, c->line + c->len, sizeof(c->line) - c->len);
	char *start = c->line, *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_remove_fd(&c->src);
		vm_end(&c->monitor->vm, VM_POWEROFF, "the owner hung up");
		return;
	}
	c->len += (size_t)n;
	while (c->src.loop && (end = memchr(start, '\n', c->len)) != NULL) {
		size_t used = (size_t)(end - start) + 1;

		serve_line(c, start, used - 1);
		start += used;
		c->len -= used;
	}
	memmove(c->line, start, c->len);
	if (c->src.loop && c->len == sizeof(c->line)) {
		(void)err_set(&err, EMSGSIZE, "control socket: a line of more than %d bytes", CONTROL_LINE_MAX);
		fail(c, &err);
	}
}

int control_start(struct control *c, struct monitor *m, struct loop *loop, int fd, struct err *err)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	int r = fd_set_nonblock(fd, true, err);

	c->monitor = m;
	c->fd = fd;
	if (r == 0)
		r = loop_add_fd(loop, &c->src, fd, EPOLLIN, on_readable, err);
	if (r == 0)
		r = loop_add_fd(loop, &c->parked_src, m->vm.parked_fd, EPOLLIN, on_parked, err);
	if (r < 0)
		return err_wrap(err, "control socket");
	if (buf_printf(&b, "{\"hello\":\"podvm-vmm\",\"api\":%d,\"version\":\"%s\"}", CONTROL_API, PODVM_VERSION) == 0)
		send_line(c, &b);
	return 0;
}

void control_ended(struct control *c, const char *how, const char *why)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);
	char escaped[512];

	if (c->monitor && buf_printf(&b, "{\"event\":\"ended\",\"how\":\"%s\",\"why\":\"%s\"}", how,
				  json_escape(escaped, sizeof(escaped), why)) == 0)
		send_line(c, &b);
}
