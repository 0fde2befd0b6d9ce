/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of a bare guest: an ELF file that podvm-vmm enters by PVH in 32-bit protected mode, flat, without paging or
 * interrupts. It shows that it is alive with a line on the UART, does the one thing that it is for, and powers off.
 */
#define UART 0x3f8
#define SLEEP 0x600
#define RESET 0x602
#define BAR1 0xc0008000 /* of the device in slot 1 */
#define ECAM 0xe0000000
#define ECAM1 (ECAM + 0x8000) /* config space of slot 1 */

	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long _start

	.text
	.code32
	.globl _start
	.type _start, @function
_start:
	mov $stack_top, %esp
	jmp main

	.bss
	.balign 16
	.skip 16384
stack_top:
	.text

/* A line on the UART. */
.macro say text
	.pushsection .rodata
77:	.ascii "\text\n"
78:
	.popsection
	mov $77b, %esi
	mov $(78b - 77b), %ecx
	mov $UART, %dx
	rep outsb
.endm

.macro power_off
	mov $SLEEP, %dx
	mov $0x34, %al /* S5, enable */
	out %al, %dx
99:	hlt
	jmp 99b
.endm

/* Memory is decoded, and the device may write to RAM. */
.macro enable_slot1
	movw $6, ECAM1 + 4
.endm
