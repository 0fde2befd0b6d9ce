/* SPDX-License-Identifier: Apache-2.0 */
/* The store without skopeo and umoci: content is made by hand. What the tools do is in tests/func/image.bats. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "image/image.h"
#include "image/store.h"

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NAME_A "localhost/a:latest"
#define NAME_B "localhost/b:latest"

struct fixture {
	char dir[64];
	struct store s;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = {0};

	*state = f;
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/podvm-test-store.XXXXXX");
	if (!mkdtemp(f->dir) || setenv("PODVM_STATE", f->dir, 1) < 0)
		return -1;
	return store_open(&f->s, &err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	int r;

	store_close(&f->s);
	r = dir_remove_all(AT_FDCWD, f->dir, &err);
	free(f);
	return r;
}

static void put(int dir, const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(dir, path, text, strlen(text), 0644, NULL), 0);
}

/* What a fetch does after the tools have run. */
static void add(struct fixture *f, const char *name, const char *digest)
{
	struct store_name n = {.source = "-"};
	auto_close int lock = -1;
	struct store_work w;
	struct err err = {0};
	int other;

	assert_int_equal(store_work_begin(&f->s, name, &w, &other, &err), 0);
	assert_int_equal(mkdirat(w.fd, "unpack", 0755), 0);
	assert_int_equal(mkdirat(w.fd, "unpack/rootfs", 0755), 0);
	put(w.fd, "unpack/config.json", "{\"config\":{\"Cmd\":[\"sh\"]}}");
	put(w.fd, "unpack/size", "4096\n");
	assert_int_equal(store_lock(&f->s, true, &lock, &err), 0);
	assert_int_equal(store_work_publish(&f->s, &w, "unpack", digest, &err), 0);
	(void)str_copy(n.digest, sizeof(n.digest), digest);
	assert_int_equal(store_name_write(&f->s, name, &n, &err), 0);
	store_work_end(&f->s, &w);
}

static unsigned entries(struct fixture *f, const char *folder)
{
	char command[200], text[16] = "";
	FILE *p;

	(void)snprintf(command, sizeof(command), "ls -A '%s/images/%s' | wc -l", f->dir, folder);
	p = popen(command, "r");
	assert_non_null(p);
	assert_non_null(fgets(text, sizeof(text), p));
	pclose(p);
	return (unsigned)atoi(text);
}

static void stored_images_are_listed_and_found(void **state)
{
	struct fixture *f = *state;
	struct image *list = NULL, img = {0};
	struct err err = {0};
	int lock = -1;
	size_t n = 0;

	assert_int_equal(image_list(&list, &n, &err), 0);
	assert_int_equal(n, 0);
	image_list_free(list, n);
	add(f, NAME_B, DIGEST_B);
	add(f, NAME_A, DIGEST_A);
	assert_int_equal(image_list(&list, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].name, NAME_A);
	assert_string_equal(list[1].name, NAME_B);
	assert_string_equal(list[1].digest, DIGEST_B);
	assert_int_equal(list[1].size, 4096);
	assert_true(list[1].created_ns > 0);
	image_list_free(list, n);

	assert_int_equal(image_get(&img, &lock, "localhost/a", NULL, IMAGE_PULL_MISSING, NULL, NULL, &err), 0);
	assert_string_equal(img.digest, DIGEST_A);
	assert_string_equal(img.config.cmd[0], "sh");
	assert_int_equal(access(img.rootfs, F_OK), 0);
	image_fini(&img);
	close(lock);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void missing_images_say_what_to_do(void **state)
{
	struct image img = {0};
	struct err err = {0};
	int lock = -1;

	assert_int_equal(image_get(&img, &lock, "nope", NULL, IMAGE_PULL_NEVER, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "docker.io/library/nope:latest"));
	assert_non_null(strstr(err.msg, "podvm image pull nope"));
	assert_int_equal(image_get(&img, &lock, "localhost/nope", NULL, IMAGE_PULL_ALWAYS, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "podvm image pull oci:DIR --name localhost/nope:latest"));
	assert_int_equal(image_remove("localhost/nope", &err), -ENOENT);
	assert_int_equal(
		image_get(&img, &lock, "oci:/no/such/dir", NULL, IMAGE_PULL_MISSING, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/no/such/dir"));
}

/* No tool can be found here, so whatever would go to the network fails. */
static void a_name_that_is_here_needs_no_network(void **state)
{
	struct fixture *f = *state;
	char *path = strdup(getenv("PATH"));
	struct image img = {0};
	struct err err = {0};
	int lock = -1;

	add(f, "docker.io/library/a:latest", DIGEST_A);
	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(image_get(&img, &lock, "a", NULL, IMAGE_PULL_MISSING, NULL, NULL, &err), 0);
	image_fini(&img);
	close_fd(&lock);
	assert_int_equal(image_get(&img, &lock, "b", NULL, IMAGE_PULL_MISSING, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "skopeo is not installed"));
	assert_int_equal(image_get(&img, &lock, "a", NULL, IMAGE_PULL_ALWAYS, NULL, NULL, &err), -ENOENT);
	setenv("PATH", path, 1);
	free(path);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void content_goes_with_its_last_name(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	add(f, NAME_A, DIGEST_A);
	add(f, NAME_B, DIGEST_A);
	assert_int_equal(entries(f, "content"), 1);
	assert_int_equal(image_remove(NAME_A, &err), 0);
	assert_int_equal(entries(f, "content"), 1);
	assert_int_equal(image_remove(NAME_B, &err), 0);
	assert_int_equal(entries(f, "content"), 0);
	assert_int_equal(entries(f, "names"), 0);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void content_in_use_stays(void **state)
{
	struct fixture *f = *state;
	struct image img = {0};
	struct err err = {0};
	uint64_t freed = 0;
	int lock = -1;

	add(f, NAME_A, DIGEST_A);
	add(f, NAME_B, DIGEST_B);
	assert_int_equal(image_get(&img, &lock, NAME_A, NULL, IMAGE_PULL_NEVER, NULL, NULL, &err), 0);
	image_fini(&img);
	assert_int_equal(image_remove(NAME_A, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "podvm ps"));
	assert_int_equal(entries(f, "names"), 2);
	assert_int_equal(image_prune(true, &freed, &err), 0);
	assert_int_equal(freed, 4096);
	assert_int_equal(entries(f, "names"), 1);
	assert_int_equal(entries(f, "content"), 1);
	close(lock);
	assert_int_equal(image_remove(NAME_A, &err), 0);
	assert_int_equal(entries(f, "content"), 0);
}

static void prune_removes_what_has_no_name(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t freed = 0;

	add(f, NAME_A, DIGEST_A);
	add(f, NAME_A, DIGEST_B); /* the name moved on */
	assert_int_equal(entries(f, "content"), 2);
	assert_int_equal(image_prune(false, &freed, &err), 0);
	assert_int_equal(freed, 4096);
	assert_int_equal(entries(f, "content"), 1);
	assert_int_equal(image_prune(false, &freed, &err), 0);
	assert_int_equal(freed, 0);
}

static void damaged_names_count_as_absent(void **state)
{
	static const char *const bad[] = {"", "\n", "sha256:12\n-\n", DIGEST_A, "../../etc\n-\n", DIGEST_A "x\n-\n",
		DIGEST_B
		"\n"
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
		"0123456789012345678901234567890123456789\n"};
	struct fixture *f = *state;
	struct err err = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct image *list = NULL, img = {0};
		int lock = -1;
		size_t n = 1;

		put(f->s.names, "localhost%a:latest", bad[i]);
		assert_int_equal(image_list(&list, &n, &err), 0);
		assert_int_equal(n, 0);
		image_list_free(list, n);
		assert_int_equal(image_get(&img, &lock, NAME_A, NULL, IMAGE_PULL_NEVER, NULL, NULL, &err), -ENOENT);
	}
}

/* A child that dies in the middle of a fetch leaves only tmp, which the next one removes. */
static void a_crashed_fetch_is_cleaned_by_the_next(void **state)
{
	struct fixture *f = *state;
	struct store_work w;
	struct err err = {0};
	int other = -1, status;
	pid_t pid = fork();

	if (pid == 0) {
		if (store_work_begin(&f->s, NAME_A, &w, &other, &err) != 0 || mkdirat(w.fd, "layout", 0755) < 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(entries(f, "tmp"), 1);
	assert_int_equal(store_work_begin(&f->s, NAME_B, &w, &other, &err), 0);
	assert_int_equal(entries(f, "tmp"), 1);
	store_work_end(&f->s, &w);
	assert_int_equal(entries(f, "tmp"), 0);
}

static void two_fetches_of_one_name_exclude_each_other(void **state)
{
	struct fixture *f = *state;
	struct store_work a, b;
	struct err err = {0};
	int other = -1;

	assert_int_equal(store_work_begin(&f->s, NAME_A, &a, &other, &err), 0);
	assert_int_equal(store_work_begin(&f->s, NAME_B, &b, &other, &err), 0);
	store_work_end(&f->s, &b);
	assert_int_equal(store_work_begin(&f->s, NAME_A, &b, &other, &err), 1);
	assert_int_equal(flock(other, LOCK_SH | LOCK_NB), -1);
	store_work_end(&f->s, &a);
	store_work_wait(other);
	assert_int_equal(store_work_begin(&f->s, NAME_A, &b, &other, &err), 0);
	store_work_end(&f->s, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stored_images_are_listed_and_found, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_images_say_what_to_do, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_is_here_needs_no_network, setup, teardown),
		cmocka_unit_test_setup_teardown(content_goes_with_its_last_name, setup, teardown),
		cmocka_unit_test_setup_teardown(content_in_use_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(prune_removes_what_has_no_name, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_names_count_as_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_crashed_fetch_is_cleaned_by_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(two_fetches_of_one_name_exclude_each_other, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
