/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How podvm-vmm --vm ends: its exit status. The last line on stderr says the same in words. */
enum vmm_status {
	VMM_POWEROFF = 0, /* the guest powered off, or was stopped by its owner */
	VMM_FAILED = 1,	  /* podvm-vmm itself failed */
	VMM_USAGE = 2,
	VMM_RESET = 3,	/* the guest reset itself (what Linux does after a panic) */
	VMM_TRIPLE = 4, /* triple fault */
	VMM_KVM = 5,	/* KVM cannot run the guest any further */
};
