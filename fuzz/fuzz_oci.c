/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI documents from hostile bytes. The first byte chooses: a runtime spec, which then goes through every setter, is
 * written, and must be read again as the same; an image configuration; or the files of users, with the name sought
 * before the first NUL and the two files divided by the second.
 */
#include <string.h>

#include "base/bytes.h"
#include "oci/image_config.h"
#include "oci/spec.h"
#include "oci/user_db.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void change(struct oci_spec *spec)
{
	static const char *const text[] = {"a", "b", NULL};
	static const uint32_t groups[] = {1, 2};

	must(oci_set_version(spec, OCI_VERSION) == 0);
	must(oci_set_root(spec, "/", true) == 0 && str_eq(oci_root_path(spec), "/"));
	must(oci_set_hostname(spec, "h") == 0);
	must(oci_set_args(spec, text, 2) == 0);
	must(oci_set_env(spec, text, 2) == 0);
	must(oci_set_cwd(spec, "/") == 0);
	must(oci_set_user(spec, 1, 2, groups, 2) == 0);
	must(oci_set_terminal(spec, true) == 0 && oci_terminal(spec));
	must(oci_set_no_new_privs(spec, true) == 0);
	must(oci_set_cgroups_path(spec, "/c") == 0);
	must(oci_add_mount(spec, "/m", "bind", "/s", text) == 0);
	oci_remove_mount(spec, "/proc");
	must(oci_set_namespace(spec, "pid", "/p") == 0);
	oci_remove_namespace(spec, "network");
	must(oci_set_capabilities(spec, text) == 0);
	must(oci_set_sysctl(spec, "k", "v") == 0);
	must(oci_set_default_seccomp(spec) == 0);
	must(oci_linux_resources(spec) != NULL && oci_process(spec) != NULL);
	must(oci_set_privileged(spec) == 0);
	(void)oci_annotation(spec, "a");
}

static void runtime_spec(const char *text, size_t size)
{
	struct oci_spec spec = {0}, again = {0};
	struct err err = {0};
	char *out = NULL;
	size_t len;

	if (oci_spec_parse(&spec, text, size, &err) < 0) {
		must(err.msg[0] != '\0');
		return;
	}
	for (int changed = 0; changed < 2; changed++) {
		if (changed)
			change(&spec);
		must(oci_spec_write(&spec, &out, &len, &err) == 0);
		/* Written numbers and escapes may be longer than they came. */
		if (len <= OCI_SPEC_MAX) {
			must(oci_spec_parse(&again, out, len, &err) == 0);
			must(json_equal(spec.root, again.root));
			oci_spec_fini(&again);
		}
		free(out);
	}
	oci_spec_fini(&spec);
}

static void image(const char *text, size_t size)
{
	struct image_config cfg = {0};
	struct err err = {0};

	if (image_config_parse(&cfg, text, size, &err) == 0) {
		must(cfg.entrypoint && cfg.cmd && cfg.env && cfg.volumes && cfg.user && cfg.working_dir &&
			cfg.stop_signal);
		image_config_fini(&cfg);
	}
}

static void users(const char *text, size_t size)
{
	const char *name_end = memchr(text, '\0', size);
	const char *rest = name_end ? name_end + 1 : NULL;
	size_t left = name_end ? size - (size_t)(rest - text) : 0;
	const char *middle = left ? memchr(rest, '\0', left) : NULL;
	struct user_db db = {.passwd = rest, .passwd_len = left};
	struct image_user u = {0};
	struct err err = {0};

	if (!name_end)
		return;
	if (middle) {
		db.passwd_len = (size_t)(middle - rest);
		db.group = middle + 1;
		db.group_len = left - db.passwd_len - 1;
	}
	if (user_db_find(&u, &db, text, &err) == 0)
		must(u.n_groups <= ARRAY_SIZE(u.groups) && u.uid != UINT32_MAX && u.gid != UINT32_MAX);
	else
		must(err.msg[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	switch (data[0]) {
	case 'i':
		image(text, size - 1);
		break;
	case 'u':
		users(text, size - 1);
		break;
	default:
		runtime_spec(text, size - 1);
	}
	return 0;
}
