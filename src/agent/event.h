/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What happened, for whoever asks: the newest EVENTS_MAX events and the callers that wait for the next one. */
#include "agent.pb-c.h"
#include "base/loop.h"
#include "rpc/stream.h"
#include "rpc/ttrpc.h"

#define EVENTS_MAX 256
#define EVENT_POLLERS_MAX 16
#define EVENT_POLL_MS_MAX 600000

struct event {
	uint64_t seq;
	Podvm__Agent__V1__EventKind kind;
	char container[STREAM_ID_MAX + 1], exec[STREAM_ID_MAX + 1];
	uint32_t exit_code;
	uint64_t at_ns;
};

struct event_poller {
	struct ttrpc_request *rq; /* NULL: free */
	struct events *events;
	uint64_t after;
	struct loop_timer timer;
};

struct events {
	struct loop *loop;
	uint64_t last;		       /* seq of the newest event; 0: none yet */
	struct event ring[EVENTS_MAX]; /* event `seq` is at seq % EVENTS_MAX */
	struct event_poller pollers[EVENT_POLLERS_MAX];
};

void events_init(struct events *ev, struct loop *loop);
/* Adds an event (seq and at_ns are set here) and answers who waits for it. */
void events_add(struct events *ev, const struct event *e);
/* The sequence number of the oldest event after `after` that is still there; 0: there is none. */
uint64_t events_oldest_after(const struct events *ev, uint64_t after);
/* NextEvents. Consumes rq, now or later. */
void events_poll(struct events *ev, struct ttrpc_request *rq, uint64_t after, uint32_t timeout_ms);
