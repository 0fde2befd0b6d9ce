/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard streams of a container: one vsock connection each, attached between create and start, or to a container that
 * was started with its creation: its output waits in the pipes, so no byte is missed. Output is cut into lines for the
 * timeline; with a terminal the bytes also go out raw. A line longer than LINE_MAX_LEN leaves in parts. Reading stops while the
 * stream is held (pod_hold_output), which holds the guest back.
 *
 * A stream that is held is not in the loop at all, because epoll would report its hang-up over and over.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/pod_impl.h"

#define INPUT_MAX (64u * 1024)
#define READ_TURNS 4 /* reads per turn of the loop, so that one container cannot starve the rest */

static void emit(struct output *o, const char *text, size_t n, bool partial)
{
	struct pod *pod = o->c->pod;
	char source[80];
	const char *stream = o->stream == POD_STDERR ? "stderr" : "stdout";

	(void)snprintf(source, sizeof(source), "container/%.63s", o->c->spec->name);
	if (partial)
		podlog_write_part(pod->sb.log, source, stream, text, n);
	else
		podlog_write(pod->sb.log, source, stream, text, n);
	if (pod->opts.output && !o->c->spec->tty)
		pod->opts.output(pod->opts.ctx, o->c->spec, o->stream, text, n);
	o->part = partial;
}

static bool held(const struct output *o)
{
	return o->c->pod->held[o->stream - POD_STDOUT];
}

/* Returns how many were taken: fewer than n when the stream is held, unless `all` of them have to go. */
static size_t take_bytes(struct output *o, const char *bytes, size_t n, bool all)
{
	struct pod *pod = o->c->pod;
	const char *start = bytes;

	if (pod->opts.output && o->c->spec->tty) {
		pod->opts.output(pod->opts.ctx, o->c->spec, o->stream, bytes, n);
		all = true;
	}
	while (n && (all || !held(o))) {
		const char *nl = memchr(bytes, '\n', n);
		size_t want = nl ? (size_t)(nl - bytes) : n, room = LINE_MAX_LEN - o->n, some = MIN_OF(want, room);

		memcpy(o->line + o->n, bytes, some);
		o->n += some;
		bytes += some;
		n -= some;
		if (some == want && nl) {
			emit(o, o->line, o->n, false);
			bytes++;
			n--;
			o->n = 0;
		} else if (o->n == LINE_MAX_LEN) {
			emit(o, o->line, o->n, true);
			o->n = 0;
		}
	}
	return (size_t)(bytes - start);
}

/* What was read and not taken yet. */
static void take_rest(struct output *o, bool all)
{
	auto_free char *rest = take_ptr(o->rest);
	size_t n = rest ? take_bytes(o, rest, o->rest_len, all) : 0;

	o->rest_len -= n;
	if (!rest || !o->rest_len)
		return;
	memmove(rest, rest + n, o->rest_len);
	o->rest = take_ptr(rest);
}

static void finish(struct output *o)
{
	if (!o->open)
		return;
	take_rest(o, true);
	if (o->n || o->part)
		emit(o, o->line ? o->line : "", o->n, false);
	o->n = 0;
	o->part = false;
	hvsock_dial_cancel(&o->dial);
	loop_remove_fd(&o->src);
	close_fd(&o->fd);
	free(take_ptr(o->line));
	o->open = false;
}

static void on_output(struct loop_fd *src, uint32_t events)
{
	struct output *o = container_of(src, struct output, src);
	static char bytes[65536];

	for (int i = 0; i < READ_TURNS && !held(o); i++) {
		ssize_t n = recv(o->fd, bytes, sizeof(bytes), 0);
		size_t taken;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			finish(o);
			container_drained(o->c);
			return;
		}
		if (!o->line)
			o->line = malloc(LINE_MAX_LEN);
		if (!o->line)
			return; /* level triggered: tried again at the next turn */
		o->c->output_came = true;
		taken = take_bytes(o, bytes, (size_t)n, false);
		o->rest_len = (size_t)n - taken;
		if (!o->rest_len)
			continue;
		o->rest = malloc(o->rest_len);
		if (o->rest)
			memcpy(o->rest, bytes + taken, o->rest_len);
		else
			(void)take_bytes(o, bytes + taken, o->rest_len, true);
	}
	if (held(o))
		loop_remove_fd(src);
}

static void broken(struct output *o, const struct err *err)
{
	sandbox_note(&o->c->pod->sb, "container %s: its output is lost: %s", o->c->spec->name, err->msg);
	finish(o);
	container_drained(o->c);
}

void output_hold(struct output *o)
{
	struct err err = {0};

	if (!o->open || o->fd < 0)
		return;
	if (!held(o))
		take_rest(o, false);
	if (held(o))
		loop_remove_fd(&o->src);
	else if (!o->src.loop && loop_add_fd(o->c->pod->loop, &o->src, o->fd, EPOLLIN, on_output, &err) < 0)
		broken(o, &err);
}

static void dial_ended(struct pod_container *c, const struct err *err)
{
	if (err) {
		container_failed(c, err);
		return;
	}
	if (--c->dials == 0)
		container_attached(c);
}

static void on_output_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct output *o = container_of(d, struct output, dial);
	struct err add = {0};

	o->fd = fd;
	if (!err && !held(o) && loop_add_fd(o->c->pod->loop, &o->src, fd, EPOLLIN, on_output, &add) < 0)
		err = &add;
	dial_ended(o->c, err);
}

static void on_input(struct loop_fd *src, uint32_t events)
{
	struct input *in = container_of(src, struct input, src);
	bool failed = false;

	while (in->pending.len) {
		ssize_t n = send(in->fd, buf_data(&in->pending), in->pending.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			failed = true;
			break;
		}
		buf_consume(&in->pending, (size_t)n);
	}
	if (in->pending.len && !failed) {
		loop_mod_fd(src, EPOLLOUT);
		return;
	}
	loop_mod_fd(src, 0);
	buf_trim(&in->pending);
	if (failed || in->closing || (events & (EPOLLHUP | EPOLLERR))) {
		loop_remove_fd(src);
		close_fd(&in->fd);
		in->open = false;
	}
}

static void on_input_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct input *in = container_of(d, struct input, dial);
	struct err add = {0};

	in->fd = fd;
	if (!err && loop_add_fd(in->c->pod->loop, &in->src, fd, in->pending.len ? EPOLLOUT : 0, on_input, &add) < 0)
		err = &add;
	if (!err && in->closing && !in->pending.len)
		on_input(&in->src, 0);
	dial_ended(in->c, err);
}

static int dial(struct pod_container *c, struct hvsock_dial *d, unsigned fd, struct err *err)
{
	int r = sandbox_stream(&c->pod->sb, d, c->id, "", fd, err);

	if (r == 0)
		c->dials++;
	return r;
}

int output_attach(struct pod_container *c, struct err *err)
{
	unsigned n_out = c->spec->tty ? 1 : 2;
	int r = 0;

	c->dials = 0;
	for (unsigned i = 0; r == 0 && i < n_out; i++) {
		struct output *o = &c->out[i];

		*o = (struct output){.c = c, .stream = i ? POD_STDERR : POD_STDOUT, .fd = -1, .open = true};
		o->dial.done = on_output_dialled;
		r = dial(c, &o->dial, i + 1, err);
	}
	if (r == 0 && c->spec->stdin_open) {
		buf_fini(&c->in.pending);
		c->in = (struct input){
			.c = c, .fd = -1, .open = true, .closing = c->in.closing, .pending = BUF_INIT(INPUT_MAX)};
		c->in.dial.done = on_input_dialled;
		r = dial(c, &c->in.dial, 0, err);
	}
	return r;
}

void output_close(struct pod_container *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->out); i++)
		finish(&c->out[i]);
	if (c->in.open) {
		hvsock_dial_cancel(&c->in.dial);
		loop_remove_fd(&c->in.src);
		close_fd(&c->in.fd);
		buf_fini(&c->in.pending);
		c->in.open = false;
	}
}

bool output_drained(const struct pod_container *c)
{
	return !c->out[0].open && !c->out[1].open;
}

size_t input_write(struct pod_container *c, const char *bytes, size_t n)
{
	struct input *in = &c->in;

	if (!in->open || in->closing)
		return 0;
	n = MIN_OF(n, in->pending.limit - in->pending.len);
	if (buf_append(&in->pending, bytes, n) < 0)
		return 0;
	if (in->src.loop)
		loop_mod_fd(&in->src, EPOLLOUT);
	return n;
}

void input_close(struct pod_container *c)
{
	c->in.closing = true;
	if (c->in.open && c->in.src.loop && !c->in.pending.len)
		on_input(&c->in.src, 0);
}
