/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that no driver writes, on virtio-blk, whose requests stay in flight until the host is done: chains that loop, links and
 * heads beyond the table, a head offered twice, buffers outside memory. Each is one session, which the device must call broken and
 * serve nothing of; sessions before and after it are served.
 */
#include "guest.inc"
#define BAR3 (0xc0000000 + 3 * 0x8000)
#define COMMON(off) (BAR3 + (off))
#define STATUS COMMON(0x14)
#define KICK (BAR3 + 0x3000)
#define ENTRIES 8
#include "session.inc"
#define NEXT 1
#define WRITE 2

/* Offers `heads` at once; what comes of it is "served" or "broken", behind the name of what was tried. */
.macro offer name, heads=1
	say "\name"
	movw $\heads, avail + 2
	movw $0, KICK
	call wait
.endm

main:
	say "rings"
	movw $6, ECAM + 3 * 0x8000 + 4
	call session
	offer "a request"

	call session
	descriptor 1, data, 512, NEXT, 0
	offer "a chain that loops"

	call session
	descriptor 0, header, 16, NEXT, 0
	offer "a link to itself"

	call session
	descriptor 0, header, 16, NEXT, ENTRIES
	offer "a link beyond the table"

	call session
	movw $ENTRIES, avail + 4
	offer "a head beyond the table"

	call session
	offer "a head twice", 2

	call session
	descriptor 1, 0x3ffff00, 512, NEXT | WRITE, 2
	offer "over the end of memory"

	call session
	descriptor 1, -256, 512, NEXT | WRITE, 2
	movl $-1, desc + 16 + 4
	offer "over the end of addresses"

	call session
	offer "a request"
	power_off

/* A session with one request in the table, all avail entries name it, and nothing offered. */
session:
	session_features
	session_clear_rings
	descriptor 0, header, 16, NEXT, 1
	descriptor 1, data, 512, NEXT | WRITE, 2
	descriptor 2, answer, 1, WRITE, 0
	session_run $0
	ret

/* Without end: a device that says neither is found by the test's deadline. */
wait:
	movb STATUS, %al /* an exit: the device's thread gets its turn */
	test $0x40, %al
	jnz 1f
	cmpw $0, used + 2
	je wait
	say "served"
	ret
1:	say "broken"
	ret

	.bss
	.balign 4096
desc:	.skip 4096
avail:	.skip 4096
used:	.skip 4096
header:	.skip 16 /* read from sector 0 */
data:	.skip 512
answer:	.skip 16
