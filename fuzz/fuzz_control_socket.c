/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile owner at the control socket of a machine that does not run yet: lines in pieces, with descriptors beside them or too many, up to
 * "start" or the end. The input is a list of pieces: a byte whose low four bits say how many descriptors come with the piece, a byte
 * with its length, and its bytes.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/control.h"
#include "vmm/json.h"
#include "vmm/options.h"

#define PIECES_MAX 128 /* what a socket holds without a reader */
#define FDS_MAX 15
#define ANSWERS_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool send_piece(int sock, int null, const uint8_t *bytes, size_t n, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} cmsgs = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *h;

		msg.msg_control = &cmsgs;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (unsigned i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(h) + i * sizeof(int), &null, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

/* Answers are whole lines of JSON, each for a request, and at most one is an event. */
static void check_answers(int sock)
{
	char *text = malloc(ANSWERS_MAX), *line = text, *end;
	size_t n = 0;
	ssize_t r;

	assert(text);
	while (n < ANSWERS_MAX && (r = recv(sock, text + n, ANSWERS_MAX - n, MSG_DONTWAIT)) > 0)
		n += (size_t)r;
	while ((end = memchr(line, '\n', n)) != NULL) {
		struct json_object obj;
		struct err err = {0};

		n -= (size_t)(end - line) + 1;
		assert(json_parse(line, (size_t)(end - line), &obj, &err) == 0);
		assert(json_find(&obj, "hello") || json_find(&obj, "ok"));
		line = end + 1;
	}
	free(text);
}

/* Descriptors that options have taken are the program's until its end: it has 8 for a piece at most. */
static void close_nulls(void)
{
	struct stat null, st;

	assert(stat("/dev/null", &null) == 0);
	for (int fd = 3; fd < 3 + 2 + PIECES_MAX * CONTROL_FDS_MAX; fd++)
		if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev)
			(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char none[] = "";
	struct options o = {.cmdline = none, .fs_tag = none, .vcpus = 1, .memory_mib = 256, .kernel = -1, .initrd = -1};
	struct control *c = calloc(1, sizeof(*c));
	struct loop *loop = NULL;
	struct err err = {0};
	int sock[2], null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	assert(c && null >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) == 0);
	assert(loop_new(&loop, &err) == 0 && control_open(c, loop, sock[0], &err) == 0);
	for (unsigned i = 0; i < PIECES_MAX && size >= 2; i++) {
		unsigned n_fds = data[0] & 15;
		size_t n = MIN_OF((size_t)data[1], size - 2);

		data += 2;
		size -= 2;
		if (n && !send_piece(sock[1], null, data, n, n_fds))
			break;
		data += n;
		size -= n;
	}
	assert(shutdown(sock[1], SHUT_WR) == 0);
	r = control_idle(c, &o, &err);
	assert(r >= 0 || (err.code == -r && *err.msg));
	assert(c->n_fds <= CONTROL_FDS_MAX && c->len <= sizeof(c->line));
	assert((r == 1) == (c->state == CONTROL_STARTING));
	check_answers(sock[1]);
	loop_remove_fd(&c->src);
	loop_free(loop);
	if (o.cmdline != none)
		free((void *)(uintptr_t)o.cmdline);
	if (o.fs_tag != none)
		free((void *)(uintptr_t)o.fs_tag);
	close_fd(&sock[0]);
	close_fd(&sock[1]);
	close_nulls();
	free(c);
	return 0;
}
