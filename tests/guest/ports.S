/* SPDX-License-Identifier: Apache-2.0 */
/* Every port at every width, in and out, but for the two that end a guest; a string over the UART's registers. */
#include "guest.inc"
main:
	say "storm"
	xor %edx, %edx
1:	cmp $(SLEEP - 4), %edx
	jb 2f
	cmp $(RESET + 4), %edx
	jb 3f
2:	in %dx, %al
	in %dx, %ax
	in %dx, %eax
	mov $0x41414141, %eax
	cmp $(UART - 4), %edx /* the log is not the point */
	jb 4f
	cmp $(UART + 8), %edx
	jb 3f
4:	out %al, %dx
	out %ax, %dx
	out %eax, %dx
3:	inc %edx
	cmp $0x1000, %edx
	jb 1b
	mov $(UART + 1), %dx
	mov $_start, %esi
	mov $4096, %ecx
	rep outsb
	mov $(UART + 5), %dx
	mov $stack_top - 4096, %edi
	mov $1024, %ecx
	rep insl
	say "over"
	power_off
