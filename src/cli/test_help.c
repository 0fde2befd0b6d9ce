/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "cli/help.h"

static const struct cmd one = {
	.name = "one",
	.args = "FILE",
	.summary = "does one thing",
	.description = "First paragraph - with a dash.\n\n.begins with a dot and a \\ backslash",
	.examples = "podvm one x\twhat it does\n",
	.completes = "pod",
	.options = {{"all", 'a', NULL, "everything"}, {"size", 0, "N", "how much"}, {"kind", 'k', "tall|wide", "which"},
		{"container", 'c', "CONTAINER", "where"}},
};
static const struct cmd help = {
	.name = "help", .args = "", .summary = "s", .description = "d", .examples = "", .completes = "command"};
static const struct cmd in = {.name = "in",
	.args = "POD COMMAND",
	.summary = "s",
	.description = "d",
	.examples = "",
	.completes = "pod",
	.options_first = true,
	.options = {{"container", 'c', "CONTAINER", "where"}}};
static const struct cmd group_ls = {.name = "group ls",
	.args = "",
	.summary = "lists",
	.description = "d",
	.examples = "podvm group ls\n",
	.completes = ""};
static const struct cmd group_rm = {
	.name = "group rm", .args = "X", .summary = "removes", .description = "d", .examples = "", .completes = "file"};
const struct cmd *const cmd_table[] = {&one, &group_ls, &group_rm, &help, &in, NULL};

static char *text;
static size_t text_len;

static void collect(void (*fn)(const struct cmd *cmd, FILE *f), const struct cmd *cmd)
{
	FILE *f;

	free(text);
	text = NULL;
	f = open_memstream(&text, &text_len);
	fn(cmd, f);
	(void)fclose(f);
}

static const struct cmd *find(const char *a, const char *b, const char *c, int *words)
{
	char *argv[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
	int argc = 0;

	while (argv[argc])
		argc++;
	*words = 0;
	return help_find(argc, argv, words);
}

static void commands_are_found_by_their_words(void **state)
{
	int words;

	assert_ptr_equal(find("one", "two", NULL, &words), &one);
	assert_int_equal(words, 1);
	assert_ptr_equal(find("group", "rm", "x", &words), &group_rm);
	assert_int_equal(words, 2);
	assert_null(find("group", NULL, NULL, &words));
	assert_null(find("group", "x", NULL, &words));
	assert_null(find("grou", "ls", NULL, &words));
	assert_null(find("on", NULL, NULL, &words));
	assert_null(find("", NULL, NULL, &words));
	assert_null(find(NULL, NULL, NULL, &words));
	assert_true(help_is_group("group"));
	assert_false(help_is_group("one"));
	assert_false(help_is_group("grou"));
}

static void help_shows_all_that_is_described(void **state)
{
	collect(help_print, &one);
	assert_non_null(strstr(text, "Usage: podvm one [OPTION]... FILE\n"));
	assert_non_null(strstr(text, "  -a, --all                   everything\n"));
	assert_non_null(strstr(text, "      --size N                how much\n"));
	assert_non_null(strstr(text, "  -h, --help                  show this help\n"));
	assert_non_null(strstr(text, "  podvm one x\n      what it does\n"));
}

static void man_pages_are_roff(void **state)
{
	collect(help_print_man, &one);
	assert_true(str_has_prefix(text, ".TH \"podvm-one\" 1"));
	assert_non_null(strstr(text, "podvm\\-one \\- does one thing\n"));
	assert_non_null(
		strstr(text, "First paragraph \\- with a dash.\n.PP\n\\&.begins with a dot and a \\e backslash\n"));
	assert_non_null(strstr(text, "\\fB\\-a\\fR, \\fB\\-\\-all\\fR\neverything\n"));
	collect(help_print_man, NULL);
	assert_true(str_has_prefix(text, ".TH \"podvm\" 1"));
	assert_non_null(strstr(text, ".B group ls\nlists\n"));
}

/* Runs the script in bash for a line and compares what it offers. */
static void completes(const char *line, const char *want)
{
	char command[8192], got[512] = "";
	FILE *p;

	free(text);
	text = NULL;
	p = open_memstream(&text, &text_len);
	help_print_completion(p);
	(void)fclose(p);
	(void)snprintf(command, sizeof(command),
		"bash -c '%s\npodvm() { case $* in ps\\ -a\\ --names) echo pod-a pod-b ;; ps\\ -a\\ --containers*) "
		"echo any${4:+-of-$4} ;; esac; }\nCOMP_WORDS=(%s); "
		"COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _podvm; echo \"${COMPREPLY[*]}\"'",
		"eval \"$PODVM_COMPLETION\"", line);
	setenv("PODVM_COMPLETION", text, 1);
	p = popen(command, "r");
	assert_non_null(p);
	assert_non_null(fgets(got, sizeof(got), p));
	assert_int_equal(pclose(p), 0);
	got[strcspn(got, "\n")] = '\0';
	assert_string_equal(got, want);
}

static void bash_completes(void **state)
{
	completes("podvm \"\"", "one group help in");
	completes("podvm gr", "group");
	completes("podvm group \"\"", "ls rm");
	completes("podvm one --", "--all --size --kind --container --help");
	completes("podvm one --kind \"\"", "tall wide");
	completes("podvm one -k w", "wide");
	completes("podvm one pod-b", "pod-b");
	completes("podvm one \"\"", "pod-a pod-b");
	completes("podvm group rm --h", "--help");
	completes("podvm help \"\"", "one group help in");
	completes("podvm help group \"\"", "ls rm");
	completes("podvm help one \"\"", "");
	completes("podvm help group ls \"\"", "");
}

static void bash_completes_the_values_of_options(void **state)
{
	completes("podvm one pod-b -c \"\"", "any-of-pod-b");
	completes("podvm one pod-b --container \"\"", "any-of-pod-b");
	completes("podvm one pod-b --container = \"a\"", "any-of-pod-b");
	completes("podvm one pod-b --container =", "any-of-pod-b");
	completes("podvm one -c \"\"", "any");
	completes("podvm one -c any \"\"", "pod-a pod-b");
	completes("podvm one --container = any \"\"", "pod-a pod-b");
	completes("podvm one --kind wide pod-a -c \"\"", "any-of-pod-a");
	completes("podvm one --size \"\"", "");
	completes("podvm one --kind = t", "tall");
	completes("podvm in -c \"\"", "any");
	completes("podvm in -c any p", "pod-a pod-b");
	completes("podvm in pod-a \"\"", "");
	completes("podvm in pod-a -- -", "");
}

static void help_of_a_group_has_examples(void **state)
{
	FILE *f;

	free(text);
	text = NULL;
	f = open_memstream(&text, &text_len);
	help_print_group("group", f);
	(void)fclose(f);
	assert_non_null(strstr(text, "  group ls   lists\n"));
	assert_non_null(strstr(text, "Examples:\n  podvm group ls\n"));
}

static int teardown(void **state)
{
	free(text);
	text = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_found_by_their_words),
		cmocka_unit_test(help_shows_all_that_is_described),
		cmocka_unit_test(man_pages_are_roff),
		cmocka_unit_test(bash_completes),
		cmocka_unit_test(bash_completes_the_values_of_options),
		cmocka_unit_test(help_of_a_group_has_examples),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
