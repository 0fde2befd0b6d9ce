/* SPDX-License-Identifier: Apache-2.0 */
/* podvm inspect: the pod's state as recorded, and, while it runs, what guest and host say at this moment. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "cli/cmd.h"
#include "cli/pods.h"

#define TEXT_MAX 256

/* Text from the guest: bounded, and only if it is text. */
static json_t *guest_text(const char *text)
{
	return json_stringn(text, strnlen(text, TEXT_MAX)) ?: json_string("");
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)MIN_OF(v, (uint64_t)INT64_MAX));
}

static json_t *guest_info(const struct pod_entry *e, struct err *err)
{
	const Podvm__Agent__V1__Empty req = PODVM__AGENT__V1__EMPTY__INIT;
	const Podvm__Agent__V1__GetInfoResponse *info;
	ProtobufCMessage *reply = NULL;
	auto_close int agent = -1;
	uint64_t now;
	json_t *out;

	if (agent_open(e, &agent, err) < 0 ||
		agent_call(agent, "GetInfo", &req.base, &podvm__agent__v1__get_info_response__descriptor, &reply, err) <
			0)
		return NULL;
	info = (const Podvm__Agent__V1__GetInfoResponse *)reply;
	now = time_real_ns();
	out = json_pack("{s:o s:o s:o s:o s:o s:o}", "kernel", guest_text(info->kernel_release), "agent",
		guest_text(info->agent_version), "crun", guest_text(info->crun_version), "startedAt",
		json_time(now > info->uptime_ns ? now - info->uptime_ns : 0), "cpus", number(info->cpus), "memory",
		number(info->memory_total));
	protobuf_c_message_free_unpacked(reply, NULL);
	return out;
}

static json_t *host_info(const struct pod_entry *e)
{
	struct host_process p[HOST_PROCESSES_MAX];
	unsigned n = pod_host_processes(e, p);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		(void)json_array_append_new(
			list, json_pack("{s:s s:i s:o s:o}", "name", p[i].name, "pid", (int)p[i].pid, "rss",
				      number(p[i].rss), "pss", number(p[i].pss)));
	return list;
}

static int add_paths(struct pod_entry *e, struct err *err)
{
	char run[PATH_LEN], state[PATH_LEN], log[PATH_LEN];
	int r = pod_run_path(run, e->id, "", err);

	if (r == 0)
		r = pod_state_path(state, e->id, "", err);
	if (r == 0)
		r = pod_state_path(log, e->id, "log", err);
	if (r == 0 && json_object_set_new(e->state, "paths",
			      json_pack("{s:s s:s s:s}", "run", run, "state", state, "log", log)) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	return r;
}

/* A guest that does not answer is something to see, not a reason to show nothing. */
static void add_now(struct pod_entry *e)
{
	struct err err = {0};
	json_t *guest = guest_info(e, &err);

	if (guest)
		(void)json_object_set_new(e->state, "guest", guest);
	else
		(void)json_object_set_new(e->state, "guestError", json_string(err.msg));
	(void)json_object_set_new(e->state, "processes", host_info(e));
}

static int inspect_one(const char *name, struct err *err)
{
	auto_pod_entry struct pod_entry e = {0};
	int r = pod_find(&e, name, err);
	json_t *out;

	if (r == 0)
		r = add_paths(&e, err);
	if (r < 0)
		return r;
	(void)json_object_set_new(e.state, "alive", json_boolean(e.alive));
	if (e.alive)
		add_now(&e);
	out = pod_state_shown(e.state);
	if (!out)
		return err_set(err, ENOMEM, "inspect pod '%s': out of memory", name);
	(void)json_dumpf(out, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(out);
	return 0;
}

static int inspect_run(const struct cmd *cmd, int argc, char **argv)
{
	int status = 0;

	if (cmd_getopt(cmd, argc, argv) != -1)
		return EXIT_USAGE;
	if (argc == optind)
		return cmd_usage(cmd, "give the name or id of a pod");
	for (int i = optind; i < argc; i++) {
		struct err err = {0};

		if (inspect_one(argv[i], &err) < 0)
			status = cmd_fail(&err);
	}
	return cmd_flush() ? 1 : status;
}

const struct cmd cmd_inspect = {
	.name = "inspect",
	.args = "POD...",
	.summary = "show everything known of a pod, as JSON",
	.description = "One JSON object for each pod: its phase and message, VM, containers with their images, exit "
		       "codes and reasons (of the instance before a restart too: \"last\"), published ports, volumes, "
		       "the times of each phase, where its files are; while it runs also what the guest says of itself "
		       "and the memory of its processes on the host. Times are RFC 3339 in UTC, null for what has not "
		       "happened; sizes are in bytes.",
	.examples = "podvm inspect web\teverything\n"
		    "podvm inspect web | jq -r '.containers[] | [.name, .state] | @tsv'\tone thing\n",
	.completes = "pod",
	.needs_root = true,
	.run = inspect_run,
};
