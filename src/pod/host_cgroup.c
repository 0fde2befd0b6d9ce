/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/host_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define HIERARCHIES_MAX 24
#define FOLDER_MAX 512

struct place {
	char folder[FOLDER_MAX],
		before[FOLDER_MAX]; /* absolute: the new one, and where the process was; "" when unknown */
};

struct host_cgroup {
	struct place places[HIERARCHIES_MAX];
	unsigned n;
};

/* "a-b-c.slice" lies in a.slice/a-b.slice/. */
static int slice_folder(struct buf *b, const char *slice)
{
	size_t n = strlen(slice) - strlen(".slice");
	int r = 0;

	for (size_t i = 1; i < n && r == 0; i++)
		if (slice[i] == '-')
			r = buf_printf(b, "%.*s.slice/", (int)i, slice);
	return r == 0 ? buf_printf(b, "%s/", slice) : r;
}

int host_cgroup_folder(char *dst, size_t size, const char *path, struct err *err)
{
	auto_buf struct buf b = BUF_INIT(4096);
	const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;
	char slice[256];
	int r = 0;

	if (second && !strchr(path, '/')) {
		if ((size_t)(first - path) >= sizeof(slice))
			return err_set(err, EINVAL, "cgroupsPath '%.100s' is too long", path);
		(void)snprintf(slice, sizeof(slice), "%.*s", (int)(first - path), path);
		if (!*slice)
			(void)str_copy(slice, sizeof(slice), "system.slice");
		if (!str_has_suffix(slice, ".slice"))
			return err_set(err, EINVAL, "cgroupsPath '%.100s' does not begin with a slice", path);
		r = slice_folder(&b, slice);
		if (r == 0)
			r = buf_printf(&b, "%.*s%s%s.scope", (int)(second - first - 1), first + 1,
				second - first > 1 ? "-" : "", second + 1);
	} else {
		r = buf_append_str(&b, path + strspn(path, "/"));
	}
	if (r == 0)
		r = buf_append(&b, "", 1);
	if (r < 0)
		return err_set(err, -r, "cgroupsPath '%.100s' is too long", path);
	for (const char *p = (const char *)buf_data(&b); *p; p += strcspn(p, "/"), p += strspn(p, "/"))
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
			return err_set(err, EINVAL, "cgroupsPath '%.100s' leads out of its hierarchy", path);
	return str_format(dst, size, err, "%s", (const char *)buf_data(&b));
}

/* ---- hierarchies ---- */

/* Where the hierarchy with this list of controllers ("cpu,cpuacct", "" for v2) is mounted; "" when it is not. */
static void mount_of(const char *controllers, char dst[FOLDER_MAX])
{
	static const char *const v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	struct statfs fs;
	const char *name = controllers;

	*dst = '\0';
	if (!*controllers) {
		for (size_t i = 0; i < ARRAY_SIZE(v2) && !*dst; i++)
			if (statfs(v2[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
				(void)str_copy(dst, FOLDER_MAX, v2[i]);
		return;
	}
	if (str_has_prefix(name, "name="))
		name += strlen("name=");
	(void)snprintf(dst, FOLDER_MAX, "/sys/fs/cgroup/%.60s", name);
	if (statfs(dst, &fs) < 0 || fs.f_type != CGROUP_SUPER_MAGIC)
		*dst = '\0';
}

static int enter(const char *folder, struct err *err)
{
	char path[FOLDER_MAX + 20], pid[20];
	auto_close int fd = -1;
	int n = snprintf(pid, sizeof(pid), "%d", (int)getpid());

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, pid, (size_t)n) != n)
		return err_errno(err, "join the cgroup '%s'", folder);
	return 0;
}

/* One line of /proc/self/cgroup: ID:CONTROLLERS:PATH. */
static int join_line(struct host_cgroup *hc, char *line, const char *folder, struct err *err)
{
	char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
	struct place *place = &hc->places[hc->n];
	char mount[FOLDER_MAX];
	int r;

	if (!path || hc->n == HIERARCHIES_MAX)
		return 0;
	*controllers++ = '\0';
	*path++ = '\0';
	if (strstr(controllers, "cpuset"))
		return 0;
	mount_of(controllers, mount);
	if (!*mount)
		return 0;
	r = str_format(place->folder, sizeof(place->folder), err, "%s/%s", mount, folder);
	if (r == 0)
		r = str_format(place->before, sizeof(place->before), err, "%s%s", mount, path);
	if (r == 0)
		r = dir_make_all(place->folder, 0755, err);
	if (r < 0)
		return r;
	hc->n++;
	return enter(place->folder, err);
}

int host_cgroup_join(struct host_cgroup **ret, const char *path, struct err *err)
{
	struct host_cgroup *hc = calloc(1, sizeof(*hc));
	auto_free char *text = NULL;
	char folder[FOLDER_MAX];
	int r;

	if (!hc)
		return err_set(err, ENOMEM, "cgroup: out of memory");
	r = host_cgroup_folder(folder, sizeof(folder), path, err);
	if (r == 0)
		r = file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL, err);
	if (r == 0 && *folder)
		for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && r == 0;
			line = strtok_r(NULL, "\n", &save))
			r = join_line(hc, line, folder, err);
	if (r < 0) {
		host_cgroup_leave(hc);
		return r;
	}
	*ret = hc;
	return 0;
}

void host_cgroup_leave(struct host_cgroup *hc)
{
	struct err err = {0};

	for (unsigned i = 0; hc && i < hc->n; i++) {
		if (str_eq(hc->places[i].before, hc->places[i].folder))
			continue;
		if (enter(hc->places[i].before, &err) < 0)
			log_debug("%s", err.msg);
		else if (rmdir(hc->places[i].folder) < 0)
			log_debug("remove '%s': %s", hc->places[i].folder, strerror(errno));
	}
	free(hc);
}

json_t *host_cgroup_json(const struct host_cgroup *hc)
{
	json_t *list = json_array();

	for (unsigned i = 0; hc && i < hc->n; i++)
		(void)json_array_append_new(list, json_string(hc->places[i].folder));
	return list;
}

void host_cgroup_remove(json_t *folders)
{
	json_t *v;
	size_t i;

	json_array_foreach (folders, i, v) {
		const char *path = json_string_value(v);
		struct statfs fs;

		if (path && str_has_prefix(path, "/sys/fs/cgroup/") && statfs(path, &fs) == 0 &&
			(fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC) && rmdir(path) < 0)
			log_debug("remove '%s': %s", path, strerror(errno));
	}
}
