/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the drivers have in common. */
#include "base/spawn.h"
#include "pod/driver.h"
#include "pod/lines.h"

/*
 * A host process of a VM, and what it says: every line of its stdout and stderr goes to the VM's log.
 *
 *   driver_child_init -> driver_child_start -> driver_child_watch -> `ended`: driver_child_reap -> driver_child_fini
 */
struct driver_child {
	const char *name;	       /* as vm_process and the log callback have it */
	const struct vm_callbacks *cb; /* borrowed */
	pid_t pid;
	int pidfd; /* -1: it does not run */
	struct loop_fd src;
	struct lines log;
	char last[160]; /* what it said last, printable; of our own programs without time and level */
};

void driver_child_init(struct driver_child *c, const char *name, const struct vm_callbacks *cb);
/* Starts it in a session of its own, with log_fd (borrowed) as stdout and stderr. */
int driver_child_start(struct driver_child *c, struct spawn *sp, int log_fd, struct err *err) must_check;
/* log_fd (consumed) is the other end; `ended` is called with c->src when it has ended. */
int driver_child_watch(struct driver_child *c, struct loop *loop, int log_fd,
	void (*ended)(struct loop_fd *src, uint32_t events), struct err *err) must_check;
/* It has ended: what it said last is delivered. Returns what spawn_wait does. */
int driver_child_reap(struct driver_child *c);
/* Kills it if it runs. */
void driver_child_kill(struct driver_child *c);
/* After kill or reap. */
void driver_child_fini(struct driver_child *c);

/* Copies text for a message: everything but printable ASCII becomes '?'. */
void driver_printable(char *dst, size_t size, const char *src, size_t len);
/* What spawn_wait returned, in words: "ended with exit code 1", "was killed by signal 9 (Killed)". */
void driver_describe_status(char dst[64], int status);
/* If the line is a kernel's panic and dst is still empty, dst gets its reason. */
void driver_find_panic(char *dst, size_t size, const char *line, size_t len);
/* Opens the guest's kernel or initramfs (`what`), which must be a file that everyone may read. */
int driver_open_file(int *ret, const char *what, const char *path, struct err *err) must_check;
/* The host's side of vsock: binds and listens. *ret_bound: the socket exists in the file system, whatever is returned. */
int driver_listen(const char *path, bool *ret_bound, int *ret, struct err *err) must_check;
