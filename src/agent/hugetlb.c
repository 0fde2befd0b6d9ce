/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is set aside: the kernel may make as many pages as the memory holds (nr_overcommit_hugepages) when a mapping is
 * made, and takes them back with the last file. Gigantic pages cannot be made that way.
 */
#include "agent/hugetlb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"

#define OVERCOMMIT "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"

static int read_option(struct hugetlb_options *o, const char *text, struct err *err)
{
	const struct {
		const char *name;
		uint64_t *ret, max;
		int base;
	} known[] = {
		{"pagesize=", &o->page, UINT64_MAX, 10},
		{"mode=", &o->mode, 07777, 8},
		{"uid=", &o->uid, UINT32_MAX - 1, 10},
		{"gid=", &o->gid, UINT32_MAX - 1, 10},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const char *digits = text + strlen(known[i].name);
		char *end;

		if (!str_has_prefix(text, known[i].name))
			continue;
		errno = 0;
		*known[i].ret = strtoull(digits, &end, known[i].base);
		if (*digits < '0' || *digits > '9' || *end || errno || *known[i].ret > known[i].max)
			break;
		return 0;
	}
	if (!str_eq(text, "ro"))
		return err_set(err, EINVAL, "option '%.60s' is not allowed", text);
	o->ro = true;
	return 0;
}

int hugetlb_options(struct hugetlb_options *ret, const json_t *mount, struct err *err)
{
	const json_t *options = json_object_get(mount, "options");
	json_t *o;
	size_t i;
	int r = 0;

	*ret = (struct hugetlb_options){.mode = 0755};
	for (i = 0; r == 0 && (o = json_array_get(options, i)); i++)
		r = json_is_string(o) ? read_option(ret, json_string_value(o), err)
				      : err_set(err, EINVAL, "option %zu is no text", i);
	if (r == 0 && ret->page != HUGETLB_PAGE)
		r = err_set(err, EINVAL, "huge pages of %llu KiB cannot be made in the guest, only those of 2 MiB",
			(unsigned long long)ret->page / 1024);
	return r;
}

static int allow_pages(struct err *err)
{
	auto_close int fd = open(OVERCOMMIT, O_WRONLY | O_CLOEXEC);
	struct sysinfo info;
	char text[24];
	int n;

	if (fd < 0)
		return err_set(err, EINVAL, "the guest's kernel has no huge pages: %s", strerror(errno));
	if (sysinfo(&info) < 0)
		return err_errno(err, "sysinfo");
	n = snprintf(text, sizeof(text), "%llu", (unsigned long long)info.totalram * info.mem_unit / HUGETLB_PAGE);
	return write(fd, text, (size_t)n) == n ? 0 : err_errno(err, "write '%s'", OVERCOMMIT);
}

/* The host makes it, of "huge-" and numbers. */
static bool name_ok(const char *name)
{
	return str_has_prefix(name, "huge-") && strlen(name) < 40 && strspn(name, "huge-0123456789") == strlen(name);
}

static int make(const char *path, const struct hugetlb_options *o, struct err *err)
{
	char data[96];
	struct statfs fs;
	int r;

	if (mkdir(path, 0755) < 0) {
		if (errno != EEXIST)
			return err_errno(err, "make folder '%s'", path);
		return statfs(path, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC
			       ? 0
			       : err_set(err, EINVAL, "'%s' is another volume", path);
	}
	(void)snprintf(data, sizeof(data), "pagesize=%llu,mode=%llo,uid=%llu,gid=%llu", (unsigned long long)o->page,
		(unsigned long long)o->mode, (unsigned long long)o->uid, (unsigned long long)o->gid);
	r = allow_pages(err);
	if (r == 0 && mount("hugetlbfs", path, "hugetlbfs", MS_NOSUID | MS_NODEV, data) < 0)
		r = err_errno(err, "mount huge pages at '%s'", path);
	if (r < 0)
		(void)rmdir(path);
	return r;
}

int hugetlb_volume(json_t *mount, const char *dir, struct err *err)
{
	const char *name = json_string_value(json_object_get(mount, "source"));
	struct hugetlb_options o;
	char path[PATH_LEN];
	json_t *bind;
	int r;

	if (!name || !name_ok(name))
		return err_set(err, EINVAL, "'%.80s' is no name of a volume", name ? name : "");
	r = hugetlb_options(&o, mount, err);
	if (r == 0)
		r = str_format(path, sizeof(path), err, "%s/%s", dir, name);
	if (r == 0)
		r = make(path, &o, err);
	if (r < 0)
		return r;
	bind = json_pack("{s:s s:s s:[s s s]}", "type", "bind", "source", path, "options", "rbind", "rprivate",
		o.ro ? "ro" : "rw");
	if (!bind || json_object_update(mount, bind) < 0)
		r = err_set(err, ENOMEM, "mounts: out of memory");
	json_decref(bind);
	return r;
}
