/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interrupt storm: vectors that point everywhere, masked and unmasked while a queue is kicked, and interrupts to itself through
 * the local APIC, all with interrupts off, so none is ever taken.
 */
#include "guest.inc"
#define TABLE (BAR1 + 0x4000)
main:
	say "vectors"
	enable_slot1
	movw $0xc000, ECAM1 + 0x42 /* MSI-X on, all masked */
	movw $0x8000, ECAM1 + 0x42
	mov $200, %ebx
1:	mov %ebx, %eax
	imul $0x01234567, %eax
	mov %eax, TABLE
	mov %eax, TABLE + 4
	mov %eax, TABLE + 8
	movl $0, TABLE + 12
	movl $0xfee00000, TABLE + 16
	movl $0, TABLE + 20
	movl %ebx, TABLE + 24
	movl $0, TABLE + 28
	movw $0, BAR1 + 0x3000
	movl $1, TABLE + 28
	movl $0, TABLE + 28
	movw $0xc000, ECAM1 + 0x42
	movw $0x8000, ECAM1 + 0x42
	movl $0, 0xfee00310
	movl $0x00044040, 0xfee00300 /* itself, fixed, vector 0x40 */
	dec %ebx
	jnz 1b
	say "over"
	power_off
