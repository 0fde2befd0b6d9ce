/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring that never blocks who adds: old events are overwritten, and a poller sees the gap in the numbers. A poller that
 * asks for events beyond the newest (after a restart of its own) waits for the next one.
 */
#include "agent/event.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"

void events_init(struct events *ev, struct loop *loop)
{
	memset(ev, 0, sizeof(*ev));
	ev->loop = loop;
	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++)
		ev->pollers[i].events = ev;
}

uint64_t events_oldest_after(const struct events *ev, uint64_t after)
{
	uint64_t oldest = ev->last > EVENTS_MAX ? ev->last - EVENTS_MAX + 1 : 1;

	if (after >= ev->last)
		return 0;
	return MAX_OF(after + 1, oldest);
}

static void answer(const struct events *ev, struct ttrpc_request *rq, uint64_t after)
{
	static Podvm__Agent__V1__Event items[EVENTS_MAX];
	static Podvm__Agent__V1__Event *list[EVENTS_MAX];
	Podvm__Agent__V1__NextEventsResponse reply = PODVM__AGENT__V1__NEXT_EVENTS_RESPONSE__INIT;
	uint64_t seq = events_oldest_after(ev, after);

	for (; seq != 0 && seq <= ev->last; seq++) {
		const struct event *e = &ev->ring[seq % EVENTS_MAX];
		Podvm__Agent__V1__Event *item = &items[reply.n_events];

		podvm__agent__v1__event__init(item);
		item->seq = e->seq;
		item->kind = e->kind;
		item->container_id = (char *)(uintptr_t)e->container;
		item->exec_id = (char *)(uintptr_t)e->exec;
		item->exit_code = e->exit_code;
		item->at_ns = e->at_ns;
		list[reply.n_events++] = item;
	}
	reply.events = list;
	ttrpc_reply(rq, &reply.base);
}

static struct ttrpc_request *release(struct event_poller *p)
{
	loop_timer_cancel(&p->timer);
	return take_ptr(p->rq);
}

static void on_gone(void *ctx)
{
	struct err err = {.code = ECANCELED};

	ttrpc_fail(release(ctx), &err);
}

static void on_timeout(struct loop_timer *t)
{
	struct event_poller *p = container_of(t, struct event_poller, timer);

	answer(p->events, release(p), p->after);
}

void events_add(struct events *ev, const struct event *e)
{
	struct event *slot = &ev->ring[++ev->last % EVENTS_MAX];

	*slot = *e;
	slot->seq = ev->last;
	slot->at_ns = time_real_ns();
	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++) {
		struct event_poller *p = &ev->pollers[i];

		if (p->rq && events_oldest_after(ev, p->after))
			answer(ev, release(p), p->after);
	}
}

void events_poll(struct events *ev, struct ttrpc_request *rq, uint64_t after, uint32_t timeout_ms)
{
	struct err err = {0};

	if (timeout_ms == 0 || events_oldest_after(ev, after)) {
		answer(ev, rq, after);
		return;
	}
	for (unsigned i = 0; i < EVENT_POLLERS_MAX; i++) {
		struct event_poller *p = &ev->pollers[i];

		if (p->rq)
			continue;
		p->rq = rq;
		p->after = after;
		loop_timer_set(ev->loop, &p->timer, MIN_OF(timeout_ms, EVENT_POLL_MS_MAX) * NS_PER_MS, on_timeout);
		ttrpc_on_gone(rq, on_gone, p);
		return;
	}
	(void)err_set(&err, ENOBUFS, "%d callers wait for events already", EVENT_POLLERS_MAX);
	ttrpc_fail(rq, &err);
}
