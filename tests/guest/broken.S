/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of rings.S, and some more, on every queue of every device, but for two whose buffers the device leaves alone: the console's
 * input, and vsock's events. Each is one session, which the device must call broken and serve nothing of; a session with an empty ring
 * behind them all is not broken. A line for each queue: 'b' for a ring that was called broken, 's' for one that was served, '+' when
 * the last session lives.
 */
#include "guest.inc"
#define BARS 0xc0000000
#define SLOT 0x8000
#define COMMON(off) (off)(%ebp) /* %ebp: the BAR */
#define STATUS COMMON(0x14)
#define ENTRIES 8
#include "session.inc"
#define NEXT 1
#define WRITE 2

/*
 * One for each queue; slots as test_machine_rings.c has them. `buffers`: WRITE for a queue to the guest. `prompt`: what makes the device
 * look at the queue, if its kick alone does not.
 */
.macro queue slot, number, name, buffers=0, prompt=nothing
	.pushsection .rodata.names, "a"
55:	.ascii "\name "
56:
	.popsection
	.long BARS + \slot * SLOT, ECAM + \slot * SLOT, \number, 55b, 56b - 55b, \buffers, \prompt
.endm
	.section .rodata
queues:
	queue 1, 0, "fs, high priority"
	queue 1, 1, "fs, requests"
	queue 2, 0, "vsock, in", WRITE, vsock_prompt
	queue 2, 1, "vsock, out"
	queue 3, 0, "rng"
	queue 4, 0, "net, in", WRITE
	queue 4, 1, "net, out"
	queue 5, 0, "blk"
	queue 6, 0, "pmem"
	queue 7, 0, "balloon, inflate"
	queue 7, 1, "balloon, deflate"
	queue 7, 2, "balloon, statistics"
	queue 7, 3, "balloon, hints"
	queue 7, 4, "balloon, reports", WRITE
	queue 8, 0, "mem"
	queue 9, 1, "console, out"
	.long 0
rings:
	.long loop_of_two, loop_of_one, link_beyond, head_beyond, too_many, empty, wrong_order, over_memory, over_addresses, 0
	.text

.macro print char
	mov $UART, %dx
	mov $\char, %al
	out %al, %dx
.endm

main:
	say "rings"
	mov $queues, %ebx
every_queue:
	mov (%ebx), %ebp
	test %ebp, %ebp
	jz over
	mov 4(%ebx), %eax
	movw $6, 4(%eax) /* memory is decoded, and the device may write to RAM */
	mov 12(%ebx), %esi
	mov 16(%ebx), %ecx
	mov $UART, %dx
	rep outsb
	movl $rings, ring
every_ring:
	mov ring, %eax
	mov (%eax), %eax
	test %eax, %eax
	jz 1f
	push %eax
	call session
	pop %eax
	movw $1, avail + 2
	call *%eax
	call turn_buffers
	call offer
	addl $4, ring
	jmp every_ring
1:	call session
	call kick
	mov $64, %ecx
2:	movb STATUS, %al /* an exit: the device's thread gets its turn */
	test $0x40, %al
	jnz 3f
	loop 2b
	print '+'
3:	print '\n'
	add $28, %ebx
	jmp every_queue
over:
	power_off

/* ---- rings: head 0 is offered, a buffer that the device reads ---- */

loop_of_two:
	descriptor 0, data, 64, NEXT, 1
	descriptor 1, data, 64, NEXT, 0
	ret
loop_of_one:
	descriptor 0, data, 64, NEXT, 0
	ret
link_beyond:
	descriptor 0, data, 64, NEXT, ENTRIES
	ret
head_beyond:
	movw $ENTRIES, avail + 4
	ret
too_many:
	movw $(ENTRIES + 1), avail + 2
	ret
empty:
	descriptor 0, data, 0, 0, 0
	ret
wrong_order:
	descriptor 0, data, 64, NEXT | WRITE, 1
	descriptor 1, data, 64, 0, 0
	ret
over_memory:
	descriptor 0, 0x3ffffe0, 64, 0, 0
	ret
over_addresses:
	descriptor 0, -32, 64, WRITE, 0
	movl $-1, desc + 4
	ret

/* Buffers as this queue has them, where the ring is not about just that. */
turn_buffers:
	testw $WRITE, desc + 12
	jnz 1f
	mov 20(%ebx), %eax
	or %ax, desc + 12
	or %ax, desc + 16 + 12
1:	ret

/* ---- sessions ---- */

/* One with nothing offered. */
session:
	session_features
	session_clear_rings
	descriptor 0, data, 64, 0, 0
	cmpl $nothing, 24(%ebx)
	je 1f
	movl $0, out_avail
	movl $0, out_used
	session_queue $1, out_desc, out_avail, out_used
1:	mov 8(%ebx), %eax
	session_run %ax
	ret

/* A packet of a connection that the device does not know has to be answered. */
vsock_prompt:
	movl $packet, out_desc
	movl $44, out_desc + 8
	movw $1, out_avail + 2
	movw $1, 0x3004(%ebp)
nothing:
	ret

kick:
	call *24(%ebx)
	mov 8(%ebx), %eax
	movw %ax, 0x3000(%ebp, %eax, 4)
	ret

/* Without end: a device that says neither is found by the test's deadline. */
offer:
	call kick
1:	movb STATUS, %al
	test $0x40, %al
	jnz 2f
	cmpw $0, used + 2
	je 1b
	print 's'
	ret
2:	cmpw $0, used + 2
	jne 3f
	print 'b'
	ret
3:	print '!' /* both */
	ret

	.data
packet: /* virtio 1.2 §5.10.6: from CID 3 to 2, port 1 to 9, no payload, a stream, RW */
	.quad 3, 2
	.long 1, 9, 0
	.word 1, 5
	.long 0, 0, 0

	.bss
	.balign 4096
out_desc:	.skip 4096
out_avail:	.skip 4096
out_used:	.skip 4096
desc:	.skip 4096
avail:	.skip 4096
used:	.skip 4096
data:	.skip 64
ring:	.skip 4
