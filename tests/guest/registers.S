/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of the device's BAR and of its config space at every width, aligned and not, all ones and all zeros. Kicks, resets and
 * the enabling of nonsense are among it.
 */
#include "guest.inc"
.macro sweep base, size
	mov $\base, %edi
1:	movb $0xff, (%edi)
	movw $0xffff, (%edi)
	movl $0xffffffff, (%edi)
	mov (%edi), %al
	mov (%edi), %ax
	mov (%edi), %eax
	movl $0, (%edi)
	movb $0x0f, (%edi)
	inc %edi
	cmp $(\base + \size), %edi
	jb 1b
.endm
main:
	say "registers"
	enable_slot1
	sweep BAR1, 64
	sweep (BAR1 + 0x1000), 8
	sweep (BAR1 + 0x2000), 16
	sweep (BAR1 + 0x3000), 16
	sweep (BAR1 + 0x4000), 72
	sweep (BAR1 + 0x4800), 16
	sweep (BAR1 + 0x7ff8), 5
	sweep ECAM1, 256
	enable_slot1
	cmpl $0x10531af4, ECAM1 /* the ids are still those of virtio-vsock */
	jne 2f
	say "unchanged"
2:	power_off
