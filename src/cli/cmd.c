/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options by description, with messages of our own: what was written, what is near to it. An option without a letter has the value
 * 0x100 + its index; --help has OPT_HELP and never reaches a command.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/help.h"
#include "cli/text.h"

#define OPT_FIRST 0x100
#define OPT_HELP 0x1000

struct parser {
	struct option longs[CMD_OPTIONS_MAX + 2];
	char shorts[2 * CMD_OPTIONS_MAX + 8];
};

static void parser_init(struct parser *p, const struct cmd *cmd)
{
	size_t n = 0, s = 0;

	memset(p, 0, sizeof(*p));
	if (cmd->options_first)
		p->shorts[s++] = '+';
	p->shorts[s++] = ':'; /* a missing value is told apart from an unknown option */
	p->shorts[s++] = 'h';
	for (; n < CMD_OPTIONS_MAX && cmd->options[n].name; n++) {
		const struct cmd_option *o = &cmd->options[n];

		p->longs[n] = (struct option){.name = o->name,
			.has_arg = o->arg ? required_argument : no_argument,
			.val = o->letter ? o->letter : OPT_FIRST + (int)n};
		if (!o->letter)
			continue;
		p->shorts[s++] = o->letter;
		if (o->arg)
			p->shorts[s++] = ':';
	}
	p->longs[n] = (struct option){.name = "help", .has_arg = no_argument, .val = OPT_HELP};
}

bool cmd_wants_help(const struct cmd *cmd, int argc, char **argv)
{
	auto_free char **copy = calloc((size_t)argc + 1, sizeof(*copy)); /* getopt_long moves arguments about */
	struct parser p;
	bool wanted = false;
	int o;

	if (!copy)
		return false;
	memcpy(copy, argv, (size_t)argc * sizeof(*copy));
	parser_init(&p, cmd);
	opterr = 0;
	optind = 0; /* glibc: start again, also with a new '+' */
	while (!wanted && (o = getopt_long(argc, copy, p.shorts, p.longs, NULL)) != -1)
		wanted = o == OPT_HELP || o == 'h';
	optind = 0;
	return wanted;
}

/* The long name of the option with that value; NULL: it is none of ours. */
static const char *option_name(const struct cmd *cmd, int value)
{
	for (size_t i = 0; i < CMD_OPTIONS_MAX && cmd->options[i].name; i++)
		if ((cmd->options[i].letter && cmd->options[i].letter == value) || OPT_FIRST + (int)i == value)
			return cmd->options[i].name;
	return value == OPT_HELP ? "help" : NULL;
}

static void unknown_long(const struct cmd *cmd, const char *word)
{
	const char *names[CMD_OPTIONS_MAX + 2] = {"help"}, *near;
	char wanted[64];
	size_t n = 1;

	(void)snprintf(wanted, sizeof(wanted), "%.*s", (int)MIN_OF(strcspn(word, "="), sizeof(wanted) - 1), word);
	for (size_t i = 0; i < CMD_OPTIONS_MAX && cmd->options[i].name; i++)
		names[n++] = cmd->options[i].name;
	near = text_nearest(wanted, names);
	if (near)
		(void)cmd_usage(cmd, "unknown option '--%s'; did you mean '--%s'?", wanted, near);
	else
		(void)cmd_usage(cmd, "unknown option '--%s'", wanted);
}

int cmd_getopt(const struct cmd *cmd, int argc, char **argv)
{
	struct parser p;
	const char *name;
	int o;

	parser_init(&p, cmd);
	opterr = 0;
	o = getopt_long(argc, argv, p.shorts, p.longs, NULL);
	if (o != ':' && o != '?')
		return o;
	name = option_name(cmd, optopt);
	if (o == ':')
		(void)cmd_usage(cmd, "option '--%s' needs a value", name ? name : "?");
	else if (optopt == 0) /* glibc has moved on: the word is the one before */
		unknown_long(cmd, argv[optind - 1] + 2);
	else if (name)
		(void)cmd_usage(cmd, "option '--%s' takes no value", name);
	else
		(void)cmd_usage(cmd, "unknown option '-%c'", optopt);
	return '?';
}

int cmd_fail(const struct err *err)
{
	(void)fflush(stdout);
	(void)fputs("podvm: ", stderr);
	text_put_safe(stderr, err->msg, strlen(err->msg));
	(void)fputc('\n', stderr);
	return 1;
}

int cmd_usage(const struct cmd *cmd, const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	(void)fflush(stdout);
	(void)fprintf(stderr, "podvm %s: ", cmd->name);
	text_put_safe(stderr, msg, strlen(msg));
	(void)fprintf(stderr, " (see 'podvm %s --help')\n", cmd->name);
	return EXIT_USAGE;
}

int cmd_flush(void)
{
	struct err err = {0};

	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	(void)err_errno(&err, "write to standard output");
	return cmd_fail(&err);
}
