/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shim is given. The first byte chooses: the runtime's configuration; stdin of `start`; a spec, which then goes through
 * everything that the shim asks of it and is made the guest's.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "shim/options.h"
#include "shim/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int bind_any(void *ctx, size_t i, struct spec_mount *m, char ret_guest[PATH_LEN], struct err *err)
{
	m->guest_writable = i % 2;
	m->huge_page = i % 3 == 2 ? SPEC_HUGE_PAGE : 0;
	m->mode = 01777;
	return str_format(ret_guest, PATH_LEN, err, "/run/podvm/shared/m/%zu", i);
}

static void note(void *ctx, const char *text)
{
}

static void try_spec(const char *json, size_t n)
{
	const struct resize_vm vm = {.vcpus = 2, .memory = 256 << 20};
	struct resize_limits created = {0};
	struct spec_guest g = {.rootfs = "/r",
		.sandbox_id = "s",
		.pod_files = "/p",
		.bind = bind_any,
		.note = note,
		.limits = &created};
	auto_oci_spec struct oci_spec spec = {0};
	auto_free char *text = NULL;
	enum spec_kind kind;
	struct err err = {0};
	uint64_t memory;
	uint32_t pid;
	unsigned vcpus;
	size_t len;

	if (oci_spec_parse(&spec, json, n, &err) < 0)
		return;
	(void)!spec_kind(&spec, &kind, &err);
	(void)!spec_check_namespaces(&spec, &err);
	(void)!spec_size(&spec, &vcpus, &memory, &err);
	(void)!spec_pid_namespace(&spec, &pid, &err);
	(void)spec_namespace_path(&spec, "network");
	(void)spec_cgroups_path(&spec);
	if (spec_adjust(&spec, &g, &err) == 0 && oci_spec_write(&spec, &text, &len, &err) < 0)
		abort();
	/* The same resources again are no change. */
	if (*created.huge != '?' && strlen(created.cpus) < 127 && strlen(created.mems) < 127 && text &&
		resize_check(json_object_get(json_object_get(spec.root, "linux"), "resources"), &created, &vm, &err) <
			0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = size ? strndup((const char *)data + 1, size - 1) : NULL;
	struct shim_options o = {0};
	struct bootstrap b;
	struct err err = {0};

	if (!text)
		return 0;
	if (data[0] % 3 == 0) {
		(void)!options_parse(&o, text, strlen(text), &err);
	} else if (data[0] % 3 == 1) {
		if (bootstrap_parse(&b, "id", data + 1, size - 1, &err) == 0) {
			/* A path that it names would be read. */
			b.config_path[0] = '\0';
			(void)!bootstrap_options(&b, &o, &err);
			bootstrap_fini(&b);
		}
	} else {
		try_spec((const char *)data + 1, size - 1);
	}
	return 0;
}
