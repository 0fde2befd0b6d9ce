/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's numbers as containerd's metrics of cgroup v2, whatever the host has: the guest has v2, and every containerd that we
 * know takes either kind.
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "shim/shim.h"

#define TYPE_METRICS "io.containerd.cgroups.v2.Metrics"

struct metrics {
	Ctrd__Metrics m;
	Ctrd__PidsStat pids;
	Ctrd__CPUStat cpu;
	Ctrd__MemoryStat memory;
	Ctrd__IOStat io;
	Ctrd__IOEntry disk, *disks[1];
	Ctrd__MemoryEvents events;
};

static void fill(struct metrics *x, const Podvm__Agent__V1__GetStatsResponse *s)
{
	ctrd__metrics__init(&x->m);
	ctrd__pids_stat__init(&x->pids);
	ctrd__cpustat__init(&x->cpu);
	ctrd__memory_stat__init(&x->memory);
	ctrd__iostat__init(&x->io);
	ctrd__ioentry__init(&x->disk);
	ctrd__memory_events__init(&x->events);
	x->pids.current = s->pids_current;
	x->pids.limit = s->pids_limit;
	x->cpu.usage_usec = s->cpu_usage_ns / 1000;
	x->cpu.user_usec = s->cpu_user_ns / 1000;
	x->cpu.system_usec = s->cpu_system_ns / 1000;
	x->cpu.nr_periods = s->cpu_periods;
	x->cpu.nr_throttled = s->cpu_throttled_periods;
	x->cpu.throttled_usec = s->cpu_throttled_ns / 1000;
	x->memory.anon = s->memory_anon;
	x->memory.file = s->memory_file;
	x->memory.usage = s->memory_usage;
	/* The kubelet's working set is the usage less this. */
	x->memory.inactive_file = s->memory_usage - MIN_OF(s->memory_usage, s->memory_working_set);
	x->memory.usage_limit = s->memory_limit ? s->memory_limit : UINT64_MAX;
	x->memory.swap_usage = s->swap_usage;
	x->memory.max_usage = s->memory_peak;
	x->memory.pgfault = s->memory_page_faults;
	x->memory.pgmajfault = s->memory_major_page_faults;
	x->disk.rbytes = s->io_read_bytes;
	x->disk.wbytes = s->io_write_bytes;
	x->disks[0] = &x->disk;
	x->io.n_usage = 1;
	x->io.usage = x->disks;
	x->events.oom_kill = s->oom_kills;
	x->m.pids = &x->pids;
	x->m.cpu = &x->cpu;
	x->m.memory = &x->memory;
	x->m.io = &x->io;
	x->m.memory_events = &x->events;
}

/* An Any of the numbers; `bytes` has room for METRICS_MAX. */
#define METRICS_MAX 1024

static void pack(const Podvm__Agent__V1__GetStatsResponse *s, uint8_t *bytes, Ctrd__Any *ret)
{
	struct metrics x;

	fill(&x, s);
	ctrd__any__init(ret);
	ret->type_url = (char *)(uintptr_t)TYPE_METRICS;
	ret->value.data = bytes;
	/* All of it are numbers: at most some 30 of 11 bytes. */
	if (ctrd__metrics__get_packed_size(&x.m) <= METRICS_MAX)
		ret->value.len = ctrd__metrics__pack(&x.m, bytes);
}

static void on_task(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	Ctrd__StatsResponse answer = CTRD__STATS_RESPONSE__INIT;
	uint8_t bytes[METRICS_MAX];
	Ctrd__Any any;

	if (err) {
		ttrpc_fail(ctx, err);
		return;
	}
	pack((const void *)reply, bytes, &any);
	answer.stats = &any;
	ttrpc_reply(ctx, &answer.base);
}

static void on_sandbox(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	Ctrd__SandboxMetricsResponse answer = CTRD__SANDBOX_METRICS_RESPONSE__INIT;
	Ctrd__Metric metric = CTRD__METRIC__INIT;
	Ctrd__Timestamp now = events_time(time_real_ns());
	uint8_t bytes[METRICS_MAX];
	Ctrd__Any any;

	if (err) {
		ttrpc_fail(ctx, err);
		return;
	}
	pack((const void *)reply, bytes, &any);
	metric.timestamp = &now;
	metric.data = &any;
	answer.metrics = &metric;
	ttrpc_reply(ctx, &answer.base);
}

static void ask(struct shim *sh, const char *container, struct ttrpc_request *rq, ttrpc_done *done)
{
	Podvm__Agent__V1__ContainerRequest req = PODVM__AGENT__V1__CONTAINER_REQUEST__INIT;
	struct err err = {0};

	req.container_id = (char *)(uintptr_t)container;
	if (sandbox_poll(&sh->sb, "GetStats", &req.base, &podvm__agent__v1__get_stats_response__descriptor, done, rq,
		    &err) < 0)
		ttrpc_fail(rq, &err);
}

void metrics_task(struct task *t, struct ttrpc_request *rq)
{
	ask(t->shim, t->kind == SPEC_SANDBOX ? "" : t->agent_id, rq, on_task);
}

void metrics_sandbox(struct shim *sh, struct ttrpc_request *rq)
{
	ask(sh, "", rq, on_sandbox);
}
