/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/bytes.h"

/* State folders have names made below them, down to sockets in the pod's folder, so they may not fill PATH_LEN alone. */
#define STATE_LEN (PATH_LEN / 2)

static bool folder_is_good(const char *path)
{
	return path && path[0] == '/' && strlen(path) < STATE_LEN;
}

static const char *folder_of(const char *variable, const char *standard)
{
	const char *path = secure_getenv(variable);

	return folder_is_good(path) ? path : standard;
}

const char *path_run(void)
{
	return folder_of("PODVM_RUN", "/run/podvm");
}

const char *path_state(void)
{
	return folder_of("PODVM_STATE", "/var/lib/podvm");
}

int paths_check(struct err *err)
{
	static const char *const variables[] = {"PODVM_LIBEXEC", "PODVM_RUN", "PODVM_STATE"};

	for (unsigned i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *path = secure_getenv(variables[i]);

		/* PODVM_LIBEXEC is a list, whose members are checked one by one where they are used. */
		if (!path || (i == 0 && path[0] == '/'))
			continue;
		if (path[0] != '/')
			return err_set(err, EINVAL, "environment variable %s is '%.80s', which is no absolute path",
				variables[i], path);
		if (!folder_is_good(path))
			return err_set(err, EINVAL, "environment variable %s is longer than %d bytes", variables[i],
				STATE_LEN - 1);
	}
	return 0;
}

/* 1: it is there, 0: it is not. */
static int try_folder(char dst[PATH_LEN], const char *dir, size_t dir_len, const char *name, struct err *err)
{
	struct stat st;
	int r = str_format(dst, PATH_LEN, err, "%.*s/%s", (int)dir_len, dir, name);

	if (r < 0)
		return r;
	return stat(dst, &st) == 0 && S_ISREG(st.st_mode) && access(dst, X_OK) == 0;
}

static int try_list(char dst[PATH_LEN], const char *list, const char *name, struct err *err)
{
	while (*list) {
		size_t n = strcspn(list, ":");
		int r = *list == '/' ? try_folder(dst, list, n, name, err) : 0;

		if (r != 0)
			return r;
		list += n + (list[n] == ':');
	}
	return 0;
}

int path_helper(char dst[PATH_LEN], const char *name, struct err *err)
{
	const char *list = secure_getenv("PODVM_LIBEXEC");
	char own[PATH_LEN], beside[PATH_LEN];
	char *slash;
	ssize_t n;
	int r;

	if (list && *list) {
		r = try_list(dst, list, name, err);
		if (r == 0)
			return err_set(err, ENOENT, "helper program '%s' is not in PODVM_LIBEXEC, '%s'", name, list);
		return r < 0 ? r : 0;
	}

	n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (n < 0)
		return err_errno(err, "read link '/proc/self/exe'");
	own[n] = '\0';
	slash = strrchr(own, '/');
	if (slash)
		*slash = '\0';
	r = str_format(beside, sizeof(beside), err, "%s/../libexec/podvm", own);
	if (r < 0)
		return r;

	const char *const folders[] = {own, beside, PODVM_LIBEXECDIR};

	for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
		r = try_folder(dst, folders[i], strlen(folders[i]), name, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return err_set(err, ENOENT,
		"helper program '%s' is not in '%s', '%s' or '%s': install podvm whole, or set PODVM_LIBEXEC", name,
		own, beside, PODVM_LIBEXECDIR);
}
