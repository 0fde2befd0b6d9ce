/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of podvm-vmm. */
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "vmm/jail.h"

#define OPTIONS_NICS_MAX 16
#define OPTIONS_DISKS_MAX 8

struct option_nic {
	int fd; /* tap */
	uint8_t mac[6];
	uint16_t mtu;
};

struct option_disk {
	int fd;
	bool read_only;
};

struct options {
	bool probe, vhost_user, vm, help, version;
	const char *id; /* of the pod, for the log */
	enum log_level log_level;
	/* fs: served when fs_sock >= 0, or on our own machine when there is a root */
	int fs_sock;
	const char *fs_root; /* path, or a descriptor's number */
	const char *fs_tag;
	/* vsock: served when vsock_sock >= 0, or on our own machine when there is a CID */
	int vsock_sock, vsock_listen, broker;
	uint64_t cid;
	/* our own machine */
	int kernel, initrd, console, control;
	const char *cmdline;
	uint64_t vcpus, memory_mib;
	bool huge_pages, paused, explain, rng, balloon;
	struct option_nic nics[OPTIONS_NICS_MAX];
	struct option_disk disks[OPTIONS_DISKS_MAX];
	unsigned n_nics, n_disks;
	/* for development */
	bool no_jail;
	enum jail_seccomp seccomp;
};

/* Fills *ret from the command line. -EINVAL, with a message that names option and value: it is wrong. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err) must_check;
void options_help(void);
