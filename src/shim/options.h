/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The runtime's configuration, which containerd's own configuration names or holds (runtimes.podvm.options: ConfigPath, or the keys
 * themselves since containerd 2). A file of lines, the common part of TOML:
 *
 *   # comment
 *   driver = "auto"     # "qemu", "vmm"
 *   vcpus = 1           # of pods without a CPU limit, 1 to 32
 *   memory = 512        # MiB of the VM of pods without a memory limit
 *   disks = 2           # block devices that a pod may have at one time (driver vmm), 0 to 8
 *
 * An unknown key is an error.
 */
#include <stdint.h>

#include "pod/driver.h"

#define SHIM_DISKS_DEFAULT 2

struct shim_options {
	enum driver_choice driver;
	unsigned vcpus;	 /* 0: not said */
	uint64_t memory; /* bytes; 0: not said */
	unsigned disks;	 /* slots of the VM */
};

/* `text` has a NUL behind its `len` bytes and is changed. -EINVAL names the line. */
int options_parse(struct shim_options *ret, char *text, size_t len, struct err *err) must_check;
/* What `start` got on stdin: an Any of runtime options, BootstrapParams (containerd 2.3 and later), or nothing. */
struct bootstrap {
	char version[64];	 /* of containerd, "" when it did not say */
	char ttrpc_address[256]; /* "" likewise */
	char config_path[256];
	char *config_body; /* owned, or NULL */
	size_t config_len;
};
int bootstrap_parse(struct bootstrap *ret, const char *id, const uint8_t *bytes, size_t n, struct err *err) must_check;
void bootstrap_fini(struct bootstrap *b);
/* The configuration that it leads to. */
int bootstrap_options(const struct bootstrap *b, struct shim_options *ret, struct err *err) must_check;
