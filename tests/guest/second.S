/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the second vCPU, as kernels do (INIT, then a startup interrupt with the page of its first instruction), and says "alone" when it
 * did not come in a while, then "two" when it did. Both spin from then on. Needs a KVM whose local APICs start vCPUs.
 */
#include "guest.inc"
#define ICR_LOW 0xfee00300
#define ICR_HIGH 0xfee00310
#define SVR 0xfee000f0
#define INIT 0x4500
#define STARTUP 0x4600
#define PAGE 8 /* 0x8000: free RAM */

/* Waits as long as KVM takes to send it. */
.macro send what
	movl $(1 << 24), ICR_HIGH
	movl $(\what), ICR_LOW
1:	testl $0x1000, ICR_LOW
	jnz 1b
.endm

main:
	say "asks"
	movl $0x1ff, SVR /* the APIC is on */
	mov $first, %esi
	mov $(PAGE << 12), %edi
	mov $(first_end - first), %ecx
	rep movsb
	movl $0, flag
	send INIT
	send STARTUP | PAGE
	mov $1000, %ecx
2:	mov $UART + 5, %dx /* an exit: time for another thread */
	in %dx, %al
	cmpl $0, flag
	jne 3f
	loop 2b
	say "alone"
3:	pause
	cmpl $0, flag
	je 3b
	say "two"
4:	pause
	jmp 4b

/* 16 bits, at PAGE << 12: writes to `flag`, which is above what 16 bits reach, through a segment of 4 GiB. */
first:
	.code16
	cli
	lgdtl %cs:(gdt - first)
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $((PAGE << 12) + wide - first)
	.code32
wide:
	mov $16, %ax
	mov %ax, %ds
	movl $1, flag
5:	pause
	jmp 5b
	.balign 8
gdt:	.word 23
	.long (PAGE << 12) + table - first
	.balign 8
table:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
first_end:

	.bss
	.balign 4
flag:	.skip 4
