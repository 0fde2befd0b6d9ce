/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pods.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/proc.h"
#include "pod/sandbox.h"
#include "rpc/stream.h"
#include "rpc/ttrpc.h"

#define CONNECT_TIMEOUT_MS 10000
#define AGENT_CALL_MS 30000

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

long long json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const json_t *pod_containers(const struct pod_entry *e)
{
	return json_object_get(e->state, "containers");
}

static bool is_plain_init(const json_t *c)
{
	return json_is_true(json_object_get(c, "init")) && !json_is_true(json_object_get(c, "sidecar"));
}

int pod_container_find(const struct pod_entry *e, const char *name, const json_t **ret, struct err *err)
{
	const json_t *list = pod_containers(e), *c;
	char names[240] = "";
	size_t i;

	json_array_foreach (list, i, c) {
		size_t n = strlen(names);

		if (str_eq(json_text(c, "name"), name)) {
			*ret = c;
			return 0;
		}
		(void)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "", json_text(c, "name"));
	}
	return err_set(err, ENOENT, "pod '%s' has no container '%.64s'; it has %s", pod_state_text(e, "name"), name,
		names[0] ? names : "none yet");
}

int pod_container_default(const struct pod_entry *e, const json_t **ret, struct err *err)
{
	const json_t *list = pod_containers(e), *c;
	size_t i;

	json_array_foreach (list, i, c) {
		if (!json_is_true(json_object_get(c, "init"))) {
			*ret = c;
			return 0;
		}
	}
	return err_set(err, ENOENT, "pod '%s' has no container yet", pod_state_text(e, "name"));
}

void pod_containers_count(const struct pod_entry *e, unsigned *ret_running, unsigned *ret_all)
{
	const json_t *list = pod_containers(e), *c;
	size_t i;

	*ret_running = *ret_all = 0;
	json_array_foreach (list, i, c) {
		if (is_plain_init(c))
			continue;
		++*ret_all;
		*ret_running += e->alive && str_eq(json_text(c, "state"), "Running");
	}
}

/* What there is to know beyond the phase: a container that waits to be started again, or how the first that failed ended. */
static const char *telling_reason(const struct pod_entry *e, bool failed)
{
	const json_t *list = pod_containers(e), *c;
	size_t i;

	json_array_foreach (list, i, c) {
		const char *reason = json_text(c, "reason");

		if (!failed && str_eq(reason, "CrashLoopBackOff"))
			return reason;
		if (failed && json_number(c, "exitCode") && !json_is_true(json_object_get(c, "sidecar")))
			return str_eq(reason, "Error") ? "" : reason;
	}
	return "";
}

void pod_status(const struct pod_entry *e, char dst[48])
{
	const char *phase = pod_state_text(e, "phase"), *reason;
	long long code = pod_state_number(e, "exitCode");
	bool failed = str_eq(phase, "Failed"), ended = failed || str_eq(phase, "Succeeded");

	if (!*phase)
		phase = "Starting";
	reason = failed || !ended ? telling_reason(e, failed) : "";
	if (failed)
		(void)snprintf(dst, 48, "Failed (%lld%s%.20s)", code, *reason ? ", " : "", reason);
	else
		(void)snprintf(dst, 48, "%.20s%s%s%s", phase, *reason ? " (" : "", reason, *reason ? ")" : "");
}

/* ---- what is shown of a state ---- */

#define STATE_DEPTH_MAX 16

json_t *json_time(uint64_t ns)
{
	char text[31];

	if (!ns)
		return json_null();
	time_format(text, ns);
	return json_string(text);
}

static json_t *shown(const json_t *value, unsigned depth);

static int show_member(json_t *out, const char *key, const json_t *value, unsigned depth)
{
	static const struct {
		const char *ns, *shown;
	} times[] = {{"createdNs", "createdAt"}, {"startedNs", "startedAt"}, {"finishedNs", "finishedAt"},
		{"startNs", "startedAt"}, {"endNs", "finishedAt"}};

	if (str_eq(key, "startTicks"))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (str_eq(key, times[i].ns))
			return json_object_set_new(
				out, times[i].shown, json_time((uint64_t)MAX_OF(json_integer_value(value), 0)));
	return json_object_set_new(out, key, shown(value, depth));
}

/* NULL, for which jansson's setters fail, also when it is deeper than any state is. */
static json_t *shown(const json_t *value, unsigned depth)
{
	json_t *out, *v;
	const char *key;
	int r = 0;
	size_t i;

	if (depth > STATE_DEPTH_MAX)
		return NULL;
	if (!json_is_object(value) && !json_is_array(value))
		return json_deep_copy(value);
	out = json_is_object(value) ? json_object() : json_array();
	json_array_foreach (value, i, v)
		r |= json_array_append_new(out, shown(v, depth + 1));
	json_object_foreach ((json_t *)(uintptr_t)value, key, v)
		r |= show_member(out, key, v, depth + 1);
	if (r == 0)
		return out;
	json_decref(out);
	return NULL;
}

json_t *pod_state_shown(const json_t *state)
{
	return shown(state, 0);
}

int pod_find_alive(struct pod_entry *ret, const char *what, struct err *err)
{
	int r = pod_find(ret, what, err);

	if (r < 0 || ret->alive)
		return r;
	r = err_set(err, ESRCH, "pod '%s' is not running: it is %s", what, pod_state_text(ret, "phase"));
	pod_entry_fini(ret);
	return r;
}

int agent_open(const struct pod_entry *e, int *ret_fd, struct err *err)
{
	return pod_connect(e, AGENT_PORT, CONNECT_TIMEOUT_MS, ret_fd, err);
}

int agent_call(int fd, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *type,
	ProtobufCMessage **ret, struct err *err)
{
	int r = ttrpc_call_sync(fd, AGENT_SERVICE_NAME, method, req, type, AGENT_CALL_MS, ret, err);

	return r == -EOPNOTSUPP ? err_set(err, EOPNOTSUPP, "%s: " AGENT_TOO_OLD, method) : r;
}

/* The kB figure of one line of /proc/PID/smaps_rollup, in bytes. */
static uint64_t rollup_field(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static uint64_t cpu_time(pid_t pid)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);

	/* utime and stime */
	return (proc_stat(pid, 14) + proc_stat(pid, 15)) * (UINT64_C(1000000000) / (hz ? hz : 100));
}

static bool read_process(struct host_process *p, const char *name, pid_t pid)
{
	auto_free char *text = NULL;
	char path[64];

	if (pid <= 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	if (file_read(AT_FDCWD, path, 8192, &text, NULL, NULL) < 0)
		return false;
	*p = (struct host_process){.pid = pid,
		.rss = rollup_field(text, "\nRss:"),
		.pss = rollup_field(text, "\nPss:"),
		.cpu_ns = cpu_time(pid)};
	(void)str_copy(p->name, sizeof(p->name), name);
	return true;
}

unsigned pod_host_processes(const struct pod_entry *e, struct host_process ret[HOST_PROCESSES_MAX])
{
	const json_t *list = json_object_get(json_object_get(e->state, "vm"), "processes"), *p;
	unsigned n = 0;
	size_t i;

	if (!e->alive)
		return 0;
	n += read_process(&ret[n], "podvm", (pid_t)pod_state_number(e, "pid"));
	json_array_foreach (list, i, p) {
		if (n < HOST_PROCESSES_MAX)
			n += read_process(&ret[n], json_text(p, "name"), (pid_t)json_number(p, "pid"));
	}
	return n;
}
