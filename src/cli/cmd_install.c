/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm install, podvm uninstall: the handler in containerd's configuration, and the shim where containerd finds it.
 *
 * The handler goes into a file of its own where containerd reads such files and merges them (version 3 with a line `imports`); version
 * 1 of containerd would drop everything else that its main file says about CRI (seen with 1.6 and 1.7). Everywhere else it is a section
 * at the end of the main file. Where a containerd program is there, it is asked before and after what it makes of its configuration
 * (`containerd config dump`), and the change is taken back when anything but the handler would change.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "cli/cmd.h"
#include "cli/containerd_config.h"

#define SHIM "containerd-shim-podvm-v2"
#define CONFIG_DEFAULT "/etc/containerd/config.toml"
#define BIN_DIR_DEFAULT "/usr/local/bin"
#define CONTAINERD_TIMEOUT_MS 20000
#define TEXT_MAX (CONTAINERD_CONFIG_MAX + 1)
/* First line of a file that `podvm install` made; when nothing but this and the version is left, the file goes too. */
#define OURS "# made by 'podvm install'\n"

struct install {
	const char *config;	/* containerd's main file */
	const char *containerd; /* program */
	const char *bin_dir;	/* where containerd looks for the shim */
	struct containerd_handler handler;
	bool dry_run, have_containerd;
	/* What is to be changed: */
	char target[PATH_LEN];
	struct buf old, new; /* its text with a NUL behind it; nothing at all: no file */
	mode_t mode;
	char *before; /* what containerd makes of its configuration so far; NULL without a containerd */
};

static void install_fini(struct install *in)
{
	buf_fini(&in->old);
	buf_fini(&in->new);
	free(in->before);
}
#define auto_install cleanup_with(install_fini)

static const char *text_of(const struct buf *b)
{
	return b->len ? (const char *)buf_data(b) : "";
}

static int add_nul(struct buf *b, struct err *err)
{
	return buf_append(b, "", 1) < 0 ? err_set(err, EFBIG, "containerd's configuration is too large") : 0;
}

/* Makes `path` the target and reads it; a file that is not there leaves `old` empty. Links are followed. */
static int read_target(struct install *in, const char *path, struct err *err)
{
	auto_free char *bytes = NULL;
	auto_free char *real = realpath(path, NULL);
	struct stat st;
	size_t n;
	int r;

	if (!real && errno != ENOENT)
		return err_errno(err, "'%s'", path);
	if (!str_copy(in->target, PATH_LEN, real ? real : path))
		return err_set(err, ENAMETOOLONG, "the name '%.200s' is too long", path);
	in->mode = 0644;
	buf_fini(&in->old);
	in->old = (struct buf)BUF_INIT(TEXT_MAX);
	if (!real)
		return 0;
	if (stat(real, &st) < 0)
		return err_errno(err, "'%s'", real);
	in->mode = st.st_mode & 07777;
	r = file_read(AT_FDCWD, real, CONTAINERD_CONFIG_MAX, &bytes, &n, err);
	if (r < 0)
		return r;
	if (strlen(bytes) != n)
		return err_set(err, EINVAL, "'%s' is no text", real);
	return buf_append(&in->old, bytes, n + 1) < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

/* Writes the target's new (or old) text, or removes it where that is no file. */
static int write_target(const struct install *in, const struct buf *text, struct err *err)
{
	struct stat st;
	bool there = stat(in->target, &st) == 0;
	int r;

	if (!text->len)
		return unlink(in->target) < 0 && errno != ENOENT ? err_errno(err, "remove '%s'", in->target) : 0;
	r = file_write_atomic(AT_FDCWD, in->target, text_of(text), strlen(text_of(text)), in->mode, err);
	if (r == 0 && there && chown(in->target, st.st_uid, st.st_gid) < 0)
		return err_errno(err, "chown '%s'", in->target);
	return r;
}

static void show_lines(char sign, const char *at, const char *end)
{
	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));

		(void)printf("%c%.*s\n", sign, (int)((eol ? eol : end) - at), at);
		at = eol ? eol + 1 : end;
	}
}

/* Old and new differ in one place only: a section is in one of them, or one is no file. */
static void show_change(const struct install *in)
{
	const char *old = text_of(&in->old), *new = text_of(&in->new);
	size_t same = 0, tail = 0, old_len = strlen(old), new_len = strlen(new);

	while (old[same] && old[same] == new[same])
		same++;
	/* Whole lines; but where one text ends without an end of line, the other goes on with it. */
	if (same < old_len && same < new_len)
		while (same && new[same - 1] != '\n')
			same--;
	while (tail < old_len - same && tail < new_len - same && old[old_len - tail - 1] == new[new_len - tail - 1])
		tail++;
	(void)printf(
		"--- %s\n+++ %s\n", in->old.len ? in->target : "/dev/null", in->new.len ? in->target : "/dev/null");
	show_lines('-', old + same + (old[same] == '\n'), old + old_len - tail);
	show_lines('+', new + same + (new[same] == '\n'), new + new_len - tail);
}

/* ---- containerd ---- */

static int ask_containerd(const struct install *in, const char *const *argv, char **ret, struct err *err)
{
	int r = spawn_run(argv, CONTAINERD_CONFIG_MAX, ret, CONTAINERD_TIMEOUT_MS, err);

	return r < 0 ? err_wrap(err, "'%s' does not accept its configuration", in->containerd) : 0;
}

/* What containerd makes of its configuration. *ret is malloc'ed. */
static int dump(const struct install *in, char **ret, struct err *err)
{
	const char *const argv[] = {in->containerd, "--config", in->config, "config", "dump", NULL};

	return ask_containerd(in, argv, ret, err);
}

static bool program_works(const char *program)
{
	const char *const argv[] = {program, "--version", NULL};
	auto_free char *out = NULL;

	return spawn_run(argv, 4096, &out, CONTAINERD_TIMEOUT_MS, NULL) == 0;
}

/* What the program does without a configuration file, and the version that suits it. *ret is malloc'ed. */
static int ask_defaults(const struct install *in, char **ret, unsigned *ret_version, struct err *err)
{
	const char *const argv[] = {in->containerd, "config", "default", NULL};
	int r;

	if (!in->have_containerd)
		return err_set(err, ENOENT,
			"there is neither '%s' nor a program '%s': name one with --config or --containerd", in->config,
			in->containerd);
	r = ask_containerd(in, argv, ret, err);
	if (r == 0)
		*ret_version = strstr(*ret, "version = 3") ? 3 : 2;
	return r;
}

/* ---- the shim ---- */

static int link_path(const struct install *in, char dst[PATH_LEN], struct err *err)
{
	if (snprintf(dst, PATH_LEN, "%s/" SHIM, in->bin_dir) >= PATH_LEN)
		return err_set(err, ENAMETOOLONG, "the name of the folder '%.200s' is too long", in->bin_dir);
	return 0;
}

static int link_shim(const struct install *in, struct err *err)
{
	char shim[PATH_LEN], link[PATH_LEN];
	struct stat a, b;
	int r = path_helper(shim, SHIM, err);

	if (r == 0)
		r = link_path(in, link, err);
	if (r < 0)
		return r;
	if (stat(link, &a) == 0 && stat(shim, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
		return 0;
	if (lstat(link, &a) == 0)
		return err_set(
			err, EEXIST, "'%s' is something else than '%s': remove it first, or use --bin-dir", link, shim);
	(void)printf("link %s -> %s\n", link, shim);
	return !in->dry_run && symlink(shim, link) < 0 ? err_errno(err, "link '%s' to '%s'", link, shim) : 0;
}

static int unlink_shim(const struct install *in, struct err *err)
{
	char shim[PATH_LEN], link[PATH_LEN], at[PATH_LEN];
	int r = link_path(in, link, err);
	ssize_t n;

	if (r < 0)
		return r;
	n = readlink(link, at, sizeof(at) - 1);
	/* A shim that is no link was put there by `make install`; another link is not ours. */
	if (n < 0 || path_helper(shim, SHIM, NULL) < 0)
		return 0;
	at[n] = '\0';
	if (strcmp(at, shim) != 0)
		return 0;
	(void)printf("remove %s\n", link);
	return !in->dry_run && unlink(link) < 0 ? err_errno(err, "remove '%s'", link) : 0;
}

/* ---- install ---- */

static int new_file(struct install *in, unsigned version, struct err *err)
{
	if (buf_printf(&in->new, OURS "version = %u\n", version) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return containerd_config_section(version, &in->handler, in->before, &in->new, err);
}

static int plan_drop_in(struct install *in, const char *folder, struct err *err)
{
	char drop_in[PATH_LEN];
	int r;

	if (snprintf(drop_in, PATH_LEN, "%s/podvm.toml", folder) >= PATH_LEN)
		return err_set(err, ENAMETOOLONG, "the name of the folder '%.200s' is too long", folder);
	r = read_target(in, drop_in, err);
	if (r < 0)
		return r;
	if (in->old.len && strncmp(text_of(&in->old), OURS, strlen(OURS)) != 0)
		return err_set(err, EEXIST, "'%s' is there, and 'podvm install' did not make it", drop_in);
	return in->old.len ? 1 : new_file(in, 3, err);
}

/* Decides which file the section goes to, and makes its new text. 1: it is there already. */
static int plan(struct install *in, struct err *err)
{
	struct containerd_config c = {0};
	int r = read_target(in, in->config, err);

	if (r < 0)
		return r;
	if (!in->old.len) {
		r = ask_defaults(in, &in->before, &c.version, err);
		return r < 0 ? r : new_file(in, c.version, err);
	}
	if (containerd_config_read(text_of(&in->old), in->handler.name, &c, err) < 0)
		return err_wrap(err, "'%s' is left as it is", in->config);
	if (c.installed)
		return 1;
	if (in->have_containerd)
		r = dump(in, &in->before, err);
	if (r < 0)
		return r;
	if (c.version == 3 && c.import_dir[0])
		return plan_drop_in(in, c.import_dir, err);
	return containerd_config_add(text_of(&in->old), &c, &in->handler, in->before, &in->new, err);
}

/* Writes the change; takes it back when containerd does not like what it sees then. */
static int apply(struct install *in, struct err *err)
{
	auto_free char *after = NULL;
	char folder[PATH_LEN];
	int r = 0;

	(void)str_copy(folder, PATH_LEN, in->target);
	*strrchr(folder, '/') = '\0';
	if (folder[0])
		r = dir_make_all(folder, 0755, err);
	if (r == 0)
		r = write_target(in, &in->new, err);
	if (r < 0 || !in->have_containerd)
		return r;
	r = dump(in, &after, err);
	if (r == 0)
		r = containerd_config_compare(in->before, after, in->handler.name, err);
	if (r < 0 && write_target(in, &in->old, NULL) < 0)
		return err_wrap(err, "'%s' could not be put back", in->target);
	return r < 0 ? err_wrap(err, "'%s' is as it was", in->target) : 0;
}

static int install(struct install *in, struct err *err)
{
	int r = plan(in, err);

	if (r < 0)
		return r;
	if (r == 0) {
		r = add_nul(&in->new, err);
		if (r == 0)
			show_change(in);
		if (r == 0 && !in->dry_run)
			r = apply(in, err);
	} else {
		(void)printf("%s has the handler already\n", in->target);
	}
	if (r >= 0)
		r = link_shim(in, err);
	if (r == 0 && !in->dry_run)
		(void)puts("restart containerd for it to take effect: systemctl restart containerd");
	return r;
}

/* ---- uninstall ---- */

/* Whether all that is left of a file is what `podvm install` begins a new one with. */
static bool only_ours(const char *text)
{
	const char *at = text + strlen(OURS);

	return strncmp(text, OURS, strlen(OURS)) == 0 &&
	       (strcmp(at, "version = 2\n") == 0 || strcmp(at, "version = 3\n") == 0);
}

/* Takes the section out of the target. 1: it has none. */
static int take_out(struct install *in, struct err *err)
{
	int r;

	buf_fini(&in->new);
	in->new = (struct buf)BUF_INIT(TEXT_MAX);
	r = containerd_config_remove(text_of(&in->old), &in->new, err);
	if (r == 0)
		r = add_nul(&in->new, err);
	if (r == 0 && only_ours(text_of(&in->new)))
		in->new.len = 0;
	if (r < 0)
		return err_wrap(err, "'%s' is left as it is", in->target);
	if (r == 1)
		return 1;
	show_change(in);
	return in->dry_run ? 0 : write_target(in, &in->new, err);
}

static int uninstall(struct install *in, struct err *err)
{
	struct containerd_config c = {0};
	char drop_in[PATH_LEN];
	int r = read_target(in, in->config, err), gone;

	if (r < 0)
		return r;
	if (containerd_config_read(text_of(&in->old), in->handler.name, &c, NULL) < 0)
		c.import_dir[0] = '\0';
	gone = take_out(in, err);
	if (gone > 0 && c.import_dir[0] && snprintf(drop_in, PATH_LEN, "%s/podvm.toml", c.import_dir) < PATH_LEN) {
		r = read_target(in, drop_in, err);
		gone = r < 0 ? r : take_out(in, err);
	}
	if (gone < 0)
		return gone;
	if (gone > 0)
		(void)printf("%s does not have the handler\n", in->config);
	r = unlink_shim(in, err);
	if (r == 0 && gone == 0 && !in->dry_run)
		(void)puts("restart containerd for it to take effect: systemctl restart containerd");
	return r;
}

/* ---- commands ---- */

static int show_section(const struct cmd *cmd, const struct install *in, const char *version)
{
	auto_buf struct buf out = BUF_INIT(4096);
	struct err err = {0};

	if (!str_eq(version, "2") && !str_eq(version, "3"))
		return cmd_usage(cmd, "'%s' is no version of containerd's configuration: 2 or 3", version);
	if (containerd_config_section((unsigned)(version[0] - '0'), &in->handler, NULL, &out, &err) < 0)
		return cmd_fail(&err);
	(void)fwrite(buf_data(&out), 1, out.len, stdout);
	return cmd_flush();
}

static int check_values(const struct cmd *cmd, const struct install *in)
{
	static const char name_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	const char *name = in->handler.name;

	if (!*name || strlen(name) > 63 || name[strspn(name, name_letters)])
		return cmd_usage(cmd, "'%s' is no name of a handler: small letters, digits and '-'", name);
	if (!str_eq(in->handler.sandboxer, "podsandbox") && !str_eq(in->handler.sandboxer, "shim"))
		return cmd_usage(cmd, "'%s' is no sandboxer: podsandbox or shim", in->handler.sandboxer);
	if (in->config[0] != '/' || in->bin_dir[0] != '/')
		return cmd_usage(cmd, "'%s' must begin with /", in->config[0] != '/' ? in->config : in->bin_dir);
	return 0;
}

static int run(const struct cmd *cmd, int argc, char **argv, int (*fn)(struct install *, struct err *))
{
	auto_install struct install in = {.config = CONFIG_DEFAULT,
		.containerd = "containerd",
		.bin_dir = BIN_DIR_DEFAULT,
		.handler = {.name = "podvm", .sandboxer = "podsandbox"},
		.old = BUF_INIT(TEXT_MAX),
		.new = BUF_INIT(TEXT_MAX)};
	const char *show = NULL;
	struct err err = {0};
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o == '?')
			return EXIT_USAGE;
		switch (o) {
		case 'c':
			in.config = optarg;
			break;
		case 'p':
			in.containerd = optarg;
			break;
		case 'b':
			in.bin_dir = optarg;
			break;
		case 'H':
			in.handler.name = optarg;
			break;
		case 's':
			in.handler.sandboxer = optarg;
			break;
		case 'n':
			in.dry_run = true;
			break;
		default:
			show = optarg;
		}
	}
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	o = check_values(cmd, &in);
	if (o)
		return o;
	if (show)
		return show_section(cmd, &in, show);
	in.have_containerd = program_works(in.containerd);
	if (fn(&in, &err) < 0)
		return cmd_fail(&err);
	return cmd_flush();
}

static int install_run(const struct cmd *cmd, int argc, char **argv)
{
	return run(cmd, argc, argv, install);
}

static int uninstall_run(const struct cmd *cmd, int argc, char **argv)
{
	return run(cmd, argc, argv, uninstall);
}

const struct cmd cmd_install = {
	.name = "install",
	.args = "",
	.summary = "add the handler podvm to containerd's configuration",
	.description = "Adds a runtime handler to containerd's configuration, so that a RuntimeClass can name it, and "
		       "links the shim into a "
		       "folder where containerd finds it. The handler becomes a file of its own where containerd reads "
		       "and merges such files "
		       "(a configuration of version 3 with a line 'imports'), else a marked section at the end of the "
		       "main file.\n\n"
		       "A configuration that is not understood for certain is left as it is, with the reason. Where "
		       "the program containerd is "
		       "there, it is asked what it makes of the change ('containerd config dump'); when anything else "
		       "would be lost, the "
		       "change is taken back. containerd has to be restarted afterwards; running pods go on. 'podvm "
		       "uninstall' undoes it.",
	.examples = "podvm install --dry-run\tshow what would change\n"
		    "podvm install --sandboxer shim\tcontainerd 2: pods without a pause image\n"
		    "podvm install --show 3\tprint the section, for a template of k3s\n",
	.completes = "",
	.options =
		{
			{"config", 'c', "FILE", "containerd's main file (" CONFIG_DEFAULT ")"},
			{"containerd", 'p', "PROGRAM", "the program that is asked (containerd)"},
			{"bin-dir", 'b', "FOLDER", "where containerd looks for shims (" BIN_DIR_DEFAULT ")"},
			{"handler", 'H', "NAME", "name of the handler (podvm)"},
			{"sandboxer", 's', "WHICH", "podsandbox, or shim with containerd 2 (podsandbox)"},
			{"dry-run", 'n', NULL, "show the change, make none"},
			{"show", 0, "VERSION", "print the section for version 2 or 3 of the configuration"},
		},
	.run = install_run,
};

const struct cmd cmd_uninstall = {
	.name = "uninstall",
	.args = "",
	.summary = "take out of containerd's configuration what 'podvm install' added",
	.description = "Removes exactly what 'podvm install' added: the section or the file of the handler, and the "
		       "link to the shim. "
		       "Pods that run go on, but containerd, once restarted, starts no new ones.",
	.examples = "podvm uninstall --dry-run\tshow what would change\npodvm uninstall\tundo 'podvm install'\n",
	.completes = "",
	.options =
		{
			{"config", 'c', "FILE", "containerd's main file (" CONFIG_DEFAULT ")"},
			{"bin-dir", 'b', "FOLDER", "where the link to the shim is (" BIN_DIR_DEFAULT ")"},
			{"handler", 'H', "NAME", "name of the handler (podvm)"},
			{"dry-run", 'n', NULL, "show the change, make none"},
		},
	.run = uninstall_run,
};
