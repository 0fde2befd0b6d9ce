/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which driver a pod gets. KVM is judged by trying (`podvm-vmm --probe`, src/vmm/probe.c), in a process of its own, so
 * that whatever a strange /dev/kvm does cannot reach the supervisor.
 */
#include "pod/driver.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/paths.h"
#include "base/spawn.h"

#define PROBE_TIMEOUT_MS 20000
#define PROBE_OUT_MAX 4096
#define VERSION_TIMEOUT_MS 10000
#define QEMU_PROGRAM "qemu-system-x86_64"
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			*text = '?';
}

/* {"kvm":bool,"reason":"...","took_us":N} */
static void read_verdict(struct driver_probe *p, const char *text)
{
	json_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *kvm = json_object_get(obj, "kvm");
	const char *reason = json_string_value(json_object_get(obj, "reason"));
	json_int_t us = json_integer_value(json_object_get(obj, "took_us"));

	if (json_is_boolean(kvm) && reason) {
		p->kvm_usable = json_is_true(kvm);
		(void)str_copy(p->reason, sizeof(p->reason), reason);
		make_printable(p->reason);
		p->took_us = us > 0 && us <= INT32_MAX ? (unsigned)us : 0;
	} else {
		(void)str_copy(p->reason, sizeof(p->reason), "podvm-vmm --probe gave no verdict");
	}
	json_decref(obj);
}

static int probe_kvm(struct driver_probe *p, struct err *err)
{
	char program[PATH_LEN];
	const char *const argv[] = {program, "--probe", NULL};
	auto_free char *out = NULL;
	struct err e = {0};
	int r = path_helper(program, "podvm-vmm", err);

	if (r < 0)
		return r;
	r = spawn_run(argv, PROBE_OUT_MAX, &out, PROBE_TIMEOUT_MS, &e);
	if (r == 0)
		read_verdict(p, out);
	else
		(void)snprintf(p->reason, sizeof(p->reason), "the probe failed: %.130s", e.msg);
	return 0;
}

static void find_qemu(struct driver_probe *p)
{
	const char *list = getenv("PATH");

	for (list = list && *list ? list : PATH_DEFAULT; *list && !p->qemu_found;) {
		size_t n = strcspn(list, ":");

		if (*list == '/' &&
			str_format(p->qemu_path, sizeof(p->qemu_path), NULL, "%.*s/" QEMU_PROGRAM, (int)n, list) == 0)
			p->qemu_found = access(p->qemu_path, X_OK) == 0;
		list += n + (list[n] == ':');
	}
	if (!p->qemu_found)
		p->qemu_path[0] = '\0';
}

/* "QEMU emulator version 7.2.22 (Debian ...)": what stands after "version ". */
static void ask_version(struct driver_probe *p)
{
	const char *const argv[] = {p->qemu_path, "--version", NULL};
	auto_free char *out = NULL;
	char *at;

	if (spawn_run(argv, PROBE_OUT_MAX, &out, VERSION_TIMEOUT_MS, NULL) < 0)
		return;
	out[strcspn(out, "\n")] = '\0';
	at = strstr(out, "version ");
	(void)str_copy(p->qemu_version, sizeof(p->qemu_version), at ? at + strlen("version ") : out);
	make_printable(p->qemu_version);
}

int driver_probe(struct driver_probe *ret, bool want_version, struct err *err)
{
	struct driver_probe p = {0};
	int r = probe_kvm(&p, err);

	if (r < 0)
		return r;
	find_qemu(&p);
	if (want_version && p.qemu_found)
		ask_version(&p);
	*ret = p;
	return 0;
}

int driver_choose(const struct vm_driver **ret, enum driver_choice choice, const struct driver_probe *probe,
	char ret_reason[240], struct err *err)
{
	if (choice == DRIVER_VMM && !probe->kvm_usable)
		return err_set(err, ENOTSUP, "driver vmm needs KVM, and here is none that runs a stock kernel: %s",
			probe->reason);
	if (choice != DRIVER_QEMU && probe->kvm_usable) {
		(void)snprintf(ret_reason, 240, "KVM: %s", probe->reason);
		*ret = &vm_driver_vmm;
		return 0;
	}
	if (!probe->qemu_found)
		return err_set(err, ENOTSUP,
			"no VM can be started: %s is not installed (apt-get install qemu-system-x86)", QEMU_PROGRAM);
	if (probe->kvm_usable)
		(void)snprintf(ret_reason, 240, "QEMU with KVM: %s", probe->reason);
	else
		(void)snprintf(ret_reason, 240, "QEMU with emulation (TCG); no KVM: %s", probe->reason);
	*ret = &vm_driver_qemu;
	return 0;
}
