/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine tells others of a pod: state.json (see state.h) and the times of its start. */
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "oci/json.h"
#include "pod/pod_impl.h"

static const char *const phase_names[] = {
	[PHASE_STARTING] = "Starting",
	[PHASE_INITIALIZING] = "Initializing",
	[PHASE_RUNNING] = "Running",
	[PHASE_STOPPING] = "Stopping",
	[PHASE_SUCCEEDED] = "Succeeded",
	[PHASE_FAILED] = "Failed",
};
_Static_assert(ARRAY_SIZE(phase_names) == PHASE_MAX, "a name for every phase");

const char *phase_name(enum pod_phase phase)
{
	return phase_names[phase];
}

#define BAR_WIDTH 40

char *pod_timings(const struct pod *pod)
{
	uint64_t first = pod->sb.n_timings ? pod->sb.timings[0].start_ns : 0, last = first, span;
	struct buf b = BUF_INIT(64 * 1024);
	bool ok = true;

	for (unsigned i = 0; i < pod->sb.n_timings; i++) {
		const struct timing *t = &pod->sb.timings[i];

		last = MAX_OF(last, MAX_OF(t->start_ns, t->end_ns)); /* the last one may not have ended */
		first = t->start_ns < first ? t->start_ns : first;
	}
	span = last > first ? last - first : 1;
	for (unsigned i = 0; i < pod->sb.n_timings; i++) {
		const struct timing *t = &pod->sb.timings[i];
		uint64_t end = t->end_ns ? t->end_ns : last;
		unsigned from = (unsigned)((t->start_ns - first) * BAR_WIDTH / span);
		unsigned to = (unsigned)((end - first) * BAR_WIDTH / span);
		char bar[BAR_WIDTH + 1];

		memset(bar, ' ', BAR_WIDTH);
		for (unsigned k = from; k < BAR_WIDTH && k <= to; k++)
			bar[k] = '=';
		bar[BAR_WIDTH] = '\0';
		ok = ok && buf_printf(&b, "%-24s %9.1f ms  at %9.1f ms  |%s|\n", t->name,
				   (double)(end - t->start_ns) / 1e6, (double)(t->start_ns - first) / 1e6, bar) == 0;
	}
	ok = ok && buf_printf(&b, "%-24s %9.1f ms\n", "total", (double)span / 1e6) == 0 && buf_append(&b, "", 1) == 0;
	if (!ok) {
		buf_fini(&b);
		return NULL;
	}
	return (char *)b.mem;
}

static json_t *ending_json(const struct ending *e)
{
	if (!e->reason)
		return json_null();
	return json_pack("{s:s s:o s:i s:I s:I}", "reason", e->reason, "message", json_lossy(e->message), "exitCode",
		e->exit_code, "startedNs", (json_int_t)e->started_ns, "finishedNs", (json_int_t)e->finished_ns);
}

/* Of this instance alone: what the one before it left in these fields is in "last". */
static json_t *container_json(const struct pod_container *c)
{
	bool ended = c->state == CONTAINER_ENDED;
	bool ran = (ended && !*c->message) || c->state == CONTAINER_RUNNING || c->state == CONTAINER_DRAINING;

	return json_pack("{s:s s:s s:s s:s s:b s:b s:b s:s s:s s:o s:i s:I s:I s:i s:o}", "name", c->spec->name, "id",
		c->id, "image", c->image->name, "digest", c->image->digest, "init", c->spec->init, "sidecar",
		c->spec->sidecar, "tty", c->spec->tty, "state", container_state_name(c->state), "reason",
		c->reason ? c->reason : "", "message", json_lossy(c->message), "restarts", (int)c->restarts,
		"startedNs", (json_int_t)(ran ? c->started_ns : 0), "finishedNs",
		(json_int_t)(ended ? c->finished_ns : 0), "exitCode", ended ? c->exit_code : 0, "last",
		ending_json(&c->last));
}

/* Why the pod failed: its own message, or what became of the first container that did not succeed. */
static void failure_text(const struct pod *pod, char dst[480])
{
	(void)snprintf(dst, 480, "%s", pod->message);
	for (size_t i = 0; !*dst && pod->phase == PHASE_FAILED && i < pod->spec->n_containers; i++) {
		const struct pod_container *c = &pod->containers[i];

		if (!c->spec->sidecar && c->exit_code && c->reason)
			container_ending(c, dst);
	}
}

json_t *sandbox_vm_json(const struct sandbox *sb)
{
	struct vm_process list[8];
	unsigned n = sb->vm ? sb->driver->processes(sb->vm, list, ARRAY_SIZE(list)) : 0;
	json_t *processes = json_array();

	for (unsigned i = 0; i < n; i++)
		(void)json_array_append_new(
			processes, json_pack("{s:s s:i}", "name", list[i].name, "pid", list[i].pid));
	return json_pack("{s:s s:o s:i s:I s:I s:o s:o}", "driver", sb->driver ? sb->driver->name : "", "reason",
		json_lossy(sb->driver_reason), "vcpus", (int)sb->vcpus, "memory", (json_int_t)sb->memory, "cid",
		(json_int_t)sb->cid, "kernel", json_lossy(sb->kernel), "processes", processes);
}

static json_t *ports_json(const struct pod *pod)
{
	json_t *list = json_array();

	for (size_t i = 0; i < pod->spec->n_containers; i++)
		for (size_t p = 0; p < pod->spec->containers[i].n_ports; p++) {
			const struct kube_port *port = &pod->spec->containers[i].ports[p];

			if (port->protocol != KUBE_SCTP)
				(void)json_array_append_new(
					list, json_pack("{s:s s:i s:i s:s s:s}", "hostIP", "127.0.0.1", "hostPort",
						      port->host_port ? port->host_port : port->container_port,
						      "containerPort", port->container_port, "protocol",
						      port->protocol == KUBE_UDP ? "UDP" : "TCP", "container",
						      pod->spec->containers[i].name));
		}
	return list;
}

static json_t *volumes_json(const struct pod *pod)
{
	static const char *const kinds[] = {[KUBE_VOLUME_EMPTY_DIR] = "emptyDir",
		[KUBE_VOLUME_HOST_PATH] = "hostPath",
		[KUBE_VOLUME_FILES] = "files"};
	json_t *list = json_array();

	for (size_t i = 0; i < pod->spec->n_volumes; i++) {
		const struct kube_volume *v = &pod->spec->volumes[i];

		(void)json_array_append_new(
			list, json_pack("{s:s s:s s:s}", "name", v->name, "kind", v->memory ? "memory" : kinds[v->kind],
				      "path", v->host_path ? v->host_path : ""));
	}
	return list;
}

json_t *sandbox_timings_json(const struct sandbox *sb)
{
	uint64_t epoch = time_real_ns() - time_mono_ns(); /* they were taken by a clock that nobody sets */
	json_t *list = json_array();

	for (unsigned i = 0; i < sb->n_timings; i++) {
		const struct timing *t = &sb->timings[i];

		(void)json_array_append_new(
			list, json_pack("{s:s s:I s:I}", "phase", t->name, "startNs", (json_int_t)(t->start_ns + epoch),
				      "endNs", (json_int_t)(t->end_ns ? t->end_ns + epoch : 0)));
	}
	return list;
}

void record_write(struct pod *pod)
{
	json_t *containers = json_array(), *state;
	char message[480];

	failure_text(pod, message);
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		(void)json_array_append_new(containers, container_json(&pod->containers[i]));
	state = json_pack("{s:i s:s s:s s:s s:s s:b s:s s:o s:i s:I s:I s:o s:o s:o s:o s:o s:o}", "version", 1, "id",
		pod->sb.home.id, "name", pod->spec->name, "namespace", pod->spec->ns, "uid", pod->spec->uid, "detached",
		pod->opts.detached, "phase", phase_name(pod->phase), "message", json_lossy(message), "exitCode",
		pod->exit_code, "createdNs", (json_int_t)pod->created_ns, "finishedNs", (json_int_t)pod->finished_ns,
		"source", json_lossy(pod->opts.source ? pod->opts.source : ""), "vm", sandbox_vm_json(&pod->sb),
		"containers", containers, "ports", ports_json(pod), "volumes", volumes_json(pod), "timings",
		sandbox_timings_json(&pod->sb));
	pod_home_record(&pod->sb.home, state);
}
