/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm: finds the command, checks what every command needs, and runs it. A new command is one file cmd_NAME.c with its
 * description (cli/cmd.h) and one line in the table below; help, man page and completion follow from that.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/paths.h"
#include "cli/cmd.h"
#include "cli/help.h"
#include "pod/state.h"

const struct cmd *const cmd_table[] = {
	&cmd_run,
	&cmd_ps,
	&cmd_logs,
	&cmd_exec,
	&cmd_stop,
	&cmd_rm,
	&cmd_stats,
	&cmd_inspect,
	&cmd_debug,
	&cmd_image_ls,
	&cmd_image_pull,
	&cmd_image_rm,
	&cmd_image_prune,
	&cmd_image_build,
	&cmd_image_info,
	&cmd_install,
	&cmd_uninstall,
	&cmd_check,
	&cmd_version,
	&cmd_help,
	&cmd_completion,
	&cmd_man,
	NULL,
};

static int run(const struct cmd *cmd, int argc, char **argv)
{
	struct err err = {0};

	if (cmd_wants_help(cmd, argc, argv)) {
		help_print(cmd, stdout);
		return cmd_flush();
	}
	if (paths_check(&err) < 0)
		return cmd_fail(&err);
	if (cmd->needs_root && geteuid() != 0) {
		(void)err_set(&err, EPERM, "'podvm %s' needs root: try it with sudo", cmd->name);
		return cmd_fail(&err);
	}
	/* Crashed pods must not be seen by any command; one that cannot be removed must not stop a command either. */
	if (cmd->needs_root && pod_reap(NULL, &err) < 0)
		log_warn("%s, ignoring", err.msg);
	return cmd->run(cmd, argc, argv);
}

static bool asks_help(const char *word)
{
	return str_eq(word, "--help") || str_eq(word, "-h");
}

int main(int argc, char **argv)
{
	const struct cmd *cmd;
	int words = 0;

	heap_tight();
	log_init(STDERR_FILENO, LOG_INFO, "podvm", NULL);
	if (argc < 2) {
		help_print_all(stderr);
		return EXIT_USAGE;
	}
	argc--;
	argv++;
	if (asks_help(argv[0])) {
		help_print_all(stdout);
		return cmd_flush();
	}
	if (str_eq(argv[0], "--version"))
		return run(&cmd_version, 1, argv);
	cmd = help_find(argc, argv, &words);
	if (cmd)
		return run(cmd, argc - words + 1, argv + words - 1);
	if (help_is_group(argv[0]) && (argc == 1 || asks_help(argv[1]))) {
		help_print_group(argv[0], argc == 1 ? stderr : stdout);
		return argc == 1 ? EXIT_USAGE : cmd_flush();
	}
	if (argv[0][0] == '-') {
		(void)fprintf(stderr, "podvm: options follow the command (see 'podvm help')\n");
		return EXIT_USAGE;
	}
	return help_unknown(argc, argv);
}
