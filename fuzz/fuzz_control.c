/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile lines for the JSON parser of podvm-vmm's control socket: what it takes is terminated, inside the line, and unique. The
 * members then are options of a machine, as for "configure": what is taken is within its bounds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "virtio/pci.h"
#include "vmm/json.h"
#include "vmm/layout.h"
#include "vmm/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const char *text, size_t size, const char *s)
{
	if (s < text || s >= text + size || !memchr(s, 0, size - (size_t)(s - text)))
		abort();
}

static void configure(const struct json_object *obj)
{
	static const char none[] = "";
	struct options o = {.cmdline = none, .fs_tag = none, .vcpus = 1, .memory_mib = 256};

	for (unsigned i = 0; i < obj->n; i++) {
		const struct json_member *m = &obj->members[i];

		/* No descriptor: those are the program's own. */
		if (!options_takes_fd(m->key))
			(void)!options_set(&o, m->key, m->type == JSON_STRING ? m->string : NULL, NULL);
	}
	if (o.vcpus > VCPUS_MAX || o.vcpus_max > VCPUS_MAX || o.memory_mib > MEMORY_MAX >> 20 ||
		o.memory_max_mib > MEMORY_MAX >> 20 || o.ports > PCI_PORTS_MAX ||
		strlen(o.cmdline) >= LAYOUT_CMDLINE_MAX || o.no_jail || o.n_nics || o.n_disks)
		abort();
	if (o.cmdline != none)
		free((void *)(uintptr_t)o.cmdline);
	if (o.fs_tag != none)
		free((void *)(uintptr_t)o.fs_tag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size ? size : 1);
	struct json_object obj;

	if (!text)
		abort();
	memcpy(text, data, size);
	if (json_parse(text, size, &obj, NULL) < 0)
		return 0;
	for (unsigned i = 0; i < obj.n; i++) {
		check_inside(text, size, obj.members[i].key);
		if (obj.members[i].type == JSON_STRING)
			check_inside(text, size, obj.members[i].string);
		if (json_find(&obj, obj.members[i].key) != &obj.members[i])
			abort();
	}
	configure(&obj);
	return 0;
}
