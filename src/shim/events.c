/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/events.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "rpc/ttrpc.h"

#define SERVICE "containerd.services.events.ttrpc.v1.Events"
#define CALL_MS 5000
#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (5 * NS_PER_S)
#define TRIES_MAX 40 /* some three minutes: longer than a restart of containerd takes */

struct event {
	struct event *next;
	unsigned tries;
	size_t len;
	uint8_t bytes[]; /* a packed ForwardRequest */
};

struct events {
	struct loop *loop;
	char address[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char ns[128];
	struct ttrpc_client *client;
	struct event *first, **end;
	unsigned n;
	bool busy;
	uint64_t wait_ns;
	struct loop_timer timer;
	void (*idle)(void *ctx);
	void *ctx;
};

static void send_next(struct events *ev);

Ctrd__Timestamp events_time(uint64_t ns)
{
	Ctrd__Timestamp t = CTRD__TIMESTAMP__INIT;

	t.seconds = (int64_t)(ns / NS_PER_S);
	t.nanos = (int32_t)(ns % NS_PER_S);
	return t;
}

static void drop_first(struct events *ev)
{
	struct event *e = ev->first;

	ev->first = e->next;
	if (!ev->first)
		ev->end = &ev->first;
	ev->n--;
	free(e);
}

static void on_retry(struct loop_timer *t)
{
	send_next(container_of(t, struct events, timer));
}

static void disconnect(struct events *ev)
{
	ttrpc_client_free(take_ptr(ev->client));
	ev->busy = false;
}

static void try_again(struct events *ev, const char *why)
{
	disconnect(ev);
	if (ev->first && ++ev->first->tries >= TRIES_MAX) {
		log_error("an event was not delivered: %s", why);
		drop_first(ev);
	}
	ev->wait_ns = ev->wait_ns ? MIN_OF(ev->wait_ns * 2, RETRY_MAX_NS) : RETRY_FIRST_NS;
	loop_timer_set(ev->loop, &ev->timer, ev->wait_ns, on_retry);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct events *ev = ctx;

	/* A call under way has failed before this and has set the timer. */
	disconnect(ev);
}

static void on_sent(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	struct events *ev = ctx;

	ev->busy = false;
	if (err && err->code != EINVAL && err->code != EOPNOTSUPP) {
		try_again(ev, err->msg);
		return;
	}
	if (err)
		log_error("an event was refused: %s", err->msg);
	ev->wait_ns = 0;
	drop_first(ev);
	send_next(ev);
}

static int connect_to(struct events *ev, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, ev->address, sizeof(sa.sun_path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, "connect to '%s'", ev->address);
	return ttrpc_client_new(&ev->client, ev->loop, take_fd(&fd), on_closed, ev, err);
}

static int send_event(struct events *ev, struct err *err)
{
	Ctrd__ForwardRequest *req;
	int r = ev->client ? 0 : connect_to(ev, err);

	if (r < 0)
		return r;
	req = ctrd__forward_request__unpack(NULL, ev->first->len, ev->first->bytes);
	if (!req)
		return err_set(err, ENOMEM, "out of memory");
	r = ttrpc_call(
		ev->client, SERVICE, "Forward", &req->base, &ctrd__empty__descriptor, CALL_MS, on_sent, ev, NULL, err);
	ctrd__forward_request__free_unpacked(req, NULL);
	return r;
}

static void send_next(struct events *ev)
{
	struct err err = {0};

	if (ev->busy)
		return;
	loop_timer_cancel(&ev->timer);
	if (!ev->first) {
		if (ev->idle)
			ev->idle(ev->ctx);
		return;
	}
	ev->busy = true;
	if (send_event(ev, &err) < 0)
		try_again(ev, err.msg);
}

static void enqueue(struct events *ev, const char *topic, const char *type, const ProtobufCMessage *msg)
{
	Ctrd__ForwardRequest req = CTRD__FORWARD_REQUEST__INIT;
	Ctrd__Envelope envelope = CTRD__ENVELOPE__INIT;
	Ctrd__Any any = CTRD__ANY__INIT;
	Ctrd__Timestamp now = events_time(time_real_ns());
	size_t len = protobuf_c_message_get_packed_size(msg);
	auto_free uint8_t *bytes = malloc(len + 1);
	struct event *e;

	any.type_url = (char *)(uintptr_t)type;
	any.value.data = bytes;
	any.value.len = bytes ? protobuf_c_message_pack(msg, bytes) : 0;
	envelope.timestamp = &now;
	envelope.namespace_ = ev->ns;
	envelope.topic = (char *)(uintptr_t)topic;
	envelope.event = &any;
	req.envelope = &envelope;
	len = ctrd__forward_request__get_packed_size(&req);
	e = bytes ? malloc(sizeof(*e) + len) : NULL;
	if (!e) {
		log_error("event %s lost: out of memory", topic);
		return;
	}
	*e = (struct event){.len = len};
	(void)ctrd__forward_request__pack(&req, e->bytes);
	*ev->end = e;
	ev->end = &e->next;
	ev->n++;
	if (!ev->timer.loop)
		send_next(ev);
}

void events_publish(struct events *ev, const char *topic, const char *type, const ProtobufCMessage *msg)
{
	if (!*ev->address)
		return;
	if (ev->n == EVENTS_QUEUE)
		log_error("event %s lost: %u wait for containerd", topic, ev->n);
	else
		enqueue(ev, topic, type, msg);
}

bool events_idle(const struct events *ev)
{
	return !ev->first;
}

void events_on_idle(struct events *ev, void (*fn)(void *ctx), void *ctx)
{
	ev->idle = fn;
	ev->ctx = ctx;
}

int events_new(struct events **ret, struct loop *loop, const char *address, const char *ns, struct err *err)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return err_set(err, ENOMEM, "events: out of memory");
	ev->loop = loop;
	ev->end = &ev->first;
	if (str_has_prefix(address, "unix://"))
		address += strlen("unix://");
	if (!str_copy(ev->address, sizeof(ev->address), address) || !str_copy(ev->ns, sizeof(ev->ns), ns)) {
		events_free(ev);
		return err_set(err, ENAMETOOLONG, "the address '%.120s' or the namespace is too long", address);
	}
	*ret = ev;
	return 0;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	loop_timer_cancel(&ev->timer);
	disconnect(ev);
	while (ev->first)
		drop_first(ev);
	free(ev);
}
