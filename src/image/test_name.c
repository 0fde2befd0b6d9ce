/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "image/image.h"
#include "image/store.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_become_full(void **state)
{
	static const struct {
		const char *text, *name;
	} good[] = {
		{"busybox", "docker.io/library/busybox:latest"}, {"busybox:1.36", "docker.io/library/busybox:1.36"},
		{"a/b", "docker.io/a/b:latest"}, {"docker.io/busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/library/busybox", "docker.io/library/busybox:latest"},
		{"quay.io/a/b/c:v1", "quay.io/a/b/c:v1"}, {"localhost/x", "localhost/x:latest"},
		{"localhost:5000/x:T_a.g-1", "localhost:5000/x:T_a.g-1"}, {"host:5000/x", "host:5000/x:latest"},
		{"UPPER.example/x", "UPPER.example/x:latest"},
		{"a__b/c-d/e---f/g.h_i", "docker.io/a__b/c-d/e---f/g.h_i:latest"},
		{"busybox@sha256:" HEX64, "docker.io/library/busybox@sha256:" HEX64},
		{"busybox:1.36@sha256:" HEX64, "docker.io/library/busybox@sha256:" HEX64},
		{"docker://busybox", "docker.io/library/busybox:latest"}, {"docker://quay.io/a:b", "quay.io/a:b"},
		{"dir:1", "docker.io/library/dir:1"},
		{"localhost", "docker.io/library/localhost:latest"}, /* no host without a slash, as docker has it */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		char name[512], src[768], want[768];
		struct err err = {0};

		if (image_name_parse(good[i].text, name, src, &err) < 0)
			fail_msg("%s: %s", good[i].text, err.msg);
		assert_string_equal(name, good[i].name);
		(void)snprintf(want, sizeof(want), "docker://%s", good[i].name);
		assert_string_equal(src, want);
	}
}

static void local_sources_get_local_names(void **state)
{
	static const struct {
		const char *text, *name;
	} good[] = {
		{"oci:/var/tmp/demo", "localhost/demo:latest"},
		{"oci:/var/tmp/demo/", "localhost/demo:latest"},
		{"oci:demo:v2", "localhost/demo:v2"},
		{"oci:demo:docker.io/library/x:1.2", "localhost/demo:1.2"},
		{"oci:.", "localhost/image:latest"},
		{"oci:/a/../..:v1", "localhost/image:v1"},
		{"oci-archive:/tmp/My App_1.0.tar.gz", "localhost/my-app_1.0:latest"},
		{"docker-archive:x.tar:busybox:1.36", "localhost/x:1.36"},
		{"docker-archive:x.tgz:@0", "localhost/x:latest"},
		{"oci:/tmp/-__-..a-:.bad", "localhost/a:latest"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		char name[512], src[768], again[512], src2[768];
		struct err err = {0};

		if (image_name_parse(good[i].text, name, src, &err) < 0)
			fail_msg("%s: %s", good[i].text, err.msg);
		assert_string_equal(name, good[i].name);
		assert_string_equal(src, good[i].text);
		/* The name it gets is itself a name. */
		assert_int_equal(image_name_parse(name, again, src2, &err), 0);
		assert_string_equal(again, name);
	}
}

static void bad_names_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"docker://",
		"/",
		"/a",
		"a/",
		"a//b",
		"Busybox",
		"a b",
		"a:",
		"a:b:c",
		"a:.tag",
		"a:-tag",
		"a:b/c",
		"a@",
		"a@sha256:12",
		"a@md5:" HEX64,
		"a@sha256:" HEX64 "0",
		"a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"../../etc/passwd",
		"a/../b",
		"localhost/../x",
		".example/x",
		"example./x",
		"ex..ample/x",
		"host:/x",
		"host:port/x",
		"host:1234567/x",
		"a_-b",
		"a..b",
		"a___b",
		"-a",
		"a-",
		"a%b",
		"a\nb",
		"a\\b",
		"docker://oci:21/x",
		"oci:",
		"oci:/x:",
		"oci::x",
		"oci:/x\ny",
		"docker-archive:",
		"docker-daemon:/x",
		"dir:/x",
		"containers-storage:/x",
		"https://example.com/x",
	};
	struct err err = {0};
	char name[512], src[768];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(&err, 0, sizeof(err));
		if (image_name_parse(bad[i], name, src, &err) != -EINVAL)
			fail_msg("'%s' was taken as '%s'", bad[i], name);
		assert_true(err.msg[0] != '\0');
		assert_int_equal(err.code, EINVAL);
	}
}

static void long_names_are_refused(void **state)
{
	char text[4096], name[512], src[768];
	struct err err = {0};

	for (unsigned n = 1; n < sizeof(text); n++) {
		int r;

		memset(text, 'a', n);
		text[n] = '\0';
		r = image_name_parse(text, name, src, &err);
		/* With the domain, library/ and the tag a name must fit a file's name. */
		assert_int_equal(r, n + strlen("docker.io/library/:latest") <= IMAGE_NAME_MAX ? 0 : -EINVAL);
		if (r == 0)
			assert_true(strlen(name) <= IMAGE_NAME_MAX);
	}
	memset(text, 'a', 1000);
	memcpy(text, "oci:/", 5);
	text[1000] = '\0';
	assert_int_equal(image_name_parse(text, name, src, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_become_full),
		cmocka_unit_test(local_sources_get_local_names),
		cmocka_unit_test(bad_names_are_refused),
		cmocka_unit_test(long_names_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
