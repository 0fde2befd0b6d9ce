/* SPDX-License-Identifier: Apache-2.0 */
/* Resets itself as Linux does without ACPI: no keyboard controller is ever busy; other commands first, which must do nothing. */
#include "guest.inc"
#define KEYBOARD 0x64
main:
	in $KEYBOARD, %al
	test $2, %al /* the input buffer is full: Linux would wait */
	jnz 1f
	xor %eax, %eax
2:	out %al, $KEYBOARD
	inc %eax
	cmp $0xfe, %eax
	jb 2b
	mov $0xff, %al
	out %al, $KEYBOARD
	say "still here"
	mov $0xfe, %al
	out %al, $KEYBOARD
1:	jmp 1b
