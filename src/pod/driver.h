/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A VM driver: how a pod's virtual machine is started and watched. `vmm` is our own monitor
 * on KVM, `qemu` needs none. A VM is started once and never restarted.
 *
 *   vm_start -> (vsock socket answers CONNECT) -> ... -> ended callback, once -> vm_free
 *
 * Every process of the VM dies with the process that started it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"

#define VM_NICS_MAX 16
#define VM_DISK_SLOTS_MAX 8
#define VM_DISK_NAME_MAX 20 /* bytes */

/* A network interface of the guest: what is sent there comes out of the tap, and the reverse. */
struct vm_nic {
	int tap_fd;	/* IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, one queue; borrowed */
	uint8_t mac[6]; /* of the guest's side */
	uint16_t mtu;	/* 68..65521; told to the guest */
};

struct vm_config {
	const char *id;		   /* of the pod, for messages */
	const char *kernel;	   /* path of an uncompressed vmlinux with a PVH note */
	const char *initrd;	   /* path */
	const char *cmdline_extra; /* added to the driver's own command line; may be "" */
	unsigned vcpus;		   /* 1..32 */
	uint64_t memory;	   /* bytes, multiple of 2 MiB */
	const char *run_dir;	   /* the pod's folder, made; the driver keeps its sockets there */
	const char *share_dir;	   /* folder that the guest sees as virtio-fs tag "podvm" */
	const char *vsock_path;	   /* host side of vsock: an AF_UNIX socket that the driver binds and listens on */
	uint64_t cid;		   /* guest's vsock CID */
	const struct vm_nic *nics; /* at most VM_NICS_MAX; NULL when there are none */
	unsigned n_nics;
	unsigned
		disk_slots; /* how many disks may be there at one time; at most VM_DISK_SLOTS_MAX; of no meaning without add_disk */
	bool held; /* the guest does not run before `run`; only where the driver has that */
	bool kvm;  /* driver_probe said kvm_usable; otherwise the guest is emulated */
};

enum vm_end {
	VM_END_POWEROFF, /* the guest powered off or was asked to */
	VM_END_PANIC,	 /* the guest kernel panicked or reset itself */
	VM_END_FAILED,	 /* a host process of the VM died or misbehaved */
};

struct vm_callbacks {
	/* One line of the guest's console, without its newline, cut at 1024 bytes, not yet escaped. */
	void (*console)(void *ctx, const char *line, size_t len);
	/* One line that a host process of the VM wrote to its stderr; source is "vmm" or "qemu". */
	void (*log)(void *ctx, const char *source, const char *line, size_t len);
	/* Runs once, on the loop. `why` is one readable line. */
	void (*ended)(void *ctx, enum vm_end how, const char *why);
	/* The guest let go of a disk, and the VM has closed it. The name is untrusted. May be NULL. */
	void (*disk_removed)(void *ctx, const char *name);
	void *ctx;
};

/* A raw disk that comes while the guest runs. */
struct vm_disk {
	const char *
		name; /* its serial number in the guest: 1 to VM_DISK_NAME_MAX of [A-Za-z0-9-_.], unlike any that is there */
	int fd;	      /* a block device; borrowed */
	bool read_only; /* the guest's writes are refused */
};

/* err NULL: it is plugged in. Runs once, on the loop, not for a VM that was freed; must not free the VM. */
typedef void vm_disk_done(void *ctx, const struct err *err);

struct vm; /* made by the driver; its first member is the driver's table */

struct vm_process {
	const char *name; /* "qemu", "vmm" */
	pid_t pid;
};

struct vm_driver {
	const char *name; /* "qemu", "vmm" */
	int (*start)(struct vm **ret, struct loop *loop, const struct vm_config *cfg, const struct vm_callbacks *cb,
		struct err *err);
	/* Kills every process of the VM and frees. `ended` does not run any more. NULL is fine. */
	void (*free)(struct vm *vm);
	/* The host processes, at most `max`; returns how many. */
	unsigned (*processes)(const struct vm *vm, struct vm_process *ret, unsigned max);
	/* Lets a guest that was started `held` run; does not wait for it. NULL: guests cannot be held. */
	int (*run)(struct vm *vm, struct err *err);
	/*
	 * Plugs a disk in; the guest may find it later than `done`. On a negative return `done` will not run. NULL: the driver cannot (QEMU's
	 * microvm has no hot-plug).
	 */
	int (*add_disk)(struct vm *vm, const struct vm_disk *disk, vm_disk_done *done, void *ctx, struct err *err);
	/*
	 * Has the guest asked to let go of it; `disk_removed` follows when it does, in seconds or never. May be repeated after ten
	 * seconds. A guest that was just given the disk may not hear it.
	 */
	int (*remove_disk)(struct vm *vm, const char *name, struct err *err);
};

struct vm {
	const struct vm_driver *driver;
};

extern const struct vm_driver vm_driver_qemu, vm_driver_vmm;

enum driver_choice { DRIVER_AUTO, DRIVER_QEMU, DRIVER_VMM };

struct driver_probe {
	bool kvm_usable;  /* the probing guest ran */
	char reason[160]; /* one line: why, or why not */
	unsigned took_us; /* time of the probe */
	bool qemu_found;
	char qemu_path[160];
	char qemu_version[64]; /* empty unless asked for */
};

/* Looks at the machine: runs `podvm-vmm --probe` and looks for QEMU. want_version also runs qemu --version. */
int driver_probe(struct driver_probe *ret, bool want_version, struct err *err) must_check;
/* The driver for that choice; *ret_reason gets one line for the log. -ENOTSUP when there is none. */
int driver_choose(const struct vm_driver **ret, enum driver_choice choice, const struct driver_probe *probe,
	char ret_reason[240], struct err *err) must_check;
