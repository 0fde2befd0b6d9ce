/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interrupt storm: vectors that point everywhere, masked and unmasked while virtio-vsock returns buffers and interrupts for each,
 * and interrupts to itself through the local APIC, all with interrupts off, so none is ever taken.
 */
#include "guest.inc"
#define COMMON(off) (BAR1 + (off))
#define STATUS COMMON(0x14)
#define TABLE (BAR1 + 0x4000)
#define KICK1 (BAR1 + 0x3004)
#define ENTRIES 8
#include "session.inc"
main:
	say "vectors"
	enable_slot1
	movw $0xc000, ECAM1 + 0x42 /* MSI-X on, all masked */
	movw $0x8000, ECAM1 + 0x42
	session_features
	movw $1, COMMON(0x16) /* queue 1, its interrupt is vector 0 */
	movw $0, COMMON(0x1a)
	session_run $1
	movl $packet, desc /* 44 zero bytes: dropped by the device, but returned */
	movl $44, desc + 8
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
	incw avail + 2
	movw $1, KICK1
	/* masked and unmasked, one of them and all, until the buffer is back */
2:	movl $1, TABLE + 12
	movl $0, TABLE + 12
	movl $1, TABLE + 28
	movl $0, TABLE + 28
	movw $0xc000, ECAM1 + 0x42
	movw $0x8000, ECAM1 + 0x42
	mov used + 2, %ax
	cmp avail + 2, %ax
	jne 2b
	movl $0, 0xfee00310
	movl $0x00044040, 0xfee00300 /* itself, fixed, vector 0x40 */
	dec %ebx
	jnz 1b
	say "over"
	power_off

	.bss
	.balign 4096
desc:	.skip 4096
avail:	.skip 4096
used:	.skip 4096
packet:	.skip 64
