/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>

#include "cli/cmd.h"

static int version_run(const struct cmd *cmd, int argc, char **argv)
{
	if (cmd_getopt(cmd, argc, argv) != -1)
		return EXIT_USAGE;
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	(void)printf("podvm %s\n", PODVM_VERSION);
	return cmd_flush();
}

const struct cmd cmd_version = {
	.name = "version",
	.args = "",
	.summary = "print the version",
	.description = "Prints one line, 'podvm VERSION'. 'podvm check' tells the versions of what podvm works with.",
	.examples = "podvm version\tthe version\n",
	.completes = "",
	.run = version_run,
};
