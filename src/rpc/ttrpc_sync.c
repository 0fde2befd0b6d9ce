/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call, blocking, for commands that ask one thing and end. The socket may be blocking or not: every send and
 * receive is preceded by poll(2) with what is left of the deadline. Nothing beyond the end of a frame is read, so
 * another call on the same socket finds the stream at the start of a frame; after an error the socket is good for
 * nothing but close.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/ttrpc_impl.h"

struct wire {
	int sock;
	const char *method;
	unsigned timeout_ms;
	uint64_t deadline_ns; /* 0: none */
	uint32_t id;
};

/* Ids grow over all sockets of the process, which keeps them growing on each. */
static uint32_t next_id = 1;

static int wait_for(const struct wire *w, short events, struct err *err)
{
	struct pollfd p = {.fd = w->sock, .events = events};
	int r;

	do {
		uint64_t now = time_mono_ns();
		int ms = -1;

		if (w->deadline_ns && now >= w->deadline_ns)
			return err_set(err, ETIMEDOUT, "%s: no answer within %u ms", w->method, w->timeout_ms);
		if (w->deadline_ns)
			ms = (int)MIN_OF((w->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS, UINT64_C(3600000));
		r = poll(&p, 1, ms);
	} while (r == 0 || (r < 0 && errno == EINTR));
	return r < 0 ? err_errno(err, "%s: poll", w->method) : 0;
}

static int send_all(const struct wire *w, struct buf *out, struct err *err)
{
	while (out->len) {
		int r = wait_for(w, POLLOUT, err);
		ssize_t n;

		if (r < 0)
			return r;
		n = send(w->sock, buf_data(out), out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_errno(err, "%s: send", w->method);
		if (n > 0)
			buf_consume(out, (size_t)n);
	}
	return 0;
}

static int receive_some(const struct wire *w, struct ttrpc_input *in, struct err *err)
{
	size_t room;
	void *p = ttrpc_input_room(in, true, &room);
	ssize_t n;
	int r;

	if (!p)
		return err_set(err, ENOMEM, "%s: out of memory", w->method);
	r = wait_for(w, POLLIN, err);
	if (r < 0)
		return r;
	n = recv(w->sock, p, room, MSG_DONTWAIT);
	if (n == 0)
		return err_set(err, ECONNRESET, "%s: the connection was closed", w->method);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : err_errno(err, "%s: receive", w->method);
	ttrpc_input_added(in, (size_t)n);
	return 0;
}

/* Waits for the answer; *ret_data points into `in`. */
static int receive_answer(const struct wire *w, struct ttrpc_input *in, struct ttrpc_slice *ret_data, struct err *err)
{
	const uint8_t *data = NULL;
	struct ttrpc_frame f;

	for (;;) {
		int r = ttrpc_input_next(in, &f, &data);

		if (r < 0)
			return err_set(err, EPROTO, "%s: the peer does not speak ttrpc", w->method);
		if (r == TTRPC_INPUT_MORE) {
			r = receive_some(w, in, err);
			if (r < 0)
				return r;
			continue;
		}
		if (f.stream != w->id)
			continue;
		if (r == TTRPC_INPUT_TOO_LONG)
			return err_set(err, ENOBUFS, "%s: the answer of %u bytes is larger than %u", w->method, f.len,
				TTRPC_DATA_MAX);
		if (f.type == TTRPC_DATA)
			return err_set(err, EPROTO, "%s: the answer is a stream", w->method);
		if (f.type != TTRPC_RESPONSE)
			continue;
		*ret_data = (struct ttrpc_slice){data, f.len};
		return 0;
	}
}

int ttrpc_call_sync(int sock, const char *service, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ProtobufCMessage **ret, struct err *err)
{
	struct ttrpc_request_head head = {.service = {(const uint8_t *)service, strlen(service)},
		.method = {(const uint8_t *)method, strlen(method)},
		.timeout_ns = (int64_t)(timeout_ms * NS_PER_MS)};
	struct wire w = {.sock = sock,
		.method = method,
		.timeout_ms = timeout_ms,
		.id = __atomic_fetch_add(&next_id, 2, __ATOMIC_RELAXED)};
	auto_buf struct buf out = BUF_INIT(TTRPC_OUT_MAX);
	struct ttrpc_input in = TTRPC_INPUT_INIT;
	struct ttrpc_slice data;
	int r = ttrpc_request_append(&out, w.id, &head, req);

	if (r == -EMSGSIZE)
		return err_set(err, EMSGSIZE, "%s: the request is larger than %u bytes", method, TTRPC_DATA_MAX);
	if (r < 0)
		return err_set(err, -r, "%s: %s", method, strerrordesc_np(-r));
	if (timeout_ms)
		w.deadline_ns = time_mono_ns() + timeout_ms * NS_PER_MS;
	r = send_all(&w, &out, err);
	buf_fini(&out);
	if (r == 0)
		r = receive_answer(&w, &in, &data, err);
	if (r == 0)
		r = ttrpc_response_read(ret, method, reply_type, &data, err);
	ttrpc_input_fini(&in);
	return r;
}
