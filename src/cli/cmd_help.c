/* SPDX-License-Identifier: Apache-2.0 */
/* help, completion and man: three views of the table of commands. */
#include <getopt.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/cmd.h"
#include "cli/help.h"

static int print_names(void)
{
	for (size_t i = 0; cmd_table[i]; i++)
		(void)printf("%s\n", cmd_table[i]->name);
	return cmd_flush();
}

static int help_run(const struct cmd *cmd, int argc, char **argv)
{
	const struct cmd *wanted;
	int o, words = 0;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o == '?')
			return EXIT_USAGE;
		return print_names();
	}
	argc -= optind;
	argv += optind;
	wanted = help_find(argc, argv, &words);
	if (argc == 0)
		help_print_all(stdout);
	else if (wanted && words == argc)
		help_print(wanted, stdout);
	else if (argc == 1 && help_is_group(argv[0]))
		help_print_group(argv[0], stdout);
	else if (wanted)
		return cmd_usage(cmd, "'%s' follows the command '%s'", argv[words], wanted->name);
	else
		return help_unknown(argc, argv);
	return cmd_flush();
}

const struct cmd cmd_help = {
	.name = "help",
	.args = "[COMMAND]",
	.summary = "show what podvm, or one of its commands, can do",
	.description = "Without a command it lists all of them. 'podvm COMMAND --help' shows the same as 'podvm help "
		       "COMMAND'.",
	.examples =
		"podvm help\tall commands\npodvm help run\tone command\npodvm help image\tthe commands about images\n",
	.completes = "command",
	.options = {{"names", 0, NULL, "only the names of all commands, one on each line"}},
	.run = help_run,
};

static int completion_run(const struct cmd *cmd, int argc, char **argv)
{
	if (cmd_getopt(cmd, argc, argv) != -1)
		return EXIT_USAGE;
	if (argc - optind != 1 || !str_eq(argv[optind], "bash"))
		return cmd_usage(cmd, "give the name of the shell: bash");
	help_print_completion(stdout);
	return cmd_flush();
}

const struct cmd cmd_completion = {
	.name = "completion",
	.args = "bash",
	.summary = "print a script that completes podvm's commands in a shell",
	.description =
		"The script completes commands, options, pods, images and files. An installed podvm has it in place "
		"already.",
	.examples = "source <(podvm completion bash)\tin this shell\n"
		    "podvm completion bash >/etc/bash_completion.d/podvm\tfor all shells to come\n",
	.completes = "",
	.run = completion_run,
};

static int man_run(const struct cmd *cmd, int argc, char **argv)
{
	const struct cmd *wanted;
	int words = 0;

	if (cmd_getopt(cmd, argc, argv) != -1)
		return EXIT_USAGE;
	argc -= optind;
	argv += optind;
	wanted = help_find(argc, argv, &words);
	if (argc > 0 && !wanted)
		return help_unknown(argc, argv);
	if (argc > words)
		return cmd_usage(cmd, "'%s' follows the command '%s'", argv[words], wanted->name);
	help_print_man(wanted, stdout);
	return cmd_flush();
}

const struct cmd cmd_man = {
	.name = "man",
	.args = "[COMMAND]",
	.summary = "print the manual page of podvm, or of one of its commands",
	.description =
		"The page is written in roff, for man(1). An installed podvm has its pages in place: man podvm-run.",
	.examples = "podvm man run | man -l -\tread the page of 'run'\npodvm man >podvm.1\twrite the page of podvm "
		    "itself\n",
	.completes = "command",
	.run = man_run,
};
