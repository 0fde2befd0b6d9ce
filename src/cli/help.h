/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Everything that is made from the descriptions of the commands: help, man pages, bash completion. */
#include <stdio.h>

#include "cli/cmd.h"

void help_print_all(FILE *f);
void help_print(const struct cmd *cmd, FILE *f);
/* The subcommands of a group ("image"). */
void help_print_group(const char *group, FILE *f);
/* NULL: podvm itself. roff for man(1). */
void help_print_man(const struct cmd *cmd, FILE *f);
void help_print_completion(FILE *f);

/* The command named by the first words of argv; *ret_words is how many they were. NULL: none. */
const struct cmd *help_find(int argc, char **argv, int *ret_words);
bool help_is_group(const char *word);
/* Reports what of `argv` is no command, with the nearest one; returns EXIT_USAGE. */
int help_unknown(int argc, char **argv);
