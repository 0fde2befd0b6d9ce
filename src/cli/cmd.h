/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A subcommand of podvm: one file, one line below, one entry in the table of main.c. Help, bash completion and the man pages are
 * all made from this description, so it is the only place where an option is documented.
 */
#include <stdbool.h>

#include "base/err.h"

#define EXIT_USAGE 2
#define CMD_OPTIONS_MAX 16

struct cmd_option {
	const char *name; /* long option without dashes */
	char letter;	  /* short option or 0; not 'h' */
	const char *
		arg; /* placeholder of its value, "FILE" (bash completes it: help.c), or its values, "auto|qemu"; NULL: a flag */
	const char *help; /* one line */
};

struct cmd {
	const char *name;	 /* "run", or "image ls" for a nested command */
	const char *args;	 /* "FILE", "POD..." ... what follows the options */
	const char *summary;	 /* one line, no full stop */
	const char *description; /* one or more paragraphs for help and man page, "\n\n" between them */
	const char *examples;	 /* lines "command\twhat it does\n" */
	const char *completes;	 /* what bash completes for arguments: "pod", "file", "image", "command", "" */
	bool needs_root;
	bool options_first; /* options end at the first argument: what follows belongs to another command */
	struct cmd_option options[CMD_OPTIONS_MAX]; /* ends with a zero name */
	/* argv[0] is the command's name; returns the exit status. Prints its own error through cmd_fail. */
	int (*run)(const struct cmd *cmd, int argc, char **argv);
};

/*
 * Parses options by the description. Returns the option's letter, or 0x100 + its index when it has no letter; -1 at the end
 * (optind is then the first argument); '?' after a usage error, which was printed: return EXIT_USAGE. "--help" is handled
 * inside main before run is called.
 */
int cmd_getopt(const struct cmd *cmd, int argc, char **argv);

/* Prints "podvm: <message>" on stderr; returns 1. */
int cmd_fail(const struct err *err);
/* Prints "podvm COMMAND: <message>" and a hint to --help; returns EXIT_USAGE. */
int cmd_usage(const struct cmd *cmd, const char *fmt, ...) printf_like(2, 3);
/* True when the arguments ask for --help. */
bool cmd_wants_help(const struct cmd *cmd, int argc, char **argv);
/* Whether all of stdout could be written (a full disk is an error, also of a command that only prints); 0 or 1. */
int cmd_flush(void);

extern const struct cmd *const cmd_table[]; /* ends with NULL; in the order in which help shows them */

extern const struct cmd cmd_run, cmd_ps, cmd_logs, cmd_exec, cmd_stop, cmd_rm, cmd_stats, cmd_inspect, cmd_debug;
extern const struct cmd cmd_image_ls, cmd_image_pull, cmd_image_rm, cmd_image_prune, cmd_image_build, cmd_image_info;
extern const struct cmd cmd_install, cmd_uninstall;
extern const struct cmd cmd_check, cmd_version, cmd_help, cmd_completion, cmd_man;
