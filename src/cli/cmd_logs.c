/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a pod's timeline (pod/podlog.h): log.1, then log, record by record, and with --follow what comes.
 *
 * The output of containers goes out as it came; with several containers, each line has its container's name in front. In the
 * timeline of --all every line is made safe for a terminal, because guest and host write into the same picture there and one
 * must not be able to paint over the other.
 *
 * A line may come in parts (tag P). Parts of one line are joined unless another source breaks in; then the line is ended, and its
 * next part begins a new one with its name in front.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/loop.h"
#include "cli/cmd.h"
#include "cli/pods.h"
#include "cli/text.h"
#include "pod/podlog.h"

#define LINE_LEN_MAX (PODLOG_TEXT_MAX + 256)
#define CHUNK 65536
#define ALIVE_CHECK_MS 500
#define CONTAINER_PREFIX "container/"

struct view {
	bool all, follow, timestamps, prefix;
	const char *container; /* NULL: all */
	uint64_t since_ns;
	bool has_tail;
	uint64_t tail;

	/* While printing. */
	bool counting;	/* only counts lines, for tail */
	uint64_t lines; /* counted */
	uint64_t skip;	/* lines still to be left out */
	char open[160]; /* source and stream of the unfinished line on the screen; "" when there is none */
};

/* ---- one record ---- */

static bool wanted(const struct view *v, const struct podlog_record *rec)
{
	const char *name = str_has_prefix(rec->source, CONTAINER_PREFIX) ? rec->source + strlen(CONTAINER_PREFIX)
									 : NULL;

	if (rec->time_ns < v->since_ns)
		return false;
	if (v->container)
		return name && str_eq(name, v->container);
	return name || v->all;
}

static void put_front(const struct view *v, const struct podlog_record *rec)
{
	if (v->timestamps || v->all) {
		char when[31];

		time_format(when, rec->time_ns);
		/* The timeline is for eyes: milliseconds are enough there, unless the whole time was asked for. */
		if (v->timestamps)
			(void)printf("%s ", when);
		else
			(void)printf("%.12s ", when + 11);
	}
	if (v->all)
		(void)printf("%-*s ", 12,
			str_has_prefix(rec->source, CONTAINER_PREFIX) ? rec->source + strlen(CONTAINER_PREFIX)
								      : rec->source);
	else if (v->prefix)
		(void)printf("[%s] ", rec->source + strlen(CONTAINER_PREFIX));
}

static void show(struct view *v, const struct podlog_record *rec)
{
	char key[160];

	if (!wanted(v, rec))
		return;
	if (v->counting) {
		v->lines += !rec->partial;
		return;
	}
	if (v->skip) {
		v->skip -= !rec->partial;
		return;
	}
	(void)snprintf(key, sizeof(key), "%s %s", rec->source, rec->stream);
	if (v->open[0] && !str_eq(v->open, key)) {
		(void)putchar('\n');
		v->open[0] = '\0';
	}
	if (!v->open[0])
		put_front(v, rec);
	if (v->all)
		text_put_safe(stdout, rec->text, rec->text_len);
	else
		(void)fwrite(rec->text, 1, rec->text_len, stdout);
	if (rec->partial)
		(void)str_copy(v->open, sizeof(v->open), key);
	else
		v->open[0] = '\0';
	if (!rec->partial)
		(void)putchar('\n');
}

/* ---- files ---- */

struct reader {
	int fd;
	char *mem; /* CHUNK + LINE_LEN_MAX bytes */
	size_t len;
	bool overlong; /* skipping the rest of a line that is too long to be a record */
};

static void reader_fini(struct reader *rd)
{
	close_fd(&rd->fd);
	free(rd->mem);
	rd->mem = NULL;
}

/* Shows the whole lines in the buffer and keeps the rest. */
static void take_lines(struct reader *rd, struct view *v)
{
	char *p = rd->mem, *end = rd->mem + rd->len, *nl;

	while ((nl = memchr(p, '\n', (size_t)(end - p)))) {
		struct podlog_record rec;

		*nl = '\0';
		if (!rd->overlong && podlog_parse(&rec, p, (size_t)(nl - p)) == 0)
			show(v, &rec);
		rd->overlong = false;
		p = nl + 1;
	}
	rd->len = (size_t)(end - p);
	if (rd->len > LINE_LEN_MAX) {
		rd->overlong = true;
		rd->len = 0;
	}
	memmove(rd->mem, p, rd->len);
}

/* Shows what is there now. 0 or -errno. */
static int read_on(struct reader *rd, struct view *v, struct err *err)
{
	for (;;) {
		ssize_t n = read(rd->fd, rd->mem + rd->len, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read the pod's log");
		if (n == 0)
			return 0;
		rd->len += (size_t)n;
		take_lines(rd, v);
	}
}

/* 1: there is no such file. */
static int reader_open(struct reader *rd, const char *path, struct err *err)
{
	rd->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	rd->len = 0;
	rd->overlong = false;
	if (rd->fd < 0)
		return errno == ENOENT ? 1 : err_errno(err, "open '%s'", path);
	if (!rd->mem)
		rd->mem = malloc(CHUNK + LINE_LEN_MAX);
	return rd->mem ? 0 : err_set(err, ENOMEM, "read the pod's log: out of memory");
}

/* From the beginning to the present end; rd is left open at the end of `log`. */
static int read_both(struct reader *rd, const char *log, struct view *v, struct err *err)
{
	char old[PATH_LEN];
	int r = str_format(old, sizeof(old), err, "%s.1", log);

	if (r == 0)
		r = reader_open(rd, old, err);
	if (r == 0)
		r = read_on(rd, v, err);
	close_fd(&rd->fd);
	if (r < 0)
		return r;
	r = reader_open(rd, log, err);
	return r == 0 ? read_on(rd, v, err) : r;
}

/* Whether `path` is another file by now than the one that is read. */
static bool was_rotated(const struct reader *rd, const char *path)
{
	struct stat mine, now;

	return fstat(rd->fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_ino != now.st_ino;
}

static bool still_alive(const struct pod_entry *e)
{
	auto_pod_entry struct pod_entry now = {0};

	return pod_find(&now, e->id, NULL) == 0 && now.alive;
}

static int follow(struct reader *rd, const char *log, const struct pod_entry *e, struct view *v, struct err *err)
{
	auto_close int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd p = {.fd = watch, .events = POLLIN};
	bool alive = true;
	char events[4096];
	char dir[PATH_LEN];
	int r = pod_state_path(dir, e->id, "", err);

	if (r < 0)
		return r;
	if (watch < 0 || inotify_add_watch(watch, dir, IN_MODIFY | IN_MOVED_FROM | IN_CREATE) < 0)
		return errno == ENOENT ? 0 : err_errno(err, "watch '%s'", dir);
	for (;;) {
		bool was_alive = alive;

		r = read_on(rd, v, err);
		if (r == 0 && was_rotated(rd, log)) {
			/* What was written between the last read and the rename is in the old file still. */
			r = read_on(rd, v, err);
			close_fd(&rd->fd);
			if (r == 0)
				r = reader_open(rd, log, err);
			if (r == 0)
				r = read_on(rd, v, err);
		}
		/* One more round after the end, for what came last. */
		if (r != 0 || !was_alive || cmd_flush())
			return r < 0 ? r : 0;
		if (poll(&p, 1, ALIVE_CHECK_MS) == 0)
			alive = still_alive(e);
		while (read(watch, events, sizeof(events)) > 0)
			;
	}
}

/* ---- arguments ---- */

/* "90s", "10m", "1h30m", "2d": nanoseconds. */
static int parse_duration(const char *text, uint64_t *ret)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	uint64_t total = 0;

	if (!*text)
		return -EINVAL;
	while (*text) {
		size_t digits = strspn(text, "0123456789"), i;
		char number[12];
		uint64_t n;

		if (!digits || digits >= sizeof(number))
			return -EINVAL;
		(void)snprintf(number, sizeof(number), "%.*s", (int)digits, text);
		if (str_to_u64(number, 100000000, &n, NULL) < 0)
			return -EINVAL;
		for (i = 0; i < ARRAY_SIZE(units) && units[i].unit != text[digits]; i++)
			;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		total += n * units[i].seconds;
		text += digits + 1;
	}
	if (total > UINT64_C(10000000000))
		return -ERANGE;
	*ret = total * NS_PER_S;
	return 0;
}

/* RFC 3339, in UTC or with an offset: nanoseconds since the epoch (parts of seconds are dropped). */
static int parse_moment(const char *text, uint64_t *ret)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	long offset = 0;

	if (!rest)
		return -EINVAL;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (str_eq(rest, "Z") || str_eq(rest, "z")) {
		*ret = (uint64_t)timegm(&tm) * NS_PER_S;
		return 0;
	}
	if ((*rest != '+' && *rest != '-') || strlen(rest) != 6 || rest[3] != ':')
		return -EINVAL;
	for (unsigned i = 1; i < 6; i++)
		if (i != 3 && (rest[i] < '0' || rest[i] > '9'))
			return -EINVAL;
	offset = ((rest[1] - '0') * 10 + rest[2] - '0') * 3600L + ((rest[4] - '0') * 10 + rest[5] - '0') * 60L;
	*ret = (uint64_t)(timegm(&tm) - (*rest == '-' ? -offset : offset)) * NS_PER_S;
	return 0;
}

static int parse_since(const char *text, uint64_t *ret)
{
	uint64_t now = time_real_ns(), ago;

	if (parse_duration(text, &ago) == 0) {
		*ret = ago < now ? now - ago : 0;
		return 0;
	}
	return parse_moment(text, ret);
}

static int parse_options(const struct cmd *cmd, int argc, char **argv, struct view *v)
{
	struct err err = {0};
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'f':
			v->follow = true;
			break;
		case 'a':
			v->all = true;
			break;
		case 'c':
			v->container = optarg;
			break;
		case 'n':
			if (str_to_u64(optarg, UINT32_MAX, &v->tail, &err) < 0)
				return cmd_usage(cmd, "--tail: %s", err.msg);
			v->has_tail = true;
			break;
		case 's':
			if (parse_since(optarg, &v->since_ns) < 0)
				return cmd_usage(cmd,
					"--since '%s': give a time like 2026-11-23T08:30:00Z, or how long ago, like "
					"10m",
					optarg);
			break;
		case 't':
			v->timestamps = true;
			break;
		default:
			return EXIT_USAGE;
		}
	if (v->all && v->container)
		return cmd_usage(cmd, "--all and --container exclude each other");
	return argc - optind == 1 ? 0 : cmd_usage(cmd, "give the name or id of one pod");
}

static int show_logs(const struct pod_entry *e, struct view *v, struct err *err)
{
	cleanup_with(reader_fini) struct reader rd = {.fd = -1};
	char log[PATH_LEN];
	int r = pod_state_path(log, e->id, "log", err);

	if (r == 0 && v->has_tail) {
		v->counting = true;
		r = read_both(&rd, log, v, err);
		v->counting = false;
		v->skip = v->lines > v->tail ? v->lines - v->tail : 0;
		close_fd(&rd.fd);
	}
	if (r == 0)
		r = read_both(&rd, log, v, err);
	if (r == 0 && v->follow && e->alive)
		r = follow(&rd, log, e, v, err);
	if (v->open[0])
		(void)putchar('\n');
	return r < 0 ? r : 0;
}

static int logs_run(const struct cmd *cmd, int argc, char **argv)
{
	auto_pod_entry struct pod_entry e = {0};
	const json_t *c;
	struct err err = {0};
	struct view v = {0};
	int r = parse_options(cmd, argc, argv, &v);

	if (r)
		return r;
	r = pod_find(&e, argv[optind], &err);
	if (r == 0 && v.container)
		r = pod_container_find(&e, v.container, &c, &err);
	if (r < 0)
		return cmd_fail(&err);
	v.prefix = !v.container && json_array_size(pod_containers(&e)) > 1;
	return show_logs(&e, &v, &err) < 0 ? cmd_fail(&err) : cmd_flush();
}

const struct cmd cmd_logs = {
	.name = "logs",
	.args = "POD",
	.summary = "show what a pod's containers wrote, or its whole timeline",
	.description = "Shows the output of the containers as they wrote it, standard output and standard error in the "
		       "order of their "
		       "arrival; with several containers each line has the container's name in front.\n\n"
		       "--all shows one timeline of everything: podvm's own steps, the VM's processes, the guest's "
		       "console, the agent, and "
		       "the containers, on one clock (the host's, in UTC). Bytes that would control a terminal are "
		       "shown as \\xNN there.\n\n"
		       "Of each pod at least the newest 16 MiB of log are kept.",
	.examples = "podvm logs web\teverything its containers wrote\n"
		    "podvm logs -f -c app web\tone container, and what it writes from now on\n"
		    "podvm logs --all web\tthe timeline\n"
		    "podvm logs --tail 20 --since 10m web\tat most 20 lines of the last ten minutes\n",
	.completes = "pod",
	.needs_root = true,
	.options = {{"follow", 'f', NULL, "go on with what comes, until the pod ends"},
		{"all", 'a', NULL, "the timeline of podvm, VM, console, agent and containers"},
		{"container", 'c', "CONTAINER", "only this container"},
		{"tail", 'n', "LINES", "only the last LINES lines"},
		{"since", 's', "WHEN", "only from a time on (2026-11-23T08:30:00Z), or how long ago (90s, 10m, 1h30m)"},
		{"timestamps", 't', NULL, "with the time in front of each line"}},
	.run = logs_run,
};
