/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of podvm-vmm. */
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "vmm/jail.h"

#define OPTIONS_NICS_MAX 16
#define OPTIONS_DISKS_MAX 8
#define OPTIONS_PMEMS_MAX 4

struct option_nic {
	int fd; /* tap */
	uint8_t mac[6];
	uint16_t mtu;
};

struct option_disk {
	int fd;
	bool read_only, threads;
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
	uint64_t vcpus_max;	 /* what `resize` may make of it; 0: no more */
	uint64_t ports;		 /* root ports for hot-plug */
	uint64_t memory_max_mib; /* what virtio-mem may make of it; 0: no such device */
	bool huge_pages, paused, explain, rng, balloon, hvc;
	struct option_nic nics[OPTIONS_NICS_MAX];
	struct option_disk disks[OPTIONS_DISKS_MAX];
	int pmems[OPTIONS_PMEMS_MAX]; /* files */
	unsigned n_nics, n_disks, n_pmems;
	/* for development */
	bool no_jail;
	enum jail_seccomp seccomp;
};

/* Fills *ret from the command line. -EINVAL, with a message that names option and value: it is wrong. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err) must_check;
void options_help(void);

/* One option of the machine by its name, as the control socket's "configure" does; text is NULL for those without a value. */
int options_set(struct options *o, const char *name, const char *text, struct err *err) must_check;
/* Closes the descriptors that `o` has and `kept` has not: `o` is given up for it. */
void options_drop(const struct options *o, const struct options *kept);
/* The option's value is a descriptor, or begins with one. */
bool options_takes_fd(const char *name);
int options_check_machine(const struct options *o, struct err *err) must_check;
/* Fills mac and mtu. */
int options_nic(struct option_nic *nic, const char *mac, uint64_t mtu, struct err *err) must_check;
