/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/containerd_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define BEGIN_MARK "# BEGIN podvm: made by 'podvm install', taken out by 'podvm uninstall'\n"
#define END_MARK "# END podvm\n"
/* Stands in front of the section when the text before it had no end of line. */
#define NEWLINE_MARK "\n# podvm: the line above had no end\n"

struct line {
	const char *at;
	size_t len; /* without its end */
};

/* The next line of *text, which is advanced. False at the end. */
static bool next_line(const char **text, struct line *ret)
{
	const char *end;

	if (!**text)
		return false;
	end = strchrnul(*text, '\n');
	*ret = (struct line){.at = *text, .len = (size_t)(end - *text)};
	*text = *end ? end + 1 : end;
	return true;
}

static struct line trimmed(struct line l)
{
	while (l.len && isspace((unsigned char)l.at[0])) {
		l.at++;
		l.len--;
	}
	while (l.len && isspace((unsigned char)l.at[l.len - 1]))
		l.len--;
	return l;
}

/* The value of a line "KEY = VALUE"; NULL when it is something else. */
static const char *value_of(struct line l, const char *key)
{
	size_t n = strlen(key);

	if (l.len <= n || memcmp(l.at, key, n) != 0)
		return NULL;
	for (l.at += n, l.len -= n; l.len && (*l.at == ' ' || *l.at == '\t'); l.at++)
		l.len--;
	if (!l.len || *l.at != '=')
		return NULL;
	for (l.at++, l.len--; l.len && (*l.at == ' ' || *l.at == '\t'); l.at++)
		l.len--;
	return l.at;
}

/* The folder of the first name in a list on one line that ends in "*.toml". */
static void find_import(struct line l, const char *value, char dst[PATH_LEN])
{
	const char *end = l.at + l.len;

	while (value < end) {
		const char *open = value, *close;
		size_t n;

		while (open < end && *open != '"' && *open != '\'')
			open++;
		if (open >= end)
			return;
		close = memchr(open + 1, *open, (size_t)(end - open - 1));
		if (!close)
			return;
		n = (size_t)(close - open - 1);
		if (open[1] == '/' && n > strlen("/*.toml") && n < PATH_LEN &&
			memcmp(close - strlen("/*.toml"), "/*.toml", strlen("/*.toml")) == 0 &&
			!memchr(open + 1, '\\', n)) {
			memcpy(dst, open + 1, n - strlen("/*.toml"));
			dst[n - strlen("/*.toml")] = '\0';
			return;
		}
		value = close + 1;
	}
}

/* Whether `word` stands in the line, before any comment, with no name character beside it. */
static bool has_word(struct line l, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= l.len && l.at[i] != '#'; i++) {
		bool starts = i == 0 || !(isalnum((unsigned char)l.at[i - 1]) || strchr("-_", l.at[i - 1]));
		bool ends = i + n == l.len || !(isalnum((unsigned char)l.at[i + n]) || strchr("-_", l.at[i + n]));

		if (starts && ends && memcmp(l.at + i, word, n) == 0)
			return true;
	}
	return false;
}

static int read_top_key(struct line l, struct containerd_config *c, struct err *err)
{
	const char *value = value_of(l, "version");

	if (value) {
		char *end;
		unsigned long v = strtoul(value, &end, 10);

		if (!isdigit((unsigned char)*value) || v > 99)
			return err_set(err, EINVAL, "its line 'version' has no number that makes sense");
		c->version = (unsigned)v;
	}
	value = value_of(l, "imports");
	if (value)
		find_import(l, value, c->import_dir);
	value = value_of(l, "disabled_plugins");
	if (value && (has_word(l, "cri") || memmem(l.at, l.len, "v1.cri", strlen("v1.cri"))))
		return err_set(err, EINVAL,
			"the line 'disabled_plugins' turns Kubernetes' interface (CRI) off; "
			"'ctr' and 'docker run --runtime io.containerd.podvm.v2' need no change");
	return 0;
}

static int read_lines(const char *text, const char *handler, struct containerd_config *c, struct err *err)
{
	bool top = true;
	struct line l;

	while (next_line(&text, &l)) {
		int r = 0;

		l = trimmed(l);
		if (memmem(l.at, l.len, "{{", 2))
			return err_set(
				err, EINVAL, "it is a template; add what 'podvm install --show' prints to it by hand");
		top = top && !(l.len && l.at[0] == '[');
		if (top)
			r = read_top_key(l, c, err);
		if (r < 0)
			return r;
		c->has_runtimes = c->has_runtimes || has_word(l, "runtimes");
		if (has_word(l, handler))
			return err_set(
				err, EINVAL, "it names '%s' already, and 'podvm install' did not write that", handler);
	}
	return 0;
}

int containerd_config_read(const char *text, const char *handler, struct containerd_config *ret, struct err *err)
{
	auto_buf struct buf rest = BUF_INIT(CONTAINERD_CONFIG_MAX + 1);
	struct containerd_config c = {0};
	int r = containerd_config_remove(text, &rest, err);

	if (r < 0)
		return r;
	c.installed = r == 0;
	if (buf_append(&rest, "", 1) < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = read_lines((const char *)buf_data(&rest), handler, &c, err);
	if (r < 0)
		return r;
	if (c.version != 2 && c.version != 3)
		return err_set(err, EINVAL,
			"it is of version %u: only 2 and 3 are known ('containerd config migrate' "
			"prints it in a newer one)",
			c.version ? c.version : 1);
	*ret = c;
	return 0;
}

#define HANDLERS_2 "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes."

/* Copies the tables of handlers. */
static int repeat_handlers(const char *dump, struct buf *out)
{
	bool inside = false;
	struct line l;
	int r = 0;

	while (r == 0 && next_line(&dump, &l)) {
		struct line t = trimmed(l);

		if (t.len && t.at[0] == '[')
			inside = t.len > strlen(HANDLERS_2) && memcmp(t.at, HANDLERS_2, strlen(HANDLERS_2)) == 0;
		if (inside && t.len)
			r = buf_printf(out, "%s%.*s\n", t.at[0] == '[' ? "" : "  ", (int)t.len, t.at);
	}
	return r;
}

int containerd_config_section(unsigned version, const struct containerd_handler *handler, const char *defaults,
	struct buf *out, struct err *err)
{
	const char *plugin = version == 2 ? "io.containerd.grpc.v1.cri" : "io.containerd.cri.v1.runtime";
	int r = buf_append_str(out, BEGIN_MARK);

	if (r == 0 && version == 2 && defaults)
		r = repeat_handlers(defaults, out);
	if (r == 0)
		r = buf_printf(out,
			"[plugins.\"%s\".containerd.runtimes.%s]\n"
			"  runtime_type = \"io.containerd.podvm.v2\"\n"
			"  privileged_without_host_devices = true\n",
			plugin, handler->name);
	if (r == 0 && version != 2)
		r = buf_printf(out, "  sandboxer = \"%s\"\n", handler->sandboxer);
	if (r == 0)
		r = buf_append_str(out, END_MARK);
	return r < 0 ? err_set(err, -r, "containerd's configuration is too large") : 0;
}

int containerd_config_add(const char *text, const struct containerd_config *c, const struct containerd_handler *handler,
	const char *defaults, struct buf *out, struct err *err)
{
	size_t n = strlen(text);

	if (buf_append(out, text, n) < 0 || (n && text[n - 1] != '\n' && buf_append_str(out, NEWLINE_MARK) < 0))
		return err_set(err, ENOBUFS, "containerd's configuration is too large");
	return containerd_config_section(c->version, handler, c->has_runtimes ? NULL : defaults, out, err);
}

int containerd_config_remove(const char *text, struct buf *out, struct err *err)
{
	const char *begin = strstr(text, BEGIN_MARK), *end;
	size_t n;

	n = begin ? (size_t)(begin - text) : strlen(text);
	if (begin) {
		end = strstr(begin, END_MARK);
		if (!end || strstr(begin + 1, BEGIN_MARK))
			return err_set(
				err, EINVAL, "podvm's section is not as 'podvm install' wrote it: take it out by hand");
		end += strlen(END_MARK);
		if (n >= strlen(NEWLINE_MARK) && !*end &&
			memcmp(begin - strlen(NEWLINE_MARK), NEWLINE_MARK, strlen(NEWLINE_MARK)) == 0)
			n -= strlen(NEWLINE_MARK);
	} else {
		end = text + n;
	}
	if (buf_append(out, text, n) < 0 || buf_append_str(out, end) < 0)
		return err_set(err, ENOBUFS, "containerd's configuration is too large");
	return begin ? 0 : 1;
}

/* Whether `l` is a line of `text`, blanks around it aside. */
static bool has_line(const char *text, struct line l)
{
	struct line m;

	while (next_line(&text, &m)) {
		m = trimmed(m);
		if (m.len == l.len && memcmp(m.at, l.at, l.len) == 0)
			return true;
	}
	return false;
}

int containerd_config_compare(const char *before, const char *after, const char *handler, struct err *err)
{
	char want[128];
	struct line l;

	(void)snprintf(want, sizeof(want), ".containerd.runtimes.%s]\n", handler);
	if (!strstr(after, want))
		return err_set(err, EINVAL, "containerd would not see the handler '%s'", handler);
	while (next_line(&before, &l)) {
		l = trimmed(l);
		/* containerd 1 lists the files that it read. */
		if (value_of(l, "imports") || !l.len)
			continue;
		if (!has_line(after, l))
			return err_set(err, EINVAL, "containerd would lose the line '%.*s'",
				(int)(l.len < 200 ? l.len : 200), l.at);
	}
	return 0;
}
