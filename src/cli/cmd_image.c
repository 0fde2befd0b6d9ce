/* SPDX-License-Identifier: Apache-2.0 */
/* podvm image: the container images of this machine (ls, pull, rm, prune), and the guest's own image (build, info). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "cli/cmd.h"
#include "cli/pods.h"
#include "cli/text.h"
#include "image/image.h"

#define MANIFEST_MAX (1u << 20)

extern char **environ;

/* ---- ls ---- */

static int list_json(const struct image *list, size_t n, struct err *err)
{
	json_t *all = json_array();
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(all, json_pack("{s:s s:s s:I s:o s:s}", "name", list[i].name, "digest",
						       list[i].digest, "size", (json_int_t)list[i].size, "createdAt",
						       json_time(list[i].created_ns), "rootfs", list[i].rootfs)) < 0)
			r = err_set(err, ENOMEM, "list images: out of memory");
	if (r == 0) {
		(void)json_dumpf(all, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	}
	json_decref(all);
	return r;
}

static int list_table(const struct image *list, size_t n, struct err *err)
{
	auto_table struct text_table t = {.columns = 4};
	uint64_t now = time_real_ns();
	bool ok = text_table_add(&t, "NAME") == 0 && text_table_add(&t, "DIGEST") == 0 &&
		  text_table_add(&t, "SIZE") == 0 && text_table_add(&t, "AGE") == 0;

	for (size_t i = 0; ok && i < n; i++) {
		char size[16], age[16];

		text_size(size, list[i].size);
		text_age(age, now > list[i].created_ns ? now - list[i].created_ns : 0);
		ok = text_table_add(&t, "%s", list[i].name) == 0 &&
		     text_table_add(&t, "%.12s", list[i].digest + 7) == 0 && text_table_add(&t, "%s", size) == 0 &&
		     text_table_add(&t, "%s", age) == 0;
	}
	if (!ok)
		return err_set(err, ENOMEM, "list images: out of memory");
	text_table_print(&t, stdout);
	return 0;
}

static int ls_run(const struct cmd *cmd, int argc, char **argv)
{
	bool quiet = false, json = false;
	struct image *list = NULL;
	struct err err = {0};
	size_t n = 0;
	int o, r;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'q':
			quiet = true;
			break;
		case 'j':
			json = true;
			break;
		default:
			return EXIT_USAGE;
		}
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	r = image_list(&list, &n, &err);
	if (r < 0)
		return cmd_fail(&err);
	if (json)
		r = list_json(list, n, &err);
	else if (quiet)
		for (size_t i = 0; i < n; i++)
			(void)puts(list[i].name);
	else
		r = list_table(list, n, &err);
	image_list_free(list, n);
	return r < 0 ? cmd_fail(&err) : cmd_flush();
}

const struct cmd cmd_image_ls = {
	.name = "image ls",
	.args = "",
	.summary = "list the container images on this machine",
	.description = "Shows each name with the digest of its content, the space the content takes on disk, and the "
		       "time since "
		       "it was stored. Names with the same digest share their content.",
	.examples = "podvm image ls\ta table\npodvm image ls -q\tonly the names\n",
	.completes = "",
	.needs_root = true,
	.options = {{"quiet", 'q', NULL, "only the names, one on each line"}, {"json", 'j', NULL, "as JSON"}},
	.run = ls_run,
};

/* ---- pull ---- */

static void show_progress(void *ctx, const char *line)
{
	const bool *quiet = ctx;

	if (*quiet)
		return;
	text_put_safe(stderr, line, strlen(line));
	(void)fputc('\n', stderr);
}

static int pull_run(const struct cmd *cmd, int argc, char **argv)
{
	const char *name = NULL;
	struct image img = {0};
	auto_close int lock = -1;
	struct err err = {0};
	bool quiet = false;
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'n':
			name = optarg;
			break;
		case 'q':
			quiet = true;
			break;
		default:
			return EXIT_USAGE;
		}
	if (argc - optind != 1)
		return cmd_usage(cmd, "give one source");
	if (image_get(&img, &lock, argv[optind], name, IMAGE_PULL_ALWAYS, show_progress, &quiet, &err) < 0)
		return cmd_fail(&err);
	(void)printf("%s\n", img.name);
	image_fini(&img);
	return cmd_flush();
}

const struct cmd cmd_image_pull = {
	.name = "image pull",
	.args = "SOURCE",
	.summary = "fetch a container image",
	.description = "SOURCE is a name as docker and podman take it (docker.io, library/ and :latest are added where "
		       "they are "
		       "missing; docker:// in front changes nothing), or oci:DIR[:REF], oci-archive:FILE[:REF], "
		       "docker-archive:FILE[:REF]. The name under which it is stored is printed; images from folders "
		       "and archives "
		       "are stored below localhost/ unless --name says otherwise.\n\n"
		       "What has not changed at the source is not fetched again. Credentials, proxies, certificates "
		       "and registry "
		       "settings are those of skopeo: see containers-auth.json(5) and containers-registries.conf(5).",
	.examples = "podvm image pull busybox\tdocker.io/library/busybox:latest\n"
		    "podvm image pull quay.io/prometheus/busybox:v1\tfrom another registry\n"
		    "podvm image pull oci:./build:v2 --name localhost/app:v2\tfrom an OCI layout on disk\n"
		    "podvm image pull docker-archive:app.tar\twhat 'docker save' wrote\n",
	.completes = "file",
	.needs_root = true,
	.options = {{"name", 'n', "NAME", "store it under this name"}, {"quiet", 'q', NULL, "no progress lines"}},
	.run = pull_run,
};

/* ---- rm, prune ---- */

static int rm_run(const struct cmd *cmd, int argc, char **argv)
{
	int o, status = 0;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		return EXIT_USAGE;
	if (argc == optind)
		return cmd_usage(cmd, "give the name of an image");
	for (int i = optind; i < argc; i++) {
		struct err err = {0};

		if (image_remove(argv[i], &err) < 0)
			status = cmd_fail(&err);
		else
			(void)printf("%s\n", argv[i]);
	}
	return cmd_flush() ? 1 : status;
}

const struct cmd cmd_image_rm = {
	.name = "image rm",
	.args = "NAME...",
	.summary = "remove container images",
	.description =
		"Removes names, and the content that no other name points to. An image that a pod runs from stays.",
	.examples = "podvm image rm busybox\tone image\n",
	.completes = "image",
	.needs_root = true,
	.run = rm_run,
};

static int prune_run(const struct cmd *cmd, int argc, char **argv)
{
	struct err err = {0};
	uint64_t freed = 0;
	bool all = false;
	char size[16];
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o != 'a')
			return EXIT_USAGE;
		all = true;
	}
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	if (image_prune(all, &freed, &err) < 0)
		return cmd_fail(&err);
	text_size(size, freed);
	(void)printf("freed %s\n", size);
	return cmd_flush();
}

const struct cmd cmd_image_prune = {
	.name = "image prune",
	.args = "",
	.summary = "remove container images that nothing needs",
	.description = "Removes content that no name points to any more, and what interrupted fetches left. With --all "
		       "also every "
		       "image that no pod runs from at this moment.",
	.examples = "podvm image prune\twhat has no name\npodvm image prune --all\teverything not in use\n",
	.completes = "",
	.needs_root = true,
	.options = {{"all", 'a', NULL, "also images that have a name"}},
	.run = prune_run,
};

/* ---- the guest's image ---- */

static int guest_path(char dst[PATH_LEN], const char *name, struct err *err)
{
	return str_format(dst, PATH_LEN, err, "%s/guest%s%s", path_state(), *name ? "/" : "", name);
}

static int run_builder(const char *kernel, bool force, struct err *err)
{
	char builder[PATH_LEN], agent[PATH_LEN], out[PATH_LEN];
	const char *argv[] = {
		builder, "--agent", agent, "--out", out, "--kernel", kernel, force ? "--force" : NULL, NULL};
	struct spawn sp = {.file = builder,
		.argv = argv,
		.envp = (const char *const *)(uintptr_t)environ,
		.n_fds = 2,
		.fds = {{.parent = STDOUT_FILENO, .child = 1}, {.parent = STDERR_FILENO, .child = 2}}};
	auto_close int pidfd = -1;
	pid_t pid;
	int r = path_helper(builder, "build-image", err);

	if (r == 0)
		r = path_helper(agent, "podvm-agent", err);
	if (r == 0)
		r = guest_path(out, "", err);
	if (r == 0)
		r = dir_make_all(out, 0755, err);
	if (r == 0)
		r = spawn_start(&sp, &pid, &pidfd, err);
	if (r < 0)
		return r;
	r = spawn_wait(pidfd);
	if (r < 0)
		return err_set(err, -r, "wait for '%s'", builder);
	return r == 0 ? 0 : err_set(err, EIO, "the guest image was not built: '%s' ended with status %d", builder, r);
}

static int build_run(const struct cmd *cmd, int argc, char **argv)
{
	const char *kernel = "auto";
	struct err err = {0};
	bool force = false;
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1)
		switch (o) {
		case 'f':
			force = true;
			break;
		case 'k':
			kernel = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	return run_builder(kernel, force, &err) < 0 ? cmd_fail(&err) : 0;
}

const struct cmd cmd_image_build = {
	.name = "image build",
	.args = "",
	.summary = "build the guest image: kernel and initramfs of the micro-VMs",
	.description =
		"Takes the kernel and what the initramfs needs from Debian packages, adds podvm-agent, and "
		"stores the result. "
		"The same inputs give the same bytes, and nothing is done when the inputs have not changed.\n\n"
		"The kernel is Debian's cloud kernel, until --kernel tuned has built one of PodVM's own from Debian's "
		"source (5 to 10 minutes, 2.5 GB of disk meanwhile; needs flex, bison, bc and libelf-dev), with "
		"everything built "
		"in that containers need and nothing else. From then on that is used; --kernel debian is the way back. "
		"A FILE "
		"must be an ELF vmlinux that can be entered by PVH and has all drivers built in.",
	.examples = "podvm image build\tonce after installing, and after each update\n"
		    "podvm image build --kernel tuned\twith PodVM's own kernel\n",
	.completes = "",
	.needs_root = true,
	.options = {{"force", 'f', NULL, "build also when no input has changed"},
		{"kernel", 'k', "KIND", "auto (the default), tuned, debian, or a file"}},
	.run = build_run,
};

static int info_run(const struct cmd *cmd, int argc, char **argv)
{
	auto_free char *text = NULL;
	struct err err = {0};
	char path[PATH_LEN];
	json_t *manifest;
	size_t len;
	int r;

	if (cmd_getopt(cmd, argc, argv) != -1)
		return EXIT_USAGE;
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	r = guest_path(path, "current/manifest.json", &err);
	if (r == 0)
		r = file_read(AT_FDCWD, path, MANIFEST_MAX, &text, &len, &err);
	if (r == -ENOENT)
		r = err_set(&err, ENOENT, "there is no guest image yet (no '%s'): podvm image build", path);
	if (r < 0)
		return cmd_fail(&err);
	manifest = json_loadb(text, len, 0, NULL);
	if (!manifest) {
		(void)err_set(&err, EBADMSG, "'%s' is damaged: podvm image build --force", path);
		return cmd_fail(&err);
	}
	(void)json_dumpf(manifest, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(manifest);
	return cmd_flush();
}

const struct cmd cmd_image_info = {
	.name = "image info",
	.args = "",
	.summary = "show what the guest image is made of",
	.description = "Prints the manifest of the guest image as JSON: kernel, packages with their versions, files "
		       "with their hashes.",
	.examples = "podvm image info\tthe manifest\n",
	.completes = "",
	.run = info_run,
};
