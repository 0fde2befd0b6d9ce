/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/image_config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "oci/user_db.h"

/* "a|b" for a list. */
static void join(char dst[200], char *const *list)
{
	size_t len = 0;

	dst[0] = '\0';
	for (size_t i = 0; list[i]; i++)
		len += (size_t)snprintf(dst + len, 200 - len, "%s%s", i ? "|" : "", list[i]);
}

static void assert_list(char *const *list, const char *want)
{
	char got[200];

	join(got, list);
	assert_string_equal(got, want);
}

static void configurations_are_read(void **state)
{
	static const struct {
		const char *json, *entrypoint, *cmd, *env, *volumes, *user, *dir, *sig;
	} cases[] = {
		{"{}", "", "", "", "", "", "", ""},
		{"{\"config\":null}", "", "", "", "", "", "", ""},
		{"{\"config\":{}}", "", "", "", "", "", "", ""},
		{"{\"config\":{\"Entrypoint\":null,\"Cmd\":null,\"Env\":null,\"Volumes\":null,\"User\":null}}", "", "",
			"", "", "", "", ""},
		{"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"User\":\"www-data:www\",\"Env\":[\"PATH=/"
		 "bin\",\"X\"],"
		 "\"Entrypoint\":[\"/entry\"],\"Cmd\":[\"a "
		 "b\",\"\"],\"Volumes\":{\"/data\":{},\"/log\":{}},\"WorkingDir\":\"/w\","
		 "\"StopSignal\":\"SIGQUIT\",\"Labels\":{\"a\":\"b\"},\"ExposedPorts\":{\"80/"
		 "tcp\":{}}},\"rootfs\":{\"type\":"
		 "\"layers\",\"diff_ids\":[\"sha256:0\"]},\"history\":[{\"created_by\":\"x\"}]}",
			"/entry", "a b|", "PATH=/bin|X", "/data|/log", "www-data:www", "/w", "SIGQUIT"},
		/* Only what is inside "config" counts. */
		{"{\"Cmd\":[\"x\"],\"container_config\":{\"Cmd\":[\"y\"]}}", "", "", "", "", "", "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config cfg = {0};
		struct err err = {0};

		if (image_config_parse(&cfg, cases[i].json, strlen(cases[i].json), &err) < 0)
			fail_msg("case %zu: %s", i, err.msg);
		assert_list(cfg.entrypoint, cases[i].entrypoint);
		assert_list(cfg.cmd, cases[i].cmd);
		assert_list(cfg.env, cases[i].env);
		assert_list(cfg.volumes, cases[i].volumes);
		assert_string_equal(cfg.user, cases[i].user);
		assert_string_equal(cfg.working_dir, cases[i].dir);
		assert_string_equal(cfg.stop_signal, cases[i].sig);
		image_config_fini(&cfg);
		image_config_fini(&cfg);
	}
}

static void hostile_configurations_are_refused(void **state)
{
	static const struct {
		const char *json, *want;
	} cases[] = {
		{"", "image configuration: JSON, line 1"},
		{"[]", "image configuration: JSON: the document is not an object"},
		{"{\"config\":[]}", "image configuration: config is not an object"},
		{"{\"config\":{\"Cmd\":\"sh\"}}", "image configuration: config.Cmd is not an array"},
		{"{\"config\":{\"Cmd\":[\"sh\",1]}}", "image configuration: config.Cmd[1] is not a string"},
		{"{\"config\":{\"Cmd\":[null]}}", "image configuration: config.Cmd[0] is not a string"},
		{"{\"config\":{\"Entrypoint\":{}}}", "image configuration: config.Entrypoint is not an array"},
		{"{\"config\":{\"Env\":[[]]}}", "image configuration: config.Env[0] is not a string"},
		{"{\"config\":{\"User\":0}}", "image configuration: config.User is not a string"},
		{"{\"config\":{\"Volumes\":[\"/a\"]}}", "image configuration: config.Volumes is not an object"},
		{"{\"config\":{\"WorkingDir\":{}}}", "image configuration: config.WorkingDir is not a string"},
		{"{\"config\":{\"StopSignal\":9}}", "image configuration: config.StopSignal is not a string"},
		{"{\"config\":{\"User\":\"a\\u0000b\"}}", "image configuration: JSON, line 1"},
		{"{\"config\":{\"User\":\"a\",\"User\":\"b\"}}", "image configuration: JSON, line 1"},
		{"{\"config\":{\"User\":18446744073709551615}}", "image configuration: config.User is not a string"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config cfg = {0};
		struct err err = {0};
		int r = image_config_parse(&cfg, cases[i].json, strlen(cases[i].json), &err);

		assert_null(cfg.cmd);
		if (r != -EINVAL || !str_has_prefix(err.msg, cases[i].want))
			fail_msg("%s: %d '%s'", cases[i].json, r, err.msg);
	}
}

/* ---- users ---- */

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "daemon:x:1:1::/:\n"
			     "broken\n"
			     "nouid:x::5::/:\n"
			     "neg:x:-1:5::/:\n"
			     "big:x:4294967295:5::/:\n"
			     "huge:x:99999999999999999999:5::/:\n"
			     ":x:77:77::/:\n"
			     "web:x:33:34:Web:/var/www:/bin/false\n"
			     "web:x:99:99:second:/:/bin/false\n"
			     "1000:x:555:556:digits:/:/bin/false\n"
			     "short:x:8:9\n"
			     "last:x:10:11::/:/bin/sh";
static const char group[] = "root:x:0:\n"
			    "www:x:34:\n"
			    "logs:x:40:root,web\n"
			    "x:x:bad:web\n"
			    "again:x:40:web\n"
			    "media:x:41:webby,web\n"
			    "prefix:x:42:webby,we,eb,,\n"
			    "bare:x:43\n"
			    "tail:x:44:last";

static int find(struct image_user *u, const char *user, struct err *err)
{
	const struct user_db db = {passwd, group, sizeof(passwd) - 1, sizeof(group) - 1};

	return user_db_find(u, &db, user, err);
}

static void users_are_found(void **state)
{
	static const struct {
		const char *user;
		uint32_t uid, gid;
		const char *groups;
	} cases[] = {
		{"", 0, 0, "40"},
		{"root", 0, 0, "40"},
		{"0", 0, 0, "40"},
		{"0000", 0, 0, "40"},
		{"daemon", 1, 1, ""},
		{"web", 33, 34, "40 41"},
		{"33", 33, 34, "40 41"},
		{"web:daemon2", 0, 0, NULL},
		{"web:www", 33, 34, "40 41"},
		{"web:0", 33, 0, "40 41"},
		{"web:", 33, 34, "40 41"},
		{":media", 0, 41, "40"},
		{"1000", 1000, 0, ""}, /* digits are an id, even if a name looks like them */
		{"1000:1001", 1000, 1001, ""},
		{"555", 555, 556, ""},
		{"4294967294", 4294967294, 0, ""},
		{"short", 8, 9, ""},
		{"last", 10, 11, "44"},
		{"daemon:bare", 1, 43, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_user u = {.uid = 12345};
		struct err err = {0};
		char groups[200] = "";
		size_t len = 0;

		if (!cases[i].groups) {
			assert_int_equal(find(&u, cases[i].user, &err), -ENOENT);
			assert_int_equal(u.uid, 12345);
			continue;
		}
		if (find(&u, cases[i].user, &err) < 0)
			fail_msg("%s: %s", cases[i].user, err.msg);
		for (size_t k = 0; k < u.n_groups; k++)
			len += (size_t)snprintf(groups + len, sizeof(groups) - len, "%s%u", k ? " " : "", u.groups[k]);
		if (u.uid != cases[i].uid || u.gid != cases[i].gid || strcmp(groups, cases[i].groups) != 0)
			fail_msg("%s: %u:%u %s", cases[i].user, u.uid, u.gid, groups);
	}
}

static void users_that_are_not_there_are_errors(void **state)
{
	static const struct {
		const char *user;
		int want;
		const char *message;
	} cases[] = {
		{"nobody", -ENOENT, "user 'nobody' is not in the image's /etc/passwd"},
		{"broken", -ENOENT, "user 'broken' is not in the image's /etc/passwd"},
		{"neg", -ENOENT, "user 'neg' is not in the image's /etc/passwd"},
		{"big", -ENOENT, "user 'big' is not in the image's /etc/passwd"},
		{"huge", -ENOENT, "user 'huge' is not in the image's /etc/passwd"},
		{"# a comment", -ENOENT, "user '# a comment' is not in the image's /etc/passwd"},
		{"-1", -ENOENT, "user '-1' is not in the image's /etc/passwd"},
		{" 1", -ENOENT, "user ' 1' is not in the image's /etc/passwd"},
		{"+1", -ENOENT, "user '+1' is not in the image's /etc/passwd"},
		{"4294967295", -EINVAL, "user id '4294967295' is more than 4294967294"},
		{"99999999999999999999999999", -EINVAL, "user id '99999999999999999999999999' is more than 4294967294"},
		{"0:4294967295", -EINVAL, "group id '4294967295' is more than 4294967294"},
		{"web:nogroup", -ENOENT, "group 'nogroup' is not in the image's /etc/group"},
		{"web:x", -ENOENT, "group 'x' is not in the image's /etc/group"},
		{"web:www:more", -ENOENT, "group 'www:more' is not in the image's /etc/group"},
		{"a\nb\033[2J\xff", -ENOENT, "user 'a?b?[2J?' is not in the image's /etc/passwd"},
		{"a-name-longer-than-64-bytes-a-name-longer-than-64-bytes-a-name-longer", -ENOENT,
			"user 'a-name-longer-than-64-bytes-a-name-longer-than-64-bytes-a-name-l' is not in the "
			"image's "
			"/etc/passwd"},
	};
	static const struct user_db none = {0};
	struct image_user u;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = find(&u, cases[i].user, &err);

		if (r != cases[i].want || strcmp(err.msg, cases[i].message) != 0)
			fail_msg("%s: %d '%s'", cases[i].user, r, err.msg);
	}
	assert_int_equal(user_db_find(&u, &none, "7:8", &err), 0);
	assert_int_equal(u.uid, 7);
	assert_int_equal(u.gid, 8);
	assert_int_equal(user_db_find(&u, &none, "", &err), 0);
	assert_int_equal(u.uid + u.gid + u.n_groups, 0);
	assert_int_equal(user_db_find(&u, &none, "web", &err), -ENOENT);
	assert_string_equal(err.msg, "user 'web' is not in the image's /etc/passwd (there is no such file)");
	assert_int_equal(user_db_find(&u, &none, "1:web", &err), -ENOENT);
	assert_string_equal(err.msg, "group 'web' is not in the image's /etc/group (there is no such file)");
}

static void too_many_groups_are_an_error(void **state)
{
	struct image_user u;
	struct err err;
	char text[65 * 16];
	size_t len = 0;
	struct user_db db = {passwd, text, sizeof(passwd) - 1, 0};

	for (int i = 0; i < 65; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "g%d:x:%d:web\n", i, 100 + i);
		db.group_len = len;
		assert_int_equal(user_db_find(&u, &db, "web", &err), i < 64 ? 0 : -E2BIG);
		if (i < 64)
			assert_int_equal(u.n_groups, i + 1);
	}
}

/* ---- files ---- */

static void write_at(int dir, const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0644, NULL), 0);
}

static void files_are_read_without_leaving_the_root(void **state)
{
	char dir[] = "/tmp/podvm-test-XXXXXX";
	struct image_user u = {0};
	struct err err;
	char *text;
	int fd, etc;

	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* No /etc at all. */
	assert_int_equal(image_user_resolve(&u, fd, "12", &err), 0);
	assert_int_equal(image_user_resolve(&u, fd, "web", &err), -ENOENT);
	assert_int_equal(mkdirat(fd, "etc", 0755), 0);
	assert_int_equal(mkdirat(fd, "usr", 0755), 0);
	etc = openat(fd, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_at(etc, "passwd", "web:x:33:34::/:\n");
	write_at(etc, "group", "logs:x:40:web\n");
	assert_int_equal(image_user_resolve(&u, fd, "web", &err), 0);
	assert_int_equal(u.uid, 33);
	assert_int_equal(u.n_groups, 1);
	/* A link that looks absolute, or climbs, ends inside. */
	write_at(fd, "usr/passwd", "inside:x:77:78::/:\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(unlinkat(etc, "passwd", 0), 0);
		assert_int_equal(symlinkat(i ? "../../../../../usr/passwd" : "/usr/passwd", etc, "passwd"), 0);
		assert_int_equal(image_user_resolve(&u, fd, "inside", &err), 0);
		assert_int_equal(u.uid, 77);
	}
	/* This machine's /etc/passwd has a root user, and must not be found. */
	assert_int_equal(unlinkat(etc, "passwd", 0), 0);
	assert_int_equal(symlinkat("/proc/self/root/etc/passwd", etc, "passwd"), 0);
	assert_int_equal(image_user_resolve(&u, fd, "root", &err), -ENOENT);
	/* Neither a fifo, which would block, nor a folder, nor a link to itself. */
	assert_int_equal(unlinkat(etc, "passwd", 0), 0);
	assert_int_equal(mkfifoat(etc, "passwd", 0644), 0);
	assert_int_equal(image_user_resolve(&u, fd, "0", &err), -EINVAL);
	assert_string_equal(err.msg, "image's /etc/passwd is not a regular file");
	assert_int_equal(unlinkat(etc, "passwd", 0), 0);
	assert_int_equal(mkdirat(etc, "passwd", 0755), 0);
	assert_int_equal(image_user_resolve(&u, fd, "0", &err), -EINVAL);
	assert_int_equal(unlinkat(etc, "passwd", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("passwd", etc, "passwd"), 0);
	assert_int_equal(image_user_resolve(&u, fd, "0", &err), -ELOOP);
	/* One byte too many. */
	assert_int_equal(unlinkat(etc, "passwd", 0), 0);
	text = malloc((1u << 20) + 2);
	memset(text, '\n', (1u << 20) + 1);
	text[1u << 20] = '\0';
	write_at(etc, "passwd", text);
	assert_int_equal(image_user_resolve(&u, fd, "0", &err), 0);
	text[1u << 20] = '\n';
	text[(1u << 20) + 1] = '\0';
	write_at(etc, "passwd", text);
	assert_int_equal(image_user_resolve(&u, fd, "0", &err), -EFBIG);
	free(text);
	close(etc);
	close(fd);
	assert_int_equal(dir_remove_all(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations_are_read),
		cmocka_unit_test(hostile_configurations_are_refused),
		cmocka_unit_test(users_are_found),
		cmocka_unit_test(users_that_are_not_there_are_errors),
		cmocka_unit_test(too_many_groups_are_an_error),
		cmocka_unit_test(files_are_read_without_leaving_the_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
