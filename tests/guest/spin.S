/* SPDX-License-Identifier: Apache-2.0 */
/* Never halts, never exits: it can be paused, and ends when its owner says so. */
#include "guest.inc"
main:
	say "spins"
1:	jmp 1b
