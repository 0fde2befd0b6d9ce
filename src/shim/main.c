/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd-shim-podvm-v2: how containerd calls it (containerd, docs/runtime-v2.md), in the folder of a bundle:
 *
 *   start    answers with the address of the pod's shim, which is started when it is the first call for the pod
 *   delete   removes everything of a pod whose shim is gone; answers with a DeleteResponse
 *   -info    answers with a RuntimeInfo
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/paths.h"
#include "shim/start.h"

/* The value of option `name` ("-id X", "--id X", "-id=X"), or NULL when argv[*i] is another one. Moves *i over a value. */
static const char *value_of(char **argv, int *i, const char *name)
{
	const char *arg = argv[*i];
	size_t n = strlen(name);

	if (*arg != '-')
		return NULL;
	arg += arg[1] == '-' ? 2 : 1;
	if (strncmp(arg, name, n) != 0)
		return NULL;
	if (arg[n] == '=')
		return arg + n + 1;
	if (arg[n] != '\0')
		return NULL;
	return argv[*i + 1] ? argv[++*i] : "";
}

static bool is_flag(const char *arg, const char *name)
{
	return *arg == '-' && str_eq(arg + (arg[1] == '-' ? 2 : 1), name);
}

static int parse(struct shim_args *a, char **argv, const char **ret_action, struct err *err)
{
	const struct {
		const char *name;
		char *dst;
		size_t size;
	} options[] = {
		{"namespace", a->ns, sizeof(a->ns)},
		{"id", a->id, sizeof(a->id)},
		{"address", a->address, sizeof(a->address)},
		{"bundle", a->bundle, sizeof(a->bundle)},
		{"publish-binary", NULL, 0},
		{"socket", NULL, 0},
	};

	for (int i = 1; argv[i]; i++) {
		const char *value = NULL;
		size_t k = 0;

		if (argv[i][0] != '-') {
			*ret_action = argv[i];
			continue;
		}
		if (is_flag(argv[i], "debug")) {
			a->debug = true;
			continue;
		}
		if (is_flag(argv[i], "info") || is_flag(argv[i], "v")) {
			*ret_action = is_flag(argv[i], "v") ? "version" : "info";
			return 0;
		}
		while (k < ARRAY_SIZE(options) && !(value = value_of(argv, &i, options[k].name)))
			k++;
		if (k == ARRAY_SIZE(options))
			return err_set(err, EINVAL, "unknown option '%.40s'", argv[i]);
		if (options[k].dst && !str_copy(options[k].dst, options[k].size, value))
			return err_set(err, EINVAL, "option -%s: the value is too long", options[k].name);
	}
	return 0;
}

static int check(const struct shim_args *a, struct err *err)
{
	if (!*a->id || !*a->ns)
		return err_set(
			err, EINVAL, "options -id and -namespace are needed; this program is started by containerd");
	if (!task_id_valid(a->id) || !task_id_valid(a->ns))
		return err_set(err, EINVAL, "-id '%.80s' or -namespace '%.80s' is not valid", a->id, a->ns);
	if (geteuid() != 0)
		return err_set(err, EPERM, "it needs root");
	return paths_check(err);
}

int main(int argc, char **argv)
{
	struct shim_args args = {0};
	const char *action = "", *ttrpc = getenv("TTRPC_ADDRESS");
	struct err err = {0};
	int r;

	heap_tight();
	log_init(STDERR_FILENO, LOG_WARN, "shim", NULL);
	r = parse(&args, argv, &action, &err);
	if (r == 0 && !str_copy(args.ttrpc_address, sizeof(args.ttrpc_address), ttrpc ? ttrpc : ""))
		r = err_set(&err, EINVAL, "environment variable TTRPC_ADDRESS is too long");
	if (r == 0 && str_eq(action, "version")) {
		(void)printf("containerd-shim-podvm-v2 %s\n", PODVM_VERSION);
		return 0;
	}
	if (r == 0 && str_eq(action, "info"))
		r = shim_info(&err);
	else if (r == 0 && (r = check(&args, &err)) < 0)
		;
	else if (r == 0 && str_eq(action, "start"))
		r = shim_start(&args, &err);
	else if (r == 0 && str_eq(action, "delete"))
		r = shim_delete(&args, &err);
	else if (r == 0)
		r = err_set(&err, EINVAL, "'%.40s' is not an action: start, delete, -info", action);
	if (r < 0)
		(void)fprintf(stderr, "podvm: %s\n", err.msg);
	return r < 0;
}
