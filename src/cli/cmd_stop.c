/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop and rm. A pod is stopped by its supervisor: the first SIGTERM begins the graceful end, the second cuts it short. Whoever waits
 * watches the supervisor's end, so nothing is polled.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/cmd.h"
#include "cli/pods.h"

#define GRACE_MAX_S 86400u
#define WAIT_FOR_EVER UINT32_MAX
#define KILL_WAIT_MS 20000u

/* Asks for the end; a pod that is gone meanwhile is what was wanted. */
static int ask(const struct pod_entry *e, int signo, struct err *err)
{
	int r = pod_signal(e, signo, err);

	return r == -ESRCH ? 0 : r;
}

/*
 * Asks again, which cuts the grace short; a supervisor that does not answer that is killed, and pod_reap removes the rest.
 * SIGINT means the same as SIGTERM to the supervisor, but cannot melt into one that it has not read yet.
 */
static int force(const struct pod_entry *e, struct err *err)
{
	int r = ask(e, SIGINT, err);

	if (r == 0)
		r = pod_wait(e, KILL_WAIT_MS, err);
	if (r <= 0)
		return r;
	r = ask(e, SIGKILL, err);
	if (r == 0)
		r = pod_wait(e, KILL_WAIT_MS, err);
	if (r == 1)
		return err_set(err, ETIMEDOUT, "pod %s does not end although it was killed", e->id);
	return r < 0 ? r : pod_reap(NULL, err);
}

static int finish(const struct pod_entry *e, unsigned wait_ms, struct err *err)
{
	int r = pod_wait(e, wait_ms, err);

	return r == 1 ? force(e, err) : r;
}

/* Finds and asks all before waiting for any, so that several pods end side by side. */
static int stop_all(char **names, int n, unsigned wait_ms)
{
	struct pod_entry *list = calloc((size_t)n, sizeof(*list));
	struct err err = {0};
	int status = 0;

	if (!list) {
		(void)err_set(&err, ENOMEM, "stop pods: out of memory");
		return cmd_fail(&err);
	}
	for (int i = 0; i < n; i++) {
		if (pod_find(&list[i], names[i], &err) < 0)
			status = cmd_fail(&err);
		else if (list[i].alive && ask(&list[i], SIGTERM, &err) < 0)
			status = cmd_fail(&err);
	}
	for (int i = 0; i < n; i++) {
		if (!list[i].state)
			continue;
		if (list[i].alive && finish(&list[i], wait_ms, &err) < 0)
			status = cmd_fail(&err);
		else
			(void)printf("%s\n", names[i]);
		pod_entry_fini(&list[i]);
	}
	free(list);
	return cmd_flush() ? 1 : status;
}

static int stop_run(const struct cmd *cmd, int argc, char **argv)
{
	unsigned wait_ms = WAIT_FOR_EVER;
	struct err err = {0};
	uint64_t seconds;
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o != 't')
			return EXIT_USAGE;
		if (str_to_u64(optarg, GRACE_MAX_S, &seconds, &err) < 0)
			return cmd_usage(cmd, "--time: %s", err.msg);
		wait_ms = (unsigned)seconds * 1000;
	}
	if (argc == optind)
		return cmd_usage(cmd, "give the name or id of a pod");
	return stop_all(argv + optind, argc - optind, wait_ms);
}

const struct cmd cmd_stop = {
	.name = "stop",
	.args = "POD...",
	.summary = "stop pods gracefully",
	.description = "Sends SIGTERM to the containers, waits for them as long as the pod's "
		       "terminationGracePeriodSeconds says, and then "
		       "ends the VM. It returns when the pod has ended. With --time the wait is cut short after that "
		       "many seconds; "
		       "0 ends the VM at once.\n\nA pod is named by its name, its id, or the beginning of its id.",
	.examples = "podvm stop web\tend it gracefully\npodvm stop -t 3 web db\ttwo pods, at most three seconds each\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"time", 't', "SECONDS", "at most this long before everything is killed"}},
	.run = stop_run,
};

static int remove_one(const char *name, bool forced, struct err *err)
{
	auto_pod_entry struct pod_entry e = {0};
	int r = pod_find(&e, name, err);

	if (r < 0)
		return r;
	/* One that has ended is gone in a moment. */
	if (e.alive && !forced && pod_ended(&e))
		r = pod_wait(&e, KILL_WAIT_MS, err);
	else if (e.alive)
		r = 1;
	if (r == 1 && !forced)
		return err_set(err, EBUSY, "pod '%s' is running: 'podvm stop %s' first, or 'podvm rm -f %s'", name,
			name, name);
	if (r == 1) {
		r = ask(&e, SIGTERM, err);
		if (r == 0)
			r = force(&e, err);
	}
	if (r == 0)
		r = pod_remove(e.id, err);
	/* A pod in the foreground removes itself. */
	return r == -ENOENT ? 0 : r;
}

static int rm_run(const struct cmd *cmd, int argc, char **argv)
{
	bool forced = false;
	int o, status = 0;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o != 'f')
			return EXIT_USAGE;
		forced = true;
	}
	if (argc == optind)
		return cmd_usage(cmd, "give the name or id of a pod");
	for (int i = optind; i < argc; i++) {
		struct err err = {0};

		if (remove_one(argv[i], forced, &err) < 0)
			status = cmd_fail(&err);
		else
			(void)printf("%s\n", argv[i]);
	}
	return cmd_flush() ? 1 : status;
}

const struct cmd cmd_rm = {
	.name = "rm",
	.args = "POD...",
	.summary = "remove pods that have ended",
	.description = "Removes what is kept of a pod after its end: its log and its record. Its volumes and writable "
		       "layers went when it "
		       "ended. With --force a pod that runs is killed first.",
	.examples = "podvm rm job\tremove a pod that has ended\npodvm rm -f web\tkill and remove\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"force", 'f', NULL, "kill the pod first if it runs"}},
	.run = rm_run,
};
