/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Events to containerd, in order: one call at a time on a connection of our own, tried again while containerd is away (it
 * restarts without its shims). At most EVENTS_QUEUE wait; a further one is lost, and the log says so.
 */
#include "base/loop.h"
#include "containerd.pb-c.h"

#define EVENTS_QUEUE 1024

struct events;

/* `address` is the path of containerd's ttrpc socket ("" : events are dropped); both texts are copied. */
int events_new(struct events **ret, struct loop *loop, const char *address, const char *ns, struct err *err) must_check;
void events_free(struct events *ev);
/* topic "/tasks/start", type "containerd.events.TaskStart". */
void events_publish(struct events *ev, const char *topic, const char *type, const ProtobufCMessage *msg);
/* Everything is out, or was given up. */
bool events_idle(const struct events *ev);
/* Runs each time the queue has become empty. */
void events_on_idle(struct events *ev, void (*fn)(void *ctx), void *ctx);

/* A timestamp of CLOCK_REALTIME nanoseconds. */
Ctrd__Timestamp events_time(uint64_t ns);
