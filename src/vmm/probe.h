/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Can this machine's KVM run a guest as stock kernels are? Found out by running one: some hosts offer a /dev/kvm that answers every
 * call and then emulates ring 0 slowly and not completely, and no flag tells.
 */
#include <stdbool.h>

#define PROBE_LIMIT_MS 100
#define PROBE_TRIES 5

struct kvm_probe_result {
	bool usable;
	char reason[160]; /* one line: why, or why not; without double quotes and backslashes */
	unsigned took_us;
};

/*
 * Opens /dev/kvm, checks the capabilities that the VMM uses, and runs the probing guest for at most PROBE_LIMIT_MS; when that is over, a
 * new one, PROBE_TRIES in all: on a busy machine something else may have had the processor, but what is emulated is never in time. Uses
 * SIGALRM and the real-time interval timer of the process while it runs. Always fills *ret; leaves nothing open.
 */
void kvm_probe(struct kvm_probe_result *ret);

/* `podvm-vmm --probe`: prints {"kvm":bool,"reason":"...","took_us":N} and a newline. Returns the exit status. */
int probe_main(void);
