/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/cmd.h"

static const struct cmd demo = {
	.name = "demo",
	.options = {{"all", 'a', NULL, ""}, {"name", 'n', "NAME", ""}, {"only", 0, NULL, ""}, {"size", 0, "N", ""}},
};
static const struct cmd first = {
	.name = "first",
	.options_first = true,
	.options = {{"all", 'a', NULL, ""}},
};
const struct cmd *const cmd_table[] = {&demo, &first, NULL};

/* What a command line is parsed to: letters, values in <>, "only" as its index, arguments after "|"; the error after "!". */
static void parse(const struct cmd *cmd, const char *line, char *got, size_t size)
{
	char text[200], out[600] = "", message[512] = "";
	char *argv[16] = {NULL}, *save = NULL;
	int argc = 0, o, saved = dup(STDERR_FILENO), pipefd[2];

	(void)str_copy(text, sizeof(text), line);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	assert_int_equal(pipe2(pipefd, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(dup2(pipefd[1], STDERR_FILENO) >= 0);
	optind = 0;
	while ((o = cmd_getopt(cmd, argc, argv)) != -1 && o != '?') {
		size_t n = strlen(out);

		if (o >= 0x100)
			(void)snprintf(out + n, sizeof(out) - n, "%d", o - 0x100);
		else
			(void)snprintf(out + n, sizeof(out) - n, "%c", o);
		n = strlen(out);
		if (optarg)
			(void)snprintf(out + n, sizeof(out) - n, "<%s>", optarg);
	}
	(void)fflush(stderr);
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	if (o == '?') {
		(void)!read(pipefd[0], message, sizeof(message) - 1);
		message[strcspn(message, "(")] = '\0';
		(void)snprintf(got, size, "%s!%s", out, message);
	} else {
		size_t n = strlen(out);

		for (int i = optind; i < argc; i++) {
			(void)snprintf(out + n, sizeof(out) - n, "|%s", argv[i]);
			n = strlen(out);
		}
		(void)str_copy(got, size, out);
	}
	(void)close(pipefd[0]);
	(void)close(pipefd[1]);
}

static void options_are_parsed_by_their_description(void **state)
{
	static const struct {
		const struct cmd *cmd;
		const char *line, *want;
	} t[] = {
		{&demo, "demo", ""},
		{&demo, "demo x y", "|x|y"},
		{&demo, "demo -a x", "a|x"},
		{&demo, "demo x -a", "a|x"},
		{&demo, "demo -an v x", "an<v>|x"},
		{&demo, "demo -nv --all", "n<v>a"},
		{&demo, "demo --name=v --name w", "n<v>n<w>"},
		{&demo, "demo --only --size 3", "23<3>"},
		{&demo, "demo --si=3", "3<3>"},
		{&demo, "demo -- -a", "|-a"},
		{&demo, "demo -n -a", "n<-a>"},
		{&first, "first -a pod ls -a --all", "a|pod|ls|-a|--all"},
		{&first, "first pod -- ls", "|pod|--|ls"},
		{&demo, "demo -x", "!podvm demo: unknown option '-x' "},
		{&demo, "demo -ax", "a!podvm demo: unknown option '-x' "},
		{&demo, "demo --al1", "!podvm demo: unknown option '--al1'; did you mean '--all'? "},
		{&demo, "demo --unheard-of", "!podvm demo: unknown option '--unheard-of' "},
		{&demo, "demo --unheard-of=1", "!podvm demo: unknown option '--unheard-of' "},
		{&demo, "demo -n", "!podvm demo: option '--name' needs a value "},
		{&demo, "demo --size", "!podvm demo: option '--size' needs a value "},
		{&demo, "demo --all=1", "!podvm demo: option '--all' takes no value "},
		{&demo, "demo --only=1", "!podvm demo: option '--only' takes no value "},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		char got[600];

		parse(t[i].cmd, t[i].line, got, sizeof(got));
		if (!str_eq(got, t[i].want))
			fail_msg("%s: '%s', not '%s'", t[i].line, got, t[i].want);
	}
}

static void help_is_seen_where_it_is_ours(void **state)
{
	static const struct {
		const struct cmd *cmd;
		const char *line;
		bool want;
	} t[] = {
		{&demo, "demo", false},
		{&demo, "demo --help", true},
		{&demo, "demo x -h", true},
		{&demo, "demo -ah", true},
		{&demo, "demo -n -h", false}, /* the value of --name */
		{&demo, "demo -- --help", false},
		{&demo, "demo --bad --help", true},
		{&demo, "demo x --name", false},
		{&demo, "demo x -a y", false},
		{&first, "first pod ls --help", false},
		{&first, "first -h pod", true},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		char text[200], order[200], *argv[16] = {NULL}, *save = NULL;
		int argc = 0;

		(void)str_copy(text, sizeof(text), t[i].line);
		for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
			argv[argc++] = w;
		(void)str_copy(order, sizeof(order), "");
		if (cmd_wants_help(t[i].cmd, argc, argv) != t[i].want)
			fail_msg("%s", t[i].line);
		for (int k = 0; k < argc; k++)
			(void)snprintf(
				order + strlen(order), sizeof(order) - strlen(order), "%s%s", k ? " " : "", argv[k]);
		assert_string_equal(order, t[i].line); /* the command still sees the order that was typed */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_parsed_by_their_description),
		cmocka_unit_test(help_is_seen_where_it_is_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
