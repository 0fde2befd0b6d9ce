/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both tools are Go programs that write progress to stdout or stderr and the reason of a failure as the last line of
 * stderr. What they print can hold text from a registry or an image: it is kept bounded and without control characters.
 */
#include "image/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/spawn.h"

#define TAIL_MAX 4096
#define LINE_MAX_LEN 512

extern char **environ;

struct output {
	const struct tool *t;
	int out, errs;
	struct buf all; /* with ret_out */
	bool cut;
	char line[LINE_MAX_LEN];
	size_t line_len;
	char tail[TAIL_MAX + 1]; /* of stderr */
	size_t tail_len;
};

static void keep_tail(struct output *o, const char *bytes, size_t n)
{
	size_t drop = o->tail_len + n > TAIL_MAX ? o->tail_len + n - TAIL_MAX : 0;

	/* n is never larger than TAIL_MAX: it is one read of at most that. */
	memmove(o->tail, o->tail + drop, o->tail_len - drop);
	o->tail_len -= drop;
	memcpy(o->tail + o->tail_len, bytes, n);
	o->tail_len += n;
	o->tail[o->tail_len] = '\0';
}

static void keep_lines(struct output *o, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (o->line_len < sizeof(o->line) - 1)
				o->line[o->line_len++] = (unsigned char)bytes[i] < ' ' ? '?' : bytes[i];
			continue;
		}
		o->line[o->line_len] = '\0';
		if (o->line_len && o->t->line)
			o->t->line(o->t->ctx, o->line);
		o->line_len = 0;
	}
}

static bool read_some(struct output *o, bool is_out)
{
	char chunk[TAIL_MAX];
	ssize_t n = read(is_out ? o->out : o->errs, chunk, sizeof(chunk));

	if (n <= 0)
		return n < 0 && errno == EINTR;
	if (!is_out)
		keep_tail(o, chunk, (size_t)n);
	else if (!o->t->ret_out)
		keep_lines(o, chunk, (size_t)n);
	else if (buf_append(&o->all, chunk, (size_t)n) < 0)
		o->cut = true;
	return true;
}

static void read_all(struct output *o)
{
	while (o->out >= 0 || o->errs >= 0) {
		struct pollfd p[2] = {{.fd = o->out, .events = POLLIN}, {.fd = o->errs, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (o->out >= 0 && p[0].revents && !read_some(o, true))
			close_fd(&o->out);
		if (o->errs >= 0 && p[1].revents && !read_some(o, false))
			close_fd(&o->errs);
	}
}

/* The last non-empty line in [text, end). */
static const char *last_line(const char *text, const char **end)
{
	const char *p = *end;

	while (p > text && (unsigned char)p[-1] <= ' ')
		p--;
	*end = p;
	while (p > text && p[-1] != '\n')
		p--;
	return p;
}

void tool_message(char *dst, size_t size, const char *text)
{
	const char *end = text + strlen(text), *p = last_line(text, &end), *msg;
	bool quoted = false;
	size_t n = 0;

	msg = memmem(p, (size_t)(end - p), "msg=\"", 5);
	if (msg) {
		p = msg + 5;
		quoted = true;
	}
	while (!quoted && p < end && ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x80))
		p++;
	for (; p < end && n + 1 < size; p++) {
		char c = *p;

		if (quoted && c == '"')
			break;
		if (quoted && c == '\\' && p + 1 < end) {
			c = *++p;
			if (c == 'n' || c == 't' || c == 'r')
				c = ' ';
		}
		dst[n++] = (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
	}
	dst[n] = '\0';
}

static int judge(const struct output *o, int code, struct err *err)
{
	const char *tool = o->t->argv[0];
	char msg[360];

	if (code == 0)
		return o->cut ? err_set(err, EFBIG, "%s wrote more than %zu bytes", tool, o->t->max_out) : 0;
	if (code < 0)
		return err_set(err, -code, "%s: wait for its end", tool);
	if (code >= 128)
		return err_set(err, EINTR, "%s was ended by signal %d", tool, code - 128);
	tool_message(msg, sizeof(msg), o->tail);
	if (strstr(o->tail, "no space left on device"))
		return err_set(err, ENOSPC, "the disk is full");
	return err_set(err, EIO, "%s: %s", tool, msg[0] ? msg : "failed without a message");
}

int tool_run(const struct tool *t, struct err *err)
{
	struct spawn sp = {.file = t->argv[0],
		.argv = t->argv,
		.envp = (const char *const *)(uintptr_t)environ,
		.search_path = true,
		.clone_flags = t->clone_flags,
		.no_new_privs = true,
		.cwd = t->cwd};
	struct output *o = calloc(1, sizeof(*o));
	int outp[2] = {-1, -1}, errp[2] = {-1, -1}, pidfd = -1, r;
	pid_t pid;

	if (!o)
		return err_set(err, ENOMEM, "run %s: out of memory", t->argv[0]);
	*o = (struct output){.t = t, .out = -1, .errs = -1, .all = BUF_INIT(t->max_out + 1)};
	if (pipe2(outp, O_CLOEXEC) < 0 || pipe2(errp, O_CLOEXEC) < 0) {
		r = err_errno(err, "run %s: pipe", t->argv[0]);
		goto out;
	}
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = outp[1], .child = 1};
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = errp[1], .child = 2};
	sp.fds[sp.n_fds++] = (struct spawn_fd){.parent = t->lock_fd, .child = 3};
	r = spawn_start(&sp, &pid, &pidfd, err);
	close_fd(&outp[1]);
	close_fd(&errp[1]);
	if (r == -ENOENT)
		(void)err_set(err, ENOENT, "%s is not installed: apt-get install skopeo umoci", t->argv[0]);
	if (r < 0)
		goto out;
	o->out = outp[0];
	o->errs = errp[0];
	outp[0] = errp[0] = -1;
	read_all(o);
	r = judge(o, spawn_wait(pidfd), err);
	close_fd(&pidfd);
	if (r == 0 && t->ret_out) {
		if (buf_append(&o->all, "", 1) < 0)
			r = err_set(err, EFBIG, "%s wrote more than %zu bytes", t->argv[0], t->max_out);
		else
			*t->ret_out = (char *)take_ptr(o->all.mem);
	}
out:
	close_fd(&outp[0]);
	close_fd(&outp[1]);
	close_fd(&errp[0]);
	close_fd(&errp[1]);
	close_fd(&o->out);
	close_fd(&o->errs);
	buf_fini(&o->all);
	free(o);
	return r;
}
