/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives virtio-vsock's transmit queue: a proper session with one packet, whose used ring is awaited; then the queue's size and
 * addresses are changed after DRIVER_OK (nothing may come of it), and one head is offered twice in one go.
 */
#include "guest.inc"
#define COMMON(off) (BAR1 + (off))
#define STATUS COMMON(0x14)
#define KICK1 (BAR1 + 0x3004)
#define ENTRIES 8
#include "session.inc"

.macro await value
	mov $4000, %ecx
8:	cmpw $\value, used + 2
	je 9f
	pause
	movb STATUS, %al /* an exit: the device's thread gets its turn */
	loop 8b
9:
.endm

main:
	say "queues"
	enable_slot1
	session_features
	session_run $1
	/* one packet of 44 zero bytes: dropped by the device, but returned */
	movl $packet, desc
	movl $44, desc + 8
	movw $0, avail + 4
	movw $1, avail + 2
	movw $1, KICK1
	await 1
	cmpw $1, used + 2
	jne 1f
	say "one returned"
1:	movw $1024, COMMON(0x18)
	movl $0xfffff000, COMMON(0x20)
	movl $0xfffff000, COMMON(0x28)
	movl $0xfffff000, COMMON(0x30)
	movw $0, avail + 6
	movw $2, avail + 2
	movw $1, KICK1
	await 2
	cmpw $2, used + 2
	jne 2f
	say "the layout is frozen"
	/* a head twice, both new; the second is refused or comes after the first was returned, but nothing breaks */
2:	movw $0, avail + 8
	movw $0, avail + 10
	movw $4, avail + 2
	movw $1, KICK1
	await 4
	/* an index far ahead breaks the ring: NEEDS_RESET */
	movw $0x4000, avail + 2
	movw $1, KICK1
	mov $4000, %ecx
3:	movb STATUS, %al
	test $0x40, %al
	jnz 4f
	loop 3b
	jmp 5f
4:	say "needs reset"
5:	movb $0, STATUS
	say "over"
	power_off

	.bss
	.balign 4096
desc:	.skip 4096
avail:	.skip 4096
used:	.skip 4096
packet:	.skip 64
