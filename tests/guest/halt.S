/* SPDX-License-Identifier: Apache-2.0 */
/* Halts at once with interrupts off, for ever: an idle guest costs nothing, and ends when its owner says so. */
#include "guest.inc"
main:
	say "halts"
	cli
1:	hlt
	jmp 1b
