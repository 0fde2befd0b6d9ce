/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The stream port (rpc/stream.h): connections of stdio and of the dials.
 *
 *   free -> accepted (reads its header, STREAM_HEADER_NS) -> attached to a process, or dialled to localhost -> free
 */
#include <stdint.h>

#include "agent/pump.h"
#include "base/loop.h"
#include "rpc/stream.h"

#define STREAMS_MAX 512
#define STREAM_HEADER_NS (10 * NS_PER_S)
#define STREAM_DIAL_NS (10 * NS_PER_S)

struct agent;
struct stream;
struct streams;

int streams_new(struct streams **ret, struct agent *a, struct err *err) must_check;
/* Accepts from `fd` (borrowed), host's connections only when from_host_only. */
int streams_listen(struct streams *ss, int fd, bool from_host_only, struct err *err) must_check;
/* Serves a connected, non-blocking socket (consumed). -ENOBUFS when STREAMS_MAX are open. */
int streams_add(struct streams *ss, int fd, struct err *err) must_check;
void streams_free(struct streams *ss);

/* The process is done with it: what was written goes out, then the connection is closed. */
void stream_finish(struct stream *s);
