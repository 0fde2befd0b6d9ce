/* SPDX-License-Identifier: Apache-2.0 */
/* A guest in an attacker's hands works on the share as the VMM's jail sees it: a bind of it in a user namespace of its own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "pod/share.h"

static char dir[] = "/tmp/podvm-share-XXXXXX";
static struct share sh = {.fd = -1};

/* Exit code 0: the kernel refused all of it. A line's number else. */
#define REFUSED(call, code)                                                                                            \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		if ((call) >= 0 || errno != (code))                                                                    \
			_exit(__LINE__ % 200 + 1);                                                                     \
	} while (0)

static _Noreturn void attack(int ready, int go)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || mount(sh.path, sh.path, NULL, MS_BIND | MS_REC, NULL) < 0 ||
		chdir(sh.path) < 0)
		_exit(255);
	REFUSED(rename("containers", "moved"), EROFS);
	REFUSED(mkdir("containers/b", 0755), EROFS);
	REFUSED(symlink("/etc", "containers/c"), EROFS);
	REFUSED(unlink("containers/a/file"), EROFS);
	REFUSED(open("containers/a/file", O_WRONLY | O_CLOEXEC), EROFS);
	REFUSED(chmod("containers/a/file", 0777), EROFS);
	REFUSED(mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND, NULL), EPERM);
	/* What is bound later arrives with its flags. */
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		_exit(253);
	REFUSED(open("later/file", O_WRONLY | O_CLOEXEC), EROFS);
	/* What is bound there has its own say. */
	_exit(access("volume/file", W_OK) == 0 ? 0 : 254);
}

static int enter(void **state)
{
	struct err err = {0};

	if (!mkdtemp(dir) || share_enter(&err) < 0 || share_init(&sh, dir, &err) < 0) {
		print_error("%s\n", err.msg);
		return -1;
	}
	return 0;
}

static int leave(void **state)
{
	share_fini(&sh);
	return rmdir(dir);
}

static void names_belong_to_the_host(void **state)
{
	struct err err = {0};
	auto_close int src = -1, folder = -1;
	char template[] = "/tmp/podvm-share-volume-XXXXXX", path[64];
	int status, ready[2], go[2];
	pid_t pid;
	char c = 0;

	assert_non_null(mkdtemp(template));
	assert_int_equal(chmod(template, 0777), 0);
	folder = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(folder >= 0);
	src = openat(folder, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	assert_true(src >= 0);
	assert_int_equal(fchmod(src, 0666), 0);
	assert_int_equal(share_dir(&sh, "containers", 0755, &err), 0);
	assert_int_equal(share_dir(&sh, "containers/a", 0755, &err), 0);
	assert_int_equal(share_file(&sh, "containers/a/file", "x", 1, 0644, &err), 0);
	assert_int_equal(share_bind(&sh, folder, "volume", 0, &err), 0);
	assert_true(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		attack(ready[1], go[0]);
	(void)close(ready[1]);
	if (read(ready[0], &c, 1) == 1) {
		assert_int_equal(share_bind(&sh, folder, "later", SHARE_RO, &err), 0);
		assert_int_equal(write(go[1], &c, 1), 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The host itself still may. */
	assert_int_equal(share_dir(&sh, "containers/b", 0755, &err), 0);
	share_remove(&sh, "containers/a");
	assert_int_equal(faccessat(sh.fd, "containers/a", F_OK, 0), -1);
	assert_int_equal(faccessat(sh.fd, "containers/b", F_OK, 0), 0);
	share_unbind(&sh, "volume");
	share_unbind(&sh, "later");
	for (int i = 0; i < 2; i++)
		(void)close(go[i]);
	(void)close(ready[0]);
	(void)snprintf(path, sizeof(path), "%s/file", template);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(template), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_belong_to_the_host),
	};

	if (geteuid() != 0)
		return 77; /* mounts */
	return cmocka_run_group_tests(tests, enter, leave);
}
