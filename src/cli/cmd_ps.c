/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "cli/cmd.h"
#include "cli/pods.h"
#include "cli/text.h"

enum format { FORMAT_TABLE, FORMAT_IDS, FORMAT_NAMES, FORMAT_CONTAINERS, FORMAT_JSON };

static int add_row(struct text_table *t, const struct pod_entry *e)
{
	uint64_t now = time_real_ns(), created = (uint64_t)pod_state_number(e, "createdNs");
	char status[48], age[16];
	unsigned running, all;

	pod_status(e, status);
	pod_containers_count(e, &running, &all);
	text_age(age, now > created ? now - created : 0);
	if (text_table_add(t, "%s", pod_state_text(e, "name")) < 0 || text_table_add(t, "%s", e->id) < 0 ||
		text_table_add(t, "%s", status) < 0 || text_table_add(t, "%s", age) < 0)
		return -ENOMEM;
	return text_table_add(t, "%u/%u", running, all);
}

static int print_table(const struct pod_entry *list, size_t n, bool all, struct err *err)
{
	static const char *const heads[] = {"NAME", "ID", "STATUS", "AGE", "CONTAINERS"};
	auto_table struct text_table t = {.columns = ARRAY_SIZE(heads)};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(heads); i++)
		r = text_table_add(&t, "%s", heads[i]);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (all || list[i].alive)
			r = add_row(&t, &list[i]);
	if (r < 0)
		return err_set(err, -r, "list pods: out of memory");
	text_table_print(&t, stdout);
	return 0;
}

static int print_json(const struct pod_entry *list, size_t n, bool all, struct err *err)
{
	json_t *out = json_array();
	int r = out ? 0 : -1;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!all && !list[i].alive)
			continue;
		r = json_object_set_new(list[i].state, "alive", json_boolean(list[i].alive));
		if (r == 0)
			r = json_array_append_new(out, pod_state_shown(list[i].state));
	}
	if (r == 0)
		r = json_dumpf(out, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(out);
	return r < 0 ? err_set(err, ENOMEM, "list pods: out of memory") : 0;
}

/* Each name once: a row of pods from one file have the same. */
static int print_containers(const struct pod_entry *list, size_t n, bool all, struct err *err)
{
	json_t *seen = json_object();
	int r = seen ? 0 : -1;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *c;
		size_t k;

		if (!all && !list[i].alive)
			continue;
		json_array_foreach (pod_containers(&list[i]), k, c) {
			const char *name = json_text(c, "name");

			if (!json_object_get(seen, name))
				(void)puts(name);
			r |= json_object_set_new(seen, name, json_null());
		}
	}
	json_decref(seen);
	return r < 0 ? err_set(err, ENOMEM, "list containers: out of memory") : 0;
}

static int print_all(const struct pod_entry *list, size_t n, bool all, enum format format, struct err *err)
{
	if (format == FORMAT_TABLE)
		return print_table(list, n, all, err);
	if (format == FORMAT_CONTAINERS)
		return print_containers(list, n, all, err);
	if (format == FORMAT_JSON)
		return print_json(list, n, all, err);
	for (size_t i = 0; i < n; i++)
		if (all || list[i].alive)
			(void)puts(format == FORMAT_IDS ? list[i].id : pod_state_text(&list[i], "name"));
	return 0;
}

/* The pods that were named, ended or not, or all that there are. */
static int find_pods(struct pod_entry **ret, size_t *ret_n, char **names, size_t n, struct err *err)
{
	int r = 0;

	if (!n)
		return pod_list(ret, ret_n, err);
	*ret = calloc(n, sizeof(**ret));
	if (!*ret)
		return err_set(err, ENOMEM, "list pods: out of memory");
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = pod_find(&(*ret)[i], names[i], err);
		*ret_n += r == 0;
	}
	return r;
}

static int ps_run(const struct cmd *cmd, int argc, char **argv)
{
	enum format format = FORMAT_TABLE;
	struct pod_entry *list = NULL;
	struct err err = {0};
	bool all = false;
	size_t n = 0;
	int o, r;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'a':
			all = true;
			break;
		case 'q':
			format = FORMAT_IDS;
			break;
		case 'n':
			format = FORMAT_NAMES;
			break;
		case 'c':
			format = FORMAT_CONTAINERS;
			break;
		case 'j':
			format = FORMAT_JSON;
			break;
		default:
			return EXIT_USAGE;
		}
	r = find_pods(&list, &n, argv + optind, (size_t)(argc - optind), &err);
	if (r == 0)
		r = print_all(list, n, all || argc > optind, format, &err);
	pod_list_free(list, n);
	return r < 0 ? cmd_fail(&err) : cmd_flush();
}

const struct cmd cmd_ps = {
	.name = "ps",
	.args = "[POD]...",
	.summary = "list pods",
	.description =
		"Shows the pods that run, the oldest first. STATUS is the pod's phase; behind it stands the exit "
		"status of one that failed, and what else is to be known: OOMKilled, StartError, or that a "
		"container waits to be started again (CrashLoopBackOff). CONTAINERS counts those that run at "
		"this moment, of all that belong to the pod (init containers that are no sidecars are not "
		"counted).\n\n"
		"A detached pod that has ended stays for 'podvm logs' and 'podvm inspect' until 'podvm rm'; "
		"--all shows "
		"those too, and so does naming them.",
	.examples = "podvm ps\tthe running pods\npodvm ps -a\tthose that have ended, too\n"
		    "podvm ps web\tone\n"
		    "podvm rm $(podvm ps -aq)\tremove what has ended\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"all", 'a', NULL, "also pods that have ended"}, {"quiet", 'q', NULL, "only ids, one on each line"},
		{"names", 'n', NULL, "only names, one on each line"},
		{"containers", 'c', NULL, "only names of containers, one on each line"},
		{"json", 'j', NULL, "as JSON: all that is recorded of each pod"}},
	.run = ps_run,
};
