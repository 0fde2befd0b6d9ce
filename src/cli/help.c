/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <string.h>

#include "base/bytes.h"
#include "base/paths.h"
#include "cli/text.h"

#define WIDTH 88
#define COMMANDS_MAX 64

static const char about[] =
	"podvm runs a Kubernetes Pod inside its own micro-VM: the same YAML, with a kernel of its own and no daemon.";

static const struct {
	const char *name, *text;
} environment[] = {
	{"PODVM_RUN", "where running pods keep their state (default /run/podvm)"},
	{"PODVM_STATE", "where images, logs and volumes are (default /var/lib/podvm)"},
	{"PODVM_LIBEXEC", "where helper programs are: one folder, or several separated by colons"},
};

static const struct {
	int code;
	const char *text;
} statuses[] = {
	{0, "success"},
	{1, "it failed; one line on standard error says what, where, and what to do"},
	{2, "wrong usage"},
};
static const char status_more[] = "'podvm run' in the foreground and 'podvm exec' end with the status of what ran in "
				  "the container; a process that a "
				  "signal ended counts as 128 + the signal's number.";

/* ---- finding ---- */

/* Whether `word` is the first word of `name`, and what follows it ("" or the second word). */
static bool first_word(const char *name, const char *word, const char **ret_rest)
{
	size_t n = strlen(word);

	if (strncmp(name, word, n) != 0 || (name[n] && name[n] != ' '))
		return false;
	*ret_rest = name[n] ? name + n + 1 : "";
	return true;
}

const struct cmd *help_find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; argc > 0 && cmd_table[i]; i++) {
		const char *rest;

		if (!first_word(cmd_table[i]->name, argv[0], &rest))
			continue;
		if (*rest && (argc < 2 || !str_eq(rest, argv[1])))
			continue;
		*ret_words = *rest ? 2 : 1;
		return cmd_table[i];
	}
	return NULL;
}

bool help_is_group(const char *word)
{
	const char *rest;

	for (size_t i = 0; cmd_table[i]; i++)
		if (first_word(cmd_table[i]->name, word, &rest) && *rest)
			return true;
	return false;
}

int help_unknown(int argc, char **argv)
{
	const char *words[COMMANDS_MAX + 1] = {NULL}, *near, *group = help_is_group(argv[0]) ? argv[0] : "";
	const char *wanted = *group ? argv[1] : argv[0];
	char first[COMMANDS_MAX][16];
	size_t n = 0;

	for (size_t i = 0; cmd_table[i] && n < COMMANDS_MAX; i++) {
		const char *name = cmd_table[i]->name, *rest;

		if (*group) {
			if (first_word(name, group, &rest))
				words[n++] = rest;
			continue;
		}
		(void)snprintf(first[n], sizeof(first[n]), "%.*s", (int)strcspn(name, " "), name);
		words[n] = first[n];
		n++;
	}
	words[n] = NULL;
	near = text_nearest(wanted, words);
	(void)fprintf(stderr, "podvm: unknown command '%s%s", group, *group ? " " : "");
	text_put_safe(stderr, wanted, strlen(wanted));
	(void)fputc('\'', stderr);
	if (near)
		(void)fprintf(stderr, "; did you mean '%s%s%s'?", group, *group ? " " : "", near);
	(void)fprintf(stderr, " (see 'podvm help%s%s')\n", *group ? " " : "", group);
	return EXIT_USAGE;
}

/* ---- help ---- */

static void print_commands(const char *group, FILE *f)
{
	const char *rest;
	int width = 0;

	for (size_t i = 0; cmd_table[i]; i++)
		width = MAX_OF(width, (int)strlen(cmd_table[i]->name));
	for (size_t i = 0; cmd_table[i]; i++)
		if (!group || first_word(cmd_table[i]->name, group, &rest))
			(void)fprintf(f, "  %-*s   %s\n", width, cmd_table[i]->name, cmd_table[i]->summary);
}

void help_print_all(FILE *f)
{
	text_wrap(f, about, 0, WIDTH);
	(void)fputs("\nUsage: podvm COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n", f);
	print_commands(NULL, f);
	(void)fputs("\nTry:\n"
		    "  podvm check                     what this machine can do\n"
		    "  podvm run examples/hello.yaml   a first pod\n"
		    "  podvm help run                  everything about one command\n",
		f);
}

static void format_option(char dst[64], const struct cmd_option *o)
{
	(void)snprintf(dst, 64, "%c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		o->letter ? ", " : "  ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

static const struct cmd_option help_option = {"help", 'h', NULL, "show this help"};

static const struct cmd_option *option_at(const struct cmd *cmd, size_t i)
{
	if (i < CMD_OPTIONS_MAX && cmd->options[i].name)
		return &cmd->options[i];
	return i == 0 || (i <= CMD_OPTIONS_MAX && cmd->options[i - 1].name) ? &help_option : NULL;
}

static void print_options(const struct cmd *cmd, FILE *f)
{
	const struct cmd_option *o;
	char text[64];
	int width = 0;

	for (size_t i = 0; (o = option_at(cmd, i)); i++) {
		format_option(text, o);
		width = MAX_OF(width, (int)strlen(text));
	}
	for (size_t i = 0; (o = option_at(cmd, i)); i++) {
		format_option(text, o);
		(void)fprintf(f, "  %-*s   %s\n", width, text, o->help);
	}
}

/* At most `max` of the command's examples. */
static void print_examples(const struct cmd *cmd, size_t max, FILE *f)
{
	const char *p = cmd->examples ? cmd->examples : "";

	for (size_t i = 0; *p && i < max; i++) {
		size_t line = strcspn(p, "\n"), command = strcspn(p, "\t");

		(void)fprintf(f, "  %.*s\n", (int)MIN_OF(command, line), p);
		if (command < line)
			(void)fprintf(f, "      %.*s\n", (int)(line - command - 1), p + command + 1);
		p += line + (p[line] == '\n');
	}
}

void help_print_group(const char *group, FILE *f)
{
	const char *rest;

	(void)fprintf(f, "Usage: podvm %s COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n", group);
	print_commands(group, f);
	(void)fputs("\nExamples:\n", f);
	for (size_t i = 0; cmd_table[i]; i++)
		if (first_word(cmd_table[i]->name, group, &rest))
			print_examples(cmd_table[i], 1, f);
}

void help_print(const struct cmd *cmd, FILE *f)
{
	(void)fprintf(f, "podvm %s: %s\n\nUsage: podvm %s [OPTION]...%s%s\n\n", cmd->name, cmd->summary, cmd->name,
		*cmd->args ? " " : "", cmd->args);
	text_wrap(f, cmd->description, 0, WIDTH);
	(void)fputs("\nOptions:\n", f);
	print_options(cmd, f);
	(void)fputs("\nExamples:\n", f);
	print_examples(cmd, SIZE_MAX, f);
}

/* ---- man pages (man(7)) ---- */

/* A backslash and a dash mean themselves, and no line begins with a dot or an apostrophe. */
static void put_roff(FILE *f, const char *text, size_t n)
{
	bool start = true;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (start && (c == '.' || c == '\''))
			(void)fputs("\\&", f);
		if (c == '\\')
			(void)fputs("\\e", f);
		else if (c == '-')
			(void)fputs("\\-", f);
		else
			(void)fputc(c, f);
		start = c == '\n';
	}
}

static void put_roff_line(FILE *f, const char *text)
{
	put_roff(f, text, strlen(text));
	(void)fputc('\n', f);
}

static void put_paragraphs(FILE *f, const char *text)
{
	for (;;) {
		const char *gap = strstr(text, "\n\n");
		size_t n = gap ? (size_t)(gap - text) : strlen(text);

		put_roff(f, text, n);
		(void)fputc('\n', f);
		if (!gap)
			return;
		(void)fputs(".PP\n", f);
		text = gap + 2;
	}
}

static void man_title(FILE *f, const struct cmd *cmd)
{
	char page[64] = "podvm";

	if (cmd)
		(void)snprintf(page, sizeof(page), "podvm-%s", cmd->name);
	for (char *p = page; *p; p++)
		*p = *p == ' ' ? '-' : *p;
	(void)fprintf(f, ".TH \"%s\" 1 \"\" \"podvm %s\" \"PodVM manual\"\n.SH NAME\n", page, PODVM_VERSION);
	put_roff(f, page, strlen(page));
	(void)fputs(" \\- ", f);
	put_roff_line(f, cmd ? cmd->summary : "run Kubernetes Pods in micro-VMs");
}

static void man_end(FILE *f)
{
	(void)fputs(".SH EXIT STATUS\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		(void)fprintf(f, ".TP\n.B %d\n%s\n", statuses[i].code, statuses[i].text);
	(void)fputs(".PP\n", f);
	put_roff_line(f, status_more);
	(void)fputs(".SH ENVIRONMENT\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(environment); i++)
		(void)fprintf(f, ".TP\n.B %s\n%s\n", environment[i].name, environment[i].text);
}

static void man_all(FILE *f)
{
	man_title(f, NULL);
	(void)fputs(
		".SH SYNOPSIS\n.B podvm\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH DESCRIPTION\n", f);
	put_roff_line(f, about);
	(void)fputs(".SH COMMANDS\n", f);
	for (size_t i = 0; cmd_table[i]; i++) {
		(void)fputs(".TP\n.B ", f);
		put_roff_line(f, cmd_table[i]->name);
		put_roff_line(f, cmd_table[i]->summary);
	}
	(void)fputs(".PP\nEach has a page of its own: podvm\\-run(1), podvm\\-image\\-pull(1), and so on.\n", f);
	man_end(f);
}

static void man_options(const struct cmd *cmd, FILE *f)
{
	const struct cmd_option *o;

	(void)fputs(".SH OPTIONS\n", f);
	for (size_t i = 0; (o = option_at(cmd, i)); i++) {
		(void)fputs(".TP\n", f);
		if (o->letter)
			(void)fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
		(void)fputs("\\fB\\-\\-", f);
		put_roff(f, o->name, strlen(o->name));
		(void)fputs("\\fR", f);
		if (o->arg)
			(void)fprintf(f, " \\fI%s\\fR", o->arg);
		(void)fputc('\n', f);
		put_roff_line(f, o->help);
	}
}

static void man_examples(const struct cmd *cmd, FILE *f)
{
	const char *p = cmd->examples ? cmd->examples : "";

	(void)fputs(".SH EXAMPLES\n", f);
	while (*p) {
		size_t line = strcspn(p, "\n"), command = strcspn(p, "\t");

		(void)fputs(".TP\n\\fB", f);
		put_roff(f, p, MIN_OF(command, line));
		(void)fputs("\\fR\n", f);
		if (command < line)
			put_roff(f, p + command + 1, line - command - 1);
		(void)fputc('\n', f);
		p += line + (p[line] == '\n');
	}
}

void help_print_man(const struct cmd *cmd, FILE *f)
{
	if (!cmd) {
		man_all(f);
		return;
	}
	man_title(f, cmd);
	(void)fputs(".SH SYNOPSIS\n.B podvm ", f);
	put_roff_line(f, cmd->name);
	(void)fputs("[\\fIOPTION\\fR]...\n", f);
	if (*cmd->args)
		put_roff_line(f, cmd->args);
	(void)fputs(".SH DESCRIPTION\n", f);
	put_paragraphs(f, cmd->description);
	man_options(cmd, f);
	man_examples(cmd, f);
	man_end(f);
	(void)fputs(".SH SEE ALSO\n.BR podvm (1)\n", f);
}

/* ---- bash completion ---- */

/* The words that may stand where `var` has what stood before: commands, and behind a group's word the group's. */
static void completion_words(FILE *f, const char *var)
{
	(void)fprintf(f, "\tcase $%s in\n\t'') words='", var);
	for (size_t i = 0; cmd_table[i]; i++) {
		const char *name = cmd_table[i]->name;
		size_t n = strcspn(name, " ");

		/* A group's commands stand together: its word is written once. */
		if (i == 0 || strncmp(cmd_table[i - 1]->name, name, n + 1) != 0)
			(void)fprintf(f, "%s%.*s", i ? " " : "", (int)n, name);
	}
	(void)fputs("' ;;\n", f);
	for (size_t i = 0; cmd_table[i]; i++) {
		const char *name = cmd_table[i]->name, *rest;
		size_t n = strcspn(name, " ");
		char group[16];

		if (!name[n] || (i && strncmp(cmd_table[i - 1]->name, name, n + 1) == 0))
			continue;
		(void)snprintf(group, sizeof(group), "%.*s", (int)n, name);
		(void)fprintf(f, "\t%s) words='", group);
		for (size_t k = i; cmd_table[k]; k++)
			if (first_word(cmd_table[k]->name, group, &rest))
				(void)fprintf(f, "%s%s", k > i ? " " : "", rest);
		(void)fputs("' ;;\n", f);
	}
	(void)fputs("\tesac\n", f);
}

static void completion_options(FILE *f)
{
	(void)fputs("\tcase $cmd in\n", f);
	for (size_t i = 0; cmd_table[i]; i++) {
		const struct cmd_option *o;

		(void)fprintf(f, "\t'%s') kind='%s' opts='", cmd_table[i]->name,
			cmd_table[i]->completes ? cmd_table[i]->completes : "");
		for (size_t k = 0; (o = option_at(cmd_table[i], k)); k++)
			(void)fprintf(f, "%s--%s", k ? " " : "", o->name);
		(void)fputs("' ;;\n", f);
	}
	(void)fputs("\tesac\n", f);
}

/* What the value of an option may be, by its placeholder; "": nothing is known. */
static const char *value_kind(const char *placeholder)
{
	static const struct {
		const char *placeholder, *kind;
	} kinds[] = {{"CONTAINER", "container"}, {"FILE", "file"}, {"PATH", "file"}, {"PROGRAM", "file"},
		{"FOLDER", "file"}};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].placeholder, placeholder))
			return kinds[i].kind;
	return "";
}

/* For "$cmd $w", an option: whether a value follows, what kind of value, and its words where they are few. */
static void completion_values(FILE *f)
{
	(void)fputs("\t\tcase \"$cmd $w\" in\n", f);
	for (size_t i = 0; cmd_table[i]; i++) {
		const char *name = cmd_table[i]->name;
		const struct cmd_option *o;

		for (size_t k = 0; (o = option_at(cmd_table[i], k)); k++) {
			if (!o->arg)
				continue;
			(void)fprintf(f, "\t\t'%s --%s'", name, o->name);
			if (o->letter)
				(void)fprintf(f, " | '%s -%c'", name, o->letter);
			(void)fprintf(f, ") value=1 vkind='%s' vwords='", value_kind(o->arg));
			for (const char *p = strchr(o->arg, '|') ? o->arg : ""; *p; p++)
				(void)fputc(*p == '|' ? ' ' : *p, f);
			(void)fputs("' ;;\n", f);
		}
	}
	(void)fputs("\t\tesac\n", f);
}

/* What stands before the cursor: the command, the first argument, all of them, and whether a value is missing. */
static void completion_scan(FILE *f)
{
	const char *p = "";

	(void)fputs("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		    "\t\tw=${COMP_WORDS[i]}\n"
		    "\t\t[[ $w == = ]] && continue # --option=value comes in three words\n"
		    "\t\t[[ -n $value ]] && { value=; continue; }\n"
		    "\t\tif [[ $w == -* ]]; then\n",
		f);
	completion_values(f);
	(void)fputs("\t\telif [[ -z $cmd ]]; then cmd=$w\n", f);
	for (size_t i = 0; cmd_table[i]; i++) {
		const char *name = cmd_table[i]->name;
		size_t n = strcspn(name, " ");

		if (!name[n] || strncmp(p, name, n + 1) == 0)
			continue;
		p = name;
		(void)fprintf(f, "\t\telif [[ $cmd == %.*s ]]; then cmd+=\" $w\"\n", (int)n, name);
	}
	(void)fputs("\t\telse args+=${args:+ }$w first=${first:-$w}\n"
		    "\t\tfi\n"
		    "\tdone\n"
		    "\t[[ $cur == = ]] && cur=\n",
		f);
}

/* Where another command's line begins, ours has nothing to offer. */
static void completion_ends(FILE *f)
{
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->options_first)
			(void)fprintf(f, "\t[[ $cmd == '%s' && -n $first ]] && return\n", cmd_table[i]->name);
}

void help_print_completion(FILE *f)
{
	(void)fputs(
		"# bash completion for podvm, made by 'podvm completion bash'.\n"
		"_podvm() {\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd= words= kind= opts= args= first= value= vkind= vwords= i w\n"
		"\tCOMPREPLY=()\n",
		f);
	completion_scan(f);
	completion_ends(f);
	completion_words(f, "cmd");
	completion_options(f);
	(void)fputs("\tif [[ -n $value ]]; then kind=$vkind words=$vwords\n"
		    "\telif [[ -z $words && $cur == -* ]]; then words=$opts\n"
		    "\telif [[ $kind == command ]]; then\n",
		f);
	completion_words(f, "args");
	(void)fputs("\tfi\n"
		    "\tif [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return; fi\n"
		    "\tcase $kind in\n"
		    "\tpod) words=$(podvm ps -a --names 2>/dev/null) ;;\n"
		    "\tcontainer) words=$(podvm ps -a --containers ${first:+\"$first\"} 2>/dev/null) ;;\n"
		    "\timage) words=$(podvm image ls -q 2>/dev/null) ;;\n"
		    "\tfile) COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;\n"
		    "\tesac\n"
		    "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		    "}\n"
		    "complete -F _podvm podvm\n",
		f);
}
