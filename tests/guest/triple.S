/* SPDX-License-Identifier: Apache-2.0 */
/* A fault without handlers: a triple fault. */
#include "guest.inc"
main:
	say "faults"
	lidt none
	ud2
	.balign 8
none:	.word 0
	.long 0
