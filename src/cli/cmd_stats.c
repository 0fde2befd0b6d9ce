/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm stats. A sample is a JSON document, the same that --json prints: for each pod its containers (the guest's cgroups, through the
 * agent), the guest as a whole, and its processes on the host. The CPU percentages of a sample come from the counters of the one
 * before, so the first shown is the second taken.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "cli/cmd.h"
#include "cli/pods.h"
#include "cli/text.h"

#define FIRST_MS 1000
#define INTERVAL_MS 2000
#define NS_PER_MS UINT64_C(1000000)

/* Counters come from the guest: what does not fit is the largest that does. */
static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)MIN_OF(v, (uint64_t)INT64_MAX));
}

/* ---- one sample ---- */

static json_t *counters(const Podvm__Agent__V1__GetStatsResponse *s, const char *name)
{
	return json_pack("{s:s s:o s:o s:o s:o s:o s:o s:o s:o s:o}", "name", name, "cpuUsageNs",
		number(s->cpu_usage_ns), "memoryUsage", number(s->memory_usage), "memoryWorkingSet",
		number(s->memory_working_set), "memoryLimit", number(s->memory_limit), "pids", number(s->pids_current),
		"pidsLimit", number(s->pids_limit), "ioReadBytes", number(s->io_read_bytes), "ioWriteBytes",
		number(s->io_write_bytes), "oomKills", number(s->oom_kills));
}

static int ask(int agent, const char *id, const char *name, json_t **ret, struct err *err)
{
	Podvm__Agent__V1__ContainerRequest req = PODVM__AGENT__V1__CONTAINER_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	int r;

	req.container_id = (char *)(uintptr_t)id;
	r = agent_call(agent, "GetStats", &req.base, &podvm__agent__v1__get_stats_response__descriptor, &reply, err);
	if (r < 0)
		return r;
	*ret = counters((const Podvm__Agent__V1__GetStatsResponse *)reply, name);
	protobuf_c_message_free_unpacked(reply, NULL);
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

static json_t *host_cost(const struct pod_entry *e)
{
	struct host_process p[HOST_PROCESSES_MAX];
	unsigned n = pod_host_processes(e, p);
	uint64_t rss = 0, pss = 0;
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++) {
		rss += p[i].rss;
		pss += p[i].pss;
		(void)json_array_append_new(
			list, json_pack("{s:s s:i s:o s:o s:o}", "name", p[i].name, "pid", (int)p[i].pid, "cpuUsageNs",
				      number(p[i].cpu_ns), "rss", number(p[i].rss), "pss", number(p[i].pss)));
	}
	return json_pack("{s:o s:o s:o}", "processes", list, "rss", number(rss), "pss", number(pss));
}

static int sample_pod(const struct pod_entry *e, json_t **ret, struct err *err)
{
	const json_t *list = pod_containers(e), *c;
	json_t *containers = json_array(), *guest = NULL;
	auto_close int agent = -1;
	size_t i;
	int r = agent_open(e, &agent, err);

	json_array_foreach (list, i, c) {
		json_t *one = NULL;

		if (r < 0 || !str_eq(json_text(c, "state"), "Running"))
			continue;
		r = ask(agent, json_text(c, "id"), json_text(c, "name"), &one, err);
		if (r == -ENOENT)
			r = 0; /* it ended between the reading of the state and the question */
		else if (r == 0)
			(void)json_array_append_new(containers, one);
	}
	if (r == 0)
		r = ask(agent, "", "guest", &guest, err);
	if (r < 0) {
		json_decref(containers);
		return r;
	}
	*ret = json_pack("{s:s s:s s:o s:o s:o s:o}", "name", pod_state_text(e, "name"), "id", e->id, "timeNs",
		number(time_mono_ns()), "containers", containers, "guest", guest, "host", host_cost(e));
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* All pods asked for, or all that run. A pod that ends meanwhile is left out, unless it was named. */
static int sample(char **names, int n_names, json_t **ret, struct err *err)
{
	struct pod_entry *list = NULL;
	json_t *out = json_array();
	size_t n = 0;
	int r = 0;

	for (int i = 0; r == 0 && i < n_names; i++) {
		auto_pod_entry struct pod_entry e = {0};
		json_t *one = NULL;

		r = pod_find_alive(&e, names[i], err);
		if (r == 0)
			r = sample_pod(&e, &one, err);
		if (r == 0)
			r = json_array_append_new(out, one);
	}
	if (r == 0 && n_names == 0)
		r = pod_list(&list, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		json_t *one = NULL;

		if (list[i].alive && sample_pod(&list[i], &one, NULL) == 0)
			r = json_array_append_new(out, one);
	}
	pod_list_free(list, n);
	if (r < 0) {
		json_decref(out);
		return r;
	}
	*ret = out;
	return 0;
}

/* ---- percentages ---- */

static json_t *find(const json_t *list, const char *key, const json_t *like)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (str_eq(json_text(item, key), json_text(like, key)))
			return item;
	}
	return NULL;
}

static void percent(json_t *now, const json_t *before, long long elapsed_ns)
{
	long long used = json_number(now, "cpuUsageNs") - json_number(before, "cpuUsageNs");

	if (before && elapsed_ns > 0 && used >= 0)
		(void)json_object_set_new(now, "cpuPercent", json_real((double)used * 100 / (double)elapsed_ns));
}

static void percent_all(json_t *now, const json_t *before, long long elapsed_ns)
{
	json_t *item;
	size_t i;

	json_array_foreach (now, i, item) {
		percent(item, find(before, "name", item), elapsed_ns);
	}
}

static void compare(json_t *now, const json_t *before)
{
	json_t *pod;
	size_t i;

	json_array_foreach (now, i, pod) {
		json_t *old = find(before, "id", pod);
		long long elapsed = json_number(pod, "timeNs") - json_number(old, "timeNs");

		percent_all(json_object_get(pod, "containers"), json_object_get(old, "containers"), elapsed);
		percent(json_object_get(pod, "guest"), json_object_get(old, "guest"), elapsed);
		percent_all(json_object_get(json_object_get(pod, "host"), "processes"),
			json_object_get(json_object_get(old, "host"), "processes"), elapsed);
	}
}

/* ---- output ---- */

struct row {
	const char *pod, *part;
	const json_t *from;
	const char *memory, *limit, *pids; /* keys; NULL: none */
};

static int add_row(struct text_table *t, const struct row *row)
{
	const json_t *cpu = json_object_get(row->from, "cpuPercent");
	char memory[16], limit[16] = "-", pids[24] = "-", load[16] = "-";
	long long max = row->limit ? json_number(row->from, row->limit) : 0;

	text_size(memory, (uint64_t)json_number(row->from, row->memory));
	if (max > 0)
		text_size(limit, (uint64_t)max);
	if (row->pids)
		(void)snprintf(pids, sizeof(pids), "%lld", json_number(row->from, row->pids));
	if (cpu)
		(void)snprintf(load, sizeof(load), "%.1f%%", json_real_value(cpu));
	return text_table_add(t, "%s", row->pod) || text_table_add(t, "%s", row->part) ||
	       text_table_add(t, "%s", load) || text_table_add(t, "%s", memory) || text_table_add(t, "%s", limit) ||
	       text_table_add(t, "%s", pids);
}

static int add_pod(struct text_table *t, const json_t *pod)
{
	const char *name = json_text(pod, "name");
	json_t *list = json_object_get(pod, "containers"), *item;
	char part[40];
	size_t i;

	json_array_foreach (list, i, item) {
		if (add_row(t, &(struct row){
				       name, json_text(item, "name"), item, "memoryWorkingSet", "memoryLimit", "pids"}))
			return -ENOMEM;
	}
	if (add_row(t, &(struct row){name, "(guest)", json_object_get(pod, "guest"), "memoryWorkingSet", "memoryLimit",
			       "pids"}))
		return -ENOMEM;
	list = json_object_get(json_object_get(pod, "host"), "processes");
	json_array_foreach (list, i, item) {
		(void)snprintf(part, sizeof(part), "(host %.16s)", json_text(item, "name"));
		if (add_row(t, &(struct row){name, part, item, "pss", NULL, NULL}))
			return -ENOMEM;
	}
	return 0;
}

static int print_table(const json_t *pods, struct err *err)
{
	static const char *const heads[] = {"POD", "PART", "CPU", "MEMORY", "LIMIT", "PIDS"};
	auto_table struct text_table t = {.columns = ARRAY_SIZE(heads)};
	json_t *pod;
	int r = 0;
	size_t i;

	for (i = 0; r == 0 && i < ARRAY_SIZE(heads); i++)
		r = text_table_add(&t, "%s", heads[i]);
	json_array_foreach (pods, i, pod) {
		r = r == 0 ? add_pod(&t, pod) : r;
	}
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	text_table_print(&t, stdout);
	return 0;
}

struct options {
	bool once, json, screen;
};

static int print(const json_t *pods, const struct options *o, struct err *err)
{
	if (!o->json) {
		if (o->screen)
			(void)fputs("\033[H\033[2J", stdout);
		return print_table(pods, err);
	}
	(void)json_dumpf(pods, stdout, o->once ? JSON_INDENT(2) : JSON_COMPACT);
	(void)putchar('\n');
	return 0;
}

static int stats_loop(char **names, int n, const struct options *o, struct err *err)
{
	json_t *before = NULL, *now = NULL;
	unsigned wait_ms = FIRST_MS;
	int r = sample(names, n, &before, err);

	while (r == 0) {
		(void)poll(NULL, 0, (int)wait_ms);
		wait_ms = INTERVAL_MS;
		r = sample(names, n, &now, err);
		if (r < 0)
			break;
		compare(now, before);
		r = print(now, o, err);
		json_decref(before);
		before = take_ptr(now);
		if (r < 0 || o->once || cmd_flush())
			break;
	}
	json_decref(before);
	return r;
}

static int stats_run(const struct cmd *cmd, int argc, char **argv)
{
	struct options opts = {.screen = isatty(STDOUT_FILENO)};
	struct err err = {0};
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'n':
			opts.once = true;
			break;
		case 'j':
			opts.json = true;
			break;
		default:
			return EXIT_USAGE;
		}
	opts.screen = opts.screen && !opts.once && !opts.json;
	if (stats_loop(argv + optind, argc - optind, &opts, &err) < 0)
		return cmd_fail(&err);
	return cmd_flush();
}

const struct cmd cmd_stats = {
	.name = "stats",
	.args = "[POD]...",
	.summary = "show what pods use: containers, guest, and cost on the host",
	.description = "For each container its CPU (100% is one CPU), the memory that it needs (usage less what the "
		       "kernel could drop), its limit and "
		       "its processes, as the guest's cgroups count them; then the guest as a whole, and each of the "
		       "pod's processes on the "
		       "host with its share of memory (PSS: pages used by several processes are split among them).\n\n"
		       "Without a pod it shows all that run. It goes on until interrupted unless --no-stream is given.",
	.examples = "podvm stats\tall pods, refreshed every two seconds\n"
		    "podvm stats --no-stream web\tone pod, once\n"
		    "podvm stats --no-stream --json | jq '.[].host.pss'\tfor programs\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"no-stream", 'n', NULL, "once, after a second of measuring"}, {"json", 'j', NULL, "as JSON"}},
	.run = stats_run,
};
