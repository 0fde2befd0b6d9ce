/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of modules is one text, cut in place. A module that fails to load costs its device, not the pod: the host sees
 * the log line, and what depended on it fails with its own message.
 */
#include "agent/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define LISTEN_MARK "@listen"
#define NETWORK_MARK "@network"
#define BLOCK_MARK "@block"
#define MODULE_PATH_MAX 160

int modules_open(struct modules *ret, const char *dir, struct err *err)
{
	char path[MODULE_PATH_MAX];
	struct err why = {0};
	char *text;
	size_t len;
	int r = str_format(path, sizeof(path), err, "%s/order", dir);

	if (r < 0)
		return r;
	*ret = (struct modules){0};
	r = file_read(AT_FDCWD, path, MODULES_ORDER_MAX, &text, &len, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(err, why.code, "%s", why.msg);
	if (strlen(text) != len) {
		free(text);
		return err_set(err, EINVAL, "'%s' holds a NUL byte", path);
	}
	ret->order = ret->next = text;
	return 0;
}

void modules_close(struct modules *m)
{
	free(m->order);
	*m = (struct modules){0};
}

static bool name_ok(const char *name)
{
	return *name != '.' && !strchr(name, '/') && strlen(name) < 100;
}

const char *modules_next(struct modules *m, const char **ret_bad)
{
	*ret_bad = NULL;
	while (m->next && *m->next) {
		char *line = m->next + strspn(m->next, " \t\r"), *end = line + strcspn(line, "\n");

		m->next = *end ? end + 1 : end;
		*end = '\0';
		while (end > line && strchr(" \t\r", end[-1]))
			*--end = '\0';
		if (*line == '\0' || *line == '#')
			continue;
		if (str_eq(line, LISTEN_MARK) || str_eq(line, NETWORK_MARK) || str_eq(line, BLOCK_MARK))
			return NULL;
		if (name_ok(line))
			return line;
		*ret_bad = line;
		return line;
	}
	return NULL;
}

/* A transport whose bus this machine lacks would only cost time. Every PCI bus has its host bridge there. */
static bool is_wanted(const char *name, bool pci)
{
	return !(pci ? str_has_prefix(name, "virtio_mmio") : str_has_prefix(name, "virtio_pci"));
}

static bool load(int dirfd, const char *name)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) {
		log_error("module %s: open: %s, ignoring it", name, strerror(errno));
		return false;
	}
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST) {
		log_error("module %s: %s, ignoring it", name, strerror(errno));
		return false;
	}
	return true;
}

unsigned modules_load_stage(struct modules *m, const char *dir)
{
	auto_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const bool pci = access("/sys/bus/pci/devices/0000:00:00.0", F_OK) == 0;
	const char *name, *bad;
	unsigned n = 0;

	while ((name = modules_next(m, &bad)) != NULL) {
		if (bad)
			log_error("list of modules: '%.100s' is no file name, ignoring it", bad);
		else if (is_wanted(name, pci))
			n += load(dirfd, name);
	}
	return n;
}

void modules_skip(struct modules *m, unsigned stage)
{
	const char *bad;

	while (stage-- > 0)
		while (modules_next(m, &bad))
			;
}
