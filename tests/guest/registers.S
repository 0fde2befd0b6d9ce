/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte of every device's BAR and of the config space of every slot, the host bridge's and the root ports' among them, at every
 * width up to eight bytes, aligned and not, all ones and all zeros. Kicks, resets and the enabling of nonsense are among it.
 */
#include "guest.inc"
#define DEVICES 7
#define SLOTS 12

/* %ebp: where; moves on by what was swept. */
.macro sweep off, size
	lea \off(%ebp), %edi
	lea (\off + \size)(%ebp), %esi
	call bytes
.endm

main:
	say "registers"
	mov $ECAM1, %ebp
	mov $DEVICES, %ebx
1:	movw $6, 4(%ebp)
	add $0x8000, %ebp
	dec %ebx
	jnz 1b

	mov $BAR1, %ebp
	mov $DEVICES, %ebx
2:	sweep 0, 64
	sweep 0x1000, 8
	sweep 0x2000, 64
	sweep 0x3000, 16
	sweep 0x4000, 72
	sweep 0x4800, 16
	sweep 0x7ff8, 5
	add $0x8000, %ebp
	dec %ebx
	jnz 2b

	mov $ECAM, %ebp
	mov $SLOTS, %ebx
3:	sweep 0, 256
	sweep 0xffc, 8
	add $0x8000, %ebp
	dec %ebx
	jnz 3b

	enable_slot1
	cmpl $0x10531af4, ECAM1 /* the ids are still those of virtio-vsock */
	jne 4f
	say "unchanged"
4:	power_off

/* From %edi to before %esi. */
bytes:
	movb $0xff, (%edi)
	movw $0xffff, (%edi)
	movl $0xffffffff, (%edi)
	lock cmpxchg8b (%edi)
	mov (%edi), %al
	mov (%edi), %ax
	mov (%edi), %eax
	movl $0, (%edi)
	movb $0x0f, (%edi)
	inc %edi
	cmp %esi, %edi
	jb bytes
	ret
