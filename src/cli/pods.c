/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pods.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/proc.h"
#include "rpc/stream.h"
#include "rpc/ttrpc.h"

#define CONNECT_TIMEOUT_MS 10000
#define CALL_TIMEOUT_MS 30000

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

void pod_status(const struct pod_entry *e, char dst[32])
{
	const char *phase = pod_state_text(e, "phase");
	long long code = pod_state_number(e, "exitCode");

	if (!*phase)
		phase = "Starting";
	if (str_eq(phase, "Failed"))
		(void)snprintf(dst, 32, "Failed (%lld)", code);
	else
		(void)snprintf(dst, 32, "%.20s", phase);
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
	return ttrpc_call_sync(fd, AGENT_SERVICE_NAME, method, req, type, CALL_TIMEOUT_MS, ret, err);
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
