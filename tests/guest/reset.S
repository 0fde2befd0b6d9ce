/* SPDX-License-Identifier: Apache-2.0 */
/* Resets itself; a wrong value first, which must do nothing. */
#include "guest.inc"
main:
	mov $RESET, %dx
	mov $1, %al
	out %al, %dx
	say "still here"
	mov $RESET, %dx
	mov $0x5a, %al
	out %al, %dx
1:	jmp 1b
