/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skopeo copies the image into an OCI layout in the work folder, umoci unpacks that layout.
 *
 * Both read what strangers made, as root. So they run in a mount namespace in which everything is read-only but the
 * work folder, where no device node opens; umoci has no network either. A layer that talks umoci out of the rootfs
 * (a whiteout named ".wh..." makes version 0.4.7 remove the folder around it) can only spoil this fetch.
 * A mount namespace belongs to a thread, so the whole fetch runs in a thread of its own, which ends with it.
 *
 * skopeo checks the digests of what it copies, umoci those of what it unpacks. Here are checked: the shape of manifest and
 * configuration, that the image is for this machine, layer formats that umoci knows, and that a rootfs came out.
 * overlayfs attributes that a layer brought are removed: the rootfs becomes an overlay's lower layer.
 */
#include "image/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "image/tool.h"
#include "image/tree.h"
#include "oci/image_config.h"

#define SOURCE_LEN 1024
#define LAYERS_MAX 512

struct job {
	struct fetch *f;
	struct err *err;
	char work[PATH_LEN + IMAGE_NAME_MAX + 8]; /* path of the work folder */
	char src[SOURCE_LEN];			  /* with an absolute path */
	int result;
};

static void say(const struct fetch *f, const char *fmt, ...) printf_like(2, 3);

static void say(const struct fetch *f, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	if (!f->progress)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	f->progress(f->ctx, line);
}

static int confine(const struct job *j, struct err *err)
{
	struct mount_attr all = {.attr_set = MOUNT_ATTR_RDONLY};
	struct mount_attr work = {
		.attr_clr = MOUNT_ATTR_RDONLY, .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};

	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(err, "confine the fetch: new mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, "confine the fetch: make mounts private");
	if (mount(j->work, j->work, NULL, MS_BIND, NULL) < 0)
		return err_errno(err, "confine the fetch: bind '%s'", j->work);
	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &all, sizeof(all)) < 0)
		return err_errno(err, "confine the fetch: make mounts read-only (needs Linux 5.12)");
	if (mount_setattr(AT_FDCWD, j->work, 0, &work, sizeof(work)) < 0)
		return err_errno(err, "confine the fetch: make '%s' writable", j->work);
	if (chdir(j->work) < 0)
		return err_errno(err, "open '%s'", j->work);
	return 0;
}

static bool is_archive(const char *src)
{
	return str_has_prefix(src, "oci-archive:") || str_has_prefix(src, "docker-archive:");
}

static bool is_registry(const char *src)
{
	return str_has_prefix(src, "docker://");
}

/* A local source with its path made absolute, and looked at. An archive's state is that of its file. */
static int look_at_local(struct job *j, struct err *err)
{
	const char *src = j->f->src, *path = strchr(src, ':') + 1;
	char cwd[SOURCE_LEN / 2] = "", file[SOURCE_LEN];
	struct stat st;
	int r;

	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return err_errno(err, "image source '%s': current folder", src);
	r = str_format(j->src, sizeof(j->src), err, "%.*s%s%s%s", (int)(path - src), src, cwd, cwd[0] ? "/" : "", path);
	if (r == 0)
		r = str_format(
			file, sizeof(file), err, "%s%s%.*s", cwd, cwd[0] ? "/" : "", (int)strcspn(path, ":"), path);
	if (r < 0)
		return r;
	if (stat(file, &st) < 0)
		return err_errno(err, "image source '%s': open '%s'", src, file);
	if (S_ISDIR(st.st_mode) == is_archive(src))
		return err_set(err, EINVAL, "image source '%s': '%s' is %s", src, file,
			is_archive(src) ? "a folder, not an archive (oci:DIR?)" : "no folder (oci-archive:FILE?)");
	if (is_archive(src))
		(void)snprintf(j->f->got.source, sizeof(j->f->got.source), "file:%llx:%llx:%lld:%lld.%09ld",
			(unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
			(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return 0;
}

/* The digest of the manifest, or list of manifests, that the source has now. */
static int look_at_manifest(struct job *j, struct err *err)
{
	const char *const inspect[] = {
		"skopeo", "--tmpdir", ".", "--command-timeout", "120s", "inspect", "--raw", j->src, NULL};
	const char *const digest[] = {"skopeo", "manifest-digest", "raw", NULL};
	auto_free char *raw = NULL, *text = NULL;
	struct tool t = {
		.argv = inspect, .cwd = j->work, .lock_fd = j->f->work->fd, .max_out = IMAGE_JSON_MAX, .ret_out = &raw};
	int r = tool_run(&t, err);

	if (r < 0 || !raw)
		return r;
	r = file_write_atomic(j->f->work->fd, "raw", raw, strlen(raw), 0600, err);
	if (r < 0)
		return r;
	t.argv = digest;
	t.ret_out = &text;
	t.max_out = 256;
	r = tool_run(&t, err);
	if (r < 0 || !text)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (!digest_ok(text))
		return err_set(err, EPROTO, "skopeo manifest-digest answered '%.80s'", text);
	(void)str_copy(j->f->got.source, sizeof(j->f->got.source), text);
	return 0;
}

static void skopeo_line(void *ctx, const char *text)
{
	static const char blob[] = "Copying blob sha256:";
	const struct job *j = ctx;

	if (str_has_prefix(text, blob))
		say(j->f, "%s: fetching layer %.12s", j->f->name, text + strlen(blob));
}

static int copy(struct job *j, struct err *err)
{
	const char *const argv[] = {
		"skopeo", "--tmpdir", ".", "--override-os", "linux", "copy", j->src, "oci:layout:image", NULL};
	const struct tool t = {.argv = argv, .cwd = j->work, .lock_fd = j->f->work->fd, .line = skopeo_line, .ctx = j};

	return tool_run(&t, err);
}

/* ---- what the layout says ---- */

static int load_json(
	const struct job *j, const char *path, char **ret_text, size_t *ret_len, json_t **ret, struct err *err)
{
	json_error_t why;
	int r = file_read(j->f->work->fd, path, IMAGE_JSON_MAX, ret_text, ret_len, err);

	if (r < 0)
		return r;
	*ret = json_loadb(*ret_text, *ret_len, 0, &why);
	if (!*ret || !json_is_object(*ret))
		return err_set(err, EBADMSG, "%s is no JSON object: %s", path, *ret ? "another type" : why.text);
	return 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *v = json_string_value(json_object_get(object, key));

	return v ? v : "";
}

static int blob_path(char dst[128], const json_t *descriptor, struct err *err)
{
	const char *digest = text_of(descriptor, "digest");

	if (!digest_ok(digest))
		return err_set(
			err, EBADMSG, "the manifest has a descriptor with digest '%.80s', which is no sha256", digest);
	(void)snprintf(dst, 128, "layout/blobs/sha256/%s", digest + 7);
	return 0;
}

static const char *machine_architecture(void)
{
	static const char *const names[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"riscv64", "riscv64"}};
	struct utsname u;

	if (uname(&u) == 0)
		for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
			if (str_eq(u.machine, names[i][0]))
				return names[i][1];
	return "";
}

static int check_layers(const json_t *manifest, uint64_t *ret_bytes, struct err *err)
{
	static const char *const known[] = {"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"};
	const json_t *layers = json_object_get(manifest, "layers");

	if (!json_is_array(layers) || json_array_size(layers) > LAYERS_MAX)
		return err_set(err, EBADMSG, "the manifest has no list of at most %d layers", LAYERS_MAX);
	*ret_bytes = 0;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *layer = json_array_get(layers, i);
		const char *type = text_of(layer, "mediaType");
		json_int_t size = json_integer_value(json_object_get(layer, "size"));
		bool found = false;

		for (unsigned k = 0; k < ARRAY_SIZE(known); k++)
			found |= str_eq(type, known[k]);
		if (!found)
			return err_set(err, ENOTSUP,
				"layer %zu is of type '%.100s'; umoci unpacks tar and tar+gzip: copy the image with "
				"skopeo "
				"--dest-compress-format gzip first",
				i + 1, type);
		*ret_bytes += size > 0 ? (uint64_t)size : 0;
	}
	return 0;
}

static int check_config(const struct job *j, const char *text, size_t len, const json_t *config, struct err *err)
{
	const char *arch = text_of(config, "architecture"), *os = text_of(config, "os");
	struct image_config parsed = {0};
	int r;

	if ((os[0] && !str_eq(os, "linux")) || (arch[0] && !str_eq(arch, machine_architecture())))
		return err_set(err, ENOEXEC, "image '%s' is for %.20s/%.20s, this machine is linux/%s", j->f->name, os,
			arch, machine_architecture());
	r = image_config_parse(&parsed, text, len, err);
	if (r == 0)
		image_config_fini(&parsed);
	return r;
}

static void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define auto_json cleanup_with(cleanup_json)

/* Reads index, manifest and configuration; fills got.digest; keeps the two documents for the content. */
static int read_layout(struct job *j, uint64_t *ret_bytes, size_t *ret_layers, struct err *err)
{
	auto_json json_t *index = NULL, *manifest = NULL, *config = NULL;
	auto_free char *index_text = NULL, *manifest_text = NULL, *config_text = NULL;
	const json_t *entry;
	char path[128];
	size_t len = 0;
	int r = load_json(j, "layout/index.json", &index_text, &len, &index, err);

	if (r < 0)
		return r;
	entry = json_array_get(json_object_get(index, "manifests"), 0);
	r = blob_path(path, entry, err);
	if (r < 0)
		return r;
	(void)str_copy(j->f->got.digest, sizeof(j->f->got.digest), text_of(entry, "digest"));
	r = load_json(j, path, &manifest_text, &len, &manifest, err);
	if (r == 0)
		r = check_layers(manifest, ret_bytes, err);
	if (r == 0)
		r = file_write_atomic(j->f->work->fd, FETCH_UNPACKED "/manifest.json", manifest_text, len, 0644, err);
	if (r == 0)
		r = blob_path(path, json_object_get(manifest, "config"), err);
	if (r == 0)
		r = load_json(j, path, &config_text, &len, &config, err);
	if (r == 0)
		r = check_config(j, config_text, len, config, err);
	if (r == 0)
		r = file_write_atomic(j->f->work->fd, FETCH_UNPACKED "/config.json", config_text, len, 0644, err);
	*ret_layers = json_array_size(json_object_get(manifest, "layers"));
	return r;
}

static void format_size(char dst[32], uint64_t bytes)
{
	(void)snprintf(dst, 32, "%llu.%llu MiB", (unsigned long long)(bytes >> 20),
		(unsigned long long)((bytes & 0xfffff) * 10 >> 20));
}

static int unpack(struct job *j, struct err *err)
{
	static const char *const argv[] = {
		"umoci", "raw", "unpack", "--image", "layout:image", FETCH_UNPACKED "/rootfs", NULL};
	const struct tool t = {.argv = argv, .cwd = j->work, .lock_fd = j->f->work->fd, .clone_flags = CLONE_NEWNET};
	char size_text[32];
	uint64_t bytes;
	int r = tool_run(&t, err);

	if (r < 0)
		return r;
	r = tree_settle(FETCH_UNPACKED "/rootfs", &bytes, err);
	if (r < 0)
		return r;
	(void)snprintf(size_text, sizeof(size_text), "%llu\n", (unsigned long long)bytes);
	r = file_write_atomic(j->f->work->fd, FETCH_UNPACKED "/size", size_text, strlen(size_text), 0644, err);
	if (r < 0)
		return r;
	/* Content is whole or absent, after a power cut too. */
	if (syncfs(j->f->work->fd) < 0)
		return err_errno(err, "write '%s' to disk", j->work);
	format_size(size_text, bytes);
	say(j->f, "%s: stored, %s", j->f->name, size_text);
	return 0;
}

/* Keeps content that is here already from being pruned before the name points to it. 1: it is not here. */
static int hold_content(struct fetch *f, struct err *err)
{
	auto_close int lock = -1;
	int r = store_lock(f->store, false, &lock, err);

	if (r == 0)
		r = store_content_use(f->store, f->got.digest, &f->held, err);
	if (r == 0)
		say(f, "%s: this content is here already", f->name);
	return r;
}

static int fetch_all(struct job *j, struct err *err)
{
	struct fetch *f = j->f;
	uint64_t bytes = 0;
	size_t layers = 0;
	char size_text[32];
	int r = confine(j, err);

	if (r == 0 && !f->got.source[0])
		r = look_at_manifest(j, err);
	if (r < 0)
		return r;
	if (f->known && str_eq(f->known->source, f->got.source) && store_content_exists(f->store, f->known->digest)) {
		say(f, "%s: up to date", f->name);
		return 1;
	}
	say(f, "%s: fetching from %s", f->name, f->src);
	r = copy(j, err);
	if (r < 0)
		return r;
	if (mkdirat(f->work->fd, FETCH_UNPACKED, 0755) < 0)
		return err_errno(err, "make folder '%s/%s'", j->work, FETCH_UNPACKED);
	r = read_layout(j, &bytes, &layers, err);
	if (r < 0)
		return r;
	r = hold_content(f, err);
	if (r <= 0)
		return r;
	format_size(size_text, bytes);
	say(f, "%s: unpacking %zu layer%s, %s", f->name, layers, layers == 1 ? "" : "s", size_text);
	return unpack(j, err);
}

static void *thread_main(void *arg)
{
	struct job *j = arg;

	j->result = fetch_all(j, j->err);
	return NULL;
}

int fetch_run(struct fetch *f, struct err *err)
{
	struct job j = {.f = f, .err = err};
	pthread_t thread;
	int r = str_format(j.work, sizeof(j.work), err, "%s/tmp/%s", f->store->path, f->work->name);

	if (r < 0)
		return r;
	f->got = (struct store_name){0};
	f->held = -1;
	if (is_registry(f->src))
		r = str_format(j.src, sizeof(j.src), err, "%s", f->src);
	else
		r = look_at_local(&j, err);
	if (r < 0)
		return r;
	r = pthread_create(&thread, NULL, thread_main, &j);
	if (r)
		return err_set(err, r, "image '%s': start a thread: %s", f->name, strerror(r));
	(void)pthread_join(thread, NULL);
	/* The message of a full disk is made where every step ends, in image.c; the one about the machine names the image. */
	if (j.result < 0 && j.result != -ENOSPC && j.result != -ENOEXEC)
		return err_wrap(err, "image '%s': cannot fetch from %s", f->name, f->src);
	return j.result;
}
